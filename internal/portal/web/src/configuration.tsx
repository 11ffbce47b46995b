import { useState } from "preact/hooks";
import { call, path } from "./api";
import { words } from "./format";
import { useLoaded } from "./hooks";
import type { Deployment } from "./types";
import { Copy, download, Loading, Trouble } from "./ui";

export function Configuration({ d }: { d: Deployment }) {
  const [format, setFormat] = useState<"json" | "env">("json");
  const ready = d.phase !== "CREATING" && d.phase !== "DELETING";
  const { value, problem } = useLoaded(
    ready ? (signal) => call<string>(path(d.name, "/configuration"), { query: { format }, text: true, signal }) : undefined,
    `${d.name} ${d.etag} ${format}`,
  );

  if (!ready) return <p class="empty">The configuration is there once the environment is active; it is {words(d.phase)}.</p>;

  const file = format === "json" ? `config_${d.name}.json` : `${d.name}.env`;
  const install =
    format === "json"
      ? `mkdir -p ~/.metaflowconfig && mv ~/Downloads/${file} ~/.metaflowconfig/ && export METAFLOW_PROFILE=${d.name} AWS_DEFAULT_REGION=${d.region}`
      : `. ~/Downloads/${file}`;

  return (
    <section aria-label="Configuration">
      <h2>Configuration for Metaflow</h2>
      <div class="views" role="group" aria-label="Format">
        <button type="button" aria-pressed={format === "json"} onClick={() => setFormat("json")}>
          config.json
        </button>
        <button type="button" aria-pressed={format === "env"} onClick={() => setFormat("env")}>
          Shell exports
        </button>
      </div>
      {problem && <Trouble problem={problem} />}
      {!value && !problem && <Loading what="the configuration" />}
      {value && (
        <>
          <ol class="how">
            <li>
              <p>Save it.</p>
              <div class="buttons">
                <button type="button" class="main" onClick={() => download(file, value, format === "json" ? "application/json" : "text/plain")}>
                  Download {file}
                </button>
              </div>
            </li>
            <li>
              <p>Install it where Metaflow looks.</p>
              <Copy text={install} label="Copy the install line" name="Install line" />
            </li>
            <li>
              <p>Run a flow on it, with AWS credentials of yours.</p>
              <Copy text="pip install metaflow boto3 && python flow.py run --with batch" label="Copy" name="Run line" />
            </li>
          </ol>
          <h3>What is in it</h3>
          <Copy text={value} label="Copy the configuration" name="Configuration" />
        </>
      )}
    </section>
  );
}
