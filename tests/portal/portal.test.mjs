// The portal in a browser, from the login to the delete, on a running copy of the product. portal_test.go starts that copy and this file.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { after, before, test } from "node:test";
import { accessible, aws, clear, fits, launch, login, looks, open, portal, rule, sizes } from "./browser.mjs";

const patience = { timeout: 120_000 };
const denied = (service) =>
  service === "ec2"
    ? { error: { status: 403, code: "UnauthorizedOperation", message: "You are not authorized to perform this operation." } }
    : { error: { status: 403, code: "AccessDeniedException", message: "not authorized to perform this" } };

let browser;
let page; // of a deployer, through most of the tests
let document_; // what the API offers

const offers = (method, path) => Boolean(document_.paths[path]?.[method]);
const main = () => page.getByRole("main");
const heading = (name, p = page) => p.getByRole("heading", { level: 1, name, exact: true });
const phase = (state) => main().locator(".head").first().locator(`[data-state="${state}"]`);

before(async () => {
  browser = await launch();
  document_ = await (await fetch(`${portal}/openapi.json`)).json();
});

after(async () => {
  await clear();
  await browser?.close();
});

/** unfold opens a section of a form, which may have opened by itself because something in it is wrong. */
const unfold = (name) =>
  main()
    .locator("details.section")
    .filter({ has: page.locator("summary .name", { hasText: new RegExp(`^${name}$`) }) })
    .evaluate((section) => (section.open = true));

/** begin is at the form for a new environment of that name, without what an earlier test left typed. */
async function begin(name) {
  await page.evaluate(() => sessionStorage.clear());
  await page.goto(`${portal}/portal/deployments/new`);
  await page.locator("#f-name").fill(name);
}

/** tabTo presses Tab until something of that role and name has the focus, which must be visible. */
async function tabTo(role, name, key = "Tab") {
  const target = page.getByRole(role, { name, exact: true });

  for (let i = 0; i < 80; i++) {
    await page.keyboard.press(key);
    if (await target.evaluate((e) => e === document.activeElement).catch(() => false)) {
      const outline = await target.evaluate((e) => getComputedStyle(e).outlineStyle);
      assert.notEqual(outline, "none", `${name} shows no focus`);

      return target;
    }
  }

  assert.fail(`the keyboard does not reach the ${role} ${name}`);
}

/** inDialog says whether the focus is kept: in the dialog, or outside of the page. */
const inDialog = () => page.evaluate(() => document.activeElement === document.body || document.activeElement?.closest("dialog") !== null);

test("people log in at the issuer and come back to where they wanted to go", async () => {
  page = await open(browser);
  await page.goto(`${portal}/portal/deployments?from=a-bookmark`);
  await page.getByRole("heading", { name: "Local login" }).waitFor();
  await looks(page, "login");

  const asked = new URL(page.url()).searchParams;
  assert.equal(asked.get("code_challenge_method"), "S256");
  assert.equal(asked.get("response_type"), "code");

  await page.getByRole("button", { name: "Log in" }).click();
  await heading("Environments").waitFor();
  assert.equal(page.url(), `${portal}/portal/deployments?from=a-bookmark`, "the address is the one that was asked for, without the code");

  const kept = await page.evaluate(() => JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie]));
  assert.doesNotMatch(kept, /eyJ|verifier/, "a token or the verifier is kept where scripts of later pages find it");
});

test("a login that fails is told, and can be tried again", async () => {
  const p = await open(browser);
  await p.goto(`${portal}/portal/`);
  await p.getByRole("heading", { name: "Local login" }).waitFor();
  const state = new URL(p.url()).searchParams.get("state");

  await p.goto(`${portal}/portal/callback?error=access_denied&error_description=not+today&state=${state}`);
  await p.getByRole("alert").getByText("You could not be logged in").waitFor();
  await accessible(p, "failed login");

  await p.goto(`${portal}/portal/callback?code=stolen&state=of-somebody-else`);
  await p.getByRole("heading", { name: "Local login" }).waitFor(); // nothing was begun here: it begins anew
  await p.getByRole("button", { name: "Log in" }).click();
  await heading("Environments", p).waitFor();

  await p.getByRole("button", { name: "Log out" }).click();
  await p.getByText("You are logged out.").waitFor();
  await accessible(p, "logged out");
  assert.deepEqual(p.wrong, []);
  await p.context().close();
});

