//! TOML into settings, with every problem it has rather than the first.

use std::borrow::Cow;
use std::fs;
use std::ops::Range;
use std::path::Path;
use std::path::PathBuf;

use serde::de::DeserializeOwned;
use toml::Spanned;
use toml::de::DeTable;
use toml::de::DeValue;
use toml::de::Deserializer;
use toml::de::Error;

use crate::config::Problem;

/// A file that is being read.
pub(super) struct Reading<'a> {
    file: &'a Path,
    text: &'a str,
    table: Spanned<DeTable<'a>>,
    problems: Vec<Problem>,
}

impl<'a> Reading<'a> {
    pub(super) fn new(file: &'a Path, text: &'a str) -> Self {
        let (table, errors) = DeTable::parse_recoverable(text);
        let mut reading = Self { file, text, table, problems: Vec::new() };
        for error in errors {
            reading.problem(error.span(), String::new(), error.message().to_owned());
        }
        reading
    }

    /// Puts the content of the file in the place of each `{ file = "path" }`, less its trailing newline.
    pub(super) fn fill_in_files(&mut self, folder: &Path) {
        let mut unread = Vec::new();
        fill_in_table(self.table.get_mut(), folder, &mut unread);
        for (span, message) in unread {
            let key = key_at(self.table.get_ref(), &span).unwrap_or_default();
            remove_at(self.table.get_mut(), &span);
            self.problem(Some(span), key, message);
        }
    }

    /// The settings; nothing if they have a problem.
    ///
    /// serde stops at the first, so what it stumbles over is noted and taken out, and it tries again.
    pub(super) fn settings<T: DeserializeOwned>(&mut self) -> Option<T> {
        // What is not TOML would be told a second time as what is missing from it.
        if self.problems.iter().any(|problem| problem.key.is_empty()) {
            return None;
        }
        // Each round takes one thing out, so there are no more rounds than bytes.
        for _ in 0..=self.text.len() {
            match T::deserialize(Deserializer::from(self.table.clone())) {
                Ok(settings) => return self.problems.is_empty().then_some(settings),
                Err(error) => {
                    if !self.take_out(&error) {
                        return None;
                    }
                }
            }
        }
        None
    }

    /// Notes what does not fit together in the table `table`.
    pub(super) fn conflict(&mut self, table: &str, message: &str) {
        let place = self.table.get_ref().get_key_value(table).map(|(key, _)| key.span());
        self.problem(place, table.to_owned(), message.to_owned());
    }

    /// Notes what does not fit together, at the `place`th table of the array `array` and the `key` below it.
    pub(super) fn fault(
        &mut self,
        array: &str,
        place: usize,
        key: &str,
        error: &dyn std::fmt::Display,
    ) {
        let tables = self.table.get_ref().get(array).and_then(|tables| tables.get_ref().as_array());
        let table = tables.and_then(|tables| tables.get(place));
        let mut span = table.map(Spanned::span);
        let mut inner = table.map(Spanned::get_ref);
        for part in key.split('.').filter(|part| !part.is_empty()) {
            let Some((found, value)) =
                inner.and_then(DeValue::as_table).and_then(|table| table.get_key_value(part))
            else {
                break;
            };
            (span, inner) = (Some(found.span()), Some(value.get_ref()));
        }
        let key = if key.is_empty() { array.to_owned() } else { format!("{array}.{key}") };
        self.problem(span, key, error.to_string());
    }

    /// All problems, in the order of the file.
    pub(super) fn into_problems(mut self) -> Vec<Problem> {
        self.problems.sort_by_key(|problem| problem.line);
        self.problems
    }

