//! What must agree across the tables of `proxy.toml`, and what is allowed but hardly meant.

use std::net::IpAddr;
use std::net::SocketAddr;
use std::time::Duration;

use humantime_serde::re::humantime::format_duration;

use crate::config::Settings;
use crate::server::listen::Address;
use crate::server::listen::Plain;
use crate::site::settings::Checked;

mod sites;

/// Something to be told, and the key that it is about, with the places of tables that there are several of: `site[1].hosts`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Finding {
    pub(super) key: String,
    pub(super) message: String,
}

/// What is found, of one kind.
#[derive(Debug, Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn add(&mut self, wrong: bool, key: impl Into<String>, message: impl FnOnce() -> String) {
        if wrong {
            self.0.push(Finding { key: key.into(), message: message() });
        }
    }
}

/// What contradicts what.
pub(super) fn contradictions(settings: &Settings) -> Vec<Finding> {
    let mut found = Findings::default();
    let Settings { bosh, upstream, whois, listen, .. } = settings;
    let Settings { internal, xml, stream_management, .. } = settings;
    found.add(listen.https.is_empty() && listen.http.is_empty(), "listen", || {
        "expected an address in https or http: nobody could come in".to_owned()
    });
    for (key, limit) in [("xml.depth", xml.depth), ("xml.attributes", xml.attributes)] {
        found.add(!(8..=1024).contains(&limit), key, || "expected 8 to 1024".to_owned());
    }
    let own = settings.addresses();
    for (place, (key, address)) in own.iter().enumerate() {
        let before = own.iter().take(place).any(|(_, other)| other == address);
        found.add(before && address.port() != 0, *key, || {
            format!("{address} is listened on already")
        });
    }
    found.add(listen.asks_in_vain(), "listen.proxy_protocol", || {
        "needs trusted_proxies, or a Unix socket in http: nobody else is believed".to_owned()
    });
    found.add(internal.lacks_a_secret(), "internal.listen", || {
        "needs a secret where it does not listen on loopback or a Unix socket".to_owned()
    });
    found.add(bosh.wait > STROPHE, "bosh.wait", || {
        format!("expected at most {}: Strophe gives up after 64s", format_duration(STROPHE))
    });
    found.add(bosh.polling > POLLING, "bosh.polling", || {
        format!(
            "expected at most {}: a browser that polls would hear of nothing",
            format_duration(POLLING)
        )
    });
    let least = bosh.queue.as_u64().saturating_add(upstream.stanza.as_u64());
    found.add(bosh.queue_limit.as_u64() < least, "bosh.queue_limit", || {
        format!(
            "expected at least `queue` and `stanza` of [upstream] together, {} + {}: else one large stanza ends a session",
            bosh.queue, upstream.stanza
        )
    });
    let untaken = stream_management.untaken.get();
    found.add(!(2..=400).contains(&untaken), "stream_management.untaken", || {
        "expected 2 to 400: Prosody gives a stream up that has more than 500".to_owned()
    });
    found.add(upstream.sign_ins > upstream.waiting, "upstream.sign_ins", || {
        format!(
            "expected at most `waiting`, {}: it counts those under way as well",
            upstream.waiting
        )
    });
    found.add(whois.questions > whois.waiting, "whois.questions", || {
        format!("expected at most `waiting`, {}: it counts those under way as well", whois.waiting)
    });
    found.add(whois.fresh > whois.keep, "whois.fresh", || {
        let keep = format_duration(whois.keep);
        format!("expected at most `keep`, {keep}: an older answer is not kept")
    });
    sites::contradictions(settings, &mut found);
    found.0
}

