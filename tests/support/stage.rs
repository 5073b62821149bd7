//! The demo site before the program that can be killed, and what stands between them and a visitor.

use tokio::process::Child;

use crate::support::edge::Edge;
use crate::support::forwarder::Forwarder;
use crate::support::forwarder::Way;
use crate::support::prosody::ANONYMOUS;
use crate::support::prosody::MEMBERS;
use crate::support::prosody::free_address;
use crate::support::site;
use crate::support::site::Server;
use crate::support::site::WHOIS_SECRET;
use crate::support::story;

/// A site whose stories say what becomes of the network and of the program.
#[derive(Debug)]
pub(crate) struct Stage {
    server: Server,
    network: Forwarder,
    edge: Edge,
    _pages: Child,
}

impl Stage {
    /// Before this server, with guests of this domain and settings of the edge's.
    pub(crate) async fn before(server: Server, guests: &str, settings: &str) -> Self {
        let pass = server.pass();
        let pass_of_guests = if guests == ANONYMOUS { "pass = 'anonymous'" } else { &pass };
        let (pages, address) = site::serve(guests).await;
        let at = free_address();
        let network = Forwarder::to(at).await;
        let sites = format!(
            "{settings}[[site]]\nhosts = ['localhost']\norigins = ['https://localhost:{port}']\nbackend = '{address}'\n\
             rooms = 'conference.localhost'\n\
             [site.registered]\ndomain = '{MEMBERS}'\nupstream = '{upstream}'\n{pass}\n\
             [site.guests]\ndomain = '{guests}'\nupstream = '{upstream}'\n{pass_of_guests}\n\
             [site.session.whois]\nurl = '{address}/chat/whois'\nsecret = '{WHOIS_SECRET}'\ncookies = ['PHPSESSID']\n",
            port = network.address().port(),
            upstream = server.address(),
        );
        let edge = Box::pin(Edge::start_at(at, &sites)).await;
        Self { server, network, edge, _pages: pages }
    }

    /// Where browsers find it.
    pub(crate) fn url(&self) -> String {
        format!("https://localhost:{}", self.network.address().port())
    }

    /// Runs a program under `tests/`, with this address and then a peer's: where the server is, and what it is shown for him.
    pub(crate) async fn seen_by(&mut self, script: &str, arguments: &[&str]) -> Vec<String> {
        let (url, server) = (self.url(), self.server.address().to_string());
        let password = self.server.password_of("peer");
        let arguments = [&[url.as_str(), &server, &password], arguments].concat();
        let certificate = self.edge.certificate();
        story::told((script, &arguments), &certificate, async |wish| self.grant(wish).await).await
    }

    /// Does what a story asks for.
    async fn grant(&mut self, wish: &str) {
        match wish {
            "the network breaks" => {
                self.network.now(Way::Cut);
                self.network.now(Way::Open);
            }
            "the network changes" => self.network.changes(),
            "the edge is killed" => Box::pin(self.edge.is_killed()).await,
            unknown => panic!("nobody can grant {unknown:?}"),
        }
    }
}