    fn take_out(&mut self, error: &Error) -> bool {
        let Some(span) = error.span() else {
            self.problem(None, String::new(), error.message().to_owned());
            return false;
        };
        let key = key_at(self.table.get_ref(), &span).unwrap_or_default();
        // What is missing because it was taken out has been told already.
        let told = error
            .message()
            .strip_prefix("missing field `")
            .and_then(|rest| rest.strip_suffix('`'))
            .is_some_and(|field| {
                let missing =
                    if key.is_empty() { field.to_owned() } else { format!("{key}.{field}") };
                self.problems.iter().any(|problem| problem.key == missing)
            });
        if !told {
            self.problem(Some(span.clone()), key, error.message().to_owned());
        }
        remove_at(self.table.get_mut(), &span)
    }

    fn problem(&mut self, span: Option<Range<usize>>, key: String, message: String) {
        let before = span.and_then(|span| self.text.get(..span.start));
        let line = before.map(|before| before.matches('\n').count() + 1);
        self.problems.push(Problem { file: PathBuf::from(self.file), line, key, message });
    }
}

type Unread = Vec<(Range<usize>, String)>;

fn fill_in_table(table: &mut DeTable, folder: &Path, unread: &mut Unread) {
    for (_, value) in table.iter_mut() {
        fill_in(value, folder, unread);
    }
}

fn fill_in(value: &mut Spanned<DeValue>, folder: &Path, unread: &mut Unread) {
    let span = value.span();
    if let Some(path) = named_file(value.get_ref()) {
        let path = folder.join(path);
        match fs::read_to_string(&path) {
            Ok(content) => {
                let content = content.strip_suffix('\n').unwrap_or(&content);
                let content = content.strip_suffix('\r').unwrap_or(content);
                *value.get_mut() = DeValue::String(Cow::Owned(content.to_owned()));
            }
            Err(error) => unread.push((span, format!("cannot read {}: {error}", path.display()))),
        }
        return;
    }
    match value.get_mut() {
        DeValue::Table(table) => fill_in_table(table, folder, unread),
        DeValue::Array(array) => array.iter_mut().for_each(|value| fill_in(value, folder, unread)),
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => {}
    }
}

fn named_file<'a>(value: &'a DeValue) -> Option<&'a str> {
    let table = value.as_table().filter(|table| table.len() == 1)?;
    table.get("file")?.get_ref().as_str()
}

/// The key, with the tables it is in, whose name or value stands exactly there.
fn key_at(table: &DeTable, span: &Range<usize>) -> Option<String> {
    table.iter().find_map(|(key, value)| {
        let below = || below(value.get_ref(), span);
        let inner = if key.span() == *span || value.span() == *span {
            Some(String::new())
        } else {
            below()
        };
        inner.map(|inner| {
            if inner.is_empty() {
                key.get_ref().to_string()
            } else {
                format!("{}.{inner}", key.get_ref())
            }
        })
    })
}

fn below(value: &DeValue, span: &Range<usize>) -> Option<String> {
    if let Some(table) = value.as_table() {
        return key_at(table, span);
    }
    let mut values = value.as_array()?.iter();
    values.find_map(|value| {
        if value.span() == *span { Some(String::new()) } else { below(value.get_ref(), span) }
    })
}

/// Whether there was something exactly there, which is now gone.
fn remove_at(table: &mut DeTable, span: &Range<usize>) -> bool {
    let there = table.iter().find(|(key, value)| key.span() == *span || value.span() == *span);
    if let Some(key) = there.map(|(key, _)| key.clone()) {
        return table.remove(&key).is_some();
    }
    table.iter_mut().any(|(_, value)| remove_below(value.get_mut(), span))
}

fn remove_below(value: &mut DeValue, span: &Range<usize>) -> bool {
    match value {
        DeValue::Table(table) => remove_at(table, span),
        DeValue::Array(array) => {
            let there = array.iter().position(|value| value.span() == *span);
            if let Some(place) = there {
                let left = array.iter().enumerate().filter(|(at, _)| *at != place);
                *array = left.map(|(_, value)| value.clone()).collect();
                return true;
            }
            array.iter_mut().any(|value| remove_below(value.get_mut(), span))
        }
        DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => false,
    }
}