test("an empty list says what to do", async () => {
  await main().getByText("There is no environment yet.").waitFor();
  await looks(page, "list-empty");
});

test("the form refuses what the API refuses, at the field and with the remedy", async () => {
  await main().getByRole("link", { name: "New environment" }).click();
  await heading("New environment").waitFor();
  await page.locator("#f-name").fill("Not A Name");
  await main().getByText("This cannot be a name.").waitFor();

  await page.locator("#f-name").fill("research");
  await unfold("compute");
  await main().getByRole("button", { name: "Add environment" }).click();
  const item = main().locator("fieldset.item");
  await item.getByLabel("name (required)").fill("small");
  await item.getByLabel("maxVcpus").fill("4");
  await item.getByLabel("minVcpus").fill("8");
  const button = main().getByRole("button", { name: "Create environment" });
  // With a plan the findings come by themselves, without one they come with the refusal.
  if (!offers("post", "/v1/deployments:plan")) await button.click();
  await main().locator('[aria-invalid="true"]').first().waitFor();
  await looks(page, "form-refused");
  const wrong = main().locator('[aria-invalid="true"]').first();
  assert.match(await wrong.getAttribute("name"), /^\/spec\/compute\/environments\/0\/(min|max)Vcpus$/);
  const described = (await wrong.getAttribute("aria-describedby")).split(" ").at(-1);
  assert.match(await page.locator(`#${described}`).innerText(), /vCPU/i);

  // What was typed outlives a login in between.
  await page.reload();
  await heading("New environment").waitFor();
  await unfold("compute");
  assert.equal(await main().getByRole("group", { name: "environment small" }).getByLabel("maxVcpus").inputValue(), "4");
  await main().getByRole("button", { name: "Remove environment 1" }).click();
});

test("an environment is made by keyboard alone, and its build is watched live", async () => {
  await rule({ service: "ec2", action: "CreateRouteTable", then: { delay: "12s" } });
  await page.evaluate(() => sessionStorage.clear());
  await page.goto(`${portal}/portal/deployments`);
  await heading("Environments").waitFor();

  await tabTo("link", "New environment");
  await page.keyboard.press("Enter");
  await heading("New environment").waitFor();
  assert.equal(await page.evaluate(() => document.activeElement?.tagName), "H1", "a new page begins at its heading");

  await tabTo("textbox", "name (required)");
  await page.keyboard.press("Control+A");
  await page.keyboard.type("research");

  if (offers("post", "/v1/deployments:plan")) {
    await main().locator(".cost").getByText("Each month, jobs or not").waitFor();
    await main().getByText(/^\d+ steps/).waitFor();
    const before = await main().locator(".cost").evaluate((cost) => cost.compareDocumentPosition(cost.ownerDocument.querySelector('button[type="submit"]')));
    assert.ok(before & 4, "the cost stands before the button");

    const [download] = await Promise.all([page.waitForEvent("download"), main().getByRole("button", { name: "Download as CloudFormation" }).press("Enter")]);
    assert.equal(download.suggestedFilename(), "research.template.json");
    assert.ok(JSON.parse(readFileSync(await download.path(), "utf8")).AWSTemplateFormatVersion);
  }

  await looks(page, "form");
  await tabTo("button", "Create environment");
  await page.keyboard.press("Enter");

  await heading("research").waitFor();
  await main().locator('.node[data-resource="route-table"] [data-state="RUNNING"]').waitFor(patience);
  await main().locator('.node[data-resource="vpc"] [data-state="READY"]').waitFor();
  await main().locator('.node[data-resource="subnet/1"]').getByText("for route-table").waitFor();
  if (offers("post", "/v1/deployments/{name}:extend")) await main().getByRole("button", { name: "Extend" }).waitFor(); // also while it is made
  const seconds = async () => parseInt(await main().locator('.node[data-resource="route-table"] .time').innerText(), 10);
  const first = await seconds();
  await looks(page, "graph");
  await clear();
  assert.ok((await seconds()) > first || (await main().locator('.node[data-resource="route-table"] [data-state="READY"]').count()) === 1, "the time of what runs goes on");
  await main().getByRole("status").getByText(/steps done/).waitFor();

  await phase("ACTIVE").waitFor(patience);
  await main().getByText("It is ready.").waitFor();

  await tabTo("button", "Graph");
  await page.keyboard.press("Tab");
  await page.keyboard.press("Enter");
  await main().getByRole("list", { name: "Resources" }).waitFor(); // the same as a list
  await page.keyboard.press("Shift+Tab");
  await page.keyboard.press("Enter");
  await main().locator('.node[data-resource="bucket"]').press("Enter");
  await main().getByRole("region", { name: "Resource bucket" }).getByText("arn:aws:s3:::").waitFor();
  await looks(page, "active");
});

