//! What monitoring is told of sessions and sign-ins, and the log of where visitors are.

use tokio::time::timeout;

use crate::PATIENCE;
use crate::bob;
use crate::bob_by_websocket;
use crate::counted;
use crate::ping;
use crate::proxy;
use crate::support::bosh::Browser;
use crate::support::gateway::JWT_SECRET;
use crate::support::gateway::ORIGIN;
use crate::support::gateway::Proxy;
use crate::support::gateway::session_cookie;
use crate::support::log::Log;
use crate::support::prosody::GUESTS;
use crate::support::prosody::Prosody;
use crate::support::script::Answers;
use crate::support::script::Moment;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::script::Trouble;
use crate::support::script::Whois;
use crate::support::websocket::Socket;

#[tokio::test]
async fn sessions_are_counted_by_who_they_are_for_and_how_their_browsers_are_attached() {
    let prosody = Prosody::start().await;
    let open_to_guests = proxy(&prosody, "").await;
    let closed = Proxy::with(&Proxy::site(&prosody, GUESTS, "without_session = 'refuse'")).await;

    let _sessions = (bob(&open_to_guests).prebind().await, bob_by_websocket(&open_to_guests).await);
    let mut guest = Browser::new(&open_to_guests, None);
    let _guests = (guest.prebind().await, Socket::open(&open_to_guests, None).await);
    let nobody = (Browser::new(&closed, None).begin(1).await, Socket::open(&closed, None).await);

    for (proxy, kinds) in [(&open_to_guests, &["member", "guest"][..]), (&closed, &["nobody"])] {
        for (kind, transport) in kinds.iter().flat_map(|kind| [(kind, "bosh"), (kind, "websocket")])
        {
            let labels = format!("{{kind=\"{kind}\",transport=\"{transport}\"}}");
            counted(proxy, &format!("vestibule_sessions{labels} 1\n")).await;
            counted(proxy, &format!("vestibule_sessions_total{labels} 1\n")).await;
        }
    }
    nobody.1.vanish();
    let gone = "vestibule_sessions{kind=\"nobody\",transport=\"websocket\"} 0\n";
    counted(&closed, gone).await;
}

#[tokio::test]
async fn bytes_of_stanzas_are_counted_in_both_directions_over_both_transports() {
    let prosody = Prosody::start().await;
    let proxy = proxy(&prosody, "").await;
    let mut session = bob(&proxy).prebind().await;
    let mut socket = bob_by_websocket(&proxy).await;
    // It comes back in the answer.
    let id = "i".repeat(5_000);

    session.exchange(&ping(&id), &[&id]).await;
    session.terminate().await;
    socket.send(&ping(&id)).await;
    socket.receive_with(&id).await;
    socket.send("<close xmlns='urn:ietf:params:xml:ns:xmpp-framing'/>").await;

    for transport in ["bosh", "websocket"] {
        let over = format!("vestibule_sessions{{kind=\"member\",transport=\"{transport}\"}} 0\n");
        counted(&proxy, &over).await;
        for direction in ["up", "down"] {
            let labels = format!("{{direction=\"{direction}\",transport=\"{transport}\"}}");
            let bytes = shown(&proxy, &format!("vestibule_stanza_bytes_total{labels}")).await;
            assert!((5_000.0..6_000.0).contains(&bytes), "{labels}: {bytes}");
        }
    }
}

#[tokio::test]
async fn sign_ins_are_counted_with_how_they_ended_and_how_long_they_took() {
    let server = Server::start(Script::Good).await;
    let session = format!("[site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_SECRET}'\n");
    let short = "[upstream]\nhold = '1s'\nsign_in = '500ms'\n";
    let proxy = before(&server, short, &session).await;
    let up = format!("vestibule_upstream_up{{upstream=\"{}\"}}", server.address());
    let refuses = "<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>";

    for (script, outcome, is_up) in [
        (Script::Good, "done", 1.0),
        (Script::Until(Moment::Accepted, Trouble::Hangs), "late", 0.0),
        (Script::Until(Moment::Success, Trouble::Says(refuses)), "refused", 1.0),
        (Script::Until(Moment::Header, Trouble::BreaksOff), "broken", 0.0),
    ] {
        server.now(script);
        let (_, begun) = bob(&proxy).begin(1).await;

        assert_eq!(begun.status == 200, outcome == "done", "{begun:?}");
        assert_counted(&proxy, outcome).await;
        assert_eq!(shown(&proxy, &up).await.to_bits(), f64::to_bits(is_up), "{outcome}");
    }
    assert_eq!(Browser::new(&proxy, None).begin(1).await.1.status, 503);
    assert_counted(&proxy, "unreachable").await;
    counted(&proxy, &format!("vestibule_upstream_up{{upstream=\"{NOWHERE}\"}} 0\n")).await;
    let passes = shown(&proxy, "vestibule_sign_ins_total{outcome=\"refused\"}").await;
    counted(&proxy, &format!("vestibule_passes_refused_total {passes}\n")).await;
    counted(&proxy, "vestibule_refusals_total{reason=\"unavailable\"} 4\n").await;
}

