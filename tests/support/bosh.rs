//! A browser's BOSH, over HTTPS: each request is written by hand, each answer is there to be read.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use reqwest::Certificate;
use reqwest::Client;
use reqwest::RequestBuilder;
use reqwest::Response;
use reqwest::header::HeaderMap;
use reqwest::redirect::Policy;
use tokio::time::timeout;

use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;

/// A browser with a page of the site open.
#[derive(Clone, Debug)]
pub(crate) struct Browser {
    http: Client,
    base: String,
    /// What it sends as `Cookie`.
    pub(crate) cookie: Option<String>,
    /// What it sends as `Origin`.
    origin: Option<String>,
    /// Where a reverse proxy says that it is.
    forwarded_for: Option<&'static str>,
}

/// An answer that has been read.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// A session at `/http-bind`, with the rid to be used next.
#[derive(Clone, Debug)]
pub(crate) struct Session {
    pub(crate) browser: Browser,
    pub(crate) jid: String,
    pub(crate) sid: String,
    pub(crate) rid: u64,
}

impl Browser {
    /// Opens a page behind `proxy`; whoever signed in at the site shows a cookie.
    pub(crate) fn new(proxy: &Proxy, cookie: Option<String>) -> Self {
        Self::at("localhost", proxy.address(), &proxy.certificate(), cookie)
            .with_origin(Some(ORIGIN))
    }

    /// Opens a page of this site, of whichever the proxy at this address has.
    pub(crate) fn at(
        host: &str,
        address: SocketAddr,
        certificate: &Path,
        cookie: Option<String>,
    ) -> Self {
        // The second test in a process finds it installed.
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let pem = std::fs::read(certificate).expect("a certificate");
        let mut builder =
            Client::builder().resolve(host, address).no_proxy().redirect(Policy::none());
        for certificate in Certificate::from_pem_bundle(&pem).expect("PEM") {
            builder = builder.add_root_certificate(certificate);
        }
        // As browsers do they agree on HTTP/2, but where the lane of HTTP/1.1 is to be seen (scripts/test).
        if std::env::var_os("BOSH_OVER_HTTP_1").is_some() {
            builder = builder.http1_only();
        }
        let http = builder.build().expect("a client");
        let base = format!("https://{host}:{}", address.port());
        let origin = Some(format!("https://{host}"));
        Self { http, base, cookie, origin, forwarded_for: None }
    }

    /// The same, with a page of another origin open, or of none that it shows.
    pub(crate) fn with_origin(self, origin: Option<&'static str>) -> Self {
        Self { origin: origin.map(str::to_owned), ..self }
    }

    /// The same, with another cookie, or none.
    pub(crate) fn with_cookie(self, cookie: Option<String>) -> Self {
        Self { cookie, ..self }
    }

    /// The same, through a reverse proxy that says where it is.
    pub(crate) fn forwarded_for(self, address: &'static str) -> Self {
        Self { forwarded_for: Some(address), ..self }
    }

    /// A request with what a browser adds of itself.
    pub(crate) fn dressed(&self, request: RequestBuilder) -> RequestBuilder {
        let request = match &self.cookie {
            Some(cookie) => request.header("Cookie", cookie),
            None => request,
        };
        let request = match self.forwarded_for {
            Some(address) => request.header("X-Forwarded-For", address),
            None => request,
        };
        match &self.origin {
            Some(origin) => request.header("Origin", origin),
            None => request,
        }
    }

    /// Posts to `/http-bind`.
    pub(crate) async fn post(&self, body: String) -> Answer {
        self.post_with(&[("Content-Type", "text/xml; charset=utf-8")], body).await
    }

    /// Posts with these headers.
    pub(crate) async fn post_with(&self, headers: &[(&str, &str)], body: String) -> Answer {
        let request = self.http.post(format!("{}/http-bind", self.base)).body(body);
        let request = headers
            .iter()
            .fold(self.dressed(request), |request, (name, value)| request.header(*name, *value));
        read(request).await
    }

