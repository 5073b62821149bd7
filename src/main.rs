//! The command line: arguments, `proxy.toml`, logging, run until a signal, exit code.

use std::io;
use std::io::IsTerminal;
use std::io::Write;
use std::path::Path;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use clap::Subcommand;
use tokio::signal::unix::SignalKind;
use tokio::signal::unix::signal;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::reload;
use vestibule::config::Config;
use vestibule::config::log::Format;
use vestibule::config::log::Level;
use vestibule::config::log::Log;
use vestibule::gateway::Gateway;
use vestibule::gateway::reload::UseLog;

/// The edge between the web and an XMPP server: a visitor of a site is already signed in to its chat.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve until SIGTERM or ctrl-c; SIGHUP reads the configuration again.
    Run {
        /// The configuration.
        #[arg(short, long, value_name = "FILE", default_value = "proxy.toml")]
        config: PathBuf,
    },
    /// Say what is wrong with the configuration, by file, line and key; exit code 78 if anything is.
    Check {
        /// The configuration.
        #[arg(short, long, value_name = "FILE", default_value = "proxy.toml")]
        config: PathBuf,
    },
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config } => run(&config),
        Command::Check { config } => check(&config),
    }
}

fn check(path: &Path) -> ExitCode {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(problems) => {
            complain(&problems);
            return EX_CONFIG.into();
        }
    };
    for warning in &config.warnings {
        complain(&format!("warning: {warning}"));
    }
    let warnings = match config.warnings.len() {
        0 => "",
        1 => ", but for one warning",
        _ => ", but for the warnings",
    };
    say(&format!("{} is good: {}{warnings}", path.display(), count(config.sites.iter().count())));
    ExitCode::SUCCESS
}

fn run(path: &Path) -> ExitCode {
    let config = match Config::load(path) {
        Ok(config) => config,
        Err(problems) => {
            complain(&problems);
            return EX_CONFIG.into();
        }
    };
    if config.sites.is_empty() {
        complain(&format!("{} has no site yet. {HOW_TO_WRITE_A_SITE}", path.display()));
        return EX_CONFIG.into();
    }
    let log = start_log(&config.settings.log);
    for warning in &config.warnings {
        tracing::warn!(%warning, "the configuration may not be what is meant");
    }
    // Each session has two files open, and Debian lets a process begin with 1024.
    if let Err(error) = rlimit::increase_nofile_limit(u64::MAX) {
        tracing::warn!(%error, "the limit of open files stays as it is");
    }
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            complain(&format!("the runtime does not start: {error}"));
            return ExitCode::FAILURE;
        }
    };
    let code = runtime.block_on(serve(config, path, log));
    // A name that is still being looked up does not keep the program.
    runtime.shutdown_timeout(Duration::from_secs(1));
    code
}

async fn serve(config: Config, path: &Path, log: Arc<UseLog>) -> ExitCode {
    let (Ok(mut terminate), Ok(mut interrupt), Ok(mut hang_up)) = (
        signal(SignalKind::terminate()),
        signal(SignalKind::interrupt()),
        signal(SignalKind::hangup()),
    ) else {
        complain(&"signals cannot be awaited");
        return ExitCode::FAILURE;
    };
    let gateway = match Gateway::bind(config).await {
        Ok(gateway) => gateway,
        Err(error) => {
            complain(&error.with_causes());
            return EX_CONFIG.into();
        }
    };
    let reload = gateway.reload();
    let reloading = async {
        while hang_up.recv().await.is_some() {
            reload.reload(path, log.clone()).await;
        }
        // No more signals of this kind: the others still end it.
        std::future::pending::<()>().await;
    };
    let told = async {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
            () = reloading => {}
        }
    };
    gateway.run(told).await;
    ExitCode::SUCCESS
}

/// Events go to standard error; `RUST_LOG`, where it is set, says which instead of `level`. What comes back sets another level.
fn start_log(log: &Log) -> Arc<UseLog> {
    let told = EnvFilter::try_from_default_env().ok();
    let fixed = told.is_some();
    let filter = told.unwrap_or_else(|| filter_of(log.level));
    let events = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    match log.format {
        Format::Text => {
            let events = events.with_ansi(io::stderr().is_terminal()).with_filter_reloading();
            let handle = events.reload_handle();
            events.init();
            Arc::new(move |log| set_level(fixed, || handle.reload(filter_of(log.level))))
        }
        Format::Json => {
            let events = events.json().with_filter_reloading();
            let handle = events.reload_handle();
            events.init();
            Arc::new(move |log| set_level(fixed, || handle.reload(filter_of(log.level))))
        }
    }
}

fn set_level(fixed: bool, set: impl FnOnce() -> Result<(), reload::Error>) {
    if fixed {
        return;
    }
    if let Err(error) = set() {
        tracing::warn!(%error, "the level of the log stays as it was");
    }
}

fn filter_of(level: Level) -> EnvFilter {
    // Other people's crates speak of what is theirs; what is ours to know of them is in our own events.
    EnvFilter::new(format!("warn,vestibule={}", tracing::Level::from(level)))
}

fn count(sites: usize) -> String {
    match sites {
        0 => "no site yet, which `run` will ask for".to_owned(),
        1 => "one site".to_owned(),
        more => format!("{more} sites"),
    }
}

fn say(text: &str) {
    // Nobody listening is no failure.
    let _ = writeln!(io::stdout(), "{text}");
}

fn complain(problem: &dyn std::fmt::Display) {
    let _ = writeln!(io::stderr(), "vestibule: {problem}");
}

/// A configuration that cannot be used (sysexits.h).
const EX_CONFIG: u8 = 78;

const HOW_TO_WRITE_A_SITE: &str = "Write at least:

[[site]]
hosts = [\"www.example.org\"]              # the host names of your site

[site.registered]                        # where members are at home
domain = \"xmpp.example.org\"
upstream = \"127.0.0.1:5222\"              # the client port of the XMPP server
secret = { file = \"ticket.secret\" }      # shared with the server's module, docs/prosody.md

[site.guests]                            # where guests are; or without_session = \"refuse\" in [[site]]
domain = \"guest.example.org\"
upstream = \"127.0.0.1:5222\"
secret = { file = \"ticket.secret\" }

[site.session.whois]                     # how the site says who a visitor is; or [site.session.jwt]
url = \"http://127.0.0.1:8080/chat/whois\"
secret = \"…\"
cookies = [\"PHPSESSID\"]

proxy.toml, as it is shipped, explains every key.";
