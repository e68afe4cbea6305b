//! The Python service as a worker: it is asked once and answers when all is done. Meanwhile its pictures are
//! looked for in the bucket, where it leaves them one by one.

use super::telling::Teller;
use crate::app::bucket::StorageServices;
use crate::model::run::files;
use crate::remote::client::service::LONGEST;
use crate::remote::client::{ClientError, Intent, RemoteNote, WorkerClient};
use crate::state::Event;
use crate::state::compose::duration_label;
use crate::state::remote::RemoteEvent;
use crate::storage::{ObjectName, StorageError};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::watch;

/// How often it is told how long one has waited.
const TELL_EVERY: Duration = Duration::from_secs(5);

/// One audit of the Python service.
pub(super) struct Service<'a> {
    pub(super) client: &'a WorkerClient,
    pub(super) runs_dir: PathBuf,
    pub(super) note: RemoteNote,
    pub(super) teller: &'a Teller,
    pub(super) look_every: Duration,
    pub(super) storage: &'a StorageServices,
}

impl Service<'_> {
    /// Asks for the audit, unless it was asked for before, and shows what comes of it.
    ///
    /// # Errors
    /// [`ClientError`].
    pub(super) async fn follow(
        mut self,
        mut intent: watch::Receiver<Intent>,
        is_start: bool,
    ) -> Result<String, ClientError> {
        if !is_start {
            return self.watch(intent).await;
        }
        let run_id = self.note.run_id.to_string();
        self.note.ended = None;
        self.note.write(&self.runs_dir)?;
        let started = Instant::now();
        let (client, request) = (self.client, self.note.request.clone());
        let asking = client.service_audit(&request);
        tokio::pin!(asking);
        let mut tell = tokio::time::interval(TELL_EVERY);
        let mut look = tokio::time::interval(self.look_every);
        // The first pictures take minutes.
        look.reset();
        let result = loop {
            tokio::select! {
                result = &mut asking => break result,
                _ = tell.tick() => {
                    let waited = duration_label(started.elapsed().as_secs_f64());
                    self.teller.phase(format!("the service works since {waited}"));
                }
                _ = look.tick() => self.look(false),
                changed = intent.changed() => {
                    if changed.is_err() || *intent.borrow() != Intent::GoOn {
                        self.look(true);
                        return Ok(not_waited_for(&run_id));
                    }
                }
            }
        };
        match result {
            Ok(answer) => {
                self.look(true);
                self.end("done")?;
                Ok(format!(
                    "run {} is complete; its pictures are fetched from the bucket",
                    answer.run_id
                ))
            }
            Err(error) if error.may_pass() => {
                // Asked again it would make all of it again.
                self.look(true);
                Err(ClientError::Folder(format!(
                    "the answer of the Python service was lost; it may go on, and what it makes is in the \
                     bucket as run {run_id}: {error}"
                )))
            }
            Err(error) => {
                self.end("refused")?;
                Err(error)
            }
        }
    }

    /// Fetches what comes to the bucket until its report does. Nobody can tell whether the service still works:
    /// after the longest time that a request of it may take, nothing more is waited for.
    async fn watch(mut self, mut intent: watch::Receiver<Intent>) -> Result<String, ClientError> {
        let run_id = self.note.run_id.to_string();
        let storage = self.storage.open_configured().await;
        let (config, store) = storage.map_err(ClientError::Folder)?;
        let folder = |error: StorageError| ClientError::Folder(error.to_string());
        let prefix = config.prefix_of_run(&run_id).map_err(folder)?;
        let report = format!("{prefix}{}", files::REPORT);
        let report = ObjectName::new(report).map_err(folder)?;
        // A note whose time cannot be read is watched from now on.
        let asked_at: jiff::Timestamp = self
            .note
            .asked_at
            .parse()
            .unwrap_or_else(|_odd_time| jiff::Timestamp::now());
        loop {
            // Before the look, so that a look that finds the report fetches all that came before it.
            let found = store.stat(&report).await;
            if found.is_ok() {
                self.look(true);
                self.end("done")?;
                return Ok(format!(
                    "run {run_id} of the Python service is complete; its pictures are fetched from the bucket"
                ));
            }
            let asked_for = Duration::try_from(jiff::Timestamp::now().duration_since(asked_at));
            let waited = asked_for.unwrap_or_default();
            if waited >= LONGEST {
                self.look(true);
                self.end("in the bucket")?;
                return Ok(format!(
                    "the Python service has left no report of run {run_id} in {}; what it has made is fetched \
                     from the bucket",
                    duration_label(LONGEST.as_secs_f64())
                ));
            }
            self.teller.trouble(match found {
                Err(error) if !error.is_not_found() => Some(error.to_string()),
                _ => None,
            });
            let waited = duration_label(waited.as_secs_f64());
            self.teller.phase(format!(
                "asked {waited} ago; its report is looked for in the bucket"
            ));
            self.look(false);
            tokio::select! {
                () = tokio::time::sleep(self.look_every) => {}
                changed = intent.changed() => {
                    if changed.is_err() || *intent.borrow() != Intent::GoOn {
                        return Ok(not_waited_for(&run_id));
                    }
                }
            }
        }
    }

    fn end(&mut self, how: &str) -> Result<(), ClientError> {
        self.note.ended = Some(how.to_owned());
        self.note.write(&self.runs_dir)
    }

    fn look(&self, is_last: bool) {
        let run_id = self.note.run_id.to_string();
        let event = RemoteEvent::LookInBucket { run_id, is_last };
        self.teller.outbox().send(Event::Remote(event));
    }
}

fn not_waited_for(run_id: &str) -> String {
    format!(
        "the Python service is not waited for any more; it goes on, and run {run_id} can be watched from the \
         inbox or opened from the bucket"
    )
}
