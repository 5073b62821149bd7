//! Which certificate is shown for which name, and what is said against one.

use std::fs;

use rcgen::CertificateParams;
use rcgen::KeyPair;
use rcgen::date_time_ymd;
use tempfile::TempDir;

use super::*;
use crate::file::read;

fn pair(folder: &TempDir, name: &str, hosts: &[&str]) -> Pair {
    let hosts: Vec<String> = hosts.iter().map(|&host| host.to_owned()).collect();
    write(folder, name, &CertificateParams::new(hosts).unwrap())
}

fn write(folder: &TempDir, name: &str, params: &CertificateParams) -> Pair {
    let certificate = folder.path().join(format!("{name}.pem"));
    let key = folder.path().join(format!("{name}.key"));
    let keys = KeyPair::generate().unwrap();
    fs::write(&certificate, params.self_signed(&keys).unwrap().pem()).unwrap();
    fs::write(&key, keys.serialize_pem()).unwrap();
    Pair { certificate, key }
}

/// The names of the certificate that is shown for a name.
fn shown(certificates: &Certificates, name: Option<&str>) -> Vec<String> {
    names(certificates.choose(name).end_entity_cert().unwrap())
}

#[test]
fn exact_name_goes_before_a_wildcard_which_stands_for_one_label() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = [
        pair(&folder, "default", &["default.test"]),
        pair(&folder, "wildcard", &["*.example.org"]),
        pair(&folder, "exact", &["www.example.org", "example.org"]),
    ];
    let certificates = Certificates::load(&pairs, &read).unwrap();
    let shown = |name| shown(&certificates, Some(name));

    assert_eq!(shown("www.example.org"), ["www.example.org", "example.org"]);
    assert_eq!(shown("WWW.Example.org"), ["www.example.org", "example.org"]);
    assert_eq!(shown("example.org"), ["www.example.org", "example.org"]);
    assert_eq!(shown("chat.example.org"), ["*.example.org"]);
    for other in ["a.b.example.org", "example.net", "org", "", "."] {
        assert_eq!(shown(other), ["default.test"], "{other}");
        assert!(!certificates.are_for(other), "{other}");
    }
}

#[test]
fn browser_that_asks_for_no_name_gets_the_first_certificate() {
    let folder = tempfile::tempdir().unwrap();
    let pairs = [pair(&folder, "a", &["a.test"]), pair(&folder, "b", &["b.test"])];

    let certificates = Certificates::load(&pairs, &read).unwrap();

    assert_eq!(shown(&certificates, None), ["a.test"]);
}

#[test]
fn everything_that_is_wrong_is_told_with_its_pair_and_key() {
    let folder = tempfile::tempdir().unwrap();
    let (good, other) = (pair(&folder, "a", &["a.test"]), pair(&folder, "b", &["b.test"]));
    let crossed = Pair { certificate: good.certificate.clone(), key: other.key.clone() };
    let swapped = Pair { certificate: other.key.clone(), key: good.certificate.clone() };
    let missing = Pair { certificate: "/nowhere/c.pem".into(), key: "/nowhere/c.key".into() };
    let nameless = write(&folder, "d", &CertificateParams::default());

    let faults =
        Certificates::load(&[good, crossed, swapped, missing, nameless], &read).unwrap_err();

    let told: Vec<_> = faults.iter().map(|fault| (fault.pair, fault.key, &fault.error)).collect();
    assert!(
        matches!(
            told[..],
            [
                (1, "key", Error::OthersKey { .. }),
                (2, "certificate", Error::Empty(_)),
                (2, "key", Error::NotPem(..)),
                (3, "certificate", Error::Read(..)),
                (3, "key", Error::Read(..)),
                (4, "certificate", Error::Nameless(_)),
            ]
        ),
        "{told:#?}"
    );
}

#[test]
fn certificate_that_is_over_or_nearly_or_not_yet_good_is_warned_of_with_the_date() {
    let folder = tempfile::tempdir().unwrap();
    let until = |name: &str, from, to| {
        let mut params = CertificateParams::new(vec![format!("{name}.test")]).unwrap();
        (params.not_before, params.not_after) = (from, to);
        write(&folder, name, &params)
    };
    let pairs = [
        until("good", date_time_ymd(2026, 1, 1), date_time_ymd(2026, 7, 1)),
        until("near", date_time_ymd(2026, 1, 1), date_time_ymd(2026, 6, 10)),
        until("over", date_time_ymd(2026, 1, 1), date_time_ymd(2026, 5, 31)),
        until("early", date_time_ymd(2026, 6, 2), date_time_ymd(2026, 9, 1)),
    ];
    let june: SystemTime = date_time_ymd(2026, 6, 1).into();

    let warnings = Certificates::load(&pairs, &read).unwrap().warnings(june);

    let folder = folder.path().display();
    assert_eq!(
        warnings,
        [
            (1, format!("{folder}/near.pem expires on 2026-06-10T00:00:00Z")),
            (2, format!("{folder}/over.pem expired on 2026-05-31T00:00:00Z")),
            (3, format!("{folder}/early.pem is good only from 2026-06-02T00:00:00Z on")),
        ]
    );
}
