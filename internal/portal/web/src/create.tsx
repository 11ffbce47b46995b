import { useEffect, useMemo, useRef, useState } from "preact/hooks";
import { Link, useLocation, useSearch } from "wouter-preact";
import { asProblem, bodyOf, call, offers, path, resolve } from "./api";
import { Field, Members } from "./form";
import { useLoaded, useTitle } from "./hooks";
import { findingsOf, PlanView, refused, usePlan } from "./plan";
import type { Deployment, Json, JsonObject, Operation, Problem } from "./types";
import { Trouble } from "./ui";

const draft = "portal-new-environment";
const nameRule = /^[a-z][a-z0-9]*(-[a-z0-9]+)*$/;

/** kept is what was typed before a login in between. */
function kept(): JsonObject {
  try {
    return JSON.parse(sessionStorage.getItem(draft) ?? "{}");
  } catch {
    return {};
  }
}

export function Create() {
  useTitle("New environment");

  const [, go] = useLocation();
  const from = new URLSearchParams(useSearch()).get("from");
  const schema = useMemo(() => resolve(bodyOf("post", "/v1/deployments") ?? {}), []);
  const [body, setBody] = useState<JsonObject>(() => (from ? { name: from } : kept()));
  const [problem, setProblem] = useState<Problem>();
  const [working, setWorking] = useState(false);
  const top = useRef<HTMLDivElement>(null);

  // The same settings again: those of a deployment that was rolled back.
  const before = useLoaded(from ? (signal) => call<Deployment>(path(from), { query: { showDeleted: true }, signal }) : undefined, from ?? "");

  useEffect(() => {
    if (before.value) setBody({ name: before.value.name, spec: before.value.spec, ...(Object.keys(before.value.labels).length > 0 ? { labels: before.value.labels } : {}) });
  }, [before.value]);

  useEffect(() => {
    if (!from) sessionStorage.setItem(draft, JSON.stringify(body));
  }, [body, from]);

  const name = typeof body.name === "string" ? body.name : "";
  const named = nameRule.test(name) && name.length >= 3 && name.length <= 24;
  const plans = offers("post", "/v1/deployments:plan");
  const planned = usePlan("/v1/deployments:plan", name, plans && named ? body : undefined);
  const findings = problem ? findingsOf(undefined, problem) : findingsOf(planned.plan, planned.problem);

  const set = (v: Json | undefined) => {
    setProblem(undefined);
    setBody((v as JsonObject | undefined) ?? {});
  };

  const submit = async (e: Event) => {
    e.preventDefault();
    if (!named) document.getElementById("f-name")?.focus();
    if (working || !named || refused(planned)) return;

    setWorking(true);
    setProblem(undefined);

    try {
      const o = await call<Operation>("/v1/deployments", { method: "POST", body });
      sessionStorage.removeItem(draft);
      go(`/deployments/${o.deployment}`);
    } catch (e) {
      setProblem(asProblem(e));
      setWorking(false);
      requestAnimationFrame(() => top.current?.scrollIntoView({ block: "center" }));
    }
  };

  return (
    <>
      <nav aria-label="Breadcrumb" class="crumbs">
        <Link href="/deployments">Environments</Link> / New
      </nav>
      <h1 tabIndex={-1}>New environment</h1>
      <form class="with-plan" onSubmit={(e) => void submit(e)} noValidate>
        <div class="settings">
          <p class="help">Everything but the name has a default: left alone, this makes the environment of Metaflow's own guide.</p>
          {before.problem && <Trouble problem={before.problem} />}
          <Field
            schema={schema.properties?.name ?? { type: "string" }}
            name="name"
            pointer="/name"
            required
            value={body.name}
            onChange={(v) => set({ ...body, name: v ?? "" })}
            findings={[
              ...findings,
              ...(name !== "" && !named ? [{ code: "invalid_name", pointer: "/name", message: "This cannot be a name.", remedy: "Use 3 to 24 of a-z, 0-9 and single hyphens, a letter first." }] : []),
            ]}
          />
          <Members schema={resolve(schema.properties?.spec ?? {})} pointer="/spec" value={body.spec} onChange={(v) => set(withSpec(body, v))} findings={findings} />
          <Members schema={schema} pointer="" value={body} onChange={set} findings={findings} leaveOut={["name", "spec"]} />
        </div>
        <aside class="summary" aria-label="Plan and cost">
          <div ref={top}>{problem && <Trouble problem={problem} />}</div>
          <h2>Plan and cost</h2>
          {!plans && <p class="fine">This installation shows no plan. Creating checks everything first, before anything is made.</p>}
          {plans && !named && <p class="fine">Give it a name to see what would be made and what it costs.</p>}
          {plans && named && <PlanView planned={planned} />}
          <div class="buttons">
            <button type="submit" class="main" aria-disabled={working || !named || refused(planned)}>
              {working ? "Creating …" : "Create environment"}
            </button>
          </div>
        </aside>
      </form>
    </>
  );
}

function withSpec(body: JsonObject, spec: Json | undefined): JsonObject {
  const { spec: _, ...rest } = body;

  return spec && Object.keys(spec).length > 0 ? { ...rest, spec } : rest;
}
