//! Another's client, and the machine at the other end of a connection in memory: the same requests, the same answers.

use bytes::Bytes;
use http_body_util::BodyExt;
use http_body_util::Full;
use hyper::HeaderMap;
use hyper::Method;
use hyper::Request;
use hyper::client::conn::http2;
use hyper::header::HeaderName;
use hyper::header::HeaderValue;
use hyper_util::rt::TokioExecutor;
use hyper_util::rt::TokioIo;
use proptest::prelude::*;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::DuplexStream;
use vestibule::protocol::http2::code::Code;
use vestibule::protocol::http2::connection::Connection;
use vestibule::protocol::http2::connection::Event;
use vestibule::protocol::http2::connection::Terms;

const TERMS: Terms = Terms {
    streams: 10,
    resets: 10,
    header_fields: 100,
    header_bytes: 64 * 1024,
    header_table: 4096,
    stream_window: 20_000,
    connection_window: 100_000,
    takes_connect: false,
};

/// A request as it was heard.
#[derive(Debug)]
struct Heard {
    stream: u32,
    request: Request<()>,
    body: Vec<u8>,
    is_whole: bool,
    /// How much of the answer is sent.
    sent: Option<usize>,
}

/// The machine on a connection; it says what it has heard, in the head and the body of each answer.
struct Server {
    machine: Connection,
    heard: Vec<Heard>,
}

impl Server {
    /// Serves until the client leaves; every request that was heard, in the order of their beginning.
    async fn serve(mut self, mut line: DuplexStream) -> Result<Vec<Heard>, Code> {
        let mut room = vec![0; 5000];
        loop {
            let mut out = Vec::new();
            self.machine.write_queued(&mut out);
            self.answer(&mut out);
            self.machine.write_queued(&mut out);
            line.write_all(&out).await.ok();
            let Ok(length @ 1..) = line.read(&mut room).await else { return Ok(self.heard) };
            let mut input = &room[..length];
            while let Some(event) =
                self.machine.receive(&mut input, tokio::time::Instant::now().into_std())?
            {
                match event {
                    Event::Request { stream, request, ends, .. } => {
                        self.machine.begin(stream);
                        let (body, sent) = (Vec::new(), None);
                        self.heard.push(Heard { stream, request, body, is_whole: ends, sent });
                    }
                    Event::Data { stream, data, ends } => {
                        let place = self.heard.iter().position(|heard| heard.stream == stream);
                        let heard = &mut self.heard[place.unwrap()];
                        heard.body.extend_from_slice(data);
                        heard.is_whole = ends;
                        let length = data.len();
                        self.machine.take(stream, length);
                    }
                    Event::TooLarge { .. } | Event::Reset { .. } => panic!("{event:?}"),
                    Event::Pong => {}
                }
            }
        }
    }

    /// Answers with the fields and the body that came, as far as there is room.
    fn answer(&mut self, out: &mut Vec<u8>) {
        for heard in self.heard.iter_mut().filter(|heard| heard.is_whole) {
            let number = heard.stream;
            if heard.sent.is_none() {
                let head = (hyper::StatusCode::CREATED, heard.request.headers());
                self.machine.write_head(number, head, heard.body.is_empty(), out);
                heard.sent = Some(0);
            }
            while let Some(sent) = &mut heard.sent
                && *sent < heard.body.len()
            {
                let length = self.machine.room(number).min(heard.body.len() - *sent);
                if length == 0 {
                    break;
                }
                let piece = &heard.body[*sent..][..length];
                *sent += length;
                self.machine.write_data(number, piece, *sent == heard.body.len(), out);
            }
        }
    }
}

/// What a client asks.
#[derive(Clone, Debug)]
struct Asked {
    method: Method,
    path: String,
    fields: HeaderMap,
    body: Vec<u8>,
}

