// An operator at the console, in a real browser: signs in, reads the room, mends what is wrong.
//
// What it says of the room is said by the suite, which holds the other end: it makes people fail and
// asks as them. Each step prints `ok STEP`, and some a figure. tests/suite/console.rs starts it.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { createInterface } from "node:readline";
import { launch } from "./chromium.mjs";

const { GATEWAY_URL, OPERATOR_TOKEN, PART, SCREENSHOTS, VICTIM } = process.env;
const AXE = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");
const SIZES = { desktop: { width: 1440, height: 900 }, phone: { width: 390, height: 844 } };
const PAGES = {
  room: ["#/", ".tiles"],
  user: [`#/users/${VICTIM}`, ".gauges"],
  people: ["#/people", ".is-people"],
  notes: ["#/notes", ".page .is-fine, .notes"],
  roster: ["#/roster", "textarea"],
  record: ["#/record", ".record, .page > .is-quiet + *"],
};

/** What must not happen on a page, seen so far. */
const complaints = [];
/** The requests of the page to the API, in their order. */
const asked = [];

const say = (...words) => console.log(...words);

function assert(is, what) {
  if (!is) throw new Error(what);
}

/** Asks the suite to do something, and waits until it has. */
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
async function suite(request) {
  say(`please ${request}`);
  const { value, done } = await lines.next();
  assert(!done, "the suite is gone");
  return value;
}

function watch(page) {
  page.on("pageerror", (error) => complaints.push(`error: ${error.message}`));
  page.on("console", (message) => {
    // The browser writes down each answer of 4xx; those that are meant are told apart below.
    if (message.type() === "error" || message.type() === "warning") {
      if (!message.text().startsWith("Failed to load resource")) complaints.push(message.text());
    }
  });
  page.on("response", (response) => {
    const path = new URL(response.url()).pathname;
    if (path.startsWith("/operator/api")) asked.push(`${response.request().method()} ${path}`);
    const isMeant = path === "/operator/session" && response.status() === 401;
    if (response.status() >= 400 && !isMeant) complaints.push(`${response.status()} of ${path}`);
    if (response.url().includes(OPERATOR_TOKEN)) complaints.push("the token is in an address");
  });
  return page.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => {
      window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
    });
  });
}

/** Nothing is kept, nothing was refused by the policy, nothing went wrong. */
async function isClean(page, where) {
  const kept = await page.evaluate(async () => ({
    local: Object.keys(localStorage),
    session: Object.keys(sessionStorage),
    cookies: document.cookie,
    databases: (await indexedDB.databases()).length,
    violations: window.violations,
    address: location.href,
  }));
  const { address, ...rest } = kept;
  assert(!address.includes(OPERATOR_TOKEN), `the token is in the address, ${where}`);
  const nothing = { local: [], session: [], cookies: "", databases: 0, violations: [] };
  assert(JSON.stringify(rest) === JSON.stringify(nothing), `${where}: ${JSON.stringify(rest)}`);
  assert(complaints.length === 0, `${where}: ${complaints.join("; ")}`);
}

/** Finds what shuts people out. The page's own policy doesn't let the tool in: it comes from outside. */
async function isAccessible(page, where) {
  const client = await page.context().newCDPSession(page);
  const { frameTree } = await client.send("Page.getFrameTree");
  const world = await client.send("Page.createIsolatedWorld", { frameId: frameTree.frame.id });
  const evaluate = async (expression) => {
    const told = await client.send("Runtime.evaluate", {
      expression,
      contextId: world.executionContextId,
      awaitPromise: true,
      returnByValue: true,
    });
    assert(!told.exceptionDetails, `axe: ${told.exceptionDetails?.exception?.description}`);
    return told.result.value;
  };
  await evaluate(`${AXE}; 0`);
  const { violations, passes } = await evaluate(
    `axe.run(document).then(({ violations, passes }) => ({
       passes: passes.length,
       violations: violations.map(({ id, impact, nodes }) => ({ id, impact, at: nodes.map(({ target }) => target.join(" ")) })),
     }))`,
  );
  await client.detach();
  assert(passes > 10, `axe has looked at nothing, ${where}`);
  const grave = violations.filter(({ impact }) => impact === "serious" || impact === "critical");
  assert(grave.length === 0, `${where}: ${JSON.stringify(grave)}`);
  return violations.length;
}

