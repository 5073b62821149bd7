// The words the browser tests are written in: a visitor in a browser of his own, who signs in at the site and speaks in the lobby.
import { mkdir, readdir, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const SCREENSHOTS = fileURLToPath(new URL("../screenshots/", import.meta.url));
/** The longest that anything awaited may take: two machines' worth of patience, a bound all the same. */
const PATIENCE_MS = 60_000;
const CHROMIUM = process.env.CHROMIUM ?? "/usr/bin/chromium";
const ARGUMENTS = [
  "--headless=new", "--no-sandbox", "--ignore-certificate-errors", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
];
/** So much of a WebSocket frame or a BOSH body is enough to see what it was about. */
const FRAME = 300;
const TRANSPORTS = ["websocket", "prebind"];
const PASSWORDS = { bob: "bob-demo", charlie: "charlie-demo" };

/**
 * Runs one story: `story({ visitor, step })`, with the address and the transport of the command line.
 *
 * Each step that was reached is a line on standard output. A failure names the last step, keeps a screenshot of each page
 * what the pages and their streams said, and ends with exit code 1.
 */
export async function tell(name, story) {
  const [address, transport = "websocket", page = "member"] = process.argv.slice(2);
  if (!address || !TRANSPORTS.includes(transport)) {
    console.error(`usage: node tests/browser/${name}.mjs https://localhost:8443 [${TRANSPORTS.join("|")} [member|domain]]`);
    process.exit(64);
  }
  const fullName = `${name}-${transport}-${page}`;
  await removeScreenshots(fullName);
  const browser = await chromium.launch({ executablePath: CHROMIUM, headless: true, args: ARGUMENTS });
  const visitors = [];
  let last = "the browser has started";
  const step = (text) => console.log(`ok: ${(last = text)}`);
  const visitor = async (visitorName) => {
    const made = await Visitor.enter(browser, { name: visitorName, story: fullName, address, transport, page });
    visitors.push(made);
    return made;
  };
  try {
    await story({ visitor, step, transport });
    console.log(`passed: ${name} by ${transport}`);
  } catch (error) {
    process.exitCode = 1;
    console.error(`FAILED: ${name} by ${transport}, after "${last}": ${error.message}`);
    for (const one of visitors) await one.confess();
  } finally {
    await browser.close();
  }
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

/** A browser of its own (cookies and storage), with one page. */
class Visitor {
  #page;
  #context;
  #said = [];
  #about;

  static async enter(browser, about) {
    const made = new Visitor();
    made.#about = about;
    made.#context = await browser.newContext({ ignoreHTTPSErrors: true, viewport: { width: 1000, height: 720 } });
    made.#page = await made.#context.newPage();
    made.#page.setDefaultTimeout(PATIENCE_MS);
    made.#page.on("console", (message) => made.#said.push(`${message.type()}: ${message.text()}`));
    made.#page.on("pageerror", (error) => made.#said.push(`uncaught: ${error.message}`));
    made.#page.on("websocket", (socket) => {
      made.#said.push(`websocket opened: ${socket.url()}`);
      socket.on("framesent", ({ payload }) => made.#said.push(`> ${payload.slice(0, FRAME)}`));
      socket.on("framereceived", ({ payload }) => made.#said.push(`< ${payload.slice(0, FRAME)}`));
      socket.on("close", () => made.#said.push("websocket closed"));
    });
    made.#page.on("requestfinished", async (request) => {
      if (!/\/(http-bind|prebind)$/.test(request.url())) return;
      made.#said.push(`> ${(request.postData() ?? request.method()).slice(0, FRAME)}`);
      const answer = await request.response().then((response) => response.text()).catch((error) => error.message);
      made.#said.push(`< ${answer.slice(0, FRAME)}`);
    });
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
    await this.#page.click("#logout button");
    await this.#page.waitForSelector('html[data-member=""]');
  }

  /** Opens the chat page; see `connected`. */
  async openChat(expected) {
    const { address, transport, page } = this.#about;
    await this.#page.goto(`${address}/chat?transport=${transport}&jid=${page}`);
    return this.connected(expected);
  }

  /** Reloads the page as the reload button does; see `connected`. */
  async reload(expected) {
    await this.#page.reload();
    return this.connected(expected);
  }

  /** Waits until Converse.js is signed in under a JID that `expected` matches, and in the lobby; returns the bare JID. */
  async connected(expected = /./) {
    await this.#page.waitForFunction(
      (pattern) => new RegExp(pattern).test(document.documentElement.dataset.jid ?? "") && document.documentElement.dataset.room,
      expected.source,
    );
    await this.#page.waitForSelector("#chat textarea.chat-textarea");
    return (await this.#page.getAttribute("html", "data-jid")).split("/")[0];
  }

  /** Says something in the lobby, and sees it there. */
  async say(text) {
    await this.#page.fill("#chat textarea.chat-textarea", text);
    await this.#page.press("#chat textarea.chat-textarea", "Enter");
    await this.sees(text);
  }

  /** Waits until the lobby shows this text. */
  async sees(text) {
    await this.#page.locator("#chat .chat-msg__text", { hasText: text }).first().waitFor();
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
