//! Hosts and origins: what a browser would send is read as the browser means it, and one host names one site in every case.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use url::Url;

use vestibule::site::Sites;
use vestibule::site::page::Origin;

static SITES: LazyLock<Sites> = LazyLock::new(|| {
    let site = |hosts: &str| {
        let text = format!(
            "hosts = [{hosts}]
             [guests]
             domain = 'guest.example.org'
             upstream = '127.0.0.1:5222'
             secret = 'a secret we share'"
        );
        toml::from_str(&text).expect("settings of a site")
    };
    let sites = vec![site("'a.example', 'b.a.example'"), site("'example', 'localhost'")];
    Sites::new(sites, &vestibule::file::read).expect("two sites")
});

/// An origin is what it says it is, and says the same again.
fn holds_itself(origin: &Origin) {
    let shown = origin.to_string();
    assert_eq!(shown.parse().as_ref(), Ok(origin));
    assert_eq!(Origin::of_url(&format!("{shown}/b?c=https://d.example#e")).as_ref(), Ok(origin));
    assert_eq!(origin.host(), origin.host().to_lowercase());
    assert!(!origin.host().contains(['/', '@', '?', '#', '\\', ' ', '%']), "{shown}");
    let websocket = origin.for_websocket();
    assert_eq!(websocket.replacen("ws", "http", 1), shown);
}

fuzz_target!(|text: &str| {
    if let Ok(origin) = text.parse::<Origin>() {
        holds_itself(&origin);
        assert_eq!(Origin::of_url(text).as_ref(), Ok(&origin));
    }
    let ours = Origin::of_url(text);
    if let Ok(origin) = &ours {
        holds_itself(origin);
    }
    // A Referer as a browser writes it: what the URL standard makes of it is the text itself.
    if let Ok(url) = Url::parse(text)
        && url.as_str() == text
        && let Ok(origin) = ours
    {
        assert_eq!(origin.to_string(), url.origin().ascii_serialization(), "{text}");
    }

    if let Some(site) = SITES.by_host(text) {
        let lower = text.to_ascii_lowercase();
        let found = site.hosts.iter().any(|host| {
            let rest = lower.strip_prefix(host.as_str());
            // The final dot of a name, and a port.
            let rest = rest.map(|rest| rest.strip_prefix('.').unwrap_or(rest));
            let port = rest.map(|rest| rest.strip_prefix(':').unwrap_or(rest));
            rest.is_some_and(str::is_empty)
                || port != rest
                    && port.is_some_and(|port| {
                        !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit())
                    })
        });
        assert!(found, "{text} is a host of {:?}", site.hosts);
    }
});
