//! The one way between modules: `src/lib.rs` declares them lowest first, and each names only what is lower.

#![allow(clippy::unwrap_used, clippy::indexing_slicing, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::path::PathBuf;

#[test]
fn a_module_names_only_what_is_lower() {
    let layers = layers();
    let mut faults = Vec::new();
    for file in sources() {
        let own = layer_of(&file);
        let Some(height) = layers.iter().position(|layer| *layer == own) else { continue };
        for named in modules_named_in(&fs::read_to_string(&file).unwrap()) {
            let at = layers.iter().position(|layer| *layer == named);
            if at.is_none_or(|at| at > height) {
                faults.push(format!("{} names {named}", file.display()));
            }
        }
    }

    assert!(layers.len() > 10, "lib.rs declares its modules: {layers:?}");
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn the_protocols_know_no_runtime_no_http_no_clock_and_no_dice() {
    let forbidden = [
        "tokio",
        "hyper",
        "Instant::now",
        "SystemTime::now",
        "rand::",
        "std::fs",
        "std::net",
        "tracing",
    ];
    let protocol = sources()
        .into_iter()
        .filter(|file| layer_of(file) == "protocol" && !file.ends_with("tests.rs"));
    let faults: Vec<String> = protocol
        .flat_map(|file| {
            let code = without_tests(&without_comments(&fs::read_to_string(&file).unwrap()));
            let found = forbidden.into_iter().filter(move |word| code.contains(word));
            found.map(move |word| format!("{} names {word}", file.display())).collect::<Vec<_>>()
        })
        .collect();

    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn only_the_tls_stream_names_the_unbuffered_api() {
    let named: Vec<PathBuf> = sources()
        .into_iter()
        .filter(|file| {
            without_comments(&fs::read_to_string(file).unwrap()).contains("rustls::unbuffered")
        })
        .collect();

    assert!(named.iter().map(|file| file.ends_with("tls/stream.rs")).eq([true]), "{named:?}");
}

#[test]
fn main_names_only_the_configuration_and_the_gateway() {
    let main = without_comments(&fs::read_to_string(source().join("main.rs")).unwrap());
    let named: Vec<&str> = main.split("vestibule::").skip(1).map(first_word).collect();

    assert!(
        !named.is_empty() && named.iter().all(|name| ["config", "gateway"].contains(name)),
        "{named:?}"
    );
}

/// The modules of lib.rs, in their order.
fn layers() -> Vec<String> {
    let lib = fs::read_to_string(source().join("lib.rs")).unwrap();
    let declared = lib.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'));
    declared.map(str::to_owned).collect()
}

/// Every file of `src`.
fn sources() -> Vec<PathBuf> {
    let mut folders = vec![source()];
    let mut files = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(path);
            }
        }
    }
    files
}

fn source() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

/// The module of lib.rs that a file belongs to.
fn layer_of(file: &Path) -> String {
    let inside = file.strip_prefix(source()).unwrap();
    let first = Path::new(inside.components().next().unwrap().as_os_str());
    first.file_stem().unwrap().to_str().unwrap().to_owned()
}

/// The modules that come behind `crate::`; lists in braces included.
fn modules_named_in(text: &str) -> Vec<String> {
    let code = without_comments(text);
    let named = code.split("crate::").skip(1).flat_map(|rest| match rest.strip_prefix('{') {
        Some(list) => {
            list.split('}').next().unwrap().split(',').map(|item| first_word(item.trim())).collect()
        }
        None => vec![first_word(rest)],
    });
    named.filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn first_word(text: &str) -> &str {
    text.split(|character: char| !character.is_alphanumeric() && character != '_').next().unwrap()
}

fn without_comments(text: &str) -> String {
    let lines = text.lines().map(|line| line.split_once("//").map_or(line, |(code, _)| code));
    lines.collect::<Vec<_>>().join("\n")
}

/// Tests stand at the very bottom of a file.
fn without_tests(code: &str) -> &str {
    code.split("#[cfg(test)]\nmod tests {").next().unwrap()
}
