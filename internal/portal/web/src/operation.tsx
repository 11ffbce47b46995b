// An operation while it runs and after: the graph (a list where there is no room for it), the error where it happened, and what can be done about it.
import type { FunctionComponent } from "preact";
import { useEffect, useMemo, useState } from "preact/hooks";
import { Link, useLocation, useParams } from "wouter-preact";
import { call, offers, path } from "./api";
import { between, words } from "./format";
import { useLoaded, useMedia, useOperation, useTick, useTitle } from "./hooks";
import { can } from "./session";
import { StepLine } from "./stepline";
import { edgesOf, failed, nodesOf, type Node } from "./steps";
import type { Kind, Operation, Resource } from "./types";
import { Act, Loading, State, Time, Trouble } from "./ui";

type GraphProps = { nodes: Node[]; edges: [string, string][]; chosen?: string; choose: (ref: string) => void };

const doing: Record<string, string> = { CREATE: "Create", UPDATE: "Update", REPAIR: "Repair", DELETE: "Delete", VERIFY: "Verification" };

export function OperationPage() {
  const { id = "" } = useParams();
  const name = id.replace(/-[0-9a-z]{26}$/, "");
  useTitle(`Operation of ${name}`);

  return (
    <>
      <nav aria-label="Breadcrumb" class="crumbs">
        <Link href="/deployments">Environments</Link> / <Link href={`/deployments/${name}`}>{name}</Link> / <Link href={`/deployments/${name}/history`}>History</Link>
      </nav>
      <h1 tabIndex={-1}>Operation of {name}</h1>
      <Build id={id} name={name} />
    </>
  );
}

/** Build shows an operation; onDone is called when it was seen to end. */
export function Build({ id, name, onDone }: { id: string; name: string; onDone?: () => void }) {
  const { operation, problem, take } = useOperation(id);
  const kinds = useLoaded((signal) => call<{ kinds: Kind[] }>("/v1/kinds", { signal }), "kinds");
  // The needs are known once the steps are; they change with nothing else.
  const ready = operation && operation.steps.length > 0;
  const resources = useLoaded(
    ready
      ? (signal) => call<{ resources: Resource[] }>(path(name, "/resources"), { query: { pageSize: 100, showDeleted: true }, signal })
      : undefined,
    `${id} ${ready} ${operation?.done}`,
  );
  const [needs, setNeeds] = useState<Resource[]>([]);

  useEffect(() => {
    if (resources.value && resources.value.resources.length > 0) setNeeds(resources.value.resources);
  }, [resources.value]);

  const [running, setRunning] = useState(false);

  useEffect(() => {
    if (!operation) return;
    if (running && operation.done) onDone?.();
    setRunning(!operation.done);
  }, [operation?.done, operation?.id]);

  useTick(Boolean(operation && !operation.done));

  if (!operation) return problem ? <Trouble problem={problem} /> : <Loading what="the operation" />;

  return <Shown operation={operation} take={take} resources={needs} kinds={kinds.value?.kinds ?? []} lost={problem && !operation.done ? problem.title : undefined} />;
}

function Shown({ operation: o, take, resources, kinds, lost }: { operation: Operation; take: (o: Operation) => void; resources: Resource[]; kinds: Kind[]; lost?: string }) {
  const wide = useMedia("(min-width: 900px)");
  const [asList, setAsList] = useState(false);
  const [chosen, setChosen] = useState<string>();
  const nodes = useMemo(() => nodesOf(o), [o]);
  const edges = useMemo(() => edgesOf(nodes, resources, kinds), [nodes, resources, kinds]);
  const graph = wide && !asList;
  const node = nodes.find((n) => n.ref === chosen);
  const { done, total } = o.progress;

  return (
    <section class="build" aria-label={`${doing[o.kind] ?? words(o.kind)} ${o.id}`}>
      <div class="head">
        <h2>{doing[o.kind] ?? words(o.kind)}</h2>
        <State is={o.state} />
        <span class="fine time">{between(o.createTime, o.endTime)}</span>
        <progress max={total || 1} value={o.done && o.state === "SUCCEEDED" ? total || 1 : done} aria-label="Steps done" />
        <span role="status" class="fine">
          {total > 0 ? `${done} of ${total} steps done` : o.done ? "" : "Getting ready"}
          {o.done ? `, ${words(o.state)}` : ""}
        </span>
        {lost && <span class="fine">Connection lost ({lost}), trying again …</span>}
      </div>
      {o.error && <Trouble problem={o.error} />}
      <div class="tools">
        {nodes.length > 0 && wide && (
          <div class="views" role="group" aria-label="View">
            <button type="button" aria-pressed={!asList} onClick={() => setAsList(false)}>
              Graph
            </button>
            <button type="button" aria-pressed={asList} onClick={() => setAsList(true)}>
              List
            </button>
          </div>
        )}
        <Steering operation={o} take={take} />
      </div>
      {nodes.length > 0 && graph && <Lazy nodes={nodes} edges={edges} chosen={chosen} choose={(ref) => setChosen(ref === chosen ? undefined : ref)} />}
      {graph && node && (
        <div class="detail" role="region" aria-label={`Resource ${node.ref}`}>
          <h3>{node.ref}</h3>
          <Details node={node} operation={o} take={take} resource={resources.find((r) => r.ref === node.ref)} about={kinds.find((k) => k.name === node.kind)?.doc} />
        </div>
      )}
      {nodes.length > 0 && !graph && (
        <ol class="steps" aria-label="Resources">
          {nodes.map((n) => (
            <li key={n.ref} data-resource={n.ref} class={failed(n) ? "bad" : ""}>
              <span class="ref">{n.ref}</span>
              <StepLine node={n} />
              {(n.error || n.shown.attempts > 1) && <Details node={n} operation={o} take={take} />}
            </li>
          ))}
        </ol>
      )}
    </section>
  );
}