    /// Posts as a browser that takes this coding; what comes is left as it is.
    pub(crate) async fn post_taking(&self, coding: &str, body: String) -> (HeaderMap, Vec<u8>) {
        let request = self.http.post(format!("{}/http-bind", self.base)).body(body);
        let request = self.dressed(request).header("Accept-Encoding", coding);
        let answered = async {
            let response = request.send().await.expect("an answer");
            let headers = response.headers().clone();
            (headers, response.bytes().await.expect("bytes").to_vec())
        };
        timeout(PATIENCE, answered).await.expect("an answer in time")
    }

    /// Asks with any method at any path.
    pub(crate) async fn ask(&self, method: &str, path: &str) -> Answer {
        let method = method.parse().expect("a method");
        read(self.dressed(self.http.request(method, format!("{}{path}", self.base)))).await
    }

    /// Asks with `GET` from the site's own page: the one request in which a browser shows no `Origin`.
    pub(crate) async fn get_from_own_page(&self, path: &str) -> Answer {
        let own = self.clone().with_origin(None);
        let request = self.http.get(format!("{}{path}", self.base));
        let request = request.header("Sec-Fetch-Site", "same-origin");
        read(own.dressed(request).header("Sec-Fetch-Mode", "cors")).await
    }

    /// Begins a session itself, as Strophe does; up to the mechanisms.
    pub(crate) async fn begin(&mut self, rid: u64) -> (Session, Answer) {
        let answer = self
            .post(format!(
                "<body content='text/xml; charset=utf-8' hold='1' rid='{rid}' to='xmpp.localhost' ver='1.6' \
                 wait='59' xml:lang='en' xmlns='{HTTPBIND}' xmlns:xmpp='{XBOSH}' xmpp:version='1.0'/>"
            ))
            .await;
        self.keep_cookie(&answer);
        let sid = attribute(&answer.body, "sid").unwrap_or_default();
        (Session { browser: self.clone(), jid: String::new(), sid, rid: rid + 1 }, answer)
    }

    /// Begins a session with these attributes; up to the mechanisms.
    pub(crate) async fn open(&self, wishes: &str) -> (Session, Answer) {
        let opening = format!("<body rid='1000' to='xmpp.localhost' {wishes} xmlns='{HTTPBIND}'/>");
        let answer = self.post(opening).await;
        let sid = attribute(&answer.body, "sid").unwrap_or_default();
        (Session { browser: self.clone(), jid: String::new(), sid, rid: 1001 }, answer)
    }

    /// Signs in with EXTERNAL and binds, in a session of its own.
    pub(crate) async fn sign_in(&mut self) -> Session {
        self.sign_in_wishing("").await
    }

    /// The same, with this inside its request to bind.
    pub(crate) async fn sign_in_wishing(&mut self, wish: &str) -> Session {
        let (session, opened) = self.begin(1_000).await;
        assert!(opened.body.contains("EXTERNAL"), "{opened:?}");
        session.sign_in_wishing(wish).await
    }

    /// Asks for a session that is there already.
    pub(crate) async fn prebind(&mut self) -> Session {
        let answer = self.ask("GET", "/prebind").await;
        self.prebound(&answer)
    }

    /// The session that an answer of `/prebind` tells of.
    pub(crate) fn prebound(&mut self, answer: &Answer) -> Session {
        assert_eq!(answer.status, 200, "{answer:?}");
        self.keep_cookie(answer);
        let told: serde_json::Value = serde_json::from_str(&answer.body).expect("JSON");
        let text = |key: &str| told[key].as_str().expect("a text").to_owned();
        let rid = told["rid"].as_u64().expect("a number");
        Session { browser: self.clone(), jid: text("jid"), sid: text("sid"), rid }
    }

    fn keep_cookie(&mut self, answer: &Answer) {
        if let Some(cookie) = answer.headers.get("set-cookie") {
            let cookie = cookie.to_str().expect("ASCII").split(';').next().expect("a pair");
            self.cookie = Some(cookie.to_owned());
        }
    }
}

