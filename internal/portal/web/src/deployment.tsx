// One environment: what it is, what can be done with it, and its pages.
import { useState } from "preact/hooks";
import { Link, Route, Switch, useLocation, useParams } from "wouter-preact";
import { act, asProblem, call, changeable, offers, path } from "./api";
import { Ask } from "./ask";
import { AuditTable } from "./audit";
import { Configuration } from "./configuration";
import { Drift } from "./drift";
import { between, words } from "./format";
import { useLoaded, useTitle } from "./hooks";
import { Build } from "./operation";
import { can } from "./session";
import { Settings } from "./settings";
import type { Deployment, JsonObject, Operation, Problem, Resource } from "./types";
import { Act, Loading, Modal, State, Time, Trouble } from "./ui";

export function DeploymentPage() {
  const { name = "" } = useParams();
  const [at, go] = useLocation();
  useTitle(name);

  const { value: d, problem, reload } = useLoaded(
    (signal) => call<Deployment>(path(name), { query: { showDeleted: true }, signal }),
    name,
    (d) => (["CREATING", "UPDATING", "DELETING"].includes(d.phase) ? 4_000 : 30_000),
  );

  if (!d) {
    return (
      <>
        <Crumbs name={name} />
        <h1 tabIndex={-1}>{name}</h1>
        {problem ? <Trouble problem={problem} /> : <Loading what={name} />}
      </>
    );
  }

  const here = `/deployments/${name}`;
  // Something was begun: show it, not what was there before.
  const begun = () => {
    go(here);
    reload();
  };
  const gone = d.phase === "DELETED" || d.phase === "FAILED";
  const tabs: [string, string, boolean][] = [
    ["", "Overview", true],
    ["/configuration", "Configuration", !gone],
    ["/settings", offers("put", "/v1/deployments/{name}") && can("deployer") && !gone ? "Settings and update" : "Settings", true],
    ["/resources", "Resources", true],
    ["/drift", "Drift", !gone && offers("post", "/v1/deployments/{name}:drift")],
    ["/history", offers("get", "/v1/audit") ? "History and audit" : "History", true],
  ];

  return (
    <>
      <Crumbs name={name} />
      <div class="head">
        <h1 tabIndex={-1}>{name}</h1>
        <State is={d.phase} />
        {d.resources.total > 0 && (
          <span class="fine">
            {d.resources.ready} of {d.resources.total} resources ready
          </span>
        )}
        <Actions d={d} begun={begun} reload={reload} />
      </div>
      <nav aria-label={`Pages of ${name}`} class="tabs">
        {tabs.map(
          ([sub, label, on]) =>
            on && (
              <Link key={sub} href={here + sub} aria-current={at === here + sub ? "page" : undefined}>
                {label}
              </Link>
            ),
        )}
      </nav>
      {problem && <Trouble problem={problem} />}
      <Switch>
        <Route path="/deployments/:name">
          <Overview d={d} reload={reload} />
        </Route>
        <Route path="/deployments/:name/configuration">
          <Configuration d={d} />
        </Route>
        <Route path="/deployments/:name/settings">
          <Settings key={d.etag} d={d} begun={begun} />
        </Route>
        <Route path="/deployments/:name/resources">
          <Resources d={d} />
        </Route>
        <Route path="/deployments/:name/drift">
          <Drift d={d} begun={begun} />
        </Route>
        <Route path="/deployments/:name/history">
          <History name={name} />
        </Route>
      </Switch>
    </>
  );
}

const Crumbs = ({ name }: { name: string }) => (
  <nav aria-label="Breadcrumb" class="crumbs">
    <Link href="/deployments">Environments</Link> / {name}
  </nav>
);

