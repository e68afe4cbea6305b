//! Approving the picked cell: what would be written, what holds it back, and what was typed about that.

use super::judging::Judging;
use super::{AppState, Effect, Event, Page};
use crate::model::approved::staging::Overrides;
use crate::model::approved::{Draft, ReasonCode, Request, StagedApproval, draft};
use crate::model::cell::CellKey;
use crate::model::ids::ReviewerId;
use crate::model::review::UtcTime;
use crate::model::run::Run;
use std::path::{Path, PathBuf};

/// The approval that is on screen. Nothing is written before it is confirmed.
#[derive(Debug, Clone)]
pub struct ApproveView {
    /// The picked cell.
    pub cell: CellKey,
    /// Where the settings are to be written.
    pub path: PathBuf,
    /// The time that is written: when it was opened, and then when it was confirmed.
    pub at: UtcTime,
    /// The current file, if there is one.
    pub current: Option<String>,
    /// SHA-256 of the cell's picture as it lies there.
    pub image_sha256: Option<String>,
    /// The note; starts as the one on the cell.
    pub note: String,
    /// Reasons that were typed, by what they override.
    pub overrides: Overrides,
    /// What would be written, or why nothing can be.
    pub draft: Result<Box<Draft>, String>,
    /// Whether it is being written.
    pub is_writing: bool,
}

/// What the dialog says.
#[derive(Debug, Clone)]
pub enum ApproveMsg {
    /// The note was changed.
    Note(String),
    /// A reason was typed.
    Override(ReasonCode, String),
    /// Write it.
    Write,
    /// Leave it.
    Cancel,
}

/// Asks for what the approval needs from disk.
pub fn open(state: &mut AppState) -> Vec<Effect> {
    let Some(view) = &state.run else {
        return Vec::new();
    };
    if state.page != Page::Run {
        return Vec::new();
    }
    let Some(cell) = view.selected.clone() else {
        return Vec::new();
    };
    vec![Effect::ReadForApproval {
        dir: view.dir.clone(),
        cell,
        path: PathBuf::from(&state.settings.phase1_path),
    }]
}

/// What was read for an approval.
#[derive(Debug)]
pub struct ReadBack {
    /// The run's folder.
    pub dir: PathBuf,
    /// The run, every picture held against its hash.
    pub run: Box<Run>,
    /// The picked cell.
    pub cell: CellKey,
    /// Where the settings are to be written.
    pub path: PathBuf,
    /// The current file, if there is one.
    pub current: Option<String>,
    /// SHA-256 of the cell's picture.
    pub image_sha256: Option<String>,
}

/// Opens the dialog with what was read, if that run is still the open one.
pub fn ready(state: &mut AppState, read: ReadBack) {
    let at = state.source.now();
    let Some(view) = state.run.as_mut().filter(|view| view.dir == read.dir) else {
        return;
    };
    view.refresh(*read.run);
    let note = view
        .judging
        .review
        .review(&view.judging.reviewer, &read.cell)
        .map_or(String::new(), |said| said.note.clone());
    let mut approving = ApproveView {
        cell: read.cell,
        path: read.path,
        at,
        current: read.current,
        image_sha256: read.image_sha256,
        note,
        overrides: Overrides::new(),
        draft: Err(String::new()),
        is_writing: false,
    };
    approving.draft = stage(view, &approving, &state.settings.reviewer);
    view.approving = Some(approving);
}

/// Stages the approval on screen again, because the run or what is said about it has changed.
pub fn stage_again(state: &mut AppState) {
    let Some(view) = &mut state.run else { return };
    let Some(mut approving) = view.approving.take() else {
        return;
    };
    if !approving.is_writing {
        approving.draft = stage(view, &approving, &state.settings.reviewer);
    }
    view.approving = Some(approving);
}

fn stage(
    view: &super::run_view::RunView,
    approving: &ApproveView,
    approved_by: &str,
) -> Result<Box<Draft>, String> {
    let path = approving.path.display().to_string();
    draft(Request {
        run: &view.run,
        cell: &approving.cell,
        review: &view.judging.review,
        reviewer: &view.judging.reviewer,
        approved_by,
        at: approving.at,
        note: Some(&approving.note),
        recipe: view.shown_recipe(&approving.cell).as_ref(),
        image_sha256: approving.image_sha256.as_deref(),
        current: approving
            .current
            .as_deref()
            .map(|text| (text, path.as_str())),
    })
    .map(Box::new)
    .map_err(|error| error.to_string())
}

