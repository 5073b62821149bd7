//! The gateways that are compared, each started anew for its round.

use std::fmt;
use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use clap::ValueEnum;
use load::process::Process;
use load::target::Target;
use load::target::Tickets;
use load::visitors::Visitors;
use serde::Serialize;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::net::TcpStream;
use tokio::process::Child;
use tokio::process::Command;
use tokio::time::sleep;

/// Which gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// nginx from Debian, one worker.
    Nginx,
    /// `HAProxy` from Debian, one thread.
    Haproxy,
    /// Vestibule as it is shipped.
    Vestibule,
}

/// What all of them share: certificate and secrets.
pub(crate) struct Place {
    folder: TempDir,
    vestibule: PathBuf,
}

/// The XMPP server behind them, by its ports on this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Behind {
    /// RFC 6120.
    pub(crate) client: u16,
    /// HTTP with a WebSocket at `/xmpp-websocket`.
    pub(crate) websocket: u16,
    /// HTTP with BOSH at `/http-bind`.
    pub(crate) bosh: u16,
}

/// A running gateway.
pub(crate) struct Peer {
    child: Child,
    port: u16,
    authority: PathBuf,
    pub(crate) process: Process,
    pub(crate) visitors: Visitors,
}

impl Place {
    /// A place for this Vestibule and its peers.
    pub(crate) fn new(vestibule: PathBuf) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let rcgen::CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(["localhost".to_owned()])?;
        let (cert, key) = (cert.pem(), signing_key.serialize_pem());
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text);
        write("certificate.pem", &cert)?;
        write("key.pem", &key)?;
        write("both.pem", &format!("{cert}{key}"))?;
        write("ticket.secret", SECRET)?;
        write("jwt.secret", SECRET)?;
        Ok(Self { folder, vestibule })
    }

    /// Where everything is that they are told.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Starts one in front of a server, and waits until it takes connections.
    pub(crate) async fn start(&self, kind: Kind, behind: Behind) -> Result<Peer> {
        let port = free_port().await?;
        let folder = self.folder.path();
        let (name, template) = match kind {
            Kind::Nginx => ("nginx.conf", include_str!("../../peers/nginx.conf")),
            Kind::Haproxy => ("haproxy.cfg", include_str!("../../peers/haproxy.cfg")),
            Kind::Vestibule => ("proxy.toml", include_str!("../../peers/proxy.toml")),
        };
        let text = template
            .replace("@PORT@", &port.to_string())
            .replace("@CLIENT@", &behind.client.to_string())
            .replace("@WEBSOCKET@", &behind.websocket.to_string())
            .replace("@BOSH@", &behind.bosh.to_string())
            .replace("@FOLDER@", &folder.display().to_string());
        let file = folder.join(name);
        fs::write(&file, text)?;
        let mut command = match kind {
            Kind::Nginx => Command::new("/usr/sbin/nginx"),
            Kind::Haproxy => Command::new("/usr/sbin/haproxy"),
            Kind::Vestibule => Command::new(&self.vestibule),
        };
        match kind {
            Kind::Nginx => command.arg("-c").arg(&file),
            Kind::Haproxy => command.arg("-db").arg("-f").arg(&file),
            Kind::Vestibule => command.arg("run").arg("--config").arg(&file),
        };
        let log = fs::File::create(folder.join(format!("{kind}.log")))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).kill_on_drop(true);
        let child = command.spawn().with_context(|| format!("{kind} does not start"))?;
        let process = Process { id: child.id().context("it has ended already")? };
        let mut peer = Peer {
            child,
            port,
            authority: self.authority(),
            process,
            visitors: Visitors::signed("session", SECRET.as_bytes()),
        };
        peer.listening().await.with_context(|| {
            let said = fs::read_to_string(folder.join(format!("{kind}.log"))).unwrap_or_default();
            format!("{kind} said: {said}")
        })?;
        Ok(peer)
    }

    /// The server itself, for clients of its own port.
    pub(crate) async fn bare(&self, behind: Behind) -> Result<Target> {
        target(&self.authority(), behind.client, Tickets::Dropped).await
    }

    fn authority(&self) -> PathBuf {
        self.folder.path().join("certificate.pem")
    }
}

impl Peer {
    /// Where browsers connect to it.
    pub(crate) async fn target(&self, tickets: Tickets) -> Result<Target> {
        target(&self.authority, self.port, tickets).await
    }

    /// Has it end, and waits until it has: killed outright, nginx would leave its worker behind.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.process.terminate().await?;
        self.child.wait().await.context("it does not end")?;
        Ok(())
    }

    async fn listening(&mut self) -> Result<()> {
        for _ in 0..500 {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            if TcpStream::connect(("127.0.0.1", self.port)).await.is_ok() {
                return Ok(());
            }
            sleep(Duration::from_millis(20)).await;
        }
        bail!("it does not listen")
    }
}

async fn target(authority: &Path, port: u16, tickets: Tickets) -> Result<Target> {
    let url = format!("https://localhost:{port}");
    let mut target = Target::find(&url, "localhost", Some(authority), tickets).await?;
    target.address = ([127, 0, 0, 1], port).into();
    Ok(target)
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Vestibule => "vestibule",
        })
    }
}

/// A port that was free a moment ago.
pub(crate) async fn free_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port())
}

/// Nobody else reaches these gateways and servers.
pub(crate) const SECRET: &str = "a secret of this comparison alone, 0123456789";