/// What an administrator may want, but hardly does.
pub(super) fn doubts(settings: &Settings) -> Vec<Finding> {
    let mut found = Findings::default();
    let Settings { bosh, upstream, whois, prebind, ticket, guests, listen, .. } = settings;
    found.add(ticket.lifetime > MODULE, "ticket.lifetime", || {
        let module = format_duration(MODULE);
        format!("Prosody's module refuses such tickets, unless its vestibule_max_lifetime is more than {module}")
    });
    found.add(upstream.hold < upstream.connect, "upstream.hold", || {
        let connect = format_duration(upstream.connect);
        format!("shorter than `connect`, {connect}: a server that does not answer is tried once")
    });
    found.add(prebind.hold < upstream.hold, "prebind.hold", || {
        let hold = format_duration(upstream.hold);
        format!("shorter than `hold` of [upstream], {hold}, though Converse.js asks for a prebind only once")
    });
    found.add(bosh.pause < bosh.inactivity, "bosh.pause", || {
        let inactivity = format_duration(bosh.inactivity);
        format!("shorter than `inactivity`, {inactivity}: a pause would only end a session sooner")
    });
    found.add(guests.per_address.get() > bosh.sessions, "guests.per_address", || {
        format!("more than `sessions` of [bosh], {}, which are reached before", bosh.sessions)
    });
    found.add(whois.body > whois.memory, "whois.body", || {
        format!(
            "more than `memory`, {}: the largest answers are asked for again each time",
            whois.memory
        )
    });
    let plain = listen.http.iter().any(|Checked(plain)| matches!(plain, Plain::Loopback(_)));
    found.add(plain && listen.trusted_proxies.is_empty(), "listen.http", || {
        "no trusted_proxies: every visitor seems to be on this machine, and to come without TLS"
            .to_owned()
    });
    sites::doubts(settings, &mut found);
    found.0
}

impl Settings {
    /// Whether a connection to this host, a name or an address, and port ends at one of our listeners.
    fn listens_at(&self, host: &str, port: u16) -> bool {
        let host = host.trim_matches(['[', ']']);
        let asked: Vec<IpAddr> = if host == "localhost" {
            vec![[127, 0, 0, 1].into(), std::net::Ipv6Addr::LOCALHOST.into()]
        } else {
            host.parse().ok().into_iter().collect()
        };
        self.addresses().iter().any(|(_, own)| {
            let is_own = |ip: &IpAddr| {
                let anywhere = ip.is_loopback() || ip.is_unspecified();
                *ip == own.ip() || own.ip().is_unspecified() && anywhere
            };
            own.port() == port && asked.iter().any(is_own)
        })
    }

    /// The addresses that we listen on, by key.
    fn addresses(&self) -> Vec<(&'static str, SocketAddr)> {
        let address = |plain: &Plain| match plain {
            Plain::Loopback(address) => Some(*address),
            Plain::Unix(_) => None,
        };
        let https = self.listen.https.iter().map(|address| ("listen.https", *address));
        let http = self.listen.http.iter().filter_map(|Checked(plain)| address(plain));
        let internal = self.internal.listen.iter().filter_map(|Checked(internal)| match internal {
            Address::Plain(plain) => address(plain),
            Address::Https(address) => Some(*address),
        });
        https
            .chain(http.map(|address| ("listen.http", address)))
            .chain(internal.map(|address| ("internal.listen", address)))
            .collect()
    }

    /// Whether this is the host and port of one of our own sites.
    fn serves(&self, host: &str, port: u16) -> bool {
        let listens = self.listen.https.iter().any(|own| own.port() == port);
        let mut hosts = self.sites.iter().flat_map(|site| &site.hosts);
        listens && hosts.any(|Checked(own)| own.0.eq_ignore_ascii_case(host))
    }
}

/// The keys that decide with `key` whether it is right: the file may be silent about that one, and not about these.
pub(super) fn measured_by(key: &str) -> &'static [&'static str] {
    match key {
        "bosh.pause" => &["bosh.inactivity"],
        "bosh.queue_limit" => &["upstream.stanza", "bosh.queue"],
        "guests.per_address" => &["bosh.sessions"],
        "prebind.hold" => &["upstream.hold"],
        "upstream.hold" => &["upstream.connect"],
        "upstream.sign_ins" => &["upstream.waiting"],
        "whois.body" => &["whois.memory"],
        "whois.fresh" => &["whois.keep"],
        "whois.questions" => &["whois.waiting"],
        _ => &[],
    }
}

/// Strophe's own clock runs for 64 s.
const STROPHE: Duration = Duration::from_secs(60);
const POLLING: Duration = Duration::from_secs(10);
/// `vestibule_max_lifetime` where it is not set.
const MODULE: Duration = Duration::from_secs(60);
