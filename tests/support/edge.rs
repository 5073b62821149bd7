//! The program at an address of its own, which can be killed, and finds again what an administrator would have kept.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;

use tempfile::TempDir;

use crate::support::program::Program;
use crate::support::prosody::free_address;

/// A running program; killed when it is dropped.
#[derive(Debug)]
pub(crate) struct Edge {
    config: String,
    program: Option<Program>,
    address: SocketAddr,
    /// Its certificate, and the key of its guests' cookies.
    kept: TempDir,
}

impl Edge {
    /// Starts it with this configuration, on a free port.
    pub(crate) async fn start(sites: &str) -> Self {
        Self::start_at(free_address(), sites).await
    }

    /// Starts it with this configuration, at this address.
    pub(crate) async fn start_at(address: SocketAddr, sites: &str) -> Self {
        let kept = tempfile::tempdir().expect("a temporary folder");
        let config = format!(
            "[log]\nformat = 'json'\n[listen]\nhttps = ['{address}']\n\
             [guests]\nkey_file = '{}'\n{sites}",
            kept.path().join("guest-cookie.key").display()
        );
        let program = Program::run(&config, |_| {}).await;
        for name in CERTIFICATE {
            fs::copy(program.path("certs").join(name), kept.path().join(name)).expect("a copy");
        }
        Self { config, program: Some(program), address, kept }
    }

    /// Kills it, by SIGKILL, and starts it again.
    pub(crate) async fn is_killed(&mut self) {
        self.program.take().expect("it runs").kill().await;
        let kept = |folder: &TempDir| {
            let certificates = folder.path().join("certs");
            fs::create_dir(&certificates).expect("a folder");
            for name in CERTIFICATE {
                fs::copy(self.kept.path().join(name), certificates.join(name)).expect("a copy");
            }
        };
        self.program = Some(Program::run(&self.config, kept).await);
    }

    /// Where browsers find it.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The certificate, with its authority.
    pub(crate) fn certificate(&self) -> PathBuf {
        self.kept.path().join("development.pem")
    }
}

const CERTIFICATE: [&str; 2] = ["development.pem", "development.key"];
