//! The program itself, in a folder of its own, as an administrator runs it.

use std::collections::HashSet;
use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::process::Child;
use tokio::process::ChildStderr;
use tokio::process::Command;
use tokio::time::timeout;

/// `vestibule run`; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Program {
    folder: TempDir,
    child: Child,
    log: BufReader<ChildStderr>,
    address: SocketAddr,
    said_first: Vec<Value>,
}

impl Program {
    /// Runs with this configuration, and what else `fill` puts into its folder, until it listens. Its log is to be JSON.
    pub(crate) async fn run(config: &str, fill: impl FnOnce(&TempDir)) -> Self {
        Self::run_by(Command::new(PROGRAM), config, fill).await
    }

    /// The same with so many files that it may have open, whatever it does.
    pub(crate) async fn run_within(files: u64, config: &str) -> Self {
        let mut command = Command::new("prlimit");
        command.args([&format!("--nofile={files}:{files}"), PROGRAM]);
        Self::run_by(command, config, |_| {}).await
    }

    async fn run_by(mut command: Command, config: &str, fill: impl FnOnce(&TempDir)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fill(&folder);
        fs::write(folder.path().join("proxy.toml"), config).expect("a configuration");
        let mut child = command
            .current_dir(folder.path())
            .arg("run")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("it starts");
        let log = BufReader::new(child.stderr.take().expect("its log"));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut program = Self { folder, child, log, address, said_first: Vec::new() };
        let mut event = program.next_event().await;
        while text(&event, "message") != "listening" {
            program.said_first.push(event);
            event = program.next_event().await;
        }
        let (_, address) = text(&event, "address").split_once("://").expect("a URL");
        program.address = address.parse().expect("an address");
        program
    }

    /// Where browsers find it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it said before it listened.
    pub(crate) fn said_first(&self) -> &[Value] {
        &self.said_first
    }

    /// Lets it open so many files more, until this is called again.
    pub(crate) async fn leave_files(&self, more: u64) {
        let pid = self.child.id().expect("it runs");
        let open: HashSet<u64> = fs::read_dir(format!("/proc/{pid}/fd"))
            .expect("its files")
            .filter_map(|file| file.ok()?.file_name().to_str()?.parse().ok())
            .collect();
        // A new one gets the lowest number that is free, and that must be below the limit.
        let mut free = (0..).filter(|number| !open.contains(number));
        let limit = free.nth(usize::try_from(more).expect("a few")).expect("there are more");
        let limited = Command::new("prlimit")
            .args([format!("--pid={pid}"), format!("--nofile={limit}:")])
            .status()
            .await;
        assert!(limited.expect("prlimit").success());
    }

    /// A file of its folder.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Writes a file of its folder.
    pub(crate) fn write(&self, name: &str, content: &str) {
        fs::write(self.path(name), content).expect("it is written");
    }

    /// Kills it, and waits until it is gone.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.expect("it ran");
    }

    /// Sends it SIGHUP.
    pub(crate) async fn hang_up(&self) {
        let pid = self.child.id().expect("it runs").to_string();
        let sent = Command::new("kill").args(["-s", "HUP", &pid]).status().await;
        assert!(sent.expect("kill").success());
    }

    /// The fields of the next event with this message; others on the way are passed over.
    pub(crate) async fn says(&mut self, message: &str) -> Value {
        let mut passed_over = Vec::new();
        loop {
            let fields = self.next_event().await;
            if text(&fields, "message") == message {
                return fields;
            }
            passed_over.push(fields);
            assert!(passed_over.len() < 1000, "{passed_over:?}");
        }
    }

    /// The next event whose message begins so, as a text; others on the way are passed over.
    pub(crate) async fn says_with(&mut self, begin: &str) -> String {
        loop {
            let fields = self.next_event().await;
            if text(&fields, "message").starts_with(begin) {
                return fields.to_string();
            }
        }
    }

    /// The fields of the next event.
    pub(crate) async fn next_event(&mut self) -> Value {
        let mut line = String::new();
        let read =
            timeout(PATIENCE, self.log.read_line(&mut line)).await.expect("it says something");
        assert_ne!(read.expect("its log"), 0, "it ended");
        let mut event: Value = serde_json::from_str(&line).unwrap_or_else(|_| panic!("{line}"));
        let level = event["level"].clone();
        let mut fields = event["fields"].take();
        fields["level"] = level;
        fields
    }
}

const PROGRAM: &str = env!("CARGO_BIN_EXE_vestibule");

/// A field that is a text.
pub(crate) fn text<'a>(fields: &'a Value, name: &str) -> &'a str {
    fields[name].as_str().unwrap_or_default()
}

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);