/** Lazy keeps the layout engine out of the pages that draw nothing. */
function Lazy(props: GraphProps) {
  const [Graph, setGraph] = useState<FunctionComponent<GraphProps>>();

  useEffect(() => {
    void import("./graph").then((m) => setGraph(() => m.default));
  }, []);

  return Graph ? <Graph {...props} /> : <div class="graph-scroll waiting" />;
}

function Details({ node, operation, take, resource, about }: { node: Node; operation: Operation; take: (o: Operation) => void; resource?: Resource; about?: string }) {
  const s = node.shown;

  return (
    <div class="details">
      {about && <p class="help">{about}</p>}
      <p class="fine">
        {s.attempts > 0 && `${s.attempts} ${s.attempts === 1 ? "attempt" : "attempts"}`}
        {s.startTime && (
          <>
            , begun <Time at={s.startTime} />
          </>
        )}
        {resource?.id && (
          <>
            , <code>{resource.arn || resource.id}</code>
          </>
        )}
        {resource?.origin && resource.origin !== "MADE" && `, ${words(resource.origin)}`}
      </p>
      {node.error && <Trouble problem={node.error} quiet />}
      {operation.state === "NEEDS_ATTENTION" && s.state === "FAILED" && can("admin") && offers("post", "/v1/operations/{id}:skip") && (
        <Act
          label={`Skip ${node.ref}`}
          confirm={{
            title: `Leave ${node.ref} behind?`,
            text: <p>The operation goes on without it. What there is of it in AWS stays there, is recorded as left behind, and is yours to remove.</p>,
            label: "Leave it behind",
          }}
          kind="danger"
          run={async () => take(await call<Operation>(`/v1/operations/${operation.id}:skip`, { method: "POST", body: { resource: node.ref } }))}
        />
      )}
    </div>
  );
}

/** Steering is what can be asked of this operation now. */
function Steering({ operation: o, take }: { operation: Operation; take: (o: Operation) => void }) {
  const [, go] = useLocation();
  const steer = (verb: string) => async () => take(await call<Operation>(`/v1/operations/${o.id}:${verb}`, { method: "POST" }));
  const may = (verb: string) => can("deployer") && offers("post", `/v1/operations/{id}:${verb}`);
  const cancel = !o.done && o.kind !== "DELETE" && o.state !== "ROLLING_BACK" && may("cancel");
  const resume = o.state === "NEEDS_ATTENTION" && may("resume");
  const again = o.kind === "CREATE" && o.state === "ROLLED_BACK" && can("deployer");

  if (!cancel && !resume && !again) return null;

  return (
    <div class="buttons">
      {cancel && (
        <Act
          label={`Cancel this ${words(o.kind)}`}
          confirm={{
            title: `Cancel this ${words(o.kind)}?`,
            text: <p>{o.kind === "CREATE" ? "Everything that it made so far is taken away again." : "What it changed so far is brought back."}</p>,
            label: "Cancel it and roll back",
          }}
          kind="danger"
          run={steer("cancel")}
        />
      )}
      {resume && <Act label="Resume" busy="Resuming …" kind="main" run={steer("resume")} />}
      {again && (
        <button type="button" class="main" onClick={() => go(`/deployments/new?from=${o.deployment}`)}>
          Try again with the same settings
        </button>
      )}
    </div>
  );
}