function Overview({ d, reload }: { d: Deployment; reload: () => void }) {
  return (
    <>
      {d.phase === "ACTIVE" && (
        <p class="next">
          It is ready. <Link href={`/deployments/${d.name}/configuration`}>Get its configuration</Link>
        </p>
      )}
      {d.phase === "FAILED" && <p class="next">The create was rolled back whole: nothing is left, and the name is free.</p>}
      <dl class="facts">
        <Fact term="Region">{d.region}</Fact>
        <Fact term="Account">{d.account}</Fact>
        <Fact term="Owner">{d.owner}</Fact>
        <Fact term="Created">
          <Time at={d.createTime} />
        </Fact>
        <Fact term="Changed">
          <Time at={d.updateTime} />
        </Fact>
        {d.expireTime && (
          <Fact term="Expires">
            <Time at={d.expireTime} />
          </Fact>
        )}
        {Object.entries(d.labels).map(([k, v]) => (
          <Fact key={k} term={`Label ${k}`}>
            {v}
          </Fact>
        ))}
      </dl>
      <Build key={d.operation} id={d.operation} name={d.name} onDone={reload} />
    </>
  );
}

const Fact = ({ term, children }: { term: string; children: preact.ComponentChildren }) => (
  <div>
    <dt>{term}</dt>
    <dd>{children}</dd>
  </div>
);

function Actions({ d, begun, reload }: { d: Deployment; begun: () => void; reload: () => void }) {
  const [deleting, setDeleting] = useState(false);
  const [extending, setExtending] = useState(false);

  if (!can("deployer") || d.phase === "DELETED" || d.phase === "FAILED") return null;

  const has = (verb: string) => offers("post", `/v1/deployments/{name}:${verb}`);
  const active = d.phase === "ACTIVE";

  return (
    <div class="buttons" role="group" aria-label={`Actions on ${d.name}`}>
      {active && has("verify") && <Act label="Verify with a job" busy="Asking for it …" run={() => act<Operation>(d.name, "verify").then(begun)} />}
      {changeable(d) && has("repair") && <Act label="Repair" busy="Asking for it …" run={() => act<Operation>(d.name, "repair").then(begun)} />}
      {d.phase !== "DELETING" && has("extend") && (
        <button type="button" onClick={() => setExtending(true)}>
          Extend
        </button>
      )}
      {d.phase !== "DELETING" && (
        <button type="button" class="danger" onClick={() => setDeleting(true)}>
          Delete
        </button>
      )}
      {deleting && <Delete d={d} close={() => setDeleting(false)} begun={begun} />}
      {extending && (
        <Ask
          title={`Extend ${d.name}`}
          route="/v1/deployments/{name}:extend"
          send={(body) => call<Deployment>(path(d.name, ":extend"), { method: "POST", body })}
          label="Extend"
          close={() => setExtending(false)}
          done={reload}
        >
          {d.expireTime && (
            <p>
              It expires <Time at={d.expireTime} />.
            </p>
          )}
        </Ask>
      )}
    </div>
  );
}

function Delete({ d, close, begun }: { d: Deployment; close: () => void; begun: () => void }) {
  const [data, setData] = useState("keep");
  const [typed, setTyped] = useState("");
  const [problem, setProblem] = useState<Problem>();
  const [working, setWorking] = useState(false);
  const existing = Boolean((d.spec.storage as JsonObject | undefined)?.existing);
  const sure = data === "keep" || typed === d.name;

  const submit = async (e: Event) => {
    e.preventDefault();
    if (working || !sure) return;

    setWorking(true);

    try {
      await call<Operation>(path(d.name), { method: "DELETE", query: { data } });
      close();
      begun();
    } catch (e) {
      setProblem(asProblem(e));
      setWorking(false);
    }
  };

  return (
    <Modal title={`Delete ${d.name}?`} onClose={close}>
      <form onSubmit={(e) => void submit(e)}>
        <p>Queues, compute, network and roles that were made for it go. What you named as existing stays untouched. Jobs that run are ended.</p>
        {existing ? (
          <p>Its bucket is your own and stays as it is.</p>
        ) : (
          <fieldset class="field">
            <legend>The data in its bucket</legend>
            <label class="choice">
              <input type="radio" name="data" value="keep" checked={data === "keep"} onChange={() => setData("keep")} />
              <span>
                <strong>Keep it.</strong> The bucket stays with its objects; a later environment of this name uses it again.
              </span>
            </label>
            <label class="choice">
              <input type="radio" name="data" value="purge" checked={data === "purge"} onChange={() => setData("purge")} />
              <span>
                <strong>Purge it.</strong> The bucket goes with every object and old version in it. Nobody can bring them back.
              </span>
            </label>
          </fieldset>
        )}
        {data === "purge" && (
          <div class="field">
            <label for="sure">
              Type <code>{d.name}</code> to purge its data
            </label>
            <input id="sure" type="text" autocomplete="off" value={typed} onInput={(e) => setTyped(e.currentTarget.value)} />
          </div>
        )}
        {problem && <Trouble problem={problem} />}
        <div class="buttons">
          <button type="submit" class="danger" aria-disabled={working || !sure}>
            {working ? "Deleting …" : data === "purge" ? "Delete it and purge the data" : "Delete it and keep the data"}
          </button>
          <button type="button" onClick={(e) => e.currentTarget.closest("dialog")?.close()}>
            Back
          </button>
        </div>
      </form>
    </Modal>
  );
}

