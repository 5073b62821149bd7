//! One browser's XMPP over BOSH (XEP-0124, XEP-0206): two connections, on one of which an answer is held.

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;

use crate::http::Answer;
use crate::http::Connection;
use crate::target::Target;
use crate::websocket::BIND;

/// A BOSH session.
pub struct Session {
    connections: [Connection; 2],
    /// How many requests wait for their answer, the first of them on the connection `first`.
    asked: usize,
    first: usize,
    sid: String,
    rid: u64,
    /// Stanzas to be sent with the next request.
    out: String,
}

impl Session {
    /// A session signed in to by the browser itself, with this `<auth/>`; with its full JID.
    pub async fn sign_in(
        target: &Target,
        cookie: Option<&str>,
        auth: &str,
    ) -> Result<(Self, String)> {
        let mut one = Connection::open(target, cookie).await?;
        let domain = &target.domain;
        let request = format!(
            "<body xmlns='{HTTP_BIND}' xmlns:xmpp='urn:xmpp:xbosh' rid='{FIRST}' to='{domain}' wait='60' hold='1' ver='1.11' \
             xmpp:version='1.0' content='text/xml; charset=utf-8' xml:lang='en'/>"
        );
        one.post(PATH, &request).await?;
        let begun = one.answer().await?;
        let sid =
            attribute(&begun.body, "sid").with_context(|| format!("no session: {}", begun.body))?;
        let connections = pair(one, target, begun.cookie.as_deref().or(cookie)).await?;
        let mut made =
            Self { connections, asked: 0, first: 0, sid, rid: FIRST, out: String::new() };
        if !begun.body.contains("<mechanisms") {
            made.hear("<mechanisms").await?;
        }
        made.queue(auth);
        made.hear("<success").await?;
        let restart = format!(" xmpp:restart='true' xmlns:xmpp='urn:xmpp:xbosh' to='{domain}'");
        made.ask(&restart).await?;
        made.hear("<bind").await?;
        made.queue(BIND);
        let bound = made.hear("<jid>").await?;
        let jid = bound.split_once("<jid>").and_then(|(_, rest)| rest.split_once("</jid>"));
        let jid = jid.context("a bind result without a JID")?.0.to_owned();
        Ok((made, jid))
    }

    /// A session that the gateway has signed in to before it answers; with its full JID.
    pub async fn prebind(target: &Target, cookie: Option<&str>) -> Result<(Self, String)> {
        let mut one = Connection::open(target, cookie).await?;
        let Answer { cookie: set, body } = one.get("/prebind").await?;
        let prebound: Prebound =
            serde_json::from_str(&body).context("/prebind answers with JSON")?;
        let connections = pair(one, target, set.as_deref().or(cookie)).await?;
        let Prebound { jid, sid, rid } = prebound;
        Ok((Self { connections, asked: 0, first: 0, sid, rid: rid - 1, out: String::new() }, jid))
    }

    /// Queues stanzas for the next request.
    pub fn queue(&mut self, stanzas: &str) {
        self.out.push_str(stanzas);
    }

    /// Sends what is queued, or else makes sure that an answer can be held.
    pub async fn flush(&mut self) -> Result<()> {
        if self.asked == 0 || (!self.out.is_empty() && self.asked < 2) {
            self.ask("").await
        } else {
            Ok(())
        }
    }

    /// The next answer's body, which may hold nothing.
    pub async fn receive(&mut self) -> Result<String> {
        let answer = self.connections[self.first].answer().await?;
        self.asked -= 1;
        self.first = 1 - self.first;
        if answer.body.contains("terminate") {
            bail!("the gateway ended the session: {}", answer.body);
        }
        Ok(answer.body)
    }

    /// How many requests it has made of the session so far, a prebound one since it was taken over; with an offset that
    /// stays.
    #[must_use]
    pub fn requests(&self) -> u64 {
        self.rid
    }

    async fn hear(&mut self, words: &str) -> Result<String> {
        loop {
            self.flush().await?;
            let body = self.receive().await?;
            if body.contains(words) {
                return Ok(body);
            }
            if body.contains("<failure") {
                bail!("refused: {body}");
            }
        }
    }

    async fn ask(&mut self, attributes: &str) -> Result<()> {
        self.rid += 1;
        let out = std::mem::take(&mut self.out);
        let body = format!(
            "<body xmlns='{HTTP_BIND}' rid='{}' sid='{}'{attributes}>{out}</body>",
            self.rid, self.sid
        );
        let free = (self.first + self.asked) % 2;
        self.connections[free].post(PATH, &body).await?;
        self.asked += 1;
        Ok(())
    }
}

#[derive(serde::Deserialize)]
struct Prebound {
    jid: String,
    sid: String,
    rid: u64,
}

/// Another connection beside the first. A guest has his cookie from its first answer on, and shows it with whatever follows.
async fn pair(
    mut one: Connection,
    target: &Target,
    cookie: Option<&str>,
) -> Result<[Connection; 2]> {
    if let Some(cookie) = cookie {
        one.show(cookie);
    }
    Ok([one, Connection::open(target, cookie).await?])
}

fn attribute(body: &str, name: &str) -> Option<String> {
    let (_, rest) = body.split_once(&format!(" {name}="))?;
    let quote = rest.chars().next()?;
    Some(rest[1..].split_once(quote)?.0.to_owned())
}

const PATH: &str = "/http-bind";
const HTTP_BIND: &str = "http://jabber.org/protocol/httpbind";
/// XEP-0124 §9: large, and far from where it would not fit a double.
const FIRST: u64 = 1_573_741_820;
