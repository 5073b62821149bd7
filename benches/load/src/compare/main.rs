//! Vestibule beside its peers: the same work in interleaved rounds, and the ratios of what it cost.

mod figures;
mod peer;
mod work;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use clap::Parser;
use load::sink;
use load::sink::Door;
use tokio::net::TcpListener;

use crate::figures::Figures;
use crate::peer::Kind;
use crate::peer::Place;
use crate::work::Work;

/// Runs nginx, `HAProxy` and Vestibule on the same work, one after the other and again in the other order, and writes what each
/// cost as a table of ratios with their spread.
///
/// Behind each stands a scripted server that lets everybody in and sends every message back: by its client port for Vestibule,
/// which reads every stanza, and by WebSocket for the others, which pass bytes.
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
    /// Who is compared.
    #[arg(long, value_enum, value_delimiter = ',', default_value = "nginx,haproxy,vestibule")]
    peers: Vec<Kind>,
    /// Where every figure of every round goes, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
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
    let client = serve(Door::Client).await?;
    let websocket = serve(Door::Websocket).await?;
    let place = Place::new(arguments.vestibule, client, websocket)?;
    let work = Work {
        sessions: arguments.sessions,
        lasts: arguments.lasts,
        handshakes: arguments.handshakes,
    };
    let mut figures = Figures::default();
    for round in 0..arguments.rounds {
        let mut peers = arguments.peers.clone();
        if round % 2 == 1 {
            peers.reverse();
        }
        for kind in peers {
            eprintln!("round {} of {}: {kind}", round + 1, arguments.rounds);
            let peer = place.start(kind).await?;
            let seen = work.of(&peer).await;
            peer.stop().await?;
            let seen = seen.with_context(|| format!("{kind} in round {}", round + 1))?;
            figures.add(kind, round, seen);
        }
    }
    println!("{}", figures.table());
    if let Some(file) = arguments.json {
        fs::write(&file, serde_json::to_vec_pretty(&figures)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(())
}

/// The scripted server, at this door; its port.
async fn serve(door: Door) -> Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let port = listener.local_addr()?.port();
    tokio::spawn(sink::serve(listener, door));
    Ok(port)
}