test("the configuration is downloaded and copied as the API gives it", async () => {
  await main().getByRole("link", { name: "Get its configuration" }).click();
  const [download] = await Promise.all([page.waitForEvent("download"), main().getByRole("button", { name: /^Download config_research.json/ }).click()]);
  assert.equal(download.suggestedFilename(), "config_research.json");

  const text = readFileSync(await download.path(), "utf8");
  const config = JSON.parse(text);
  assert.match(config.METAFLOW_BATCH_JOB_QUEUE, /^arn:aws:batch:/);

  await main().getByRole("button", { name: "Copy the configuration" }).click();
  await main().getByRole("status").getByText("Copied").waitFor();
  assert.equal(await page.evaluate(() => navigator.clipboard.readText()), text);

  await main().getByRole("button", { name: "Copy the install line" }).click();
  await main().getByRole("status").getByText("Copied").last().waitFor();
  assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^mkdir -p ~\/\.metaflowconfig && mv .*config_research\.json .*METAFLOW_PROFILE=research/);
  await looks(page, "configuration");

  await main().getByRole("button", { name: "Shell exports" }).click();
  await main().getByText("export METAFLOW_DEFAULT_DATASTORE").waitFor();
});

test("every page of an environment is readable", async () => {
  const pages = main().getByRole("navigation", { name: "Pages of research" });

  for (const [link, sign] of [
    [/^Settings/, offers("put", "/v1/deployments/{name}") ? "Nothing is changed yet." : "oldVersionsDays"],
    ["Resources", "arn:aws:s3:::"],
    [/^History/, "create"],
  ]) {
    await pages.getByRole("link", { name: link }).click();
    await main().getByText(sign).first().waitFor();
    await looks(page, String(link).replace(/\W/g, "").toLowerCase());
  }

  await main().getByRole("link", { name: "create", exact: true }).first().click();
  await heading("Operation of research").waitFor();
  await main().locator(".node").first().waitFor();
  await accessible(page, "operation");
  assert.deepEqual(page.wrong, []);
});

test("an update shows what differs, and what it does, before the button", async (t) => {
  if (!offers("put", "/v1/deployments/{name}")) return t.skip("this API updates nothing");

  await page.goto(`${portal}/portal/deployments/research/settings`);
  await main().getByText("Nothing is changed yet.").waitFor();
  await unfold("compute");
  await main().locator("fieldset.item").first().getByLabel("maxVcpus").fill("32");
  const changes = main().getByRole("list", { name: "Changes" });
  await changes.getByText("spec.compute.environments.0.maxVcpus").waitFor();
  assert.equal((await changes.innerText()).replace(/\s+/g, " "), "spec.compute.environments.0.maxVcpus 64 32");
  if (offers("post", "/v1/deployments/{name}:plan")) await main().getByText(/^\d+ steps?/).waitFor();
  await looks(page, "update");
  await unfold("labels");
  await main().getByRole("button", { name: "Add to labels" }).click();
  await main().getByLabel("labels, key 1").fill("team");
  await main().getByLabel("labels, value 1").fill("data");

  const update = async () => {
    await main().getByRole("button", { name: "Update environment" }).click();
    await main().getByRole("heading", { name: "Update", exact: true }).waitFor();
    await main().locator('.build .head [data-state="SUCCEEDED"]').waitFor(patience);
    await phase("ACTIVE").waitFor(patience);
  };
  await update();
  await main().getByText("Label team").waitFor();

  await main().getByRole("link", { name: /^Settings/ }).click();
  await unfold("compute");
  assert.equal(await main().locator("fieldset.item").first().getByLabel("maxVcpus").inputValue(), "32");
  await unfold("labels");
  await main().getByRole("button", { name: "Remove labels team" }).click();
  await changes.getByText("labels.team").waitFor();
  assert.equal((await changes.innerText()).replace(/\s+/g, " "), "labels.team data");
  const [sent] = await Promise.all([page.waitForRequest((r) => r.method() === "PUT"), update()]);
  assert.deepEqual(sent.postDataJSON().labels, {}, "labels that are left out would stay");
  assert.equal(await main().getByText("Label team").count(), 0);
});

