// The demo site's own promises, without Vestibule: whois believes the bearer secret and its sessions, and the cookie's value stays.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const SERVER = fileURLToPath(new URL("../../examples/demo-site/server.mjs", import.meta.url));
const SECRET = "a secret of this test";

const site = spawn(process.execPath, [SERVER, "--listen", "127.0.0.1:0", "--whois-secret", SECRET], { stdio: ["ignore", "pipe", "inherit"] });
const [line] = await once(createInterface(site.stdout), "line");
const address = line.slice(line.indexOf("http://"));

let cookie = "";
const failures = [];
function check(holds, sentence) {
  console.log(`${holds ? "ok" : "FAILED"}: ${sentence}`);
  if (!holds) failures.push(sentence);
}

/** One request of a browser that keeps its cookie and follows nothing. */
async function request(path, options = {}) {
  const answer = await fetch(address + path, { redirect: "manual", ...options, headers: { Cookie: cookie, ...options.headers } });
  const set = answer.headers.get("set-cookie");
  if (set) cookie = set.split(";")[0];
  return answer;
}

/** What whois says about a cookie. */
async function whois(shown, authorization = `Bearer ${SECRET}`) {
  const answer = await fetch(`${address}/chat/whois`, { headers: { Cookie: shown, ...(authorization && { Authorization: authorization }) } });
  return { status: answer.status, ...(await answer.json()) };
}

const login = (password, headers) => request("/login", { method: "POST", headers, body: new URLSearchParams({ username: "bob", password }) });

try {
  await request("/");
  const first = cookie;
  check(/^PHPSESSID=[0-9a-f]{32}$/.test(first), "the first page sets a session cookie");
  check((await whois(first)).authenticated === false, "a session that nobody signed in to is nobody's");

  check((await login("wrong")).status === 403, "a wrong password is refused");
  check((await login("bob-demo", { "Sec-Fetch-Site": "cross-site" })).status === 403, "a form on another site's page is refused");
  check((await whois(first)).authenticated === false, "after both the session is still nobody's");

  check((await login("bob-demo")).status === 303, "the right password is accepted");
  const bob = await whois(first);
  check(bob.authenticated === true && bob.username === "bob", "the session is Bob's");
  check(!first.includes(bob.session_id), "the session's name in the answer is not the cookie's value");
  check((await whois(`other=1; ${first}; more=2`)).username === "bob", "the cookie is found among others");

  check((await whois(first, "")).status === 401, "whois answers nobody without the bearer secret");
  check((await whois(first, "Bearer wrong")).status === 401, "whois answers nobody with a wrong secret");
  check((await whois(first, `Basic ${SECRET}`)).status === 401, "whois answers nobody who shows the secret in another scheme");
  check((await whois("PHPSESSID=bob; username=bob")).authenticated === false, "a made-up cookie is nobody's");

  await request("/logout", { method: "POST" });
  check((await whois(first)).authenticated === false, "after the logout the session is nobody's");
  await login("bob-demo");
  check((await whois(first)).username === "bob", "after a login it is Bob's again");
  check(cookie === first, "and all the while the cookie's value was one");
} finally {
  site.kill();
}
process.exitCode = failures.length ? 1 : 0;
