//! Approving the picked cell: what would be written, what holds it back, and what was typed about that.

use super::{AppState, Effect, Event, Page};
use crate::model::approved::staging::Overrides;
use crate::model::approved::{Draft, ReasonCode, Request, StagedApproval, draft};
use crate::model::cell::CellKey;
use crate::model::review::UtcTime;
use std::path::PathBuf;

/// The approval that is on screen. Nothing is written before it is confirmed.
#[derive(Debug, Clone)]
pub struct ApproveView {
    /// The picked cell.
    pub cell: CellKey,
    /// Where the settings are to be written.
    pub path: PathBuf,
    /// When it was opened: the time that is written.
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
        picture: view.dir.join(view.run.picture_file(&cell)),
        dir: view.dir.clone(),
        cell,
        path: PathBuf::from(&state.settings.phase1_path),
    }]
}

/// Opens the dialog with what was read.
pub fn ready(
    state: &mut AppState,
    cell: CellKey,
    path: PathBuf,
    current: Option<String>,
    image_sha256: Option<String>,
) {
    let at = state.source.now();
    let Some(view) = &mut state.run else { return };
    let note = view
        .judging
        .review
        .review(&view.judging.reviewer, &cell)
        .map_or(String::new(), |said| said.note.clone());
    let mut approving = ApproveView {
        cell,
        path,
        at,
        current,
        image_sha256,
        note,
        overrides: Overrides::new(),
        draft: Err(String::new()),
        is_writing: false,
    };
    approving.draft = stage(view, &approving, &state.settings.reviewer);
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
    let Some(view) = &mut state.run else {
        return Vec::new();
    };
    let Some(mut approving) = view.approving.take() else {
        return Vec::new();
    };
    match msg {
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
    staged: &StagedApproval,
    result: Result<String, String>,
) -> Vec<Effect> {
    let Some(view) = &mut state.run else {
        return Vec::new();
    };
    match result {
        Ok(sentence) => {
            let file = view.approving.take().map_or(String::new(), |approving| {
                approving.path.display().to_string()
            });
            let event = view.judging.act(&mut *state.source, staged.action(&file));
            let effect = Effect::AppendEvents {
                dir: view.dir.clone(),
                events: vec![event],
            };
            state.toast(sentence, false);
            vec![effect]
        }
        Err(problem) => {
            if let Some(approving) = &mut view.approving {
                approving.is_writing = false;
            }
            state.toast(problem, true);
            Vec::new()
        }
    }
}

/// What the disk said about an approval.
pub fn on_event(state: &mut AppState, event: Event) -> Vec<Effect> {
    match event {
        Event::ApprovalRead {
            cell,
            path,
            current,
            image_sha256,
        } => {
            ready(state, cell, path, current, image_sha256);
            Vec::new()
        }
        Event::ApprovalWritten { staged, result } => on_written(state, &staged, result),
        _ => Vec::new(),
    }
}
