//! The certificates that are shown now, and the look at their files that finds new ones.

use std::sync::Arc;

use rustls::server::ClientHello;
use rustls::server::ResolvesServerCert;
use rustls::sign::CertifiedKey;

use crate::file::Read;
use crate::live::Live;
use crate::tls::certificates::Certificates;
use crate::tls::certificates::Fault;
use crate::tls::config::Pair;
use crate::tls::contents::Contents;
use crate::tls::contents::Fingerprint;

/// What every new handshake takes its certificate from; streams that are there keep theirs.
#[derive(Debug)]
pub struct Shown(pub Live<Certificates>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(self.0.now().choose(hello.server_name())))
    }
}

/// The files of the certificates, looked at now and then.
#[derive(Debug)]
pub struct Watch {
    pairs: Vec<Pair>,
    shown: Fingerprint,
    broken: Option<Broken>,
}

/// What a look has found.
#[derive(Debug)]
pub enum Found {
    /// Nothing that is new.
    Same,
    /// Other certificates.
    New(Certificates),
    /// Files that cannot be used; this is found once for each state that they are left in.
    Broken(Vec<Fault>),
}

/// Files that cannot be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Broken {
    /// They may be half written: the next look tells.
    Once(Fingerprint),
    /// They have stayed so, which was told.
    Told(Fingerprint),
}

impl Watch {
    /// Looks at the files of `pairs` from now on, which hold `shown` so far.
    #[must_use]
    pub fn new(pairs: Vec<Pair>, shown: &Certificates) -> Self {
        Self { pairs, shown: shown.fingerprint(), broken: None }
    }

    /// Looks whether the files have changed, by their content: a link may lead elsewhere, a folder be another.
    pub fn look(&mut self, read: Read) -> Found {
        let contents = Contents::of(&self.pairs, read);
        let fingerprint = contents.fingerprint();
        if fingerprint == self.shown {
            self.broken = None;
            return Found::Same;
        }
        if self.broken == Some(Broken::Told(fingerprint)) {
            return Found::Same;
        }
        match Certificates::of(&contents) {
            Ok(certificates) => {
                (self.shown, self.broken) = (fingerprint, None);
                Found::New(certificates)
            }
            Err(faults) if self.broken == Some(Broken::Once(fingerprint)) => {
                self.broken = Some(Broken::Told(fingerprint));
                Found::Broken(faults)
            }
            Err(_) => {
                self.broken = Some(Broken::Once(fingerprint));
                Found::Same
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::collections::HashMap;
    use std::io;
    use std::path::Path;
    use std::path::PathBuf;

    use super::*;

    type Disk = RefCell<HashMap<PathBuf, String>>;

    fn pairs() -> Vec<Pair> {
        vec![Pair { certificate: "a.pem".into(), key: "a.key".into() }]
    }

    fn read(disk: &Disk) -> impl Fn(&Path) -> io::Result<Vec<u8>> {
        |path| {
            let content = disk.borrow().get(path).cloned();
            content.map(String::into_bytes).ok_or_else(|| io::ErrorKind::NotFound.into())
        }
    }

    fn certificate_and_key() -> (String, String) {
        let made = rcgen::generate_simple_self_signed(vec!["a.example".to_owned()]).unwrap();
        (made.cert.pem(), made.signing_key.serialize_pem())
    }

    fn watched() -> (Disk, Watch) {
        let (certificate, key) = certificate_and_key();
        let disk = RefCell::new([("a.pem".into(), certificate), ("a.key".into(), key)].into());
        let shown = Certificates::load(&pairs(), &read(&disk)).unwrap();
        (disk, Watch::new(pairs(), &shown))
    }

    fn write(disk: &Disk, file: &str, content: &str) {
        disk.borrow_mut().insert(file.into(), content.to_owned());
    }

    #[test]
    fn unchanged_files_are_nothing_new() {
        let (disk, mut watch) = watched();

        assert!(matches!(watch.look(&read(&disk)), Found::Same));
    }

    #[test]
    fn new_pair_is_found_once_however_the_looks_fall_between_its_two_files() {
        let (disk, mut watch) = watched();
        let (certificate, key) = certificate_and_key();

        write(&disk, "a.pem", &certificate);
        assert!(matches!(watch.look(&read(&disk)), Found::Same), "the key is still to come");
        write(&disk, "a.key", &key);
        assert!(matches!(watch.look(&read(&disk)), Found::New(_)));
        assert!(matches!(watch.look(&read(&disk)), Found::Same));
    }

    #[test]
    fn broken_file_is_told_once_until_it_changes() {
        let (disk, mut watch) = watched();

        write(&disk, "a.pem", "no certificate");
        assert!(matches!(watch.look(&read(&disk)), Found::Same), "it may be half written");
        let Found::Broken(faults) = watch.look(&read(&disk)) else { panic!("it has stayed so") };
        assert_eq!(faults[0].error.to_string(), "there is no certificate in a.pem");
        assert!(matches!(watch.look(&read(&disk)), Found::Same), "it was told");

        disk.borrow_mut().remove(Path::new("a.pem"));
        assert!(matches!(watch.look(&read(&disk)), Found::Same));
        assert!(matches!(watch.look(&read(&disk)), Found::Broken(_)), "it is broken otherwise");
    }

    #[test]
    fn files_that_are_put_back_are_nothing_new() {
        let (disk, mut watch) = watched();
        let before = disk.borrow().clone();

        write(&disk, "a.pem", "no certificate");
        watch.look(&read(&disk));
        disk.replace(before);

        assert!(matches!(watch.look(&read(&disk)), Found::Same));
    }
}
