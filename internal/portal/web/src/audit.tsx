import { useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { call } from "./api";
import { words } from "./format";
import { useLoaded, useTitle } from "./hooks";
import type { AuditEntry } from "./types";
import { Loading, State, Time, Trouble } from "./ui";

interface Page {
  entries: AuditEntry[];
  nextPageToken?: string;
}

export function AuditPage() {
  useTitle("Audit");

  return (
    <>
      <h1 tabIndex={-1}>Audit</h1>
      <p class="help">Who asked for what in your tenant, and what came of it.</p>
      <AuditTable />
    </>
  );
}

export function AuditTable({ deployment }: { deployment?: string }) {
  const [pages, setPages] = useState(1);
  const { value, problem } = useLoaded(async (signal) => {
    const entries: AuditEntry[] = [];
    let pageToken: string | undefined;

    for (let i = 0; i < pages; i++) {
      const page: Page = await call<Page>("/v1/audit", { query: { deployment, pageToken, pageSize: 50 }, signal });
      entries.push(...page.entries);
      pageToken = page.nextPageToken;
      if (!pageToken) break;
    }

    return { entries, more: Boolean(pageToken) };
  }, `${deployment} ${pages}`);

  if (!value) return problem ? <Trouble problem={problem} /> : <Loading what="the audit" />;
  if (value.entries.length === 0) return <p class="empty">Nothing is recorded.</p>;

  return (
    <>
      <table class="cards">
        <thead>
          <tr>
            <th scope="col">When</th>
            <th scope="col">Who</th>
            <th scope="col">What</th>
            {!deployment && <th scope="col">About</th>}
            <th scope="col">Outcome</th>
          </tr>
        </thead>
        <tbody>
          {value.entries.map((e, i) => (
            <tr key={i}>
              <th scope="row">
                <Time at={e.time} />
              </th>
              <td data-label="Who">{e.actor}</td>
              <td data-label="What">{e.operation ? <Link href={`/operations/${e.operation}`}>{words(e.action)}</Link> : words(e.action)}</td>
              {!deployment && <td data-label="About">{e.deployment ? <Link href={`/deployments/${e.deployment}`}>{e.deployment}</Link> : (e.subject ?? "")}</td>}
              <td>
                <State is={e.outcome} />
                {e.detail && <span class="help"> {e.detail}</span>}
              </td>
            </tr>
          ))}
        </tbody>
      </table>
      {value.more && (
        <button type="button" onClick={() => setPages((n) => n + 1)}>
          Show more
        </button>
      )}
    </>
  );
}
