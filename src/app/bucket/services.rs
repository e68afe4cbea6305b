//! What of storage tests replace: where settings, cache and queue lie, and how a bucket is opened.

use crate::storage::cache::Cache;
use crate::storage::gcs::{Environment, Gcs, Limits};
use crate::storage::queue::UploadQueue;
use crate::storage::{Result, StorageConfig, Store};
use futures::FutureExt as _;
use futures::future::BoxFuture;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Opens the bucket that the settings name.
pub type OpenStore = dyn Fn(StorageConfig, Environment, Limits) -> BoxFuture<'static, Result<Arc<dyn Store>>>
    + Send
    + Sync;

/// Where storage keeps what it needs, and who it is. The default keeps nothing and knows no bucket;
/// [`StorageServices::of_user`] is the program's.
#[derive(Clone)]
pub struct StorageServices {
    /// The file of the settings; without one, the defaults, and nothing is saved.
    pub config_path: Option<PathBuf>,
    /// The bucket in place of the file's, as the command line names it.
    pub bucket: Option<String>,
    /// The cache's folder; without one, a temporary one.
    pub cache_dir: Option<PathBuf>,
    /// The folder of uploads that wait; without one, none can.
    pub queue_dir: Option<PathBuf>,
    /// Variables and files that credentials come from.
    pub environment: Environment,
    /// How long things may take.
    pub limits: Limits,
    /// Opens a bucket.
    pub open: Arc<OpenStore>,
    /// How long to wait before a run in progress is looked at again.
    pub look_again: Duration,
}

impl Default for StorageServices {
    fn default() -> Self {
        Self {
            config_path: None,
            bucket: None,
            cache_dir: None,
            queue_dir: None,
            environment: Environment::default(),
            limits: Limits::default(),
            open: Arc::new(open_gcs),
            look_again: Duration::from_secs(10),
        }
    }
}

impl StorageServices {
    /// The user's own folders and variables.
    pub fn of_user() -> Self {
        Self {
            config_path: StorageConfig::default_path(),
            cache_dir: Cache::default_root(),
            queue_dir: UploadQueue::default_dir(),
            environment: Environment::from_process(),
            ..Self::default()
        }
    }
}

impl StorageServices {
    /// The settings as they are on disk, and the bucket that they name.
    ///
    /// # Errors
    /// What keeps it from being opened, with the remedy.
    pub async fn open_configured(
        &self,
    ) -> std::result::Result<(StorageConfig, Arc<dyn Store>), String> {
        let mut config = match &self.config_path {
            Some(path) => StorageConfig::load(path).map_err(|error| error.to_string())?,
            None => StorageConfig::default(),
        };
        if let Some(bucket) = &self.bucket {
            config.bucket.clone_from(bucket);
        }
        if config.bucket.is_empty() {
            return Err("no bucket is configured: name one in Settings, Storage".to_owned());
        }
        let opening = (self.open)(
            config.clone(),
            self.environment.clone(),
            self.limits.clone(),
        );
        let store = opening.await.map_err(|error| error.to_string())?;
        Ok((config, store))
    }
}

/// Opens a Google Cloud Storage bucket.
pub fn open_gcs(
    config: StorageConfig,
    environment: Environment,
    limits: Limits,
) -> BoxFuture<'static, Result<Arc<dyn Store>>> {
    async move {
        let credentials = config.credentials.as_deref();
        let gcs = Gcs::open(&config.bucket, credentials, &environment, limits).await?;
        Ok(Arc::new(gcs) as Arc<dyn Store>)
    }
    .boxed()
}