test("drift is shown property by property, and repaired", async (t) => {
  if (!offers("post", "/v1/deployments/{name}:drift")) return t.skip("this API reports no drift");

  const queue = async () => {
    await main().getByRole("link", { name: "Resources" }).click();
    const arn = main().getByText(/^arn:aws:batch:.*:job-queue\//);

    return arn.innerText();
  };
  await aws("batch", "/v1/updatejobqueue", { jobQueue: await queue(), priority: 7 });

  await main().getByRole("link", { name: "Drift" }).click();
  await main().getByRole("button", { name: "Look for drift" }).click();
  await main().getByText("Something is not as it was asked for.").waitFor();
  const item = main().getByRole("listitem").filter({ hasText: "job-queue/default" });
  assert.match((await item.innerText()).replace(/\s+/g, " "), /drifted priority wanted 1 found 7/);
  await looks(page, "drift");

  // A repair that gets stuck leaves an environment that takes another one, or an update.
  await rule({ service: "batch", action: "UpdateJobQueue", then: denied("batch") });
  await main().getByRole("button", { name: "Repair what drifted" }).click();
  await main().getByRole("heading", { name: "Repair", exact: true }).waitFor();
  await phase("NEEDS_ATTENTION").waitFor(patience);
  await clear();
  const actions = main().getByRole("group", { name: "Actions on research" });
  assert.deepEqual(await actions.getByRole("button").allInnerTexts(), ["Repair", "Extend", "Delete"]);
  await looks(page, "repair-stuck");
  await main().getByRole("link", { name: /^Settings/ }).click();
  await unfold("compute");
  await main().locator("fieldset.item").first().getByLabel("maxVcpus").fill("16");
  await main().getByText(/^\d+ steps?/).waitFor();
  assert.equal(await main().getByRole("button", { name: "Update environment" }).getAttribute("aria-disabled"), "false");

  await main().getByRole("link", { name: "Drift" }).click();
  await main().getByRole("button", { name: "Look for drift" }).click();
  await main().getByRole("button", { name: "Repair what drifted" }).click();
  await main().locator('.build .head [data-state="SUCCEEDED"]').waitFor(patience);
  await phase("ACTIVE").waitFor(patience);
  await main().getByRole("link", { name: "Drift" }).click();
  await main().getByRole("button", { name: "Look for drift" }).click();
  await main().getByText("Everything is as it was asked for.").waitFor();
});

test("the expiry is moved in a dialog made from the route's own schema", async (t) => {
  if (!offers("post", "/v1/deployments/{name}:extend")) return t.skip("this API knows no expiry");

  await main().getByRole("link", { name: "Overview" }).click();
  await main().getByRole("button", { name: "Extend" }).click();
  const dialog = page.getByRole("dialog", { name: "Extend research" });
  await dialog.getByLabel(/^ttl/).fill("never");
  await dialog.getByRole("button", { name: "Extend" }).click();
  await dialog.getByRole("alert").getByText("What you can do:").waitFor();
  await dialog.getByLabel(/^ttl/).fill("48h");
  await dialog.getByRole("button", { name: "Extend" }).click();
  await main().getByText("Expires").waitFor();
});

test("the audit tells who asked for what", async (t) => {
  if (!offers("get", "/v1/audit")) return t.skip("this API keeps no audit");

  await page.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Audit" }).click();
  await heading("Audit").waitFor();
  await main().getByRole("row").filter({ hasText: "update" }).getByText("succeeded").first().waitFor();
  await looks(page, "audit");
});

test("webhooks are added with a secret that is shown once, and removed", async () => {
  const nav = page.getByRole("navigation", { name: "Main" });
  await nav.getByRole("link", { name: "Tenant" }).click();
  await heading("Tenant local").waitFor();
  await main().getByText("Nobody hears of what happens here.").waitFor();

  await main().getByRole("button", { name: "Add webhook" }).click();
  const dialog = page.getByRole("dialog", { name: "Add webhook" });
  await dialog.getByLabel(/^url/).fill("http://10.0.0.1/");
  await dialog.getByRole("button", { name: "Add it" }).click();
  await dialog.getByRole("alert").getByText("What you can do:").waitFor();
  await accessible(page, "refused webhook");
  await dialog.getByLabel(/^url/).fill("https://hooks.example.com/metaflow");
  await dialog.getByRole("button", { name: "Add it" }).click();

  const secret = page.getByRole("dialog", { name: "Keep the secret" });
  await secret.getByText(/^whsec_/).waitFor();
  await accessible(page, "secret");
  await secret.getByRole("button", { name: "I have it" }).click();
  await main().getByRole("row", { name: /hooks\.example\.com/ }).waitFor();
  await page.getByText(/whsec_/).waitFor({ state: "detached" });

  assert.equal(await main().getByRole("button", { name: "Allow something" }).count(), 0, "grants are an admin's");
  assert.equal(await nav.getByRole("link", { name: "Orphans" }).count(), 0, "orphans are an admin's");
  assert.equal(await page.getByRole("textbox", { name: "Act on tenant" }).count(), 0, "other tenants are an admin's");
  await looks(page, "tenant");
  await main().getByRole("button", { name: "Remove hooks.example.com" }).click();
  await page.getByRole("dialog", { name: "Remove this webhook?" }).getByRole("button", { name: "Remove it" }).click();
  await main().getByText("Nobody hears of what happens here.").waitFor();
});

test("an admin allows another tenant a bucket and withdraws it", async () => {
  const admin = await open(browser);
  await login(admin, { path: "/portal/tenant", roles: ["admin"] });
  const shown = admin.getByRole("main");
  await shown.getByText("Nothing is allowed.").waitFor();

  const field = admin.getByRole("textbox", { name: "Act on tenant" });
  const banner = admin.getByRole("complementary", { name: "Another tenant" });
  assert.equal(await field.inputValue(), "local", "their own is the default");
  await field.fill("acme");
  await field.press("Enter");
  await heading("Tenant acme", admin).waitFor();
  await banner.getByText("You act on the tenant acme").waitFor();
  await shown.getByText("Nothing is allowed.").waitFor();

  await shown.getByRole("button", { name: "Allow something" }).click();
  const dialog = admin.getByRole("dialog", { name: "Allow something" });
  await dialog.getByText("In the tenant acme").waitFor();
  await looks(admin, "allow-elsewhere");
  await dialog.getByLabel(/^kind/).selectOption("bucket");
  await dialog.getByLabel(/^value/).fill("team-data-of-long-ago");
  await dialog.getByRole("button", { name: "Allow it" }).click();
  await shown.getByRole("row", { name: /team-data-of-long-ago/ }).waitFor();
  await looks(admin, "grants");

  await banner.getByRole("button", { name: "Back to your own" }).click();
  await heading("Tenant local", admin).waitFor();
  await shown.getByText("Nothing is allowed.").waitFor();
  assert.equal(await banner.count(), 0);

  await field.fill("acme");
  await admin.getByRole("button", { name: "Switch" }).click();
  await shown.getByRole("button", { name: "Withdraw team-data-of-long-ago" }).click();
  await admin.getByRole("dialog", { name: "Withdraw this grant?" }).getByRole("button", { name: "Withdraw it" }).click();
  await shown.getByText("Nothing is allowed.").waitFor();
  assert.deepEqual(admin.wrong, []);
  await admin.context().close();
});

test("an admin sees what the sweeper found", async (t) => {
  if (!offers("get", "/v1/orphans")) return t.skip("this API sweeps nothing");

  const admin = await open(browser);
  await login(admin, { roles: ["admin"] });
  const link = admin.getByRole("navigation", { name: "Main" }).getByRole("link", { name: "Orphans" });
  await link.click();
  await heading("Orphans", admin).waitFor();
  await admin.getByText("The sweeper found nothing.").waitFor();

  // The product leaves no orphans behind that a test could wait for.
  const of = (resource, state, reason) => ({
    resource, kind: resource.split("/")[0], id: `of-${state}`, arn: `arn:aws:batch:us-east-1:000000000000:${resource}-with-a-rather-long-name-0123456789`, tenant: "acme", deployment: "research",
    firstSeen: "2026-01-02T03:04:05Z", state, reason,
  });
  const found = [
    of("bucket", "HELD", "It may hold data."), of("job-queue/default", "REMOVING", "AWS: AccessDeniedException: not authorized to perform this."),
    of("vpc", "REFUSED", "More than half of what was seen is unknown."), of("subnet/1", "NOTED", ""),
  ];
  await admin.route("**/v1/orphans*", (route) =>
    route.fulfill({ json: route.request().url().includes("pageToken=") ? { orphans: found.slice(2) } : { orphans: found.slice(0, 2), nextPageToken: "more" } }),
  );
  await admin.getByRole("link", { name: "Environments", exact: true }).click();
  await link.click();
  const shown = admin.getByRole("main");
  await shown.getByRole("row", { name: /bucket held It may hold data/ }).waitFor();
  await shown.getByRole("button", { name: "Show more" }).click();
  await shown.getByRole("row", { name: /subnet\/1 noted/ }).waitFor();
  await looks(admin, "orphans");
  assert.deepEqual(admin.wrong, []);
  await admin.context().close();
});

test("what the API does not offer is not shown", async () => {
  const p = await open(browser);
  const without = structuredClone(document_);
  for (const path of Object.keys(without.paths)) if (/:(plan|drift|repair|verify|extend)$|^\/v1\/(audit|webhooks|grants|orphans)$/.test(path)) delete without.paths[path];
  delete without.paths["/v1/deployments/{name}"].put;
  await p.route("**/openapi.json", (route) => route.fulfill({ json: without }));
  await login(p, { path: "/portal/deployments/research", roles: ["admin"] });
  await p.locator(".node").first().waitFor();
  assert.deepEqual(await p.getByRole("navigation", { name: "Pages of research" }).getByRole("link").allInnerTexts(), ["Overview", "Configuration", "Settings", "Resources", "History"]);
  assert.deepEqual(await p.getByRole("group", { name: "Actions on research" }).getByRole("button").allInnerTexts(), ["Delete"]);
  assert.equal(await p.getByRole("link", { name: /^(Audit|Orphans|Tenant)$/ }).count(), 0);
  await p.goto(`${portal}/portal/deployments/new`);
  await p.getByText("This installation shows no plan.").waitFor();
  await p.context().close();
});

test("a build that fails shows the error with its remedy where it happened", async () => {
  await rule({ service: "batch", action: "CreateJobQueue", then: { error: { status: 400, code: "ClientException", message: "broken on purpose" } } });
  await begin("broken");
  await main().getByRole("button", { name: "Create environment" }).click();
  await heading("broken").waitFor();

  const node = main().locator('.node[data-resource="job-queue/default"]');
  await main().getByRole("alert").getByText("broken on purpose").first().waitFor(patience);
  await main().getByRole("alert").getByText("What you can do:").waitFor();
  await phase("FAILED").waitFor(patience);
  await clear();

  const answer = await node.innerText();
  assert.match(answer, /failed/);
  assert.match(answer, /AWS says that it cannot be as asked/);
  const remedy = await main().locator(".trouble .remedy").first().innerText();
  assert.ok(answer.includes(remedy.replace("What you can do:", "").trim()), "the node shows the remedy itself");
  await looks(page, "failure");

  await node.click();
  await main().getByRole("region", { name: "Resource job-queue/default" }).getByText("broken on purpose").waitFor();
  await main().getByRole("button", { name: "Try again with the same settings" }).click();
  await heading("New environment").waitFor();
  assert.equal(await page.locator("#f-name").inputValue(), "broken");
  await main().locator(".section").filter({ hasText: "storage" }).getByText("3 set").waitFor();
});

test("a build is cancelled in a dialog that keeps the focus", async () => {
  await rule({ service: "ec2", action: "CreateRouteTable", then: { delay: "20s" } });
  await begin("stopped");
  await main().getByRole("button", { name: "Create environment" }).click();
  await main().locator('.node[data-resource="route-table"] [data-state="RUNNING"]').waitFor(patience);

  const button = main().getByRole("button", { name: "Cancel this create" });
  await button.focus();
  await page.keyboard.press("Enter");
  const dialog = page.getByRole("dialog", { name: "Cancel this create?" });
  await dialog.waitFor();
  await accessible(page, "dialog");

  for (let i = 0; i < 8; i++) {
    await page.keyboard.press("Tab");
    assert.ok(await inDialog(), "the focus left the dialog");
  }

  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "hidden" });
  assert.ok(await button.evaluate((e) => e === document.activeElement), "the focus is back where it was");

  await page.keyboard.press("Enter");
  await dialog.getByRole("button", { name: "Cancel it and roll back" }).click();
  await clear();
  await phase("FAILED").waitFor(patience);
  await main().getByText("Somebody cancelled the operation").first().waitFor();
});

