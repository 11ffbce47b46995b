import { useState } from "preact/hooks";
import { act, changeable, offers } from "./api";
import { words } from "./format";
import { can } from "./session";
import type { Deployment, Drift as Report, Json, Operation } from "./types";
import { Act, State, Time } from "./ui";

const text = (v: Json) => (typeof v === "string" ? v : JSON.stringify(v));

export function Drift({ d, begun }: { d: Deployment; begun: () => void }) {
  const [report, setReport] = useState<Report>();

  return (
    <section aria-label="Drift">
      <h2>Drift</h2>
      <p class="help">Compares what is in AWS with what was asked for. It looks and changes nothing.</p>
      <div class="buttons">
        <Act label={report ? "Look again" : "Look for drift"} busy="Looking …" kind="main" run={async () => setReport(await act<Report>(d.name, "drift"))} />
        {report?.drifted && changeable(d) && can("deployer") && offers("post", "/v1/deployments/{name}:repair") && (
          <Act
            label="Repair what drifted"
            busy="Asking for it …"
            run={() => act<Operation>(d.name, "repair").then(begun)}
          />
        )}
      </div>
      <div role="status">
        {report && (
          <p class="next">
            {report.drifted ? "Something is not as it was asked for." : "Everything is as it was asked for."} <span class="fine">Looked at <Time at={report.time} /></span>
          </p>
        )}
      </div>
      {report && (
        <ol class="steps" aria-label="Resources">
          {report.resources.map((r) => {
            const differences = r.differences ?? [];

            return (
              <li key={r.resource} class={differences.length > 0 || /absent|failed/i.test(r.state) ? "bad" : ""}>
                <span class="ref">{r.resource}</span>
                <span class="line">
                  <State is={/absent|failed/i.test(r.state) ? "FAILED" : differences.length > 0 ? "NEEDS_ATTENTION" : /ready/i.test(r.state) ? "READY" : "RUNNING"} says={differences.length > 0 ? "drifted" : words(r.state)} />
                </span>
                {(differences.length > 0 || (r.notChecked?.length ?? 0) > 0) && (
                  <div class="details">
                    {differences.map((x) => (
                      <dl key={x.property} class="difference">
                        <dt>{x.property}</dt>
                        <dd>
                          <span class="fine">wanted</span> <ins>{text(x.want)}</ins>
                        </dd>
                        <dd>
                          <span class="fine">found</span> <del>{text(x.have)}</del>
                        </dd>
                      </dl>
                    ))}
                    {r.notChecked && r.notChecked.length > 0 && <p class="fine">Not compared: {r.notChecked.join(", ")}</p>}
                  </div>
                )}
              </li>
            );
          })}
        </ol>
      )}
    </section>
  );
}
