import { usePages, useTitle } from "./hooks";
import type { Orphan } from "./types";
import { Loading, State, Time, Trouble } from "./ui";

export function OrphansPage() {
  useTitle("Orphans");

  const { value, problem, next } = usePages<Orphan>("/v1/orphans", {});

  return (
    <>
      <h1 tabIndex={-1}>Orphans</h1>
      <p class="help">What the sweeper found in AWS that carries this installation's tags and that no record knows, of all tenants. What is held is never removed by the sweeper.</p>
      {!value && (problem ? <Trouble problem={problem} /> : <Loading what="orphans" />)}
      {value?.all.length === 0 && <p class="empty">The sweeper found nothing.</p>}
      {value && value.all.length > 0 && (
        <table class="cards">
          <thead>
            <tr>
              <th scope="col">Resource</th>
              <th scope="col">State</th>
              <th scope="col">In AWS</th>
              <th scope="col">Tenant</th>
              <th scope="col">Environment</th>
              <th scope="col">First seen</th>
            </tr>
          </thead>
          <tbody>
            {value.all.map((o) => (
              <tr key={o.kind + o.id}>
                <th scope="row">{o.resource}</th>
                <td>
                  <State is={o.state} />
                  {o.reason && <span class="help"> {o.reason}</span>}
                </td>
                <td data-label="In AWS">
                  <code class="long">{o.arn || o.id}</code>
                </td>
                <td data-label="Tenant">{o.tenant}</td>
                <td data-label="Environment">{o.deployment}</td>
                <td data-label="First seen">
                  <Time at={o.firstSeen} />
                </td>
              </tr>
            ))}
          </tbody>
        </table>
      )}
      {value?.more && (
        <button type="button" onClick={next}>
          Show more
        </button>
      )}
    </>
  );
}
