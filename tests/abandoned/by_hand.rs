//! Visits by HTTP/1.1 and TLS that are written by hand: `/prebind`, BOSH, and the rest of the site.

use std::sync::Arc;

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::CROWD;
use crate::Visit;
use crate::support::bosh::attribute;
use crate::support::gateway::session_cookie;
use crate::support::gateway::trusting;

/// How many kinds there are.
pub(crate) const KINDS: usize = 26;

/// Comes, and is refused, breaks, or goes.
pub(crate) async fn visit(visit: &Visit<'_>, kind: usize) {
    match kind {
        0 => visit.told("403", "GET /prebind", ["localhost", "https://evil.test"], "").await,
        1 => visit.told("403", "POST /http-bind", ["localhost", "null"], OPENING).await,
        2 => visit.told("421", "GET /prebind", ["nowhere.test", "https://localhost"], "").await,
        3 => visit.told("426", "GET /xmpp-websocket", HERE, "").await,
        4 => breaks_off_tls(visit).await,
        5 => says(visit, "GET /prebind HTTP/1.1\r\nHost: loc").await,
        6 => says(visit, &post("/http-bind", HERE, (500, ""), "<body")).await,
        7 => visit.told("item-not-found", "POST /http-bind", HERE, UNKNOWN_SID).await,
        8 => visit.told("bad-request", "POST /http-bind", HERE, "<body><!-- --></body>").await,
        9 => visit.told("503", "GET /prebind", REFUSED, "").await,
        10 => visit.told("503", "POST /http-bind", REFUSED, OPENING).await,
        11 => leaves_while_held(visit).await,
        // Never attached.
        12 => visit.told("jid", "GET /prebind", HERE, "").await,
        13 => visit.told("EXTERNAL", "POST /http-bind", HERE, OPENING).await,
        14 => begins_and_sends_what_is_forbidden(visit).await,
        15 => vanishes_while_its_request_is_held(visit).await,
        16 => loses_the_server(visit).await,
        17 => is_signed_out(&visit.alone()).await,
        18 => is_one_too_many(visit, "GET /prebind", "").await,
        19 => is_one_too_many(visit, "POST /http-bind", OPENING).await,
        20 => visit.told("503", "GET /prebind", ASKED, "").await,
        21 => leaves_while_the_site_is_asked(visit).await,
        22 => visit.told("503", "POST /http-bind", INSECURE, OPENING).await,
        23 => is_no_guest(visit).await,
        24 => uploads_and_breaks_off(visit).await,
        _ => downloads_and_is_left(visit).await,
    }
}

impl Visit<'_> {
    /// Asks; the answer holds these words, and the connection is then over.
    async fn told(&self, words: &str, line: &str, site: [&str; 2], body: &str) {
        self.asks(words, line, site, body).await;
    }

    /// Asks until the answer holds these words.
    async fn asks(&self, words: &str, line: &str, [host, origin]: [&str; 2], body: &str) -> String {
        let cookie = session_cookie(&self.member);
        let request = format!(
            "{line} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nCookie: {cookie}; PHPSESSID={cookie}\r\n\
             X-Forwarded-Proto: https\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        let answer = if words == "503" {
            once(self, &request).await
        } else {
            answer_to(self, &request).await
        };
        assert!(answer.contains(words), "{line} of {host} from {origin}: {answer}");
        answer
    }
}

/// A machine that is busy makes a server late, or many sessions last; a browser comes back.
async fn answer_to(visit: &Visit<'_>, request: &str) -> String {
    loop {
        let answer = once(visit, request).await;
        if !answer.starts_with("HTTP/1.1 503 ") {
            return answer;
        }
    }
}

async fn once(visit: &Visit<'_>, request: &str) -> String {
    let mut connection = TcpStream::connect(visit.edge.http).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).await.unwrap();
    answer
}

/// Says no more than this, and goes.
async fn says(visit: &Visit<'_>, words: &str) {
    let mut connection = TcpStream::connect(visit.edge.http).await.unwrap();
    connection.write_all(words.as_bytes()).await.unwrap();
}

/// A request with a body of this length, of which this comes.
fn post(
    path: &str,
    [host, origin]: [&str; 2],
    (length, more): (usize, &str),
    body: &str,
) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: {origin}\r\nX-Forwarded-Proto: https\r\n{more}\
         Content-Length: {length}\r\n\r\n{body}"
    )
}

