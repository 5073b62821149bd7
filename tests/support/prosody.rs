//! Debian's Prosody with our module, in a folder of its own, for as long as the value lives.

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::net::TcpListener;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;
use tokio::io::AsyncBufReadExt;
use tokio::io::BufReader;
use tokio::process::Child;
use tokio::process::ChildStdout;
use tokio::process::Command;
use tokio::sync::watch;
use tokio::time::timeout;
use vestibule::secret::Secret;

use crate::support::xmpp::Client;

/// The domain of members.
pub(crate) const MEMBERS: &str = "xmpp.localhost";
/// The domain of guests who have a ticket.
pub(crate) const GUESTS: &str = "guest.localhost";
/// The domain of guests who sign in with ANONYMOUS.
pub(crate) const ANONYMOUS: &str = "anon.localhost";
/// The domain of the rooms.
pub(crate) const ROOMS: &str = "conference.localhost";

/// A running Prosody; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Prosody {
    folder: TempDir,
    address: SocketAddr,
    child: Child,
    log: watch::Receiver<Vec<String>>,
}

impl Prosody {
    /// Starts it as the demo does.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts it as the demo does, with lines of Lua behind the demo's configuration.
    pub(crate) async fn start_with(lua: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        fs::create_dir(folder.path().join("data")).expect("a data folder");
        for name in ["ticket.secret", "vestibule.secret"] {
            fs::write(folder.path().join(name), SECRET).expect("a secret");
        }
        write_configuration(folder.path(), lua);

        // A port that was free a moment ago may be somebody else's by now.
        for _ in 0..5 {
            let address = free_address();
            if let Some((child, log)) = spawn(folder.path(), address).await {
                return Self { folder, address, child, log };
            }
        }
        panic!("prosody found no free port");
    }

    /// Kills it, as a crash would, and starts it again at the same address with the same data.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.restart_stopped().await;
    }

    /// Starts it again after [`stop`](Self::stop), at the same address with the same data.
    pub(crate) async fn restart_stopped(&mut self) {
        let (child, log) =
            spawn(self.folder.path(), self.address).await.expect("its port is still free");
        self.child = child;
        self.log = log;
    }

    /// Kills it, as a crash would.
    pub(crate) async fn stop(&mut self) {
        self.child.kill().await.expect("prosody was running");
    }

    /// Where it takes clients by TCP, without TLS.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// What signs the tickets that it believes.
    pub(crate) fn secret() -> Secret {
        Secret::new(SECRET.trim_end())
    }

    /// The folder with its `ticket.secret`, `prosody.cfg.lua`, `prosody.log` and `data`.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Makes an account that signs in with a password.
    pub(crate) fn add_account(&self, domain: &str, username: &str, password: &str) {
        let accounts = self.data_of(domain).join("accounts");
        fs::create_dir_all(&accounts).expect("a folder for accounts");
        // mod_auth_internal_hashed hashes a password that it finds in plain when it is first used.
        let account = format!("return {{ password = {password:?} }};");
        fs::write(accounts.join(format!("{username}.dat")), account).expect("an account");
    }

    /// Whether there is an account, whoever made it.
    pub(crate) fn has_account(&self, domain: &str, username: &str) -> bool {
        self.data_of(domain).join("accounts").join(format!("{username}.dat")).exists()
    }

    /// Whether a domain has anything on disk: an account, a roster, a vCard, a message …
    pub(crate) fn keeps_anything_of(&self, domain: &str) -> bool {
        let stores = fs::read_dir(self.data_of(domain)).into_iter().flatten().flatten();
        let mut files = stores.filter_map(|store| fs::read_dir(store.path()).ok()).flatten();
        files.next().is_some()
    }

    fn data_of(&self, domain: &str) -> PathBuf {
        // mod_storage_internal writes everything but letters and digits as %xx.
        self.folder.path().join("data").join(domain.replace('.', "%2e"))
    }

    /// Waits for a line of its log that has all of these words.
    pub(crate) async fn logged(&self, words: &[&str]) -> String {
        line_with(&self.log, words).await
    }

    /// Puts other lines of Lua behind the demo's configuration, and makes it read them.
    pub(crate) async fn configure(&self, lua: &str) {
        write_configuration(self.folder.path(), lua);
        self.reload().await;
    }

    /// Makes it read its configuration again, as `prosodyctl reload` does.
    pub(crate) async fn reload(&self) {
        let reloads = |log: &[String]| {
            log.iter().filter(|line| line.contains("Reloading configuration")).count()
        };
        let before = reloads(&self.log.borrow());
        self.signal("HUP").await;
        // It logs this, reads, and only then serves its clients again.
        let mut log = self.log.clone();
        let reloaded = timeout(PATIENCE, log.wait_for(|log| reloads(log) > before)).await;
        assert!(reloaded.is_ok_and(|log| log.is_ok()), "prosody did not reload");
    }

    /// Sends it a signal, such as `HUP`.
    pub(crate) async fn signal(&self, name: &str) {
        let pid = self.child.id().expect("prosody runs").to_string();
        let sent = Command::new("kill").args(["-s", name, &pid]).status().await.expect("kill runs");
        assert!(sent.success());
    }
}

