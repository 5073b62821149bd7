//! Vestibule beside its peers: the same work in interleaved rounds, and the ratios of what it cost.

mod asker;
mod bosh;
mod chain;
mod classical;
mod figures;
mod http2;
mod measure;
mod peer;
mod prebind;
mod prosody;
mod table;
mod work;

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use clap::Parser;
use clap::ValueEnum;
use load::session::Transport;
use load::sink;
use load::sink::Door;
use tokio::net::TcpListener;

use crate::bosh::Bosh;
use crate::chain::Chain;
use crate::http2::Tunnels;
use crate::peer::Behind;
use crate::peer::Kind;
use crate::peer::Place;
use crate::prebind::Prebind;
use crate::table::Table;
use crate::table::rounds;
use crate::work::Work;

/// Runs nginx, `HAProxy` and Vestibule on the same work, one after the other and again in the other order, and writes what each
/// cost as a table of ratios with their spread.
///
/// Behind each stands a scripted server that lets everybody in and sends every message back: by its client port for Vestibule,
/// which reads every stanza, and by WebSocket and BOSH for the others, which pass bytes. Three tables have Prosody behind.
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment)]
struct Arguments {
    /// The program that is compared.
    #[arg(long, value_name = "FILE")]
    vestibule: PathBuf,
    /// How many rounds.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
    /// How many sessions.
    #[arg(long, default_value_t = 1000)]
    sessions: usize,
    /// How long each phase of messages lasts.
    #[arg(long, default_value = "2s", value_parser = humantime::parse_duration)]
    lasts: Duration,
    /// How many TLS handshakes of each kind.
    #[arg(long, default_value_t = 500)]
    handshakes: usize,
    /// How many sessions over BOSH.
    #[arg(long, default_value_t = 200)]
    bosh_sessions: usize,
    /// How many sessions where Prosody is behind.
    #[arg(long, default_value_t = 200)]
    chain_sessions: usize,
    /// How many sessions are made before a page asks, one after the other and once more several at a time.
    #[arg(long, default_value_t = 500)]
    prebinds: usize,
    /// Which tables.
    #[arg(
        long,
        value_enum,
        value_delimiter = ',',
        default_value = "websocket,websocket-http2,bosh,prebind,chain,bosh-chain"
    )]
    tables: Vec<Which>,
    /// Who is compared over WebSocket and BOSH.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "nginx,haproxy,vestibule")]
    peers: Vec<Kind>,
    /// Where every figure of every round goes, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// A table.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Which {
    /// Sessions over WebSocket: what they cost the gateway alone.
    Websocket,
    /// The same over HTTP/2, which nginx does not know.
    WebsocketHttp2,
    /// Sessions over BOSH: the same.
    Bosh,
    /// Sessions that are there before a page asks: how long that takes, and what it costs.
    Prebind,
    /// Gateway and Prosody together, over WebSocket.
    Chain,
    /// The same over BOSH.
    BoshChain,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vestibule-compare: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<()> {
    let scripted = Behind {
        client: serve(Door::Client).await?,
        websocket: serve(Door::Websocket).await?,
        bosh: serve(Door::Bosh).await?,
    };
    let place = Place::new(arguments.vestibule.clone())?;
    let mut kept = BTreeMap::new();
    for table in &arguments.tables {
        let (text, figures) = table.made(&arguments, &place, scripted).await?;
        println!("{text}\n");
        kept.insert(table.name(), figures);
        if let Some(file) = &arguments.json {
            // After each, so that what came before a failure is kept.
            fs::write(file, serde_json::to_vec_pretty(&kept)?)
                .with_context(|| format!("cannot write {}", file.display()))?;
        }
    }
    Ok(())
}

impl Which {
    /// The table as text, and every figure of it.
    async fn made(
        self,
        arguments: &Arguments,
        place: &Place,
        behind: Behind,
    ) -> Result<(String, serde_json::Value)> {
        let (peers, lasts) = (arguments.peers.clone(), arguments.lasts);
        match self {
            Self::Websocket => {
                let (sessions, handshakes) = (arguments.sessions, arguments.handshakes);
                self.of(&Work { place, behind, peers, sessions, lasts, handshakes }, arguments)
                    .await
            }
            Self::WebsocketHttp2 => {
                let sessions = arguments.sessions;
                self.of(&Tunnels { place, behind, sessions, lasts }, arguments).await
            }
            Self::Bosh => {
                let sessions = arguments.bosh_sessions;
                self.of(&Bosh { place, behind, peers, sessions, lasts }, arguments).await
            }
            Self::Prebind => {
                let number = arguments.prebinds;
                self.of(&Prebind { place, scripted: behind, number }, arguments).await
            }
            Self::Chain | Self::BoshChain => {
                let sessions = arguments.chain_sessions;
                let transport = match self {
                    Self::BoshChain => Transport::Bosh,
                    _ => Transport::Websocket,
                };
                self.of(&Chain { place, transport, sessions, lasts }, arguments).await
            }
        }
    }

    async fn of<T: Table>(
        self,
        table: &T,
        arguments: &Arguments,
    ) -> Result<(String, serde_json::Value)> {
        let figures = rounds(self.name(), table, arguments.rounds).await?;
        Ok((figures.table(), serde_json::to_value(&figures)?))
    }

    fn name(self) -> &'static str {
        match self {
            Self::Websocket => "websocket",
            Self::WebsocketHttp2 => "websocket-http2",
            Self::Bosh => "bosh",
            Self::Prebind => "prebind",
            Self::Chain => "chain",
            Self::BoshChain => "bosh-chain",
        }
    }
}

/// The scripted server, at this door; its port.
async fn serve(door: Door) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(sink::serve(listener, door));
    Ok(port)
}
