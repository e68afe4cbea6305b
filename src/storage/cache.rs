//! Verified copies of objects on disk, by bucket, name and generation, under a size limit.
//!
//! A file's place is made of hashes, so no object name can leave the folder. Every use checks the CRC32C
//! again (some 10 GB/s, far faster than the disk), so that a copy that was damaged or written to through a
//! hard link is fetched anew instead of believed.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use super::store::OnBytes;
use super::{ObjectMeta, Result, StorageError, Store, files};

/// Parts of downloads that nobody continued for this long are removed.
const PART_LIFETIME: Duration = Duration::from_hours(72);

/// Small pictures that were made of objects; they count as much as objects do.
const THUMBNAILS: &str = "thumbnails";

/// The cache of one user.
#[derive(Debug)]
pub struct Cache {
    root: PathBuf,
    limit_bytes: u64,
    /// Bytes held; `None` until counted. Other processes may add, so it is counted anew before evicting.
    held_bytes: Mutex<Option<u64>>,
    unique: AtomicU64,
}

impl Cache {
    /// Opens the cache in `root`, made if missing, and removes parts that were abandoned.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn open(root: impl Into<PathBuf>, limit_bytes: u64) -> Result<Self> {
        let root = root.into();
        files::make_dir(&root.join("objects"))?;
        files::make_dir(&root.join("parts"))?;
        let cache = Self {
            root,
            limit_bytes,
            held_bytes: Mutex::new(None),
            unique: AtomicU64::new(0),
        };
        for entry in stored_files(&cache.root.join("parts")) {
            let old = entry.used_at.elapsed().is_ok_and(|age| age > PART_LIFETIME);
            if old && let Err(error) = fs::remove_file(&entry.path) {
                tracing::warn!(%error, "an abandoned download cannot be removed");
            }
        }
        Ok(cache)
    }

    /// `fill-audit` in the user's cache folder.
    pub fn default_root() -> Option<PathBuf> {
        Some(dirs::cache_dir()?.join("fill-audit"))
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The verified copy of an object's bytes, if there is one. This is what pictures are decoded from.
    ///
    /// # Errors
    /// [`StorageError::Io`] for anything but a missing file.
    pub fn load(&self, store: &dyn Store, meta: &ObjectMeta) -> Result<Option<Vec<u8>>> {
        let path = self.path_of(&store.cache_key(), meta);
        let bytes = match fs::read(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            other => other.map_err(StorageError::io("reading", &path))?,
        };
        if is_right(meta, bytes.len() as u64, crc32c::crc32c(&bytes)) {
            touch(&path);
            return Ok(Some(bytes));
        }
        self.discard(&path);
        Ok(None)
    }

    /// The path of the verified copy, if there is one.
    ///
    /// # Errors
    /// [`StorageError::Io`] for anything but a missing file.
    pub fn lookup(&self, store: &dyn Store, meta: &ObjectMeta) -> Result<Option<PathBuf>> {
        let path = self.path_of(&store.cache_key(), meta);
        if !path.exists() {
            return Ok(None);
        }
        let (size_bytes, crc) = files::checksum(&path)?;
        if is_right(meta, size_bytes, crc) {
            touch(&path);
            return Ok(Some(path));
        }
        self.discard(&path);
        Ok(None)
    }

    /// The path of a verified copy, fetched if it is not there. An interrupted fetch is continued by the
    /// next one.
    ///
    /// # Errors
    /// What [`Store::fetch`] returns; [`StorageError::Io`].
    pub async fn fetch(
        &self,
        store: &dyn Store,
        meta: &ObjectMeta,
        on_bytes: OnBytes<'_>,
    ) -> Result<PathBuf> {
        let with_crc;
        let meta = if meta.crc32c.is_some() {
            meta
        } else {
            with_crc = store.stat(&meta.name).await?;
            &with_crc
        };
        if let Some(path) = self.lookup(store, meta)? {
            on_bytes(meta.size_bytes);
            return Ok(path);
        }
        let path = self.path_of(&store.cache_key(), meta);
        let (part, _lock) = self.part_for(&path)?;
        store.fetch(meta, &part, on_bytes).await?;
        if let Some(dir) = path.parent() {
            files::make_dir(dir)?;
        }
        fs::rename(&part, &path).map_err(StorageError::io("writing", &path))?;
        self.added(meta.size_bytes, &path);
        Ok(path)
    }

    /// The small picture that was kept under `key`, if it is still there. `key` names the version of what
    /// it was made of, so that it never shows another.
    pub fn thumbnail(&self, key: &str) -> Option<PathBuf> {
        let path = self.thumbnail_path(key);
        let is_there = path.is_file();
        if is_there {
            touch(&path);
        }
        is_there.then_some(path)
    }

    /// Keeps a small picture's file under `key`.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn keep_thumbnail(&self, key: &str, png: &[u8]) -> Result<PathBuf> {
        let path = self.thumbnail_path(key);
        files::write_atomic(&path, png)?;
        self.added(png.len() as u64, &path);
        Ok(path)
    }

    fn thumbnail_path(&self, key: &str) -> PathBuf {
        self.root
            .join(THUMBNAILS)
            .join(format!("{}.png", hash(key)))
    }

    /// Bytes held at present.
    pub fn held_bytes(&self) -> u64 {
        let mut held = self.lock();
        *held.get_or_insert_with(|| self.count())
    }

    /// Removes everything, parts and saved listings included.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn clear(&self) -> Result<()> {
        for folder in ["objects", "parts", "listings", THUMBNAILS] {
            let dir = self.root.join(folder);
            match fs::remove_dir_all(&dir) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
                other => other.map_err(StorageError::io("removing", &dir))?,
            }
            files::make_dir(&dir)?;
        }
        *self.lock() = Some(0);
        Ok(())
    }

    fn path_of(&self, store_key: &str, meta: &ObjectMeta) -> PathBuf {
        // All in one folder: file systems find names among thousands, and making folders takes time.
        self.root
            .join("objects")
            .join(hash(store_key))
            .join(format!("{}-{}", hash(meta.name.as_str()), meta.generation))
    }

    /// Where to download to, locked; a name of its own if another process is at the usual one.
    fn part_for(&self, path: &Path) -> Result<(PathBuf, fs::File)> {
        let parts = self.root.join("parts");
        let usual = parts.join(format!("{}.part", hash(&path.display().to_string())));
        let file = open_part(&usual)?;
        if file.try_lock().is_ok() {
            return Ok((usual, file));
        }
        let number = self.unique.fetch_add(1, Ordering::Relaxed);
        let own = usual.with_extension(format!("{}-{number}.part", std::process::id()));
        let file = open_part(&own)?;
        Ok((own, file))
    }

    fn discard(&self, path: &Path) {
        tracing::warn!(path = %path.display(), "a cached copy is damaged; it is fetched again");
        if let Err(error) = fs::remove_file(path) {
            tracing::warn!(%error, "it cannot be removed either");
        }
        *self.lock() = None;
    }

    fn added(&self, size_bytes: u64, newest: &Path) {
        let mut held = self.lock();
        let total = match *held {
            Some(total) => total + size_bytes,
            None => self.count(),
        };
        *held = Some(if total > self.limit_bytes {
            self.evict(newest)
        } else {
            total
        });
    }

    /// Removes the copies that were not used for longest until nine tenths of the limit are left; never
    /// `newest`, which someone is about to use.
    fn evict(&self, newest: &Path) -> u64 {
        let mut stored = self.stored();
        stored.sort_by_key(|file| file.used_at);
        let mut total: u64 = stored.iter().map(|file| file.size_bytes).sum();
        let goal = self.limit_bytes / 10 * 9;
        for file in stored {
            if total <= goal {
                break;
            }
            if file.path != newest && fs::remove_file(&file.path).is_ok() {
                total -= file.size_bytes;
            }
        }
        total
    }

    /// All copies and small pictures.
    fn stored(&self) -> Vec<StoredFile> {
        let mut stored = stored_files(&self.root.join("objects"));
        stored.extend(stored_files(&self.root.join(THUMBNAILS)));
        stored
    }

    fn count(&self) -> u64 {
        self.stored().iter().map(|file| file.size_bytes).sum()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<u64>> {
        self.held_bytes
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// The first 40 hex digits of the SHA-256 of `text`.
pub(super) fn hash(text: &str) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(text.as_bytes());
    digest
        .iter()
        .take(20)
        .fold(String::with_capacity(40), |mut out, byte| {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02x}");
            out
        })
}

