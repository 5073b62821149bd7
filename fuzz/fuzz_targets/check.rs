//! The check: what passes also becomes an element of the same name and namespace, and without its `from` it passes again and has none.
#![no_main]

use libfuzzer_sys::fuzz_target;

use vestibule::protocol::xml::check::Limits;
use vestibule::protocol::xml::check::check;
use vestibule::protocol::xml::element::Element;

fuzz_target!(|text: &[u8]| {
    let Ok(root) = check(text, &Limits::default()) else { return };
    let element = Element::parse(text).expect("what passes can be read");
    assert!(text[root.name.clone()].ends_with(element.name().as_bytes()));
    assert_eq!(root.from.is_some(), element.attribute("from").is_some());
    let namespace = root.namespace.map(|range| &text[range]);
    // Written with references or line ends it is the same only once decoded.
    if namespace.is_none_or(|written| !written.iter().any(|byte| b"&\t\r\n".contains(byte))) {
        let namespace = namespace.filter(|written| !written.is_empty());
        assert_eq!(
            namespace,
            element.namespace().filter(|_| element.prefix() != Some("xml")).map(str::as_bytes)
        );
    }
    if let Some(from) = root.from {
        let without = [&text[..from.start], &text[from.end..]].concat();
        let root = check(&without, &Limits::default()).expect("it is the same element");
        assert_eq!(root.from, None);
    }
});