/// Does what the dialog says.
pub fn on_msg(state: &mut AppState, msg: ApproveMsg) -> Vec<Effect> {
    let approved_by = state.settings.reviewer.clone();
    let now = state.source.now();
    let Some(view) = &mut state.run else {
        return Vec::new();
    };
    let Some(mut approving) = view.approving.take() else {
        return Vec::new();
    };
    match msg {
        // What is being written can no longer be called back.
        _ if approving.is_writing => {}
        ApproveMsg::Cancel => return Vec::new(),
        ApproveMsg::Note(text) => {
            approving.note = text;
            approving.draft = stage(view, &approving, &approved_by);
        }
        ApproveMsg::Override(code, why) => {
            if why.trim().is_empty() {
                approving.overrides.remove(&code);
            } else {
                approving.overrides.insert(code, why);
            }
        }
        ApproveMsg::Write => {
            // The time of the confirmation, not of the first look.
            approving.at = now;
            let fresh = stage(view, &approving, &approved_by);
            let reasons = |draft: &Result<Box<Draft>, String>| match draft {
                Ok(draft) => Ok(draft.held_back().to_vec()),
                Err(problem) => Err(problem.clone()),
            };
            let has_changed = reasons(&fresh) != reasons(&approving.draft);
            approving.draft = fresh;
            if has_changed {
                view.approving = Some(approving);
                state.toast(
                    "nothing is written: what holds the approval back has changed meanwhile",
                    true,
                );
                return Vec::new();
            }
            let staged: Result<StagedApproval, String> = match &approving.draft {
                Ok(draft) => draft
                    .stage(&approving.overrides)
                    .map_err(|error| error.to_string()),
                Err(problem) => Err(problem.clone()),
            };
            match staged {
                Ok(staged) => {
                    approving.is_writing = true;
                    let effect = Effect::WriteApproval {
                        dir: view.dir.clone(),
                        path: approving.path.clone(),
                        staged: Box::new(staged),
                    };
                    view.approving = Some(approving);
                    return vec![effect];
                }
                Err(problem) => state.toast(problem, true),
            }
        }
    }
    if let Some(view) = &mut state.run {
        view.approving = Some(approving);
    }
    Vec::new()
}

/// What follows once the settings were written, or were not.
pub fn on_written(
    state: &mut AppState,
    dir: PathBuf,
    path: &Path,
    staged: &StagedApproval,
    result: Result<String, String>,
) -> Vec<Effect> {
    let open = state.run.as_mut().filter(|view| view.dir == dir);
    let sentence = match result {
        Ok(sentence) => sentence,
        Err(problem) => {
            if let Some(approving) = open.and_then(|view| view.approving.as_mut()) {
                approving.is_writing = false;
            }
            state.toast(problem, true);
            return Vec::new();
        }
    };
    let action = staged.action(&path.display().to_string());
    let source = &mut *state.source;
    let event = if let Some(view) = open {
        view.approving = None;
        view.judging.act(source, action)
    } else {
        // Another run is open by now: the event belongs to the one that was approved all the same.
        let reviewer = ReviewerId::from_name(&state.settings.reviewer);
        Judging::new(reviewer, state.settings.failure_types.clone()).act(source, action)
    };
    state.toast(sentence, false);
    vec![Effect::AppendEvents {
        dir,
        events: vec![event],
    }]
}

/// What the disk said about an approval.
pub fn on_event(state: &mut AppState, event: Event) -> Vec<Effect> {
    match event {
        Event::ApprovalRead {
            dir,
            run,
            cell,
            path,
            current,
            image_sha256,
        } => {
            let read = ReadBack {
                dir,
                run,
                cell,
                path,
                current,
                image_sha256,
            };
            ready(state, read);
            Vec::new()
        }
        Event::ApprovalWritten {
            dir,
            path,
            staged,
            result,
        } => on_written(state, dir, &path, &staged, result),
        _ => Vec::new(),
    }
}
