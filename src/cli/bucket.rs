//! The options that name a bucket, and what the storage commands share.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Context as _;

use crate::storage::cache::Cache;
use crate::storage::conflict::{Resolution, Resolutions};
use crate::storage::gcs::{Environment, Gcs, Limits};
use crate::storage::progress::Progress;
use crate::storage::{Location, StorageConfig, Store};

/// Where runs are kept. Credentials come from `FIREBASE_CREDENTIALS`, the configured file, or Application
/// Default Credentials.
#[derive(Debug, Clone, clap::Args)]
pub struct BucketArgs {
    /// Bucket, such as PROJECT.firebasestorage.app (default: the configured one)
    #[arg(long, env = "FILL_AUDIT_BUCKET", value_name = "NAME")]
    pub bucket: Option<String>,
    /// Settings of storage (default: storage.toml in the configuration folder)
    #[arg(long, value_name = "FILE")]
    pub storage_config: Option<PathBuf>,
    /// Folder of verified copies (default: the user's cache folder)
    #[arg(long, env = "FILL_AUDIT_CACHE", value_name = "DIR")]
    pub cache: Option<PathBuf>,
}

impl BucketArgs {
    /// The settings, with the command line's bucket.
    ///
    /// # Errors
    /// A settings file that cannot be used.
    pub fn config(&self) -> anyhow::Result<StorageConfig> {
        let path = self
            .storage_config
            .clone()
            .or_else(StorageConfig::default_path);
        let mut config = match path {
            Some(path) => StorageConfig::load(&path)?,
            None => StorageConfig::default(),
        };
        if let Some(bucket) = &self.bucket {
            config.bucket.clone_from(bucket);
        }
        Ok(config)
    }

    /// The cache of verified copies.
    ///
    /// # Errors
    /// A folder that cannot be made.
    pub fn cache(&self, config: &StorageConfig) -> anyhow::Result<Arc<Cache>> {
        let root = self.cache.clone().or_else(Cache::default_root);
        let root = root.context("no cache folder is known for this user: give --cache DIR")?;
        Ok(Arc::new(Cache::open(
            root,
            config.cache_limit_mb.saturating_mul(1_000_000),
        )?))
    }
}

/// Opens the bucket of `config`.
///
/// # Errors
/// No bucket, no credentials; both say what to do.
pub async fn open(config: &StorageConfig) -> anyhow::Result<Arc<dyn Store>> {
    if config.bucket.is_empty() {
        anyhow::bail!(
            "no bucket is configured: give --bucket PROJECT.firebasestorage.app, or set `bucket` in storage.toml"
        );
    }
    let environment = Environment::from_process();
    let credentials = config.credentials.as_deref();
    let gcs = Gcs::open(&config.bucket, credentials, &environment, Limits::default()).await?;
    Ok(Arc::new(gcs))
}

/// The run that `text` names (its id, or an address that was pasted), and the bucket if the address names
/// one: it goes before the configured one.
///
/// # Errors
/// An address that is none, or one outside of where runs live.
pub fn run_id_of(text: &str, config: &mut StorageConfig) -> anyhow::Result<String> {
    if !text.contains("://") {
        return Ok(text.to_owned());
    }
    let location = Location::parse(text)?;
    config.bucket.clone_from(&location.bucket);
    let id = config.run_of(&location.name).map(str::to_owned);
    id.with_context(|| {
        format!(
            "not a run: gs://{}/{} does not lie below {}; name a folder there, or set run_prefix in storage.toml",
            location.bucket,
            location.name,
            config.runs_root()
        )
    })
}

/// The decisions of `--mine` and `--theirs`.
pub fn resolutions(mine: &[String], theirs: &[String]) -> Resolutions {
    let mut decided = Resolutions::default();
    for (files, resolution) in [
        (mine, Resolution::KeepMine),
        (theirs, Resolution::TakeTheirs),
    ] {
        for file in files {
            decided.by_file.insert(file.clone(), resolution);
        }
    }
    decided
}

/// Runs `work` on a runtime of its own.
///
/// # Errors
/// What `work` returns, or that no runtime can be started.
pub fn block_on<T>(work: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no network runtime can be started")?;
    runtime.block_on(work)
}

/// A token that Ctrl+C cancels, so that everything ends at a clean place.
pub fn cancelled_by_ctrl_c() -> tokio_util::sync::CancellationToken {
    let token = tokio_util::sync::CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            cancel.cancel();
        }
    });
    token
}

/// A bar on the terminal for [`Progress`]; it draws nothing when the output is no terminal.
#[derive(Debug)]
pub struct Bar(indicatif::ProgressBar);

impl Bar {
    /// An empty bar.
    pub fn new() -> Self {
        let bar = indicatif::ProgressBar::new(0);
        let template = "{bar:30} {bytes}/{total_bytes}  {msg}";
        if let Ok(style) = indicatif::ProgressStyle::with_template(template) {
            bar.set_style(style);
        }
        Self(bar)
    }

    /// Shows how far it is.
    pub fn show(&self, progress: &Progress) {
        self.0.set_length(progress.bytes_total);
        self.0.set_position(progress.bytes_done);
        let left = progress
            .secs_left()
            .map_or(String::new(), |s| format!(", {s:.0} s left"));
        self.0.set_message(format!(
            "{} of {} files, {:.1} MB/s{left}",
            progress.objects_done,
            progress.objects_total,
            progress.bytes_per_sec / 1e6
        ));
    }

    /// Removes it.
    pub fn clear(&self) {
        self.0.finish_and_clear();
    }
}

impl Default for Bar {
    fn default() -> Self {
        Self::new()
    }
}
