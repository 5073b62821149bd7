//! The shipped `proxy.toml` against the code.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;

use super::*;

const SHIPPED: &str = include_str!("../../proxy.toml");

/// The settings of a text, less the secrets.
fn written(text: &str) -> toml::Value {
    let settings: Settings = toml::from_str(text).unwrap();
    toml::Value::try_from(settings).unwrap()
}

/// The file as it is when every setting that is commented out is not: such a line begins with `#` and no space.
fn uncommented() -> String {
    let lines = SHIPPED.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
        Some(_) | None => line,
    });
    let text = lines.collect::<Vec<_>>().join("\n");
    let text = text.replace("{ file = \"jwt.pem\" }", &format!("'''{PUBLIC_KEY}'''"));
    // The files are not there; what is read from them is a text.
    ["ticket", "whois", "jwt", "internal"]
        .iter()
        .fold(text, |text, name| text.replace(&format!("{{ file = \"{name}.secret\" }}"), "\"x\""))
}

const PUBLIC_KEY: &str = "-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEALG77KHMUIYfUby2LpQoA3AJGbLud2FDASHYGI2exiuo=
-----END PUBLIC KEY-----";

fn keys(value: &toml::Value, within: &str, found: &mut BTreeSet<String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, value) in table {
                let key = format!("{within}.{key}");
                keys(value, &key, found);
                found.insert(key);
            }
        }
        toml::Value::Array(values) => values.iter().for_each(|value| keys(value, within, found)),
        toml::Value::String(_)
        | toml::Value::Integer(_)
        | toml::Value::Float(_)
        | toml::Value::Boolean(_)
        | toml::Value::Datetime(_) => {}
    }
}

fn keys_of(value: &toml::Value) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    keys(value, "", &mut found);
    found
}

#[test]
fn shipped_file_says_the_defaults() {
    assert_eq!(written(SHIPPED), written(""));
}

#[test]
fn shipped_file_has_every_setting_and_no_other() {
    let text = uncommented();

    let there = keys_of(&toml::from_str(&text).unwrap());

    assert_eq!(there, keys_of(&written(&text)));
}

#[test]
fn relative_paths_are_relative_to_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.toml");
    fs::write(
        &path,
        "listen.https = []\nlisten.http = ['unix:v.sock']\n[tls]\nkey = '/etc/key.pem'",
    )
    .unwrap();

    let settings = Config::load(&path).unwrap().settings;

    assert_eq!(settings.tls.certificate, folder.path().join("certs/development.pem"));
    assert_eq!(settings.tls.key, Path::new("/etc/key.pem"));
    assert_eq!(settings.guests.key_file, folder.path().join("certs/guest-cookie.key"));
    assert_eq!(settings.listen.http, [Checked(listen::Plain::Unix(folder.path().join("v.sock")))]);
}

#[test]
fn secret_is_read_from_its_file_without_the_last_newline() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("proxy.toml");
    fs::write(folder.path().join("ticket.secret"), "a secret between us\n").unwrap();
    let mut file = fs::File::create(&path).unwrap();
    let guests = "domain = 'guest.example.org'\nupstream = 'localhost:5222'\nsecret = { file = 'ticket.secret' }";
    write!(file, "[[site]]\nhosts = ['a.example']\n[site.guests]\n{guests}").unwrap();

    let config = Config::load(&path).unwrap();

    let guests = config.sites.by_host("a.example").unwrap().guests.clone().unwrap();
    let site::Proof::Ticket(secret) = guests.pass else { panic!("{guests:?}") };
    assert!(secret.matches(b"a secret between us"));
}