fn asked() -> impl Strategy<Value = Asked> {
    let method =
        prop::sample::select(vec![Method::GET, Method::POST, Method::OPTIONS, Method::PUT]);
    let path = "/[a-z0-9/._~-]{0,40}(\\?[a-z=&%0-9]{0,30})?";
    let name = prop_oneof![
        prop::sample::select(vec!["user-agent", "accept", "origin", "sec-fetch-site", "referer"])
            .prop_map(str::to_owned),
        "x-[a-z0-9-]{1,30}",
    ];
    // Values that are repeated are put into the table, and the table is full before long.
    let value = prop_oneof![
        prop::sample::select(vec!["", "1", "same-origin", "Mozilla/5.0 (X11; Linux x86_64)"])
            .prop_map(|value| value.as_bytes().to_vec()),
        prop::collection::vec(prop_oneof![0x21..=0x7e_u8, 0x80..=0xff_u8], 1..300),
    ];
    let fields = prop::collection::vec((name, value), 0..12);
    let body = (0..60_000_usize, any::<u8>(), 0..4_u8).prop_map(|(length, byte, whether)| {
        if whether == 0 { vec![byte; length] } else { vec![byte; length % 50] }
    });
    (method, path, fields, body).prop_map(|(method, path, fields, body)| {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            let name = HeaderName::try_from(name).unwrap();
            headers.append(name, HeaderValue::from_bytes(&value).unwrap());
        }
        let body = if method == Method::GET { Vec::new() } else { body };
        Asked { method, path, fields: headers, body }
    })
}

/// Asks all of it over one connection, each once the one before is answered.
async fn exchange(all: &[Asked]) {
    let (client, server) = tokio::io::duplex(3000);
    let serving =
        tokio::spawn(Server { machine: Connection::new(TERMS), heard: Vec::new() }.serve(server));
    let (mut requests, moving) = http2::Builder::new(TokioExecutor::new())
        .initial_stream_window_size(10_000)
        .handshake(TokioIo::new(client))
        .await
        .unwrap();
    let moving = tokio::spawn(moving);
    for asked in all {
        let mut request: Request<Full<Bytes>> = Request::new(asked.body.clone().into());
        *request.method_mut() = asked.method.clone();
        *request.uri_mut() = format!("https://localhost:8443{}", asked.path).parse().unwrap();
        *request.headers_mut() = asked.fields.clone();

        let answer = requests.send_request(request).await.unwrap();

        let (head, body) = answer.into_parts();
        assert_eq!(head.status, hyper::StatusCode::CREATED);
        assert_same(&asked.fields, &head.headers);
        assert_eq!(body.collect().await.unwrap().to_bytes(), asked.body);
    }
    drop(requests);
    moving.await.unwrap().unwrap();

    let heard = serving.await.unwrap().unwrap();
    assert_eq!(heard.len(), all.len());
    for (asked, heard) in all.iter().zip(&heard) {
        assert_eq!(heard.request.method(), asked.method);
        let uri = format!("https://localhost:8443{}", asked.path);
        assert_eq!(*heard.request.uri(), *uri);
        assert_same(&asked.fields, heard.request.headers());
        assert_eq!(heard.body, asked.body);
    }
}

/// Whether all of the fields were carried, each with its values in their order.
fn assert_same(asked: &HeaderMap, carried: &HeaderMap) {
    for name in asked.keys() {
        let values = |of: &HeaderMap| of.get_all(name).iter().cloned().collect::<Vec<_>>();
        assert_eq!(values(asked), values(carried), "{name}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn requests_and_answers_are_as_another_s_client_has_them(all in prop::collection::vec(asked(), 1..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(exchange(&all));
    }
}

#[tokio::test]
async fn requests_at_once_are_each_answered_with_their_own() {
    let (client, server) = tokio::io::duplex(3000);
    let serving = Server { machine: Connection::new(TERMS), heard: Vec::new() }.serve(server);
    let serving = tokio::spawn(serving);
    let (requests, moving) =
        http2::handshake(TokioExecutor::new(), TokioIo::new(client)).await.unwrap();
    let moving = tokio::spawn(moving);

    let asking = (0..50_u8).map(|number| {
        let mut requests = requests.clone();
        tokio::spawn(async move {
            let body = vec![number; 3000 * usize::from(number)];
            let request =
                Request::post("https://localhost/x").body(Full::new(Bytes::from(body.clone())));
            // More than there may be at once wait in the client.
            requests.ready().await.unwrap();
            let answer = requests.send_request(request.unwrap()).await.unwrap();
            assert_eq!(answer.into_body().collect().await.unwrap().to_bytes(), body);
        })
    });
    for asked in asking.collect::<Vec<_>>() {
        asked.await.unwrap();
    }

    drop(requests);
    moving.await.unwrap().unwrap();
    assert_eq!(serving.await.unwrap().unwrap().len(), 50);
}
