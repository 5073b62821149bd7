//! What administrators write into `proxy.toml`, and what they are told.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::Path;
use std::path::PathBuf;

use vestibule::config::Config;
use vestibule::config::Problem;

fn examples(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new("tests/config").join(kind);
    let mut files: Vec<PathBuf> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.retain(|file| file.extension().is_some_and(|extension| extension == "toml"));
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
fn accepted_files_are_accepted() {
    let mut files = examples("accepted");
    files.push(PathBuf::from("proxy.toml"));

    for file in files {
        match Config::load(&file) {
            Ok(config) => assert_eq!(config.warnings, [], "{}", file.display()),
            Err(problems) => panic!("{problems}"),
        }
    }
}

#[test]
fn refused_files_are_refused_with_every_problem_by_line_and_key() {
    for file in examples("refused") {
        let Err(problems) = Config::load(&file) else { panic!("{} is accepted", file.display()) };

        is_as_announced(&file, problems.iter());
    }
}

#[test]
fn files_that_are_hardly_meant_are_accepted_with_every_doubt_by_line_and_key() {
    for file in examples("warned") {
        let config = Config::load(&file).unwrap_or_else(|problems| panic!("{problems}"));

        is_as_announced(&file, config.warnings.iter());
    }
}

/// Each such file begins with what is told about it: `# line: key: message`, one line for each; a message that ends in `…`
/// goes on.
fn is_as_announced<'a>(file: &Path, told: impl Iterator<Item = &'a Problem>) {
    let name = file.display();
    let text = fs::read_to_string(file).unwrap();
    let announced = text.lines().map_while(|line| line.strip_prefix("# "));
    let expected: Vec<String> = announced.map(|told| format!("{name}:{told}")).collect();
    let told: Vec<String> = told.map(ToString::to_string).collect();

    assert_eq!(told.len(), expected.len(), "{name}: {told:#?}");
    for (told, expected) in told.iter().zip(&expected) {
        match expected.strip_suffix('…') {
            Some(beginning) => assert!(told.starts_with(beginning), "{told}"),
            None => assert_eq!(told, expected),
        }
    }
}

#[test]
fn file_that_is_not_there_is_named() {
    let problems = Config::load(Path::new("/nowhere/proxy.toml")).unwrap_err();

    assert!(
        problems.to_string().starts_with("/nowhere/proxy.toml: cannot be read: No such file"),
        "{problems}"
    );
}
