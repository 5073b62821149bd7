//! The program itself, in a folder of its own, as an administrator runs it.

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
}

impl Program {
    /// Runs with this configuration, and what else `fill` puts into its folder, until it listens. Its log is to be JSON.
    pub(crate) async fn run(config: &str, fill: impl FnOnce(&TempDir)) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fill(&folder);
        fs::write(folder.path().join("proxy.toml"), config).expect("a configuration");
        let mut child = Command::new(env!("CARGO_BIN_EXE_vestibule"))
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
        let mut program = Self { folder, child, log, address };
        let listening = program.says("listening").await;
        let (_, address) = text(&listening, "address").split_once("://").expect("a URL");
        program.address = address.parse().expect("an address");
        program
    }

    /// Where browsers find it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
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

/// A field that is a text.
pub(crate) fn text<'a>(fields: &'a Value, name: &str) -> &'a str {
    fields[name].as_str().unwrap_or_default()
}

/// Far more than anything ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(30);
