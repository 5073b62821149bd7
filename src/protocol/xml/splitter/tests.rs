//! The splitter's promises.

#![allow(clippy::string_slice, reason = "a test fails by panicking")]

use super::*;

const STREAM: &str = "<?xml version='1.0'?>\n<stream:stream xmlns='jabber:client' version=\"1.0\">\
    <stream:features><a>b</a></stream:features> \n<message xmlns = 'x' to='/>' id=\"'>\"><body>a]]&gt;b > c\
    <![CDATA[</body>]]]>]] > ]]></body><x/></message><iq/>  <r\txmlns='urn:xmpp:sm:3'\n/></stream:stream >\n";

/// What comes of `stream` read in the given parts.
fn pieces(parts: &[&str], limit: usize) -> Result<Vec<String>, Error> {
    let mut splitter = Splitter::new(limit);
    let mut pieces = Vec::new();
    for part in parts {
        let mut input = part.as_bytes();
        while let Some(piece) = splitter.next(&mut input)? {
            pieces.push(match piece {
                Piece::Header(bytes) => format!("header {}", str::from_utf8(bytes).unwrap()),
                Piece::Stanza(cut) => {
                    format!("{} {}", cut.has_namespace, str::from_utf8(cut.bytes).unwrap())
                }
                Piece::End => "end".to_owned(),
            });
        }
        assert!(input.is_empty());
    }
    Ok(pieces)
}

#[test]
fn a_stream_is_cut_into_header_stanzas_and_end() {
    let pieces = pieces(&[STREAM], 300).unwrap();

    assert_eq!(pieces.len(), 6, "{pieces:#?}");
    assert_eq!(pieces[0], "header <stream:stream xmlns='jabber:client' version=\"1.0\">");
    assert_eq!(pieces[1], "false <stream:features><a>b</a></stream:features>");
    assert!(pieces[2].starts_with("true <message") && pieces[2].ends_with("<x/></message>"));
    assert_eq!(pieces[3], "false <iq/>");
    assert_eq!(pieces[4], "true <r\txmlns='urn:xmpp:sm:3'\n/>");
    assert_eq!(pieces[5], "end");
}

#[test]
fn a_stream_gives_the_same_pieces_wherever_its_reads_were_cut() {
    let whole = pieces(&[STREAM], 300).unwrap();

    for first in 0..=STREAM.len() {
        for second in first..=STREAM.len() {
            let parts = [&STREAM[..first], &STREAM[first..second], &STREAM[second..]];
            assert_eq!(pieces(&parts, 300).as_ref(), Ok(&whole), "cut at {first} and {second}");
        }
    }
    let bytes: Vec<&str> = STREAM.split("").collect();
    assert_eq!(pieces(&bytes, 300), Ok(whole));
}

#[test]
fn a_stanza_over_the_limit_is_refused_wherever_it_is_cut() {
    let stream = "<stream:stream><a>1234567890</a>";

    for cut in 0..=stream.len() {
        let parts = [&stream[..cut], &stream[cut..]];
        assert!(pieces(&parts, 17).is_ok(), "cut at {cut}");
        assert_eq!(pieces(&parts, 16), Err(Error::TooLarge { limit: 16 }), "cut at {cut}");
    }
    assert_eq!(
        pieces(&["<stream:stream>", "<a>1234567890", "12345"], 17),
        Err(Error::TooLarge { limit: 17 })
    );
}

#[test]
fn what_xmpp_forbids_ends_the_stream() {
    let after_header = [
        ("<!-- -->", Error::Restricted),
        ("<?php ?>", Error::Restricted),
        ("<?xml version='1.0'?>", Error::Restricted),
        ("<!DOCTYPE a>", Error::Restricted),
        ("<![CDATA[ ]]>", Error::Restricted),
        ("<a><!-- --></a>", Error::Restricted),
        ("<a><?b?></a>", Error::Restricted),
        ("<a><![CDATB[", Error::Restricted),
        ("text", Error::Malformed),
        ("<>", Error::Malformed),
        ("<a x=y/>", Error::Malformed),
        ("<a 'b'/>", Error::Malformed),
        ("</stream:stream><a/>", Error::AfterEnd),
    ];

    for (text, error) in after_header {
        assert_eq!(pieces(&["<stream:stream>", text], 300), Err(error), "{text}");
    }
    for text in ["HTTP/1.1 400", "<stream:stream/>", "<?xml?>text"] {
        assert_eq!(pieces(&[text], 300), Err(Error::NoHeader), "{text}");
    }
}

#[test]
fn a_partial_stanza_is_kept_only_until_it_was_given_out() {
    let mut splitter = Splitter::new(100);
    let mut input: &[u8] = b"<s><a>";
    while splitter.next(&mut input).unwrap().is_some() {}
    assert!(!splitter.is_empty());

    let mut input: &[u8] = b"</a>";
    assert!(splitter.next(&mut input).unwrap().is_some());

    assert!(splitter.is_empty());
    assert_eq!(splitter.next(&mut input), Ok(None));
    assert_eq!(splitter.partial.capacity(), 0);
}

#[test]
fn whole_stanzas_are_not_copied() {
    let mut splitter = Splitter::new(100);
    let text: &[u8] = b"<s><a/><b/>";
    let mut input = text;

    while splitter.next(&mut input).unwrap().is_some() {
        assert_eq!(splitter.partial.capacity(), 0);
    }

    assert!(splitter.is_empty());
}

#[test]
fn after_a_restart_a_new_header_is_expected() {
    let mut splitter = Splitter::new(100);
    let mut input: &[u8] = b"<s><success/>";
    while splitter.next(&mut input).unwrap().is_some() {}

    splitter.restart();

    let mut input: &[u8] = b"<?xml version='1.0'?><s>";
    assert_eq!(splitter.next(&mut input), Ok(Some(Piece::Header(b"<s>"))));
}

#[test]
fn a_stanza_written_alone_declares_what_its_stream_declared() {
    let mut splitter = Splitter::new(200);
    let mut input: &[u8] = b"<s><iq id='1'/><r xmlns='u'/><stream:error><a/></stream:error>";
    let mut alone = Vec::new();

    while let Some(piece) = splitter.next(&mut input).unwrap() {
        if let Piece::Stanza(cut) = piece {
            cut.write_alone(&mut alone);
        }
    }

    let expected = "<iq xmlns='jabber:client' id='1'/><r xmlns='u'/><stream:error xmlns='jabber:client' \
        xmlns:stream='http://etherx.jabber.org/streams'><a/></stream:error>";
    assert_eq!(str::from_utf8(&alone).unwrap(), expected);
}