async function signIn(page) {
  await page.goto(`${GATEWAY_URL}/operator`);
  await page.getByLabel("Operator’s token").fill(OPERATOR_TOKEN);
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.waitForSelector(".tiles");
}

const tileOf = (page, user) => page.locator(`.tile[data-user="${user}"]`);

async function act(page, button, confirm, fields = {}) {
  await page.getByRole("button", { name: button, exact: true }).first().click();
  const dialog = page.locator("dialog[open]");
  for (const [label, text] of Object.entries(fields)) await dialog.getByLabel(label).fill(text);
  await dialog.getByRole("button", { name: confirm, exact: true }).click();
}

async function theStory(browser) {
  const context = await browser.newContext({ viewport: SIZES.desktop });
  const page = await context.newPage();
  await watch(page);
  await page.goto(`${GATEWAY_URL}/operator#/users/${VICTIM}`);
  const field = page.getByLabel("Operator’s token");
  await field.fill("not the operator's token");
  await page.keyboard.press("Enter");
  await page.getByRole("alert").filter({ hasText: "isn't the operator's token" }).waitFor();
  assert((await field.getAttribute("type")) === "password", "the token can be read");
  assert((await field.getAttribute("autocomplete")) === "current-password", "a manager can't fill it");
  await field.fill(OPERATOR_TOKEN);
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: VICTIM }).waitFor();
  say("ok signed in, and where one wanted to be");
  const cookies = await context.cookies();
  assert(
    cookies.length === 1 && cookies[0].httpOnly && cookies[0].sameSite === "Strict",
    "one cookie, for no script",
  );

  await page.getByRole("link", { name: "Room", exact: true }).click();
  await page.waitForSelector('.tile[data-state="working"]');
  const people = await page.locator(".tile").count();
  assert(people >= 30, `only ${people} people in the room`);
  say("ok the room", people);
  await isClean(page, "the room");

  // Whoever is limited is there in words within five seconds.
  await suite("limit");
  const began = Date.now();
  await page.waitForSelector(`.need[href="#/users/${VICTIM}"]`, { timeout: 15_000 });
  const took = Date.now() - began;
  assert((await tileOf(page, VICTIM).getAttribute("data-state")) === "limited", "its tile says so");
  const reason = await page.locator(`.need[href="#/users/${VICTIM}"] .need-why`).textContent();
  assert(/more .*minute/i.test(reason), `in words: ${reason}`);
  say("ok a limit is seen", took);

  // The keyboard alone: find, look, block, unblock.
  await page.keyboard.press("/");
  await page.keyboard.type(VICTIM);
  await page.getByRole("option").first().waitFor();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { level: 1, name: VICTIM }).waitFor();
  await page.locator("[data-countdown]", { hasText: "Full" }).waitFor();
  const before = await page.locator("[data-countdown]").textContent();
  await page.waitForFunction(
    (text) => document.querySelector("[data-countdown]").textContent !== text,
    before,
  );
  say("ok a person's page");
  await page.getByRole("button", { name: "Block …", exact: true }).focus();
  await page.keyboard.press("Enter");
  await page.locator("dialog[open]").waitFor();
  // In the moment in which the dialog goes: a key that comes then has to go somewhere.
  await page.evaluate(() => {
    window.focusAfter = new Promise((resolve) => {
      const observer = new window.MutationObserver(() => {
        if (!document.querySelector("dialog")) resolve(document.activeElement.textContent);
      });
      observer.observe(document.body, { childList: true, subtree: true });
    });
  });
  await page.keyboard.press("Escape");
  const focused = await page.evaluate(() => window.focusAfter);
  assert(focused === "Block …", `the focus is back where it was, not on ${focused}`);
  await act(page, "Block …", "Block", { "Reason, for you and your colleagues": "A runaway loop" });
  await page.locator(".verdict", { hasText: "Blocked: A runaway loop." }).waitFor();
  assert((await suite("ask")) === "403", "a blocked one's next request is refused");
  await act(page, "Unblock", "Unblock");
  await page.locator(".verdict", { hasText: "Isn't blocked any more." }).waitFor();
  await page.getByRole("button", { name: "Block …", exact: true }).waitFor();
  assert((await page.getByRole("button", { name: /^Unblock/ }).count()) === 0, "nothing is left to unblock");
  await act(page, "Empty it", "Empty it");
  await page.waitForSelector("dialog", { state: "detached" });
  assert((await suite("ask")) === "200", "and after it is let in");
  say("ok blocked and unblocked");

  await act(page, "New key", "Make it", { Label: "from the console" });
  const key = await page.locator("[data-secret]").textContent();
  assert(key.startsWith(`ogk_${VICTIM}_`), "a key is shown");
  assert((await suite(`use ${key}`)) === "200", "the key is good");
  await page.getByRole("button", { name: "Done" }).click();
  await page.waitForSelector("[data-secret]", { state: "detached" });
  assert(!(await page.content()).includes(key), "the key is gone with its dialog");
  say("ok a key");
  await page.locator(".record", { hasText: "made a key for" }).waitFor({ timeout: 15_000 });
  say("ok it is on record");
  await isClean(page, "a person's page");
  await page.screenshot({ path: `${SCREENSHOTS}/person-after.png` });

  // Two more people come, and their codes are a file, which no spreadsheet takes for a formula.
  await page.getByRole("link", { name: "Roster", exact: true }).click();
  const list = 'name,email\nMary Jackson,mary@example.com\n"=Cmd, sheet",sheet@example.com\n';
  await page.getByLabel("Or paste it here").fill(list);
  await page.getByRole("button", { name: "Import", exact: true }).click();
  const link = page.getByRole("link", { name: "Download as CSV" });
  const [download] = await Promise.all([page.waitForEvent("download"), link.click()]);
  const codes = readFileSync(await download.path(), "utf8").split("\r\n");
  assert(codes[0] === "user_id,name,email,code", codes[0]);
  assert(/^mary-jackson,Mary Jackson,mary@example.com,\w{4}-\w{4}$/.test(codes[1]), codes[1]);
  assert(/,"'=Cmd, sheet",sheet@example.com,/.test(codes[2]), codes[2]);
  await page.getByRole("button", { name: "Done" }).click();
  await page.getByLabel("Only of this USER_ID").fill(VICTIM);
  const all = page.getByRole("link", { name: "Download", exact: true });
  const [rows] = await Promise.all([page.waitForEvent("download"), all.click()]);
  assert(
    readFileSync(await rows.path(), "utf8").includes("rate_limit_exceeded"),
    "the requests are exported",
  );
  say("ok the roster and the export");

  // Who has given a wrong name is asked again; who is forgotten is nobody from then on.
  await page.goto(`${GATEWAY_URL}/operator#/users/mary-jackson`);
  await page.getByRole("button", { name: "Forget this person …" }).click();
  const forget = page.getByRole("button", { name: "Forget for good" });
  const name = page.getByLabel("Type mary-jackson");
  await name.fill("mary");
  assert(await forget.isDisabled(), "a wrong name is enough");
  await name.fill("mary-jackson");
  await forget.click();
  await page.getByText("mary-jackson is forgotten").waitFor();
  await page.getByRole("button", { name: "To the room" }).click();
  await page.waitForSelector(".tiles");
  await page.waitForSelector('.tile[data-user="mary-jackson"]', { state: "detached" });
  say("ok forgotten");

  // A live view costs a request every other second, and no object is asked.
  await suite("rest");
  await page.getByRole("link", { name: "Room", exact: true }).click();
  await page.waitForSelector(".tiles");
  await page.waitForTimeout(1_000);
  await suite("count");
  asked.length = 0;
  await page.waitForTimeout(10_000);
  const calls = Number(await suite("counted"));
  assert(asked.length >= 4 && asked.length <= 6, `${asked.length} requests in ten seconds`);
  assert(
    asked.every((one) => one === "GET /operator/api/overview"),
    asked.join(", "),
  );
  assert(calls === 0, `${calls} calls of objects`);
  say("ok a live view is cheap", asked.length);

  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Operator’s token").waitFor();
  const answered = await page.evaluate(async () => (await fetch("/operator/api/overview")).status);
  assert(answered === 401, `signed out, and the API answers ${answered}`);
  say("ok signed out");
  await context.close();
}

