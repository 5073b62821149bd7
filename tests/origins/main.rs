//! Which pages may speak for a visitor, and what their browsers are told: every header written by hand, every answer read
//! as it came. No XMPP server is needed to say no.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

mod wire;

use crate::wire::Proxy;
use crate::wire::permissive;

#[tokio::test]
async fn page_of_another_site_is_refused_whatever_else_its_request_shows() {
    let proxy = Proxy::start("").await;

    for path in OURS {
        for origin in FOREIGN {
            let origin = format!("Origin: {origin}");
            proxy.ask_for(path, &[&origin]).await.assert_refused(&origin);
            let disguised = [&origin, COOKIE, "Sec-Fetch-Site: same-origin", REFERER];
            proxy.ask_for(path, &disguised).await.assert_refused(&origin);
        }
        let two = ["Origin: https://www.example.org", "Origin: https://www.example.org"];
        proxy.ask_for(path, &two).await.assert_refused("two origins");
        proxy.ask(&format!("GET {path} HTTP/1.1"), &["Origin: null"]).await.assert_refused(path);
    }
}

#[tokio::test]
async fn page_of_the_site_is_heard_whatever_else_its_request_shows() {
    let proxy = Proxy::start("").await;

    for path in OURS {
        for origin in OWN {
            for more in [&[][..], &[COOKIE], &[COOKIE, "Sec-Fetch-Site: cross-site"]] {
                let shown = format!("Origin: {origin}");
                let answer = proxy.ask_for(path, &[&[shown.as_str()][..], more].concat()).await;

                assert_ne!(answer.status, 403, "{path} {origin} {more:?}: {answer:?}");
                answer.assert_dressed_for(origin);
            }
        }
    }
}

#[tokio::test]
async fn cookie_without_an_origin_needs_a_sign_of_the_site_s_own_page() {
    let proxy = Proxy::start("").await;
    let fetch_sites: [(&[&str], bool); 8] = [
        (&["Sec-Fetch-Site: same-origin"], true),
        (&["Sec-Fetch-Site: same-site"], false),
        (&["Sec-Fetch-Site: cross-site"], false),
        (&["Sec-Fetch-Site: none"], false),
        (&["Sec-Fetch-Site: SAME-ORIGIN, x"], false),
        (&["Sec-Fetch-Site:"], false),
        (&["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: same-origin"], false),
        (&["Sec-Fetch-Site: same-origin", "Sec-Fetch-Site: cross-site"], false),
    ];

    for path in OURS {
        for (lines, own) in fetch_sites {
            // Where a browser says where a request is from, a Referer says nothing more.
            for referer in [None, Some(REFERER), Some("Referer: https://evil.example/")] {
                let lines: Vec<&str> = lines.iter().copied().chain(referer).collect();
                let with = proxy.ask_for(path, &[&lines[..], &[COOKIE]].concat()).await;
                let guest = proxy.ask_for(path, &[&lines[..], &[GUEST]].concat()).await;
                let without = proxy.ask_for(path, &lines).await;

                let what = format!("{path} {lines:?}");
                assert_eq!((with.status != 403, guest.status != 403), (own, own), "{what}");
                assert_ne!(without.status, 403, "{what}");
                assert_eq!(
                    (without.cors(), without.all("vary")),
                    (vec![], vec!["Origin"]),
                    "{what}"
                );
            }
        }
        for (referers, own) in REFERERS {
            let with = proxy.ask_for(path, &[referers, &[COOKIE]].concat()).await;

            assert_eq!(with.status != 403, own, "{path} {referers:?}: {with:?}");
        }
        let harmless = proxy.ask_for(path, &["Cookie: theme=dark"]).await;
        assert_ne!(harmless.status, 403, "{path}: {harmless:?}");
    }
}

