//! A folder as a store: the embedded default, and what the tests compare a bucket with.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, UNIX_EPOCH};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;

use super::store::{Link, LinkKind, ListPage, ListQuery, OnBytes};
use super::{ObjectMeta, ObjectName, Precondition, Result, StorageError, Store, files};

/// A folder whose files are objects; hidden files are not.
///
/// Preconditions are checked under a lock between processes of this program; another program that writes at
/// the same moment is not held off.
#[derive(Debug, Clone)]
pub struct LocalDir {
    root: PathBuf,
}

impl LocalDir {
    /// A store in `root`, which need not exist yet.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The folder.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// Where `name` is or would be.
    ///
    /// # Errors
    /// [`StorageError::BadName`] if the name would leave the folder.
    pub fn path_of(&self, name: &ObjectName) -> Result<PathBuf> {
        Ok(self.root.join(name.relative_path("")?))
    }

    /// Runs `work` on the blocking pool.
    fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Self) -> Result<T> + Send + 'static,
    ) -> BoxFuture<'static, Result<T>> {
        let this = self.clone();
        async move {
            tokio::task::spawn_blocking(move || work(&this))
                .await
                .unwrap_or_else(|join| {
                    Err(StorageError::io("working in", Path::new("a folder"))(
                        std::io::Error::other(join),
                    ))
                })
        }
        .boxed()
    }

    fn list_now(&self, query: &ListQuery) -> Result<ListPage> {
        let mut page = ListPage::default();
        let limit = if query.page_size == 0 {
            1000
        } else {
            query.page_size
        };
        // Only the folder part of the prefix is walked, so that a run's list does not read its neighbours.
        let folder = query
            .prefix
            .rsplit_once('/')
            .map_or("", |(folder, _)| folder);
        let mut start = self.root.clone();
        if !folder.is_empty() {
            start.push(ObjectName::new(folder)?.relative_path("")?);
        }
        let lead = if folder.is_empty() {
            String::new()
        } else {
            format!("{folder}/")
        };
        let names = if query.by_folder {
            shallow(&start)?
        } else {
            files::visible_files(&start)?
                .into_iter()
                .map(|(name, _)| name)
                .collect()
        };
        for name in names {
            let name = format!("{lead}{name}");
            let after_token = query.page_token.as_ref().is_none_or(|token| name > *token);
            if !name.starts_with(&query.prefix) || !after_token {
                continue;
            }
            if page.objects.len() + page.prefixes.len() == limit {
                page.next_page = page
                    .objects
                    .last()
                    .map(|o| o.name.as_str().to_owned())
                    .max(page.prefixes.last().cloned());
                break;
            }
            if name.ends_with('/') {
                page.prefixes.push(name);
                continue;
            }
            let path = self.root.join(&name);
            match ObjectName::new(name).and_then(|name| meta_of(&path, name, false)) {
                Ok(meta) => page.objects.push(meta),
                Err(StorageError::NotFound { .. }) => {} // gone since it was seen
                Err(error) => tracing::warn!(%error, "a file is left out of the list"),
            }
        }
        Ok(page)
    }

    fn guard(&self, name: &ObjectName, condition: Precondition) -> Result<(PathBuf, fs::File)> {
        let path = self.path_of(name)?;
        let lock = files::store_lock(&self.root)?;
        let found = match meta_of(&path, name.clone(), false) {
            Ok(meta) => Some(meta.generation),
            Err(StorageError::NotFound { .. }) => None,
            Err(error) => return Err(error),
        };
        let holds = match condition {
            Precondition::None => true,
            Precondition::Absent => found.is_none(),
            Precondition::Generation(generation) => found == Some(generation),
        };
        if holds {
            Ok((path, lock))
        } else {
            Err(StorageError::Precondition {
                place: path.display().to_string(),
                expected: condition.to_string(),
            })
        }
    }
}

/// Names directly in `dir`; folders end in `/`.
fn shallow(dir: &Path) -> Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(StorageError::io("listing", dir))?,
    };
    let mut names = Vec::new();
    for entry in entries.flatten() {
        let Some(name) = entry.file_name().to_str().map(str::to_owned) else {
            continue;
        };
        if name.starts_with('.') {
            continue;
        }
        names.push(if entry.path().is_dir() {
            name + "/"
        } else {
            name
        });
    }
    names.sort();
    Ok(names)
}

fn meta_of(path: &Path, name: ObjectName, with_checksum: bool) -> Result<ObjectMeta> {
    let facts = match fs::metadata(path) {
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
            return Err(StorageError::NotFound {
                place: path.display().to_string(),
            });
        }
        other => other.map_err(StorageError::io("reading", path))?,
    };
    if !facts.is_file() {
        return Err(StorageError::NotFound {
            place: path.display().to_string(),
        });
    }
    let modified = facts
        .modified()
        .map_err(StorageError::io("reading", path))?;
    let since = modified.duration_since(UNIX_EPOCH).unwrap_or_default();
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(&facts);
    #[cfg(not(unix))]
    let inode = 0u64;
    // Two writes can share a clock tick; the inode and the length tell them apart.
    let low = (inode ^ facts.len()) & 0xffff;
    let generation = (since.as_nanos() as i64 & !0xffff) | low as i64;
    Ok(ObjectMeta {
        name,
        size_bytes: facts.len(),
        generation: generation.max(1),
        crc32c: if with_checksum {
            Some(files::checksum(path)?.1)
        } else {
            None
        },
        updated_secs: since.as_secs() as i64,
    })
}

