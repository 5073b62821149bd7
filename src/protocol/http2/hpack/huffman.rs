//! The Huffman code (RFC 7541 §5.2, appendix B). It is canonical, so the lengths of its codes are all there is to know.

use crate::protocol::http2::hpack::Error;

/// Decodes behind the end of `out`.
pub(super) fn decode(text: &[u8], out: &mut Vec<u8>) -> Result<(), Error> {
    // What is to be decoded next, from the highest bit on, and how many bits of that are here.
    let (mut bits, mut here) = (0_u64, 0_u32);
    let mut bytes = text.iter();
    loop {
        while here <= 56
            && let Some(&byte) = bytes.next()
        {
            bits |= u64::from(byte) << (56 - here);
            here += 8;
        }
        let Some((symbol, length)) = next(bits).filter(|&(_, length)| length <= here) else {
            break;
        };
        // The end of a text is never written (§5.2).
        out.push(u8::try_from(symbol).map_err(|_| Error::Huffman)?);
        bits <<= length;
        here -= length;
    }
    // What is left of the last byte is filled with ones.
    let is_padding = here < 8 && bits | (u64::MAX >> here) == u64::MAX;
    if is_padding { Ok(()) } else { Err(Error::Huffman) }
}

/// The symbol that the bits begin with, and how many of them are its code.
fn next(bits: u64) -> Option<(u16, u32)> {
    // The highest byte, so it is within the table.
    let &(symbol, length) = SHORT.get(usize::try_from(bits >> 56).ok()?)?;
    if length > 0 {
        return Some((symbol, u32::from(length)));
    }
    let mut runs = RUNS.iter().zip(0_u32..).skip(LONGEST_SHORT + 1);
    runs.find_map(|(run, length)| {
        let code = u32::try_from(bits >> (64 - length)).ok()?;
        let place = code.checked_sub(run.first).filter(|&place| place < u32::from(run.many))?;
        let symbol = SORTED.get(usize::from(run.at) + usize::try_from(place).ok()?)?;
        Some((*symbol, length))
    })
}

/// The codes of one length.
#[derive(Clone, Copy)]
struct Run {
    first: u32,
    many: u16,
    /// Where their symbols begin in [`SORTED`].
    at: u16,
}

/// The symbols by the lengths of their codes.
static SORTED: [u16; SYMBOLS] = sorted();
/// By length.
static RUNS: [Run; LONGEST + 1] = runs();
/// By the first byte, the symbols whose codes are no longer than that; a length of 0 where the code is longer.
static SHORT: [(u16, u8); 256] = short();

#[expect(clippy::indexing_slicing, reason = "by the compiler, which does not go on where it fails")]
const fn sorted() -> [u16; SYMBOLS] {
    let (mut sorted, mut next, mut length) = ([0; SYMBOLS], 0, 1);
    while length <= LONGEST {
        let mut symbol = 0_u16;
        while (symbol as usize) < SYMBOLS {
            if LENGTHS[symbol as usize] as usize == length {
                sorted[next] = symbol;
                next += 1;
            }
            symbol += 1;
        }
        length += 1;
    }
    sorted
}

#[expect(clippy::indexing_slicing, reason = "as above")]
const fn runs() -> [Run; LONGEST + 1] {
    let mut runs = [Run { first: 0, many: 0, at: 0 }; LONGEST + 1];
    let mut symbol = 0;
    while symbol < SYMBOLS {
        runs[LENGTHS[symbol] as usize].many += 1;
        symbol += 1;
    }
    let mut length = 1;
    while length <= LONGEST {
        let before = runs[length - 1];
        runs[length].first = (before.first + before.many as u32) << 1;
        runs[length].at = before.at + before.many;
        length += 1;
    }
    runs
}

#[expect(clippy::indexing_slicing, reason = "as above")]
const fn short() -> [(u16, u8); 256] {
    let (runs, sorted) = (runs(), sorted());
    let (mut short, mut next, mut length) = ([(0, 0); 256], 0, 1_u8);
    while length as usize <= LONGEST_SHORT {
        let run = runs[length as usize];
        let mut place = 0;
        while place < run.many as usize {
            let mut same = 0;
            while same < 1 << (8 - length) {
                short[next] = (sorted[run.at as usize + place], length);
                next += 1;
                same += 1;
            }
            place += 1;
        }
        length += 1;
    }
    short
}

/// Every byte, and the end of a text.
const SYMBOLS: usize = 257;
/// The longest code that one byte holds.
const LONGEST_SHORT: usize = 8;
const LONGEST: usize = 30;

