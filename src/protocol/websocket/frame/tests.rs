use super::*;

/// A frame as a browser sends it.
fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        short @ 0..=125 => frame.push(0x80 | u8::try_from(short).unwrap()),
        medium @ 126..=65535 => {
            frame.push(0x80 | 0x7E);
            frame.extend(u16::try_from(medium).unwrap().to_be_bytes());
        }
        long => {
            frame.push(0x80 | 0x7F);
            frame.extend((long as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    frame.extend(mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}

/// Everything a reader makes of `input` when it comes in pieces of `piece` bytes.
fn read(reader: &mut Reader, input: &[u8], piece: usize) -> Result<Vec<String>, Error> {
    let mut seen = Vec::new();
    for part in input.chunks(piece) {
        let mut part = part.to_vec();
        let mut rest = part.as_mut_slice();
        while let Some(frame) = reader.next(&mut rest)? {
            seen.push(match frame {
                Frame::Text(text) => format!("text {}", String::from_utf8_lossy(text)),
                control @ (Frame::Ping(_) | Frame::Pong | Frame::Close(_)) => {
                    format!("{control:?}")
                }
            });
        }
    }
    Ok(seen)
}

fn error_of(frame: &[u8]) -> Error {
    read(&mut Reader::new(1000), frame, 1000).unwrap_err()
}

#[test]
fn the_masked_hello_of_the_rfc_is_read() {
    // RFC 6455 §5.7
    let hello = [0x81, 0x85, 0x37, 0xfa, 0x21, 0x3d, 0x7f, 0x9f, 0x4d, 0x51, 0x58];

    assert_eq!(read(&mut Reader::new(100), &hello, 100).unwrap(), ["text Hello"]);
}

#[test]
fn frames_cut_anywhere_give_the_same_messages() {
    let mut input = masked(0x81, b"<presence/>");
    input.extend(masked(0x01, b"<message>"));
    input.extend(masked(0x89, b"beat"));
    input.extend(masked(0x80, b"</message>"));
    input.extend(masked(0x81, &[b'x'; 300]));
    input.extend(masked(0x8A, b""));
    input.extend(masked(0x88, &[0x03, 0xe8, b'b', b'y', b'e']));
    let long = format!("text {}", "x".repeat(300));
    let expected = [
        "text <presence/>",
        "Ping([98, 101, 97, 116])",
        "text <message></message>",
        &long,
        "Pong",
        "Close(Some(1000))",
    ];

    for piece in 1..=input.len() {
        let mut reader = Reader::new(1000);
        assert_eq!(read(&mut reader, &input, piece).unwrap(), expected, "in pieces of {piece}");
        assert!(reader.is_empty());
    }
}

#[test]
fn what_breaks_rfc_6455_is_refused_by_name() {
    assert_eq!(error_of(&[0x81, 0x05]), Error::Unmasked);
    assert_eq!(error_of(&masked(0xC1, b"x")), Error::Reserved);
    assert_eq!(error_of(&masked(0x83, b"x")), Error::Reserved);
    assert_eq!(error_of(&masked(0x09, b"x")), Error::Control);
    assert_eq!(error_of(&masked(0x89, &[0; 126])), Error::Control);
    assert_eq!(error_of(&masked(0x80, b"x")), Error::Fragments);
    assert_eq!(error_of(&[masked(0x01, b"x"), masked(0x81, b"y")].concat()), Error::Fragments);
    assert_eq!(error_of(&masked(0x82, b"x")), Error::Binary);
    assert_eq!(error_of(&masked(0x88, &[3])), Error::CloseCode);
    assert_eq!(error_of(&masked(0x88, &[0x03, 0xed])), Error::CloseCode);
}

#[test]
fn compressed_message_is_read_whole_or_in_fragments_with_controls_between() {
    // RFC 7692 §7.2.3.1
    let hello = [0xf2, 0x48, 0xcd, 0xc9, 0xc9, 0x07, 0x00];
    let mut input = masked(0xC1, &hello);
    input.extend(masked(0x41, &hello[..3]));
    input.extend(masked(0x89, b""));
    input.extend(masked(0x80, &hello[3..]));
    input.extend(masked(0x81, b"plain"));
    let expected = ["text Hello", "Ping([])", "text Hello", "text plain"];

    for piece in 1..=input.len() {
        let mut reader = Reader::new(1000).deflating(true);
        assert_eq!(read(&mut reader, &input, piece).unwrap(), expected, "in pieces of {piece}");
        assert!(reader.is_empty());
    }
}

#[test]
fn compressed_message_that_is_none_or_has_no_place_is_refused() {
    let error_of =
        |frame: &[u8]| read(&mut Reader::new(1000).deflating(true), frame, 1000).unwrap_err();

    assert_eq!(error_of(&masked(0xC1, b"\xff\xff")), Error::Deflate);
    assert_eq!(error_of(&masked(0xC9, b"")), Error::Reserved);
    assert_eq!(error_of(&masked(0xA1, b"x")), Error::Reserved);
    let continued = [masked(0x01, b"x"), masked(0xC0, b"y")].concat();
    assert_eq!(error_of(&continued), Error::Reserved);
}

#[test]
fn message_that_grows_beyond_the_bound_is_refused_while_it_grows() {
    let mut small = Vec::new();
    deflate::deflate(&[&vec![b' '; 100_000]], &mut small);
    assert!(small.len() < 1000);

    let read = read(&mut Reader::new(1000).deflating(true), &masked(0xC1, &small), 1000);

    assert_eq!(read.unwrap_err(), Error::TooBig { limit: 1000 });
}

#[test]
fn a_message_over_the_bound_is_refused_before_it_is_kept() {
    let mut announced = vec![0x81, 0xFF];
    announced.extend(u64::MAX.to_be_bytes());
    let mut reader = Reader::new(1000);

    assert_eq!(read(&mut reader, &announced, 1).unwrap_err(), Error::TooBig { limit: 1000 });
    assert!(reader.held.len() < 20);
}

#[test]
fn fragments_that_add_up_over_the_bound_are_refused() {
    let fragments = [masked(0x01, &[b'x'; 600]), masked(0x80, &[b'x'; 600])].concat();

    assert_eq!(error_of(&fragments), Error::TooBig { limit: 1000 });
}

#[test]
fn our_headers_have_the_shortest_form() {
    let header = |payload| {
        let mut out = Vec::new();
        write_text_header(payload, &mut out);
        out
    };

    // RFC 6455 §5.7
    assert_eq!(header(5), [0x81, 0x05]);
    assert_eq!(header(256), [0x81, 0x7E, 0x01, 0x00]);
    assert_eq!(header(65536), [0x81, 0x7F, 0, 0, 0, 0, 0, 1, 0, 0]);
}
