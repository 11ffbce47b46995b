import { between, words } from "./format";
import { failed, type Node } from "./steps";
import { State } from "./ui";

/** StepLine says how far a resource is: state, whom it waits for, how long. */
export function StepLine({ node }: { node: Node }) {
  const { shown } = node;
  const time = between(shown.startTime, shown.endTime);

  return (
    <span class="line">
      {failed(node) && shown.state !== "FAILED" ? (
        <State is="FAILED" says={`failed, ${words(shown.state)}`} />
      ) : (
        <State is={shown.state} says={shown.action === "REMOVE" && shown.state === "RUNNING" ? "removing" : undefined} />
      )}
      {shown.waitingFor ? <span class="fine">for {shown.waitingFor}</span> : time && <span class="fine time">{time}</span>}
    </span>
  );
}
