import { useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { words } from "./format";
import { usePages, useTitle } from "./hooks";
import { can } from "./session";
import type { Deployment, Phase } from "./types";
import { Loading, State, Time, Trouble } from "./ui";

const phases: Phase[] = ["ACTIVE", "CREATING", "UPDATING", "DELETING", "NEEDS_ATTENTION", "FAILED", "DELETED"];
const moving = (d: Deployment) => ["CREATING", "UPDATING", "DELETING"].includes(d.phase);

export function List() {
  useTitle("Environments");

  const [phase, setPhase] = useState("");
  const { value, problem, reload, next } = usePages<Deployment>(
    "/v1/deployments",
    { filter: phase && `phase=${phase}`, showDeleted: phase === "DELETED" || undefined },
    (all) => (all.some(moving) ? 3_000 : 20_000),
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
        <select id="phase" value={phase} onChange={(e) => setPhase(e.currentTarget.value)}>
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
        <button type="button" onClick={next}>
          Show more
        </button>
      )}
    </>
  );
}