fn is_right(meta: &ObjectMeta, size_bytes: u64, crc: u32) -> bool {
    size_bytes == meta.size_bytes && meta.crc32c == Some(crc)
}

fn open_part(path: &Path) -> Result<fs::File> {
    fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(path)
        .map_err(StorageError::io("opening", path))
}

/// Marks a copy as just used; if that fails, it is only evicted earlier.
fn touch(path: &Path) {
    if let Ok(file) = fs::OpenOptions::new().append(true).open(path) {
        let _ = file.set_modified(SystemTime::now());
    }
}

struct StoredFile {
    path: PathBuf,
    size_bytes: u64,
    used_at: SystemTime,
}

fn stored_files(dir: &Path) -> Vec<StoredFile> {
    let mut found = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        let Ok(entries) = fs::read_dir(&folder) else {
            continue;
        };
        for entry in entries.flatten() {
            let Ok(facts) = entry.metadata() else {
                continue;
            };
            if facts.is_dir() {
                folders.push(entry.path());
            } else {
                found.push(StoredFile {
                    path: entry.path(),
                    size_bytes: facts.len(),
                    used_at: facts.modified().unwrap_or(SystemTime::UNIX_EPOCH),
                });
            }
        }
    }
    found
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::super::{LocalDir, ObjectName, Precondition};
    use super::*;

    async fn put(store: &LocalDir, name: &str, len: usize) -> ObjectMeta {
        let name = ObjectName::new(name).unwrap();
        store
            .write(&name, vec![7u8; len].into(), Precondition::None)
            .await
            .unwrap()
    }

    #[tokio::test]
    async fn the_limit_evicts_what_was_not_used_for_longest() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalDir::new(dir.path().join("store"));
        let cache = Cache::open(dir.path().join("cache"), 1000).unwrap();
        let (a, b, c) = (
            put(&store, "a", 400).await,
            put(&store, "b", 400).await,
            put(&store, "c", 400).await,
        );
        let path_a = cache.fetch(&store, &a, &|_| ()).await.unwrap();
        let path_b = cache.fetch(&store, &b, &|_| ()).await.unwrap();
        for (path, age_secs) in [(&path_a, 100), (&path_b, 50)] {
            let file = fs::OpenOptions::new().append(true).open(path).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(age_secs))
                .unwrap();
        }
        assert!(cache.lookup(&store, &a).unwrap().is_some(), "a is used now");
        cache.fetch(&store, &c, &|_| ()).await.unwrap();
        assert!(cache.lookup(&store, &b).unwrap().is_none());
        assert!(cache.lookup(&store, &a).unwrap().is_some());
        assert_eq!(cache.held_bytes(), 800);
    }

    #[tokio::test]
    async fn a_damaged_copy_is_not_believed() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalDir::new(dir.path().join("store"));
        let cache = Cache::open(dir.path().join("cache"), 10_000).unwrap();
        let a = put(&store, "a", 400).await;
        let path = cache.fetch(&store, &a, &|_| ()).await.unwrap();
        fs::write(&path, vec![8u8; 400]).unwrap();
        assert!(cache.load(&store, &a).unwrap().is_none());
        cache.fetch(&store, &a, &|_| ()).await.unwrap();
        assert_eq!(cache.load(&store, &a).unwrap().unwrap(), vec![7u8; 400]);
    }

    #[test]
    fn no_name_leaves_the_cache() {
        let cache = Cache::open(tempfile::tempdir().unwrap().keep(), 10).unwrap();
        for name in ["audit/x/../../y", "/etc/passwd", "NUL", &"é".repeat(512)] {
            let meta = ObjectMeta {
                name: ObjectName::new(name).unwrap(),
                size_bytes: 1,
                generation: 7,
                crc32c: Some(0),
                updated_secs: 0,
            };
            let path = cache.path_of("../../b", &meta);
            let inside = path.strip_prefix(cache.root()).unwrap();
            assert!(
                inside
                    .components()
                    .all(|c| matches!(c, std::path::Component::Normal(_)))
            );
            assert!(path.components().all(|c| c.as_os_str().len() < 100));
        }
        fs::remove_dir_all(cache.root()).unwrap();
    }
}
