//! The classical way to a session before the page asks: the site's own PHP signs in over BOSH.

use std::fmt::Write;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use anyhow::Result;
use anyhow::ensure;
use load::visitors;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::peer::Behind;
use crate::peer::SECRET;

/// The script, and where it goes.
#[derive(Debug, Clone)]
pub(crate) struct Script {
    file: PathBuf,
    url: String,
}

/// A session that it has made.
pub(crate) struct Made {
    /// From the first request to the last answer.
    pub(crate) took: Duration,
    /// The CPU time of PHP in it.
    pub(crate) cpu: Duration,
}

impl Script {
    /// Puts it into this folder, for this server.
    pub(crate) fn new(folder: &Path, behind: Behind) -> Result<Self> {
        let file = folder.join("classical.php");
        fs::write(&file, include_str!("../../peers/classical.php"))?;
        Ok(Self { file, url: format!("http://127.0.0.1:{}/http-bind", behind.bosh) })
    }

    /// Has one PHP make a session for each of these, one after the other.
    pub(crate) async fn run(&self, numbers: Range<usize>) -> Result<Vec<Made>> {
        let mint = visitors::mint(SECRET.as_bytes());
        let mut asked = String::new();
        for number in numbers.clone() {
            let ticket = visitors::ticket(&mint, number, "localhost")?;
            writeln!(asked, "{} {ticket}", visitors::name(number))?;
        }
        let mut child = Command::new("php")
            .arg(&self.file)
            .args([&self.url, "localhost"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("php does not start")?;
        let mut stdin = child.stdin.take().context("it is piped")?;
        stdin.write_all(asked.as_bytes()).await?;
        drop(stdin);
        let output = child.wait_with_output().await?;
        let said = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "php ended with {}: {said}", output.status);
        let made = said.lines().map(|line| {
            let (took, cpu) = line.split_once(' ')?;
            let micros = |text: &str| text.parse().ok().map(Duration::from_micros);
            Some(Made { took: micros(took)?, cpu: micros(cpu)? })
        });
        let made: Option<Vec<Made>> = made.collect();
        let made = made.with_context(|| format!("php said {said}"))?;
        ensure!(made.len() == numbers.len(), "php made {} sessions", made.len());
        Ok(made)
    }
}
