//! An element: what was read and is written reads the same again.
#![no_main]

use libfuzzer_sys::fuzz_target;

use vestibule::protocol::xml::check::Limits;
use vestibule::protocol::xml::check::check;
use vestibule::protocol::xml::element::Element;

fuzz_target!(|text: &[u8]| {
    let outer = [("stream", "http://etherx.jabber.org/streams"), ("", "jabber:client")];
    let Ok(element) = Element::parse_in(text, &outer) else { return };

    let written = element.to_bytes();

    assert_eq!(Element::parse_in(&written, &outer).as_ref(), Ok(&element));
    if let Ok(alone) = Element::parse(text) {
        check(&alone.to_bytes(), &Limits::default()).expect("what is written passes the check");
    }
});