impl Session {
    /// Signs in with EXTERNAL and binds, in a session that has just begun, with this inside its request to bind.
    pub(crate) async fn sign_in_wishing(mut self, wish: &str) -> Self {
        let success = self
            .send("<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='EXTERNAL'>=</auth>")
            .await;
        assert!(success.body.contains("<success"), "{success:?}");
        let features = self.restart().await;
        assert!(features.body.contains("urn:ietf:params:xml:ns:xmpp-bind"), "{features:?}");
        let bind = format!(
            "<iq type='set' id='bind' xmlns='jabber:client'>\
             <bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'>{wish}</bind></iq>"
        );
        let bound = self.send(&bind).await;
        self.jid = inside(&bound.body, "jid").unwrap_or_else(|| panic!("{bound:?}"));
        self
    }

    /// Sends these elements with the next rid, and waits for the answer.
    pub(crate) async fn send(&mut self, elements: &str) -> Answer {
        self.rid += 1;
        self.browser.post(self.body(self.rid - 1, "", elements)).await
    }

    /// Sends these elements, and waits until all of `wanted` have come.
    pub(crate) async fn exchange(&mut self, elements: &str, wanted: &[&str]) -> String {
        let first = self.send(elements).await.body;
        let missing: Vec<&str> =
            wanted.iter().copied().filter(|wanted| !first.contains(wanted)).collect();
        first + &self.receive(&missing).await
    }

    /// Waits with empty requests until all of `wanted` have come, in any number of answers.
    pub(crate) async fn receive(&mut self, wanted: &[&str]) -> String {
        let mut received = String::new();
        let all = async {
            while !wanted.iter().all(|wanted| received.contains(wanted)) {
                let answer = self.send("").await;
                assert!(answer.status == 200 && !answer.body.contains("terminate"), "{answer:?}");
                received.push_str(&answer.body);
            }
        };
        assert!(timeout(PATIENCE, all).await.is_ok(), "{wanted:?} did not come");
        received
    }

    pub(crate) async fn restart(&mut self) -> Answer {
        self.rid += 1;
        let restart = format!("to='xmpp.localhost' xmlns:xmpp='{XBOSH}' xmpp:restart='true'");
        self.browser.post(self.body(self.rid - 1, &restart, "")).await
    }

    /// Sends a last word.
    pub(crate) async fn terminate(&mut self) -> Answer {
        self.rid += 1;
        let farewell = "<presence type='unavailable' xmlns='jabber:client'/>";
        self.browser.post(self.body(self.rid - 1, "type='terminate'", farewell)).await
    }

    /// A body of this session.
    pub(crate) fn body(&self, rid: u64, attributes: &str, elements: &str) -> String {
        let sid = &self.sid;
        format!("<body rid='{rid}' sid='{sid}' {attributes} xmlns='{HTTPBIND}'>{elements}</body>")
    }
}

async fn read(request: RequestBuilder) -> Answer {
    let answered = async {
        let response: Response = request.send().await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Answer { status, headers, body: response.text().await.expect("text") }
    };
    timeout(PATIENCE, answered).await.expect("an answer in time")
}

/// The value of an attribute of the first element.
pub(crate) fn attribute(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split('>').next()?.split_once(&format!(" {name}='"))?;
    Some(rest.split('\'').next()?.to_owned())
}

/// The text inside the first element of this name.
pub(crate) fn inside(xml: &str, name: &str) -> Option<String> {
    let (_, rest) = xml.split_once(&format!("<{name}>"))?;
    Some(rest.split('<').next()?.to_owned())
}

const HTTPBIND: &str = "http://jabber.org/protocol/httpbind";
const XBOSH: &str = "urn:xmpp:xbosh";
/// Longer than a request is held.
const PATIENCE: Duration = Duration::from_secs(90);
