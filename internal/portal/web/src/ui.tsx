// What several pages show: problems with their remedy, states, dialogs, things to copy.
import type { ComponentChildren } from "preact";
import { useEffect, useId, useRef, useState } from "preact/hooks";
import { Link } from "wouter-preact";
import { asProblem } from "./api";
import { moment, words } from "./format";
import { elsewhere } from "./session";
import type { Problem } from "./types";

const icons: Record<string, string> = {
  ok: "M3 8.5l3.2 3.2L13 5",
  bad: "M4 4l8 8M12 4l-8 8",
  run: "M8 2a6 6 0 1 1-6 6",
  wait: "M8 4v4l3 2M8 2a6 6 0 1 0 0 12A6 6 0 0 0 8 2",
  none: "M4 8h8",
  skip: "M3 4l5 4-5 4zM9 4l5 4-5 4z",
  keep: "M4 7h8v6H4zM5.5 7V5a2.5 2.5 0 0 1 5 0v2",
  warn: "M8 2.5l6 11H2zM8 6.5v3.2M8 11.6v.2",
};

const looks: Record<string, [tone: string, icon: string]> = {
  ACTIVE: ["good", "ok"], READY: ["good", "ok"], SUCCEEDED: ["good", "ok"],
  CREATING: ["busy", "run"], UPDATING: ["busy", "run"], DELETING: ["busy", "run"], RUNNING: ["busy", "run"], ROLLING_BACK: ["warn", "run"],
  PENDING: ["calm", "none"], WAITING: ["calm", "wait"],
  FAILED: ["bad", "bad"], ROLLED_BACK: ["bad", "bad"], NEEDS_ATTENTION: ["warn", "warn"],
  DONE: ["good", "ok"], ADMITTED: ["busy", "none"], REFUSED: ["bad", "bad"],
  NOTED: ["calm", "wait"], REMOVING: ["busy", "run"], HELD: ["warn", "warn"],
  GONE: ["calm", "none"], DELETED: ["calm", "none"], SKIPPED: ["warn", "skip"], KEPT: ["calm", "keep"],
};

export const tone = (state: string): string => looks[state]?.[0] ?? "calm";

/** State says a state in colour, shape and words. */
export function State({ is, says }: { is: string; says?: string }) {
  const [tone, icon] = looks[is] ?? ["calm", "none"];

  return (
    <span class={`state ${tone}`} data-state={is}>
      <svg viewBox="0 0 16 16" aria-hidden="true" class={icon === "run" ? "turn" : ""}>
        <path d={icons[icon]} />
      </svg>
      {says ?? words(is)}
    </span>
  );
}

/** Trouble shows a problem: what, why, and what to do about it. */
export function Trouble({ problem, children, quiet }: { problem: Problem; children?: ComponentChildren; quiet?: boolean }) {
  const more = [problem.resource && `resource ${problem.resource}`, problem.code, problem.awsCode && `AWS ${problem.awsCode}`, problem.requestId && `request ${problem.requestId}`];

  return (
    <div class="trouble" role={quiet ? undefined : "alert"}>
      <p class="what">{problem.title}</p>
      <p>{problem.detail}</p>
      {problem.errors && problem.errors.length > 1 && (
        <ul>
          {problem.errors.map((e) => (
            <li key={e.code + e.pointer}>
              {(e.pointer || e.parameter) && <code>{e.pointer ?? e.parameter}</code>} {e.detail} {e.remedy}
            </li>
          ))}
        </ul>
      )}
      {problem.remedy && (
        <p class="remedy">
          <strong>What you can do:</strong> {problem.remedy}
        </p>
      )}
      {problem.operation && (
        <p>
          <Link href={`/operations/${problem.operation.split("/").pop()}`}>Show the operation that is in the way</Link>
        </p>
      )}
      <p class="fine">{more.filter(Boolean).join(" · ")}</p>
      {children}
    </div>
  );
}

/** Modal is the browser's own dialog: it keeps the focus and closes with Escape. */
export function Modal({ title, onClose, children }: { title: string; onClose: () => void; children: ComponentChildren }) {
  const ref = useRef<HTMLDialogElement>(null);
  const id = useId();

  useEffect(() => {
    const before = document.activeElement;
    ref.current?.showModal();

    return () => {
      if (before instanceof HTMLElement && before.isConnected) before.focus();
    };
  }, []);

  return (
    <dialog ref={ref} aria-labelledby={id} onClose={onClose} onClick={(e) => e.target === ref.current && ref.current?.close()}>
      <div class="sheet">
        <h2 id={id}>{title}</h2>
        {elsewhere() && (
          <p class="elsewhere">
            In the tenant <strong>{elsewhere()}</strong>
          </p>
        )}
        {children}
      </div>
    </dialog>
  );
}

/** Act is a button that asks for something and shows in its place why it was refused. */
export function Act({
  label,
  busy,
  run,
  kind = "",
  confirm,
}: {
  label: string;
  busy?: string;
  run: () => Promise<unknown>;
  kind?: string;
  confirm?: { title: string; text: ComponentChildren; label: string };
}) {
  const [working, setWorking] = useState(false);
  const [asking, setAsking] = useState(false);
  const [failed, setFailed] = useState<Problem>();

  const go = async () => {
    setWorking(true);
    setFailed(undefined);

    try {
      await run();
      setAsking(false);
    } catch (e) {
      setFailed(asProblem(e));
    } finally {
      setWorking(false);
    }
  };

  return (
    <>
      <button type="button" class={kind} aria-disabled={working} onClick={() => !working && (confirm ? setAsking(true) : void go())}>
        {working && !asking ? (busy ?? `${label} …`) : label}
      </button>
      {asking && confirm && (
        <Modal title={confirm.title} onClose={() => setAsking(false)}>
          {confirm.text}
          {failed && <Trouble problem={failed} />}
          <div class="buttons">
            <button type="button" class={kind || "main"} aria-disabled={working} onClick={() => !working && void go()}>
              {working ? (busy ?? `${confirm.label} …`) : confirm.label}
            </button>
            <button type="button" onClick={(e) => e.currentTarget.closest("dialog")?.close()}>
              Back
            </button>
          </div>
        </Modal>
      )}
      {failed && !asking && <Trouble problem={failed} />}
    </>
  );
}

/** Copy is a text with a button that copies it. */
export function Copy({ text, label, name }: { text: string; label: string; name: string }) {
  const [done, setDone] = useState("");

  const copy = async () => {
    try {
      await navigator.clipboard.writeText(text);
      setDone("Copied");
    } catch {
      setDone("Not allowed: select it and copy it by hand");
    }

    setTimeout(() => setDone(""), 4000);
  };

  return (
    <div class="copy">
      <pre tabIndex={0} aria-label={name}>
        {text}
      </pre>
      <button type="button" onClick={() => void copy()}>
        {label}
      </button>
      <span role="status" class="fine">
        {done}
      </span>
    </div>
  );
}

export const Time = ({ at }: { at?: string }) => (at ? <time dateTime={at}>{moment(at)}</time> : null);

/** Loading keeps the place of what comes. */
export const Loading = ({ what }: { what: string }) => (
  <p class="loading" role="status">
    Loading {what} …
  </p>
);

/** Download saves a text as a file; the bytes are those the API sent. */
export function download(name: string, text: string, type: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([text], { type }));
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
