//! Runs that wait on disk until there is a network again. One small file for each.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use futures::future::BoxFuture;
use serde::{Deserialize, Serialize};
use tokio_util::sync::CancellationToken;

use super::push::{Push, PushOptions, PushReport};
use super::{Result, StorageError, Store, cache, files};

/// A run that is to be pushed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QueuedPush {
    /// Version of this document: 1.
    pub schema: u32,
    /// The run's folder, absolute.
    pub dir: PathBuf,
    /// The store, as [`Store::place`] names it.
    pub place: String,
    /// The run's prefix there.
    pub prefix: String,
    /// Files from elsewhere that go up with it, by their name in the run.
    pub extra: Vec<(String, PathBuf)>,
    /// When it was queued, in seconds since 1970.
    pub queued_secs: i64,
}

/// How one run is sent: [`Push::run`], or more than that.
pub type SendRun = for<'a> fn(&'a Push) -> BoxFuture<'a, Result<PushReport>>;

/// The queue of one user.
#[derive(Debug, Clone)]
pub struct UploadQueue {
    dir: PathBuf,
}

impl UploadQueue {
    /// The queue in `dir`, which need not exist.
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self { dir: dir.into() }
    }

    /// `fill-audit/uploads` in the user's folder for program state.
    pub fn default_dir() -> Option<PathBuf> {
        Some(
            dirs::state_dir()
                .or_else(dirs::data_local_dir)?
                .join("fill-audit")
                .join("uploads"),
        )
    }

    /// Adds a run, or renews its entry: there is one for each folder and place.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn add(&self, push: &Push) -> Result<QueuedPush> {
        let absolute = |path: &Path| {
            std::path::absolute(path).map_err(StorageError::io("finding the folder", path))
        };
        let mut extra = Vec::new();
        for (name, path) in &push.options.extra {
            extra.push((name.clone(), absolute(path)?));
        }
        let entry = QueuedPush {
            schema: 1,
            dir: absolute(&push.dir)?,
            place: push.store.place(),
            prefix: push.prefix.clone(),
            extra,
            queued_secs: jiff::Timestamp::now().as_second(),
        };
        let path = self.path_of(&entry);
        let text = ron::ser::to_string_pretty(&entry, ron::ser::PrettyConfig::default())
            .map_err(|e| StorageError::io("writing", &path)(std::io::Error::other(e)))?;
        files::write_atomic(&path, text.as_bytes())?;
        Ok(entry)
    }

    /// What waits, oldest first. An entry that cannot be read is left where it is, with a warning.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn entries(&self) -> Result<Vec<QueuedPush>> {
        let mut entries = Vec::new();
        for (_, path) in files::visible_files(&self.dir)? {
            match read_entry(&path) {
                Ok(entry) => entries.push(entry),
                Err(error) => tracing::warn!(%error, "a waiting upload is left out"),
            }
        }
        entries.sort_by(|a, b| (a.queued_secs, &a.dir).cmp(&(b.queued_secs, &b.dir)));
        Ok(entries)
    }

    /// Removes an entry; one that is gone is no error.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn remove(&self, entry: &QueuedPush) -> Result<()> {
        let path = self.path_of(entry);
        match std::fs::remove_file(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(()),
            other => other.map_err(StorageError::io("removing", &path)),
        }
    }

    /// Removes the entry of a push that was done, if there is one.
    ///
    /// # Errors
    /// [`StorageError::Io`].
    pub fn remove_push(&self, push: &Push) -> Result<()> {
        let dir = std::path::absolute(&push.dir)
            .map_err(StorageError::io("finding the folder", &push.dir))?;
        let entries = self.entries()?;
        let is_its = |entry: &&QueuedPush| {
            entry.dir == dir && entry.place == push.store.place() && entry.prefix == push.prefix
        };
        match entries.iter().find(is_its) {
            Some(entry) => self.remove(entry),
            None => Ok(()),
        }
    }

    /// Pushes what waits for `store` by `send`, oldest first, and removes what is complete. It ends at the first
    /// failure of the network; conflicts leave their entry in place.
    ///
    /// # Errors
    /// [`StorageError::Io`] for the queue itself; each run's result is in the answer.
    pub async fn send_all(
        &self,
        store: &Arc<dyn Store>,
        cancel: &CancellationToken,
        send: SendRun,
    ) -> Result<Vec<(QueuedPush, Result<PushReport>)>> {
        let mut results = Vec::new();
        for entry in self
            .entries()?
            .into_iter()
            .filter(|e| e.place == store.place())
        {
            let push = Push {
                store: Arc::clone(store),
                prefix: entry.prefix.clone(),
                dir: entry.dir.clone(),
                options: PushOptions {
                    extra: entry.extra.clone(),
                    ..PushOptions::default()
                },
                events: None,
                cancel: cancel.clone(),
            };
            let result = send(&push).await;
            match &result {
                Ok(report) if report.is_complete() => self.remove(&entry)?,
                _ => {}
            }
            let stop = result
                .as_ref()
                .is_err_and(|e| e.is_retryable() || matches!(e, StorageError::Cancelled));
            results.push((entry, result));
            if stop {
                break;
            }
        }
        Ok(results)
    }

    fn path_of(&self, entry: &QueuedPush) -> PathBuf {
        let key = format!("{}\n{}\n{}", entry.dir.display(), entry.place, entry.prefix);
        self.dir.join(format!("{}.ron", cache::hash(&key)))
    }
}

fn read_entry(path: &Path) -> Result<QueuedPush> {
    let text = std::fs::read_to_string(path).map_err(StorageError::io("reading", path))?;
    let wrong = |detail: String| StorageError::Document {
        what: "waiting upload",
        detail,
        path: path.to_owned(),
    };
    let entry: QueuedPush = ron::from_str(&text).map_err(|e| wrong(e.to_string()))?;
    if entry.schema == 1 {
        Ok(entry)
    } else {
        Err(wrong(format!(
            "schema {} is not known here (1 is)",
            entry.schema
        )))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::super::LocalDir;
    use super::*;
    use futures::FutureExt as _;

    #[tokio::test]
    async fn a_queued_run_goes_up_once_and_leaves_the_queue() {
        let dir = tempfile::tempdir().unwrap();
        let run = dir.path().join("runs/r1");
        files::write_atomic(&run.join("Q4_0_gs2.png"), b"png").unwrap();
        let store: Arc<dyn Store> = Arc::new(LocalDir::new(dir.path().join("store")));
        let queue = UploadQueue::new(dir.path().join("queue"));
        let push = Push {
            store: Arc::clone(&store),
            prefix: "audit/r1/".into(),
            dir: run,
            options: PushOptions::default(),
            events: None,
            cancel: CancellationToken::new(),
        };
        queue.add(&push).unwrap();
        queue.add(&push).unwrap();
        std::fs::write(dir.path().join("queue/broken.ron"), "(").unwrap();
        assert_eq!(queue.entries().unwrap().len(), 1);
        let results = queue
            .send_all(&store, &CancellationToken::new(), |push| push.run().boxed())
            .await
            .unwrap();
        assert_eq!(results.len(), 1);
        assert_eq!(results[0].1.as_ref().unwrap().sent, ["Q4_0_gs2.png"]);
        assert!(queue.entries().unwrap().is_empty());
        assert!(dir.path().join("queue/broken.ron").exists());
    }
}
