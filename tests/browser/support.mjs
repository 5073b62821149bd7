// The words the browser tests are written in: a visitor in a browser of his own, who signs in at the site and speaks in the lobby.
import { mkdir, readdir, rm } from "node:fs/promises";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const SCREENSHOTS = fileURLToPath(new URL("../screenshots/", import.meta.url));
/** The longest that anything awaited may take: two machines' worth of patience, a bound all the same. */
const PATIENCE_MS = 60_000;
export const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
export const ARGUMENTS = [
  "--headless=new", "--no-sandbox", "--ignore-certificate-errors", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
/** So much of a WebSocket frame or a BOSH body is enough to see what it was about. */
const FRAME = 300;
const TRANSPORTS = ["websocket", "bosh", "prebind"];
const PASSWORDS = { bob: "bob-demo", charlie: "charlie-demo" };

/**
 * Runs one story: `story({ visitor, step, wish, transport, address })`, with the address and the transport of the command line.
 *
 * `wish(text)` asks whoever runs the program for something, on standard output, and waits for a line that it is granted.
 *
 * `more` are arguments of the browser's, and `without` those of playwright's that it is to start without.
 *
 * Each step that was reached is a line on standard output. A failure names the last step, keeps a screenshot of each page
 * what the pages and their streams said, and ends with exit code 1.
 */
export async function tell(name, story, { more = [], without = [] } = {}) {
  const [address, transport = "websocket", page = "member"] = process.argv.slice(2);
  if (!address || !TRANSPORTS.includes(transport)) {
    console.error(`usage: node tests/browser/${name}.mjs https://localhost:8443 [${TRANSPORTS.join("|")} [member|domain]]`);
    process.exit(64);
  }
  const fullName = `${name}-${transport}-${page}`;
  await removeScreenshots(fullName);
  const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: [...ARGUMENTS, ...more], ignoreDefaultArgs: without });
  const visitors = [];
  let last = "the browser has started";
  const step = (text) => console.log(`ok: ${(last = text)}`);
  const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
  const wish = async (text) => {
    console.log(`wish: ${text}`);
    if ((await answers.next()).value !== "granted") throw new Error(`nobody grants "${text}"`);
  };
  const visitor = async (visitorName) => {
    const made = await Visitor.enter(browser, { name: visitorName, story: fullName, address, transport, page });
    visitors.push(made);
    return made;
  };
  try {
    await story({ visitor, step, wish, transport, address });
    console.log(`passed: ${name} by ${transport}`);
  } catch (error) {
    process.exitCode = 1;
    console.error(`FAILED: ${name} by ${transport}, after "${last}": ${error.message}`);
    for (const one of visitors) await one.confess();
  } finally {
    await browser.close();
    // Whoever a story has let in by other means does not keep it going.
    process.exit();
  }
}

