//! A run that is fetched or sent: how far it is, and what came of it.

use super::choices::{Choices, ConflictRow};
use crate::model::cell::CellKey;
use crate::model::run::files;
use crate::state::run_view::RunView;
use std::collections::BTreeSet;
use std::path::PathBuf;

/// A run to fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PullRequest {
    /// Tells pulls apart; what comes of an older one is dropped.
    pub job: u64,
    /// The bucket, if it is not the configured one.
    pub bucket: Option<String>,
    /// The run.
    pub run_id: String,
    /// The folder on disk.
    pub dir: PathBuf,
    /// What was decided about files that both sides changed.
    pub choices: Choices,
}

/// A run to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PushRequest {
    /// Tells pushes apart.
    pub job: u64,
    /// The run's folder.
    pub dir: PathBuf,
    /// The settings file, which goes along if it was approved from this run.
    pub phase1_path: PathBuf,
    /// What was decided about files that both sides changed.
    pub choices: Choices,
}

/// How far a transfer is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct TransferProgress {
    /// Files finished.
    pub files_done: usize,
    /// Files in all.
    pub files_total: usize,
    /// Bytes finished.
    pub bytes_done: u64,
    /// Bytes in all.
    pub bytes_total: u64,
    /// Speed over the last few seconds.
    pub bytes_per_sec: f64,
}

impl TransferProgress {
    /// 0 to 1, by bytes; by files where there are no bytes.
    pub fn fraction(&self) -> f32 {
        if self.bytes_total > 0 {
            self.bytes_done as f32 / self.bytes_total as f32
        } else {
            self.files_done as f32 / self.files_total.max(1) as f32
        }
    }

    /// `12 of 30 files, 3.4 MB/s, 8 s left`.
    pub fn words(&self) -> String {
        let mut text = format!("{} of {} files", self.files_done, self.files_total);
        if self.bytes_per_sec > 0.0 && self.bytes_done < self.bytes_total {
            let left = (self.bytes_total - self.bytes_done) as f64 / self.bytes_per_sec;
            text.push_str(&format!(
                ", {}, {}",
                speed_words(self.bytes_per_sec),
                left_words(left)
            ));
        }
        text
    }
}

fn speed_words(bytes_per_sec: f64) -> String {
    if bytes_per_sec < 1e6 {
        format!("{:.0} kB/s", bytes_per_sec / 1e3)
    } else {
        format!("{:.1} MB/s", bytes_per_sec / 1e6)
    }
}

fn left_words(secs: f64) -> String {
    match secs {
        secs if secs < 90.0 => format!("{:.0} s left", secs.max(1.0)),
        secs if secs < 5400.0 => format!("{:.0} min left", secs / 60.0),
        secs => format!("{:.1} h left", secs / 3600.0),
    }
}

/// What has moved since the last word.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Moved {
    /// How far it is.
    pub progress: TransferProgress,
    /// Files that are here now; for each whether it was fetched just now.
    pub arrived: Vec<(String, bool)>,
    /// Files that did not come, with the reason.
    pub failed: Vec<(String, String)>,
}

/// What a pull did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PullOutcome {
    /// It was stopped.
    pub was_stopped: bool,
    /// Files that did not come, with the reason.
    pub failed: Vec<(String, String)>,
    /// Objects whose names cannot be files, with the reason.
    pub skipped: Vec<String>,
    /// Files that both sides changed.
    pub conflicts: Vec<ConflictRow>,
    /// Files that only this side has changed.
    pub kept_mine: Vec<String>,
    /// The run has no report yet.
    pub is_in_progress: bool,
    /// That there was no network, and how old the list is.
    pub offline: Option<String>,
}

/// What a push did.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PushOutcome {
    /// Where it went.
    pub place: String,
    /// It was stopped.
    pub was_stopped: bool,
    /// There was no network, so it waits on disk: why.
    pub queued: Option<String>,
    /// Files that were written.
    pub sent: usize,
    /// Files that were there already.
    pub unchanged: usize,
    /// Journals that were merged.
    pub merged: usize,
    /// Files that only the bucket has changed.
    pub newer_there: Vec<String>,
    /// Files that both sides changed.
    pub conflicts: Vec<ConflictRow>,
    /// Files that were not sent, with the reason.
    pub failed: Vec<(String, String)>,
    /// The report was held back because something failed.
    pub is_report_held_back: bool,
}

