//! `proxy.toml` becomes the settings of every module, and what must agree across them is held together.

mod agreement;
pub mod log;
mod reading;
mod shape;
mod shipped;
mod wording;
pub mod written;

use std::fmt;
use std::io;
use std::path::Path;
use std::path::PathBuf;
use std::time::SystemTime;

use serde::Deserialize;

use crate::config::agreement::Finding;
use crate::config::log::Log;
use crate::config::reading::Reading;
use crate::config::written::Written;
use crate::endpoint::backend;
use crate::endpoint::prebind;
use crate::file;
use crate::file::Read;
use crate::outbound;
use crate::pass::ticket;
use crate::protocol::bosh;
use crate::protocol::xml::check;
use crate::server::bounds;
use crate::server::listen;
use crate::session;
use crate::site;
use crate::site::Sites;
use crate::site::settings::Checked;
use crate::tls;
use crate::tls::certificates::Certificates;
use crate::tls::certificates::Fault;
use crate::upstream;
use crate::visitor::cookies;
use crate::visitor::guest;
use crate::visitor::jwks;
use crate::visitor::whois;

/// Everything that `proxy.toml` says.
#[derive(Debug)]
pub struct Config {
    /// The settings of the program.
    pub settings: Settings,
    /// The websites it serves.
    pub sites: Sites,
    /// The certificates; none where nobody speaks TLS with us, and where the development certificate is still to be made.
    pub certificates: Option<Certificates>,
    /// What is allowed, but hardly meant.
    pub warnings: Vec<Problem>,
    /// What the file says, to be compared with what it says later.
    pub written: Written,
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
    /// What an element of a browser may be made of.
    pub xml: check::Limits,
    /// Streams that the edge manages itself.
    pub stream_management: session::stream_management::Settings,
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
    /// Reads `proxy.toml` and the files that it names. Relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// Everything that is wrong with it, as far as it could be read.
    pub fn load(path: &Path) -> Result<Self, Problems> {
        let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
        let text = file::read(path)
            .and_then(|content| String::from_utf8(content).map_err(not_text))
            .map_err(|error| {
                let (file, message) = (path.to_owned(), format!("cannot be read: {error}"));
                Problems(vec![Problem { file, line: None, key: String::new(), message }])
            })?;
        Self::parse(path, &text, &file::read)
    }

    /// Makes a configuration of the text of the file at `path`; the files that it names are read by `read` alone.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn parse(path: &Path, text: &str, read: Read) -> Result<Self, Problems> {
        let folder = path.parent().unwrap_or(Path::new(""));
        let mut reading = Reading::new(path, text);
        reading.fill_in_files(folder, read);
        let written = reading.written();
        let Some(mut settings) = reading.settings::<Settings>() else {
            return Err(Problems(reading.into_problems()));
        };
        for contradiction in agreement::contradictions(&settings) {
            reading.conflict(&contradiction);
        }
        for site in &mut settings.sites {
            site.take_paths_from(folder);
        }
        let mut doubts = agreement::doubts(&settings);
        let sites =
            Sites::new(std::mem::take(&mut settings.sites), read).unwrap_or_else(|faults| {
                for (place, (key, error)) in faults {
                    reading.conflict(&in_site(place, key, &error));
                }
                Sites::default()
            });
        settings.take_paths_from(folder);
        let certificates = settings.certificates(read).unwrap_or_else(|faults| {
            for fault in &faults {
                reading.conflict(&in_tls(fault));
            }
            None
        });
        if let Some(certificates) = &certificates {
            doubts.extend(doubts_about(certificates, &sites));
        }
        let mut warnings: Vec<_> = doubts.iter().map(|doubt| reading.located(doubt)).collect();
        warnings.sort_by_key(|warning| warning.line);
        let problems = reading.into_problems();
        if !problems.is_empty() {
            return Err(Problems(problems));
        }
        Ok(Self { settings, sites, certificates, warnings, written })
    }
}

impl Settings {
    fn take_paths_from(&mut self, folder: &Path) {
        self.tls.take_paths_from(folder);
        self.guests.key_file = folder.join(&self.guests.key_file);
        for Checked(plain) in &mut self.listen.http {
            *plain = plain.clone().below(folder);
        }
        if let Some(Checked(address)) = &mut self.internal.listen {
            *address = address.clone().below(folder);
        }
    }

    fn certificates(&self, read: Read) -> Result<Option<Certificates>, Vec<Fault>> {
        let needed = !self.listen.https.is_empty() || self.internal.is_https();
        if !needed || self.tls.wants_development_certificate(read) {
            return Ok(None);
        }
        Certificates::load(&self.tls.pairs(), read).map(Some)
    }
}

fn in_site(place: usize, key: &str, error: &site::Error) -> Finding {
    let dot = if key.is_empty() { "" } else { "." };
    Finding { key: format!("site[{place}]{dot}{key}"), message: error.to_string() }
}

fn in_tls(Fault { pair, key, error }: &Fault) -> Finding {
    Finding { key: key_of_pair(*pair, key), message: outbound::chain(error) }
}

fn key_of_pair(pair: usize, key: &str) -> String {
    match pair.checked_sub(1) {
        None => format!("tls.{key}"),
        Some(place) => format!("tls.certificates[{place}].{key}"),
    }
}

fn doubts_about(certificates: &Certificates, sites: &Sites) -> Vec<Finding> {
    let spans = certificates.warnings(SystemTime::now()).into_iter();
    let spans =
        spans.map(|(pair, message)| Finding { key: key_of_pair(pair, "certificate"), message });
    let hosts = sites.iter().enumerate().flat_map(|(place, site)| {
        let strangers = site.hosts.iter().filter(|host| !certificates.are_for(host));
        strangers.map(move |host| Finding {
            key: format!("site[{place}].hosts"),
            message: format!(
                "no certificate is for {host}: browsers will warn of the one they are shown"
            ),
        })
    });
    spans.chain(hosts).collect()
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
