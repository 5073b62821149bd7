//! What serde says about a value, in the words of the file's author: what was expected, with an example, and the nearest key.

use strsim::damerau_levenshtein;

use crate::config::shipped;

/// What is told of the message `said` about the key `key`; `written` is the value as it stands in the file.
pub(super) fn reworded(said: &str, key: &str, written: Option<&str>) -> String {
    if let Some(rest) = said.strip_prefix("unknown field ") {
        return unknown_key(rest, key);
    }
    if let Some(rest) = said.strip_prefix("missing field ") {
        return missing_key(rest, key);
    }
    if let Some(rest) = said.strip_prefix("unknown variant ") {
        return unknown_word(rest);
    }
    if said.starts_with("invalid type: ") || said.starts_with("invalid value: ") {
        let wanted = said.split_once(", expected ").map_or("something else", |(_, wanted)| wanted);
        return other_value(wanted, key, written);
    }
    if said == "invalid socket address syntax" {
        return other_value("an address and a port", key, written);
    }
    said.to_owned()
}

/// What is told where a table is expected and is not there, or one where there may be several.
pub(super) fn other_shape(key: &str, several: bool) -> String {
    if several {
        format!("expected [[{key}]]: it is a list of tables, as there may be several")
    } else {
        format!("expected one table, [{key}]")
    }
}

/// `rest` is "`htps`, expected one of `https`, `http`"; `key` ends in the unknown one.
fn unknown_key(rest: &str, key: &str) -> String {
    let mut names = quoted(rest);
    let unknown = names.next().unwrap_or_default();
    let known: Vec<&str> = names.collect();
    let nearest = nearest(unknown, &known);
    let own = key.rsplit_once('.').map_or("", |(table, _)| table);
    let elsewhere = shipped::tables_with(unknown);
    let elsewhere: Vec<&str> = elsewhere
        .iter()
        .map(
            |table| if table.is_empty() { "the top of the file, above any [table]" } else { table },
        )
        .filter(|table| table.trim_matches(['[', ']']) != own)
        .collect();
    match nearest {
        Some((1, nearest)) => format!("unknown key `{unknown}`, did you mean `{nearest}`?"),
        _ if !elsewhere.is_empty() => {
            format!("unknown key `{unknown}` here; it belongs to {}", elsewhere.join(" or "))
        }
        Some((_, nearest)) => format!("unknown key `{unknown}`, did you mean `{nearest}`?"),
        None if known.is_empty() => format!("unknown key `{unknown}`"),
        None => format!("unknown key `{unknown}`, expected one of {}", list(&known, '`')),
    }
}

fn missing_key(rest: &str, table: &str) -> String {
    let missing = quoted(rest).next().unwrap_or_default();
    let key = if table.is_empty() { missing.to_owned() } else { format!("{table}.{missing}") };
    match shipped::example(&key) {
        Some(example) => format!("the key `{missing}` is missing; such as {missing} = {example}"),
        None => format!("the key `{missing}` is missing"),
    }
}

/// `rest` is "`loud`, expected one of `error`, `warn`".
fn unknown_word(rest: &str) -> String {
    let mut words = quoted(rest);
    let unknown = words.next().unwrap_or_default();
    let known: Vec<&str> = words.collect();
    let expected = if known.len() == 1 { "expected" } else { "expected one of" };
    format!("{expected} {}, not \"{unknown}\"", list(&known, '"'))
}

fn other_value(wanted: &str, key: &str, written: Option<&str>) -> String {
    let wanted = match wanted {
        "a string" => "a text",
        "a sequence" => "a list",
        "an integer or string" | "parsable string" => "a size",
        "a map" => "a table",
        "a boolean" => "true or false",
        _ if wanted.starts_with("a nonzero ") => "a whole number above 0",
        _ if wanted.starts_with("struct ") => "a table",
        "u8" | "u16" | "u32" | "u64" | "usize" | "i64" => "a whole number",
        other => other,
    };
    let such_as = shipped::example(key).map(|example| format!(", such as {example}"));
    // A secret that is written in the wrong way is a secret all the same.
    let not = written.filter(|written| !is_secret(key) && written.len() <= LONGEST);
    let not = not.map(|written| format!(", not {written}"));
    format!("expected {wanted}{}{}", such_as.unwrap_or_default(), not.unwrap_or_default())
}

fn is_secret(key: &str) -> bool {
    let name = key.rsplit('.').next().unwrap_or(key);
    ["secret", "password", "token"].iter().any(|word| name.contains(word))
}

fn nearest<'a>(unknown: &str, known: &[&'a str]) -> Option<(usize, &'a str)> {
    let distances = known.iter().map(|known| (damerau_levenshtein(unknown, known), *known));
    distances.min().filter(|(distance, _)| *distance <= 1 + unknown.len() / 4)
}

/// The names between backquotes, in order.
fn quoted(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

fn list(words: &[&str], quote: char) -> String {
    let words: Vec<String> = words.iter().map(|word| format!("{quote}{word}{quote}")).collect();
    words.join(", ")
}

/// More than this of what is written only hides what is said.
const LONGEST: usize = 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typo_gets_the_nearest_key() {
        assert_eq!(
            reworded("unknown field `hots`, expected one of `hosts`, `rooms`", "site.hots", None),
            "unknown key `hots`, did you mean `hosts`?"
        );
    }

    #[test]
    fn key_of_another_table_is_told_where_it_belongs() {
        let said = "unknown field `domain`, expected one of `hosts`, `rooms`";

        assert_eq!(
            reworded(said, "site.domain", None),
            "unknown key `domain` here; it belongs to [site.guests] or [site.registered]"
        );
    }

    #[test]
    fn key_like_no_other_gets_all_there_are() {
        assert_eq!(
            reworded("unknown field `colour`, expected `file` or `url`", "tls.colour", None),
            "unknown key `colour`, expected one of `file`, `url`"
        );
    }

    #[test]
    fn wrong_value_gets_the_default_for_an_example() {
        let said = "invalid value: string \"soon\", expected a duration";

        assert_eq!(
            reworded(said, "whois.timeout", Some("\"soon\"")),
            "expected a duration, such as \"5s\", not \"soon\""
        );
    }

    #[test]
    fn secret_that_is_written_in_the_wrong_way_is_not_told() {
        let said = "invalid type: integer `271828`, expected a string";

        let told = reworded(said, "site.registered.secret", Some("271828"));

        assert_eq!(told, "expected a text, such as { file = \"ticket.secret\" }");
    }
}
