//! Numbers (RFC 7541 §5.1).

use crate::protocol::http2::hpack::Error;

/// Takes a number off the front of `block`, whose first byte has it in its last `bits` bits.
pub(super) fn read(block: &mut &[u8], bits: u8) -> Result<usize, Error> {
    let (&first, mut rest) = block.split_first().ok_or(Error::Short)?;
    let most = most(bits);
    let mut number = usize::from(first & most);
    if first & most == most {
        let mut shift = 0;
        loop {
            let (&byte, behind) = rest.split_first().ok_or(Error::Short)?;
            rest = behind;
            // 28 bits and more: no header block is as long, nor a table as large.
            if shift > LARGEST_SHIFT {
                return Err(Error::Number);
            }
            number += usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
    }
    *block = rest;
    Ok(number)
}

/// Writes a number into the last `bits` bits of a byte that begins with `first`, and those behind it.
pub(super) fn write(out: &mut Vec<u8>, (first, bits): (u8, u8), number: usize) {
    let most = most(bits);
    let Some(mut left) = number.checked_sub(usize::from(most)) else {
        // Less than `most`, so it fits.
        return out.push(first | u8::try_from(number).unwrap_or(0));
    };
    out.push(first | most);
    while left >= 0x80 {
        out.push(u8::try_from(left & 0x7f).unwrap_or(0) | 0x80);
        left >>= 7;
    }
    out.push(u8::try_from(left).unwrap_or(0));
}

/// The largest number of so many bits.
fn most(bits: u8) -> u8 {
    u8::MAX >> 8_u8.saturating_sub(bits).min(7)
}

const LARGEST_SHIFT: u32 = 21;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_as_in_the_examples() {
        // RFC 7541 appendix C.1.
        for (bytes, bits, number) in
            [(&[10][..], 5, 10), (&[31, 154, 10][..], 5, 1337), (&[42][..], 8, 42)]
        {
            let mut out = Vec::new();
            write(&mut out, (0, bits), number);
            assert_eq!(out, bytes);
            assert_eq!(read(&mut &out[..], bits), Ok(number));
        }
    }

    #[test]
    fn number_without_an_end_or_use_is_none() {
        assert_eq!(read(&mut &[31, 0x80][..], 5), Err(Error::Short));
        assert_eq!(read(&mut &[31, 0x80, 0x80, 0x80, 0x80, 1][..], 5), Err(Error::Number));
        assert_eq!(read(&mut &[][..], 5), Err(Error::Short));
    }
}
