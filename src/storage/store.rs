//! The `Store` trait and its words: object, generation, precondition, listing page, link.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::future::BoxFuture;

use super::{ObjectName, Result, StorageError};

/// What a listing says about one object.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct ObjectMeta {
    /// Its name in the store.
    pub name: ObjectName,
    /// Length in bytes.
    pub size_bytes: u64,
    /// Changes with every write; 0 is never one.
    pub generation: i64,
    /// CRC32C (Castagnoli) of the bytes. A folder's listing leaves it out; [`Store::stat`] has it.
    pub crc32c: Option<u32>,
    /// When it was written last, in seconds since 1970 (UTC).
    pub updated_secs: i64,
}

/// What a listing is asked for.
#[derive(Debug, Clone, Default)]
pub struct ListQuery {
    /// Only names that start with this.
    pub prefix: String,
    /// Stop at the next `/` and give prefixes instead of what lies below.
    pub by_folder: bool,
    /// Most objects in one page; 0 leaves it to the store (1,000).
    pub page_size: usize,
    /// Where the last page ended.
    pub page_token: Option<String>,
}

/// One page of a listing, sorted by name.
#[derive(Debug, Clone, Default)]
pub struct ListPage {
    /// The objects.
    pub objects: Vec<ObjectMeta>,
    /// The "folders" (ending in `/`), when asked for.
    pub prefixes: Vec<String>,
    /// For the next page; `None` at the end.
    pub next_page: Option<String>,
}

/// What must be true of an object for a write or delete to happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Precondition {
    /// There is no such object.
    Absent,
    /// It is at this generation.
    Generation(i64),
    /// No condition. For probes that this program made itself.
    None,
}

impl fmt::Display for Precondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Absent => f.write_str("absent"),
            Self::Generation(generation) => write!(f, "at generation {generation}"),
            Self::None => f.write_str("in any state"),
        }
    }
}

/// How a link was made, in the order in which they are tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum LinkKind {
    /// V4 signed with the service account's own key: up to 72 h.
    OwnKey,
    /// V4 signed by `signBlob`: Google promises 12 h.
    SignBlob,
    /// The object is public.
    Public,
    /// A path on this machine.
    LocalPath,
}

impl fmt::Display for LinkKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OwnKey => "signed with the account's own key",
            Self::SignBlob => "signed by signBlob",
            Self::Public => "public",
            Self::LocalPath => "local path",
        })
    }
}

/// A link to one object. Its `Debug` hides the address, since a signed one is a secret.
#[derive(Clone, PartialEq, Eq)]
pub struct Link {
    /// The address, or a path for [`LinkKind::LocalPath`].
    pub url: String,
    /// How it was made.
    pub kind: LinkKind,
    /// When it stops working; `None` if never.
    pub expires_at: Option<SystemTime>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link")
            .field("kind", &self.kind)
            .field("expires_at", &self.expires_at)
            .finish_non_exhaustive()
    }
}

/// Told how many bytes have just arrived.
pub type OnBytes<'a> = &'a (dyn Fn(u64) + Send + Sync);

/// A place that keeps objects by name. All calls can be dropped at any await.
pub trait Store: Send + Sync + fmt::Debug {
    /// The place in words, for messages: `gs://bucket` or a folder.
    fn place(&self) -> String;

    /// A short, stable key for caches: the bucket's name, or the folder's path.
    fn cache_key(&self) -> String;

    /// One page of a listing.
    fn list<'a>(&'a self, query: &'a ListQuery) -> BoxFuture<'a, Result<ListPage>>;

    /// What is known of one object, with its CRC32C.
    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<ObjectMeta>>;

    /// Writes exactly the object's bytes at `meta.generation` to `part`, continuing what is there, and
    /// returns only when length and CRC32C agree with `meta`. On an error `part` may hold a beginning that
    /// a later call continues; it is never believed.
    fn fetch<'a>(
        &'a self,
        meta: &'a ObjectMeta,
        part: &'a Path,
        on_bytes: OnBytes<'a>,
    ) -> BoxFuture<'a, Result<()>>;

    /// `len` bytes from `offset`; fewer at the object's end. Carries no checksum: for previews only.
    fn read_range<'a>(
        &'a self,
        name: &'a ObjectName,
        offset: u64,
        len: u64,
    ) -> BoxFuture<'a, Result<Bytes>>;

    /// Writes an object whole, if `condition` holds.
    fn write<'a>(
        &'a self,
        name: &'a ObjectName,
        content: Bytes,
        condition: Precondition,
    ) -> BoxFuture<'a, Result<ObjectMeta>>;

    /// Deletes an object, if `condition` holds.
    fn delete<'a>(
        &'a self,
        name: &'a ObjectName,
        condition: Precondition,
    ) -> BoxFuture<'a, Result<()>>;

    /// A link that works for `lifetime` if it can, by the first way that works.
    fn link<'a>(&'a self, name: &'a ObjectName, lifetime: Duration) -> BoxFuture<'a, Result<Link>>;
}

/// All pages of a listing, folder markers left out.
///
/// # Errors
/// What [`Store::list`] returns; a store that repeats a page token is [`StorageError::Corrupt`].
pub async fn list_all(store: &dyn Store, prefix: &str, by_folder: bool) -> Result<ListPage> {
    let mut query = ListQuery {
        prefix: prefix.to_owned(),
        by_folder,
        page_size: 0,
        page_token: None,
    };
    let mut all = ListPage::default();
    loop {
        let page = store.list(&query).await?;
        all.objects.extend(
            page.objects
                .into_iter()
                .filter(|o| !o.name.is_folder_marker()),
        );
        all.prefixes.extend(page.prefixes);
        match page.next_page {
            None => break,
            Some(token) if query.page_token.as_ref() == Some(&token) => {
                return Err(StorageError::Corrupt {
                    place: format!("the list of {}/{prefix}", store.place()),
                    detail: "the same page token came twice".into(),
                });
            }
            token => query.page_token = token,
        }
    }
    all.objects.sort_by(|a, b| a.name.cmp(&b.name));
    all.objects.dedup_by(|a, b| a.name == b.name);
    all.prefixes.sort();
    all.prefixes.dedup();
    Ok(all)
}

/// Reads an object whole into memory, verified. For documents, not for pictures.
///
/// # Errors
/// What [`Store::fetch`] returns.
pub async fn read_verified(store: &dyn Store, meta: &ObjectMeta) -> Result<Vec<u8>> {
    let scratch = tempfile::tempdir().map_err(StorageError::io(
        "making a temporary folder",
        &std::env::temp_dir(),
    ))?;
    let part: PathBuf = scratch.path().join("object");
    store.fetch(meta, &part, &|_| ()).await?;
    tokio::fs::read(&part)
        .await
        .map_err(StorageError::io("reading", &part))
}
