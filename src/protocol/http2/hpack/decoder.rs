//! Header blocks of a browser, read (RFC 7541 §3, §6).

use crate::protocol::http2::hpack::Error;
use crate::protocol::http2::hpack::fields::Fields;
use crate::protocol::http2::hpack::fields::Name;
use crate::protocol::http2::hpack::fields::Span;
use crate::protocol::http2::hpack::huffman;
use crate::protocol::http2::hpack::integer;
use crate::protocol::http2::hpack::names;
use crate::protocol::http2::hpack::table::Named;
use crate::protocol::http2::hpack::table::Table;

/// Reads the header blocks of one connection, in their order.
#[derive(Debug)]
pub struct Decoder {
    table: Table,
    /// What we have said that the table may have, in bytes.
    most: usize,
}

impl Decoder {
    /// For a browser that may use so many bytes of table.
    #[must_use]
    pub fn new(most: usize) -> Self {
        // Until it knows better it may use what is so unless a setting says otherwise.
        Self { table: Table::new(most.min(DEFAULT)), most: most.max(DEFAULT) }
    }

    /// Reads a whole block. Every one is to be read, or else none can be that follows.
    ///
    /// # Errors
    /// When it cannot be, and so none that follows.
    pub fn decode(&mut self, mut block: &[u8], fields: &mut Fields) -> Result<(), Error> {
        while let Some(first @ 0b0010_0000..=0b0011_1111) = block.first() {
            debug_assert!(first & 0b0010_0000 != 0);
            let most = integer::read(&mut block, 5)?;
            if most > self.most {
                return Err(Error::Size);
            }
            self.table.resize(most);
        }
        while let Some(first) = block.first() {
            match first {
                0b1000_0000.. => {
                    let index = integer::read(&mut block, 7)?;
                    self.indexed(index, fields)?;
                }
                0b0100_0000.. => {
                    let index = integer::read(&mut block, 6)?;
                    let (name, value, from) = self.literal(index, &mut block, fields)?;
                    self.table.insert(named(name, fields), fields.text(value));
                    fields.keep(name, value, from);
                }
                0b0010_0000.. => return Err(Error::Size),
                // With or without a bar to others who might index it (§6.2.2, §6.2.3): we pass it on by HTTP/1.1.
                0.. => {
                    let index = integer::read(&mut block, 4)?;
                    let (name, value, from) = self.literal(index, &mut block, fields)?;
                    fields.keep(name, value, from);
                }
            }
        }
        Ok(())
    }

    /// A field of either table (§6.1).
    fn indexed(&self, index: usize, fields: &mut Fields) -> Result<(), Error> {
        let value = match names::get(index) {
            Some((_, value)) => value.as_bytes(),
            None => self.dynamic(index)?.value,
        };
        // A block of nothing but this byte must not copy a page for each of them, be it a name or a value.
        if fields.is_whole() {
            let from = fields.begin();
            let name = self.name(index, fields)?;
            let begin = fields.begin();
            fields.octets.extend_from_slice(value);
            let value = fields.since(begin);
            fields.keep(name, value, from);
        }
        Ok(())
    }

    /// A field whose value is written out, and its name as well where the index is 0 (§6.2); and where its octets begin.
    fn literal(
        &self,
        index: usize,
        block: &mut &[u8],
        fields: &mut Fields,
    ) -> Result<(Name, Span, usize), Error> {
        let from = fields.begin();
        let name = match index {
            0 => Name::Octets(text(block, fields)?),
            _ => self.name(index, fields)?,
        };
        let value = text(block, fields)?;
        Ok((name, value, from))
    }

    /// The name at a place of either table.
    fn name(&self, index: usize, fields: &mut Fields) -> Result<Name, Error> {
        if names::get(index).is_some() {
            // One of 61.
            return Ok(Name::Static(u8::try_from(index).unwrap_or(0)));
        }
        match self.dynamic(index)?.name {
            Named::Static(index, _) => Ok(Name::Static(index)),
            Named::Octets(name) => {
                let begin = fields.begin();
                fields.octets.extend_from_slice(name);
                Ok(Name::Octets(fields.since(begin)))
            }
        }
    }

    fn dynamic(&self, index: usize) -> Result<super::table::Known<'_>, Error> {
        let place = index.checked_sub(names::LENGTH + 1).ok_or(Error::Index)?;
        self.table.get(place).ok_or(Error::Index)
    }
}

/// A name as the table keeps it.
fn named(name: Name, fields: &Fields) -> Named<'_> {
    match name {
        Name::Static(index) => {
            let name = names::get(usize::from(index)).map_or("", |(name, _)| name);
            Named::Static(index, name.len())
        }
        Name::Octets(span) => Named::Octets(fields.text(span)),
    }
}

/// A text (§5.2), behind what was read before.
fn text(block: &mut &[u8], fields: &mut Fields) -> Result<Span, Error> {
    let is_coded = block.first().ok_or(Error::Short)? & 0x80 != 0;
    let length = integer::read(block, 7)?;
    let (text, rest) = block.split_at_checked(length).ok_or(Error::Short)?;
    *block = rest;
    let begin = fields.begin();
    if is_coded {
        huffman::decode(text, &mut fields.octets)?;
    } else {
        fields.octets.extend_from_slice(text);
    }
    Ok(fields.since(begin))
}