/** In every page: counts how often it has lost its stream, keeps its WebSockets for a story to speak on, and the texts that came by BOSH. */
function listen() {
  globalThis.partings = 0;
  globalThis.sockets = [];
  new MutationObserver((changes) => {
    if (changes.some(({ oldValue, target }) => oldValue && !target.dataset?.jid)) globalThis.partings += 1;
  }).observe(document, { subtree: true, attributes: true, attributeFilter: ["data-jid"], attributeOldValue: true });
  // In the tab's own storage, so that a page that is loaded anew goes on with the list.
  const note = (answer) => {
    const texts = [...answer.matchAll(/<message\b[^>]*\btype=['"]groupchat['"].*?<\/message>/gs)].flatMap(([message]) => message.match(/(?<=<body>).*?(?=<\/body>)/s) ?? []);
    const heard = JSON.parse(sessionStorage.getItem("heard") ?? "[]");
    if (texts.length) sessionStorage.setItem("heard", JSON.stringify([...heard, ...texts]));
  };
  const { send } = XMLHttpRequest.prototype;
  XMLHttpRequest.prototype.send = function (...all) {
    this.addEventListener("load", () => this.responseURL.endsWith("/http-bind") && note(this.responseText));
    return send.apply(this, all);
  };
  globalThis.WebSocket = class extends WebSocket {
    constructor(...all) {
      super(...all);
      globalThis.sockets.push(this);
    }
  };
}

/** Removes what an earlier run has kept: a picture of a failure is then always of this run. */
async function removeScreenshots(story) {
  await mkdir(SCREENSHOTS, { recursive: true });
  const old = (await readdir(SCREENSHOTS)).filter((file) => file.startsWith(`${story}-`) && file.endsWith(".png"));
  await Promise.all(old.map((file) => rm(`${SCREENSHOTS}${file}`, { force: true })));
}

/** Holds, or says what was expected instead. */
export function expect(holds, sentence) {
  if (!holds) throw new Error(`expected that ${sentence}`);
}

/** How many of these texts were heard, and which not once. */
export function tally(texts, heard) {
  const times = (text) => heard.filter((one) => one === text).length;
  const wrong = texts.filter((text) => times(text) !== 1).map((text) => `"${text}" ${times(text)} times`);
  const order = heard.filter((text) => texts.includes(text));
  const isInOrder = texts.every((text, at) => order[at] === text);
  return { wrong, isInOrder };
}

/** Fails unless each was heard once, and in order. */
export function expectEach(who, { wrong, isInOrder }) {
  expect(wrong.length === 0, `${who} hears each once, not ${wrong.slice(0, 10).join(", ")} (${wrong.length} in all)`);
  expect(isInOrder, `${who} hears them in order`);
}

/** A browser of its own (cookies and storage), with one page. */
class Visitor {
  #page;
  #context;
  #said = [];
  #sent = [];
  #about;

  static async enter(browser, about) {
    const made = new Visitor();
    made.#about = about;
    made.#context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1000, height: 720 } });
    await made.#context.addInitScript(listen);
    return made.#watch(await made.#context.newPage());
  }

  /** The same visitor in another tab of the same browser. */
  async anotherTab() {
    const made = new Visitor();
    made.#about = this.#about;
    made.#context = this.#context;
    return made.#watch(await this.#context.newPage());
  }

  /** Puts another window before this one, as a visitor does who reads something else; what brings this one back is handed back. */
  async hide() {
    // playwright has every page believe that it is seen, and only the one who said so can take it back.
    const { delegate } = this.#page._connection.toImpl(this.#page);
    const emulate = (enabled) => delegate._mainFrameSession._client.send("Emulation.setFocusEmulationEnabled", { enabled });
    await emulate(false);
    const other = await this.#context.newPage();
    await other.bringToFront();
    await this.#page.waitForFunction(() => document.visibilityState === "hidden", undefined, { polling: 100 });
    return async () => {
      await other.close();
      await emulate(true);
      await this.#page.bringToFront();
    };
  }

  /** The same visitor in a copy of this tab: what the tab has stored is copied with it, as where a browser duplicates it. */
  async clonedTab() {
    const made = new Visitor();
    made.#about = this.#about;
    made.#context = this.#context;
    const [page] = await Promise.all([this.#context.waitForEvent("page"), this.#page.evaluate(() => void open(location.href))]);
    return made.#watch(page);
  }

  /** Notes what this page says, and what is said to it. */
  #watch(page) {
    const made = this;
    made.#page = page;
    made.#page.setDefaultTimeout(PATIENCE_MS);
    made.#page.on("console", (message) => made.#said.push(`${message.type()}: ${message.text()}`));
    made.#page.on("pageerror", (error) => made.#said.push(`uncaught: ${error.message}`));
    made.#page.on("websocket", (socket) => {
      made.#said.push(`websocket opened: ${socket.url()}`);
      socket.on("framesent", ({ payload }) => {
        made.#sent.push(payload);
        made.#said.push(`> ${payload.slice(0, FRAME)}`);
      });
      socket.on("framereceived", ({ payload }) => made.#said.push(`< ${payload.slice(0, FRAME)}`));
      socket.on("close", () => made.#said.push("websocket closed"));
    });
    made.#page.on("request", (request) => request.url().endsWith("/http-bind") && made.#sent.push(request.postData() ?? ""));
    made.#page.on("requestfinished", async (request) => {
      if (!/\/(http-bind|prebind)$/.test(request.url())) return;
      made.#said.push(`> ${(request.postData() ?? request.method()).slice(0, FRAME)}`);
      const answer = await request.response().then((response) => response.text()).catch((error) => error.message);
      made.#said.push(`< ${answer.slice(0, FRAME)}`);
    });
    made.#page.on("requestfailed", (request) => made.#said.push(`failed: ${request.method()} ${request.url()}`));
    made.#page.on("response", (answer) => answer.status() >= 400 && made.#said.push(`${answer.status()} ${answer.url()}`));
    return made;
  }

  /** Signs in with the site's own form. */
  async signIn(username) {
    await this.#page.goto(`${this.#about.address}/`);
    await this.#page.fill("#login input[name=username]", username);
    await this.#page.fill("#login input[name=password]", PASSWORDS[username]);
    await this.#page.click("#login button");
    await this.#page.waitForSelector(`html[data-member="${username}"]`);
  }

  /** Signs out with the site's own button. */
  async signOut() {
    if (this.#page.url() === "about:blank") await this.#page.goto(`${this.#about.address}/`);
    await this.#page.click("#logout button");
    await this.#page.waitForSelector('html[data-member=""]');
  }

  /** Opens the chat page as if it were a page of this origin, which is not the site's; waits until it has tried to come in. */
  async openChatFrom(origin) {
    const { address, transport, page } = this.#about;
    // The pages are the site's own, under another name, with the proxy's address written out.
    await this.#context.route(`${origin}/**`, async (route) => {
      const { pathname, search } = new URL(route.request().url());
      const answer = await route.fetch({ url: address + pathname + search });
      const text = await answer.body();
      const absolute = text.toString().replace(/"(\/xmpp-websocket|\/prebind|\/http-bind)"/g, `"${address}$1"`);
      const body = pathname === "/chat" ? absolute : text;
      await route.fulfill({ response: answer, body });
    });
    const refused = this.#until((line) => /(403|failed|CORS|closed)/.test(line), "the page did not try", this.#said.length);
    await this.#page.goto(`${origin}/chat?transport=${transport}&jid=${page}`);
    await refused;
  }

  /** What came from the proxy by BOSH or WebSocket, since the page was opened for the first time. */
  heard() {
    return this.#said.filter((line) => line.startsWith("< "));
  }

  /** Opens the chat page; see `connected`. */
  async openChat(expected) {
    await this.beginChat();
    return this.connected(expected);
  }

  /** Opens the chat page, and waits only until it has asked to be let in. */
  async beginChat() {
    const { address, transport, page } = this.#about;
    const asks = transport === "websocket" ? this.#page.waitForEvent("websocket") : this.#page.waitForEvent("request", (request) => /\/(http-bind|prebind)$/.test(request.url()));
    await Promise.all([asks, this.#page.goto(`${address}/chat?transport=${transport}&jid=${page}`)]);
  }

  /** Opens a page of the site. */
  async opens(path) {
    await this.#page.goto(`${this.#about.address}${path}`);
  }

  /** Leaves the site, without a word to it; the tab keeps what it has stored. */
  async leave() {
    await this.#page.goto("about:blank");
  }

  /** Leaves the site for so long that the tab has forgotten its stream. */
  async leaveForLong() {
    await this.#page.evaluate(() => sessionStorage.clear());
    await this.leave();
  }

  /** Runs `happens`, and waits until the page has noticed that its stream is gone. */
  async parts(happens) {
    const before = await this.#page.evaluate(() => globalThis.partings);
    await happens();
    await this.#page.waitForFunction((before) => globalThis.partings > before, before);
  }

  /** Waits until the proxy has answered the page with this status, from now on. */
  async isRefused(status) {
    const refusal = (line) => line.startsWith(`${status} `) || line.includes(`response code: ${status}`);
    await this.#until(refusal, `nobody refused ${this.#about.name} with ${status}`, this.#said.length);
  }

  /** Waits until the browser has followed the proxy to this path, from now on. */
  async isSentOn(path) {
    await this.#page.waitForRequest((request) => request.url().endsWith(path) && request.redirectedFrom());
  }

  /** Closes the page, and with it the session. */
  async close() {
    await this.#page.close();
  }

  /** Waits until the page has asked the proxy for something, and nobody was there. */
  async knocksInVain() {
    const vain = (line) => line.startsWith("failed: ") || line.includes("net::ERR_");
    await this.#until(vain, `nobody let ${this.#about.name} knock in vain`, this.#said.length);
  }

  /** Runs this function in the page. */
  async does(what, argument) {
    return this.#page.evaluate(what, argument);
  }

  /** Waits until what was exchanged with the proxy holds this text, since the page was opened for the first time. */
  async hears(text) {
    await this.#until((line) => line.startsWith("< ") && line.includes(text), `nobody said "${text}" to ${this.#about.name}`);
  }

  /** Waits until the page has sent the proxy something that holds this text. */
  async sends(text) {
    await this.#until((sent) => sent.includes(text), `${this.#about.name} did not send "${text}"`, 0, this.#sent);
  }

  /** Waits until the proxy has answered with this, a status or a piece of XML, since the page was opened for the first time. */
  async isTold(text) {
    const told = (line) => line.startsWith(`${text} `) || (line.startsWith("< ") && line.includes(text));
    await this.#until(told, `nobody told ${this.#about.name} ${text}`);
  }

  /** Waits for a line of what was said, from the one with this number on. */
  async #until(wanted, otherwise, from = 0, lines = this.#said) {
    const deadline = Date.now() + PATIENCE_MS;
    while (!lines.slice(from).some(wanted)) {
      if (Date.now() > deadline) throw new Error(otherwise);
      await this.#page.waitForTimeout(50);
    }
  }

  /** Waits until the page says this of its connection. */
  async shows(text) {
    await this.#page.locator("#status", { hasText: text }).waitFor();
  }

  /** Reloads the page as the reload button does; see `connected`. */
  async reload(expected) {
    await this.#page.reload();
    return this.connected(expected);
  }

  /** Waits until Converse.js is signed in under a JID that `expected` matches, and in the lobby; returns the bare JID. */
  async connected(expected = /./) {
    // In one step: a page that is told to begin anew has no JID for a moment.
    const jid = await this.#page.waitForFunction((pattern) => {
      const { jid, room } = document.documentElement.dataset;
      return new RegExp(pattern).test(jid ?? "") && room && jid;
    }, expected.source);
    await this.#page.waitForSelector("#chat textarea.chat-textarea");
    return (await jid.jsonValue()).split("/")[0];
  }

  /** Says something in the lobby, and sees it there. */
  async say(text) {
    const field = "#chat textarea.chat-textarea";
    await this.#page.fill(field, text);
    for (let presses = 0; presses < 10; presses++) {
      await this.#page.press(field, "Enter");
      // Just behind a reload the field is there before what listens to it; a visitor would press again.
      const taken = this.#page.waitForFunction((field) => document.querySelector(field)?.value === "", field, { timeout: 3000 });
      if (await taken.then(() => true, () => false)) break;
    }
    await this.sees(text);
  }

  /** Says all of these, one after the other, and does not wait to see them. */
  async saysAll(texts) {
    const field = "#chat textarea.chat-textarea";
    for (const text of texts) {
      await this.#page.fill(field, text);
      await this.#page.press(field, "Enter");
      await this.#page.waitForFunction((field) => document.querySelector(field)?.value === "", field, { polling: 10 });
    }
  }

  /** How often the lobby shows each of these texts; waits until it shows all. */
  async shown(texts) {
    const read = () => [...document.querySelectorAll("#chat .chat-msg__text")].map((element) => element.textContent.trim());
    return tally(texts, await this.#awaits(texts, () => this.#page.evaluate(read)));
  }

  /** How often it has lost its stream since the page was loaded. */
  async partings() {
    return this.#page.evaluate(() => globalThis.partings);
  }

  /** How often each of these texts came by BOSH in this tab; waits until all have. */
  async counts(texts) {
    return tally(texts, await this.#awaits(texts, () => this.hasHeard()));
  }

  /** The texts that came by BOSH in this tab. */
  async hasHeard() {
    return this.#page.evaluate(() => JSON.parse(sessionStorage.getItem("heard") ?? "[]"));
  }

  /** What `read` gives, as soon as it has all of these texts, or after long enough. */
  async #awaits(texts, read) {
    const until = Date.now() + PATIENCE_MS;
    let found = await read();
    while (!texts.every((text) => found.includes(text)) && Date.now() < until) {
      await this.#page.waitForTimeout(100);
      found = await read();
    }
    return found;
  }

  /** Waits until the lobby shows this text. */
  async sees(text) {
    await this.#page.locator("#chat .chat-msg__text", { hasText: text }).first().waitFor();
  }

  /** The full JID it is signed in under. */
  async resource() {
    return this.#page.getAttribute("html", "data-jid");
  }

  /** The value of the site's session cookie. */
  async siteCookie() {
    const cookies = await this.#context.cookies(this.#about.address);
    return cookies.find(({ name }) => name === "PHPSESSID")?.value;
  }

  /** Keeps a picture of the page under tests/screenshots/. */
  async screenshot(moment) {
    const { story, name } = this.#about;
    await this.#page.screenshot({ path: `${SCREENSHOTS}${story}-${name}-${moment}.png` });
  }

  /** What may explain a failure: a picture, and what the page said. */
  async confess() {
    await this.screenshot("failure").catch(() => {});
    const jid = await this.#page.getAttribute("html", "data-jid").catch(() => "unknown");
    console.error(`${this.#about.name} at ${this.#page.url()}, connected as ${jid}; the page said:`);
    for (const line of this.#said.slice(-120)) console.error(`  ${line}`);
  }
}
