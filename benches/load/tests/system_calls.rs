//! How often Vestibule asks the kernel for something: a figure that does not depend on the day.

#![allow(missing_docs, reason = "a test")]

mod support;

use std::fs;
use std::path::Path;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use load::phase::Phase;
use load::process::Process;
use load::session::Transport;
use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::sleep;

use crate::support::crowd;
use crate::support::members;
use crate::support::site;

const SESSIONS: usize = 10;

/// Runs Vestibule under strace while sessions come, and then talk for so long; the reads and writes it made in all, and how
/// many messages came back.
async fn counted(talk: Duration) -> (u64, u64) {
    let (folder, port) = site().await;
    let path = folder.path();
    let mut traced = Command::new("strace")
        .args(["-f", "-qq", "-c", "-U", "calls,name", "-e", CALLS, "-o"])
        .arg(path.join("calls"))
        .arg(vestibule())
        .args(["run", "--config"])
        .arg(path.join("proxy.toml"))
        .stdin(Stdio::null())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("strace is installed: scripts/test does it");
    while TcpStream::connect(("127.0.0.1", port)).await.is_err() {
        assert_eq!(traced.try_wait().unwrap(), None, "it runs");
        sleep(Duration::from_millis(20)).await;
    }

    let mut crowd = crowd(path, port, members(), Transport::Websocket).await;
    assert_eq!(crowd.connect(SESSIONS, 1).await.unwrap().lost, None);
    let phase = Phase::Messages { lasts: talk, size: 200, window: 1 };
    let talked = crowd.run(&phase).await.unwrap();
    assert_eq!(talked.lost, None);
    drop(crowd);

    end(Process { id: traced.id().unwrap() }).await;
    traced.wait().await.unwrap();
    let calls = fs::read_to_string(path.join("calls")).unwrap();
    (sum(&calls), talked.latencies.unwrap().count)
}

/// Vestibule, built beside the load generator.
fn vestibule() -> PathBuf {
    let beside = Path::new(env!("CARGO_BIN_EXE_vestibule-load")).with_file_name("vestibule");
    assert!(beside.exists(), "build it first: cargo build --package vestibule");
    beside
}

/// Has what strace runs end; strace then writes what it has counted.
async fn end(strace: Process) {
    let children = fs::read_to_string(format!("/proc/{0}/task/{0}/children", strace.id)).unwrap();
    let child = children.split_whitespace().next().expect("strace has started it");
    Process { id: child.parse().unwrap() }.terminate().await.unwrap();
}

fn sum(calls: &str) -> u64 {
    let counts = calls.lines().filter_map(|line| {
        let (count, name) = line.trim().split_once(' ')?;
        (name.trim() != "total").then(|| count.parse::<u64>().ok())?
    });
    counts.sum()
}

const CALLS: &str = "trace=read,write,readv,writev,recvfrom,sendto,recvmsg,sendmsg";

#[tokio::test]
async fn a_round_trip_of_a_message_is_two_reads_and_two_writes() {
    let (before, few) = counted(Duration::ZERO).await;
    let (after, many) = counted(Duration::from_secs(2)).await;

    assert_eq!(few, SESSIONS as u64);
    assert!(many > 200, "{many} messages are enough to tell");
    let tenths = (after - before) * 10 / (many - few);
    assert!((38..=43).contains(&tenths), "{tenths} tenths of a call for each of {many}");
}
