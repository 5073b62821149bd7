//! The load generator: sessions in numbers, aimed at a gateway, and what they saw.

use std::fs;
use std::io::IsTerminal;
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use clap::Parser;
use load::phase::Crowd;
use load::phase::Outcome;
use load::phase::Phase;
use load::process::Process;
use load::report;
use load::report::Moment;
use load::report::Report;
use load::session::Transport;
use load::sink;
use load::sink::Door;
use load::target::Target;
use load::target::Tickets;
use load::visitors::Visitors;
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio::time::interval;

/// Sign sessions in to a gateway and let them talk; say how long everything took.
///
/// The sessions come first. Then follow the phases, in the order given:
///
///   idle=10s  messages=10s,200B,x1  paced=10s,200B,2000/s  room=10s,200B,5/s,lobby@conference.example.org  storm
#[derive(Debug, Parser)]
#[command(version, verbatim_doc_comment)]
struct Arguments {
    /// The page's origin, as `https://www.example.org`.
    #[arg(required_unless_present = "upstream_sink")]
    url: Option<String>,
    /// What the sessions do, once they are in.
    #[arg(value_name = "PHASE")]
    phases: Vec<Phase>,
    /// The members' XMPP domain, as the page says it.
    #[arg(long, default_value = "localhost")]
    domain: String,
    /// How many sessions.
    #[arg(long, default_value_t = 100)]
    sessions: usize,
    /// How many sign in at a time.
    #[arg(long, default_value_t = 32)]
    at_once: usize,
    /// How they carry XMPP.
    #[arg(long, value_enum, default_value = "websocket")]
    transport: Transport,
    /// How many of them are on one connection, by websocket-http2.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=50))]
    on_one: u8,
    /// Members: the Cookie headers of this file, one a line. Without this and --jwt-secret all are guests.
    #[arg(long, value_name = "FILE", conflicts_with = "jwt_secret")]
    cookies: Option<PathBuf>,
    /// Members load-0, load-1 …: their cookies are signed (HS256) with the secret in this file.
    #[arg(long, value_name = "FILE")]
    jwt_secret: Option<PathBuf>,
    /// The name of that cookie.
    #[arg(long, default_value = "session")]
    jwt_cookie: String,
    /// Who has signed the gateway's certificate, PEM. Default: those that this machine believes.
    #[arg(long, value_name = "FILE")]
    authorities: Option<PathBuf>,
    /// The gateway's process on this machine, whose CPU time and memory are to be measured.
    #[arg(long, value_name = "PID")]
    process: Option<u32>,
    /// The address of this machine to come from: one has some 28,000 ports for each gateway.
    #[arg(long, value_name = "ADDRESS")]
    bind: Option<IpAddr>,
    /// Stand in for the XMPP server at this address: lets everybody in, sends every message back. Without a URL nothing else
    /// is done.
    #[arg(long, value_name = "ADDRESS")]
    upstream_sink: Option<String>,
    /// Where the figures go, as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Where they go as a page with plots.
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
}

