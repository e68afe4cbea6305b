//! The bucket of a worker: sessions come from it, cells go to it as they end, and what the worker was asked
//! for is remembered in it, so that a worker whose disk is gone goes on where it was.
//!
//! Everything here waits for the network: not for a thread that answers.

use super::lock;
use super::plan::{self, Places};
use super::record::RunRecord;
use super::refusal::Refusal;
use super::wire::AuditRequest;
use crate::audit::bucket_run::BucketRun;
use crate::model::ids::RunId;
use crate::storage::cache::Cache;
use crate::storage::session::pull_session;
use crate::storage::store::{list_all, read_verified};
use crate::storage::{ObjectName, Precondition, Result, StorageConfig, StorageError, Store};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Below where runs live; no run's name begins with a dot.
const RECORDS: &str = ".worker";
/// How often a start asks the bucket for what it remembers.
const ATTEMPTS: u32 = 5;
/// Before the second attempt; doubled each time.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// A worker's bucket.
#[derive(Debug, Clone)]
pub struct WorkerBucket {
    /// The bucket.
    pub store: Arc<dyn Store>,
    /// Verified copies.
    pub cache: Arc<Cache>,
    /// Where runs and sessions lie in it.
    pub config: StorageConfig,
    /// Under which name the worker's list of runs is kept in the bucket; without one it is on this disk only.
    /// No two workers of a bucket may share one.
    pub name: Option<RunId>,
    /// Where its transfers run; not the runtime that is shut down when the worker ends.
    pub runtime: Handle,
}

impl WorkerBucket {
    /// The place of a run: in the bucket, and in the folder of runs.
    ///
    /// # Errors
    /// [`StorageError::BadName`] for an id that cannot be part of a name.
    pub fn run(&self, run_id: &RunId, places: &Places) -> Result<BucketRun> {
        Ok(BucketRun {
            store: Arc::clone(&self.store),
            cache: Arc::clone(&self.cache),
            prefix: self.config.prefix_of_run(run_id.as_str())?,
            folder: places.runs_dir.join(run_id.as_str()),
        })
    }

    /// Brings the session that is asked for, unless it lies in the folder of sessions. One that was brought
    /// before is replaced, whole, if the bucket's is another now; `exchange` is held while it is.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if the bucket has none either, [`Refusal::Unavailable`] if it cannot be asked.
    pub fn bring_session(
        &self,
        request: &AuditRequest,
        places: &Places,
        exchange: &Mutex<()>,
    ) -> std::result::Result<(), Refusal> {
        if plan::own_session_dir(request, places).is_some() {
            return Ok(());
        }
        let folder = plan::brought_session_dir(request, places);
        let brought = (|| {
            let beside = room_beside(&folder)?;
            let fresh = beside.path().join("session");
            std::fs::create_dir(&fresh).map_err(failed(&fresh))?;
            self.runtime.block_on(self.pull_session(request, &fresh))?;
            let _exchanging = lock(exchange);
            if !is_same(&fresh, &folder) {
                if folder.exists() {
                    std::fs::rename(&folder, beside.path().join("old")).map_err(failed(&folder))?;
                }
                std::fs::rename(&fresh, &folder).map_err(failed(&folder))?;
            }
            Ok(())
        })();
        match brought {
            Ok(()) => Ok(()),
            Err(StorageError::NotFound { .. }) => Err(plan::no_session(request)),
            Err(error) => Err(Refusal::Unavailable(format!(
                "the session cannot be fetched from the bucket: {error}"
            ))),
        }
    }

    async fn pull_session(&self, request: &AuditRequest, folder: &Path) -> Result<()> {
        let ids = (request.user_id.as_str(), request.session_id.as_str());
        pull_session(&*self.store, &self.cache, &self.config, ids, folder)
            .await
            .map(|_placed| ())
    }

    fn record_name(&self, name: &RunId, file: &str) -> Result<ObjectName> {
        ObjectName::new(format!("{}{file}", self.records_prefix(name)))
    }

