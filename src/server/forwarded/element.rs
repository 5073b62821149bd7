//! The elements of `Forwarded` (RFC 7239 §4), from the right: the last was written by the proxy next to us.

/// What one proxy says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Element {
    /// Who asked it: `for`.
    pub(super) node: Option<String>,
    /// How it was asked: `proto`.
    pub(super) proto: Option<String>,
}

/// The elements of one field; a malformed one is none, and the last that is looked at.
pub(super) struct Elements<'a> {
    rest: Option<&'a str>,
}

impl<'a> Elements<'a> {
    pub(super) fn of(field: &'a str) -> Self {
        Self { rest: Some(field) }
    }
}

impl Iterator for Elements<'_> {
    type Item = Option<Element>;

    fn next(&mut self) -> Option<Self::Item> {
        let text = self.rest.take()?;
        // The shortest that is well-formed: what stands left of it may be a browser's, with a quote that never closes. A comma
        // within quotes is rare, and a browser could write many.
        let cuts = text.rmatch_indices(',').map(|(at, _)| Some(at)).chain([None]);
        for cut in cuts.take(COMMAS) {
            let from = cut.map_or(0, |at| at + 1);
            if let Some(element) = text.get(from..).and_then(element) {
                self.rest = cut.and_then(|at| text.get(..at));
                return Some(Some(element));
            }
        }
        Some(None)
    }
}

fn element(text: &str) -> Option<Element> {
    let mut element = Element::default();
    let mut rest = text.trim();
    while !rest.is_empty() {
        let (name, value) = rest.split_once('=')?;
        let (value, behind) = value_of(value)?;
        let slot = match name.trim() {
            name if !is_token(name) => return None,
            name if name.eq_ignore_ascii_case("for") => Some(&mut element.node),
            name if name.eq_ignore_ascii_case("proto") => Some(&mut element.proto),
            _ => None,
        };
        // Each parameter occurs once (RFC 7239 §4).
        if let Some(slot) = slot
            && slot.replace(value).is_some()
        {
            return None;
        }
        let behind = behind.trim_start();
        rest = if behind.is_empty() { "" } else { behind.strip_prefix(';')?.trim_start() };
    }
    Some(element)
}

/// A token or a quoted string at the front, and what stands behind it.
fn value_of(text: &str) -> Option<(String, &str)> {
    let Some(quoted) = text.strip_prefix('"') else {
        let end = text.find([';', ' ', '\t']).unwrap_or(text.len());
        let (token, behind) = text.split_at_checked(end)?;
        return is_value(token).then(|| (token.to_owned(), behind));
    };
    let mut value = String::new();
    let mut letters = quoted.char_indices();
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((value, quoted.get(at + 1..)?)),
            '\\' => value.push(letters.next()?.1),
            letter => value.push(letter),
        }
    }
    None
}

fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

/// Many a proxy forgets the quotes round a port or brackets.
fn is_value(text: &str) -> bool {
    !text.is_empty()
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~:[]".contains(&byte))
}

/// Between which the end of one element is looked for.
const COMMAS: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    /// Who asked, and how.
    type Said = (Option<String>, Option<String>);

    fn said(field: &str) -> Vec<Option<Said>> {
        Elements::of(field).map(|element| element.map(|said| (said.node, said.proto))).collect()
    }

    fn one(node: &str, proto: Option<&str>) -> Said {
        (Some(node.to_owned()), proto.map(str::to_owned))
    }

    #[test]
    fn elements_come_from_the_right() {
        // RFC 7239 §4.
        assert_eq!(
            said("for=192.0.2.43, for=198.51.100.17;by=203.0.113.60;proto=http"),
            [Some(one("198.51.100.17", Some("http"))), Some(one("192.0.2.43", None))]
        );
        assert_eq!(
            said("For=\"[2001:db8:cafe::17]:4711\""),
            [Some(one("[2001:db8:cafe::17]:4711", None))]
        );
    }

    #[test]
    fn comma_within_quotes_ends_no_element() {
        assert_eq!(
            said("for=192.0.2.1, for=192.0.2.2;secret=\"a, b=\\\"c\""),
            [Some(one("192.0.2.2", None)), Some(one("192.0.2.1", None))]
        );
    }

    #[test]
    fn malformed_element_is_the_last() {
        for malformed in
            ["for", "for=", "for=\"192.0.2.1", "for=a;for=b", "=a", "for=a b", "f or=a"]
        {
            assert_eq!(said(malformed), [None], "{malformed}");
            assert_eq!(said(&format!("for=192.0.2.1, {malformed}")).first(), Some(&None));
        }
        assert_eq!(said(&"x,".repeat(10_000)).len(), 2);
    }
}
