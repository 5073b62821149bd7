//! TOML into settings, with every problem it has rather than the first.

use std::borrow::Cow;
use std::io;
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
use crate::config::agreement::Finding;
use crate::config::agreement::measured_by;
use crate::config::shape::misshapen;
use crate::config::wording::reworded;
use crate::config::written::Written;
use crate::file::Read;

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
            let written = error.span().and_then(|span| text.get(span));
            let message = match (error.message(), written) {
                ("duplicate key", Some(key)) => format!("`{key}` stands further up already"),
                // Of which the parser does not say where.
                ("recursion limit", _) => "tables or lists are nested too deeply".to_owned(),
                (message, _) => message.to_owned(),
            };
            reading.problem(error.span(), String::new(), message);
        }
        reading
    }

    /// Puts the content of the file in the place of each `{ file = "path" }`, less its trailing newline.
    pub(super) fn fill_in_files(&mut self, folder: &Path, read: Read) {
        let mut unread = Vec::new();
        fill_in_table(self.table.get_mut(), (folder, read), &mut unread);
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
        for (span, key, message) in misshapen(self.table.get_ref()) {
            remove_at(self.table.get_mut(), &span);
            self.problem(Some(span), key, message);
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

    /// Notes what does not fit together.
    pub(super) fn conflict(&mut self, finding: &Finding) {
        let problem = self.located(finding);
        self.problems.push(problem);
    }

    /// What is told of a finding: with the line of its key, or where the file is silent about that, of one that it is measured by,
    /// or of the innermost table that is there.
    pub(super) fn located(&self, Finding { key, message }: &Finding) -> Problem {
        let span = self.place(key).map_or_else(
            |innermost| {
                let others = measured_by(key).iter();
                others.map(|other| self.place(other)).find_map(Result::ok).or(innermost)
            },
            Some,
        );
        let names: Vec<&str> = key.split('.').map(|part| step(part).0).collect();
        self.problem_at(span, names.join("."), message.clone())
    }

    /// Where `site[1].registered.secret` stands.
    ///
    /// # Errors
    /// Where the innermost table of it stands that is there, if any.
    fn place(&self, key: &str) -> Result<Range<usize>, Option<Range<usize>>> {
        let mut span = None;
        let mut table = Some(self.table.get_ref());
        for part in key.split('.') {
            let (name, place) = step(part);
            let there = table.and_then(|table| table.get_key_value(name));
            let Some((found, value)) = there else { return Err(span) };
            let (several, value) = match value.get_ref().as_array() {
                Some(values) => (part.ends_with(']'), values.get(place).unwrap_or(value)),
                None => (false, value),
            };
            // One table of several is where it begins; everything else is where its key is.
            span = Some(if several { value.span() } else { found.span() });
            table = value.get_ref().as_table();
        }
        span.ok_or(None)
    }

    /// What the file says, for a comparison.
    pub(super) fn written(&self) -> Written {
        Written::of(self.table.get_ref())
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
        let missing =
            error.message().strip_prefix("missing field `").and_then(|rest| rest.strip_suffix('`'));
        let told = missing.is_some_and(|field| self.has_told_of(&key, field));
        if !told {
            let value =
                value_of(self.table.get_ref(), &span).and_then(|value| self.text.get(value));
            let message = reworded(error.message(), &key, value);
            self.problem(Some(span.clone()), key, message);
        }
        remove_at(self.table.get_mut(), &span)
    }

    /// Whether a key is missing because it was taken out, or because another one was meant to be it.
    fn has_told_of(&self, table: &str, field: &str) -> bool {
        let key = if table.is_empty() { field.to_owned() } else { format!("{table}.{field}") };
        let meant = format!("did you mean `{field}`?");
        self.problems.iter().any(|problem| {
            let within = problem.key.rsplit_once('.').map_or("", |(table, _)| table);
            problem.key == key || within == table && problem.message.ends_with(&meant)
        })
    }

    fn problem(&mut self, span: Option<Range<usize>>, key: String, message: String) {
        let problem = self.problem_at(span, key, message);
        self.problems.push(problem);
    }

    fn problem_at(&self, span: Option<Range<usize>>, key: String, message: String) -> Problem {
        let before = span.and_then(|span| self.text.get(..span.start));
        let line = before.map(|before| before.matches('\n').count() + 1);
        Problem { file: PathBuf::from(self.file), line, key, message }
    }
}

/// The name and the place in `site[1]`; the place is 0 where none is said.
fn step(part: &str) -> (&str, usize) {
    let Some((name, place)) = part.split_once('[') else { return (part, 0) };
    (name, place.trim_end_matches(']').parse().unwrap_or(0))
}

type Unread = Vec<(Range<usize>, String)>;

fn fill_in_table(table: &mut DeTable, from: (&Path, Read), unread: &mut Unread) {
    for (_, value) in table.iter_mut() {
        fill_in(value, from, unread);
    }
}

fn fill_in(
    value: &mut Spanned<DeValue>,
    from @ (folder, read): (&Path, Read),
    unread: &mut Unread,
) {
    let span = value.span();
    if let Some(path) = named_file(value.get_ref()) {
        let path = folder.join(path);
        let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not UTF-8");
        match read(&path).and_then(|content| String::from_utf8(content).map_err(not_text)) {
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
        DeValue::Table(table) => fill_in_table(table, from, unread),
        DeValue::Array(array) => array.iter_mut().for_each(|value| fill_in(value, from, unread)),
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

/// Where the value stands whose key or which itself stands exactly there.
fn value_of(table: &DeTable, span: &Range<usize>) -> Option<Range<usize>> {
    table.iter().find_map(|(key, value)| {
        if key.span() == *span || value.span() == *span {
            return Some(value.span());
        }
        value_below(value.get_ref(), span)
    })
}

fn value_below(value: &DeValue, span: &Range<usize>) -> Option<Range<usize>> {
    if let Some(table) = value.as_table() {
        return value_of(table, span);
    }
    let mut values = value.as_array()?.iter();
    values.find_map(|value| {
        if value.span() == *span { Some(value.span()) } else { value_below(value.get_ref(), span) }
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
