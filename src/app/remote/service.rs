//! The Python service as a worker: it is asked once and answers when all is done. Meanwhile its pictures are
//! looked for in the bucket, where it leaves them one by one.

use super::telling::Teller;
use crate::remote::client::{ClientError, Intent, RemoteNote, WorkerClient};
use crate::state::Event;
use crate::state::compose::duration_label;
use crate::state::remote::RemoteEvent;
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
        let run_id = self.note.run_id.to_string();
        if !is_start {
            // Nobody can tell whether it still works, but what it makes comes to the bucket.
            self.look(true);
            self.end("in the bucket")?;
            return Ok(format!(
                "what the Python service has made of run {run_id} is fetched from the bucket"
            ));
        }
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
                        return Ok(format!(
                            "the Python service is not waited for any more; it goes on, and run {run_id} \
                             can be opened from the bucket"
                        ));
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
