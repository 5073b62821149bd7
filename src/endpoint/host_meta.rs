//! `/.well-known/host-meta` and `host-meta.json`: where the chat is reached (XEP-0156 §3).

use hyper::Method;
use hyper::Request;
use hyper::Response;
use hyper::header;
use hyper::header::HeaderValue;

use crate::endpoint;
use crate::endpoint::Body;
use crate::endpoint::Refusal;
use crate::origin;
use crate::outbound;
use crate::site::Site;

/// The path of the answer as XRD.
pub const XML: &str = "/.well-known/host-meta";

/// The path of the answer as JSON.
pub const JSON: &str = "/.well-known/host-meta.json";

/// Answers in the format that the path asks for; any page may read whatever is said, also that a method is not for it.
pub fn answer<B>(site: &Site, request: &Request<B>) -> Response<Body> {
    let mut response = if matches!(*request.method(), Method::GET | Method::HEAD) {
        document(site, request)
    } else {
        Refusal::Method("GET, HEAD").response()
    };
    origin::dress_public(response.headers_mut());
    response
}

fn document<B>(site: &Site, request: &Request<B>) -> Response<Body> {
    let links = links(site, endpoint::host(request).unwrap_or_default());
    let (content_type, document) = match request.uri().path() {
        JSON => ("application/json", json(links)),
        _ => ("application/xrd+xml; charset=utf-8", xml(&links)),
    };
    let mut response = Response::new(outbound::whole(document));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Converse asks at every connection; what is answered changes with proxy.toml alone.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

type Links = [(&'static str, String); 2];

fn xml(links: &Links) -> String {
    // Nothing to escape: an origin has no character that XML would mind.
    let link = |(rel, href): &(&str, String)| format!("<Link rel=\"{rel}\" href=\"{href}\"/>");
    let links: Vec<String> = links.iter().map(link).collect();
    let links = links.concat();
    format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <XRD xmlns=\"http://docs.oasis-open.org/ns/xri/xrd-1.0\">{links}</XRD>"
    )
}

fn json(links: Links) -> String {
    let links = links.map(|(rel, href)| serde_json::json!({ "rel": rel, "href": href }));
    serde_json::json!({ "links": links }).to_string()
}

fn links(site: &Site, host: &str) -> Links {
    let origin = site.address(host);
    [
        ("urn:xmpp:alt-connections:xbosh", format!("{origin}/http-bind")),
        (
            "urn:xmpp:alt-connections:websocket",
            format!("{}/xmpp-websocket", origin.for_websocket()),
        ),
    ]
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn answered(method: Method, path: &str) -> Response<Body> {
        let text = "hosts = ['www.example.org']
            origins = ['https://www.example.org:8443']
            [guests]
            domain = 'guest.example.org'
            upstream = '127.0.0.1:5222'
            secret = 'a secret we share'";
        let site = crate::site::tests::site(text).unwrap();
        let host = (header::HOST, "www.example.org:8443");
        let request = Request::builder().method(method).uri(path).header(host.0, host.1);
        answer(&site, &request.body(()).unwrap())
    }

    async fn text(path: &str) -> String {
        let body = answered(Method::GET, path).into_body();
        String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap()
    }

    #[tokio::test]
    async fn xml_and_json_name_both_ways_in() {
        let xml = text("/.well-known/host-meta").await;
        let json: serde_json::Value =
            serde_json::from_str(&text("/.well-known/host-meta.json").await).unwrap();

        for (place, rel, href) in [
            (0, "urn:xmpp:alt-connections:xbosh", "https://www.example.org:8443/http-bind"),
            (1, "urn:xmpp:alt-connections:websocket", "wss://www.example.org:8443/xmpp-websocket"),
        ] {
            assert!(xml.contains(&format!("<Link rel=\"{rel}\" href=\"{href}\"/>")), "{xml}");
            assert_eq!(json["links"][place], serde_json::json!({ "rel": rel, "href": href }));
        }
    }

    #[test]
    fn every_page_may_read_it_and_none_may_write_it() {
        for (method, status) in [(Method::GET, 200), (Method::POST, 405)] {
            let response = answered(method, XML);

            assert_eq!(response.status(), status);
            assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
            assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
        }
    }
}