impl Store for LocalDir {
    fn place(&self) -> String {
        self.root.display().to_string()
    }

    fn cache_key(&self) -> String {
        self.root.display().to_string()
    }

    fn list<'a>(&'a self, query: &'a ListQuery) -> BoxFuture<'a, Result<ListPage>> {
        let query = query.clone();
        self.blocking(move |this| this.list_now(&query))
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<ObjectMeta>> {
        let name = name.clone();
        self.blocking(move |this| meta_of(&this.path_of(&name)?, name, true))
    }

    fn fetch<'a>(
        &'a self,
        meta: &'a ObjectMeta,
        part: &'a Path,
        on_bytes: OnBytes<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        let (meta, part) = (meta.clone(), part.to_owned());
        async move {
            let size_bytes = meta.size_bytes;
            self.blocking(move |this| {
                let path = this.path_of(&meta.name)?;
                let now = meta_of(&path, meta.name.clone(), true)?;
                fs::copy(&path, &part).map_err(StorageError::io("copying", &path))?;
                let copied = files::checksum(&part)?;
                let expected = meta.crc32c.or(now.crc32c);
                if now.generation != meta.generation || Some(copied.1) != expected {
                    return Err(StorageError::Corrupt {
                        place: path.display().to_string(),
                        detail: "it changed while it was being read".into(),
                    });
                }
                Ok(())
            })
            .await?;
            on_bytes(size_bytes);
            Ok(())
        }
        .boxed()
    }

    fn read_range<'a>(
        &'a self,
        name: &'a ObjectName,
        offset: u64,
        len: u64,
    ) -> BoxFuture<'a, Result<Bytes>> {
        use std::io::{Read as _, Seek as _};
        let name = name.clone();
        self.blocking(move |this| {
            let path = this.path_of(&name)?;
            meta_of(&path, name, false)?;
            let mut file = fs::File::open(&path).map_err(StorageError::io("opening", &path))?;
            file.seek(std::io::SeekFrom::Start(offset))
                .map_err(StorageError::io("reading", &path))?;
            let mut bytes = Vec::new();
            file.take(len)
                .read_to_end(&mut bytes)
                .map_err(StorageError::io("reading", &path))?;
            Ok(Bytes::from(bytes))
        })
    }

    fn write<'a>(
        &'a self,
        name: &'a ObjectName,
        content: Bytes,
        condition: Precondition,
    ) -> BoxFuture<'a, Result<ObjectMeta>> {
        let name = name.clone();
        self.blocking(move |this| {
            let (path, _lock) = this.guard(&name, condition)?;
            files::write_atomic(&path, &content)?;
            meta_of(&path, name, true)
        })
    }

    fn delete<'a>(
        &'a self,
        name: &'a ObjectName,
        condition: Precondition,
    ) -> BoxFuture<'a, Result<()>> {
        let name = name.clone();
        self.blocking(move |this| {
            let (path, _lock) = this.guard(&name, condition)?;
            match fs::remove_file(&path) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => Err(StorageError::NotFound {
                    place: path.display().to_string(),
                }),
                other => other.map_err(StorageError::io("deleting", &path)),
            }
        })
    }

    fn link<'a>(
        &'a self,
        name: &'a ObjectName,
        _lifetime: Duration,
    ) -> BoxFuture<'a, Result<Link>> {
        async move {
            let url = self.path_of(name)?.display().to_string();
            Ok(Link {
                url,
                kind: LinkKind::LocalPath,
                expires_at: None,
            })
        }
        .boxed()
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::super::store::{list_all, read_verified};
    use super::*;

    fn name(text: &str) -> ObjectName {
        ObjectName::new(text).unwrap()
    }

    #[tokio::test]
    async fn a_folder_behaves_like_a_bucket() {
        let dir = tempfile::tempdir().unwrap();
        let store = LocalDir::new(dir.path());
        let a = name("audit/x/a b.png");
        let first = store
            .write(&a, "one".into(), Precondition::Absent)
            .await
            .unwrap();
        assert!(
            store
                .write(&a, "two".into(), Precondition::Absent)
                .await
                .unwrap_err()
                .is_precondition()
        );
        let second = store
            .write(&a, "two".into(), Precondition::Generation(first.generation))
            .await
            .unwrap();
        let stale = store
            .write(
                &a,
                "three".into(),
                Precondition::Generation(first.generation),
            )
            .await;
        assert!(stale.unwrap_err().is_precondition());
        assert_eq!(read_verified(&store, &second).await.unwrap(), b"two");
        assert_eq!(&store.read_range(&a, 1, 99).await.unwrap()[..], b"wo");
        for i in 0..7 {
            store
                .write(
                    &name(&format!("audit/y/{i}")),
                    "x".into(),
                    Precondition::Absent,
                )
                .await
                .unwrap();
        }
        let folders = list_all(&store, "audit/", true).await.unwrap();
        assert_eq!(folders.prefixes, ["audit/x/", "audit/y/"]);
        let mut query = ListQuery {
            prefix: "audit/y/".into(),
            page_size: 3,
            ..ListQuery::default()
        };
        let mut seen = Vec::new();
        loop {
            let page = store.list(&query).await.unwrap();
            seen.push(page.objects.len());
            match page.next_page {
                None => break,
                token => query.page_token = token,
            }
        }
        assert_eq!(seen, [3, 3, 1]);
        store
            .delete(&a, Precondition::Generation(second.generation))
            .await
            .unwrap();
        assert!(store.stat(&a).await.unwrap_err().is_not_found());
        assert!(store.stat(&name("../up")).await.is_err());
    }
}
