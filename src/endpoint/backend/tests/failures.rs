//! Web servers that hang up, lie or say too much, and what a browser is told of it.

use super::*;

/// One answer, on a connection that the server keeps.
const KEPT: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

fn seen_by_a_person(mut request: Request<Full<Bytes>>) -> Request<Full<Bytes>> {
    let accept = HeaderValue::from_static("application/xhtml+xml, Text/HTML;q=0.9, */*;q=0.8");
    request.headers_mut().insert(header::ACCEPT, accept);
    request
}

#[tokio::test]
async fn person_gets_a_page_that_says_nothing_of_the_inside() {
    let server = Server::start().await;
    let (site, address) = (server.site(true), server.listener.local_addr().unwrap());
    drop(server);
    let request = seen_by_a_person(request(Method::POST, "a=1"));

    let response = answer(&backend(&visitors()), &site, request).await.unwrap().unwrap();

    assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
    assert_eq!(response.headers()[header::CONTENT_TYPE], "text/html; charset=utf-8");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    let page = text(response).await;
    assert!(page.contains("<title>502 Bad Gateway</title>"), "{page}");
    assert!(!page.contains(&address.port().to_string()) && !page.contains("127."), "{page}");
}

#[tokio::test]
async fn page_is_asked_for_again_where_a_kept_connection_was_closed_under_it() {
    let server = Server::start().await;
    let (backend, site) = (backend(&visitors()), server.site(true));
    let first = answer(&backend, &site, request(Method::GET, "a=1"));
    let mut kept = server.asked("\r\n\r\n").await;
    kept.say(KEPT).await;
    assert_eq!(text(first.await.unwrap().unwrap()).await, "ok");

    let second = answer(&backend, &site, request(Method::GET, "a=1"));
    kept.text.clear();
    kept.read_to("\r\n\r\n").await;
    drop(kept);
    server.asked("\r\n\r\n").await.say(OK).await;

    assert_eq!(text(second.await.unwrap().unwrap()).await, "ok");
}

#[tokio::test]
async fn connection_that_the_server_closed_in_time_is_not_used() {
    let server = Server::start().await;
    let (backend, site) = (backend(&visitors()), server.site(true));

    for _ in 0..3 {
        let answering = answer(&backend, &site, request(Method::POST, "a=1"));
        // Kept by what it says, and closed by what it does.
        let mut asked = server.asked("\r\n\r\n").await;
        asked.say(KEPT).await;
        drop(asked);

        assert_eq!(text(answering.await.unwrap().unwrap()).await, "ok");
    }
}

#[tokio::test]
async fn server_that_hangs_up_is_asked_for_a_page_twice_and_never_given_a_form_twice() {
    let server = Server::start().await;
    let (backend, site) = (backend(&visitors()), server.site(true));

    for (method, times) in [(Method::GET, 2), (Method::POST, 1), (Method::DELETE, 1)] {
        let answering = answer(&backend, &site, request(method.clone(), "a=1"));
        for _ in 0..times {
            drop(server.asked("\r\n\r\n").await);
        }

        assert_eq!(answering.await.unwrap().unwrap_err(), Refusal::BadGateway, "{method}");
    }
}

#[tokio::test]
async fn answer_that_is_none_is_a_bad_gateway() {
    let server = Server::start().await;
    let (backend, site) = (backend(&visitors()), server.site(true));

    for lie in [
        format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(1 << 20)),
        format!("HTTP/1.1 200 OK\r\n{}\r\n", "X: y\r\n".repeat(200)),
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nokk".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: 2, 3\r\n\r\nokk".to_owned(),
        "HTTP/1.1 200 OK\r\nContent-Length: -2\r\n\r\nok".to_owned(),
        "HTTP/1.1 200 OK\r\nX: a\rSet-Cookie: b=c\r\n\r\n".to_owned(),
        "HTTP/1.1 200 OK\r\nX : a\r\n\r\n".to_owned(),
        "220 mail.example.org ESMTP\r\n".to_owned(),
    ] {
        let answering = answer(&backend, &site, request(Method::POST, "a=1"));
        let mut asked = server.asked("\r\n\r\n").await;
        // It may hang up before all of it is said.
        drop(asked.stream.write_all(lie.as_bytes()).await);

        let shown = lie.get(..40.min(lie.len())).unwrap();
        assert_eq!(answering.await.unwrap().unwrap_err(), Refusal::BadGateway, "{shown}");
    }
}

#[tokio::test]
async fn what_a_server_says_before_its_answer_is_passed_over_for_a_time() {
    let server = Server::start().await;
    let (backend, site) = (backend(&visitors()), server.site(true));
    let hint = "HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n";

    let answering = answer(&backend, &site, request(Method::GET, "a=1"));
    let mut asked = server.asked("\r\n\r\n").await;
    asked.say(&hint.repeat(1000)).await;
    asked.say(OK).await;
    let response = answering.await.unwrap().unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(!response.headers().contains_key(header::LINK));

    let answering = answer(&backend, &site, request(Method::GET, "a=1"));
    let mut asked = server.asked("\r\n\r\n").await;
    asked.say(&hint.repeat(1000)).await;
    tokio::time::pause();
    assert_eq!(answering.await.unwrap().unwrap_err(), Refusal::GatewayTimeout);
}

#[tokio::test]
async fn what_follows_an_answer_is_nobodys_answer() {
    let server = Server::start().await;
    let (backend, site) = (backend(&visitors()), server.site(true));
    let answering = answer(&backend, &site, request(Method::GET, "a=1"));
    let mut liar = server.asked("\r\n\r\n").await;
    liar.say(&format!("{KEPT}HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil")).await;
    assert_eq!(text(answering.await.unwrap().unwrap()).await, "ok");

    let answering = answer(&backend, &site, request(Method::GET, "a=2"));
    server.asked("\r\n\r\n").await.say(OK).await;

    assert_eq!(text(answering.await.unwrap().unwrap()).await, "ok");
}

#[tokio::test]
async fn answer_that_breaks_off_is_no_whole_answer() {
    let server = Server::start().await;
    let (backend, site) = (backend(&visitors()), server.site(true));

    for half in [
        "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhal",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nhal\r\n",
    ] {
        let answering = answer(&backend, &site, request(Method::GET, "a=1"));
        let mut asked = server.asked("\r\n\r\n").await;
        asked.say(half).await;
        drop(asked);

        let body = answering.await.unwrap().unwrap().into_body();
        assert!(body.collect().await.is_err(), "{half}");
    }
}

#[tokio::test]
async fn tunnel_and_a_request_for_no_page_are_refused() {
    let server = Server::start().await;
    let (backend, site) = (backend(&visitors()), server.site(true));

    for (method, uri) in
        [(Method::CONNECT, "/"), (Method::CONNECT, "www.example.org:443"), (Method::OPTIONS, "*")]
    {
        let mut request = request(method, "a=1");
        *request.uri_mut() = uri.parse().unwrap();

        let refusal = answer(&backend, &site, request).await.unwrap().unwrap_err();

        assert_eq!(refusal, Refusal::BadRequest("the request names no page"), "{uri}");
    }
}
