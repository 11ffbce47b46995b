// What would be done, and what it would cost, before anybody says yes.
import { useEffect, useState } from "preact/hooks";
import { asProblem, call, takes } from "./api";
import { estimate, money, words } from "./format";
import type { CostLine, Finding, Plan, Problem } from "./types";
import { Act, download, Trouble } from "./ui";

export interface Planned {
  plan?: Plan;
  /** template downloads what is planned as CloudFormation says it. */
  template?: () => Promise<void>;
  problem?: Problem;
  working: boolean;
}

/** usePlan asks for a plan some moments after the last change of the body; undefined asks for nothing. */
export function usePlan(route: string, name: string, body: unknown): Planned {
  const text = body === undefined ? undefined : JSON.stringify(body);
  const [state, setState] = useState<Planned>({ working: false });

  useEffect(() => {
    if (text === undefined) {
      setState({ working: false });

      return;
    }

    const gone = new AbortController();
    setState((s) => ({ ...s, working: true }));

    const timer = setTimeout(async () => {
      try {
        const asked = { method: "POST", body: JSON.parse(text) };
        const plan = await call<Plan>(route, { ...asked, signal: gone.signal });
        const template = async () => download(`${name}.template.json`, await call<string>(route, { ...asked, query: { format: "cloudformation" }, text: true }), "application/json");
        if (!gone.signal.aborted) setState({ plan, template: takes("POST", route, "format") ? template : undefined, working: false });
      } catch (e) {
        if (!gone.signal.aborted) setState({ problem: asProblem(e), working: false });
      }
    }, 700);

    return () => {
      gone.abort();
      clearTimeout(timer);
    };
  }, [route, text]);

  return state;
}

/** findingsOf are what is wrong with a body, for the form: a plan's findings, or a refusal's. */
export function findingsOf(plan?: Plan, problem?: Problem): Finding[] {
  if (problem?.errors) return problem.errors.map((e) => ({ code: e.code, pointer: e.pointer, message: e.detail, remedy: e.remedy, level: "error" }));
  if (problem?.pointer) return [{ code: problem.code, pointer: problem.pointer, message: problem.detail, remedy: problem.remedy, level: "error" }];

  return plan?.findings ?? [];
}

const bad = (f: Finding) => (f.level ?? "error").toLowerCase() === "error";

/** refused tells whether the real thing would be. */
export const refused = (p: Planned): boolean => !p.working && (p.problem?.status === 422 || Boolean(p.plan?.findings?.some(bad)));

export function PlanView({ planned }: { planned: Planned }) {
  const { plan, template, problem, working } = planned;
  const steps = plan?.steps.filter((s) => s.change !== "NONE") ?? [];
  const findings = plan?.findings ?? [];

  return (
    <div class="plan" aria-busy={working}>
      <p role="status" class="fine">
        {working
          ? "Planning …"
          : plan
            ? `${steps.length === 0 ? "Nothing to do" : `${steps.length} ${steps.length === 1 ? "step" : "steps"}`}${plan.duration ? `, usually ${estimate(plan.duration)}` : ""}.`
            : ""}
      </p>
      {problem && <Trouble problem={problem} quiet />}
      <Findings name="What is wrong" of={findings.filter(bad)} />
      {plan && <Cost plan={plan} template={template} />}
      <Findings name="To know" of={findings.filter((f) => !bad(f))} />
      {plan?.quotas && plan.quotas.length > 0 && (
        <details>
          <summary>Quotas of the account</summary>
          <table>
            <thead>
              <tr>
                <th scope="col">Quota</th>
                <th scope="col" class="number">Used</th>
                <th scope="col" class="number">Needs</th>
                <th scope="col" class="number">Limit</th>
              </tr>
            </thead>
            <tbody>
              {plan.quotas.map((q) => (
                <tr key={q.name} class={q.used + q.needs > q.limit ? "bad" : ""}>
                  <td>{q.name}</td>
                  <td class="number">{q.used}</td>
                  <td class="number">{q.needs}</td>
                  <td class="number">{q.limit}</td>
                </tr>
              ))}
            </tbody>
          </table>
        </details>
      )}
      {plan && (
        <details>
          <summary>Steps in order</summary>
          <ol class="steps-plan">
            {plan.steps.map((s) => (
              <li key={s.action + s.resource}>
                <span>
                  {words(s.change ?? s.action)} <strong>{s.resource}</strong>
                </span>
                <span class="fine">{estimate(s.estimate)}</span>
              </li>
            ))}
          </ol>
        </details>
      )}
    </div>
  );
}

function Findings({ name, of }: { name: string; of: Finding[] }) {
  if (of.length === 0) return null;

  return (
    <ul class="findings" aria-label={name}>
      {of.map((f) => (
        <li key={f.code + f.pointer + f.message} class={bad(f) ? "bad" : "warn"}>
          {f.pointer && <code>{f.pointer}</code>} {f.message} <em>{f.remedy}</em>
        </li>
      ))}
    </ul>
  );
}

function Cost({ plan, template }: { plan: Plan; template?: () => Promise<void> }) {
  const cost = plan.cost;
  if (!cost) return null;

  const amount = (l: CostLine) => {
    const parts = [];
    if (l.monthly) parts.push(`${money(l.monthly, cost.currency)} a month`);
    if (l.oneTime) parts.push(`${money(l.oneTime, cost.currency)} once`);
    if (l.price) parts.push(`${money(l.price, cost.currency)} per ${l.unit ?? "unit"}`);
    if (parts.length === 0) parts.push(l.monthly == null && l.price == null ? "not priced" : "free");

    return parts.join(", ");
  };
  const lines = (cost.lines ?? []).map((l) => ({ ...l, amount: amount(l) }));
  const priced = lines.filter((l) => l.amount !== "free");

  return (
    <>
      <dl class="cost">
        <div>
          <dt>Each month, jobs or not</dt>
          <dd>{money(cost.monthly, cost.currency)}</dd>
        </div>
        <div>
          <dt>Once</dt>
          <dd>{money(cost.oneTime, cost.currency)}</dd>
        </div>
      </dl>
      {template && (
        <div class="buttons">
          <Act label="Download as CloudFormation" busy="Downloading …" kind="small" run={template} />
        </div>
      )}
      {lines.length > 0 && (
        <details open>
          <summary>What the cost is made of</summary>
          <ul class="lines">
            {priced.map((l, i) => (
              <li key={i}>
                <span>
                  {l.what} {l.resource && <span class="fine">{l.resource}</span>}
                </span>
                <span class="amount">{l.amount}</span>
                {l.note && <span class="help">{l.note}</span>}
              </li>
            ))}
          </ul>
          <p class="fine">
            {lines.length > priced.length && `${lines.length - priced.length} more are free. `}
            {cost.source && `Prices: ${cost.source} ${cost.date ?? ""}`}
          </p>
        </details>
      )}
    </>
  );
}
