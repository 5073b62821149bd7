//! Debian's Prosody with our module, started anew for whoever is measured with it.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use load::client::Stream;
use load::process::Process;
use load::visitors::Visitors;
use tokio::process::Child;
use tokio::process::Command;
use tokio::time::sleep;
use tokio::time::timeout;

use crate::peer::Behind;
use crate::peer::SECRET;
use crate::peer::free_port;

/// A running Prosody.
pub(crate) struct Prosody {
    child: Child,
    pub(crate) process: Process,
    pub(crate) behind: Behind,
}

impl Prosody {
    /// Starts it in this folder, and waits until it lets somebody in.
    pub(crate) async fn start(folder: &Path) -> Result<Self> {
        let (client, http) = (free_port().await?, free_port().await?);
        let folder = folder.join("prosody");
        fs::create_dir_all(folder.join("data"))?;
        fs::write(folder.join("mod_auth_vestibule.lua"), MODULE)?;
        fs::write(folder.join("ticket.secret"), SECRET)?;
        let text = include_str!("../../peers/prosody.cfg.lua")
            .replace("@CLIENT@", &client.to_string())
            .replace("@HTTP@", &http.to_string())
            .replace("@FOLDER@", &folder.display().to_string());
        let file = folder.join("prosody.cfg.lua");
        fs::write(&file, text)?;
        let log = fs::File::create(folder.join("log"))?;
        let child = Command::new("prosody")
            .arg("-F")
            .arg("--config")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .spawn()
            .context("prosody does not start")?;
        let process = Process { id: child.id().context("it has ended already")? };
        let behind = Behind { client, websocket: http, bosh: http };
        let mut made = Self { child, process, behind };
        made.letting_in().await.with_context(|| {
            let said = fs::read_to_string(folder.join("log")).unwrap_or_default();
            format!("prosody said: {said}")
        })?;
        Ok(made)
    }

    /// Kills it: asked to end while sessions leave, Prosody 0.12 may fail to. It has nothing to keep.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.child.kill().await.context("it does not end")
    }

    /// Its port is open before all else is ready, but its first answer comes after that.
    async fn letting_in(&mut self) -> Result<()> {
        let visitors = Visitors::ticketed(SECRET.as_bytes());
        let address = ([127, 0, 0, 1], self.behind.client).into();
        let mut refused = None;
        for attempt in 0..ATTEMPTS {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            // Nobody of the comparison has such a number.
            let auth = visitors.auth(usize::MAX - attempt, "localhost")?;
            match timeout(PATIENCE, Stream::sign_in(address, "localhost", &auth)).await {
                Ok(Ok(_)) => return Ok(()),
                Ok(Err(error)) => refused = Some(error),
                Err(_) => bail!("it does not answer"),
            }
            sleep(Duration::from_millis(20)).await;
        }
        Err(refused.context("it does not listen")?)
    }
}

/// Half a minute of them.
const ATTEMPTS: usize = 1500;
const PATIENCE: Duration = Duration::from_secs(30);
const MODULE: &str = include_str!("../../../../prosody/mod_auth_vestibule.lua");
