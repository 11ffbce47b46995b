// Who is logged in: authorization code with PKCE at the installation's issuer (oauth4webapi does the protocol). The token is kept in memory only; what has
// to survive the way to the issuer and back (state, verifier, nonce, where to return to) waits in sessionStorage and is taken out again at once. The tenant
// that an admin acts on stays there.
import * as oauth from "oauth4webapi";

export interface Config {
  issuer: string;
  clientId: string;
  scope: string;
  audience: string;
  tenantClaim: string;
  rolesClaim: string;
}

export interface Session {
  token: string;
  actor: string;
  tenant: string;
  /** undefined where the token does not tell: the API decides anyway. */
  roles?: string[];
}

interface Pending {
  state: string;
  verifier: string;
  nonce: string;
  returnTo: string;
}

const pendingKey = "portal-login";
const otherKey = "portal-tenant";
const home = "/portal/deployments";

let current: Session | undefined;
let other = "";
let config: Config;
let server: oauth.AuthorizationServer | undefined;

export const session = () => current;

/** can says whether a role is worth offering; the API is who refuses. */
export function can(role: "viewer" | "deployer" | "admin"): boolean {
  const order = ["viewer", "deployer", "admin"];

  return !current?.roles || current.roles.some((r) => order.indexOf(r) >= order.indexOf(role));
}

/** elsewhere is the tenant that an admin acts on instead of their own, empty at home. It is kept as long as the browser's tab, until the logout. */
export const elsewhere = (): string => (can("admin") && other !== current?.tenant ? other : "");

/** tenant is whose things are shown. */
export const tenant = (): string => elsewhere() || (current?.tenant ?? "");

export function actOn(name: string): void {
  other = name;
  sessionStorage.setItem(otherKey, name);
}

export async function loadConfig(): Promise<void> {
  const answer = await fetch("/portal/config.json");
  if (!answer.ok) throw new Error(`The portal's configuration could not be loaded (status ${answer.status}).`);
  config = await answer.json();
}

// An issuer without TLS is for one's own computer; the library wants to be told.
const insecure = () => ({ [oauth.allowInsecureRequests]: config.issuer.startsWith("http:") });

async function discover(): Promise<oauth.AuthorizationServer> {
  const issuer = new URL(config.issuer);

  return (server ??= await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: "oidc", ...insecure() })));
}

const redirectUri = () => `${location.origin}/portal/callback`;

/** login leaves the page; what comes back is callback's. */
export async function login(returnTo: string, fresh = false): Promise<never> {
  current = undefined;

  const as = await discover();
  if (!as.authorization_endpoint) throw new Error("The issuer names no authorization endpoint.");

  const pending: Pending = {
    state: oauth.generateRandomState(),
    verifier: oauth.generateRandomCodeVerifier(),
    nonce: oauth.generateRandomNonce(),
    returnTo: returnTo.startsWith("/portal/") && !returnTo.startsWith("/portal/callback") ? returnTo : home,
  };
  sessionStorage.setItem(pendingKey, JSON.stringify(pending));

  const url = new URL(as.authorization_endpoint);
  const members: Record<string, string> = {
    response_type: "code",
    client_id: config.clientId,
    redirect_uri: redirectUri(),
    scope: config.scope,
    state: pending.state,
    nonce: pending.nonce,
    code_challenge: await oauth.calculatePKCECodeChallenge(pending.verifier),
    code_challenge_method: "S256",
    audience: config.audience,
    ...(fresh ? { prompt: "login" } : {}),
  };
  for (const [name, value] of Object.entries(members)) if (value) url.searchParams.set(name, value);

  location.assign(url);

  return new Promise<never>(() => {}); // the browser is leaving
}

/** callback redeems the code that the issuer sent along, and answers where to go on. */
export async function callback(): Promise<string> {
  const kept = sessionStorage.getItem(pendingKey);
  sessionStorage.removeItem(pendingKey);
  if (!kept) return login(home);

  const pending: Pending = JSON.parse(kept);
  const as = await discover();
  const client: oauth.Client = { client_id: config.clientId };
  const params = oauth.validateAuthResponse(as, client, new URL(location.href), pending.state);
  const answer = await oauth.authorizationCodeGrantRequest(as, client, oauth.None(), params, redirectUri(), pending.verifier, insecure());
  const tokens = await oauth.processAuthorizationCodeResponse(as, client, answer, {
    expectedNonce: config.scope.split(" ").includes("openid") ? pending.nonce : oauth.expectNoNonce,
  });

  current = describe(tokens.access_token, oauth.getValidatedIdTokenClaims(tokens) ?? {});
  other = sessionStorage.getItem(otherKey) ?? "";

  return pending.returnTo;
}

// For showing only: the API believes nothing but what its authorizer verified.
function describe(token: string, id: Record<string, unknown>): Session {
  let claims = id;

  try {
    const part = token.split(".")[1] ?? "";
    claims = { ...id, ...JSON.parse(new TextDecoder().decode(Uint8Array.from(atob(part.replace(/-/g, "+").replace(/_/g, "/")), (c) => c.charCodeAt(0)))) };
  } catch {
    // an opaque token; the id token must do
  }

  const roles = claims[config.rolesClaim];

  return {
    token,
    actor: String(claims.email ?? claims.preferred_username ?? claims.sub ?? "you"),
    tenant: String(claims[config.tenantClaim] ?? ""),
    roles: Array.isArray(roles) ? roles.map(String) : typeof roles === "string" ? roles.split(/[\s,]+/) : undefined,
  };
}

export async function logout(): Promise<void> {
  current = undefined;
  actOn("");

  const as = await discover();
  const after = `${location.origin}/portal/logged-out`;

  if (as.end_session_endpoint) {
    const url = new URL(as.end_session_endpoint);
    url.searchParams.set("client_id", config.clientId);
    url.searchParams.set("post_logout_redirect_uri", after);
    location.assign(url);
  } else {
    location.assign(after);
  }
}
