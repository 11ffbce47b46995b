// The page's beginning: what the installation offers, who is logged in, and which page stands at which path.
import { render } from "preact";
import { useEffect, useState } from "preact/hooks";
import { Link, Redirect, Route, Router, Switch, useLocation } from "wouter-preact";
import { asProblem, loadDocument, offers, version } from "./api";
import { AuditPage } from "./audit";
import { Create } from "./create";
import { DeploymentPage } from "./deployment";
import { List } from "./list";
import { OperationPage } from "./operation";
import { OrphansPage } from "./orphans";
import { actOn, callback, can, elsewhere, loadConfig, login, logout, session, tenant } from "./session";
import { TenantPage } from "./tenant";
import type { Problem } from "./types";
import { Act, Trouble } from "./ui";

const base = "/portal";

function Shell() {
  const [at, go] = useLocation();
  const [whose, setWhose] = useState(tenant());
  const who = session();

  // A new page is told to those who do not see it: its heading gets the focus.
  useEffect(() => {
    document.querySelector<HTMLElement>("main h1")?.focus();
    scrollTo(0, 0);
  }, [at, whose]);

  // What is shown by name is another thing in another tenant, or none.
  const turnTo = (name: string) => {
    actOn(name);
    setWhose(tenant());
    if (/^\/(deployments|operations)\//.test(at)) go("/deployments");
  };

  return (
    <>
      <a href="#main" class="skip">
        Skip to content
      </a>
      <header>
        <div class="bar">
          <Link href="/deployments" class="brand">
            Metaflow environments
          </Link>
          <nav aria-label="Main">
            <Link href="/deployments" aria-current={at.startsWith("/deployments") ? "true" : undefined}>
              Environments
            </Link>
            {offers("get", "/v1/audit") && (
              <Link href="/audit" aria-current={at === "/audit" ? "page" : undefined}>
                Audit
              </Link>
            )}
            {offers("get", "/v1/orphans") && can("admin") && (
              <Link href="/orphans" aria-current={at === "/orphans" ? "page" : undefined}>
                Orphans
              </Link>
            )}
            {(offers("get", "/v1/webhooks") || offers("get", "/v1/grants")) && (
              <Link href="/tenant" aria-current={at === "/tenant" ? "page" : undefined}>
                Tenant
              </Link>
            )}
            <a href="/docs">API</a>
          </nav>
          <div class="who">
            <span>
              <strong>{who?.actor}</strong>
              {who?.tenant && <span class="fine"> tenant {who.tenant}</span>}
            </span>
            {can("admin") && <Turn key={whose} to={turnTo} />}
            <Act label="Log out" kind="small" run={logout} />
          </div>
        </div>
      </header>
      {elsewhere() && (
        <aside class="elsewhere" aria-label="Another tenant">
          <p role="status">
            You act on the tenant <strong>{whose}</strong>.
          </p>
          <button type="button" class="small" onClick={() => turnTo("")}>
            Back to your own
          </button>
        </aside>
      )}
      <main id="main" tabIndex={-1} key={whose}>
        <Switch>
          <Route path="/deployments" component={List} />
          <Route path="/deployments/new" component={Create} />
          <Route path="/deployments/:name/*?">{(p) => <DeploymentPage key={p.name} />}</Route>
          <Route path="/operations/:id">{(p) => <OperationPage key={p.id} />}</Route>
          <Route path="/audit" component={AuditPage} />
          <Route path="/orphans" component={OrphansPage} />
          <Route path="/tenant" component={TenantPage} />
          <Route path="/">
            <Redirect to="/deployments" replace />
          </Route>
          <Route>
            <h1 tabIndex={-1}>There is no such page</h1>
            <p>
              <Link href="/deployments">Go to the environments</Link>
            </p>
          </Route>
        </Switch>
      </main>
      <footer class="fine">metaflow-deployer {version()}</footer>
    </>
  );
}

/** Turn is where an admin says on which tenant to act. */
function Turn({ to }: { to: (tenant: string) => void }) {
  const [name, setName] = useState(tenant());

  return (
    <form
      class="acting"
      onSubmit={(e) => {
        e.preventDefault();
        to(name.trim());
        setName(tenant());
      }}
    >
      <label for="tenant">Act on tenant</label>
      <input id="tenant" type="text" maxLength={63} autocomplete="off" spellcheck={false} value={name} onInput={(e) => setName(e.currentTarget.value)} />
      <button type="submit" class="small">
        Switch
      </button>
    </form>
  );
}

/** Gate is what is shown to those who are not logged in and not on their way to it. */
function Gate({ problem, returnTo }: { problem?: Problem; returnTo: string }) {
  const [failed, setFailed] = useState(problem);

  return (
    <main class="gate">
      <h1>Metaflow environments</h1>
      {failed ? <Trouble problem={failed} /> : <p>You are logged out.</p>}
      <div class="buttons">
        <button type="button" class="main" onClick={() => void login(returnTo, !problem).catch((e: unknown) => setFailed(asProblem(e)))}>
          Log in
        </button>
      </div>
    </main>
  );
}

async function start(root: HTMLElement): Promise<void> {
  const here = location.pathname + location.search;
  let returnTo = here;

  try {
    await loadConfig();

    if (location.pathname === `${base}/logged-out`) {
      history.replaceState(null, "", `${base}/deployments`);
      render(<Gate returnTo={`${base}/deployments`} />, root);

      return;
    }

    if (location.pathname !== `${base}/callback`) await login(here);

    returnTo = `${base}/deployments`;
    // The document is large, and whoever is still on the way to the issuer would load it twice.
    [returnTo] = await Promise.all([callback(), loadDocument()]);
    history.replaceState(null, "", returnTo);
    render(
      <Router base={base}>
        <Shell />
      </Router>,
      root,
    );
  } catch (e) {
    render(<Gate problem={{ ...asProblem(e), title: "You could not be logged in", remedy: "Try again; if it stays, ask an administrator to check the portal's client at the issuer." }} returnTo={returnTo} />, root);
  }
}

const root = document.getElementById("app");
if (root) {
  root.textContent = "";
  void start(root);
}
