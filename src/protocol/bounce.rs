//! What a sender gets back of what its recipient never got (RFC 6120 §8.3, RFC 6121 §8.5).

use crate::protocol::namespace;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter::Piece;
use crate::protocol::xml::splitter::Splitter;

/// Writes the errors that are due for the first so many stanzas of `elements`, which each stand alone.
///
/// An iq that asks gets `service-unavailable`, a message `recipient-unavailable`. Nothing is due for presence, for answers and
/// errors, for a headline, for what a room says to all, and for copies of what somebody else has got.
pub fn write(elements: &[u8], stanzas: u32, out: &mut Vec<u8>) {
    let mut left = stanzas;
    each(elements, |stanza| {
        if left == 0 {
            return false;
        }
        left -= 1;
        if let Some(error) = Element::parse(stanza).ok().as_ref().and_then(error) {
            error.write(out);
        }
        true
    });
}

/// Writes the errors that are due to who has sent these `elements`, where nobody knows whether they have arrived.
///
/// An iq that asks and a message get `remote-server-timeout`. Nothing is due for presence, for answers and errors, and for a
/// message that only tells how far its sender has read or written: a page would show a failure of what nobody has seen.
pub fn write_back(elements: &[u8], out: &mut Vec<u8>) {
    each(elements, |stanza| {
        if let Some(error) = Element::parse(stanza).ok().as_ref().and_then(returned) {
            error.write(out);
        }
        true
    });
}

/// Shows each stanza of `elements`, as long as more are wanted.
fn each(elements: &[u8], mut show: impl FnMut(&[u8]) -> bool) {
    let mut splitter = Splitter::new(usize::MAX);
    let (mut header, mut rest): (&[u8], &[u8]) = (b"<stream>", elements);
    if splitter.next(&mut header).is_err() {
        return;
    }
    // They were cut from a stream, or checked, before, so there is no error; and if there is, nothing behind it can be read.
    while let Ok(Some(Piece::Stanza(cut))) = splitter.next(&mut rest) {
        if cut.is_stanza() && !show(cut.bytes) {
            return;
        }
    }
}

/// The error for one stanza.
fn error(stanza: &Element) -> Option<Element> {
    let (condition, kind) = match (stanza.name(), stanza.attribute("type").unwrap_or_default()) {
        ("iq", "get" | "set") => ("service-unavailable", "cancel"),
        ("message", "error" | "headline" | "groupchat") => return None,
        ("message", _) if is_copy(stanza) => return None,
        ("message", _) => ("recipient-unavailable", "wait"),
        _ => return None,
    };
    let error = Element::new("error", namespace::CLIENT)
        .with_attribute("type", kind)
        .with_child(Element::new(condition, namespace::STANZA_ERROR));
    Some(reply(stanza, ("to", Some(stanza.attribute("from")?))).with_child(error))
}

/// The error for one stanza of the browser, which comes from whom it was for.
fn returned(stanza: &Element) -> Option<Element> {
    match (stanza.name(), stanza.attribute("type").unwrap_or_default()) {
        ("iq", "get" | "set") => {}
        ("message", "error") => return None,
        ("message", _) if !is_only_of(stanza, &ASIDES) => {}
        _ => return None,
    }
    let text = Element::new("text", namespace::STANZA_ERROR)
        .with_attribute("xml:lang", "en")
        .with_text(UNKNOWN);
    let error = Element::new("error", namespace::CLIENT)
        .with_attribute("type", "wait")
        .with_child(Element::new("remote-server-timeout", namespace::STANZA_ERROR))
        .with_child(text);
    Some(reply(stanza, ("from", stanza.attribute("to"))).with_child(error))
}

fn reply(stanza: &Element, (side, address): (&str, Option<&str>)) -> Element {
    let mut reply = Element::new(stanza.name(), namespace::CLIENT).with_attribute("type", "error");
    for (name, value) in [(side, address), ("id", stanza.attribute("id"))] {
        if let Some(value) = value {
            reply = reply.with_attribute(name, value);
        }
    }
    reply
}

/// Whether a message says nothing but what these namespaces can.
fn is_only_of(message: &Element, namespaces: &[&str]) -> bool {
    message.children().all(|child| namespaces.contains(&child.namespace().unwrap_or_default()))
}

/// Whether a message only tells of others: a carbon (XEP-0280 §11), one of an archive (XEP-0313), an event of a node.
fn is_copy(message: &Element) -> bool {
    message.children().any(|child| {
        let namespace = child.namespace().unwrap_or_default();
        COPIES.iter().any(|copies| namespace.starts_with(copies))
    })
}

const COPIES: [&str; 3] =
    ["urn:xmpp:carbons:", "urn:xmpp:mam:", "http://jabber.org/protocol/pubsub#event"];

