//! Open files: how many this process may have, and what is to be raised where they are too few.

use std::error::Error as StdError;
use std::fmt;
use std::io;

/// How many files this process may have open, if the system says.
#[must_use]
pub fn limit() -> Option<u64> {
    rlimit::Resource::NOFILE.get_soft().ok()
}

/// How many files so many connections of browsers need, each with one to the XMPP server or to the site.
#[must_use]
pub fn needed(connections: usize) -> u64 {
    u64::try_from(connections).unwrap_or(u64::MAX).saturating_mul(2).saturating_add(OWN)
}

/// How many connections of browsers fit into so many open files.
///
/// More would take the files that the others need to reach the server with, and nobody would come in at all.
#[must_use]
pub fn fitting(limit: u64) -> usize {
    let connections = (limit - OWN.min(limit / 4)) / 2;
    usize::try_from(connections).unwrap_or(usize::MAX)
}

/// There are no more files to be had; in words, what to do about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shortage {
    /// This process has as many as it may: so many.
    OfProcess(u64),
    /// The whole machine has.
    OfMachine,
}

impl Shortage {
    /// The shortage that is the cause of `error`, if one is.
    #[must_use]
    pub fn behind(error: &(dyn StdError + 'static)) -> Option<Self> {
        let mut next = Some(error);
        while let Some(error) = next {
            if let Some(shortage) = error.downcast_ref().and_then(Self::of) {
                return Some(shortage);
            }
            next = error.source();
        }
        None
    }

    fn of(error: &io::Error) -> Option<Self> {
        match error.raw_os_error() {
            Some(EMFILE) => limit().map(Self::OfProcess),
            Some(ENFILE) => Some(Self::OfMachine),
            _ => None,
        }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OfProcess(limit) => write!(
                f,
                "this process may have {limit} files open, and each session has two: raise LimitNOFILE= of the service, or ulimit -n"
            ),
            Self::OfMachine => f.write_str(
                "this machine has as many files open as it may: raise fs.file-max of sysctl",
            ),
        }
    }
}

/// What else is open: listeners, monitoring, idle connections to the sites, questions to them, what each thread needs.
const OWN: u64 = 512;
/// This process has too many open files (errno(3), the same on every Linux).
const EMFILE: i32 = 24;
/// The whole machine has.
const ENFILE: i32 = 23;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_connections_fit_as_what_they_need_allows() {
        for connections in [1000, 9000, 50_000] {
            let needed = needed(connections);

            assert_eq!(fitting(needed), connections);
            assert_eq!(fitting(needed - 1), connections - 1);
        }
        assert!(needed(9000) <= 20_000, "the default fits into what a container commonly has");
    }

    #[test]
    fn under_a_small_limit_some_come_in_and_a_quarter_is_left_for_the_rest() {
        assert_eq!(fitting(64), 24);
        assert_eq!(fitting(0), 0);
    }

    #[test]
    fn shortage_is_found_behind_other_errors_and_says_what_to_raise() {
        #[derive(Debug, thiserror::Error)]
        #[error("no answer")]
        struct NoAnswer(#[source] io::Error);

        let behind = |number| Shortage::behind(&NoAnswer(io::Error::from_raw_os_error(number)));

        let limit = limit().unwrap();
        assert_eq!(behind(EMFILE), Some(Shortage::OfProcess(limit)));
        assert_eq!(behind(ENFILE), Some(Shortage::OfMachine));
        assert_eq!(behind(111), None);
        let told = Shortage::OfProcess(limit).to_string();
        assert!(told.contains(&limit.to_string()) && told.contains("LimitNOFILE="), "{told}");
    }
}
