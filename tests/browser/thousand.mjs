// Converse.js 14, unmodified, in Chromium. A page load is one of the browser's own, and what was said is typed into the lobby.
import { chromium } from "playwright-core";
import { ADDRESS, tellThousand, until } from "../node/thousand.mjs";
import { ARGUMENTS, CHROMIUM } from "./support.mjs";

const who = process.argv[5];
const FIELD = "#chat textarea.chat-textarea";
const BODY = /<message\b(?![^>]*\btype=['"]error['"]).*?<body>(.*?)<\/body>/s;

const BOUND = /<jid>([^<]*)<\/jid><\/bind>/;

/** In every page: keeps in the tab what came and what was sent on its WebSockets, and how often the chat could be used. */
function listen([ofBody, ofJid]) {
  const [body, bound] = [new RegExp(ofBody, "s"), new RegExp(ofJid)];
  const note = (list, text) => {
    const found = body.exec(text);
    if (found) sessionStorage.setItem(list, `${sessionStorage.getItem(list) ?? ""}${found[1]}\n`);
  };
  globalThis.WebSocket = class extends WebSocket {
    constructor(...all) {
      super(...all);
      // Before Converse.js counts it, in the same task.
      this.addEventListener("message", ({ data }) => {
        note("heard", data);
        const jid = bound.exec(data)?.[1];
        if (jid) sessionStorage.setItem("bound", jid);
      });
    }
    send(data) {
      super.send(data);
      note("said", data);
    }
  };
  let was = false;
  new MutationObserver(() => {
    const { jid, room } = document.documentElement.dataset;
    const is = Boolean(jid && room);
    if (is && !was) sessionStorage.setItem("times", Number(sessionStorage.getItem("times")) + 1);
    was = is;
  }).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-jid", "data-room"] });
}

class Visitor {
  #page;
  #said = [];
  #speaks = Promise.resolve();
  #loads = Promise.resolve();
  #twice = [];

  constructor(page) {
    this.#page = page;
    page.on("console", (message) => this.#said.push(`${message.type()}: ${message.text()}`));
    page.on("pageerror", (error) => this.#said.push(`uncaught: ${error.message}`));
    page.on("websocket", (socket) => {
      const texts = new Set();
      this.#said.push("websocket opened");
      socket.on("close", () => this.#said.push("websocket closed"));
      socket.on("framesent", ({ payload }) => this.#said.push(`> ${payload}`));
      socket.on("framereceived", ({ payload }) => {
        this.#said.push(`< ${payload}`);
        const [, text] = BODY.exec(payload) ?? [];
        if (texts.has(text)) this.#twice.push(text);
        if (text) texts.add(text);
      });
    });
  }

  /** What `read` gives in the page; nothing while one is loaded. */
  async #asks(read, argument) {
    return this.#page.evaluate(read, argument).catch(() => undefined);
  }

  async jid() {
    let jid;
    // Behind a page load Converse.js 14 calls itself by another resource than the one that its stream is bound to.
    const read = () => document.documentElement.dataset.jid && sessionStorage.getItem("bound");
    await until(async () => (jid = await this.#asks(read)), "the page shows who it is");
    return jid;
  }

  async isThere() {
    return this.#asks(() => Boolean(document.documentElement.dataset.jid && document.documentElement.dataset.room));
  }

  async times() {
    let times;
    const read = () => Number(sessionStorage.getItem("times"));
    await until(async () => (times = await this.#asks(read)) !== undefined, "the page says how often");
    return times;
  }

  /** Types it in the lobby; whoever it is for, it is said there. */
  async say(body) {
    await this.#loads;
    this.#speaks = this.#types(body);
    await this.#speaks;
  }

  async #types(body) {
    const isSaid = (body) => (sessionStorage.getItem("said") ?? "").includes(`${body}\n`);
    for (let presses = 0; presses < 10; presses++) {
      await this.#page.fill(FIELD, body);
      await this.#page.press(FIELD, "Enter");
      const said = this.#page.waitForFunction(isSaid, body, { timeout: 3000, polling: 10 });
      if (await said.then(() => true, () => false)) return;
    }
    throw new Error(`the page does not say ${body}`);
  }

  async heard() {
    return (await this.#asks(() => (sessionStorage.getItem("heard") ?? "").split("\n"))) ?? [];
  }

  /** What came twice on one WebSocket. */
  twice() {
    return this.#twice;
  }

  /** Also on a stream that goes on Converse.js 14 tells the room that it is there. */
  greetsAgain() {
    return true;
  }

  wire() {
    return this.#said;
  }

  /** Nobody types in a page that is being loaded. */
  async reloads() {
    await this.#speaks;
    this.#loads = this.#page.reload();
    await this.#loads;
  }
}

await tellThousand("Converse.js 14", async () => {
  const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: ARGUMENTS });
  const context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1000, height: 720 } });
  await context.addInitScript(listen, [BODY.source, BOUND.source]);
  const page = await context.newPage();
  page.setDefaultTimeout(60_000);
  const visitor = new Visitor(page);
  if (who === "member") {
    await page.goto(`${ADDRESS}/`);
    await page.fill("#login input[name=username]", "bob");
    await page.fill("#login input[name=password]", "bob-demo");
    await page.click("#login button");
    await page.waitForSelector('html[data-member="bob"]');
  }
  await page.goto(`${ADDRESS}/chat?transport=websocket`);
  await page.waitForSelector(FIELD);
  await visitor.jid();
  return visitor;
});
