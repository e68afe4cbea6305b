//! The thread that writes the reviewer's journal and watches the others: an event is on disk before it
//! is drawn, and what the disk refuses is kept and tried again.

use super::effects::Outbox;
use crate::audit::journal::{Journal, JournalReader, PendingJournal};
use crate::model::ids::ReviewerId;
use crate::model::review::Event as ReviewEvent;
use crate::state::Event;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::Duration;

/// How often other windows' journals are looked at, and refused events are tried again.
const EVERY: Duration = Duration::from_millis(700);

enum Job {
    /// Read a run's journals from now on.
    Watch(PathBuf),
    /// Append to a run's journal.
    Append(PathBuf, Vec<ReviewEvent>),
}

/// A handle to the thread. It ends when the handle is dropped, after it has tried once more to write
/// what waits.
pub struct JournalThread {
    jobs: Option<Sender<Job>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl JournalThread {
    /// Starts the thread.
    pub fn start(outbox: Outbox) -> Self {
        let (jobs, inbox) = channel();
        let thread = std::thread::Builder::new()
            .name("journal".to_owned())
            .spawn(move || Writer::new(outbox).run(&inbox));
        match thread {
            Ok(thread) => Self {
                jobs: Some(jobs),
                thread: Some(thread),
            },
            Err(_) => Self {
                jobs: None,
                thread: None,
            },
        }
    }

    /// Reads a run's journals, and again whenever one of them grows.
    pub fn watch(&self, dir: PathBuf) {
        self.send(Job::Watch(dir));
    }

    /// Appends events to their reviewer's journal beside a run. `false` if there is no thread to do it.
    pub fn append(&self, dir: PathBuf, events: Vec<ReviewEvent>) -> bool {
        self.send(Job::Append(dir, events))
    }

    fn send(&self, job: Job) -> bool {
        self.jobs
            .as_ref()
            .is_some_and(|jobs| jobs.send(job).is_ok())
    }
}

impl Drop for JournalThread {
    fn drop(&mut self) {
        self.jobs = None;
        if let Some(thread) = self.thread.take() {
            // What was said must not be lost by closing the window.
            let _ = thread.join();
        }
    }
}

struct OpenJournal {
    dir: PathBuf,
    reviewer: ReviewerId,
    journal: PendingJournal<Journal>,
}

struct Writer {
    outbox: Outbox,
    reader: Option<(PathBuf, JournalReader)>,
    /// Journals with something that waits, and the one that was written last.
    journals: Vec<OpenJournal>,
}

impl Writer {
    fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            reader: None,
            journals: Vec::new(),
        }
    }

    fn run(&mut self, inbox: &Receiver<Job>) {
        loop {
            match inbox.recv_timeout(EVERY) {
                Ok(Job::Watch(dir)) => {
                    self.reader = Some((dir.clone(), JournalReader::new(&dir)));
                    self.poll();
                }
                Ok(Job::Append(dir, events)) => self.append(&dir, events),
                Err(RecvTimeoutError::Timeout) => {
                    self.retry();
                    self.poll();
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.retry();
                    return;
                }
            }
        }
    }

    fn poll(&mut self) {
        let Some((dir, reader)) = &mut self.reader else {
            return;
        };
        match reader.poll() {
            Ok(None) => {}
            Ok(Some(journals)) => self.outbox.send(Event::JournalsRead {
                dir: dir.clone(),
                events: journals.events,
                warnings: journals.warnings,
            }),
            // A folder that vanished is said by the next append; watching goes on.
            Err(error) => tracing::debug!("journals not read: {error}"),
        }
    }

    fn append(&mut self, dir: &PathBuf, events: Vec<ReviewEvent>) {
        for event in events {
            let reviewer = event.reviewer.clone();
            let known = self
                .journals
                .iter()
                .position(|open| open.dir == *dir && open.reviewer == reviewer);
            let index = known.unwrap_or_else(|| {
                self.journals
                    .retain(|open| open.journal.waiting().len() > 0);
                let journal = PendingJournal::new(Journal::new(dir, &reviewer));
                self.journals.push(OpenJournal {
                    dir: dir.clone(),
                    reviewer,
                    journal,
                });
                self.journals.len() - 1
            });
            let Some(open) = self.journals.get_mut(index) else {
                continue;
            };
            let before: Vec<ReviewEvent> = open.journal.waiting().cloned().collect();
            let is_written = open.journal.push(event.clone());
            let waiting = open.journal.waiting().len();
            let problem = open.journal.problem().map(ToString::to_string);
            let dir = dir.clone();
            match problem {
                None if is_written => {
                    let mut events = before;
                    events.push(event);
                    self.outbox.send(Event::EventsWritten {
                        dir,
                        events,
                        waiting,
                    });
                }
                problem => {
                    let problem = problem.unwrap_or_else(|| "the disk refused it".to_owned());
                    self.outbox.send(Event::EventsNotWritten {
                        dir,
                        events: vec![event],
                        problem,
                        waiting,
                    });
                }
            }
        }
    }

    fn retry(&mut self) {
        for open in &mut self.journals {
            let events: Vec<ReviewEvent> = open.journal.waiting().cloned().collect();
            if !events.is_empty() && open.journal.flush() {
                self.outbox.send(Event::EventsWritten {
                    dir: open.dir.clone(),
                    events,
                    waiting: 0,
                });
            }
        }
    }
}
