//! Faults of a configuration are told without its secrets.

use std::fs;

use tokio::process::Command;

#[tokio::test]
async fn secret_that_stands_in_a_faulty_line_is_not_told_with_the_fault() {
    for (line, told) in FAULTS {
        let folder = tempfile::tempdir().unwrap();
        let line = line.replace("SECRET", SECRET);
        fs::write(folder.path().join("proxy.toml"), format!("{SITE}{line}\n")).unwrap();
        for verb in ["check", "run"] {
            let program = Command::new(env!("CARGO_BIN_EXE_vestibule"))
                .current_dir(folder.path())
                .arg(verb)
                .env("RUST_LOG", "trace")
                .kill_on_drop(true)
                .output();
            let output = program.await.unwrap();

            let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
            assert!(!output.status.success(), "{verb} {line}");
            assert!(said.contains(told), "{verb} {line}: {said}");
            assert!(!said.contains(SECRET), "{verb} {line}: {said}");
        }
    }
}

/// What is wrong in a table, and what is said of it.
const FAULTS: [(&str, &str); 15] = [
    ("[site.session.whois]\nsecret = \"SECRET", "invalid basic string"),
    ("[site.session.whois]\nsecret = \"\\SECRET\"", "escaped value"),
    ("[site.session.whois]\nsecret = SECRET", ":9"),
    ("[site.session.whois]\nsecret 'SECRET'", "expected `=`"),
    ("[site.session.whois]\nsecret: 'SECRET'", "expected `=`"),
    ("[site.session.whois]\nsecret = ['SECRET']", "expected a text"),
    ("[site.session.whois]\nsecret = { flie = 'SECRET' }", "expected a text"),
    ("[site.session.whois]\nsecert = 'SECRET'", "did you mean `secret`?"),
    ("[site.session.whois]\nsecret = 'SECRET'\nsecret = 'SECRET'", "further up already"),
    ("[site.session.whois]\nurl = 'https://us er:SECRET@cms.test/'", "whois.url"),
    ("[site.session.whois]\nurl = 'https://user:SECRET@cms.test/'", "whois.url"),
    ("[site.session.jwt]\ncookie = 's'\nsecret = 'SECRET'", "at least 32 bytes"),
    ("[site.session.jwt]\ncookie = 's'\nkey = 'SECRET'", "in PEM"),
    ("[site.session.jwt]\ncookie = 's'\njwks = '{\"keys\": \"SECRET\"}'", "expected a JWK set"),
    ("[site.session.jwt]\ncookie = 's'\njwks = 'http://user:SECRET@id.test/'", "jwt.jwks"),
];

const SITE: &str = "[[site]]\nhosts = ['localhost']\n[site.registered]\ndomain = 'xmpp.localhost'\n\
    upstream = '127.0.0.1:1'\n# What signs a ticket.\nsecret = 'another secret of the tests'\n";

/// Shorter than a secret for cookies may be.
const SECRET: &str = "A-SECRET-IN-A-FAULTY-LINE";
