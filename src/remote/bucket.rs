//! The bucket of a worker: sessions come from it, cells go to it as they end, and what the worker was asked
//! for is remembered in it, so that a worker whose disk is gone goes on where it was.
//!
//! Everything here waits for the network: not for a thread that answers.

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
use std::path::Path;
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

/// Below where runs live; no run's name begins with a dot.
const RECORDS: &str = ".worker";

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
    /// before is replaced if the bucket's is another now.
    ///
    /// # Errors
    /// [`Refusal::NotFound`] if the bucket has none either, [`Refusal::Unavailable`] if it cannot be asked.
    pub fn bring_session(
        &self,
        request: &AuditRequest,
        places: &Places,
    ) -> std::result::Result<(), Refusal> {
        if plan::own_session_dir(request, places).is_some() {
            return Ok(());
        }
        let folder = plan::brought_session_dir(request, places);
        let brought = self.runtime.block_on(async {
            match self.pull_session(request, &folder).await {
                Err(StorageError::Precondition { .. }) => {
                    std::fs::remove_dir_all(&folder)
                        .map_err(StorageError::io("removing the old session", &folder))?;
                    self.pull_session(request, &folder).await
                }
                other => other,
            }
        });
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

    /// Keeps what was asked for in the bucket for as long as the run has not ended. A failure is only noted:
    /// the record on disk is what counts while there is a disk.
    pub fn remember(&self, record: &RunRecord) {
        let Some(name) = &self.name else {
            return;
        };
        let done = self.runtime.block_on(async {
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
        });
        if let Err(error) = done {
            tracing::warn!(%error, "run {} is remembered on this disk only", record.run_id);
        }
    }

    /// What was asked for and has not ended, as the bucket has it.
    ///
    /// # Errors
    /// What the bucket says. A record that cannot be understood is left out, with a warning.
    pub fn remembered(&self) -> Result<Vec<RunRecord>> {
        let Some(name) = &self.name else {
            return Ok(Vec::new());
        };
        self.runtime.block_on(async {
            let listing = list_all(&*self.store, &self.records_prefix(name), false).await?;
            let mut records = Vec::new();
            for listed in listing.objects {
                let meta = self.store.stat(&listed.name).await?;
                let text = read_verified(&*self.store, &meta).await?;
                match RunRecord::parse(&text) {
                    Ok(record) => records.push(record),
                    Err(problem) => {
                        tracing::warn!("a run's record is left aside: {problem}: {}", listed.name);
                    }
                }
            }
            Ok(records)
        })
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
