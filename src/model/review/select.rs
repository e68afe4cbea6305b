//! Which cells are shown, in which order, which one comes next, and how far the review is.

use super::event::Judgement;
use super::failure::FailureKey;
use super::state::{ReviewState, Standing};
use crate::model::cell::CellKey;
use crate::model::ids::ReviewerId;
use crate::model::run::{CellState, Run};
use serde::{Deserialize, Serialize};

/// A condition on cells. Several together must all hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Filter {
    /// No verdict by this reviewer.
    Unreviewed,
    /// Passed by this reviewer.
    Passed,
    /// Rejected by this reviewer, whatever the type.
    Failed,
    /// This reviewer named this type, be it a failure or only noted.
    FailedBy(FailureKey),
    /// Took at most so many seconds of wall clock. A cell whose time is unknown is not shown.
    FastEnough {
        /// Seconds.
        wall_secs: f64,
    },
    /// Some reviewer passed it and some reviewer rejected it.
    Disputed,
}

impl Filter {
    /// Whether a cell of `run` meets it.
    pub fn admits(
        &self,
        cell: &CellKey,
        run: &Run,
        review: &ReviewState,
        reviewer: &ReviewerId,
    ) -> bool {
        let judgement = review
            .review(reviewer, cell)
            .and_then(|said| said.judgement);
        match self {
            Self::Unreviewed => judgement.is_none(),
            Self::Passed => judgement == Some(Judgement::Pass),
            Self::Failed => judgement == Some(Judgement::Reject),
            Self::FailedBy(key) => review
                .review(reviewer, cell)
                .is_some_and(|said| said.types.contains(key)),
            Self::FastEnough { wall_secs } => {
                time(run, cell, SortBy::WallTime).is_some_and(|took| took <= *wall_secs)
            }
            Self::Disputed => review.standing(None, cell) == Standing::Disputed,
        }
    }
}

/// What cells are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum SortBy {
    /// As they come: by key.
    #[default]
    Key,
    /// Wall-clock seconds, fastest first; unknown last.
    WallTime,
    /// GPU milliseconds, fastest first; unknown last.
    GpuTime,
}

fn time(run: &Run, cell: &CellKey, by: SortBy) -> Option<f64> {
    let timing = run.timing_of(cell)?;
    match by {
        SortBy::Key => None,
        SortBy::WallTime => timing.wall_secs,
        SortBy::GpuTime => timing.gpu_millis,
    }
}

/// The cells of `run` that meet every filter, sorted.
pub fn select(
    run: &Run,
    review: &ReviewState,
    reviewer: &ReviewerId,
    filters: &[Filter],
    by: SortBy,
) -> Vec<CellKey> {
    let mut cells: Vec<CellKey> = run
        .cells
        .keys()
        .filter(|cell| {
            filters
                .iter()
                .all(|filter| filter.admits(cell, run, review, reviewer))
        })
        .cloned()
        .collect();
    cells.sort_by(|a, b| match (time(run, a, by), time(run, b, by)) {
        (Some(a), Some(b)) => a.total_cmp(&b),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => std::cmp::Ordering::Equal,
    });
    cells
}

/// Whether a cell waits for this reviewer: it has a picture and no verdict.
pub fn is_unreviewed(
    run: &Run,
    review: &ReviewState,
    reviewer: &ReviewerId,
    cell: &CellKey,
) -> bool {
    matches!(run.cells.get(cell), Some(CellState::Done(_)))
        && Filter::Unreviewed.admits(cell, run, review, reviewer)
}

/// The next unreviewed cell after `current` in the displayed order; `None` at the end, where the
/// reviewer stays put. A `current` that is not displayed counts as before the first.
pub fn next_unreviewed<'a>(
    displayed: &'a [CellKey],
    current: Option<&CellKey>,
    run: &Run,
    review: &ReviewState,
    reviewer: &ReviewerId,
) -> Option<&'a CellKey> {
    let start = current
        .and_then(|current| displayed.iter().position(|cell| cell == current))
        .map_or(0, |at| at + 1);
    displayed
        .iter()
        .skip(start)
        .find(|cell| is_unreviewed(run, review, reviewer, cell))
}

/// As [`next_unreviewed`], and from the start again where there is none: for the key `N`. Never
/// `current` itself.
pub fn next_unreviewed_around<'a>(
    displayed: &'a [CellKey],
    current: Option<&CellKey>,
    run: &Run,
    review: &ReviewState,
    reviewer: &ReviewerId,
) -> Option<&'a CellKey> {
    next_unreviewed(displayed, current, run, review, reviewer).or_else(|| {
        displayed
            .iter()
            .take_while(|cell| Some(*cell) != current)
            .find(|cell| is_unreviewed(run, review, reviewer, cell))
    })
}

/// How far a reviewer is. Only cells with a picture count.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Progress {
    /// Looked at.
    pub seen: usize,
    /// With a verdict.
    pub judged: usize,
    /// Passed.
    pub passed: usize,
    /// Rejected.
    pub rejected: usize,
    /// Cells with a picture.
    pub total: usize,
    /// Cells of the run, those without a picture included.
    pub planned: usize,
}

impl Progress {
    /// Counts for one reviewer.
    pub fn of(run: &Run, review: &ReviewState, reviewer: &ReviewerId) -> Self {
        let mut progress = Self {
            planned: run.cells.len(),
            ..Self::default()
        };
        for (cell, state) in &run.cells {
            if !matches!(state, CellState::Done(_)) {
                continue;
            }
            progress.total += 1;
            let Some(said) = review.review(reviewer, cell) else {
                continue;
            };
            progress.seen += usize::from(said.seen);
            progress.judged += usize::from(said.judgement.is_some());
            progress.passed += usize::from(said.judgement == Some(Judgement::Pass));
            progress.rejected += usize::from(said.judgement == Some(Judgement::Reject));
        }
        progress
    }

    /// "11 of 18 seen".
    pub fn label(&self) -> String {
        format!("{} of {} seen", self.seen, self.total)
    }
}