/// How far a pull has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PullPhase {
    /// At work.
    Running,
    /// Asked to stop.
    Stopping,
    /// At its end, whole or not.
    Ended,
}

/// A run that is being fetched, or was.
#[derive(Debug, Clone, PartialEq)]
pub struct PullView {
    /// What was asked for.
    pub request: PullRequest,
    /// How far it has come.
    pub phase: PullPhase,
    /// Files that are listed and not here yet.
    pub pending: BTreeSet<String>,
    /// Files that are here.
    pub(super) here: BTreeSet<String>,
    /// How far it is.
    pub progress: TransferProgress,
    /// That the list is an old one, and how old.
    pub offline: Option<String>,
    /// The run has no report yet.
    pub is_in_progress: bool,
    /// Files that did not come, with the reason.
    pub failed: Vec<(String, String)>,
    /// Whether it goes on by itself after a push that it made way for.
    pub goes_on_after_push: bool,
    /// Cells that are on screen.
    pub(super) visible: Vec<CellKey>,
    /// What was asked last to come first.
    pub(super) shown_first: Vec<String>,
}

impl PullView {
    /// A pull that begins.
    pub fn new(request: PullRequest) -> Self {
        Self {
            request,
            phase: PullPhase::Running,
            pending: BTreeSet::new(),
            here: BTreeSet::new(),
            progress: TransferProgress::default(),
            offline: None,
            is_in_progress: false,
            failed: Vec::new(),
            goes_on_after_push: false,
            visible: Vec::new(),
            shown_first: Vec::new(),
        }
    }

    /// Takes a list of the run's files: those that are not here are on their way.
    pub(super) fn expect(&mut self, files: Vec<String>) {
        let missing = files.into_iter().filter(|file| !self.here.contains(file));
        self.pending = missing.collect();
    }

    /// Whether something still comes.
    pub fn is_running(&self) -> bool {
        self.phase != PullPhase::Ended
    }

    /// Whether files are missing that a further pull may fetch.
    pub fn is_unfinished(&self) -> bool {
        !self.is_running() && (!self.pending.is_empty() || !self.failed.is_empty())
    }

    /// What stands in the status bar; `None` when there is nothing to say.
    pub fn words(&self) -> Option<String> {
        let offline = |text: String| match &self.offline {
            Some(offline) => format!("{text} · {offline}"),
            None => text,
        };
        match self.phase {
            PullPhase::Stopping => Some("stopping…".to_owned()),
            PullPhase::Running if self.progress.files_total == 0 => {
                Some(format!("looking for {} in the bucket", self.request.run_id))
            }
            PullPhase::Running if self.pending.is_empty() && self.is_in_progress => Some(format!(
                "in progress: {} files so far, looking for more",
                self.progress.files_total
            )),
            PullPhase::Running => Some(offline(format!("fetching {}", self.progress.words()))),
            PullPhase::Ended if self.is_unfinished() => {
                let missing = self.pending.len().max(self.failed.len());
                Some(offline(match missing {
                    1 => "1 file is not fetched".to_owned(),
                    missing => format!("{missing} files are not fetched"),
                }))
            }
            PullPhase::Ended => self.offline.clone(),
        }
    }
}

/// A run that is being sent.
#[derive(Debug, Clone, PartialEq)]
pub struct PushView {
    /// What was asked for.
    pub request: PushRequest,
    /// How far it is.
    pub progress: TransferProgress,
    /// Whether it was asked to stop.
    pub is_stopping: bool,
}

/// The files of cells, each cell's composite before its fill, in the order of the cells.
pub fn files_of(view: &RunView, cells: &[CellKey]) -> Vec<String> {
    cells
        .iter()
        .flat_map(|key| {
            let fill = files::fill(&view.run.cell_name(key));
            [view.run.picture_file(key), fill]
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn progress_says_files_speed_and_time() {
        let progress = TransferProgress {
            files_done: 3,
            files_total: 10,
            bytes_done: 4_000_000,
            bytes_total: 10_000_000,
            bytes_per_sec: 2e6,
        };
        assert_eq!(progress.words(), "3 of 10 files, 2.0 MB/s, 3 s left");
        assert!((progress.fraction() - 0.4).abs() < 1e-6);
        assert_eq!(
            TransferProgress::default().words(),
            "0 of 0 files",
            "nothing has moved"
        );
    }
}
