//! The thread that writes the reviewer's journal and watches the others: an event is on disk before it
//! is drawn, and what the disk refuses is kept and tried again.

use super::effects::Outbox;
use crate::audit::journal::{Journal, JournalReader, PendingJournal};
use crate::audit::report_file;
use crate::model::ids::ReviewerId;
use crate::model::review::Event as ReviewEvent;
use crate::state::Event;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

/// How often other windows' journals are looked at, and refused events are tried again.
const EVERY: Duration = Duration::from_millis(700);
/// How long nothing must have been said before a report is renewed.
const REPORT_AFTER: Duration = Duration::from_secs(3);

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
    /// Runs whose report does not have the review as it is by now, and since when.
    stale_reports: BTreeMap<PathBuf, Instant>,
}

impl Writer {
    fn new(outbox: Outbox) -> Self {
        Self {
            outbox,
            reader: None,
            journals: Vec::new(),
            stale_reports: BTreeMap::new(),
        }
    }

    fn run(&mut self, inbox: &Receiver<Job>) {
        loop {
            match inbox.recv_timeout(EVERY) {
                Ok(Job::Watch(dir)) => {
                    self.reader = Some((dir.clone(), JournalReader::new(&dir)));
                    self.poll();
                    self.tell_waiting(&dir);
                }
                Ok(Job::Append(dir, events)) => self.append(&dir, events),
                Err(RecvTimeoutError::Timeout) => {
                    self.retry();
                    self.poll();
                    self.refresh_reports(REPORT_AFTER);
                }
                Err(RecvTimeoutError::Disconnected) => {
                    self.retry();
                    self.refresh_reports(Duration::ZERO);
                    return;
                }
            }
        }
    }

    /// What waits for the disk belongs to the review of whoever opens the run again.
    fn tell_waiting(&self, dir: &PathBuf) {
        for open in self.journals.iter().filter(|open| open.dir == *dir) {
            let events: Vec<ReviewEvent> = open.journal.waiting().cloned().collect();
            if events.is_empty() {
                continue;
            }
            let problem = open.journal.problem().map(ToString::to_string);
            self.outbox.send(Event::EventsNotWritten {
                dir: dir.clone(),
                waiting: events.len(),
                events,
                problem: problem.unwrap_or_default(),
            });
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
                    self.stale_reports.insert(dir.clone(), Instant::now());
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

    /// Renews the reports of runs of which nothing was said for so long.
    fn refresh_reports(&mut self, quiet_for: Duration) {
        let due: Vec<PathBuf> = self
            .stale_reports
            .iter()
            .filter(|(_, since)| since.elapsed() >= quiet_for)
            .map(|(dir, _)| dir.clone())
            .collect();
        for dir in due {
            self.stale_reports.remove(&dir);
            if let Err(error) = report_file::refresh_review(&dir) {
                // The journal has it all; the report is written again with the next event.
                tracing::warn!("the report's section on the review is not renewed: {error}");
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
