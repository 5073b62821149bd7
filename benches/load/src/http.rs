//! One kept connection of HTTP/1.1, for requests to `/http-bind`.

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use crate::target::Target;

/// A connection on which one request at a time is asked and answered.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    held: Vec<u8>,
    /// What every request of this page begins with.
    head: String,
    /// The browser's `Cookie` header, whole.
    cookie: String,
}

/// An answer.
pub struct Answer {
    /// The first `Set-Cookie`, without its attributes.
    pub cookie: Option<String>,
    /// The body.
    pub body: String,
}

impl Connection {
    /// Opens one for requests with this `Cookie` header.
    pub async fn open(target: &Target, cookie: Option<&str>) -> Result<Self> {
        let head = format!(
            "Host: {}\r\nOrigin: {}\r\nSec-Fetch-Site: same-origin\r\n",
            target.origin.trim_start_matches("https://"),
            target.origin
        );
        let stream = target.connect().await?;
        let mut made = Self { stream, held: Vec::new(), head, cookie: String::new() };
        if let Some(cookie) = cookie {
            made.show(cookie);
        }
        Ok(made)
    }

    /// Has the requests from here on bear this `Cookie` header, as if another browser asked.
    pub fn show(&mut self, cookie: &str) {
        self.cookie = format!("Cookie: {cookie}\r\n");
    }

    /// Asks for a page.
    pub async fn get(&mut self, path: &str) -> Result<Answer> {
        let request = format!("GET {path} HTTP/1.1\r\n{}{}\r\n", self.head, self.cookie);
        self.stream.write_all(request.as_bytes()).await?;
        self.answer().await
    }

    /// Sends a body; [`answer`](Self::answer) has what comes back.
    pub async fn post(&mut self, path: &str, body: &str) -> Result<()> {
        let request = format!(
            "POST {path} HTTP/1.1\r\n{}{}Content-Type: text/xml; charset=utf-8\r\nContent-Length: {}\r\n\r\n{body}",
            self.head,
            self.cookie,
            body.len()
        );
        Ok(self.stream.write_all(request.as_bytes()).await?)
    }

    /// The next answer. Cancel safe: what has come of it is kept.
    pub async fn answer(&mut self) -> Result<Answer> {
        loop {
            if let Some((answer, length)) = self.whole()? {
                self.held.drain(..length);
                if self.held.is_empty() {
                    self.held = Vec::new();
                }
                return Ok(answer);
            }
            if self.stream.read_buf(&mut self.held).await? == 0 {
                bail!("the gateway closed the connection");
            }
        }
    }

    fn whole(&self) -> Result<Option<(Answer, usize)>> {
        let Some(end) = self.held.windows(4).position(|bytes| bytes == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&self.held[..end])?;
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap_or_default();
        if !status.starts_with("HTTP/1.1 200") {
            bail!("answered {status:?}");
        }
        let (mut length, mut cookie) = (None, None);
        for (name, value) in lines.filter_map(|line| line.split_once(':')) {
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Some(value.trim().parse::<usize>()?),
                "set-cookie" => cookie = value.split(';').next().map(|pair| pair.trim().to_owned()),
                _ => {}
            }
        }
        let length = end + 4 + length.context("an answer without Content-Length")?;
        let Some(body) = self.held.get(end + 4..length) else { return Ok(None) };
        let body = String::from_utf8(body.to_vec())?;
        Ok(Some((Answer { cookie, body }, length)))
    }
}
