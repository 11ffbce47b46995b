// What a tenant has beside its environments: where its events are sent, and what admins allowed it to use.
import { useState } from "preact/hooks";
import { call, offers } from "./api";
import { Ask } from "./ask";
import { words } from "./format";
import { useLoaded, useTitle } from "./hooks";
import { can, tenant } from "./session";
import type { Grant, Webhook } from "./types";
import { Act, Copy, Loading, Modal, Time, Trouble } from "./ui";

export function TenantPage() {
  useTitle("Tenant");

  return (
    <>
      <h1 tabIndex={-1}>Tenant {tenant()}</h1>
      {offers("get", "/v1/webhooks") && <Webhooks />}
      {offers("get", "/v1/grants") && <Grants />}
    </>
  );
}

function Webhooks() {
  const { value, problem, reload } = useLoaded((signal) => call<{ webhooks: Webhook[] }>("/v1/webhooks", { signal }), "webhooks");
  const [adding, setAdding] = useState(false);
  const [added, setAdded] = useState<Webhook>();

  return (
    <section>
      <h2>Webhooks</h2>
      <p class="help">Each change of a phase is posted to these addresses, signed with the secret that is shown when one is added.</p>
      {!value && (problem ? <Trouble problem={problem} /> : <Loading what="webhooks" />)}
      {value?.webhooks.length === 0 && <p class="empty">Nobody hears of what happens here.</p>}
      {value && value.webhooks.length > 0 && (
        <table class="cards">
          <thead>
            <tr>
              <th scope="col">URL</th>
              <th scope="col">Added by</th>
              <th scope="col">When</th>
              {can("deployer") && <th scope="col">Actions</th>}
            </tr>
          </thead>
          <tbody>
            {value.webhooks.map((w) => (
              <tr key={w.id}>
                <th scope="row">
                  <span class="long">{w.url}</span>
                </th>
                <td data-label="Added by">{w.actor}</td>
                <td data-label="When">
                  <Time at={w.time} />
                </td>
                {can("deployer") && (
                  <td>
                    <Act
                      label={`Remove ${new URL(w.url).host}`}
                      kind="small"
                      run={() => call(`/v1/webhooks/${w.id}`, { method: "DELETE" }).then(reload)}
                      confirm={{ title: "Remove this webhook?", text: <p>Events that are under way to {w.url} are dropped.</p>, label: "Remove it" }}
                    />
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {can("deployer") && (
        <div class="buttons">
          <button type="button" onClick={() => setAdding(true)}>
            Add webhook
          </button>
        </div>
      )}
      {adding && (
        <Ask
          title="Add webhook"
          route="/v1/webhooks"
          send={(body) => call<Webhook>("/v1/webhooks", { method: "POST", body })}
          label="Add it"
          close={() => setAdding(false)}
          done={(w) => {
            setAdded(w);
            reload();
          }}
        />
      )}
      {added?.secret && (
        <Modal title="Keep the secret" onClose={() => setAdded(undefined)}>
          <p>What is sent to {added.url} is signed with it. It is shown this once.</p>
          <Copy text={added.secret} label="Copy the secret" name="Secret" />
          <div class="buttons">
            <button type="button" class="main" onClick={(e) => e.currentTarget.closest("dialog")?.close()}>
              I have it
            </button>
          </div>
        </Modal>
      )}
    </section>
  );
}

function Grants() {
  const { value, problem, reload } = useLoaded((signal) => call<{ grants: Grant[] }>("/v1/grants", { signal }), "grants");
  const [adding, setAdding] = useState(false);

  return (
    <section>
      <h2>Grants</h2>
      <p class="help">What admins allowed this tenant: buckets and roles that are there already, and accounts whose CloudFormation stacks act for it.</p>
      {!value && (problem ? <Trouble problem={problem} /> : <Loading what="grants" />)}
      {value?.grants.length === 0 && <p class="empty">Nothing is allowed. The tenant uses what it makes itself.</p>}
      {value && value.grants.length > 0 && (
        <table class="cards">
          <thead>
            <tr>
              <th scope="col">What</th>
              <th scope="col">Kind</th>
              <th scope="col">Allowed by</th>
              <th scope="col">When</th>
              {can("admin") && <th scope="col">Actions</th>}
            </tr>
          </thead>
          <tbody>
            {value.grants.map((g) => (
              <tr key={g.kind + g.value}>
                <th scope="row">
                  <span class="long">{g.value}</span>
                </th>
                <td data-label="Kind">{words(g.kind)}</td>
                <td data-label="Allowed by">{g.actor}</td>
                <td data-label="When">
                  <Time at={g.time} />
                </td>
                {can("admin") && (
                  <td>
                    <Act
                      label={`Withdraw ${g.value.split("/").pop()}`}
                      kind="small"
                      run={() => call("/v1/grants", { method: "DELETE", query: { kind: g.kind, value: g.value } }).then(reload)}
                      confirm={{ title: "Withdraw this grant?", text: <p>Environments that use {g.value} already go on doing so; new ones may not.</p>, label: "Withdraw it" }}
                    />
                  </td>
                )}
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {can("admin") && (
        <div class="buttons">
          <button type="button" onClick={() => setAdding(true)}>
            Allow something
          </button>
        </div>
      )}
      {adding && (
        <Ask
          title="Allow something"
          route="/v1/grants"
          send={(body) => call<Grant>("/v1/grants", { method: "POST", body })}
          label="Allow it"
          close={() => setAdding(false)}
          done={reload}
        />
      )}
    </section>
  );
}
