//! SHA-256 of weight files, remembered, since hashing 13 GB takes a minute.

use super::error::{PipelineError, Result};
use super::request::{FillEvent, Hook};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// A file that changed less than this ago may change again within the same tick of its clock.
const SETTLED: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Remembered {
    size_bytes: u64,
    modified_nanos: u128,
    sha256: String,
}

/// Hashes by path, size and time of change, kept in a JSON file.
#[derive(Debug)]
pub struct HashCache {
    file: Option<PathBuf>,
    entries: BTreeMap<PathBuf, Remembered>,
}

impl HashCache {
    /// A cache that forgets when it is dropped.
    pub fn in_memory() -> Self {
        Self {
            file: None,
            entries: BTreeMap::new(),
        }
    }

    /// The cache in a file; one that is absent or cannot be read counts as empty.
    pub fn at(file: &Path) -> Self {
        let entries = std::fs::read(file)
            .ok()
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .unwrap_or_default();
        Self {
            file: Some(file.to_owned()),
            entries,
        }
    }

    /// The user's own cache, or one in memory where there is no such place.
    pub fn of_user() -> Self {
        match dirs::cache_dir() {
            Some(dir) => Self::at(&dir.join("fill-audit").join("weights-sha256.json")),
            None => Self::in_memory(),
        }
    }

    /// The SHA-256 of a file in hexadecimal digits. The hook is polled while it is read.
    ///
    /// # Errors
    /// If the file cannot be read or the hook cancels. A cache that cannot be written is a warning.
    pub fn sha256(&mut self, path: &Path, hook: Hook<'_>) -> Result<String> {
        let path = std::fs::canonicalize(path).map_err(PipelineError::io("finding", path))?;
        let metadata = std::fs::metadata(&path).map_err(PipelineError::io("reading", &path))?;
        let modified = metadata.modified().unwrap_or(UNIX_EPOCH);
        let modified_nanos = modified
            .duration_since(UNIX_EPOCH)
            .map_or(0, |since| since.as_nanos());
        if let Some(known) = self.entries.get(&path)
            && known.size_bytes == metadata.len()
            && known.modified_nanos == modified_nanos
        {
            return Ok(known.sha256.clone());
        }
        let sha256 = hash(&path, hook)?;
        let settled = SystemTime::now()
            .duration_since(modified)
            .is_ok_and(|age| age >= SETTLED);
        if settled {
            let entry = Remembered {
                size_bytes: metadata.len(),
                modified_nanos,
                sha256: sha256.clone(),
            };
            self.entries.insert(path, entry);
            self.save();
        }
        Ok(sha256)
    }

    fn save(&self) {
        let Some(file) = &self.file else { return };
        if let Err(error) = self.write(file) {
            tracing::warn!("hashes are not remembered, {error}: {}", file.display());
        }
    }

    fn write(&self, file: &Path) -> std::io::Result<()> {
        let dir = file.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(dir)?;
        let mut temporary = tempfile::NamedTempFile::new_in(dir)?;
        temporary.write_all(&serde_json::to_vec_pretty(&self.entries)?)?;
        temporary.persist(file)?;
        Ok(())
    }
}

fn hash(path: &Path, hook: Hook<'_>) -> Result<String> {
    let mut file = File::open(path).map_err(PipelineError::io("opening", path))?;
    let mut hasher = Sha256::new();
    let mut buffer = vec![0_u8; 4 << 20];
    loop {
        let read = file
            .read(&mut buffer)
            .map_err(PipelineError::io("reading", path))?;
        if read == 0 {
            break;
        }
        hasher.update(buffer.get(..read).unwrap_or_default());
        if hook(FillEvent::Poll) == ControlFlow::Break(()) {
            return Err(PipelineError::Cancelled);
        }
    }
    Ok(format!("{:x}", hasher.finalize()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;

    fn go_on(_: FillEvent) -> ControlFlow<()> {
        ControlFlow::Continue(())
    }

    fn age(path: &Path, secs: u64) {
        let then = SystemTime::now() - Duration::from_secs(secs);
        File::options()
            .write(true)
            .open(path)
            .unwrap()
            .set_modified(then)
            .unwrap();
    }

    #[test]
    fn a_hash_is_the_standard_one_and_is_remembered_across_runs() {
        let dir = tempfile::tempdir().unwrap();
        let (path, cache) = (dir.path().join("w.gguf"), dir.path().join("c/hashes.json"));
        std::fs::write(&path, b"abc").unwrap();
        age(&path, 60);
        let first = HashCache::at(&cache).sha256(&path, &mut go_on).unwrap();
        assert_eq!(
            first,
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
        // The second time the file is not read: a hook that cancels is never asked.
        let again = HashCache::at(&cache).sha256(&path, &mut |_| ControlFlow::Break(()));
        assert_eq!(again.unwrap(), first);
    }

    #[test]
    fn a_file_that_changed_is_hashed_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("w.gguf");
        let mut cache = HashCache::in_memory();
        std::fs::write(&path, b"abc").unwrap();
        age(&path, 60);
        let first = cache.sha256(&path, &mut go_on).unwrap();
        std::fs::write(&path, b"abd").unwrap();
        age(&path, 30);
        assert_ne!(cache.sha256(&path, &mut go_on).unwrap(), first);
        // One that has only just changed is not remembered at all.
        std::fs::write(&path, b"abe").unwrap();
        cache.sha256(&path, &mut go_on).unwrap();
        let cancelled = cache.sha256(&path, &mut |_| ControlFlow::Break(()));
        assert!(matches!(cancelled, Err(PipelineError::Cancelled)));
    }

    #[test]
    fn a_cache_that_cannot_be_read_counts_as_empty() {
        let dir = tempfile::tempdir().unwrap();
        let cache = dir.path().join("hashes.json");
        std::fs::write(&cache, b"{ not json").unwrap();
        assert!(HashCache::at(&cache).entries.is_empty());
    }
}
