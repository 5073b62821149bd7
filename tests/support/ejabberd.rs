//! Debian's ejabberd, in a folder of its own, for as long as the value lives.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Stdio;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
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
    settings: String,
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
        Self::spawned(folder, &settings).await
    }

    async fn spawned(folder: TempDir, settings: &str) -> Self {
        // A port that was free a moment ago may be somebody else's by now.
        for _ in 0..5 {
            let address = free_address();
            let settings = settings.replace(PORT, &address.port().to_string());
            let (child, log) = spawn(&folder, &settings);
            let line = line_with(&log, &["ejabberd_c2s"]).await;
            if line.contains("Start accepting") {
                return Self { folder, settings, address, child, log };
            }
        }
        panic!("ejabberd found no free port");
    }

    /// Starts one for the demo's domains, which believes tokens that are signed with this secret.
    pub(crate) async fn with_tokens(secret: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = folder.path().join("vestibule.jwk");
        let encoded = BASE64_URL_SAFE_NO_PAD.encode(secret);
        fs::write(&key, format!(r#"{{"kty": "oct", "k": "{encoded}"}}"#)).expect("a key");
        let settings = TOKENS.replace(KEY, &key.display().to_string());
        Self::spawned(folder, &settings).await
    }

    /// Kills it, as a crash would, and starts it again at the same address with the same data.
    pub(crate) async fn restart(&mut self) {
        self.stop().await;
        self.restart_stopped().await;
    }

    /// Kills it.
    pub(crate) async fn stop(&mut self) {
        self.child.kill().await.expect("ejabberd was running");
    }

    /// Starts it again after [`stop`](Self::stop).
    pub(crate) async fn restart_stopped(&mut self) {
        (self.child, self.log) = spawn(&self.folder, &self.settings);
        let line = line_with(&self.log, &["ejabberd_c2s"]).await;
        assert!(line.contains("Start accepting"), "{line}");
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

/// What stands for the file of the key in a configuration.
const KEY: &str = "vestibule.jwk";

const TOKENS: &str = "
hosts: [xmpp.localhost, guest.localhost, anon.localhost]
auth_method: [jwt]
jwt_key: 'vestibule.jwk'
jwt_jid_field: jid
host_config:
  anon.localhost:
    auth_method: [anonymous]
    anonymous_protocol: sasl_anon
modules:
  mod_disco: {}
  mod_muc:
    host: conference.localhost
  mod_offline: {}
  mod_ping: {}
  mod_private: {}
  mod_roster: {}
  mod_stream_mgmt: {}
  mod_vcard: {}
listen:
  - port: 5225
    ip: '127.0.0.1'
    module: ejabberd_c2s
";

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