test("a delete asks about the data, and what resists is skipped by an admin", async () => {
  await rule({ service: "ec2", action: "DeleteVpc", then: denied("ec2") });
  await page.goto(`${portal}/portal/deployments/research`);
  await phase("ACTIVE").waitFor();
  await main().getByRole("button", { name: "Delete", exact: true }).click();

  const dialog = page.getByRole("dialog", { name: "Delete research?" });
  assert.ok(await dialog.getByRole("radio", { name: /Keep it/ }).isChecked(), "keeping the data is the default");
  await dialog.getByRole("radio", { name: /Purge it/ }).check();
  const go = dialog.getByRole("button", { name: "Delete it and purge the data" });
  assert.equal(await go.getAttribute("aria-disabled"), "true", "purging takes the name");
  await looks(page, "delete");
  await dialog.getByRole("textbox").fill("research");
  await go.click();
  await main().getByRole("heading", { name: "Delete", exact: true }).waitFor();
  await phase("NEEDS_ATTENTION").waitFor(patience);
  await main().locator('.node[data-resource="vpc"]').getByText(/failed/i).waitFor();
  await looks(page, "attention");
  await main().locator('.node[data-resource="vpc"]').click();
  assert.equal(await main().getByRole("button", { name: "Skip vpc" }).count(), 0, "skipping is an admin's");
  await main().getByRole("button", { name: "Resume" }).waitFor();
  await main().getByRole("button", { name: "Repair" }).click();
  await main().getByRole("group", { name: "Actions on research" }).getByRole("alert").getByText("What you can do:").waitFor();
  await looks(page, "attention-refused");

  const admin = await open(browser);
  await login(admin, { path: "/portal/deployments/research", roles: ["admin"] });
  await admin.locator('.node[data-resource="vpc"]').click();
  await admin.getByRole("button", { name: "Skip vpc" }).click();
  await admin.getByRole("dialog").getByRole("button", { name: "Leave it behind" }).click();
  await admin.locator('.node[data-resource="vpc"] [data-state="SKIPPED"]').waitFor(patience);
  await admin.locator(".head").first().locator('[data-state="DELETED"]').waitFor(patience);
  assert.deepEqual(admin.wrong, []);
  await admin.context().close();
  await clear();
});