function Resources({ d }: { d: Deployment }) {
  const { value, problem } = useLoaded(
    (signal) => call<{ resources: Resource[] }>(path(d.name, "/resources"), { query: { pageSize: 100, showDeleted: true }, signal }),
    d.name + d.etag,
    () => (d.phase === "ACTIVE" ? 30_000 : 4_000),
  );

  if (!value) return problem ? <Trouble problem={problem} /> : <Loading what="resources" />;
  if (value.resources.length === 0) return <p class="empty">It has no resources.</p>;

  return (
    <table class="cards">
      <thead>
        <tr>
          <th scope="col">Resource</th>
          <th scope="col">State</th>
          <th scope="col">In AWS</th>
          <th scope="col">Origin</th>
        </tr>
      </thead>
      <tbody>
        {value.resources.map((r) => (
          <tr key={r.ref}>
            <th scope="row">{r.ref}</th>
            <td>
              <State is={r.state} />
              {r.lastError && <Trouble problem={r.lastError} quiet />}
            </td>
            <td data-label="In AWS">
              <code class="long">{r.arn || r.id || "nothing yet"}</code>
            </td>
            <td data-label="Origin">{words(r.origin)}</td>
          </tr>
        ))}
      </tbody>
    </table>
  );
}

function History({ name }: { name: string }) {
  const { value, problem } = useLoaded(
    (signal) => call<{ operations: Operation[]; nextPageToken?: string }>("/v1/operations", { query: { deployment: name, pageSize: 50 }, signal }),
    name,
    () => 10_000,
  );

  return (
    <>
      <h2>Operations</h2>
      {!value && (problem ? <Trouble problem={problem} /> : <Loading what="operations" />)}
      {value && (
        <table class="cards">
          <thead>
            <tr>
              <th scope="col">Operation</th>
              <th scope="col">State</th>
              <th scope="col">Begun</th>
              <th scope="col">Took</th>
              <th scope="col">Why it ended so</th>
            </tr>
          </thead>
          <tbody>
            {value.operations.map((o) => (
              <tr key={o.id}>
                <th scope="row">
                  <Link href={`/operations/${o.id}`}>{words(o.kind)}</Link>
                </th>
                <td>
                  <State is={o.state} />
                </td>
                <td data-label="Begun">
                  <Time at={o.createTime} />
                </td>
                <td data-label="Took">{between(o.createTime, o.endTime)}</td>
                <td data-label={o.error ? "Why it ended so" : undefined}>{o.error && `${o.error.title}${o.error.resource ? ` (${o.error.resource})` : ""}`}</td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {value?.nextPageToken && <p class="fine">Older operations are in the API: GET /v1/operations?deployment={name}</p>}
      {offers("get", "/v1/audit") && (
        <>
          <h2>Audit</h2>
          <AuditTable deployment={name} />
        </>
      )}
    </>
  );
}
