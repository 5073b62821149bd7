//! What can be seen without the code that takes the values: a table where there should be several, a bound that is zero.

use std::ops::Range;
use std::time::Duration;

use bytesize::ByteSize;
use humantime_serde::re::humantime::parse_duration;
use toml::de::DeTable;
use toml::de::DeValue;

use crate::config::shipped;
use crate::config::wording::other_shape;

/// Where something is that cannot be right, its key, and what is told of it.
pub(super) type Misshapen = (Range<usize>, String, String);

/// Everything in `table` that has another shape than the same key in the shipped file.
pub(super) fn misshapen(table: &DeTable) -> Vec<Misshapen> {
    let mut found = Vec::new();
    compare(table, shipped::examples(), "", &mut found);
    found
}

fn compare(table: &DeTable, model: &DeTable<'static>, within: &str, found: &mut Vec<Misshapen>) {
    for (name, value) in table {
        let Some(model) = model.get(name.get_ref().as_ref()) else { continue };
        let key = if within.is_empty() {
            name.get_ref().to_string()
        } else {
            format!("{within}.{}", name.get_ref())
        };
        let below = shipped::inner(model.get_ref()).filter(|table| !shipped::is_inline(table));
        let Some(below) = below else {
            if !MAY_BE_ZERO.contains(&key.as_str()) {
                let told = above_zero(value.get_ref(), model.get_ref());
                let example = shipped::example(&key).unwrap_or_default();
                let told = told.map(|what| format!("expected {what} above 0, such as {example}"));
                found.extend(told.map(|told| (value.span(), key, told)));
            }
            continue;
        };
        let several = model.get_ref().is_array();
        let tables: Option<Vec<&DeTable>> = match (value.get_ref().as_array(), several) {
            (None, false) => value.get_ref().as_table().map(|table| vec![table]),
            (Some(tables), true) => tables.iter().map(|table| table.get_ref().as_table()).collect(),
            (None, true) | (Some(_), false) => None,
        };
        let Some(tables) = tables else {
            found.push((value.span(), key.clone(), other_shape(&key, several)));
            continue;
        };
        for table in tables {
            compare(table, below, &key, found);
        }
    }
}

/// What the value should be one of that is above zero, if it is zero.
fn above_zero(value: &DeValue, model: &DeValue) -> Option<&'static str> {
    let duration = |value: &DeValue| value.as_str().and_then(|text| parse_duration(text).ok());
    if duration(model).is_some() {
        return (duration(value) == Some(Duration::ZERO)).then_some("a duration");
    }
    let size = |value: &DeValue| value.as_str().and_then(|text| text.parse::<ByteSize>().ok());
    let is_zero = value.as_integer().is_some_and(|number| number.as_str() == "0");
    if size(model).is_some() {
        return (is_zero || size(value) == Some(ByteSize::b(0))).then_some("a size");
    }
    (is_zero && model.is_integer()).then_some("a whole number")
}

/// Settings of which nothing at all is a sensible amount.
const MAY_BE_ZERO: [&str; 14] = [
    "bosh.answers",
    "bosh.early",
    "bosh.polling",
    "http.websockets",
    "jwks.keep",
    "outbound.idle",
    "outbound.idle_connections",
    "prebind.hold",
    "site.session.jwt.leeway",
    "site.session.jwt.proof",
    "upstream.hold",
    "whois.fresh",
    "whois.keep",
    "whois.memory",
];