/// Starts it and waits until it serves; nothing if it could not have the port.
async fn spawn(
    folder: &Path,
    address: SocketAddr,
) -> Option<(Child, watch::Receiver<Vec<String>>)> {
    let mut child = Command::new("prosody")
        .arg("-F")
        .arg("--config")
        .arg(folder.join("prosody.cfg.lua"))
        .env("PROSODY_FOLDER", folder)
        .env("PROSODY_MODULES", repository().join("prosody"))
        .env("PROSODY_C2S_PORT", address.port().to_string())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("prosody is installed: scripts/test does it");
    let log = follow(child.stdout.take().expect("it is piped"));
    let activated = line_with(&log, &["Activated service 'c2s' on"]).await;
    if !activated.contains(&address.port().to_string()) {
        child.kill().await.expect("prosody was running");
        return None;
    }
    // The port is open before the last domain is ready; the first answer comes after it.
    Client::connect(address).await.open(MEMBERS).await;
    Some((child, log))
}

/// Collects the lines of a server's log, until it ends.
pub(crate) fn follow(stdout: ChildStdout) -> watch::Receiver<Vec<String>> {
    let (sender, receiver) = watch::channel(Vec::new());
    let mut lines = BufReader::new(stdout).lines();
    tokio::spawn(async move {
        while let Ok(Some(line)) = lines.next_line().await {
            sender.send_modify(|log| log.push(line));
        }
    });
    receiver
}

pub(crate) async fn line_with(log: &watch::Receiver<Vec<String>>, words: &[&str]) -> String {
    let mut log = log.clone();
    let find = |lines: &[String]| {
        lines.iter().find(|line| words.iter().all(|word| line.contains(word))).cloned()
    };
    let found = timeout(PATIENCE, log.wait_for(|lines| find(lines).is_some()))
        .await
        .map(|lines| lines.is_ok());
    assert_eq!(
        found,
        Ok(true),
        "no line with {words:?} in the server's log:\n{}",
        log.borrow().join("\n")
    );
    find(&log.borrow()).expect("it was just found")
}

fn write_configuration(folder: &Path, lua: &str) {
    let shipped = repository().join("examples/demo/prosody.cfg.lua");
    let text = format!("Include '{}'\n{lua}\n", shipped.display());
    fs::write(folder.join("prosody.cfg.lua"), text).expect("a configuration");
}

/// A port that was free a moment ago.
pub(crate) fn free_address() -> SocketAddr {
    let bound: io::Result<SocketAddr> =
        TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    bound.expect("a free port")
}

fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

const SECRET: &str = "a secret that only the tests know\n";

/// Far more than it ever takes, so that a loaded machine fails no test.
const PATIENCE: Duration = Duration::from_secs(90);
