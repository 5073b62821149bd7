//! What is a request, and what is none (RFC 9113 §8).

use super::*;

fn asked(fields: &[(&str, &str)]) -> Option<Request<()>> {
    asked_with(TERMS, fields)
}

fn asked_with(terms: Terms, fields: &[(&str, &str)]) -> Option<Request<()>> {
    let mut scene = Scene::new(terms);
    let mut events = scene.ask(1, flag::END_STREAM, fields).unwrap();
    match events.pop() {
        Some(Happened::Asked(1, request, true)) => Some(request),
        None => {
            assert_eq!(scene.resets(), [(1, Code::Protocol.number())], "{fields:?}");
            None
        }
        event => panic!("{event:?}"),
    }
}

fn beside<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    [&GET[..], &[(name, value)]].concat()
}

fn instead<'a>(name: &'a str, value: &'a str) -> Vec<(&'a str, &'a str)> {
    GET.iter().map(|&(own, field)| if own == name { (name, value) } else { (own, field) }).collect()
}

fn without(name: &str) -> Vec<(&str, &str)> {
    GET.into_iter().filter(|(own, _)| *own != name).collect()
}

#[test]
fn request_is_what_its_fields_say() {
    let request =
        asked(&[&instead(":path", "/a/b?c=d")[..], &[("accept", "*/*"), ("x", "")]].concat())
            .unwrap();

    assert_eq!(request.method(), http::Method::GET);
    assert_eq!(request.uri(), "https://localhost/a/b?c=d");
    assert_eq!(request.version(), http::Version::HTTP_2);
    assert_eq!(request.headers()["accept"], "*/*");
    assert_eq!(request.headers()["x"], "");
}

#[test]
fn cookies_of_many_fields_are_one() {
    // §8.2.3
    let fields = [&GET[..], &[("cookie", "a=1"), ("x", "y"), ("cookie", "b=2")]].concat();

    let request = asked(&fields).unwrap();

    assert_eq!(request.headers().get_all("cookie").iter().collect::<Vec<_>>(), ["a=1; b=2"]);
    assert!(request.headers()["cookie"].is_sensitive());
}

#[test]
fn pseudo_header_fields_are_each_there_once_before_all_others_and_none_is_new() {
    // §8.3, §8.3.1
    for name in [":method", ":scheme", ":path"] {
        assert!(asked(&without(name)).is_none(), "{name}");
    }
    for (name, value) in GET {
        assert!(asked(&beside(name, value)).is_none(), "{name} twice");
    }
    let behind = [&without(":path")[..], &[("x", "y"), (":path", "/")]].concat();
    assert!(asked(&behind).is_none());
    for (name, value) in [(":status", "200"), (":own", "x"), (":protocol", "websocket")] {
        assert!(asked(&[&[(name, value)], &GET[..]].concat()).is_none(), "{name}");
    }
}

#[test]
fn request_line_that_http_1_would_read_otherwise_is_none() {
    // §8.3.1, §10.3
    for (name, value) in [
        (":path", ""),
        (":path", "x"),
        (":path", "*"),
        (":path", "/ x"),
        (":path", "/x HTTP/1.1\r\nx: y"),
        (":path", "/\t"),
        (":method", ""),
        (":method", "GET /"),
        (":scheme", "https://localhost"),
        (":scheme", "ftp"),
        (":authority", ""),
        (":authority", "user@localhost"),
        (":authority", "localhost/x"),
        (":authority", "local host"),
        (":authority", "localhost\r\nx: y"),
    ] {
        assert!(asked(&instead(name, value)).is_none(), "{name} {value:?}");
    }
    let options: Vec<_> =
        [(":method", "OPTIONS"), (":path", "*"), (":scheme", "https"), (":authority", "localhost")]
            .into();
    assert!(asked(&options).is_some());
}

#[test]
fn host_says_what_the_authority_says_and_once() {
    // §8.3.1
    assert!(asked(&beside("host", "LOCALHOST")).is_some());
    assert!(asked(&beside("host", "elsewhere")).is_none());
    let twice =
        [&without(":authority")[..], &[("host", "localhost"), ("host", "localhost")]].concat();
    assert!(asked(&twice).is_none());
    let alone = [&without(":authority")[..], &[("host", "localhost")]].concat();
    let request = asked(&alone).unwrap();
    assert_eq!(
        (request.uri().authority(), &request.headers()["host"]),
        (None, &http::HeaderValue::from_static("localhost"))
    );
}

