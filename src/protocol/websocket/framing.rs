//! XMPP in WebSocket messages (RFC 7395): what a browser's message is, and how the server's stanzas become messages.

use crate::protocol::namespace;
use crate::protocol::passage;
use crate::protocol::passage::Managing;
use crate::protocol::stream_error::StreamError;
use crate::protocol::websocket::deflate;
use crate::protocol::websocket::frame;
use crate::protocol::xml::check;
use crate::protocol::xml::check::Kind;
use crate::protocol::xml::check::Limits;
use crate::protocol::xml::element;
use crate::protocol::xml::element::Element;
use crate::protocol::xml::splitter::Cut;

/// What a message of an established stream is.
#[derive(Debug, PartialEq, Eq)]
pub enum Message<'a> {
    /// A stanza, to be written upstream: the bytes before and behind a `from` that browsers get wrong (Converse 14 after a
    /// reload).
    Stanza(&'a [u8], &'a [u8]),
    /// Something else that may go there, whole.
    Beside(&'a [u8]),
    /// Of stream management, whole; to be written upstream where it has a place.
    Managing(Managing, &'a [u8]),
    /// `<close/>`: the browser ends the stream (§3.6).
    Close,
}

/// Checks a message of an established stream.
///
/// # Errors
/// The stream error that ends the stream.
pub fn established<'a>(text: &'a [u8], limits: &Limits) -> Result<Message<'a>, StreamError> {
    let root = check::check(text, limits).map_err(StreamError::Xml)?;
    if root.kind == Kind::Close {
        return Ok(Message::Close);
    }
    if let Some(managing) = passage::managing(&root, text) {
        return Ok(Message::Managing(managing, text));
    }
    if !passage::is_open_to(&root, text) {
        return Err(StreamError::UnsupportedStanzaType);
    }
    if root.kind == Kind::Other {
        return Ok(Message::Beside(text));
    }
    let from = root.from.unwrap_or(text.len()..text.len());
    let (before, rest) = (text.get(..from.start), text.get(from.end..));
    Ok(Message::Stanza(before.unwrap_or_default(), rest.unwrap_or_default()))
}

/// Checks that a message is `<open/>` (§3.4). The domain that it names decides nothing.
///
/// # Errors
/// The stream error that ends the stream.
pub fn open(text: &[u8], limits: &Limits) -> Result<(), StreamError> {
    let root = check::check(text, limits).map_err(StreamError::Xml)?;
    if root.kind != Kind::Open {
        return Err(StreamError::BadFormat);
    }
    let open = Element::parse(text).map_err(StreamError::Xml)?;
    // What is older than XMPP 1.0 knows neither features nor SASL (RFC 6120 §4.7.5), and would be signed in never.
    let major = open.attribute("version").and_then(|version| version.split('.').next());
    if major.is_some_and(|major| major.parse() == Ok(0)) {
        return Err(StreamError::UnsupportedVersion);
    }
    Ok(())
}

/// Writes a stanza of the server as one message, with the namespaces that its stream had declared for it (§3.3.3).
pub fn write_stanza(cut: &Cut<'_>, out: &mut Vec<u8>) {
    let parts = parts(cut);
    frame::write_text_header(parts.iter().map(|part| part.len()).sum(), out);
    for part in parts {
        out.extend_from_slice(part);
    }
}

/// The same, compressed where that is worth it (RFC 7692).
pub fn write_compressed_stanza(cut: &Cut<'_>, out: &mut Vec<u8>) {
    if cut.bytes.len() < WORTH_IT {
        return write_stanza(cut, out);
    }
    let mut payload = Vec::new();
    deflate::deflate(&parts(cut), &mut payload);
    frame::write_compressed_header(payload.len(), out);
    out.extend_from_slice(&payload);
}

fn parts<'a>(cut: &Cut<'a>) -> [&'a [u8]; 4] {
    let (name, rest) = cut.bytes.split_at_checked(cut.name_end).unwrap_or((cut.bytes, &[]));
    let client: &[u8] =
        if cut.has_namespace || name.contains(&b':') { b"" } else { CLIENT_DECLARATION.as_bytes() };
    let stream: &[u8] = if !cut.declares_stream && name.starts_with(b"<stream:") {
        STREAM_DECLARATION.as_bytes()
    } else {
        b""
    };
    [name, client, stream, rest]
}

/// Writes one message.
pub fn write_text(text: &[u8], out: &mut Vec<u8>) {
    frame::write_text_header(text.len(), out);
    out.extend_from_slice(text);
}

/// Writes our `<open/>` (§3.4): `domain` is the one that the edge has chosen, `id` names the stream.
pub fn write_open(domain: &str, id: &str, out: &mut Vec<u8>) {
    let mut open = format!("<open xmlns=\"{}\" from=\"", namespace::FRAMING).into_bytes();
    element::escape(domain, &mut open);
    open.extend_from_slice(format!("\" id=\"{id}\" version=\"1.0\" xml:lang=\"en\"/>").as_bytes());
    write_text(&open, out);
}

/// Writes `<close/>` (§3.6) and the close frame behind it.
///
/// Strophe knows a clean close by exactly these bytes.
pub fn write_close(out: &mut Vec<u8>) {
    write_text(CLOSE, out);
    frame::write_close(frame::NORMAL, out);
}

/// Writes a stream error, `<close/>` and the close frame (§3.6).
pub fn write_stream_error(error: StreamError, out: &mut Vec<u8>) {
    write_text(error.to_xml().as_bytes(), out);
    write_text(CLOSE, out);
    // Text that is none fails the connection as well (RFC 6455 §8.1).
    let is_text = error != StreamError::Xml(check::Error::Encoding);
    frame::write_close(if is_text { frame::NORMAL } else { frame::INVALID_DATA }, out);
}

