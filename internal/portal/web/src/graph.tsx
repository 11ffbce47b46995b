// The build as a picture: dagre lays out what needs what, the browser draws it. Nodes are buttons, so that the keyboard reaches them.
import { graphlib, layout } from "@dagrejs/dagre";
import { useMemo } from "preact/hooks";
import { failed, type Node } from "./steps";
import { StepLine } from "./stepline";
import { tone } from "./ui";

const width = 218;
const low = 80;

/** heightOf makes room for the error and its remedy in the node where it happened. */
function heightOf(n: Node): number {
  if (!failed(n) || !n.error) return low;

  const lines = Math.ceil(n.error.title.length / 26) + Math.ceil(n.error.remedy.length / 30);

  return Math.min(250, 78 + lines * 18);
}

interface Box {
  x: number;
  y: number;
  width: number;
  height: number;
}

interface Placed {
  width: number;
  height: number;
  at: Map<string, Box>;
  lines: { from: string; to: string; d: string }[];
}

function place(sizes: [string, number][], edges: [string, string][]): Placed {
  const g = new graphlib.Graph();
  g.setGraph({ rankdir: "LR", nodesep: 12, ranksep: 28, marginx: 8, marginy: 8 });
  g.setDefaultEdgeLabel(() => ({}));
  for (const [ref, height] of sizes) g.setNode(ref, { width, height });
  for (const [a, b] of edges) g.setEdge(a, b);
  layout(g);

  const size = g.graph();

  return {
    width: size.width ?? 0,
    height: size.height ?? 0,
    at: new Map(g.nodes().map((ref) => [ref, g.node(ref)])),
    lines: g.edges().map((e) => ({ from: e.v, to: e.w, d: curve(g.edge(e).points, g.node(e.v), g.node(e.w)) })),
  };
}

/** curve leaves a node in the middle of its right side, follows the layout's way around what lies between, and enters the other from the left. */
function curve(points: { x: number; y: number }[], from: Box, to: Box): string {
  const way = [{ x: from.x + from.width / 2, y: from.y }, ...points.slice(1, -1).filter((p) => p.x > from.x + from.width / 2 && p.x < to.x - to.width / 2), { x: to.x - to.width / 2, y: to.y }];
  let d = `M${way[0]!.x},${way[0]!.y}`;

  for (let i = 1; i < way.length; i++) {
    const a = way[i - 1]!;
    const b = way[i]!;
    const half = (b.x - a.x) / 2;
    d += ` C${a.x + half},${a.y} ${b.x - half},${b.y} ${b.x},${b.y}`;
  }

  return d;
}

export default function Graph({ nodes, edges, chosen, choose }: { nodes: Node[]; edges: [string, string][]; chosen?: string; choose: (ref: string) => void }) {
  // Laid out again only when something comes, goes or grows: a picture that jumps at each change cannot be watched.
  const key = JSON.stringify([nodes.map((n) => [n.ref, heightOf(n)]), edges]);
  const placed = useMemo(() => place(...(JSON.parse(key) as [[string, number][], [string, string][]])), [key]);
  const states = new Map(nodes.map((n) => [n.ref, n]));

  return (
    <div class="graph-scroll" role="group" aria-label="Graph of the resources, left to right in the order of making" tabIndex={0}>
      <div class="graph" style={{ width: `${placed.width}px`, height: `${placed.height}px` }}>
        <svg width={placed.width} height={placed.height} aria-hidden="true">
          {placed.lines.map((l) => {
            const waits = states.get(l.to)?.shown.waitingFor === l.from;
            const done = states.get(l.from)?.shown.state === "READY";

            return <path key={`${l.from} ${l.to}`} class={waits ? "waits" : done ? "done" : ""} d={l.d} />;
          })}
        </svg>
        {nodes.map((n) => {
          const at = placed.at.get(n.ref);
          if (!at) return null;

          return (
            <button
              key={n.ref}
              type="button"
              class={`node ${failed(n) ? "bad" : tone(n.shown.state)}`}
              aria-pressed={chosen === n.ref}
              data-resource={n.ref}
              style={{ left: `${at.x - at.width / 2}px`, top: `${at.y - at.height / 2}px`, width: `${at.width}px`, height: `${at.height}px` }}
              onClick={() => choose(n.ref)}
            >
              <span class="ref">{n.ref}</span>
              <StepLine node={n} />
              {failed(n) && n.error && (
                <span class="why">
                  <strong>{n.error.title}</strong>
                  <span>{n.error.remedy}</span>
                </span>
              )}
            </button>
          );
        })}
      </div>
    </div>
  );
}
