//! What a worker's queue knows of its runs, in memory: their order, how far each is, and what that means to
//! whoever asks. It reads and writes nothing.

use super::events::EventLog;
use super::record::RunRecord;
use super::refusal::Refusal;
use super::wire::{AuditRequest, CellCounts, CellProgress, RunEvent, RunState, Status, urls};
use crate::model::ids::RunId;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

#[derive(Default)]
pub(super) struct Inner {
    pub(super) runs: BTreeMap<RunId, KnownRun>,
    pub(super) waiting: VecDeque<RunId>,
    pub(super) running: Option<RunId>,
    pub(super) is_draining: bool,
    pub(super) next_number: u64,
}

pub(super) struct KnownRun {
    pub(super) record: RunRecord,
    pub(super) phase: Option<String>,
    pub(super) cell: Option<CellProgress>,
    pub(super) cancel: Arc<AtomicBool>,
    pub(super) log: Arc<EventLog>,
    /// Held while the bucket is told of the run: the last one to write knows the newest.
    pub(super) telling: Arc<Mutex<()>>,
}

impl Inner {
    pub(super) fn status(&self, run: &KnownRun) -> Status {
        let record = &run.record;
        let run_id = &record.run_id;
        let position = self.waiting.iter().position(|waiting| waiting == run_id);
        Status {
            run_id: run_id.clone(),
            user_id: record.request.user_id.clone(),
            session_id: record.request.session_id.clone(),
            state: record.state,
            is_cancelling: record.is_cancelling && !record.state.has_ended(),
            queue_position: position.map(|index| index + 1),
            phase: run.phase.clone(),
            cell: run.cell.clone(),
            cells: counts(record),
            max_variations: record.request.max_variations,
            error: record.error.clone(),
            created_at: record.created_at.clone(),
            started_at: record.started_at.clone(),
            ended_at: record.ended_at.clone(),
            run_url: urls::run(run_id),
            events_url: urls::events(run_id),
            report_url: (record.state == RunState::Done).then(|| urls::report(run_id)),
        }
    }

    pub(super) fn status_of(&self, run_id: &RunId) -> Result<Status, Refusal> {
        self.runs
            .get(run_id)
            .map(|run| self.status(run))
            .ok_or_else(|| Refusal::no_run(run_id))
    }
}

pub(super) fn counts(record: &RunRecord) -> CellCounts {
    let tried = record.cells_done + record.cells_failed;
    CellCounts {
        planned: record.cells_planned,
        done: record.cells_done,
        failed: record.cells_failed,
        left: record.cells_planned.saturating_sub(tried),
    }
}

pub(super) fn end_event(record: &RunRecord) -> RunEvent {
    RunEvent::End {
        state: record.state,
        error: record.error.clone(),
        cells: counts(record),
    }
}

impl KnownRun {
    pub(super) fn new(record: RunRecord, epoch: u64) -> Self {
        Self {
            record,
            phase: None,
            cell: None,
            cancel: Arc::new(AtomicBool::new(false)),
            log: Arc::new(EventLog::new(epoch)),
            telling: Arc::default(),
        }
    }

    /// Brings what is shown up to an event.
    pub(super) fn apply(&mut self, event: &RunEvent) {
        match event {
            RunEvent::Started { already_done, todo } => {
                let known = already_done + todo;
                self.record.cells_done = *already_done;
                self.record.cells_failed = 0;
                self.record.cells_planned = self.record.cells_planned.max(known);
            }
            RunEvent::Phase { phase } => self.phase = Some(phase.clone()),
            RunEvent::Load { quant } => self.phase = Some(format!("loading {quant}")),
            RunEvent::CellStarted { cell, steps } => {
                self.phase = Some(format!("filling {cell}"));
                self.cell = Some(CellProgress {
                    name: cell.clone(),
                    step: 0,
                    steps: *steps as usize,
                });
            }
            RunEvent::Step { index, .. } => {
                if let Some(cell) = &mut self.cell {
                    cell.step = *index;
                }
            }
            RunEvent::CellFinished { state, .. } => {
                self.cell = None;
                if state == "done" {
                    self.record.cells_done += 1;
                } else {
                    self.record.cells_failed += 1;
                }
            }
            RunEvent::Snapshot(_)
            | RunEvent::Warning { .. }
            | RunEvent::Memory { .. }
            | RunEvent::End { .. } => {}
        }
    }
}

/// Whether a request asks for more of a run that is known: it ended before all that is asked now was
/// made. `false` if it asks for what is under way or done.
pub(super) fn is_more(record: &RunRecord, request: &AuditRequest) -> Result<bool, Refusal> {
    if !record.request.is_same_run(request) {
        return Err(Refusal::Conflict(format!(
            "run {} was asked for with other settings; choose another run_id",
            record.run_id
        )));
    }
    let has_same_limit = record.request.max_variations == request.max_variations;
    match record.state {
        RunState::Queued | RunState::Running if has_same_limit => Ok(false),
        RunState::Queued | RunState::Running => Err(Refusal::Conflict(format!(
            "run {} is under way with another max_variations; wait for it or cancel it",
            record.run_id
        ))),
        RunState::Done => Ok(!has_same_limit || record.cells_failed > 0),
        RunState::Failed | RunState::Cancelled => Ok(true),
    }
}
