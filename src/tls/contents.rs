//! The files of certificates and keys as they are at one moment, and whether that is another state than before.

use std::hash::DefaultHasher;
use std::hash::Hash;
use std::hash::Hasher;
use std::io;
use std::path::Path;
use std::path::PathBuf;

use zeroize::Zeroizing;

use crate::file::Read;
use crate::tls::config::Pair;

/// What the files of some pairs hold.
pub(super) struct Contents<'a> {
    pub(super) pairs: &'a [Pair],
    files: Vec<(&'a PathBuf, io::Result<Zeroizing<Vec<u8>>>)>,
}

/// Tells whether files have changed, not what is in them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fingerprint(u64);

impl<'a> Contents<'a> {
    pub(super) fn of(pairs: &'a [Pair], read: Read) -> Self {
        let paths = pairs.iter().flat_map(|pair| [&pair.certificate, &pair.key]);
        let files = paths.map(|path| (path, read(path).map(Zeroizing::new))).collect();
        Self { pairs, files }
    }

    /// What the file at this path, which is one of the pairs', holds.
    pub(super) fn read(&self, path: &Path) -> io::Result<&[u8]> {
        match self.files.iter().find(|(file, _)| file.as_path() == path) {
            Some((_, Ok(content))) => Ok(content.as_slice()),
            Some((_, Err(error))) => Err(io::Error::new(error.kind(), error.to_string())),
            None => Err(io::ErrorKind::NotFound.into()),
        }
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        let mut hasher = DefaultHasher::new();
        for (_, content) in &self.files {
            content.as_deref().map_err(io::Error::kind).hash(&mut hasher);
        }
        Fingerprint(hasher.finish())
    }
}