test("a resumed delete goes on", async () => {
  await rule({ service: "ec2", action: "DeleteVpc", then: denied("ec2") });
  await begin("resumed");
  await main().getByRole("button", { name: "Create environment" }).click();
  await phase("ACTIVE").waitFor(patience);
  await main().getByRole("button", { name: "Delete", exact: true }).click();
  await page.getByRole("dialog").getByRole("button", { name: "Delete it and keep the data" }).click();
  await phase("NEEDS_ATTENTION").waitFor(patience);
  await clear();
  await main().getByRole("button", { name: "Resume" }).click();
  await phase("DELETED").waitFor(patience);
  await main().locator('.node[data-resource="bucket"] [data-state="KEPT"]').waitFor();
});

test("a viewer sees everything and is offered nothing to change", async () => {
  const p = await open(browser);
  await login(p, { path: "/portal/deployments/broken", roles: ["viewer"] });
  await p.locator(".node").first().waitFor();
  assert.equal(await p.getByRole("main").getByRole("button", { name: /Try again|Delete|Cancel|Resume/ }).count(), 0);
  await p.getByRole("link", { name: "Environments", exact: true }).first().click();
  await heading("Environments", p).waitFor();
  assert.equal(await p.getByRole("link", { name: "New environment" }).count(), 0);
  await p.context().close();
});

