//! What the `proxy.toml` of this repository says: every key with its table, its default, and an example where it has none.

use std::sync::LazyLock;

use toml::de::DeTable;
use toml::de::DeValue;

/// The shipped file, which is built in; a test holds it equal to the code.
pub(super) const TEXT: &str = include_str!("../../proxy.toml");

/// Every setting with its default; those that have none are not there.
pub(super) fn defaults() -> &'static DeTable<'static> {
    static TABLE: LazyLock<DeTable<'static>> = LazyLock::new(|| parsed(TEXT));
    &TABLE
}

/// Every setting, with an example where there is no default.
pub(super) fn examples() -> &'static DeTable<'static> {
    static TABLE: LazyLock<DeTable<'static>> = LazyLock::new(|| parsed(&UNCOMMENTED));
    &TABLE
}

/// The example of the key `a.b.c`, as it is written.
pub(super) fn example(key: &str) -> Option<&'static str> {
    let mut parts = key.split('.');
    let first = parts.next()?;
    let mut value = examples().get(first)?;
    for part in parts {
        value = inner(value.get_ref())?.get(part)?;
    }
    match value.get_ref() {
        DeValue::Table(table) if !is_inline(table) => None,
        DeValue::Array(values) if values.iter().any(|value| value.get_ref().is_table()) => None,
        DeValue::Table(_)
        | DeValue::Array(_)
        | DeValue::String(_)
        | DeValue::Integer(_)
        | DeValue::Float(_)
        | DeValue::Boolean(_)
        | DeValue::Datetime(_) => UNCOMMENTED.get(value.span()),
    }
}

/// The tables that have a key of this name, as they are written: `[site.guests]`; the top of the file is empty.
pub(super) fn tables_with(key: &str) -> Vec<String> {
    let mut found = Vec::new();
    tables_below(examples(), "", key, &mut found);
    found
}

/// The table that a value is, or the first of the list of tables that it is.
pub(super) fn inner<'a>(value: &'a DeValue<'static>) -> Option<&'a DeTable<'static>> {
    value.as_table().or_else(|| value.as_array()?.iter().next()?.get_ref().as_table())
}

fn tables_below(table: &DeTable<'static>, name: &str, wanted: &str, found: &mut Vec<String>) {
    for (key, value) in table {
        if key.get_ref() == wanted {
            found.push(name.to_owned());
        }
        let Some(below) = inner(value.get_ref()).filter(|below| !is_inline(below)) else {
            continue;
        };
        let path = name.trim_matches(['[', ']']);
        let path = if path.is_empty() {
            key.get_ref().to_string()
        } else {
            format!("{path}.{}", key.get_ref())
        };
        let name =
            if value.get_ref().is_array() { format!("[[{path}]]") } else { format!("[{path}]") };
        tables_below(below, &name, wanted, found);
    }
}

/// Whether it is the `{ file = "…" }` of a secret, which is no table of settings.
pub(super) fn is_inline(table: &DeTable<'static>) -> bool {
    table.len() == 1 && table.contains_key("file")
}

fn parsed(text: &'static str) -> DeTable<'static> {
    DeTable::parse_recoverable(text).0.into_inner()
}

/// The file as it is when every setting that is commented out is not: such a line begins with `#` and no space.
static UNCOMMENTED: LazyLock<String> = LazyLock::new(|| {
    let lines = TEXT.lines().map(|line| match line.strip_prefix('#') {
        Some(setting) if !setting.is_empty() && !setting.starts_with(' ') => setting,
        Some(_) | None => line,
    });
    lines.collect::<Vec<_>>().join("\n")
});
