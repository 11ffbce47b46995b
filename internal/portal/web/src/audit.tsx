import { Link } from "wouter-preact";
import { words } from "./format";
import { usePages, useTitle } from "./hooks";
import { elsewhere } from "./session";
import type { AuditEntry } from "./types";
import { Loading, State, Time, Trouble } from "./ui";

export function AuditPage() {
  useTitle("Audit");

  return (
    <>
      <h1 tabIndex={-1}>Audit</h1>
      <p class="help">Who asked for what in {elsewhere() ? `the tenant ${elsewhere()}` : "your tenant"}, and what came of it.</p>
      <AuditTable />
    </>
  );
}

export function AuditTable({ deployment }: { deployment?: string }) {
  const { value, problem, next } = usePages<AuditEntry>("/v1/audit", { deployment });

  if (!value) return problem ? <Trouble problem={problem} /> : <Loading what="the audit" />;
  if (value.all.length === 0) return <p class="empty">Nothing is recorded.</p>;

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
          {value.all.map((e, i) => (
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
        <button type="button" onClick={next}>
          Show more
        </button>
      )}
    </>
  );
}
