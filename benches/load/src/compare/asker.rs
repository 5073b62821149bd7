//! Who asks for sessions, and keeps them: a page, or a client of the client port.

use std::ops::Range;
use std::sync::Arc;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use load::client::Stream;
use load::http::Connection;
use load::latency::Latencies;
use load::target::Target;
use load::target::Tickets;
use load::visitors::Visitors;
use tokio::time::Instant;

use crate::peer::Peer;
use crate::peer::SECRET;

/// One who asks, and what he has.
pub(crate) struct Asker {
    visitors: Visitors,
    way: Way,
}

enum Way {
    /// The site's own, over a connection that is there already.
    Page(Box<Connection>),
    /// Each session is a connection.
    Bare { server: Target, kept: Vec<Stream> },
}

impl Asker {
    /// One who asks the server at its client port.
    pub(crate) fn bare(server: &Target) -> Self {
        let way = Way::Bare { server: server.clone(), kept: Vec::new() };
        Self { visitors: Visitors::ticketed(SECRET.as_bytes()), way }
    }

    /// One who asks a gateway by `/prebind`.
    pub(crate) async fn page(peer: &Peer) -> Result<Self> {
        let target = peer.target(Tickets::Kept).await?;
        let connection = Connection::open(&target, None).await?;
        Ok(Self { visitors: peer.visitors.clone(), way: Way::Page(Box::new(connection)) })
    }

    /// Asks for a session for each of these, one after the other; whoever is asked keeps them as long as the asker is kept.
    pub(crate) async fn ask(
        mut self,
        numbers: Range<usize>,
        latencies: Arc<Latencies>,
    ) -> Result<Self> {
        let mut samples = latencies.samples();
        for number in numbers {
            match &mut self.way {
                Way::Page(connection) => {
                    let cookie = self.visitors.cookie(number)?.context("members have a cookie")?;
                    connection.show(&cookie);
                    let asked = Instant::now();
                    let answer = connection.get("/prebind").await?;
                    samples.add(asked.elapsed());
                    ensure!(answer.body.contains("\"sid\""), "answered {:?}", answer.body);
                }
                Way::Bare { server, kept } => {
                    let asked = Instant::now();
                    // The ticket is part of the work: Vestibule makes one too.
                    let auth = self.visitors.auth(number, &server.domain)?;
                    let (stream, _) =
                        Stream::sign_in(server.address, &server.domain, &auth).await?;
                    samples.add(asked.elapsed());
                    kept.push(stream);
                }
            }
        }
        drop(samples);
        Ok(self)
    }
}