/// What a table may have unless a setting says otherwise (RFC 9113 §6.5.2).
const DEFAULT: usize = 4096;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::http2::hpack::fields::Most;
    use crate::protocol::http2::hpack::fields::Said;

    const MOST: Most = Most { fields: 100, bytes: 32 * 1024 };

    fn decode(decoder: &mut Decoder, block: &[u8]) -> Result<Vec<(String, String)>, Error> {
        let mut fields = Fields::with_capacity(block.len(), MOST);
        decoder.decode(block, &mut fields)?;
        let (octets, fields) = fields.into_parts();
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        Ok(fields
            .map(|(name, value)| {
                let name = match name.said(&octets) {
                    Said::Known(name) => name.as_str().to_owned(),
                    Said::Octets(name) => text(name),
                };
                (name, text(&octets[value]))
            })
            .collect())
    }

    fn bytes(hex: &str) -> Vec<u8> {
        let digits: String = hex.split_whitespace().collect();
        let pairs = digits.as_bytes().chunks(2);
        pairs.map(|pair| u8::from_str_radix(str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
    }

    #[test]
    fn requests_of_one_connection_are_as_in_the_examples() {
        // RFC 7541 appendix C.3 and the same with Huffman code in C.4.
        for blocks in [
            [
                "8286 8441 0f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
                "8286 84be 5808 6e6f 2d63 6163 6865",
                "8287 85bf 400a 6375 7374 6f6d 2d6b 6579 0c63 7573 746f 6d2d 7661 6c75 65",
            ],
            [
                "8286 8441 8cf1 e3c2 e5f2 3a6b a0ab 90f4 ff",
                "8286 84be 5886 a8eb 1064 9cbf",
                "8287 85bf 4088 25a8 49e9 5ba9 7d7f 8925 a849 e95b b8e8 b4bf",
            ],
        ] {
            let mut decoder = Decoder::new(DEFAULT);
            let mut line = |block: &str| {
                let fields = decode(&mut decoder, &bytes(block)).unwrap();
                fields
                    .iter()
                    .map(|(name, value)| name.clone() + "=" + value + " ")
                    .collect::<Vec<_>>()
                    .concat()
            };

            let [first, second, third] = blocks.map(&mut line);

            assert_eq!(first, ":method=GET :scheme=http :path=/ :authority=www.example.com ");
            assert_eq!(second, format!("{first}cache-control=no-cache "));
            assert_eq!(
                third,
                ":method=GET :scheme=https :path=/index.html :authority=www.example.com custom-key=custom-value "
            );
        }
    }

    #[test]
    fn oldest_fields_give_way_as_in_the_examples() {
        // RFC 7541 appendix C.5: answers, in a table of 256 bytes.
        let mut decoder = Decoder::new(DEFAULT);
        let blocks = [
            "3fe1 01 4803 3330 3258 0770 7269 7661 7465 611d 4d6f 6e2c 2032 3120 4f63 7420 3230 3133 2032 303a 3133 3a32 3120 474d 546e 1768 7474 7073 3a2f 2f77 7777 2e65 7861 6d70 6c65 2e63 6f6d",
            "4803 3330 37c1 c0bf",
        ];

        let [first, second] = blocks.map(|block| decode(&mut decoder, &bytes(block)).unwrap());

        assert_eq!(first[0], (":status".to_owned(), "302".to_owned()));
        assert_eq!(second[0].1, "307");
        assert_eq!(second[1..], first[1..]);
    }

    #[test]
    fn block_that_cannot_be_read_is_an_error() {
        for (block, error) in [
            (&[0x80][..], Error::Index),
            (&[0xc0 - 2], Error::Index),
            (&[0x7e, 1, b'x'], Error::Index),
            (&[0x40, 1, b'n'], Error::Short),
            (&[0x40, 9, b'n'], Error::Short),
            (&[0x40, 0x81, 0x00, 0], Error::Huffman),
            // A larger table than there may be, and a size behind a field (§4.2).
            (&[0x3f, 0xe2, 0x1f], Error::Size),
            (&[0x82, 0x20], Error::Size),
        ] {
            assert_eq!(decode(&mut Decoder::new(DEFAULT), block), Err(error), "{block:x?}");
        }
    }

    #[test]
    fn bomb_is_read_to_its_end_and_not_kept() {
        // A field of 4 KiB, which is long by its value or by its name, and then nothing but its place.
        let long = [&[0x7f, 0x81, 0x1e][..], &[b'x'; 3968]].concat();
        for mut block in
            [[&[0x40, 1, b'n'][..], &long].concat(), [&[0x40][..], &long, &[0]].concat()]
        {
            block.extend([0xbe; 16_000]);
            let mut fields = Fields::with_capacity(block.len(), MOST);

            Decoder::new(DEFAULT).decode(&block, &mut fields).unwrap();

            assert!(!fields.is_whole());
            assert!(fields.octets.capacity() <= 2 * MOST.bytes, "{}", fields.octets.capacity());
        }
    }

    #[test]
    fn place_that_is_none_is_an_error_also_where_nothing_more_is_kept() {
        let mut fields = Fields::with_capacity(0, Most { fields: 0, bytes: 0 });

        let decoded = Decoder::new(DEFAULT).decode(&[0x82, 0x82, 0xbe], &mut fields);

        assert_eq!(decoded, Err(Error::Index));
    }
}
