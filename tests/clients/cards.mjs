// The cards of `gatewayctl kit`, as a browser prints them; and an address on them, as somebody opens it
// on a laptop and on a phone. tests/suite/kits/browser.rs starts it: cards.mjs PART URL FOLDER. It prints
// one document of JSON.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { devices } from "playwright-core";
import { launch } from "./chromium.mjs";

const [part, url, folder] = process.argv.slice(2);

/** What doesn't fit: a card's text beyond its edge, a part over another, a page that is too high. */
function findMisfits() {
  const box = (element) => element.getBoundingClientRect();
  const misfits = [];
  for (const card of document.querySelectorAll(".card")) {
    const name = card.querySelector("h2").textContent;
    const inside = box(card);
    const parts = [".top", ".address", ".small"].map((part) => box(card.querySelector(part)));
    const what = box(card.querySelector(".what"));
    const [top, address, small] = parts;
    if (card.scrollHeight > card.clientHeight || card.scrollWidth > card.clientWidth) {
      misfits.push(`${name}: more than there is room for`);
    }
    if (small.bottom > inside.bottom - 5) misfits.push(`${name}: the code is cut off`);
    if (box(card.querySelector(".qr")).bottom > top.bottom + 4)
      misfits.push(`${name}: the QR code is cut off`);
    if (what.bottom > top.bottom) misfits.push(`${name}: the text is cut off`);
    if (address.top < top.bottom || small.top < address.bottom) misfits.push(`${name}: parts overlap`);
  }
  return misfits;
}

/** The pages of a PDF, which Chromium lists without compressing them. */
const pagesOf = (path) => readFileSync(path, "latin1").match(/\/Type\s*\/Page\b/g).length;

async function print(browser) {
  const context = await browser.newContext({
    viewport: { width: 794, height: 1123 },
    deviceScaleFactor: 2,
  });
  const page = await context.newPage();
  const requests = [];
  page.on("request", (request) => requests.push(request.url()));
  await page.goto(url);
  await page.emulateMedia({ media: "print" });
  const misfits = await page.evaluate(findMisfits);
  const pages = {};
  for (const format of ["A4", "Letter"]) {
    const path = join(folder, `${format}.pdf`);
    await page.pdf({ path, format, preferCSSPageSize: false, margin: undefined });
    pages[format.toLowerCase()] = pagesOf(path);
  }
  const pictures = [];
  for (const sheet of await page.locator(".sheet").all()) {
    const path = join(folder, `page-${pictures.length + 1}.png`);
    await sheet.screenshot({ path });
    pictures.push(path);
  }
  const cards = await page.locator(".card").count();
  return { cards, misfits, requests: requests.slice(1), pictures, ...pages };
}

/** Has a download begin, and keeps it. */
async function saved(page, begin) {
  const [download] = await Promise.all([page.waitForEvent("download"), begin()]);
  const path = join(folder, download.suggestedFilename());
  await download.saveAs(path);
  return { file: download.suggestedFilename(), path };
}

async function open(browser) {
  const complaints = [];
  const listen = (page) => {
    page.on("pageerror", (error) => complaints.push(error.message));
    page.on("console", (message) => complaints.push(message.text()));
    return page;
  };
  const laptop = listen(await browser.newPage());
  // A navigation that becomes a download is one that was broken off.
  const here = await saved(laptop, () => laptop.goto(url).catch(() => {}));
  const phone = listen(await (await browser.newContext(devices["iPhone 15"])).newPage());
  await phone.goto(url);
  const heading = await phone.locator("h1").textContent();
  const there = await saved(phone, () => phone.locator("a").click());
  if (!readFileSync(here.path).equals(readFileSync(there.path))) complaints.push("two kits");
  return { ...here, heading, complaints };
}

const browser = await launch();
try {
  console.log(JSON.stringify(await { print, open }[part](browser)));
} finally {
  await browser.close();
}
