//! Debian's ejabberd, in a folder of its own, for as long as the value lives.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use tempfile::TempDir;
use tokio::process::Child;
use tokio::process::Command;
use tokio::sync::watch;

use crate::support::authority::Age;
use crate::support::authority::Authority;
use crate::support::prosody::follow;
use crate::support::prosody::free_address;
use crate::support::prosody::line_with;

/// The domain, whose users are made up by ANONYMOUS.
pub(crate) const GUESTS: &str = "anon.localhost";

/// A running ejabberd; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Ejabberd {
    /// Holds its files.
    folder: TempDir,
    address: SocketAddr,
    /// Kills it.
    child: Child,
    log: watch::Receiver<Vec<String>>,
}

impl Ejabberd {
    /// Starts one that takes nobody without STARTTLS, and believes what the PROXY protocol tells it. Its certificate is signed
    /// by `authority`.
    pub(crate) async fn start(authority: &Authority) -> Self {
        Self::configured(authority, GUESTS, STRICT).await
    }

    /// Starts one for `domain` that is configured as an administrator would do it, but for [`PORT`] and [`CERTIFICATE`].
    pub(crate) async fn configured(authority: &Authority, domain: &str, settings: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let (certificate, key) = authority.sign(domain, Age::Good);
        let both = [certificate, key].map(|file| fs::read_to_string(file).expect("a file"));
        let certificate = folder.path().join("server.pem");
        fs::write(&certificate, both.concat()).expect("a certificate");
        let settings = settings.replace(CERTIFICATE, &certificate.display().to_string());
        // A port that was free a moment ago may be somebody else's by now.
        for _ in 0..5 {
            let address = free_address();
            let settings = settings.replace(PORT, &address.port().to_string());
            let (child, log) = spawn(&folder, &settings);
            let line = line_with(&log, &["ejabberd_c2s"]).await;
            if line.contains("Start accepting") {
                return Self { folder, address, child, log };
            }
        }
        panic!("ejabberd found no free port");
    }

    /// Where it takes clients, behind a header of the PROXY protocol.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for a line of its log that has all of these words.
    pub(crate) async fn logged(&self, words: &[&str]) -> String {
        line_with(&self.log, words).await
    }
}

fn spawn(folder: &TempDir, text: &str) -> (Child, watch::Receiver<Vec<String>>) {
    let folder = folder.path();
    let settings = folder.join("ejabberd.yml");
    fs::write(&settings, text).expect("a configuration");
    let mut child = Command::new("erl")
        // One thread that sleeps when it is idle: several of these start at once.
        .args(["+S", "1", "+sbwt", "none", "-noshell", "-noinput", "-mnesia", "dir"])
        .arg(format!("\"{}\"", folder.join("data").display()))
        .args(["-s", "ejabberd"])
        .env("EJABBERD_CONFIG_PATH", &settings)
        .env("EJABBERD_LOG_PATH", folder.join("ejabberd.log"))
        .env("ERL_LIBS", libraries())
        .env("ERL_CRASH_DUMP_BYTES", "0")
        .env("HOME", folder)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("ejabberd is installed: scripts/test does it");
    let log = follow(child.stdout.take().expect("it is piped"));
    (child, log)
}

/// Where Debian has ejabberd's own modules: a folder below `/usr/lib` that bears the name of the processor.
fn libraries() -> PathBuf {
    let folders = fs::read_dir("/usr/lib").expect("a folder").flatten();
    let has_ejabberd = |folder: &PathBuf| {
        let inside = fs::read_dir(folder).into_iter().flatten().flatten();
        inside
            .map(|entry| entry.file_name())
            .any(|name| name.to_str().is_some_and(|name| name.starts_with("ejabberd-")))
    };
    let found = folders.map(|entry| entry.path()).find(has_ejabberd);
    found.expect("ejabberd is installed: scripts/test does it")
}

/// What stands for the port in a configuration.
pub(crate) const PORT: &str = "5225";
/// What stands for the certificate's file in a configuration.
pub(crate) const CERTIFICATE: &str = "/etc/ejabberd/guest.example.org.pem";

const STRICT: &str = "
hosts: [anon.localhost]
certfiles: ['/etc/ejabberd/guest.example.org.pem']
auth_method: [anonymous]
anonymous_protocol: sasl_anon
modules: {}
listen:
  - port: 5225
    ip: '127.0.0.1'
    module: ejabberd_c2s
    starttls_required: true
    use_proxy_protocol: true
";
