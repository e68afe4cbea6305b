//! A bucket for window tests: a folder behind a gate that lets pictures through one by one, and that can be
//! unplugged.

use super::harness::{Desk, service_run};
use fill_audit::app::Services;
use fill_audit::app::bucket::StorageServices;
use fill_audit::storage::store::{Link, ListPage, ListQuery, OnBytes};
use fill_audit::storage::{
    LocalDir, ObjectMeta, ObjectName, Precondition, Result, StorageError, Store,
};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::Semaphore;

/// The bucket's name in settings and addresses.
pub const BUCKET: &str = "demo.firebasestorage.app";

/// A folder as a bucket.
#[derive(Debug)]
pub struct GatedStore {
    inner: LocalDir,
    /// How many more pictures may pass.
    pub gate: Semaphore,
    is_unplugged: AtomicBool,
    fetched: Mutex<Vec<String>>,
}

impl GatedStore {
    /// An open one in `root`.
    pub fn new(root: &Path) -> Arc<Self> {
        Arc::new(Self {
            inner: LocalDir::new(root),
            gate: Semaphore::new(100_000),
            is_unplugged: AtomicBool::new(false),
            fetched: Mutex::new(Vec::new()),
        })
    }

    /// Lets only so many pictures through from now on.
    pub fn allow(&self, pictures: usize) {
        self.gate.forget_permits(100_000);
        self.gate.add_permits(pictures);
    }

    /// Pulls the plug, or puts it back.
    pub fn unplug(&self, is_unplugged: bool) {
        self.is_unplugged.store(is_unplugged, Ordering::Relaxed);
    }

    /// Pictures that passed, in their order.
    pub fn fetched(&self) -> Vec<String> {
        self.fetched.lock().expect("the list").clone()
    }

    fn plug(&self) -> Result<()> {
        if self.is_unplugged.load(Ordering::Relaxed) {
            return Err(StorageError::Offline {
                place: "the bucket".into(),
                detail: "the plug is out".into(),
            });
        }
        Ok(())
    }
}

impl Store for GatedStore {
    fn place(&self) -> String {
        format!("gs://{BUCKET}")
    }

    fn cache_key(&self) -> String {
        BUCKET.to_owned()
    }

    fn list<'a>(&'a self, query: &'a ListQuery) -> BoxFuture<'a, Result<ListPage>> {
        async move {
            self.plug()?;
            let mut page = self.inner.list(query).await?;
            for object in &mut page.objects {
                // A bucket's list has them; a folder's has not.
                object.crc32c = self.inner.stat(&object.name).await?.crc32c;
            }
            Ok(page)
        }
        .boxed()
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<ObjectMeta>> {
        async move {
            self.plug()?;
            self.inner.stat(name).await
        }
        .boxed()
    }

    fn fetch<'a>(
        &'a self,
        meta: &'a ObjectMeta,
        part: &'a Path,
        on_bytes: OnBytes<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        async move {
            self.plug()?;
            let file = meta.name.file_name();
            if Path::new(file).extension().is_some_and(|end| end == "png") {
                self.gate.acquire().await.expect("the gate").forget();
                self.fetched.lock().expect("the list").push(file.to_owned());
            }
            self.inner.fetch(meta, part, on_bytes).await
        }
        .boxed()
    }

    fn read_range<'a>(
        &'a self,
        name: &'a ObjectName,
        offset: u64,
        len: u64,
    ) -> BoxFuture<'a, Result<bytes::Bytes>> {
        self.inner.read_range(name, offset, len)
    }

    fn write<'a>(
        &'a self,
        name: &'a ObjectName,
        content: bytes::Bytes,
        condition: Precondition,
    ) -> BoxFuture<'a, Result<ObjectMeta>> {
        async move {
            self.plug()?;
            self.inner.write(name, content, condition).await
        }
        .boxed()
    }

    fn delete<'a>(
        &'a self,
        name: &'a ObjectName,
        condition: Precondition,
    ) -> BoxFuture<'a, Result<()>> {
        self.inner.delete(name, condition)
    }

    fn link<'a>(&'a self, name: &'a ObjectName, lifetime: Duration) -> BoxFuture<'a, Result<Link>> {
        self.inner.link(name, lifetime)
    }
}

/// The folder that stands for the bucket.
pub fn shelf(desk: &Desk) -> PathBuf {
    desk.folder.path().join("bucket")
}

/// Services with `store` as the bucket, and folders of the test's own for everything else.
pub fn services(desk: &Desk, store: &Arc<GatedStore>) -> Services {
    let store = Arc::clone(store);
    let folder = desk.folder.path();
    Services {
        storage: StorageServices {
            config_path: Some(folder.join("storage.toml")),
            bucket: Some(BUCKET.to_owned()),
            cache_dir: Some(folder.join("cache")),
            queue_dir: Some(folder.join("queue")),
            open: Arc::new(move |_, _, _| {
                let store: Arc<dyn Store> = store.clone();
                async move { Ok(store) }.boxed()
            }),
            look_again: Duration::from_millis(100),
            ..StorageServices::default()
        },
        ..desk.services()
    }
}

/// Copies the files of a folder into another one.
pub fn copy_folder(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("made");
    for entry in std::fs::read_dir(from).expect("listed").flatten() {
        if entry.path().is_file() {
            std::fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
        }
    }
}

/// Moves the desk's run from disk into the bucket, where it lies as the Python service leaves it.
pub fn only_in_bucket(desk: &Desk) {
    copy_folder(&service_run(), &shelf(desk).join("audit/20260222-025304"));
    std::fs::remove_dir_all(&desk.run).expect("removed");
}