#[tokio::test]
async fn browsers_that_are_held_are_shown_while_the_site_or_the_server_is_waited_for() {
    let server = Server::start(Script::Until(Moment::Accepted, Trouble::Hangs)).await;
    let whois = Whois::start(Answers::Hangs).await;
    let session = format!(
        "[site.session.whois]\nurl = 'http://{}/'\nsecret = 'a secret of the tests'\ncookies = ['PHPSESSID']\n",
        whois.address()
    );
    let short = "[upstream]\nhold = '30s'\nsign_in = '100ms'\n[whois]\ntimeout = '100ms'\n";
    let proxy = before(&server, short, &session).await;
    let held = tokio::spawn({
        let mut browser = Browser::new(&proxy, Some("PHPSESSID=of-the-tests".to_owned()));
        async move { browser.begin(1).await }
    });

    whois.was_asked(2).await;
    counted(&proxy, "vestibule_held 1\n").await;
    whois.now(Answers::Json("{\"authenticated\": true, \"username\": \"bob\"}"));
    server.has_seen(|seen| seen.connections > 1).await;
    counted(&proxy, "vestibule_held 1\n").await;
    server.now(Script::Good);
    let (_, begun) = timeout(PATIENCE, held).await.unwrap().unwrap();

    assert_eq!(begun.status, 200, "{begun:?}");
    counted(&proxy, "vestibule_held 0\n").await;
}

#[tokio::test]
async fn line_of_a_session_says_who_and_from_where_as_a_believed_proxy_has_it() {
    let prosody = Prosody::start().await;
    for (setting, of_ipv4, of_ipv6) in [
        ("full", "192.0.2.7", "2001:db8:1:2::7"),
        ("truncated", "192.0.2.0/24", "2001:db8:1::/48"),
        ("none", "-", "-"),
    ] {
        let log = Log::capture();
        let proxy = proxy(&prosody, &format!("[log]\naddresses = '{setting}'")).await;
        let cookie = session_cookie("bob");
        let at = [("origin", ORIGIN), ("cookie", &cookie), ("x-forwarded-for", "2001:db8:1:2::7")];

        bob(&proxy).forwarded_for("192.0.2.7").prebind().await.terminate().await;
        Socket::try_open(&proxy, &at).await.unwrap().vanish();

        for (transport, address) in [("bosh", of_ipv4), ("websocket", of_ipv6)] {
            let begins = format!("transport=\"{transport}\" address={address} reason=");
            let said = async {
                while !log.text().contains(&begins) {
                    tokio::task::yield_now().await;
                }
            };
            assert!(timeout(PATIENCE, said).await.is_ok(), "no {begins} in {}", log.text());
        }
        let text = log.text();
        let lines = text.lines().filter(|line| line.contains("session ended"));
        assert_eq!(lines.clone().count(), 2, "{text}");
        assert!(lines.clone().all(|line| line.contains("visitor=\"bob@xmpp.localhost")), "{text}");
        let is_whole = |line: &str| line.contains("192.0.2.7") || line.contains("1:2::7");
        assert_eq!(lines.filter(|line| is_whole(line)).count() > 0, setting == "full", "{text}");
    }
}

/// A site whose members are at a scripted server, and whose guests are nowhere.
pub(crate) async fn before(server: &Server, settings: &str, session: &str) -> Proxy {
    let at = server.address();
    Proxy::with(&format!(
        "{settings}[[site]]\nhosts = ['localhost']\n\
         [site.registered]\ndomain = 'xmpp.localhost'\nupstream = '{at}'\nsecret = 'a secret of the tests'\n\
         [site.guests]\ndomain = 'guest.localhost'\nupstream = '{NOWHERE}'\nsecret = 'a secret of the tests'\n\
         {session}"
    ))
    .await
}

/// What the sample of this name and labels shows.
async fn shown(proxy: &Proxy, name: &str) -> f64 {
    let text = proxy.metrics().await;
    let sample = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
    assert!(sample.is_some(), "no {name} in {text}");
    sample.unwrap().parse().unwrap()
}

/// There were sign-ins that ended so, and each has its duration.
async fn assert_counted(proxy: &Proxy, outcome: &str) {
    let labels = format!("{{outcome=\"{outcome}\"}}");
    let sign_ins = shown(proxy, &format!("vestibule_sign_ins_total{labels}")).await;
    let duration = "vestibule_sign_in_duration_seconds";
    let timed = shown(proxy, &format!("{duration}_count{labels}")).await;
    let seconds = shown(proxy, &format!("{duration}_sum{labels}")).await;
    assert!(sign_ins >= 1.0 && seconds > 0.0, "{outcome}: {sign_ins} in {seconds} s");
    assert_eq!(timed.to_bits(), sign_ins.to_bits(), "{outcome}");
    let at_least = if outcome == "late" { 0.4 } else { 0.0 };
    assert!(seconds >= at_least * sign_ins, "{outcome}: {sign_ins} in {seconds} s");
}

/// Where nobody listens.
const NOWHERE: &str = "127.0.0.1:1";
