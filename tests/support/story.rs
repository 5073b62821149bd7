//! A program in Node that tells a story, and has wishes on the way: what is to fail, and to work again.

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use tokio::io::AsyncBufReadExt;
use tokio::io::AsyncReadExt;
use tokio::io::AsyncWriteExt;
use tokio::io::BufReader;
use tokio::process::Command;
use tokio::time::timeout;

/// Runs a program under `tests/` to its end, and grants what it wishes; the lines that it printed. It trusts `certificate`.
///
/// Panics with what it printed, unless it succeeds.
pub(crate) async fn told(
    (script, arguments): (&str, &[&str]),
    certificate: &Path,
    mut grant: impl AsyncFnMut(&str),
) -> Vec<String> {
    let mut child = Command::new("node")
        .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests").join(script))
        .args(arguments)
        .env("NODE_EXTRA_CA_CERTS", certificate)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("node is installed");
    let mut answers = child.stdin.take().expect("it is piped");
    let mut said = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let mut complaint = child.stderr.take().expect("it is piped");
    let complaint = tokio::spawn(async move {
        let mut text = String::new();
        complaint.read_to_string(&mut text).await.expect("text");
        text
    });
    let mut story = Vec::new();
    let told = async {
        while let Some(line) = said.next_line().await.expect("text") {
            if let Some(wish) = line.strip_prefix("wish: ") {
                grant(wish).await;
                // Who has failed meanwhile does not read this any more.
                let _ = answers.write_all(b"granted\n").await;
            }
            story.push(line);
        }
        child.wait().await.expect("it ends")
    };
    // Under the name of the table in docs/continuity.md everything takes longer.
    let is_long = std::env::var_os("CONTINUITY").is_some();
    let longest = if is_long { 5 * LONGEST_VISIT } else { LONGEST_VISIT };
    let ended = timeout(longest, told).await;
    // Who does not come to an end says no more.
    child.start_kill().ok();
    let complaint = complaint.await.expect("it is read");
    let succeeded = matches!(&ended, Ok(status) if status.success());
    assert!(succeeded, "{script} {arguments:?}: {ended:?}\n{}\n{complaint}", story.join("\n"));
    story
}

/// A browser takes seconds; a loaded machine takes more.
pub(crate) const LONGEST_VISIT: Duration = Duration::from_secs(240);