#[tokio::test]
async fn preflight_is_answered_for_pages_of_the_site_alone() {
    let proxy = Proxy::start("").await;
    let asks =
        ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type"];

    for path in OURS {
        let options = format!("OPTIONS {path} HTTP/1.1");
        for origin in OWN {
            let shown = format!("Origin: {origin}");
            let answer = proxy.ask(&options, &[&[shown.as_str()][..], &asks].concat()).await;

            assert_eq!((answer.status, answer.body.as_str()), (204, ""), "{answer:?}");
            let dress = [
                ("access-control-allow-credentials", "true"),
                ("access-control-allow-headers", "Content-Type"),
                ("access-control-allow-methods", "GET, POST, OPTIONS"),
                ("access-control-allow-origin", origin),
                ("access-control-max-age", "7200"),
            ];
            assert_eq!(answer.cors(), dress);
            assert_eq!(answer.all("vary"), ["Origin"]);
        }
        for origin in FOREIGN {
            let shown = format!("Origin: {origin}");
            let answer = proxy.ask(&options, &[&[shown.as_str()][..], &asks].concat()).await;
            answer.assert_refused(&shown);
        }
        let nobody_s = proxy.ask(&options, &asks).await;
        assert_eq!((nobody_s.status, nobody_s.cors()), (204, vec![]), "{nobody_s:?}");
    }
}

#[tokio::test]
async fn errors_are_dressed_for_a_page_of_the_site_too() {
    let proxy = Proxy::start("").await;
    let own = "Origin: https://www.example.org";
    let many = format!("Cookie: {}", "a=1; ".repeat(101));

    for (request, more, status) in [
        ("GET /http-bind HTTP/1.1", &[][..], 405),
        ("HEAD /http-bind HTTP/1.1", &[], 405),
        ("PUT /http-bind HTTP/1.1", &[], 405),
        ("HEAD /prebind HTTP/1.1", &[], 405),
        ("DELETE /prebind HTTP/1.1", &[], 405),
        ("POST /xmpp-websocket HTTP/1.1", &[], 405),
        ("GET /xmpp-websocket HTTP/1.1", &[], 426),
        ("GET /prebind HTTP/1.1", &[], 503),
        ("GET /prebind HTTP/1.1", &[many.as_str()], 431),
    ] {
        let answer = proxy.ask(request, &[&[own][..], more].concat()).await;

        assert_eq!(answer.status, status, "{request}: {answer:?}");
        answer.assert_dressed_for("https://www.example.org");
        assert_eq!(request.starts_with("HEAD"), answer.body.is_empty(), "{request}: {answer:?}");
    }
    for (request, allowed) in [
        ("GET /http-bind HTTP/1.1", "POST, OPTIONS"),
        ("HEAD /prebind HTTP/1.1", "GET, POST, OPTIONS"),
        ("PUT /xmpp-websocket HTTP/1.1", "GET"),
    ] {
        assert_eq!(proxy.ask(request, &[own]).await.all("allow"), [allowed], "{request}");
    }
}

#[tokio::test]
async fn more_cookies_than_the_bound_are_refused_before_they_are_looked_at() {
    let proxy = Proxy::start("[cookies]\nnumber = 3\nbytes = '64 B'\n").await;
    let own = "Origin: https://www.example.org";
    let at = ["Cookie: a=1; b=2; c=3;", "Cookie: a=1; b=2\r\nCookie: c=3", "Cookie: a=1234567890"];
    let long = format!("Cookie: a={}", "1".repeat(63));
    let beyond = ["Cookie: a=1; b=2; c=3; d=4", "Cookie: a=1; b=2\r\nCookie: c=3; d", &long];

    for path in OURS {
        for cookies in at {
            assert_ne!(proxy.ask_for(path, &[own, cookies]).await.status, 431, "{cookies}");
        }
        for cookies in beyond {
            let answer = proxy.ask_for(path, &[own, cookies]).await;
            assert_eq!(answer.status, 431, "{path} {cookies}: {answer:?}");
            // One of them may be the one that counts.
            proxy.ask_for(path, &[cookies]).await.assert_refused(cookies);
        }
    }

    // The rest of the site is its own web server's business: here there is none.
    assert_eq!(proxy.ask("GET / HTTP/1.1", &[own, &long]).await.status, 404);
    let metrics = proxy.metrics().await;
    for line in [
        r#"vestibule_bounds_reached_total{bound="cookies"} 9"#,
        r#"vestibule_refusals_total{reason="cookies"} 9"#,
        r#"vestibule_refusals_total{reason="foreign_origin"} 9"#,
        r#"vestibule_refusals_total{reason="not_found"} 1"#,
    ] {
        assert!(metrics.lines().any(|shown| shown == line), "{line} in {metrics}");
    }
}

