// The settings of an environment, and an update of them: what differs and what that does, before the button.
import diff from "microdiff";
import { useMemo, useState } from "preact/hooks";
import { asProblem, bodyOf, call, changeable, offers, path, resolve } from "./api";
import { Members } from "./form";
import { findingsOf, PlanView, refused, usePlan } from "./plan";
import { can } from "./session";
import type { Deployment, Json, JsonObject, Operation, Problem } from "./types";
import { Copy, Trouble } from "./ui";

const route = "/v1/deployments/{name}";

export function Settings({ d, begun }: { d: Deployment; begun: () => void }) {
  if (d.phase === "DELETED" || d.phase === "FAILED" || !offers("put", route) || !can("deployer")) {
    return (
      <section aria-label="Settings">
        <h2>Settings</h2>
        <p class="help">What was asked for, with every default filled in.</p>
        <Copy text={JSON.stringify(d.spec, null, 2)} label="Copy the settings" name="Settings" />
      </section>
    );
  }

  return <Update d={d} begun={begun} />;
}

/** Only what the update's body has is sent along. Labels that it leaves out stay, so a form that was emptied of them says that there are none. */
function Update({ d, begun }: { d: Deployment; begun: () => void }) {
  const schema = useMemo(() => resolve(bodyOf("put", route) ?? {}), []);
  const before = useMemo<JsonObject>(() => ({ spec: d.spec, ...(Object.keys(d.labels).length > 0 ? { labels: d.labels } : {}) }), [d.etag]);
  const [body, setBody] = useState(before);
  const [problem, setProblem] = useState<Problem>();
  const [working, setWorking] = useState(false);
  const changes = useMemo(() => diff(before, body), [before, body]);
  const plans = offers("post", `${route}:plan`);
  const planned = usePlan(path(d.name, ":plan"), d.name, plans && changes.length > 0 ? body : undefined);
  const findings = problem ? findingsOf(undefined, problem) : findingsOf(planned.plan, planned.problem);
  const busy = !changeable(d);

  const submit = async (e: Event) => {
    e.preventDefault();
    if (working || changes.length === 0 || refused(planned)) return;

    setWorking(true);
    setProblem(undefined);

    try {
      await call<Operation>(path(d.name), { method: "PUT", body, header: { "if-match": d.etag } });
      begun();
    } catch (e) {
      setProblem(asProblem(e));
      setWorking(false);
    }
  };

  return (
    <form class="with-plan" onSubmit={(e) => void submit(e)} noValidate>
      <div class="settings">
        <h2>Settings</h2>
        <Members
          schema={resolve(schema.properties?.spec ?? {})}
          pointer="/spec"
          value={body.spec}
          onChange={(v) => {
            setProblem(undefined);
            setBody({ ...body, spec: v ?? {} });
          }}
          findings={findings}
        />
        <Members
          schema={schema}
          pointer=""
          value={body}
          onChange={(v) => {
            setProblem(undefined);
            setBody({ spec: {}, ...(before.labels ? { labels: {} } : {}), ...(v as JsonObject) });
          }}
          findings={findings}
          leaveOut={["spec"]}
        />
      </div>
      <aside class="summary" aria-label="Changes, plan and cost">
        {problem && <Trouble problem={problem} />}
        <h2>Changes</h2>
        {changes.length === 0 ? (
          <p class="fine">Nothing is changed yet.</p>
        ) : (
          <ul class="diff" aria-label="Changes">
            {changes.map((c) => (
              <li key={c.path.join("/")}>
                <code>{c.path.join(".")}</code>
                {c.type !== "CREATE" && <del>{show(c.oldValue)}</del>}
                {c.type === "REMOVE" ? c.path[0] === "spec" && <ins>the default</ins> : <ins>{show(c.value)}</ins>}
              </li>
            ))}
          </ul>
        )}
        {plans && changes.length > 0 && (
          <>
            <h2>Plan and cost</h2>
            <PlanView planned={planned} />
          </>
        )}
        {busy && <p class="fine">It can be updated once it is active.</p>}
        <div class="buttons">
          <button type="submit" class="main" aria-disabled={working || busy || changes.length === 0 || refused(planned)}>
            {working ? "Updating …" : "Update environment"}
          </button>
          {changes.length > 0 && (
            <button type="button" onClick={() => setBody(before)}>
              Undo the changes
            </button>
          )}
        </div>
      </aside>
    </form>
  );
}

const show = (v: Json) => (typeof v === "string" ? v : JSON.stringify(v));
