// A Chromium that a test drives as a person would: by roles and labels, with the keyboard where it matters. Every page it opens is watched for what must
// never happen: an error in the console (a violated policy is one), a request to another host, an exception.
import { createRequire } from "node:module";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import assert from "node:assert/strict";

export const env = (name) => {
  const value = process.env[name];
  assert.ok(value, `${name} is not set`);

  return value;
};

export const portal = env("PORTAL_URL");
export const endpoint = env("AWS_ENDPOINT_URL");

const require = createRequire(join(env("PORTAL_NODE"), "package.json"));
const { chromium } = require("playwright-core");
const axe = require("axe-core").source;

export const launch = () =>
  chromium.launch({
    executablePath: env("PORTAL_CHROMIUM"),
    args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
  });

export const sizes = { 360: { width: 360, height: 740 }, 1600: { width: 1600, height: 1000 } };
const allowed = new Set([new URL(portal).host, new URL(endpoint).host]);

/** open gives a page of its own browser profile; what went wrong on it is in page.wrong. */
export async function open(browser, { size = 1600, scheme = "light" } = {}) {
  const context = await browser.newContext({ viewport: sizes[size], colorScheme: scheme, locale: "en-GB", timezoneId: "UTC", acceptDownloads: true });
  await context.grantPermissions(["clipboard-read", "clipboard-write"], { origin: portal });

  const page = await context.newPage();
  page.setDefaultTimeout(20_000);
  page.wrong = [];
  // What a test provokes on purpose is a 4xx, which Chromium writes to the console by itself.
  page.on("console", (m) => m.type() === "error" && !/the server responded with a status of/.test(m.text()) && page.wrong.push(`console: ${m.text()}`));
  page.on("pageerror", (e) => page.wrong.push(`exception: ${e}`));
  page.on("request", (r) => {
    const url = new URL(r.url());
    if (/^https?:$/.test(url.protocol) && !allowed.has(url.host)) page.wrong.push(`request to ${url.host}`);
  });

  return page;
}

/** login goes to a path of the portal and says who one is on the issuer's page. */
export async function login(page, { path = "/portal/", tenant = "local", roles = ["deployer"] } = {}) {
  await page.goto(portal + path);
  await page.getByRole("heading", { name: "Local login" }).waitFor();
  await page.getByRole("textbox", { name: "Tenant" }).fill(tenant);
  for (const role of ["viewer", "deployer", "admin"]) await page.getByRole("checkbox", { name: role }).setChecked(roles.includes(role));
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("main").getByRole("heading", { level: 1 }).waitFor();
}

/** accessible fails on what axe-core calls serious or critical. */
export async function accessible(page, what) {
  await page.evaluate(`${axe}; undefined`);
  const { violations } = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const serious = violations.filter((v) => v.impact === "serious" || v.impact === "critical");
  assert.deepEqual(serious.map((v) => `${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => `${n.target} ${n.failureSummary}`).join(" | ")}`), [], what);
}

/** fits fails when the page is wider than its window. */
export async function fits(page, what) {
  const { scroll, client } = await page.evaluate(() => ({ scroll: document.documentElement.scrollWidth, client: document.documentElement.clientWidth }));
  assert.ok(scroll <= client, `${what}: the page is ${scroll} px wide in a window of ${client} px`);
}

/** looks takes a picture in each width and each colour scheme, and holds each against axe-core. */
export async function looks(page, name) {
  const before = page.viewportSize();
  mkdirSync(env("PORTAL_SCREENSHOTS"), { recursive: true });

  try {
    for (const [size, viewport] of Object.entries(sizes)) {
      await page.setViewportSize(viewport);

      for (const scheme of ["light", "dark"]) {
        await page.emulateMedia({ colorScheme: scheme });
        const shown = `${name}-${size}-${scheme}`;
        await page.screenshot({ path: join(env("PORTAL_SCREENSHOTS"), `${shown}.png`), fullPage: true });
        await accessible(page, shown);
        await fits(page, shown);
      }
    }
  } finally {
    await page.emulateMedia({ colorScheme: "light" });
    await page.setViewportSize(before);
  }
}

/** rule breaks AWS for the functions; the answer of clear is whole again. */
export async function rule(r) {
  const answer = await fetch(`${endpoint}/_local/rules`, { method: "POST", body: JSON.stringify(r) });
  assert.equal(answer.status, 201, await answer.text());
}

export async function clear() {
  await fetch(`${endpoint}/_local/rules`, { method: "DELETE" });
}

/** aws changes something behind the product's back, as the person at this computer. The endpoint asks who it is, not for a signature. */
export async function aws(service, path, body) {
  const who = `Credential=LOCAL-${process.env.PORTAL_ACCOUNT}-user-0/20260101/us-east-1/${service}/aws4_request, SignedHeaders=host, Signature=0`;
  const answer = await fetch(endpoint + path, { method: "POST", headers: { authorization: `AWS4-HMAC-SHA256 ${who}`, "content-type": "application/json" }, body: JSON.stringify(body) });
  assert.equal(answer.status, 200, await answer.text());
}