test("another tenant's environment is not there", async () => {
  const p = await open(browser);
  await login(p, { path: "/portal/deployments/broken", tenant: "other", roles: ["admin"] });
  await p.getByRole("alert").getByText(/^There is no .+ tenant/).waitFor();
  await accessible(p, "not found");

  // An admin finds it by saying whose it is, which stays in sight.
  const banner = p.getByRole("complementary", { name: "Another tenant" });
  await p.getByRole("textbox", { name: "Act on tenant" }).fill("local");
  await p.getByRole("button", { name: "Switch" }).click();
  await heading("Environments", p).waitFor();
  await p.getByRole("link", { name: "broken" }).click();
  await p.locator('.node[data-resource="vpc"]').waitFor();
  await looks(p, "elsewhere");
  await p.setViewportSize({ width: 360, height: 400 });
  await p.evaluate(() => scrollTo(0, document.body.scrollHeight));
  assert.equal(await banner.evaluate((e) => e.getBoundingClientRect().top), 0, "it does not scroll away");
  await banner.getByText("You act on the tenant local").waitFor();
  await p.setViewportSize(sizes[1600]);

  await p.goto(`${portal}/portal/deployments/new`);
  await banner.waitFor(); // kept on the way to the issuer and back, and gone with a logout
  await p.locator("#f-name").fill("theirs");
  await p.locator(".cost").waitFor();
  await looks(p, "form-elsewhere");
  await p.getByRole("button", { name: "Log out" }).click();
  await p.getByText("You are logged out.").waitFor();
  await login(p, { tenant: "other", roles: ["admin"] });
  assert.equal(await banner.count(), 0);
  assert.deepEqual(p.wrong, []);
  await p.context().close();
});

