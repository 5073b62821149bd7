//! One connection of HTTP/2, for requests to `/http-bind` that go side by side.

use std::collections::VecDeque;
use std::future::poll_fn;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use bytes::Bytes;
use h2::RecvStream;
use h2::client::ResponseFuture;
use h2::client::SendRequest;
use http::Request;
use http::StatusCode;
use http::header;
use tokio::task::JoinHandle;

use crate::http::Answer;
use crate::target::Target;

/// A connection on which requests are answered in the order in which they were asked.
pub struct Connection {
    requests: SendRequest<Bytes>,
    waiting: VecDeque<Waiting>,
    url: String,
    origin: String,
    cookie: Option<String>,
    /// Reads and writes for all requests; ends with the connection.
    driver: JoinHandle<()>,
}

/// A request that has been sent.
enum Waiting {
    ForHead(ResponseFuture),
    ForBody(RecvStream, Answer),
}

impl Connection {
    /// Opens one for requests with this `Cookie` header.
    pub async fn open(target: &Target, cookie: Option<&str>) -> Result<Self> {
        let stream = target.connect().await?;
        let (requests, connection) = h2::client::handshake(stream).await?;
        // Whatever ends it is told by the requests that it was for.
        let driver = tokio::spawn(async { drop(connection.await) });
        let (url, origin) = (target.origin.clone(), target.origin.clone());
        let cookie = cookie.map(str::to_owned);
        Ok(Self { requests, waiting: VecDeque::new(), url, origin, cookie, driver })
    }

    /// Has the requests from here on bear this `Cookie` header.
    pub fn show(&mut self, cookie: &str) {
        self.cookie = Some(cookie.to_owned());
    }

    /// Sends a body; [`answer`](Self::answer) has what comes back.
    pub async fn post(&mut self, path: &str, body: &str) -> Result<()> {
        let mut request = Request::post(format!("{}{path}", self.url))
            .header(header::ORIGIN, &self.origin)
            .header("sec-fetch-site", "same-origin")
            .header(header::CONTENT_TYPE, "text/xml; charset=utf-8")
            .header(header::CONTENT_LENGTH, body.len());
        if let Some(cookie) = &self.cookie {
            request = request.header(header::COOKIE, cookie);
        }
        let mut ready = self.requests.clone().ready().await.context("the connection is gone")?;
        let (response, mut stream) = ready.send_request(request.body(())?, false)?;
        stream.send_data(Bytes::copy_from_slice(body.as_bytes()), true)?;
        self.waiting.push_back(Waiting::ForHead(response));
        Ok(())
    }

    /// The next answer. Cancel safe: what has come of it is kept.
    pub async fn answer(&mut self) -> Result<Answer> {
        loop {
            match self.waiting.front_mut().context("nothing was asked")? {
                Waiting::ForHead(response) => {
                    let response = response.await?;
                    if response.status() != StatusCode::OK {
                        bail!("answered {}", response.status());
                    }
                    let cookie = response.headers().get(header::SET_COOKIE);
                    let cookie = cookie.and_then(|cookie| cookie.to_str().ok()?.split(';').next());
                    let answer = Answer { cookie: cookie.map(str::to_owned), body: String::new() };
                    let body = response.into_body();
                    self.waiting[0] = Waiting::ForBody(body, answer);
                }
                Waiting::ForBody(stream, answer) => {
                    match poll_fn(|cx| stream.poll_data(cx)).await {
                        Some(read) => {
                            let read = read?;
                            stream.flow_control().release_capacity(read.len())?;
                            answer.body.push_str(std::str::from_utf8(&read)?);
                        }
                        None => {
                            if let Some(Waiting::ForBody(_, answer)) = self.waiting.pop_front() {
                                return Ok(answer);
                            }
                        }
                    }
                }
            }
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.driver.abort();
    }
}
