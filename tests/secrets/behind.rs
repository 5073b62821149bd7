//! What stands behind the program: real servers, with TLS and without, and scripted ones.

use std::net::SocketAddr;

use crate::JWT_KEY;
use crate::QUERY;
use crate::WHOIS_SECRET;
use crate::signer::Signer;
use crate::support::authority::Age;
use crate::support::authority::Authority;
use crate::support::prosody::MEMBERS;
use crate::support::prosody::Prosody;
use crate::support::prosody::free_address;
use crate::support::script::Answers;
use crate::support::script::Moment;
use crate::support::script::Script;
use crate::support::script::Server;
use crate::support::script::Trouble;
use crate::support::script::Whois;

/// All of it.
pub(crate) struct Behind {
    pub(crate) prosody: Prosody,
    secure: Prosody,
    /// Where that one speaks TLS from the first byte.
    direct: SocketAddr,
    authority: Authority,
    pub(crate) refusing: Server,
    pub(crate) whois: Whois,
    pub(crate) keys: Whois,
}

impl Behind {
    pub(crate) async fn start() -> Self {
        let (authority, direct) = (Authority::new(), free_address());
        let secure = authority.prosody(MEMBERS, Age::Good, direct.port());
        Self {
            prosody: Prosody::start().await,
            secure: Prosody::start_with(&secure).await,
            direct,
            authority,
            refusing: Server::start(REFUSES).await,
            whois: Whois::start(Answers::Json(IS_WENDY)).await,
            keys: Whois::start(Answers::Hangs).await,
        }
    }

    /// A site publishes the keys of these from now on.
    pub(crate) fn publishes(&self, signers: &[Signer]) {
        let keys: Vec<_> = signers.iter().map(Signer::jwk).collect();
        let keys = serde_json::json!({ "keys": keys }).to_string();
        self.keys.now(Answers::Json(keys.leak()));
    }

    /// Its sites, as proxy.toml has them.
    pub(crate) fn sites(&self) -> String {
        let secret = self.prosody.folder().join("ticket.secret");
        let ticket = format!("secret = {{ file = '{}' }}", secret.display());
        let signed = format!("[site.session.jwt]\ncookie = 'session'\nsecret = '{JWT_KEY}'\n");
        let published = format!(
            "[site.session.jwt]\ncookie = 'session'\njwks = 'http://{}/keys?{QUERY}'\n",
            self.keys.address()
        );
        let asked = format!(
            "[site.session.whois]\nurl = 'http://{}/'\nsecret = '{WHOIS_SECRET}'\ncookies = ['PHPSESSID']\n",
            self.whois.address()
        );
        let authority = self.authority.file();
        let secure = |host: &str, server: SocketAddr, security: &str| {
            format!(
                "[[site]]\nhosts = ['{host}']\n[site.registered]\ndomain = '{MEMBERS}'\nupstream = '{server}'\n\
                 security = '{security}'\nauthority = '{}'\n{ticket}\n{signed}",
                authority.display()
            )
        };
        let (real, bad) = (self.prosody.address(), self.refusing.address());
        let tickets = (ticket.as_str(), "guest.localhost", ticket.as_str());
        let anonymous = (ticket.as_str(), "anon.localhost", "pass = 'anonymous'");
        [
            site("localhost", real, tickets, &signed),
            site("anonymous.localhost", real, anonymous, &signed),
            site("asked.localhost", real, tickets, &asked),
            site("published.localhost", real, tickets, &published),
            site("refused.localhost", bad, tickets, &signed),
            secure("starttls.localhost", self.secure.address(), "starttls"),
            secure("direct.localhost", self.direct, "tls"),
        ]
        .concat()
    }
}

fn site(
    host: &str,
    server: std::net::SocketAddr,
    (pass, guests, guests_pass): (&str, &str, &str),
    session: &str,
) -> String {
    format!(
        "[[site]]\nhosts = ['{host}']\n[site.registered]\ndomain = 'xmpp.localhost'\nupstream = '{server}'\n{pass}\n\
         [site.guests]\ndomain = '{guests}'\nupstream = '{server}'\n{guests_pass}\n{session}"
    )
}

const REFUSES: Script = Script::Until(
    Moment::Success,
    Trouble::Says("<failure xmlns='urn:ietf:params:xml:ns:xmpp-sasl'><not-authorized/></failure>"),
);

const IS_WENDY: &str = "{\"authenticated\": true, \"username\": \"wendy\"}";
