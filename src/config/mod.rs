//! `proxy.toml` becomes the settings of every module, and what must agree across them is held together.

pub mod log;
mod reading;

use std::fmt;
use std::fs;
use std::path::Path;
use std::path::PathBuf;

use serde::Deserialize;

use crate::config::log::Log;
use crate::config::reading::Reading;
use crate::endpoint::backend;
use crate::endpoint::prebind;
use crate::outbound;
use crate::pass::ticket;
use crate::protocol::bosh;
use crate::server::bounds;
use crate::server::listen;
use crate::session;
use crate::site;
use crate::site::Sites;
use crate::site::settings::Checked;
use crate::tls;
use crate::upstream;
use crate::visitor::cookies;
use crate::visitor::guest;
use crate::visitor::jwks;
use crate::visitor::whois;

/// Everything that `proxy.toml` says.
#[derive(Debug, Clone)]
pub struct Config {
    /// The settings of the program.
    pub settings: Settings,
    /// The websites it serves.
    pub sites: Sites,
}

/// `proxy.toml`, table by table.
#[derive(Debug, Clone, Default, Deserialize)]
#[cfg_attr(test, derive(serde::Serialize))]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Where browsers are awaited.
    pub listen: listen::Settings,
    /// Where monitoring is.
    pub internal: listen::Internal,
    /// The certificate that they are shown.
    pub tls: tls::config::Settings,
    /// How guests are known again.
    pub guests: guest::Settings,
    /// What is logged.
    pub log: Log,
    /// What XMPP servers are shown for a visitor.
    pub ticket: ticket::Settings,
    /// How XMPP servers are dealt with.
    pub upstream: upstream::settings::Settings,
    /// The bounds of connections and requests.
    pub http: bounds::Settings,
    /// Sessions over either transport.
    pub sessions: session::roll::Settings,
    /// Sessions over WebSocket.
    pub websocket: session::websocket::Settings,
    /// Sessions over BOSH.
    pub bosh: bosh::settings::Settings,
    /// Sessions that are there before the page asks for one.
    pub prebind: prebind::Settings,
    /// Our own HTTP requests.
    pub outbound: outbound::Settings,
    /// What goes to a site's own web server.
    pub backend: backend::Settings,
    /// Asking a site who a visitor is.
    pub whois: whois::Settings,
    /// Fetching the keys of a site.
    pub jwks: jwks::Settings,
    /// The cookies of a request.
    pub cookies: cookies::Settings,
    /// The websites; [`Config::sites`] has what becomes of them.
    #[serde(rename = "site")]
    sites: Vec<site::settings::Settings>,
}

/// Everything that is wrong with `proxy.toml`, each on a line of its own when shown.
#[derive(Debug)]
pub struct Problems(Vec<Problem>);

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; none where it is the file as a whole.
    pub line: Option<usize>,
    /// The key, with the tables it is in, as `site.registered.domain`; may be empty.
    pub key: String,
    /// What was expected, or what does not fit together.
    pub message: String,
}

impl Config {
    /// Reads `proxy.toml`. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// Everything that is wrong with it, as far as it could be read.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let text = fs::read_to_string(path).map_err(|error| {
            let (file, message) = (path.to_owned(), format!("cannot be read: {error}"));
            Problems(vec![Problem { file, line: None, key: String::new(), message }])
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut reading = Reading::new(path, &text);
        reading.fill_in_files(folder);
        let Some(mut settings) = reading.settings::<Settings>() else {
            return Err(Problems(reading.into_problems()));
        };
        if settings.listen.https.is_empty() && settings.listen.http.is_empty() {
            reading
                .conflict("listen", "expected an address in https or http: nobody could come in");
        }
        if settings.listen.asks_in_vain() {
            reading.conflict(
                "listen",
                "proxy_protocol needs trusted_proxies, or a Unix socket in http: nobody else is believed",
            );
        }
        if settings.internal.lacks_a_secret() {
            reading.conflict(
                "internal",
                "needs a secret where it does not listen on loopback or a Unix socket",
            );
        }
        for site in &mut settings.sites {
            site.take_paths_from(folder);
        }
        let sites = Sites::new(std::mem::take(&mut settings.sites)).unwrap_or_else(|faults| {
            for (place, (key, error)) in faults {
                reading.fault("site", place, key, &error);
            }
            Sites::default()
        });
        let problems = reading.into_problems();
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        settings.take_paths_from(folder);
        Ok(Self { settings, sites })
    }
}

impl Settings {
    fn take_paths_from(&mut self, folder: &Path) {
        for path in [&mut self.tls.certificate, &mut self.tls.key, &mut self.guests.key_file] {
            *path = folder.join(&*path);
        }
        for Checked(plain) in &mut self.listen.http {
            *plain = plain.clone().below(folder);
        }
        if let Some(Checked(address)) = &mut self.internal.listen {
            *address = address.clone().below(folder);
        }
    }
}

impl Problems {
    /// Each of them, in the order of the file.
    pub fn iter(&self) -> impl Iterator<Item = &Problem> {
        self.0.iter()
    }
}

impl std::error::Error for Problems {}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, problem) in self.0.iter().enumerate() {
            if place > 0 {
                f.write_str("\n")?;
            }
            problem.fmt(f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:", self.file.display())?;
        if let Some(line) = self.line {
            write!(f, "{line}:")?;
        }
        if !self.key.is_empty() {
            write!(f, " {}:", self.key)?;
        }
        write!(f, " {}", self.message)
    }
}

#[cfg(test)]
mod tests;
