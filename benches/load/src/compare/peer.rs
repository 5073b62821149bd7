//! The gateways that are compared, each started anew for its round.

use std::fmt;
use std::fs;
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

/// What all of them share: certificate, secrets, and the scripted server's ports.
pub(crate) struct Place {
    folder: TempDir,
    vestibule: PathBuf,
    client: u16,
    websocket: u16,
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
    /// A place whose scripted server is at these ports.
    pub(crate) fn new(vestibule: PathBuf, client: u16, websocket: u16) -> Result<Self> {
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
        Ok(Self { folder, vestibule, client, websocket })
    }

    /// Starts one, and waits until it takes connections.
    pub(crate) async fn start(&self, kind: Kind) -> Result<Peer> {
        let port = TcpListener::bind("127.0.0.1:0").await?.local_addr()?.port();
        let folder = self.folder.path();
        let (name, template) = match kind {
            Kind::Nginx => ("nginx.conf", include_str!("../../peers/nginx.conf")),
            Kind::Haproxy => ("haproxy.cfg", include_str!("../../peers/haproxy.cfg")),
            Kind::Vestibule => ("proxy.toml", include_str!("../../peers/proxy.toml")),
        };
        let text = template
            .replace("@PORT@", &port.to_string())
            .replace("@CLIENT@", &self.client.to_string())
            .replace("@WEBSOCKET@", &self.websocket.to_string())
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
            authority: folder.join("certificate.pem"),
            process,
            visitors: Visitors::signed("session", SECRET.as_bytes()),
        };
        peer.listening().await.with_context(|| {
            let said = fs::read_to_string(folder.join(format!("{kind}.log"))).unwrap_or_default();
            format!("{kind} said: {said}")
        })?;
        Ok(peer)
    }
}

impl Peer {
    /// Where browsers connect to it.
    pub(crate) async fn target(&self, tickets: Tickets) -> Result<Target> {
        let url = format!("https://localhost:{}", self.port);
        let mut target = Target::find(&url, "localhost", Some(&self.authority), tickets).await?;
        target.address = ([127, 0, 0, 1], self.port).into();
        Ok(target)
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

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nginx => "nginx",
            Self::Haproxy => "haproxy",
            Self::Vestibule => "vestibule",
        })
    }
}

/// Nobody else reaches this gateway.
const SECRET: &str = "a secret of this comparison alone, 0123456789";
