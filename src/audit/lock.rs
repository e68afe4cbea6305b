//! One process at a time writes a run: a lock on the folder's `.lock` that ends with the process.

use super::AuditError;
use std::fs::{File, TryLockError};
use std::path::Path;

/// The file that is locked. It stays behind, empty, and means nothing by itself.
pub const FILE: &str = ".lock";

/// Held while a run is written; dropping it, or dying, frees the run.
#[derive(Debug)]
pub struct RunLock {
    _file: File,
}

impl RunLock {
    /// Takes the lock of a run's folder, or says at once that another process holds it.
    ///
    /// # Errors
    /// [`AuditError::Busy`] if it is held, [`AuditError::File`] if it cannot be made.
    pub fn take(folder: &Path) -> Result<Self, AuditError> {
        let path = folder.join(FILE);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|source| AuditError::file("could not be opened", &path, source))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(AuditError::Busy {
                path: folder.display().to_string(),
            }),
            Err(TryLockError::Error(source)) => {
                Err(AuditError::file("could not be locked", &path, source))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_run_is_written_by_one_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = RunLock::take(dir.path()).unwrap();
        let second = RunLock::take(dir.path());
        assert!(matches!(second, Err(AuditError::Busy { .. })));
        drop(first);
        assert!(RunLock::take(dir.path()).is_ok());
    }
}
