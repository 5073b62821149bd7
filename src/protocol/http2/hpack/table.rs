//! The dynamic table (RFC 7541 §2.3.2, §4): the fields that a browser means to repeat.

use std::collections::VecDeque;

/// The fields, the latest first.
///
/// Their names and values lie one behind the other: it takes little more than their bytes, and none while there are none.
#[derive(Debug)]
pub(super) struct Table {
    entries: VecDeque<Entry>,
    /// What the entries are made of, the oldest first; what lies before the oldest is dead.
    octets: Vec<u8>,
    /// As the RFC counts it (§4.1).
    size: usize,
    most: usize,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: u32,
    name: Name,
    value: u16,
}

/// How a name is kept.
#[derive(Clone, Copy, Debug)]
enum Name {
    /// As its place in the static table.
    Static(u8),
    /// In so many bytes before the value.
    Octets(u16),
}

/// A field of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Known<'a> {
    pub(super) name: Named<'a>,
    pub(super) value: &'a [u8],
}

/// A name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Named<'a> {
    /// By its place in the static table, and its length.
    Static(u8, usize),
    Octets(&'a [u8]),
}

impl Named<'_> {
    fn len(self) -> usize {
        match self {
            Self::Static(_, length) => length,
            Self::Octets(name) => name.len(),
        }
    }
}

impl Table {
    /// Without a field, and with no more bytes than so.
    pub(super) fn new(most: usize) -> Self {
        // Places within it are counted in 16 bits.
        let most = most.min(usize::from(u16::MAX));
        Self { entries: VecDeque::new(), octets: Vec::new(), size: 0, most }
    }

    /// The field at a place, from 0 on.
    pub(super) fn get(&self, place: usize) -> Option<Known<'_>> {
        let entry = self.entries.get(place)?;
        let from = usize::try_from(entry.at).ok()?;
        let (name, from) = match entry.name {
            Name::Static(index) => (Named::Static(index, entry.name_length()), from),
            Name::Octets(length) => {
                let behind = from + usize::from(length);
                (Named::Octets(self.octets.get(from..behind)?), behind)
            }
        };
        Some(Known { name, value: self.octets.get(from..from + usize::from(entry.value))? })
    }

    /// Puts a field before all others; the oldest give way (§4.4).
    pub(super) fn insert(&mut self, name: Named<'_>, value: &[u8]) {
        let size = name.len().saturating_add(value.len()).saturating_add(OVERHEAD);
        // One that is larger than the table leaves it empty, which is no error.
        self.evict(self.most.saturating_sub(size));
        if size > self.most {
            return;
        }
        self.bury();
        // All of it is no larger than the table, which counts in 16 bits.
        let at = u32::try_from(self.octets.len()).unwrap_or(u32::MAX);
        let name = match name {
            Named::Static(index, _) => Name::Static(index),
            Named::Octets(name) => {
                self.octets.extend_from_slice(name);
                Name::Octets(u16::try_from(name.len()).unwrap_or(u16::MAX))
            }
        };
        self.octets.extend_from_slice(value);
        let value = u16::try_from(value.len()).unwrap_or(u16::MAX);
        self.entries.push_front(Entry { at, name, value });
        self.size += size;
    }

    /// Has no more bytes than so from now on (§4.3).
    pub(super) fn resize(&mut self, most: usize) {
        self.most = most.min(usize::from(u16::MAX));
        self.evict(self.most);
        if self.entries.is_empty() {
            *self = Self::new(self.most);
        }
    }

    /// Lets the oldest go until it is no larger than so.
    fn evict(&mut self, most: usize) {
        while self.size > most
            && let Some(oldest) = self.entries.pop_back()
        {
            self.size = self.size.saturating_sub(oldest.size());
        }
    }

    /// Moves what lives to the front, once that is less than half.
    fn bury(&mut self) {
        let Some(oldest) = self.entries.back() else { return self.octets.clear() };
        let dead = oldest.at;
        let length = usize::try_from(dead).unwrap_or(0).min(self.octets.len());
        if length > self.octets.len() / 2 {
            self.octets.drain(..length);
            for entry in &mut self.entries {
                entry.at = entry.at.saturating_sub(dead);
            }
        }
    }
}

impl Entry {
    fn name_length(&self) -> usize {
        match self.name {
            Name::Static(index) => {
                super::names::get(usize::from(index)).map_or(0, |(name, _)| name.len())
            }
            Name::Octets(length) => usize::from(length),
        }
    }

    fn size(&self) -> usize {
        self.name_length() + usize::from(self.value) + OVERHEAD
    }
}

/// What each field counts for beside its name and value (§4.1).
const OVERHEAD: usize = 32;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn octets<'a>(name: &'a [u8], value: &'a [u8]) -> Known<'a> {
        Known { name: Named::Octets(name), value }
    }

    #[test]
    fn latest_is_first_and_the_oldest_gives_way() {
        let mut table = Table::new(3 * (OVERHEAD + 2));

        for value in [b"1", b"2", b"3", b"4"] {
            table.insert(Named::Octets(b"n"), value);
        }

        assert_eq!(table.get(0), Some(octets(b"n", b"4")));
        assert_eq!(table.get(2), Some(octets(b"n", b"2")));
        assert_eq!(table.get(3), None);
    }

    #[test]
    fn field_larger_than_the_table_empties_it() {
        let mut table = Table::new(64);
        table.insert(Named::Octets(b"name"), b"value");

        table.insert(Named::Octets(b"name"), &[b'v'; 100]);

        assert_eq!((table.get(0), table.size), (None, 0));
    }

    #[test]
    fn table_that_is_made_smaller_than_its_fields_loses_them_and_their_memory() {
        let mut table = Table::new(4096);
        table.insert(Named::Static(58, 10), b"a browser");

        table.resize(0);
        table.resize(4096);

        assert_eq!(table.get(0), None);
        assert_eq!((table.octets.capacity(), table.entries.capacity()), (0, 0));
    }

    proptest! {
        /// Against the plainest model there is.
        #[test]
        fn table_is_a_list_of_which_the_end_is_cut_off(
            fields in prop::collection::vec((0..40_usize, 0..200_usize, any::<u8>()), 0..200),
            most in 0..2000_usize,
        ) {
            let mut table = Table::new(most);
            let mut model: Vec<(Vec<u8>, Vec<u8>)> = Vec::new();
            for (name, value, byte) in fields {
                let (name, value) = (vec![byte; name], vec![!byte; value]);
                table.insert(Named::Octets(&name), &value);
                model.insert(0, (name, value));
                let size = |model: &[(Vec<u8>, Vec<u8>)]| {
                    model.iter().map(|(name, value)| name.len() + value.len() + 32).sum::<usize>()
                };
                while size(&model) > most {
                    model.pop();
                }
                for (place, (name, value)) in model.iter().enumerate() {
                    prop_assert_eq!(table.get(place), Some(octets(name, value)));
                }
                prop_assert_eq!(table.get(model.len()), None);
                prop_assert_eq!(table.size, size(&model));
                prop_assert!(table.octets.len() <= 2 * most + 240);
            }
        }
    }
}