/// Tells a browser that broke RFC 6455 how: in the close frame, and where a message was too long, as a stream error before.
pub fn write_frame_error(error: frame::Error, out: &mut Vec<u8>) {
    if matches!(error, frame::Error::TooBig { .. }) {
        write_text(StreamError::PolicyViolation.to_xml().as_bytes(), out);
        write_text(CLOSE, out);
    }
    frame::write_close(error.close_code(), out);
}

const CLOSE: &[u8] = b"<close xmlns=\"urn:ietf:params:xml:ns:xmpp-framing\" />";
/// What is shorter is not compressed, in bytes.
const WORTH_IT: usize = 128;
const CLIENT_DECLARATION: &str = " xmlns=\"jabber:client\"";
const STREAM_DECLARATION: &str = " xmlns:stream=\"http://etherx.jabber.org/streams\"";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::xml::splitter::Piece;
    use crate::protocol::xml::splitter::Splitter;

    fn upstream(text: &str) -> Result<String, StreamError> {
        match established(text.as_bytes(), &Limits::default())? {
            Message::Stanza(before, rest) => {
                Ok(String::from_utf8([before, rest].concat()).unwrap())
            }
            Message::Managing(_, element) | Message::Beside(element) => {
                Ok(String::from_utf8(element.to_vec()).unwrap())
            }
            Message::Close => Ok("close".to_owned()),
        }
    }

    fn open_of(text: &str) -> Result<(), StreamError> {
        open(text.as_bytes(), &Limits::default())
    }

    fn framed(stanza: &str) -> String {
        let stream = format!("<stream:stream xmlns='jabber:client'>{stanza}");
        let (mut input, mut out) = (stream.as_bytes(), Vec::new());
        let mut splitter = Splitter::new(1000);
        assert!(matches!(splitter.next(&mut input).unwrap(), Some(Piece::Header(_))));
        let Some(Piece::Stanza(cut)) = splitter.next(&mut input).unwrap() else {
            panic!("no stanza")
        };
        write_stanza(&cut, &mut out);
        assert_eq!(usize::from(out[1]), out.len() - 2);
        String::from_utf8(out[2..].to_vec()).unwrap()
    }

    #[test]
    fn a_stanza_goes_on_without_its_sender() {
        let sent = "<message xmlns='jabber:client' from='bob@xmpp.test/old' to='alice@xmpp.test'><body>hi</body></message>";

        let passed = upstream(sent).unwrap();

        assert_eq!(
            passed,
            "<message xmlns='jabber:client' to='alice@xmpp.test'><body>hi</body></message>"
        );
    }

    #[test]
    fn stream_management_and_client_state_pass() {
        for element in [
            "<enable xmlns='urn:xmpp:sm:3' resume='true'/>",
            "<r xmlns='urn:xmpp:sm:3'/>",
            "<active xmlns='urn:xmpp:csi:0'/>",
        ] {
            assert_eq!(upstream(element).unwrap(), element);
        }
    }

    #[test]
    fn a_second_login_does_not_pass() {
        for element in [
            "<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGJvYgBib2I=</auth>",
            "<starttls xmlns='urn:ietf:params:xml:ns:xmpp-tls'/>",
            "<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' to='xmpp.test' version='1.0'/>",
            "<authenticate xmlns='urn:xmpp:sasl:2' mechanism='PLAIN'/>",
            "<x:auth xmlns:x='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>AGJvYgBib2I=</x:auth>",
        ] {
            assert_eq!(upstream(element), Err(StreamError::UnsupportedStanzaType), "{element}");
        }
    }

    #[test]
    fn open_of_an_older_xmpp_is_refused_and_one_without_version_is_of_the_present_one() {
        let opens = |version: &str| {
            let open = format!("<open xmlns='urn:ietf:params:xml:ns:xmpp-framing' {version}/>");
            open_of(&open)
        };

        for version in ["", "version='1.0'", "version='1.7'", "version='10.0'"] {
            assert_eq!(opens(version), Ok(()), "{version}");
        }
        for version in ["version='0.9'", "version='0'", "version='00.1'"] {
            assert_eq!(opens(version), Err(StreamError::UnsupportedVersion), "{version}");
        }
    }

    #[test]
    fn forbidden_and_broken_xml_is_told_by_its_condition() {
        assert_eq!(
            upstream("<message><!-- x --></message>").unwrap_err().condition(),
            "restricted-xml"
        );
        assert_eq!(upstream("<message>").unwrap_err().condition(), "not-well-formed");
        assert_eq!(upstream("<message/><message/>").unwrap_err().condition(), "not-well-formed");
    }

    #[test]
    fn a_stanza_of_the_server_declares_what_its_stream_did() {
        assert_eq!(
            framed("<message to='a'>x</message>"),
            "<message xmlns=\"jabber:client\" to='a'>x</message>"
        );
        assert_eq!(framed("<presence/>"), "<presence xmlns=\"jabber:client\"/>");
        assert_eq!(framed("<r xmlns='urn:xmpp:sm:3'/>"), "<r xmlns='urn:xmpp:sm:3'/>");
        assert_eq!(
            framed("<stream:error><conflict/></stream:error>"),
            "<stream:error xmlns:stream=\"http://etherx.jabber.org/streams\"><conflict/></stream:error>"
        );
    }
}