#[tokio::test]
async fn where_the_chat_is_reached_may_be_read_by_every_page() {
    let proxy = Proxy::start("").await;

    for (request, status) in [
        ("GET /.well-known/host-meta HTTP/1.1", 200),
        ("HEAD /.well-known/host-meta HTTP/1.1", 200),
        ("GET /.well-known/host-meta.json HTTP/1.1", 200),
        ("POST /.well-known/host-meta HTTP/1.1", 405),
    ] {
        for lines in [&["Origin: https://evil.example", COOKIE][..], &["Origin: null"], &[COOKIE]] {
            let answer = proxy.ask(request, lines).await;

            assert_eq!(answer.status, status, "{request} {lines:?}: {answer:?}");
            assert_eq!(answer.cors(), [("access-control-allow-origin", "*")], "{answer:?}");
        }
    }
}

#[tokio::test]
async fn cors_headers_of_the_site_s_own_web_server_are_on_its_own_pages_alone() {
    let backend = format!("backend = 'http://{}'", permissive().await);
    let with_backend = Proxy::with("", &backend).await;

    let page = with_backend.ask("GET /page HTTP/1.1", &["Origin: https://evil.example"]).await;
    assert_eq!((page.status, page.cors()), (200, vec![("access-control-allow-origin", "*")]));
    for path in OURS {
        let own = with_backend.ask_for(path, &["Origin: https://www.example.org"]).await;
        own.assert_dressed_for("https://www.example.org");
        with_backend.ask_for(path, &["Origin: https://evil.example"]).await.assert_refused(path);
    }
}

/// Where Vestibule acts for a visitor.
const OURS: [&str; 3] = ["/http-bind", "/prebind", "/xmpp-websocket"];

/// The origins of `settings`, as browsers may write them.
const OWN: [&str; 5] = [
    "https://www.example.org",
    "https://www.example.org:443",
    "HTTPS://WWW.Example.ORG",
    "http://pages.example.net:8080",
    "https://[::1]:8443",
];

const FOREIGN: [&str; 29] = [
    // Around the name.
    "https://evil.example",
    "https://www.example.org.evil.example",
    "https://evilwww.example.org",
    "https://evil.www.example.org",
    "https://example.org",
    "https://www.example.org.",
    "https://www.example.orgx",
    "https://www-example.org",
    // Letters that look alike, and the same name in punycode.
    "https://www.ex\u{0430}mple.org",
    "https://www.xn--exmple-4nf.org",
    "https://www.example\u{3002}org",
    "https://www.example.org%00.evil.example",
    // Scheme and port.
    "http://www.example.org",
    "wss://www.example.org",
    "file://www.example.org",
    "https://www.example.org:80",
    "https://www.example.org:8443",
    "https://www.example.org:",
    "https://pages.example.net:8080",
    "http://pages.example.net",
    "https://[::1]",
    "https://[::2]:8443",
    // What is no origin, or more than one.
    "",
    "null",
    "*",
    "https://www.example.org@evil.example",
    "https://evil.example@www.example.org",
    "https://www.example.org/",
    "https://www.example.org, https://evil.example",
];

/// Without `Sec-Fetch-Site`: what a browser sent before 2023.
const REFERERS: [(&[&str], bool); 9] = [
    (&[REFERER], true),
    (&["Referer: https://www.example.org"], true),
    (&["Referer: http://pages.example.net:8080/a"], true),
    (&[], false),
    (&["Referer:"], false),
    (&["Referer: https://www.example.org.evil.example/"], false),
    (&["Referer: https://www.example.org@evil.example/"], false),
    (&["Referer: https://evil.example/?https://www.example.org/"], false),
    (&[REFERER, REFERER], false),
];

const REFERER: &str = "Referer: https://www.example.org/wiki/Page?x#y";
const COOKIE: &str = "Cookie: session=x";
const GUEST: &str = "Cookie: theme=dark; __Host-vestibule-guest=x";
