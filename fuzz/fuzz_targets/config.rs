//! The configuration: whatever is written, it is accepted or refused with a reason, at a line of the file; no other file is read.
#![no_main]

use std::io;
use std::path::Path;

use libfuzzer_sys::fuzz_target;

use vestibule::config::Config;

fuzz_target!(|input: &[u8]| {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let lines = text.matches('\n').count() + 1;
    match Config::parse(Path::new("proxy.toml"), text, &read) {
        Ok(config) => {
            for site in config.sites.iter() {
                for host in &site.hosts {
                    assert!(
                        config.sites.by_host(host).is_some_and(|found| found.name == site.name)
                    );
                }
            }
            assert!(
                config
                    .warnings
                    .iter()
                    .all(|warning| warning.line.is_some_and(|line| line <= lines))
            );
            assert!(!format!("{config:?}").contains(SECRET), "a secret does not print");
        }
        Err(problems) => {
            assert!(problems.iter().next().is_some());
            for problem in problems.iter() {
                let placed = problem.line.is_some_and(|line| line <= lines);
                assert!(placed || problem.message.ends_with("nested too deeply"), "{problem}");
                assert!(!problem.to_string().contains(SECRET), "{problem}");
            }
        }
    }
});

/// The files that a fuzzer may name.
fn read(path: &Path) -> io::Result<Vec<u8>> {
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("secret") => Ok(format!("{SECRET}\n").into_bytes()),
        Some(_) | None => Err(io::ErrorKind::NotFound.into()),
    }
}

const SECRET: &str = "what is in a file of secrets";