#[tokio::main]
async fn main() -> ExitCode {
    match run(Arguments::parse()).await {
        Ok(code) => code,
        Err(error) => {
            eprintln!("vestibule-load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn run(arguments: Arguments) -> Result<ExitCode> {
    if let Some(address) = &arguments.upstream_sink {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("cannot listen at {address}"))?;
        let serving = sink::serve(listener, Door::Client);
        if arguments.url.is_none() {
            println!("A scripted server stands at {address}.");
            serving.await?;
            return Ok(ExitCode::SUCCESS);
        }
        tokio::spawn(serving);
        println!(
            "A scripted server stands at {address}: it lets everybody in and sends every message back. What follows measures the edge alone."
        );
    }
    let url = arguments.url.clone().unwrap_or_default();
    let mut crowd = crowd(&url, &arguments).await?;
    let clock = Instant::now();
    let process = arguments.process.map(|id| Process { id });
    let mut phases = Vec::new();
    let watch = Watch::new(process, &crowd.progress, clock);
    let outcome = watch.over(crowd.connect(arguments.sessions, crowd.at_once)).await?;
    phases.push(watch.told(format!("{} sessions sign in", arguments.sessions), outcome)?);
    for phase in &arguments.phases {
        let watch = Watch::new(process, &crowd.progress, clock);
        let outcome = watch.over(crowd.run(phase)).await?;
        phases.push(watch.told(phase.to_string(), outcome)?);
    }
    let lost: usize = phases.iter().map(|phase| phase.lost).sum();
    let report = Report {
        target: url,
        transport: format!("{:?}", arguments.transport).to_lowercase(),
        sessions: arguments.sessions,
        sink: arguments.upstream_sink.is_some(),
        phases,
    };
    if let Some(file) = &arguments.json {
        fs::write(file, serde_json::to_vec_pretty(&report)?)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    if let Some(file) = &arguments.html {
        fs::write(file, report.html())
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    Ok(if lost == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn crowd(url: &str, arguments: &Arguments) -> Result<Crowd> {
    let authorities = arguments.authorities.as_deref();
    let target = Target::find(url, &arguments.domain, authorities, Tickets::Kept).await?;
    let target = target.with_sockets(arguments.on_one.into());
    let target = match arguments.bind {
        Some(source) => target.coming_from(source).await?,
        None => target,
    };
    let visitors = match (&arguments.cookies, &arguments.jwt_secret) {
        (Some(file), _) => Visitors::read(file)?,
        (None, Some(file)) => {
            let secret =
                fs::read(file).with_context(|| format!("cannot read {}", file.display()))?;
            Visitors::signed(&arguments.jwt_cookie, secret.trim_ascii())
        }
        (None, None) => Visitors::Guests,
    };
    Ok(Crowd {
        target,
        visitors,
        transport: arguments.transport,
        at_once: arguments.at_once.max(1),
        sessions: Vec::new(),
        progress: Arc::new(AtomicU64::new(0)),
    })
}

/// What is seen of a phase while it runs.
struct Watch {
    process: Option<Process>,
    progress: Arc<AtomicU64>,
    clock: Instant,
    before: Option<u64>,
    moments: std::sync::Mutex<Vec<Moment>>,
}

impl Watch {
    fn new(process: Option<Process>, progress: &Arc<AtomicU64>, clock: Instant) -> Self {
        let before = process.and_then(|process| process.cpu().ok());
        Self {
            process,
            progress: Arc::clone(progress),
            clock,
            before,
            moments: std::sync::Mutex::default(),
        }
    }

    /// Runs the phase, and notes now and then how far it is.
    async fn over(&self, phase: impl Future<Output = Result<Outcome>>) -> Result<Outcome> {
        let shown = std::io::stderr().is_terminal();
        let mut beat = interval(EVERY);
        tokio::pin!(phase);
        loop {
            tokio::select! {
                outcome = &mut phase => {
                    self.note();
                    if shown {
                        eprint!("\r\x1b[K");
                    }
                    return outcome;
                }
                _ = beat.tick() => {
                    let moment = self.note();
                    if shown {
                        eprint!("\r\x1b[K{:.1} s: {} done", moment.at, moment.done);
                    }
                }
            }
        }
    }

    fn note(&self) -> Moment {
        let moment = Moment {
            at: self.clock.elapsed().as_secs_f64(),
            done: self.progress.load(Ordering::Relaxed),
            memory: self.process.and_then(|process| process.memory().ok()),
        };
        self.moments.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push(moment);
        moment
    }

    /// The phase as it is reported, which is also printed.
    fn told(self, name: String, outcome: Outcome) -> Result<report::Phase> {
        let after = self.process.map(Process::cpu).transpose()?;
        let (lost, why) = outcome.lost.map_or((0, None), |(lost, why)| (lost, Some(why)));
        let phase = report::Phase {
            name,
            seconds: outcome.lasted.as_secs_f64(),
            lost,
            why,
            sent: outcome.sent,
            latencies: outcome.latencies,
            cpu: after.zip(self.before).map(|(after, before)| after.saturating_sub(before)),
            moments: self.moments.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner),
        };
        println!("{}", phase.text());
        Ok(phase)
    }
}

/// How often a phase is looked at.
const EVERY: Duration = Duration::from_millis(500);