#[test]
fn fields_that_are_none_or_belong_to_a_connection_make_no_request() {
    // §8.2.1, §8.2.2
    for (name, value) in [
        ("", "x"),
        ("X", "x"),
        ("x y", "x"),
        ("x:", "x"),
        ("x\r\n", "x"),
        ("x", "y\r\nz: 1"),
        ("x", "y\nz"),
        ("x", "y\rz"),
        ("x", "y\0z"),
        ("x", " y"),
        ("x", "y\t"),
        ("connection", "x"),
        ("keep-alive", "x"),
        ("proxy-connection", "x"),
        ("transfer-encoding", "chunked"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("content-length", "+1"),
        ("content-length", ""),
        ("content-length", "1, 1"),
        ("content-length", "99999999999999999999"),
    ] {
        assert!(asked(&beside(name, value)).is_none(), "{name:?}: {value:?}");
    }
    assert!(asked(&beside("te", "trailers")).is_some());
    let lengths = [&GET[..], &[("content-length", "0"), ("content-length", "0")]].concat();
    assert!(asked(&lengths).is_none());
}

#[test]
fn request_without_a_body_has_no_length_but_0() {
    // §8.1.1
    assert!(asked(&beside("content-length", "0")).is_some());
    assert!(asked(&beside("content-length", "1")).is_none());
}

#[test]
fn connect_is_taken_for_a_protocol_alone_and_where_that_was_offered() {
    // RFC 8441 §4; RFC 9113 §8.5
    let tunnel = [(":method", "CONNECT"), (":authority", "localhost")];
    let websocket = [&instead(":method", "CONNECT")[..], &[(":protocol", "websocket")]].concat();
    let terms = Terms { takes_connect: true, ..TERMS };

    let asked_for = asked_with(terms, &websocket).unwrap();

    assert_eq!(asked_for.extensions().get::<Protocol>().unwrap().0, "websocket");
    assert!(asked(&websocket).is_none());
    for terms in [TERMS, terms] {
        assert!(asked_with(terms, &tunnel).is_none());
        assert!(asked_with(terms, &instead(":method", "CONNECT")).is_none());
    }
    let offers = |terms| {
        let (_, _, _, settings) = Scene::silent(terms).said().swap_remove(0);
        settings.chunks(6).any(|setting| setting == [0, 8, 0, 0, 0, 1])
    };
    assert!(offers(terms) && !offers(TERMS));
}

#[test]
fn header_that_is_too_large_is_told_so_and_what_follows_is_read() {
    // §6.5.2, and RFC 6585 §5
    let many = [&GET[..], &[("x", "y"); 11]].concat();
    let long = "y".repeat(5000);
    let large = beside("x", &long);
    let just = [&GET[..], &[("x", "y"); 10]].concat();

    let mut scene = Scene::new(TERMS);
    let events = [many, large].map(|fields| fields);
    let first = scene.ask(1, flag::END_STREAM, &events[0]).unwrap();
    let second = scene.ask(3, flag::END_STREAM, &events[1]).unwrap();
    let third = scene.ask(5, flag::END_STREAM, &just).unwrap();

    assert!(matches!(first[..], [Happened::TooLarge(1)]));
    assert!(matches!(second[..], [Happened::TooLarge(3)]));
    assert!(matches!(third[..], [Happened::Asked(5, ..)]));
}

#[test]
fn request_beyond_the_bound_is_refused_and_may_be_asked_again() {
    // §5.1.2, §8.7
    let mut scene = Scene::new(TERMS);
    for stream in [1, 3, 5] {
        scene.get(stream);
    }

    let refused = scene.ask(7, flag::END_STREAM, &GET).unwrap();
    let reset = scene.resets();
    scene.answer(3, true);
    scene.get(9);

    assert!(refused.is_empty());
    assert_eq!(reset, [(7, Code::RefusedStream.number())]);
}

#[test]
fn what_browsers_say_of_priorities_is_ignored() {
    // RFC 7540 §5.3, RFC 9218 §7.1
    let mut scene = Scene::new(TERMS);

    scene.frame((Kind::Priority, 0), 9, &[0, 0, 0, 3, 7]).unwrap();
    scene.frame((Kind::Other, 0), 0, &[0, 0, 0, 1, b'u']).unwrap();
    let fields = [&[0x80, 0, 0, 0, 200][..], &block(&GET)].concat();
    let flags = flag::END_HEADERS | flag::END_STREAM | flag::PRIORITY;
    let asked = scene.frame((Kind::Headers, flags), 1, &fields).unwrap();

    assert!(matches!(asked[..], [Happened::Asked(1, ..)]));
}
