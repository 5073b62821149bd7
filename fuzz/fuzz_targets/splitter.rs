//! The splitter: the same pieces and the same end wherever the stream is cut; none larger than the limit.
#![no_main]

use libfuzzer_sys::fuzz_target;

use vestibule::protocol::xml::splitter::Error;
use vestibule::protocol::xml::splitter::Piece;
use vestibule::protocol::xml::splitter::Splitter;

const LIMIT: usize = 300;

/// The bytes of each piece, and how it ended.
fn pieces<'a>(parts: impl Iterator<Item = &'a [u8]>) -> (Vec<Vec<u8>>, Option<Error>) {
    let mut splitter = Splitter::new(LIMIT);
    let mut pieces = Vec::new();
    for mut part in parts {
        loop {
            match splitter.next(&mut part) {
                Ok(Some(Piece::Header(bytes))) => pieces.push(bytes.to_vec()),
                Ok(Some(Piece::Stanza(cut))) => pieces.push(cut.bytes.to_vec()),
                Ok(Some(Piece::End)) => pieces.push(Vec::new()),
                Ok(None) => break,
                Err(error) => return (pieces, Some(error)),
            }
        }
    }
    (pieces, None)
}

fuzz_target!(|input: &[u8]| {
    let Some((&cut, stream)) = input.split_first() else { return };

    let (whole, end) = pieces([stream].into_iter());
    let (cut, cut_end) = pieces(stream.chunks(usize::from(cut) + 1));

    assert!(whole.iter().all(|piece| piece.len() <= LIMIT));
    // Where several things are wrong at once, what is seen first depends on where the reads were cut.
    if end.is_some() || cut_end.is_some() {
        assert_eq!(end.is_some(), cut_end.is_some());
    }
    assert_eq!(whole, cut);
});
