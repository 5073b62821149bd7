//! What the file says key by key, to find out what a changed one changes.

use std::collections::BTreeMap;
use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;

use toml::de::DeTable;
use toml::de::DeValue;

use crate::config::shipped;

/// A fingerprint of the value of every key, with the defaults where the file is silent; it keeps no secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written(BTreeMap<String, u64>);

impl Written {
    pub(super) fn of(table: &DeTable) -> Self {
        let mut values = BTreeMap::new();
        note(shipped::defaults(), "", &mut values);
        note(table, "", &mut values);
        Self(values)
    }

    /// The keys that have another value in `new`, and of which a running program takes no notice.
    #[must_use]
    pub fn that_need_a_restart(&self, new: &Self) -> Vec<String> {
        let keys = self.0.keys().chain(new.0.keys().filter(|key| !self.0.contains_key(*key)));
        let changed = keys.filter(|key| self.0.get(*key) != new.0.get(*key));
        let mut keys: Vec<String> = changed.filter(|key| !is_live(key)).cloned().collect();
        keys.sort();
        keys
    }
}

/// Whether a running program takes the key's new value over.
fn is_live(key: &str) -> bool {
    LIVE.iter().any(|live| {
        key == *live || key.strip_prefix(live).is_some_and(|rest| rest.starts_with('.'))
    })
}

fn note(table: &DeTable, within: &str, values: &mut BTreeMap<String, u64>) {
    for (key, value) in table {
        let key = if within.is_empty() {
            key.get_ref().to_string()
        } else {
            format!("{within}.{}", key.get_ref())
        };
        if let Some(table) = value.get_ref().as_table() {
            note(table, &key, values);
        } else {
            let mut hasher = DefaultHasher::new();
            hash(value.get_ref(), &mut hasher);
            values.insert(key, hasher.finish());
        }
    }
}

fn hash(value: &DeValue, hasher: &mut DefaultHasher) {
    match value {
        DeValue::String(text) => text.hash(hasher),
        DeValue::Integer(number) => (number.radix(), number.as_str()).hash(hasher),
        DeValue::Float(number) => number.as_str().hash(hasher),
        DeValue::Boolean(is) => is.hash(hasher),
        DeValue::Datetime(time) => time.to_string().hash(hasher),
        DeValue::Array(values) => {
            values.len().hash(hasher);
            values.iter().for_each(|value| hash(value.get_ref(), hasher));
        }
        DeValue::Table(table) => {
            table.len().hash(hasher);
            for (key, value) in table {
                key.get_ref().hash(hasher);
                hash(value.get_ref(), hasher);
            }
        }
    }
}

/// What is taken over while the program runs: keys, and tables with all that is in them.
const LIVE: [&str; 6] = [
    "site",
    "tls",
    "listen.trusted_proxies",
    "listen.forwarded",
    "listen.proxy_protocol",
    "log.level",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn written(text: &'static str) -> Written {
        Written::of(DeTable::parse(text).unwrap().get_ref())
    }

    #[test]
    fn keys_that_changed_are_named_but_those_that_are_taken_over() {
        let old = written("[listen]\nhttps = ['[::]:443']\n[log]\nlevel = 'info'");
        let new = written(
            "[listen]\nhttps = ['[::]:8443']\nshared = true\ntrusted_proxies = ['10.0.0.1']\n\
             [log]\nlevel = 'debug'\nformat = 'json'\n[bosh]\nwait = '30s'\n\
             [tls]\nkey = 'x'\n[[site]]\nhosts = ['a.example']",
        );

        let keys = ["bosh.wait", "listen.https", "listen.shared", "log.format"];
        assert_eq!(old.that_need_a_restart(&new), keys);
        assert_eq!(new.that_need_a_restart(&old), keys);
    }

    #[test]
    fn default_that_is_written_out_is_no_change() {
        let old = written("");
        let new = written("[upstream]\nhold = '10s'\n[listen]\nhttp = []");

        assert_eq!(old.that_need_a_restart(&new), Vec::<String>::new());
    }
}
