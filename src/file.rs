//! The files that proxy.toml names: read whole, up to a bound.

use std::fs::File;
use std::io;
use std::io::Read as _;
use std::path::Path;

/// How a file is read: [`read`], or what a test puts in its place.
pub type Read<'a> = &'a dyn Fn(&Path) -> io::Result<Vec<u8>>;

/// The content of the file at `path`, of at most 1 MiB.
///
/// # Errors
/// The system's own, and `FileTooLarge`.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut content = Vec::new();
    File::open(path)?.take(MOST + 1).read_to_end(&mut content)?;
    if u64::try_from(content.len()).is_ok_and(|length| length <= MOST) {
        Ok(content)
    } else {
        Err(io::Error::new(io::ErrorKind::FileTooLarge, "it has more than 1 MiB"))
    }
}

/// Far more than a chain of certificates has; somebody has named a device or a log.
const MOST: u64 = 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn file_without_end_is_refused() {
        let error = read(Path::new("/dev/zero")).unwrap_err();

        assert_eq!(error.kind(), io::ErrorKind::FileTooLarge);
    }
}
