import type { Kind, Operation, Problem, Resource, Step } from "./types";

/** Node is one resource in an operation: a rollback has two steps for it. */
export interface Node {
  ref: string;
  kind: string;
  ensure?: Step;
  remove?: Step;
  /** shown is the step that was done last. */
  shown: Step;
  /** error is why it failed, also after it was taken away again. */
  error?: Problem;
}

const begun = (s: Step) => s.state !== "PENDING" || s.attempts > 0;

export function nodesOf(o: Operation): Node[] {
  const nodes = new Map<string, Node>();

  for (const step of o.steps) {
    const node = nodes.get(step.resource) ?? { ref: step.resource, kind: step.kind, shown: step };
    node[step.action === "ENSURE" ? "ensure" : "remove"] = step;
    node.shown = node.remove && (!node.ensure || begun(node.remove)) ? node.remove : (node.ensure ?? step);
    node.error = node.shown.error ?? node.ensure?.error ?? node.remove?.error;
    nodes.set(step.resource, node);
  }

  return [...nodes.values()];
}

/** failed tells whether it is this resource that went wrong, not one that was skipped because of it. */
export const failed = (n: Node): boolean => n.shown.state === "FAILED" || n.ensure?.state === "FAILED";

/**
 * edgesOf are the needs among an operation's resources: as the resources themselves say, and by kind where they are gone (a rolled back create leaves none).
 */
export function edgesOf(nodes: Node[], resources: Resource[], kinds: Kind[]): [needed: string, by: string][] {
  const here = new Set(nodes.map((n) => n.ref));
  const edges: [string, string][] = [];

  for (const node of nodes) {
    const own = resources.find((r) => r.ref === node.ref);
    const needs = own ? own.needs : nodes.filter((n) => kinds.find((k) => k.name === node.kind)?.needs.includes(n.kind)).map((n) => n.ref);
    for (const need of needs) if (here.has(need) && need !== node.ref) edges.push([need, node.ref]);
  }

  return edges;
}