/// What a message tells beside what it says: who writes (XEP-0085), what was received and read (XEP-0184, XEP-0333), and how it
/// is to be treated (XEP-0334, XEP-0359).
const ASIDES: [&str; 5] = [
    "http://jabber.org/protocol/chatstates",
    "urn:xmpp:receipts",
    "urn:xmpp:chat-markers:0",
    "urn:xmpp:hints",
    "urn:xmpp:sid:0",
];

/// What pages show beside a message.
const UNKNOWN: &str =
    "The connection to the server was lost. It is not known whether this has arrived.";

#[cfg(test)]
mod tests {
    use super::*;

    fn bounced(stanzas: &str, most: u32) -> String {
        let mut out = Vec::new();
        write(stanzas.as_bytes(), most, &mut out);
        String::from_utf8(out).unwrap().replace('"', "'")
    }

    #[test]
    fn message_comes_back_to_its_sender_and_a_question_gets_an_answer() {
        let bounced = bounced(
            "<message xmlns='jabber:client' from='a@b/c' id='1' type='chat'><body>hi</body></message>\
             <message xmlns='jabber:client' from='a@b/c'/><iq xmlns='jabber:client' type='get' from='d@e/f' id='2'/>",
            3,
        );

        let recipient = "<error xmlns='jabber:client' type='wait'>\
            <recipient-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>";
        assert_eq!(
            bounced,
            [
                "<message xmlns='jabber:client' type='error' to='a@b/c' id='1'>",
                recipient,
                "<message xmlns='jabber:client' type='error' to='a@b/c'>",
                recipient,
                "<iq xmlns='jabber:client' type='error' to='d@e/f' id='2'><error xmlns='jabber:client' type='cancel'>\
                 <service-unavailable xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>",
            ]
            .concat()
        );
    }

    #[test]
    fn nothing_comes_back_of_what_asks_nobody_and_nobody_waits_for() {
        let stanzas = [
            "<presence xmlns='jabber:client' from='a@b/c'/>",
            "<message xmlns='jabber:client' from='a@b/c' type='error'/>",
            "<message xmlns='jabber:client' from='a@b/c' type='headline'/>",
            "<message xmlns='jabber:client' from='room@b/c' type='groupchat'/>",
            "<message xmlns='jabber:client' from='me@b'><received xmlns='urn:xmpp:carbons:2'/></message>",
            "<message xmlns='jabber:client' from='me@b'><result xmlns='urn:xmpp:mam:2'/></message>",
            "<message xmlns='jabber:client'/>",
            "<iq xmlns='jabber:client' from='a@b/c' id='1' type='result'/>",
            "<stream:features xmlns:stream='http://etherx.jabber.org/streams'/>",
        ];

        assert_eq!(bounced(&stanzas.concat(), 100), "");
    }

    #[test]
    fn those_that_the_server_sees_to_are_left_to_it() {
        let message = |id| format!("<message xmlns='jabber:client' from='a@b' id='{id}'/>");
        let features = "<x xmlns='y'/>".to_owned();

        let bounced = bounced(&[message(1), features, message(2), message(3)].concat(), 2);

        assert!(bounced.contains("id='1'") && bounced.contains("id='2'"), "{bounced}");
        assert!(!bounced.contains("id='3'"), "{bounced}");
    }

    fn given_back(stanzas: &str) -> String {
        let mut out = Vec::new();
        write_back(stanzas.as_bytes(), &mut out);
        String::from_utf8(out).unwrap().replace('"', "'")
    }

    #[test]
    fn browser_gets_an_error_for_what_it_has_said_in_vain_from_whom_it_was_for() {
        let returned = given_back(
            "<message xmlns='jabber:client' to='a@b' id='1' type='groupchat'><body>hi</body></message>\
             <active xmlns='urn:xmpp:csi:0'/><iq xmlns='jabber:client' type='get' id='2'><ping xmlns='urn:xmpp:ping'/></iq>",
        );

        let error = format!(
            "<error xmlns='jabber:client' type='wait'>\
             <remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>\
             <text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas' xml:lang='en'>{UNKNOWN}</text></error>"
        );
        assert_eq!(
            returned,
            format!(
                "<message xmlns='jabber:client' type='error' from='a@b' id='1'>{error}</message>\
                 <iq xmlns='jabber:client' type='error' id='2'>{error}</iq>"
            )
        );
    }

    #[test]
    fn browser_gets_no_error_for_what_nobody_would_miss() {
        let stanzas = [
            "<presence xmlns='jabber:client' to='room@b/nick'/>",
            "<iq xmlns='jabber:client' to='a@b' id='1' type='result'/>",
            "<message xmlns='jabber:client' to='a@b' type='error'><body>hi</body></message>",
            "<message xmlns='jabber:client' to='a@b' id='2'><composing xmlns='http://jabber.org/protocol/chatstates'/>\
             <no-store xmlns='urn:xmpp:hints'/></message>",
            "<message xmlns='jabber:client' to='a@b'><received xmlns='urn:xmpp:receipts' id='3'/></message>",
        ];

        assert_eq!(given_back(&stanzas.concat()), "");
    }
}
