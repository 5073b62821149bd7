//! How far away the chat is behind a page load, in round trips, milliseconds and bytes, by Converse.js 14 in Chromium.

use std::time::Duration;

use crate::is_whole;
use crate::support::authority::Age;
use crate::support::authority::Authority;
use crate::support::distance::Distance;
use crate::support::edge::Edge;
use crate::support::prosody::GUESTS;
use crate::support::prosody::MEMBERS;
use crate::support::prosody::Prosody;
use crate::support::prosody::free_address;
use crate::support::site;
use crate::support::site::WHOIS_SECRET;
use crate::support::story;

#[tokio::test]
async fn page_load_takes_three_round_trips_over_http_2_where_answers_come_before_they_are_asked_for()
 {
    let loads = Loads::over("2", EARLY, Chat::Edge, FAR).await;

    assert_eq!(loads.round_trips(FAR), 3, "{loads:?}");
}

#[tokio::test]
async fn page_load_takes_five_round_trips_over_http_2_to_the_letter() {
    let loads = Loads::over("2", "", Chat::Edge, FAR).await;

    assert_eq!(loads.round_trips(FAR), 5, "{loads:?}");
}

/// The rows of docs/continuity.md, for whoever asks for them.
#[tokio::test]
async fn page_loads_are_measured_for_the_documentation() {
    if !is_whole() {
        return;
    }
    let ways = [
        ("Prosody's own mod_websocket", "2", "", Chat::Server),
        ("Vestibule, HTTP/1.1", "1.1", "", Chat::Edge),
        ("Vestibule, HTTP/1.1, `early`", "1.1", EARLY, Chat::Edge),
        ("Vestibule, HTTP/2", "2", "", Chat::Edge),
        ("Vestibule, HTTP/2, `early`", "2", EARLY, Chat::Edge),
    ];
    for (name, http, settings, chat) in ways {
        let far = Loads::over(http, settings, chat, FAR).await.round_trips(FAR);
        let near = Loads::over(http, settings, chat, NEAR).await;
        let [stands, entered, page, bytes] = near.medians();
        println!("row: | {name} | {far} | {stands} ms | {entered} ms | {page} ms | {bytes} |");
    }
}

/// Whom the page speaks with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Chat {
    Edge,
    /// Prosody itself, with the member's password.
    Server,
}

/// What each page load took, in ms since it began, and the bytes that were carried for it.
#[derive(Debug)]
struct Loads(Vec<Load>);

#[derive(Clone, Copy, Debug, Default)]
struct Load {
    asked: u64,
    stands: u64,
    entered: u64,
    bytes: usize,
}

impl Loads {
    /// Page loads with a stream to resume, where it takes so long to the server and again so long back.
    async fn over(http: &str, settings: &str, chat: Chat, one_way: Duration) -> Self {
        let authority = Authority::new();
        let direct = free_address();
        let (certificate, key) = authority.sign(MEMBERS, Age::Good);
        let prosody = Prosody::start_with(&format!(
            "VirtualHost '*'\nhttps_ports = {{ {} }}\nhttps_interfaces = {{ '127.0.0.1' }}\nhttps_ssl = {{ certificate = '{}', key = '{}' }}\n\
             http_default_host = '{MEMBERS}'\ncross_domain_websocket = true\nVirtualHost '{MEMBERS}'\nmodules_enabled = {{ 'websocket' }}\n",
            direct.port(),
            certificate.display(),
            key.display(),
        ))
        .await;
        prosody.add_account(MEMBERS, "bob", PASSWORD);
        let (_pages, address) = site::serve(GUESTS).await;
        let at = free_address();
        let distance = Distance::to(at, one_way).await;
        let to_prosody = Distance::to(direct, one_way).await;
        let _edge =
            Box::pin(Edge::start_at(at, &sites(&prosody, &address, &distance, settings))).await;

        let url = format!("https://localhost:{}", distance.address().port());
        let there = match chat {
            Chat::Edge => String::new(),
            Chat::Server => {
                format!("wss://{MEMBERS}:{}/xmpp-websocket", to_prosody.address().port())
            }
        };
        // Round trips are the same each time; milliseconds are not.
        let loads = if one_way == NEAR { "15" } else { "2" };
        let arguments = [url.as_str(), loads, http, &there, PASSWORD];
        let mut carried = Vec::new();
        let count = async |_: &str| carried.push(distance.carried() + to_prosody.carried());
        let told = story::told(("browser/page-load.mjs", &arguments), &certificate, count);
        let story = Box::pin(told).await;
        let loads = story.iter().filter_map(|line| line.strip_prefix("load: "));
        let loads = loads.zip(carried.chunks(2)).map(|(line, carried)| {
            let mut times = line.split(' ').skip(1).map(|time| time.parse().unwrap());
            let mut next = || times.next().unwrap();
            let (asked, stands, entered) = (next(), next(), next());
            Load { asked, stands, entered, bytes: carried[1] - carried[0] }
        });
        // The first had nothing to resume.
        Self(loads.skip(1).collect())
    }

    /// From the question for a WebSocket to a stream that stands.
    fn round_trips(&self, one_way: Duration) -> u64 {
        let round_trip = u64::try_from(2 * one_way.as_millis()).unwrap();
        // What the machine itself takes is less than half of one, at least once.
        let fastest = self.0.iter().map(|load| load.stands - load.asked).min().unwrap();
        (fastest + round_trip / 2) / round_trip
    }

    /// From the question for a WebSocket to a stream that stands, and to the room; from the begin of the page load to the
    /// stream; and bytes.
    fn medians(&self) -> [u64; 4] {
        let median = |of: fn(&Load) -> u64| {
            let mut all: Vec<u64> = self.0.iter().map(of).collect();
            all.sort_unstable();
            all[all.len() / 2]
        };
        [
            median(|load| load.stands - load.asked),
            median(|load| load.entered - load.asked),
            median(|load| load.stands),
            median(|load| u64::try_from(load.bytes).unwrap()),
        ]
    }
}

fn sites(prosody: &Prosody, address: &str, distance: &Distance, settings: &str) -> String {
    let (upstream, secret) = (prosody.address(), prosody.folder().join("ticket.secret"));
    let pass = format!("upstream = '{upstream}'\nsecret = {{ file = '{}' }}\n", secret.display());
    format!(
        "{settings}[[site]]\nhosts = ['localhost']\norigins = ['https://localhost:{port}']\nbackend = '{address}'\n\
         rooms = 'conference.localhost'\n[site.registered]\ndomain = '{MEMBERS}'\n{pass}\
         [site.guests]\ndomain = '{GUESTS}'\n{pass}\
         [site.session.whois]\nurl = '{address}/chat/whois'\nsecret = '{WHOIS_SECRET}'\ncookies = ['PHPSESSID']\n",
        port = distance.address().port(),
    )
}

const EARLY: &str = "[websocket]\nearly = true\n";
const PASSWORD: &str = "what bob has chosen";
/// One way; far enough that nothing but round trips counts.
const FAR: Duration = Duration::from_millis(300);
const NEAR: Duration = Duration::from_millis(25);