    fn records_prefix(&self, name: &RunId) -> String {
        format!("{}{RECORDS}/{name}/", self.config.runs_root())
    }

    /// Keeps what was asked for in the bucket for as long as the run has not ended; nothing, without a name.
    ///
    /// # Errors
    /// What the bucket says.
    pub fn remember(&self, record: &RunRecord) -> Result<()> {
        let Some(name) = &self.name else {
            return Ok(());
        };
        self.runtime.block_on(async {
            let object = self.record_name(name, &format!("{}.json", record.run_id))?;
            if record.state.has_ended() {
                return match self.store.delete(&object, Precondition::None).await {
                    Err(StorageError::NotFound { .. }) => Ok(()),
                    other => other,
                };
            }
            let text =
                serde_json::to_vec_pretty(record).map_err(|error| StorageError::Corrupt {
                    place: object.to_string(),
                    detail: error.to_string(),
                })?;
            self.store
                .write(&object, text.into(), Precondition::None)
                .await
                .map(|_written| ())
        })
    }

    /// What was asked for and has not ended, as the bucket has it.
    ///
    /// # Errors
    /// What the bucket says, after some attempts. A record that cannot be read or understood is left out, with a
    /// warning.
    pub fn remembered(&self) -> Result<Vec<RunRecord>> {
        let Some(name) = &self.name else {
            return Ok(Vec::new());
        };
        self.runtime.block_on(async {
            let prefix = self.records_prefix(name);
            let listing = patiently(|| list_all(&*self.store, &prefix, false)).await?;
            let mut records = Vec::new();
            for listed in listing.objects {
                let read = patiently(|| self.read(&listed.name)).await;
                let text = read.map_err(|error| error.to_string());
                match text.and_then(|text| RunRecord::parse(&text)) {
                    Ok(record) => records.push(record),
                    Err(problem) => {
                        tracing::warn!("a run's record is left aside: {problem}: {}", listed.name);
                    }
                }
            }
            Ok(records)
        })
    }

    async fn read(&self, name: &ObjectName) -> Result<Vec<u8>> {
        let meta = self.store.stat(name).await?;
        read_verified(&*self.store, &meta).await
    }

    /// Whether the bucket has the run's plan; a run that was begun and never sent is not there.
    ///
    /// # Errors
    /// What the bucket says.
    pub fn has_run(&self, run: &BucketRun) -> Result<bool> {
        self.runtime.block_on(run.is_there())
    }

    /// A token that nothing cancels, for calls that end by themselves.
    pub(super) fn never() -> CancellationToken {
        CancellationToken::new()
    }
}

fn failed(path: &Path) -> impl FnOnce(std::io::Error) -> StorageError {
    StorageError::io("putting the session in its place", path)
}

/// A folder beside another, from which that can be put in its place in one go.
fn room_beside(folder: &Path) -> Result<TempDir> {
    let parent = folder.parent().unwrap_or(folder);
    std::fs::create_dir_all(parent).map_err(failed(parent))?;
    tempfile::Builder::new()
        .prefix(".new-")
        .tempdir_in(parent)
        .map_err(failed(parent))
}

/// Whether two folders have the same files; `false` if one cannot be read.
fn is_same(one: &Path, other: &Path) -> bool {
    let files = |folder: &Path| -> std::io::Result<BTreeMap<_, _>> {
        std::fs::read_dir(folder)?
            .map(|entry| {
                let entry = entry?;
                Ok((entry.file_name(), std::fs::read(entry.path())?))
            })
            .collect()
    };
    matches!((files(one), files(other)), (Ok(one), Ok(other)) if one == other)
}

/// A call that is made again where that may help.
async fn patiently<T, F: Future<Output = Result<T>>>(call: impl Fn() -> F) -> Result<T> {
    let mut pause = FIRST_PAUSE;
    for _ in 1..ATTEMPTS {
        match call().await {
            Err(error) if error.is_retryable() => {
                tracing::info!("asked again in {pause:?}: {error}");
                tokio::time::sleep(pause).await;
                pause *= 2;
            }
            other => return other,
        }
    }
    call().await
}