/// How long the code of each symbol is, in bits (RFC 7541 appendix B).
const LENGTHS: [u8; SYMBOLS] = [
    13, 23, 28, 28, 28, 28, 28, 28, 28, 24, 30, 28, 28, 30, 28, 28, 28, 28, 28, 28, 28, 28, 30, 28,
    28, 28, 28, 28, 28, 28, 28, 28, 6, 10, 10, 12, 13, 6, 8, 11, 10, 10, 8, 11, 8, 6, 6, 6, 5, 5,
    5, 6, 6, 6, 6, 6, 6, 6, 7, 8, 15, 6, 12, 10, 13, 6, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7, 7,
    7, 7, 7, 7, 7, 7, 7, 7, 8, 7, 8, 13, 19, 13, 14, 6, 15, 5, 6, 5, 6, 5, 6, 6, 6, 5, 7, 7, 6, 6,
    6, 5, 6, 7, 6, 5, 5, 6, 7, 7, 7, 7, 7, 15, 11, 14, 13, 28, 20, 22, 20, 20, 22, 22, 22, 23, 22,
    23, 23, 23, 23, 23, 24, 23, 24, 24, 22, 23, 24, 23, 23, 23, 23, 21, 22, 23, 22, 23, 23, 24, 22,
    21, 20, 22, 22, 23, 23, 21, 23, 22, 22, 24, 21, 22, 23, 23, 21, 21, 22, 21, 23, 22, 23, 23, 20,
    22, 22, 22, 23, 22, 22, 23, 26, 26, 20, 19, 22, 23, 22, 25, 26, 26, 26, 27, 27, 26, 24, 25, 19,
    21, 26, 27, 27, 26, 27, 24, 21, 21, 26, 26, 28, 27, 27, 27, 20, 24, 20, 21, 22, 21, 21, 23, 22,
    22, 25, 25, 24, 24, 26, 23, 26, 27, 26, 26, 27, 27, 27, 27, 27, 28, 27, 27, 27, 27, 27, 26, 30,
];

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &[u8]) -> Result<Vec<u8>, Error> {
        let mut out = Vec::new();
        decode(text, &mut out).map(|()| out)
    }

    /// Encodes by the same lengths; held against the examples of the RFC, and against another's decoder in `tests/http2`.
    fn encoded(text: &[u8]) -> Vec<u8> {
        let mut bits = String::new();
        for &byte in text {
            let length = usize::from(LENGTHS[usize::from(byte)]);
            let run = RUNS[length];
            let symbols = &SORTED[usize::from(run.at)..][..usize::from(run.many)];
            let place = symbols.iter().position(|&symbol| symbol == u16::from(byte)).unwrap();
            let code = run.first + u32::try_from(place).unwrap();
            bits.extend((0..length).rev().map(|bit| if code >> bit & 1 == 1 { '1' } else { '0' }));
        }
        while !bits.len().is_multiple_of(8) {
            bits.push('1');
        }
        let bytes = bits.as_bytes().chunks(8);
        bytes.map(|bits| u8::from_str_radix(str::from_utf8(bits).unwrap(), 2).unwrap()).collect()
    }

    #[test]
    fn texts_are_as_in_the_examples() {
        // RFC 7541 appendix C.4 and C.6.
        for (text, code) in [
            (
                "www.example.com",
                &[0xf1, 0xe3, 0xc2, 0xe5, 0xf2, 0x3a, 0x6b, 0xa0, 0xab, 0x90, 0xf4, 0xff][..],
            ),
            ("no-cache", &[0xa8, 0xeb, 0x10, 0x64, 0x9c, 0xbf][..]),
            ("custom-value", &[0x25, 0xa8, 0x49, 0xe9, 0x5b, 0xb8, 0xe8, 0xb4, 0xbf][..]),
            ("302", &[0x64, 0x02][..]),
            ("private", &[0xae, 0xc3, 0x77, 0x1a, 0x4b][..]),
        ] {
            assert_eq!(encoded(text.as_bytes()), code);
            assert_eq!(decoded(code).as_deref(), Ok(text.as_bytes()));
        }
    }

    #[test]
    fn every_byte_comes_back_whatever_is_beside_it() {
        for byte in 0..=u8::MAX {
            for text in [vec![byte], vec![byte, b'0', byte], vec![b'\n', byte, byte, b'a', byte]] {
                assert_eq!(decoded(&encoded(&text)), Ok(text));
            }
        }
    }

    #[test]
    fn padding_is_ones_and_shorter_than_a_byte_and_the_end_is_never_written() {
        // "a" is 00011, and three ones make a byte of it.
        assert_eq!(decoded(&[0b0001_1111]).as_deref(), Ok(&b"a"[..]));
        assert_eq!(decoded(&[0b0001_1110]), Err(Error::Huffman));
        assert_eq!(decoded(&[0b0001_1111, 0xff]), Err(Error::Huffman));
        assert_eq!(decoded(&[0xff]), Err(Error::Huffman));
        assert_eq!(decoded(&[0xff, 0xff, 0xff, 0xff]), Err(Error::Huffman));
        assert_eq!(decoded(&[]), Ok(Vec::new()));
    }
}
