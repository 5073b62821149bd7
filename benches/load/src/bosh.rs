//! One browser's XMPP over BOSH (XEP-0124, XEP-0206): two connections, or one of HTTP/2; an answer is held.

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;

use crate::http;
use crate::http::Answer;
use crate::http2;
use crate::target::Target;
use crate::target::Version;
use crate::websocket::BIND;

/// A BOSH session.
pub struct Session {
    line: Line,
    /// How many requests wait for their answer.
    asked: usize,
    sid: String,
    rid: u64,
    /// Stanzas to be sent with the next request.
    out: String,
}

/// What its requests go over.
enum Line {
    /// Two connections of HTTP/1.1; the first answer comes on that of this number.
    Two(Box<[http::Connection; 2]>, usize),
    One(Box<http2::Connection>),
}

impl Session {
    /// A session signed in to by the browser itself, with this `<auth/>`; with its full JID.
    pub async fn sign_in(
        target: &Target,
        cookie: Option<&str>,
        auth: &str,
    ) -> Result<(Self, String)> {
        let mut line = Line::open(target, cookie).await?;
        let domain = &target.domain;
        let request = format!(
            "<body xmlns='{HTTP_BIND}' xmlns:xmpp='urn:xmpp:xbosh' rid='{FIRST}' to='{domain}' wait='60' hold='1' ver='1.11' \
             xmpp:version='1.0' content='text/xml; charset=utf-8' xml:lang='en'/>"
        );
        line.post(0, &request).await?;
        let begun = line.answer().await?;
        let sid =
            attribute(&begun.body, "sid").with_context(|| format!("no session: {}", begun.body))?;
        if let Some(cookie) = begun.cookie.as_deref().or(cookie) {
            line.show(cookie);
        }
        let mut made = Self { line, asked: 0, sid, rid: FIRST, out: String::new() };
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
        let mut one = http::Connection::open(target, cookie).await?;
        let Answer { cookie: set, body } = one.get("/prebind").await?;
        let prebound: Prebound =
            serde_json::from_str(&body).context("/prebind answers with JSON")?;
        let other = http::Connection::open(target, None).await?;
        let mut line = Line::Two(Box::new([one, other]), 0);
        if let Some(cookie) = set.as_deref().or(cookie) {
            line.show(cookie);
        }
        let Prebound { jid, sid, rid } = prebound;
        Ok((Self { line, asked: 0, sid, rid: rid - 1, out: String::new() }, jid))
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
        let answer = self.line.answer().await?;
        self.asked -= 1;
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
        self.line.post(self.asked, &body).await?;
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

impl Line {
    /// As `target` speaks HTTP.
    async fn open(target: &Target, cookie: Option<&str>) -> Result<Self> {
        Ok(match target.version {
            Version::Http1 => {
                let one = http::Connection::open(target, cookie).await?;
                let other = http::Connection::open(target, cookie).await?;
                Self::Two(Box::new([one, other]), 0)
            }
            Version::Http2 => Self::One(Box::new(http2::Connection::open(target, cookie).await?)),
        })
    }

    /// Has what follows bear this `Cookie` header: a guest has his from the first answer on.
    fn show(&mut self, cookie: &str) {
        match self {
            Self::Two(connections, _) => connections.iter_mut().for_each(|one| one.show(cookie)),
            Self::One(connection) => connection.show(cookie),
        }
    }

    /// Asks while so many wait.
    async fn post(&mut self, waiting: usize, body: &str) -> Result<()> {
        match self {
            Self::Two(connections, first) => {
                connections[(*first + waiting) % 2].post(PATH, body).await
            }
            Self::One(connection) => connection.post(PATH, body).await,
        }
    }

    /// The next answer. Cancel safe.
    async fn answer(&mut self) -> Result<Answer> {
        match self {
            Self::Two(connections, first) => {
                let answer = connections[*first].answer().await?;
                *first = 1 - *first;
                Ok(answer)
            }
            Self::One(connection) => connection.answer().await,
        }
    }
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
