//! The options that name a bucket, and what the storage commands share.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use tokio_util::sync::CancellationToken;

use super::{EXIT_CANCELLED, EXIT_OK};
use crate::storage::cache::Cache;
use crate::storage::conflict::{Conflict, Resolution, Resolutions};
use crate::storage::gcs::{Environment, Gcs, Limits};
use crate::storage::progress::Progress;
use crate::storage::sync_state::SyncState;
use crate::storage::{Location, StorageConfig, StorageError, Store};

/// Where runs are kept. Credentials come from `FIREBASE_CREDENTIALS`, the configured file, or Application
/// Default Credentials.
#[derive(Debug, Clone, Default, clap::Args)]
#[command(next_help_heading = "Bucket")]
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
        if let Some(bucket) = self.named() {
            bucket.clone_into(&mut config.bucket);
        }
        Ok(config)
    }

    /// The bucket that the command line names; an empty variable names none.
    pub fn named(&self) -> Option<&str> {
        self.bucket.as_deref().filter(|bucket| !bucket.is_empty())
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

/// The decisions of `--mine`, `--theirs` and `--both`. `FILE@GENERATION` decides about that generation of the
/// object only, as [`choice_words`] shows it.
pub fn resolutions(mine: &[String], theirs: &[String], both: &[String]) -> Resolutions {
    let mut decided = Resolutions::default();
    for (files, resolution) in [
        (mine, Resolution::KeepMine),
        (theirs, Resolution::TakeTheirs),
        (both, Resolution::KeepBoth),
    ] {
        for given in files {
            let file = match with_generation(given) {
                Some((file, generation)) => {
                    decided.shown.insert(file.to_owned(), generation);
                    file
                }
                None => given,
            };
            decided.by_file.insert(file.to_owned(), resolution);
        }
    }
    decided
}

fn with_generation(given: &str) -> Option<(&str, i64)> {
    let (file, generation) = given.rsplit_once('@')?;
    let generation = generation.parse().ok().filter(|number| *number > 0)?;
    (!file.is_empty()).then_some((file, generation))
}

/// A conflict in one line, with the options that decide about it.
pub fn choice_words(conflict: &Conflict) -> String {
    format!(
        "{} (--mine {f} or --theirs {f} or --both {f}; {f}@{} decides only about what is there now)",
        conflict.words(),
        conflict.theirs.generation,
        f = conflict.file
    )
}

/// A runtime for the network.
///
/// # Errors
/// That the system has none to give.
pub fn runtime() -> anyhow::Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("no network runtime can be started")
}

/// Runs `work` on a runtime of its own, handing it a token that Ctrl-C cancels. Work that ends by it says
/// `how_to_go_on` on standard error and gives [`EXIT_CANCELLED`].
///
/// # Errors
/// What `work` returns, or that no runtime can be started.
pub fn run_until_ctrl_c<F: Future<Output = anyhow::Result<()>>>(
    how_to_go_on: &str,
    work: impl FnOnce(CancellationToken) -> F,
) -> anyhow::Result<u8> {
    let runtime = runtime()?;
    let (result, token) = runtime.block_on(async {
        let token = cancelled_by_ctrl_c();
        (work(token.clone()).await, token)
    });
    let was_stopped = |error: &anyhow::Error| {
        error
            .downcast_ref::<StorageError>()
            .is_some_and(|error| matches!(error, StorageError::Cancelled))
    };
    match result {
        Ok(()) => Ok(EXIT_OK),
        Err(error) if token.is_cancelled() && was_stopped(&error) => {
            writeln!(std::io::stderr(), "stopped; {how_to_go_on}")?;
            Ok(EXIT_CANCELLED)
        }
        Err(error) => Err(error),
    }
}

/// `work`, or [`StorageError::Cancelled`] as soon as the token is cancelled.
///
/// # Errors
/// What `work` returns.
pub async fn or_stopped<T>(
    cancel: &CancellationToken,
    work: impl Future<Output = anyhow::Result<T>>,
) -> anyhow::Result<T> {
    tokio::select! {
        biased;
        () = cancel.cancelled() => Err(StorageError::Cancelled.into()),
        result = work => result,
    }
}

/// A token that Ctrl-C cancels, so that everything ends at a clean place. A second Ctrl-C ends the program.
pub fn cancelled_by_ctrl_c() -> CancellationToken {
    let token = CancellationToken::new();
    let cancel = token.clone();
    tokio::spawn(async move {
        while tokio::signal::ctrl_c().await.is_ok() {
            if cancel.is_cancelled() {
                std::process::exit(EXIT_CANCELLED.into());
            }
            cancel.cancel();
        }
    });
    token
}

/// The id of the run in a folder: the folder's name.
///
/// # Errors
/// A folder without a name, such as `/`.
pub fn run_id_of_folder(folder: &Path) -> anyhow::Result<String> {
    let absolute = std::path::absolute(folder)?;
    let name = absolute.file_name().and_then(|name| name.to_str());
    name.map(str::to_owned).with_context(|| {
        format!(
            "a run's folder is named like the run, and this is none: {}",
            folder.display()
        )
    })
}

/// Where the run in `folder` lives in the bucket, ending in `/`: where it was fetched from or sent to, or
/// else where the settings say. A bucket that it came from goes before the configured one.
///
/// # Errors
/// A folder whose name is no run's.
pub fn prefix_of_folder(folder: &Path, config: &mut StorageConfig) -> anyhow::Result<String> {
    let origin = SyncState::place_of(folder).and_then(|place| Location::parse(&place).ok());
    if let Some(origin) = origin.filter(|origin| origin.name.ends_with('/')) {
        config.bucket = origin.bucket;
        return Ok(origin.name);
    }
    Ok(config.prefix_of_run(&run_id_of_folder(folder)?)?)
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
