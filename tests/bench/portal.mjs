// Opens a bare static page and the portal in Chromium by turns, each with an empty cache, and prints what each took as JSON: milliseconds from the navigation
// until the page can be used, and bytes on the wire. The portal's way includes the way to the issuer, which knows the visitor already, and back.
import { createRequire } from "node:module";
import { join } from "node:path";

const { chromium } = createRequire(join(process.env.PORTAL_NODE, "package.json"))("playwright-core");
const [base, issuer, rounds] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.METAFLOW_DEPLOYER_CHROMIUM,
  args: ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"],
});

async function visit(path, ready) {
  const context = await browser.newContext({ reducedMotion: "reduce" });
  await context.addCookies([{ name: "metaflow-deployer-local-login", value: "tenant=bench&roles=deployer", url: `${issuer}/_local/oidc`, httpOnly: true, sameSite: "Lax" }]);
  const page = await context.newPage();
  const wire = await context.newCDPSession(page);
  let bytes = 0;
  await wire.send("Network.enable");
  wire.on("Network.loadingFinished", (e) => (bytes += e.encodedDataLength));

  const begun = performance.now();
  await page.goto(base + path, { waitUntil: "commit" });
  await ready(page);
  // Two frames: what was rendered is on the screen, and the main thread has answered.
  await page.evaluate(() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done))));
  const ms = performance.now() - begun;
  await context.close();

  return { ms, bytes };
}

const found = { bare: [], portal: [] };

for (let i = 0; i <= Number(rounds); i++) {
  const bare = await visit("/bare", (p) => p.getByRole("heading", { name: "Environments" }).waitFor());
  const portal = await visit("/portal/deployments", (p) => p.getByRole("link", { name: "team-000" }).waitFor());
  if (i > 0) found.bare.push(bare), found.portal.push(portal); // the first visit warms the browser up
}

await browser.close();
console.log(JSON.stringify(found));
