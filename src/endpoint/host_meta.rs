//! `/.well-known/host-meta` and `host-meta.json`: where the chat is reached (XEP-0156 §3).

use std::sync::Arc;

use hyper::Response;
use hyper::header;
use hyper::header::HeaderValue;

use crate::endpoint::Body;
use crate::origin;
use crate::outbound;
use crate::site::Site;
use crate::site::Sites;

/// Where the XRD is (RFC 6415 §2).
pub const XML: &str = "/.well-known/host-meta";
/// Where the JSON is (XEP-0156 §3).
pub const JSON: &str = "/.well-known/host-meta.json";

/// The site that a request for host-meta is about: it may also come to the name of an XMPP domain, as clients look there.
#[must_use]
pub fn site<'a>(sites: &'a Sites, host: &str) -> Option<&'a Arc<Site>> {
    sites.by_host(host).or_else(|| sites.by_xmpp_domain(host))
}

/// The answer as XRD, to a request with this `Host`.
#[must_use]
pub fn xml(site: &Site, host: &str) -> Response<Body> {
    let links = links(site, host);
    // Nothing to escape: an origin has no character that XML would mind.
    let links = links.map(|(rel, href)| format!("<Link rel=\"{rel}\" href=\"{href}\"/>")).concat();
    let document = format!(
        "<?xml version=\"1.0\" encoding=\"utf-8\"?>\
         <XRD xmlns=\"http://docs.oasis-open.org/ns/xri/xrd-1.0\">{links}</XRD>"
    );
    answer("application/xrd+xml; charset=utf-8", document)
}

/// The answer as JSON, to a request with this `Host`.
#[must_use]
pub fn json(site: &Site, host: &str) -> Response<Body> {
    let links =
        links(site, host).map(|(rel, href)| serde_json::json!({ "rel": rel, "href": href }));
    answer("application/json", serde_json::json!({ "links": links }).to_string())
}

fn links(site: &Site, host: &str) -> [(&'static str, String); 2] {
    let origin = site.address(host);
    [
        ("urn:xmpp:alt-connections:xbosh", format!("{origin}/http-bind")),
        (
            "urn:xmpp:alt-connections:websocket",
            format!("{}/xmpp-websocket", origin.for_websocket()),
        ),
    ]
}

fn answer(content_type: &'static str, document: String) -> Response<Body> {
    let mut response = Response::new(outbound::whole(document));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    // Converse asks at every connection; what is answered changes with proxy.toml alone.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=300"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    origin::dress_public(headers);
    response
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    fn sites() -> Sites {
        let text = "hosts = ['www.example.org']
            origins = ['https://www.example.org:8443']
            [guests]
            domain = 'guest.example.org'
            upstream = '127.0.0.1:5222'
            secret = 'shared'";
        Sites::new(vec![toml::from_str(text).unwrap()]).unwrap()
    }

    async fn text(response: Response<Body>) -> String {
        let bytes = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[tokio::test]
    async fn xml_and_json_name_both_ways_in() {
        let sites = sites();
        let host = "www.example.org:8443";
        let found = site(&sites, host).unwrap();

        let xml = text(xml(found, host)).await;
        let json: serde_json::Value = serde_json::from_str(&text(json(found, host)).await).unwrap();

        for (place, rel, href) in [
            (0, "urn:xmpp:alt-connections:xbosh", "https://www.example.org:8443/http-bind"),
            (1, "urn:xmpp:alt-connections:websocket", "wss://www.example.org:8443/xmpp-websocket"),
        ] {
            assert!(xml.contains(&format!("<Link rel=\"{rel}\" href=\"{href}\"/>")), "{xml}");
            assert_eq!(json["links"][place], serde_json::json!({ "rel": rel, "href": href }));
        }
    }

    #[test]
    fn xmpp_domain_is_told_the_way_to_its_site() {
        let sites = sites();

        assert!(site(&sites, "guest.example.org").is_some());
        assert!(site(&sites, "other.example.org").is_none());
    }

    #[test]
    fn every_page_may_read_it() {
        let sites = sites();

        let response = xml(site(&sites, "www.example.org").unwrap(), "www.example.org");

        assert_eq!(response.headers()[header::ACCESS_CONTROL_ALLOW_ORIGIN], "*");
        assert!(!response.headers().contains_key(header::ACCESS_CONTROL_ALLOW_CREDENTIALS));
    }
}
