//! What it costs to see that a request over BOSH is its session's owner's: who sent it, and whether that is whose session it
//! is. Every request pays it.

#![allow(missing_docs, reason = "criterion's macros write undocumented functions")]
#![allow(clippy::unwrap_used, reason = "a benchmark that cannot begin is to stop")]

use std::hint::black_box;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;
use std::time::SystemTime;

use criterion::BenchmarkId;
use criterion::Criterion;
use criterion::criterion_group;
use criterion::criterion_main;
use hyper::HeaderMap;
use hyper::header;
use jsonwebtoken::EncodingKey;
use jsonwebtoken::Header;
use serde_json::json;
use tokio::runtime::Runtime;
use vestibule::file;
use vestibule::outbound;
use vestibule::outbound::Client;
use vestibule::session::owner::Claim;
use vestibule::session::owner::Name;
use vestibule::session::owner::Owner;
use vestibule::session::registry::Found;
use vestibule::session::registry::Registry;
use vestibule::site::Site;
use vestibule::visitor::Bounds;
use vestibule::visitor::Freshness;
use vestibule::visitor::Visitors;
use vestibule::visitor::guest;
use vestibule::visitor::guest::Guest;

/// The edge, as far as it knows visitors and their sessions.
struct Edge {
    site: Arc<Site>,
    visitors: Visitors,
    sessions: Arc<Registry<()>>,
}

impl Edge {
    /// What a request with these headers shows of who sent it.
    async fn claim(&self, headers: &HeaderMap) -> Claim {
        let address = IpAddr::from([192, 0, 2, 7]);
        let seen = self.visitors.of(&self.site, headers, address, Freshness::KnownSession).await;
        let seen = seen.unwrap();
        Claim {
            site: self.site.id.clone(),
            name: Some(Name::from(&seen.visitor)),
            proven: seen.proven,
            page: None,
            marks: self.visitors.marks(&self.site, headers),
        }
    }

    async fn is_owner(&self, sid: &str, headers: &HeaderMap) -> bool {
        let claim = self.claim(headers).await;
        matches!(self.sessions.find(sid, &claim, Instant::now()), Found::Mailbox(_))
    }
}

fn ownership(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().unwrap();
    let settings = guest::Settings { key_file: folder.path().join("key"), ..Default::default() };
    let key = guest::Key::load(&settings).unwrap();
    let site = Arc::new(Site::new(toml::from_str(SITE).unwrap(), &file::read).unwrap());
    let guest = key.cookie(&site, &Guest::new().unwrap(), SystemTime::now());
    let guest = guest.to_str().unwrap().split(';').next().unwrap().to_owned();
    let runtime = Runtime::new().unwrap();
    let _entered = runtime.enter();
    let client = Client::new(&outbound::Settings::default());
    let visitors = Visitors::new(key, Bounds::default(), client, Arc::default());
    let edge = Edge { site, visitors, sessions: Arc::new(Registry::new(10_000)) };
    let mut group = criterion.benchmark_group("ownership");
    for (who, cookie) in [("member by a signed cookie", member()), ("guest by our own", guest)] {
        let headers = HeaderMap::from_iter([(header::COOKIE, cookie.parse().unwrap())]);
        let owner = Owner::new(runtime.block_on(edge.claim(&headers)), Instant::now());
        let (place, _posts) = edge.sessions.enter(owner, Arc::default()).unwrap();
        let sid = place.sid().as_str();
        assert!(runtime.block_on(edge.is_owner(sid, &headers)), "{who} is refused");
        group.bench_function(BenchmarkId::from_parameter(who), |bencher| {
            bencher.iter(|| runtime.block_on(edge.is_owner(sid, black_box(&headers))));
        });
    }
    group.finish();
}

fn member() -> String {
    let until =
        SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs() + 86_400;
    let claims = json!({ "sub": "bob", "exp": until, "name": "Bob", "groups": ["Registered"] });
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let token = jsonwebtoken::encode(&Header::default(), &claims, &key).unwrap();
    format!("theme=dark; session={token}; lang=en")
}

const SECRET: &str = "a secret of 32 bytes, shared, ok";
const SITE: &str = "
    hosts = ['a.example']
    [registered]
    domain = 'xmpp.example.org'
    upstream = '127.0.0.1:5222'
    secret = 'a secret we share'
    [guests]
    domain = 'guest.example.org'
    upstream = '127.0.0.1:5222'
    secret = 'a secret we share'
    [session.jwt]
    cookie = 'session'
    secret = 'a secret of 32 bytes, shared, ok'";

criterion_group!(benches, ownership);
criterion_main!(benches);
