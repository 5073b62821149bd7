// How long a page load keeps the visitor from his chat, by Converse.js 14 in Chromium: prints what each load took, and what it carried.
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";
import { ARGUMENTS, CHROMIUM } from "./support.mjs";

const [address, loads, http, direct, password] = process.argv.slice(2);
const HTTP = { "1.1": ["--disable-http2"], 2: [] };

/** In every page: notes when the WebSocket is asked for, when the stream stands, and when the lobby is entered; `there` is a server itself. */
function watch(there) {
  globalThis.noted = {};
  const note = (what) => (globalThis.noted[what] ??= performance.now());
  globalThis.WebSocket = class extends WebSocket {
    constructor(...all) {
      note("asked");
      super(...all);
      this.addEventListener("message", ({ data }) => /^<resumed\b/.test(data) && note("resumed"));
    }
  };
  new MutationObserver(() => {
    const options = document.getElementById("chat-options");
    // Before the page's scripts run, which wait for the whole page.
    if (there && options && !options.dataset.changed) {
      options.dataset.changed = "yes";
      const { url, password } = there;
      options.textContent = JSON.stringify({ ...JSON.parse(options.textContent), authentication: "login", password, websocket_url: url });
    }
    const { jid, room } = document.documentElement?.dataset ?? {};
    if (jid) note("stands");
    if (jid && room) note("entered");
  }).observe(document, { subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: ["data-jid", "data-room"] });
}

const granted = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: [...ARGUMENTS, ...HTTP[http]] });
const said = [];
try {
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  await context.addInitScript(watch, direct ? { url: direct, password } : undefined);
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  page.on("console", (message) => said.push(message.text()));
  page.on("websocket", (socket) => {
    socket.on("framesent", ({ payload }) => said.push(`> ${payload.slice(0, 200)}`));
    socket.on("framereceived", ({ payload }) => said.push(`< ${payload.slice(0, 200)}`));
  });
  await page.goto(`${address}/`);
  await page.fill("#login input[name=username]", "bob");
  await page.fill("#login input[name=password]", "bob-demo");
  await page.click("#login button");
  await page.waitForSelector('html[data-member="bob"]');
  for (let load = 0; load <= Number(loads); load++) {
    console.log("wish: a page is loaded");
    await granted.next();
    await page.goto(`${address}/chat?transport=websocket`);
    await page.waitForFunction(() => globalThis.noted.entered);
    const noted = await page.evaluate(() => globalThis.noted);
    // The first has nothing to resume, and nothing in its cache.
    if (load > 0 && !noted.resumed) throw new Error("the stream is not resumed");
    console.log(`load: ${load} ${[noted.asked, noted.stands, noted.entered].map(Math.round).join(" ")}`);
    console.log("wish: it is loaded");
    await granted.next();
  }
  await browser.close();
  process.exit(0);
} catch (error) {
  console.error(`FAILED: ${error.stack}`);
  for (const line of said.slice(-60)) console.error(`  ${line}`);
  process.exit(1);
}
