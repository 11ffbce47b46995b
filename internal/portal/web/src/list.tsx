import { useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { call } from "./api";
import { words } from "./format";
import { useLoaded, useTitle } from "./hooks";
import { can } from "./session";
import type { Deployment, Phase } from "./types";
import { Loading, State, Time, Trouble } from "./ui";

const phases: Phase[] = ["ACTIVE", "CREATING", "UPDATING", "DELETING", "NEEDS_ATTENTION", "FAILED", "DELETED"];
const moving = (d: Deployment) => ["CREATING", "UPDATING", "DELETING"].includes(d.phase);

interface Page {
  deployments: Deployment[];
  nextPageToken?: string;
}

export function List() {
  useTitle("Environments");

  const [phase, setPhase] = useState("");
  const [pages, setPages] = useState(1);

  const { value, problem, reload } = useLoaded(
    async (signal) => {
      const all: Deployment[] = [];
      let pageToken: string | undefined;

      for (let i = 0; i < pages; i++) {
        const page: Page = await call<Page>("/v1/deployments", {
          query: { pageSize: 50, pageToken, filter: phase && `phase=${phase}`, showDeleted: phase === "DELETED" || undefined },
          signal,
        });
        all.push(...page.deployments);
        pageToken = page.nextPageToken;
        if (!pageToken) break;
      }

      return { all, more: Boolean(pageToken) };
    },
    `${phase} ${pages}`,
    ({ all }) => (all.some(moving) ? 3_000 : 20_000),
  );

  return (
    <>
      <div class="head">
        <h1 tabIndex={-1}>Environments</h1>
        {can("deployer") && (
          <Link href="/deployments/new" class="button main">
            New environment
          </Link>
        )}
      </div>
      <div class="filters">
        <label for="phase">Phase</label>
        <select
          id="phase"
          value={phase}
          onChange={(e) => {
            setPhase(e.currentTarget.value);
            setPages(1);
          }}
        >
          <option value="">all</option>
          {phases.map((p) => (
            <option key={p} value={p}>
              {words(p)}
            </option>
          ))}
        </select>
        <button type="button" class="small" onClick={reload}>
          Load again
        </button>
      </div>
      {problem && <Trouble problem={problem} />}
      {!value && !problem && <Loading what="environments" />}
      {value && value.all.length === 0 && (
        <div class="empty">
          <p>{phase ? `No environment is ${words(phase)}.` : "There is no environment yet."}</p>
          {!phase && can("deployer") && <p>A new one needs nothing but a name: bucket, network, roles, compute and queue are made for you.</p>}
        </div>
      )}
      {value && value.all.length > 0 && (
        <table class="cards">
          <thead>
            <tr>
              <th scope="col">Name</th>
              <th scope="col">Phase</th>
              <th scope="col">Resources ready</th>
              <th scope="col">Region</th>
              <th scope="col">Owner</th>
              <th scope="col">Changed</th>
            </tr>
          </thead>
          <tbody>
            {value.all.map((d) => (
              <tr key={d.name + d.createTime}>
                <th scope="row">
                  <Link href={`/deployments/${d.name}`}>{d.name}</Link>
                </th>
                <td>
                  <State is={d.phase} />
                </td>
                <td data-label="Resources ready">
                  {d.resources.total > 0 ? `${d.resources.ready} of ${d.resources.total}` : "none"}
                </td>
                <td data-label="Region">{d.region}</td>
                <td data-label="Owner">{d.owner}</td>
                <td data-label="Changed">
                  <Time at={d.updateTime} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {value?.more && (
        <button type="button" onClick={() => setPages((n) => n + 1)}>
          Show more
        </button>
      )}
    </>
  );
}