/** The connection is lost, and found again. */
async function theConnection(browser) {
  const context = await browser.newContext({ viewport: SIZES.desktop });
  const page = await context.newPage();
  await signIn(page);
  await context.setOffline(true);
  await page.locator("[data-lost]", { hasText: "Connection lost at" }).waitFor({ timeout: 10_000 });
  assert((await page.locator(".tile").count()) > 0, "what was known stays");
  await context.setOffline(false);
  await page.waitForSelector("[data-lost]", { state: "detached", timeout: 10_000 });
  say("ok lost and found");
  // A sign-in that ends leaves one where one was.
  await page.goto(`${GATEWAY_URL}/operator#/people`);
  await page.waitForSelector(".is-people");
  await context.clearCookies();
  await page.getByLabel("Operator’s token").fill(OPERATOR_TOKEN, { timeout: 15_000 });
  await page.keyboard.press("Enter");
  await page.waitForSelector(".is-people");
  say("ok signed in again where one was");
  await context.close();
}

/** Every page in both schemes and at both sizes. */
async function theLooks(browser) {
  let findings = 0;
  for (const colorScheme of ["light", "dark"]) {
    for (const [size, viewport] of Object.entries(SIZES)) {
      const isMobile = size === "phone";
      const context = await browser.newContext({ viewport, colorScheme, isMobile, hasTouch: isMobile });
      const page = await context.newPage();
      await watch(page);
      await page.goto(`${GATEWAY_URL}/operator`);
      await page.getByLabel("Operator’s token").waitFor();
      const look = async (name) => {
        const where = `${name}, ${colorScheme}, ${size}`;
        await page.mouse.move(0, 0);
        await page.waitForTimeout(300);
        await page.screenshot({ path: `${SCREENSHOTS}/${name}-${colorScheme}-${size}.png` });
        const wide = await page.evaluate(() => document.documentElement.scrollWidth);
        assert(wide <= viewport.width, `${where} is ${wide} wide`);
        await isClean(page, where);
        findings += await isAccessible(page, where);
      };
      await look("sign-in");
      await signIn(page);
      for (const [name, [address, sign]] of Object.entries(PAGES)) {
        await page.goto(`${GATEWAY_URL}/operator${address}`);
        await page.waitForSelector(sign);
        await look(name);
      }
      await page.goto(`${GATEWAY_URL}/operator${PAGES.user[0]}`);
      await page.getByRole("button", { name: "Forget this person …" }).click();
      await look("dialog");
      await context.close();
    }
  }
  say("ok everybody can use it", findings);
}

// It makes a profile of its own below TMPDIR, and takes it away.
const browser = await launch();
try {
  if (PART === "looks") await theLooks(browser);
  else {
    await theStory(browser);
    await theConnection(browser);
  }
  say("ok done");
} finally {
  await browser.close();
}
process.exit(0);
