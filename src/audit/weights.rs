//! Hashes of weight files, found once: a transformer has gigabytes. A file that has the same path, size
//! and time of change is taken to be the same.

use super::{atomic, hash};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    size_bytes: u64,
    modified_nanos: u128,
    sha256: String,
}

/// The hashes that were found before, in a file of the user's cache.
#[derive(Debug, Default)]
pub struct HashCache {
    file: Option<PathBuf>,
    known: BTreeMap<String, Known>,
}

impl HashCache {
    /// The user's cache; an empty one where there is none or it cannot be read.
    pub fn of_user() -> Self {
        dirs::cache_dir().map_or_else(Self::default, |dir| {
            Self::in_file(dir.join("fill-audit").join("weights-sha256.json"))
        })
    }

    /// A cache in a file, which need not be there yet.
    pub fn in_file(file: PathBuf) -> Self {
        let known = std::fs::read(&file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self {
            file: Some(file),
            known,
        }
    }

    /// The size in bytes and the SHA-256 of a file, from the cache if it has not changed since.
    ///
    /// # Errors
    /// What the file system says.
    pub fn hash(&mut self, path: &Path) -> std::io::Result<(u64, String)> {
        let path = path.canonicalize()?;
        let metadata = path.metadata()?;
        let modified_nanos = metadata
            .modified()?
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        let name = path.to_string_lossy().into_owned();
        if let Some(known) = self.known.get(&name)
            && (known.size_bytes, known.modified_nanos) == (metadata.len(), modified_nanos)
        {
            return Ok((known.size_bytes, known.sha256.clone()));
        }
        tracing::info!("finding the SHA-256 of {}", path.display());
        let known = Known {
            size_bytes: metadata.len(),
            modified_nanos,
            sha256: hash::sha256_file(&path)?,
        };
        let found = (known.size_bytes, known.sha256.clone());
        self.known.insert(name, known);
        self.save();
        Ok(found)
    }

    fn save(&self) {
        let Some(file) = &self.file else { return };
        let saved = serde_json::to_vec_pretty(&self.known)
            .map_err(std::io::Error::other)
            .and_then(|bytes| {
                if let Some(folder) = file.parent() {
                    std::fs::create_dir_all(folder)?;
                }
                atomic::write(file, &bytes)
            });
        if let Err(error) = saved {
            // Only time is lost.
            tracing::debug!("hashes of weights are not kept: {error}");
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_file_is_hashed_once_and_again_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let (weights, cache) = (dir.path().join("w.gguf"), dir.path().join("c/hashes.json"));
        std::fs::write(&weights, "abc").unwrap();
        let first = HashCache::in_file(cache.clone()).hash(&weights).unwrap();
        assert_eq!(first, (3, hash::sha256(b"abc")));
        // A hash that is not the file's shows that the file is not read again.
        let text = std::fs::read_to_string(&cache).unwrap();
        std::fs::write(&cache, text.replace(&first.1, &hash::sha256(b"x"))).unwrap();
        let second = HashCache::in_file(cache.clone()).hash(&weights).unwrap();
        assert_eq!(second.1, hash::sha256(b"x"));
        std::fs::write(&weights, "abcd").unwrap();
        let third = HashCache::in_file(cache.clone()).hash(&weights).unwrap();
        assert_eq!(third, (4, hash::sha256(b"abcd")));
        std::fs::write(&cache, "nonsense").unwrap();
        assert_eq!(HashCache::in_file(cache).hash(&weights).unwrap(), third);
    }
}
