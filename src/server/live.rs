//! What SIGHUP replaces while requests come in: the sites, and which proxies are believed.

use std::sync::Arc;

use crate::server::forwarded::Proxy;
use crate::site::Site;
use crate::site::Sites;
use crate::site::settings::Checked;

/// What one request is measured by: taken once, so that it is not of two minds.
#[derive(Debug, Default)]
pub struct Live {
    /// The websites.
    pub sites: Sites,
    /// The reverse proxies that are believed.
    pub trusted_proxies: Vec<Checked<Proxy>>,
    /// Sites that are no more, but for sessions that are still there.
    departed: Vec<Arc<Site>>,
}

impl Live {
    /// What holds from the first.
    #[must_use]
    pub fn new(sites: Sites, trusted_proxies: Vec<Checked<Proxy>>) -> Self {
        Self { sites, trusted_proxies, departed: Vec::new() }
    }

    /// What holds from now on; the sites that are no more are kept for their sessions.
    #[must_use]
    pub fn followed_by(&self, next: Self) -> Self {
        let former = self.sites.iter().chain(&self.departed);
        let is_gone =
            |site: &Arc<Site>| site.hosts.iter().any(|host| next.sites.by_host(host).is_none());
        let departed = former.filter(|site| is_gone(site)).take(DEPARTED).cloned().collect();
        Self { departed, ..next }
    }

    /// The site that had this host name until a while ago.
    #[must_use]
    pub fn departed(&self, authority: &str) -> Option<&Arc<Site>> {
        self.departed.iter().find(|site| site.is_reached_at(authority))
    }
}

/// Who removes more sites than this loses the sessions of the first of them.
const DEPARTED: usize = 1000;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::site::tests::sites;

    fn live(hosts: &[&str]) -> Live {
        let guests = "[guests]\ndomain = 'g.example'\nupstream = 'localhost:1'\nsecret = 'a secret of the tests'";
        let texts: Vec<String> =
            hosts.iter().map(|host| format!("hosts = ['{host}']\n{guests}")).collect();
        let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
        Live::new(sites(&texts).unwrap(), Vec::new())
    }

    #[test]
    fn site_that_is_no_more_is_found_among_the_departed_until_it_is_back() {
        let first = live(&["a.example", "b.example"]);
        let second = first.followed_by(live(&["b.example"]));
        let third = second.followed_by(live(&["b.example", "c.example"]));
        let fourth = third.followed_by(live(&["a.example"]));

        assert!(second.sites.by_host("a.example").is_none());
        assert!(second.departed("A.example:443").is_some());
        assert!(third.departed("a.example").is_some());
        assert!(third.departed("b.example").is_none(), "it is there");
        assert!(fourth.departed("a.example").is_none(), "it is back");
        assert!(fourth.departed("b.example").is_some());
    }
}