test("an expired token leads to the issuer and back to the same place", async () => {
  await page.goto(`${portal}/portal/deployments/broken/history`);
  await main().getByRole("link", { name: "create", exact: true }).first().waitFor();
  let times = 0;
  await page.route("**/v1/deployments/broken*", (route) => (times++ === 0 ? route.fulfill({ status: 401, json: { message: "Unauthorized" } }) : route.continue()));
  const there = page.waitForRequest((r) => r.url().includes("/authorize?"));
  await main().getByRole("link", { name: "Overview" }).click();
  await page.reload(); // whatever asks next
  await there;
  await main().locator(".node").first().waitFor();
  assert.equal(new URL(page.url()).pathname, "/portal/deployments/broken");
  await page.unroute("**/v1/deployments/broken*");
});

test("a connection that is lost is told, and taken up again", async () => {
  await begin("lonely");
  await main().getByRole("button", { name: "Create environment" }).click();
  await main().locator(".node").first().waitFor(patience);
  await page.context().setOffline(true);
  await main().getByText("Connection lost").waitFor(patience);
  await page.context().setOffline(false);
  await phase("ACTIVE").waitFor(patience);
  page.wrong = page.wrong.filter((w) => !w.includes("ERR_INTERNET_DISCONNECTED"));
});

test("the list shows phases and filters by them", async () => {
  await page.goto(`${portal}/portal/deployments`);
  await main().getByRole("row", { name: /broken/ }).getByText("failed").waitFor();
  await looks(page, "list");
  await main().getByLabel("Phase").selectOption("deleted");
  await main().getByRole("row", { name: /resumed/ }).waitFor();
  assert.equal(await main().getByRole("row", { name: /broken/ }).count(), 0);
});

test("nothing went wrong on the way: no violated policy, no error, no other host", () => assert.deepEqual(page.wrong, []));

test("a page that does not exist says so, and fits", async () => {
  await page.goto(`${portal}/portal/nowhere`);
  await heading("There is no such page").waitFor();
  await accessible(page, "no such page");
  await fits(page, "no such page");
});
