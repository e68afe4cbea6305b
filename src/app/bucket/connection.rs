//! Settings, stores and cache of the window: read or opened when first needed, and anew when the settings
//! change.

use super::services::StorageServices;
use super::words;
use crate::state::bucket::form::StorageForm;
use crate::state::bucket::{ConfigRead, QueuedRow};
use crate::storage::cache::Cache;
use crate::storage::inbox::Thumbnail;
use crate::storage::queue::UploadQueue;
use crate::storage::{StorageConfig, StorageError, Store};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::Semaphore;

/// Small pictures that are made at a time.
const THUMBNAILS_AT_ONCE: usize = 2;

/// What all jobs share.
pub(super) struct Connection {
    pub(super) services: StorageServices,
    config: Mutex<Option<StorageConfig>>,
    stores: Mutex<BTreeMap<String, Arc<dyn Store>>>,
    cache: Mutex<Option<Arc<Cache>>>,
    /// Keeps a temporary cache's folder while the window is open.
    scratch: Mutex<Option<tempfile::TempDir>>,
    /// Where the pictures of the last list are, by what the window knows them by.
    pub(super) pictures: Mutex<BTreeMap<String, Thumbnail>>,
    pub(super) thumbnail_slots: Semaphore,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that holds one of these locks can leave it half-changed.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Connection {
    pub(super) fn new(services: StorageServices) -> Self {
        Self {
            services,
            config: Mutex::new(None),
            stores: Mutex::new(BTreeMap::new()),
            cache: Mutex::new(None),
            scratch: Mutex::new(None),
            pictures: Mutex::new(BTreeMap::new()),
            thumbnail_slots: Semaphore::new(THUMBNAILS_AT_ONCE),
        }
    }

    /// Reads the settings' file anew.
    pub(super) fn read_config(&self) -> Result<ConfigRead, String> {
        let path = self.services.config_path.clone();
        let saved = match &path {
            Some(path) => StorageConfig::load(path).map_err(|error| error.to_string())?,
            None => StorageConfig::default(),
        };
        let form = words::form_of(&saved);
        let mut config = saved;
        if let Some(bucket) = &self.services.bucket {
            config.bucket.clone_from(bucket);
        }
        let read = ConfigRead {
            form,
            path,
            credentials_words: words::credentials(&config, &self.services.environment),
            bucket_override: self.services.bucket.clone(),
            has_bucket: !config.bucket.is_empty(),
        };
        *lock(&self.config) = Some(config);
        Ok(read)
    }

    /// Writes the settings and takes them from now on. A file that is there and cannot be read stays.
    pub(super) fn save_config(&self, form: &StorageForm) -> Result<ConfigRead, String> {
        let path = self.services.config_path.as_ref();
        let path =
            path.ok_or_else(|| "no folder for settings is known for this user".to_owned())?;
        words::config_of(form)
            .save(path)
            .map_err(|error| error.to_string())?;
        *lock(&self.cache) = None;
        // Credentials may have changed too.
        lock(&self.stores).clear();
        self.read_config()
    }

    /// The settings that are in force.
    pub(super) fn config(&self) -> Result<StorageConfig, String> {
        if let Some(config) = lock(&self.config).clone() {
            return Ok(config);
        }
        self.read_config()?;
        lock(&self.config)
            .clone()
            .ok_or_else(|| "the settings cannot be read".to_owned())
    }

    /// The bucket `named`, or the configured one; `None` if there is none.
    pub(super) async fn store(
        &self,
        named: Option<&str>,
    ) -> Result<Option<Arc<dyn Store>>, StoreProblem> {
        let mut config = self.config().map_err(StoreProblem::Other)?;
        if let Some(named) = named {
            named.clone_into(&mut config.bucket);
        }
        if config.bucket.is_empty() {
            return Ok(None);
        }
        if let Some(store) = lock(&self.stores).get(&config.bucket) {
            return Ok(Some(Arc::clone(store)));
        }
        let bucket = config.bucket.clone();
        let services = &self.services;
        let opening = (services.open)(
            config,
            services.environment.clone(),
            services.limits.clone(),
        );
        let store = opening.await.map_err(StoreProblem::Storage)?;
        lock(&self.stores).insert(bucket, Arc::clone(&store));
        Ok(Some(store))
    }

    /// The cache of verified copies.
    pub(super) fn cache(&self) -> Result<Arc<Cache>, String> {
        let config = self.config()?;
        let mut held = lock(&self.cache);
        if let Some(cache) = &*held {
            return Ok(Arc::clone(cache));
        }
        let root = match self.services.cache_dir.clone() {
            Some(dir) => dir,
            None => self.scratch()?,
        };
        let limit = config.cache_limit_mb.saturating_mul(1_000_000);
        let cache = Arc::new(Cache::open(root, limit).map_err(|error| error.to_string())?);
        *held = Some(Arc::clone(&cache));
        Ok(cache)
    }

    /// A temporary folder that lasts as long as the window.
    fn scratch(&self) -> Result<PathBuf, String> {
        let mut scratch = lock(&self.scratch);
        if let Some(dir) = &*scratch {
            return Ok(dir.path().to_owned());
        }
        let dir = tempfile::tempdir().map_err(|error| format!("no folder for a cache: {error}"))?;
        let path = dir.path().to_owned();
        *scratch = Some(dir);
        Ok(path)
    }

    /// The queue of uploads that wait for the network.
    pub(super) fn queue(&self) -> Option<UploadQueue> {
        self.services.queue_dir.clone().map(UploadQueue::new)
    }

    /// What waits for the network.
    pub(super) fn queued(&self) -> Vec<QueuedRow> {
        let entries = match self.queue().map(|queue| queue.entries()) {
            None => return Vec::new(),
            Some(Ok(entries)) => entries,
            Some(Err(error)) => {
                tracing::warn!(%error, "the queue of uploads cannot be read");
                return Vec::new();
            }
        };
        entries
            .into_iter()
            .map(|entry| QueuedRow {
                place: format!("{}/{}", entry.place, entry.prefix),
                dir: entry.dir,
                queued_secs: entry.queued_secs,
            })
            .collect()
    }

    pub(super) fn picture(&self, key: &str) -> Option<Thumbnail> {
        lock(&self.pictures).get(key).cloned()
    }

    pub(super) fn set_pictures(&self, pictures: BTreeMap<String, Thumbnail>) {
        *lock(&self.pictures) = pictures;
    }
}

/// Why there is no bucket.
#[derive(Debug)]
pub(super) enum StoreProblem {
    /// Storage says why.
    Storage(StorageError),
    /// The settings say why.
    Other(String),
}

impl std::fmt::Display for StoreProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Storage(error) => error.fmt(f),
            Self::Other(problem) => f.write_str(problem),
        }
    }
}