/// Goes in the middle of the handshake: before it is asked, or before it has answered; or right behind it.
async fn breaks_off_tls(visit: &Visit<'_>) {
    let mut connection = TcpStream::connect(visit.edge.https).await.unwrap();
    match visit.round % 3 {
        // The beginning of a ClientHello of 512 bytes.
        0 => {
            connection.write_all(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03").await.unwrap();
        }
        1 => {
            let trusted = trusting(&visit.edge.certificate(), "http/1.1");
            let name = ServerName::try_from("localhost").unwrap();
            let mut client = ClientConnection::new(Arc::clone(&trusted), name).unwrap();
            let mut hello = Vec::new();
            client.write_tls(&mut hello).unwrap();
            connection.write_all(&hello).await.unwrap();
            connection.read_u8().await.unwrap();
        }
        _ => drop(visit.edge.tls("http/1.1").await),
    }
}

async fn leaves_while_held(visit: &Visit<'_>) {
    let silent = &visit.edge.behind.silent;
    let asked = silent.seen().connections;
    let mut connection = TcpStream::connect(visit.edge.http).await.unwrap();
    let request = format!(
        "GET /prebind HTTP/1.1\r\nHost: silent.test\r\nOrigin: https://silent.test\r\nX-Forwarded-For: {}\r\n\r\n",
        visit.address
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    silent.has_seen(|seen| seen.connections > asked).await;
}

async fn leaves_while_the_site_is_asked(visit: &Visit<'_>) {
    let asked = visit.edge.behind.whois.asked();
    let mut connection = TcpStream::connect(visit.edge.http).await.unwrap();
    let request = format!(
        "GET /prebind HTTP/1.1\r\nHost: asked.test\r\nOrigin: https://asked.test\r\nCookie: PHPSESSID={}\r\n\r\n",
        visit.number
    );
    connection.write_all(request.as_bytes()).await.unwrap();
    visit.edge.behind.whois.was_asked(asked + 1).await;
}

async fn begins_and_sends_what_is_forbidden(visit: &Visit<'_>) {
    let begun = visit.asks("EXTERNAL", "POST /http-bind", HERE, OPENING).await;
    let body = next(&sid_of_body(&begun), 2, "<x><!-- --></x>");
    visit.told("bad-request", "POST /http-bind", HERE, &body).await;
}

/// Goes while its second request is held, and nobody comes back for the session.
async fn vanishes_while_its_request_is_held(visit: &Visit<'_>) {
    let (sid, rid) = prebound(visit, HERE).await;
    let first = next(&sid, rid, "<iq xmlns='jabber:client' type='get' id='p'/>");
    visit.told("id='p'", "POST /http-bind", HERE, &first).await;
    let held = next(&sid, rid + 1, "");
    let cookie = format!("Cookie: {}\r\n", session_cookie(&visit.member));
    says(visit, &post("/http-bind", HERE, (held.len(), &cookie), &held)).await;
}

/// What the server says to the first stanza is the end of the connection.
async fn loses_the_server(visit: &Visit<'_>) {
    let (sid, rid) = prebound(visit, LOSING).await;
    let body = next(&sid, rid, "<presence xmlns='jabber:client'/>");
    visit.told("system-shutdown", "POST /http-bind", LOSING, &body).await;
}

/// The site signs the member out.
async fn is_signed_out(visit: &Visit<'_>) {
    let (sid, rid) = prebound(visit, HERE).await;
    visit.edge.signs_out(&visit.member).await;
    visit.told("item-not-found", "POST /http-bind", HERE, &next(&sid, rid, "")).await;
}

/// A guest from an address whose guests have as many sessions as they may.
async fn is_one_too_many(visit: &Visit<'_>, line: &str, body: &str) {
    let request = format!(
        "{line} HTTP/1.1\r\nHost: localhost\r\nOrigin: https://localhost\r\nX-Forwarded-For: {CROWD}\r\n\
         X-Forwarded-Proto: https\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let answer = answer_to(visit, &request).await;
    assert!(answer.contains(" 429 "), "{answer}");
}

/// Somebody whom the site does not know, and who tries nevertheless.
async fn is_no_guest(visit: &Visit<'_>) {
    let ask = async |body: &str| {
        let ends = (body.len(), "Connection: close\r\n");
        answer_to(visit, &post("/http-bind", CLOSED, ends, body)).await
    };
    let begun = ask(OPENING).await;
    let auth = next(&sid_of_body(&begun), 2, AUTH);
    let refused = ask(&auth).await;
    assert!(refused.contains("not-authorized"), "{refused}");
}

/// The site's own: what goes there ends in the middle, and what takes it does too.
async fn uploads_and_breaks_off(visit: &Visit<'_>) {
    says(visit, &post("/taken", HERE, (100_000, ""), &"x".repeat(20_000))).await;
}

/// The site's own: it breaks off, or the browser does.
async fn downloads_and_is_left(visit: &Visit<'_>) {
    let path = if visit.round.is_multiple_of(2) { "/endless" } else { "/half" };
    let mut connection = TcpStream::connect(visit.edge.http).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
    connection.write_all(request.as_bytes()).await.unwrap();
    connection.read_u8().await.unwrap();
    if path == "/half" {
        // It ends there, in order or not.
        let _ = connection.read_to_end(&mut Vec::new()).await;
    }
}

/// The session that is there before the page asks, and its first rid.
async fn prebound(visit: &Visit<'_>, site: [&str; 2]) -> (String, u64) {
    let answer = visit.asks("jid", "GET /prebind", site, "").await;
    let (_, json) = answer.split_once("\r\n\r\n").unwrap();
    let told: serde_json::Value = serde_json::from_str(json).unwrap();
    (told["sid"].as_str().unwrap().to_owned(), told["rid"].as_u64().unwrap())
}

fn sid_of_body(answer: &str) -> String {
    let (_, body) = answer.split_once("\r\n\r\n").unwrap();
    attribute(body, "sid").unwrap_or_else(|| panic!("{answer}"))
}

fn next(sid: &str, rid: u64, elements: &str) -> String {
    format!(
        "<body rid='{rid}' sid='{sid}' xmlns='http://jabber.org/protocol/httpbind'>{elements}</body>"
    )
}

pub(crate) const HERE: [&str; 2] = ["localhost", "https://localhost"];
pub(crate) const REFUSED: [&str; 2] = ["refused.test", "https://refused.test"];
const ASKED: [&str; 2] = ["asked.test", "https://asked.test"];
const INSECURE: [&str; 2] = ["insecure.test", "https://insecure.test"];
const CLOSED: [&str; 2] = ["closed.test", "https://closed.test"];
const LOSING: [&str; 2] = ["losing.test", "https://losing.test"];

pub(crate) const OPENING: &str = "<body rid='1' to='localhost' ver='1.6' wait='60' hold='1' xmlns='http://jabber.org/protocol/httpbind'/>";

pub(crate) const UNKNOWN_SID: &str =
    "<body rid='7' sid='no-such-session' xmlns='http://jabber.org/protocol/httpbind'/>";

const AUTH: &str = "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>";
