// The API, as its OpenAPI document offers it.
import { elsewhere, login, session } from "./session";
import type { Deployment, Problem } from "./types";

/** Refusal is an answer that is no success. */
export class Refusal extends Error {
  constructor(readonly problem: Problem) {
    super(problem.detail);
  }
}

/** skew is how far the server's clock is ahead of this one, in ms: durations of what runs are counted by the server's. */
export let skew = 0;

interface Request {
  method?: string;
  body?: unknown;
  query?: Record<string, string | number | boolean | undefined>;
  header?: Record<string, string>;
  signal?: AbortSignal;
  text?: boolean;
}

/** call asks the API. 401 leads to the issuer and back to where the user is now. */
export async function call<T>(path: string, r: Request = {}): Promise<T> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(r.query ?? {})) if (value !== undefined && value !== "") query.set(name, String(value));
  if (elsewhere() && takes(r.method ?? "GET", path, "tenant")) query.set("tenant", elsewhere());

  const header: Record<string, string> = { authorization: `Bearer ${session()?.token ?? ""}`, ...r.header };
  if (r.body !== undefined) header["content-type"] = "application/json";
  // A repeated POST (a flaky network, a second click) must not be a second request.
  if (r.method === "POST") header["idempotency-key"] ??= crypto.randomUUID();

  let answer: Response;

  try {
    answer = await fetch(path + (query.size ? `?${query}` : ""), {
      method: r.method ?? "GET",
      headers: header,
      body: r.body === undefined ? undefined : JSON.stringify(r.body),
      signal: r.signal,
      cache: "no-store",
    });
  } catch (e) {
    if (r.signal?.aborted) throw e;
    throw new Refusal({
      title: "No answer", status: 0, code: "no_answer", detail: "The API could not be reached.", remedy: "Check your connection and try again.", retryable: true,
    });
  }

  const date = Date.parse(answer.headers.get("date") ?? "");
  if (date) skew = date - Date.now();

  if (answer.status === 401) return login(location.pathname + location.search);
  if (!answer.ok) throw new Refusal(await problemOf(answer));
  if (answer.status === 204) return undefined as T;

  return (r.text ? answer.text() : answer.json()) as Promise<T>;
}

async function problemOf(answer: Response): Promise<Problem> {
  try {
    const body = await answer.json();
    if (body.code) return body;
    // What API Gateway itself refuses is a message of its own.
    if (body.message) throw new Error(body.message);
  } catch (e) {
    if (e instanceof Error && !(e instanceof SyntaxError)) return gateway(answer.status, e.message);
  }

  return gateway(answer.status, "");
}

function gateway(status: number, message: string): Problem {
  return {
    title: message || `Status ${status}`,
    status,
    code: `http_${status}`,
    detail: `The gateway before the API answered ${status}${message ? ` (${message})` : ""}.`,
    remedy: status === 429 || status >= 500 ? "Wait a moment and try again." : "Load the page again; ask an administrator if it stays.",
    retryable: status === 429 || status >= 500,
  };
}

export const asProblem = (e: unknown): Problem =>
  e instanceof Refusal
    ? e.problem
    : { title: "The page stumbled", status: 0, code: "page", detail: e instanceof Error ? e.message : String(e), remedy: "Load the page again." };

// --- What is on offer ---------------------------------------------------------------------------------------------------------------------------------

export interface Schema {
  $ref?: string;
  type?: string | string[];
  description?: string;
  properties?: Record<string, Schema>;
  required?: string[];
  items?: Schema;
  additionalProperties?: Schema | boolean;
  enum?: (string | number)[];
  default?: unknown;
  minimum?: number;
  maximum?: number;
  maxItems?: number;
  maxLength?: number;
  format?: string;
}

interface Document {
  info: { version: string };
  paths: Record<string, Record<string, { requestBody?: { content?: Record<string, { schema?: Schema }> }; parameters?: { name: string }[] }>>;
  components: { schemas: Record<string, Schema> };
}

let api: Document = { info: { version: "" }, paths: {}, components: { schemas: {} } };

export async function loadDocument(): Promise<void> {
  const answer = await fetch("/openapi.json");
  if (!answer.ok) throw new Error(`The API's document could not be loaded (status ${answer.status}).`);
  api = await answer.json();
}

export const version = () => api.info.version;

/** offers tells whether this installation's API has a route: what it has not is not shown. */
export const offers = (method: "get" | "post" | "put" | "delete", path: string): boolean => Boolean(api.paths[path]?.[method]);

/** takes tells whether a call has a parameter, as the API's document says. */
export function takes(method: string, path: string, parameter: string): boolean {
  const route = Object.keys(api.paths).find((p) => new RegExp(`^${p.replace(/\{\w+\}/g, "[^/:]+")}$`).test(path));

  return Boolean(route && api.paths[route]?.[method.toLowerCase()]?.parameters?.some((p) => p.name === parameter));
}

/** bodyOf is the schema of a route's body. */
export const bodyOf = (method: string, path: string): Schema | undefined => api.paths[path]?.[method]?.requestBody?.content?.["application/json"]?.schema;

/** resolve follows references; what stands beside a reference wins. */
export function resolve(schema: Schema): Schema {
  const name = schema.$ref?.replace("#/components/schemas/", "");
  if (!name) return schema;

  const { $ref: _, ...beside } = schema;

  return { ...resolve(api.components.schemas[name] ?? {}), ...beside };
}

export const path = (name: string, verb = "") => `/v1/deployments/${encodeURIComponent(name)}${verb}`;

/** changeable tells whether to offer an update and a repair: the API takes them also where one of them got stuck, and says so where something else did. */
export const changeable = (d: Deployment): boolean => d.phase === "ACTIVE" || d.phase === "NEEDS_ATTENTION";

/** act asks for one of a deployment's custom verbs, with a body only if the route takes one. */
export function act<T>(name: string, verb: string): Promise<T> {
  return call<T>(path(name, `:${verb}`), { method: "POST", body: bodyOf("post", `/v1/deployments/{name}:${verb}`) ? {} : undefined });
}
