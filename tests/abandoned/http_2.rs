//! Visits by HTTP/2.

use std::convert::Infallible;

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Full;
use http_body_util::StreamBody;
use http_body_util::combinators::UnsyncBoxBody;
use hyper::Request;
use hyper::body::Frame;
use hyper::client::conn::http2;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use crate::CROWD;
use crate::Visit;
use crate::by_hand::HERE;
use crate::by_hand::OPENING;
use crate::by_hand::REFUSED;
use crate::by_hand::UNKNOWN_SID;
use crate::support::gateway::session_cookie;

/// How many kinds there are.
pub(crate) const KINDS: usize = 14;

/// A connection, and what moves it.
struct Connection<'a> {
    visit: &'a Visit<'a>,
    requests: http2::SendRequest<UnsyncBoxBody<Bytes, Infallible>>,
    moved: JoinHandle<hyper::Result<()>>,
}

/// Comes, and is refused, breaks, or goes.
pub(crate) async fn visit(visit: &Visit<'_>, kind: usize) {
    let mut connection = Connection::open(visit).await;
    match kind {
        0 => connection.told("403", "GET /prebind", ["localhost", "https://evil.test"], "").await,
        1 => connection.told("403", "POST /http-bind", ["localhost", "null"], OPENING).await,
        2 => {
            connection.told("421", "GET /prebind", ["nowhere.test", "https://localhost"], "").await;
        }
        3 => connection.told("item-not-found", "POST /http-bind", HERE, UNKNOWN_SID).await,
        4 => connection.told("bad-request", "POST /http-bind", HERE, "<body><!-- --></body>").await,
        5 => connection.told("503", "GET /prebind", REFUSED, "").await,
        6 => connection.told("429", "POST /http-bind", [CROWD, "https://localhost"], OPENING).await,
        7 => connection.told("jid", "GET /prebind", HERE, "").await,
        8 => connection.told("EXTERNAL", "POST /http-bind", HERE, OPENING).await,
        9 => connection.leaves_while_held().await,
        10 => connection.breaks_off_an_upload("/http-bind").await,
        11 => connection.breaks_off_an_upload("/taken").await,
        12 => connection.leaves_in_an_answer("/endless").await,
        _ => connection.leaves_in_an_answer("/half").await,
    }
}

impl<'a> Connection<'a> {
    async fn open(visit: &'a Visit<'a>) -> Self {
        let line = TokioIo::new(visit.edge.tls("h2").await);
        let (requests, moving) = http2::handshake(TokioExecutor::new(), line).await.unwrap();
        Self { visit, requests, moved: tokio::spawn(moving) }
    }

    /// Asks until the answer holds these words; as a guest where many are.
    async fn told(&mut self, words: &str, line: &str, site: [&str; 2], body: &str) {
        loop {
            let body = Full::new(Bytes::from(body.to_owned())).boxed_unsync();
            let answer = self
                .requests
                .send_request(request(line, site, &self.visit.member, body))
                .await
                .unwrap();
            let status = answer.status().as_str().to_owned();
            let body = answer.into_body().collect().await.unwrap().to_bytes();
            let answer = status + " " + &String::from_utf8_lossy(&body);
            // A machine that is busy elsewhere makes the server late; a browser comes back.
            if words == "503" || !answer.starts_with("503") {
                return assert!(answer.contains(words), "{line} of {site:?}: {answer}");
            }
        }
    }

    /// Takes its request back while it is held, or goes.
    async fn leaves_while_held(mut self) {
        let silent = &self.visit.edge.behind.silent;
        let asked = silent.seen().connections;
        let site = ["silent.test", "https://silent.test"];
        let body = Full::new(Bytes::new()).boxed_unsync();
        let answer =
            self.requests.send_request(request("GET /prebind", site, &self.visit.member, body));
        let answer = tokio::spawn(answer);
        silent.has_seen(|seen| seen.connections > asked).await;
        answer.abort();
        self.ends().await;
    }

    /// Goes in the middle of a body, or takes it back.
    async fn breaks_off_an_upload(mut self, path: &str) {
        let (sender, frames) = tokio::sync::mpsc::channel(1);
        let frames = futures_util::stream::unfold(frames, async |mut frames| {
            frames.recv().await.map(|frame: Frame<Bytes>| (Ok(frame), frames))
        });
        let body = UnsyncBoxBody::new(StreamBody::new(Box::pin(frames)));
        let line = format!("POST {path}");
        let answer = tokio::spawn(self.requests.send_request(request(
            &line,
            HERE,
            &self.visit.member,
            body,
        )));
        for _ in 0..2 {
            sender.send(Frame::data(Bytes::from_static(b"<body rid='1' "))).await.unwrap();
        }
        answer.abort();
        self.ends().await;
    }

    /// Goes when it has the beginning of an answer; or that is all there is.
    async fn leaves_in_an_answer(mut self, path: &str) {
        let line = format!("GET {path}");
        let body = Full::new(Bytes::new()).boxed_unsync();
        let answer =
            self.requests.send_request(request(&line, HERE, &self.visit.member, body)).await;
        if path == "/endless" {
            answer.unwrap().into_body().frame().await.unwrap().unwrap();
        } else if let Ok(answer) = answer {
            // Where it breaks off early enough, there is no answer at all.
            let whole = answer.into_body().collect().await;
            assert!(whole.is_err(), "half an answer is taken for a whole one");
        }
        self.ends().await;
    }

    /// In order, or by the end of the connection.
    async fn ends(self) {
        if self.visit.round.is_multiple_of(2) {
            return self.moved.abort();
        }
        drop(self.requests);
        let _ = self.moved.await.unwrap();
    }
}

fn request(
    line: &str,
    [host, origin]: [&str; 2],
    member: &str,
    body: UnsyncBoxBody<Bytes, Infallible>,
) -> Request<UnsyncBoxBody<Bytes, Infallible>> {
    let (method, path) = line.split_once(' ').unwrap();
    let request = Request::builder().method(method).header("origin", origin);
    let request = if host == CROWD {
        request.uri(format!("https://localhost{path}")).header("x-forwarded-for", CROWD)
    } else {
        request.uri(format!("https://{host}{path}")).header("cookie", session_cookie(member))
    };
    request.body(body).unwrap()
}
