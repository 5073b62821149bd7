// A small website with real sessions, to show Vestibule in front of one: pages, a login form, logout, whois.
//
//   node server.mjs [--listen 127.0.0.1:8080] [--whois-secret TEXT | --whois-secret-file FILE]
//                   [--domain xmpp.localhost] [--guests guest.localhost] [--room lobby@conference.localhost]
import { createReadStream, readFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { createServer } from "node:http";
import { extname, join, normalize, sep } from "node:path";
import { pipeline } from "node:stream";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { authenticate } from "./members.mjs";
import * as pages from "./pages.mjs";
import { COOKIE, Sessions } from "./sessions.mjs";
import { whois } from "./whois.mjs";

const here = fileURLToPath(new URL(".", import.meta.url));
const PUBLIC = join(here, "public");
const CONVERSE = join(here, "../../node_modules/converse.js/dist");
const FORM_LIMIT = 4096;
const TYPES = {
  ".css": "text/css; charset=utf-8", ".js": "text/javascript; charset=utf-8", ".json": "application/json", ".map": "application/json",
  ".mp3": "audio/mpeg", ".ogg": "audio/ogg", ".png": "image/png", ".svg": "image/svg+xml", ".ttf": "font/ttf",
  ".wasm": "application/wasm", ".webp": "image/webp", ".woff": "font/woff", ".woff2": "font/woff2",
};

const { values: settings } = parseArgs({
  options: {
    listen: { type: "string", default: "127.0.0.1:8080" },
    "whois-secret": { type: "string" },
    "whois-secret-file": { type: "string" },
    domain: { type: "string", default: "xmpp.localhost" },
    guests: { type: "string", default: "guest.localhost" },
    room: { type: "string", default: "lobby@conference.localhost" },
  },
});
const secret = settings["whois-secret"] ?? (settings["whois-secret-file"] && readFileSync(settings["whois-secret-file"], "utf8").trimEnd());
if (!secret) {
  console.error("demo-site: --whois-secret or --whois-secret-file is needed: without it anybody could ask who a cookie is");
  process.exit(64);
}
const sessions = new Sessions();

const server = createServer((request, response) => {
  respond(request, response).catch((error) => {
    if (!error.status) console.error(`demo-site: ${request.method} ${request.url}: ${error.stack}`);
    if (response.headersSent) response.destroy();
    else plain(response, error.status ?? 500, error.status ? error.message : "The site has an error.");
  });
});
const [, host, port] = /^(.*):(\d+)$/.exec(settings.listen) ?? [];
server.listen(Number(port), host, () => {
  const { address, port: bound } = server.address();
  console.log(`demo-site: listening on http://${address}:${bound}`);
});
for (const signal of ["SIGINT", "SIGTERM"]) {
  process.on(signal, () => {
    server.close();
    server.closeAllConnections();
  });
}

/** One request: which page it is, and who may have it. */
async function respond(request, response) {
  const url = new URL(request.url, "http://site.invalid");
  // Node leaves the body of an answer to HEAD away by itself.
  const method = request.method === "HEAD" ? "GET" : request.method;
  switch (`${method} ${url.pathname}`) {
    case "GET /chat/whois": {
      const { status, headers, answer } = whois(request, sessions, secret);
      response.writeHead(status, { ...headers, "Content-Type": "application/json", "Cache-Control": "no-store" });
      return response.end(JSON.stringify(answer));
    }
    case "GET /":
      return html(response, 200, pages.front(sessionOf(request, response)));
    case "GET /chat": {
      const asked = url.searchParams.get("transport");
      const transport = pages.TRANSPORTS.includes(asked) ? asked : pages.TRANSPORTS[0];
      // `?jid=domain` is the page of a site that does not know in it who its visitor is (a page from a cache, say).
      const anonymous = url.searchParams.get("jid") === "domain";
      return html(response, 200, pages.chat(sessionOf(request, response), { transport, anonymous }, settings));
    }
    case "POST /login":
      return login(request, response);
    case "POST /logout":
      return logout(request, response);
    default:
      return file(method, response, url.pathname);
  }
}

async function login(request, response) {
  sameOrigin(request);
  const form = await readForm(request);
  const session = sessionOf(request, response);
  const member = authenticate(form.get("username") ?? "", form.get("password") ?? "");
  if (!member) return html(response, 403, pages.loginRefused(session));
  session.member = member;
  return redirect(response, "/");
}

function logout(request, response) {
  sameOrigin(request);
  sessionOf(request, response).member = undefined;
  return redirect(response, "/");
}

/** Nobody else's page may sign our visitors in or out. */
function sameOrigin(request) {
  const from = request.headers["sec-fetch-site"];
  if (from && from !== "same-origin") throw refusal(403, "This form belongs to another page.");
}

/** The request's session; a browser without one gets one, and the cookie for it. */
function sessionOf(request, response) {
  const session = sessions.of(request);
  if (session) return session;
  const begun = sessions.begin();
  const secure = request.headers["x-forwarded-proto"] === "https" ? "; Secure" : "";
  response.setHeader("Set-Cookie", `${COOKIE}=${begun.cookie}; Path=/; HttpOnly; SameSite=Lax${secure}`);
  return begun;
}

async function readForm(request) {
  let text = "";
  for await (const chunk of request.setEncoding("utf8")) {
    text += chunk;
    if (text.length > FORM_LIMIT) throw refusal(413, "The form is too long.");
  }
  return new URLSearchParams(text);
}

/** A file of ours, or of Converse.js under /converse/. */
async function file(method, response, pathname) {
  const path = pathname.startsWith("/converse/") ? join(CONVERSE, decode(pathname.slice("/converse".length))) : join(PUBLIC, decode(pathname));
  const inside = [CONVERSE, PUBLIC].some((folder) => path.startsWith(folder + sep));
  const found = inside && (await stat(path).catch(() => undefined));
  if (!found?.isFile()) throw refusal(404, "There is no such page.");
  if (method !== "GET") throw refusal(405, "Only GET and HEAD here.");
  response.writeHead(200, { "Content-Type": TYPES[extname(path)] ?? "application/octet-stream", "Content-Length": found.size, "Cache-Control": "max-age=300" });
  return pipeline(createReadStream(path), response, () => {});
}

function decode(pathname) {
  try {
    return normalize(decodeURIComponent(pathname));
  } catch {
    throw refusal(400, "The address is not well written.");
  }
}

function refusal(status, message) {
  return Object.assign(new Error(message), { status });
}

function html(response, status, text) {
  response.writeHead(status, { "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store" });
  response.end(text);
}

function redirect(response, to) {
  response.writeHead(303, { Location: to, "Cache-Control": "no-store" });
  response.end();
}

function plain(response, status, text) {
  response.writeHead(status, { "Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store" });
  response.end(`${text}\n`);
}
