//! What commands and messages about verdicts do to the state.

use super::command::Command;
use super::run_view::RunView;
use super::{AppState, Effect, JudgeMsg, Page};
use crate::model::review::blind::Choice;
use crate::model::review::event::{Action, Event};
use crate::model::review::export;
use crate::model::review::keys::VerdictKey;

/// Whether a command sets, takes back or looks for verdicts.
pub fn is_about_judging(command: Command) -> bool {
    verdict_key(command).is_some()
        || matches!(
            command,
            Command::Undo
                | Command::Redo
                | Command::NextUnreviewed
                | Command::Blind
                | Command::BlindWinner(_)
                | Command::BlindTie
                | Command::BlindAllBad
                | Command::BlindReveal
        )
}

fn verdict_key(command: Command) -> Option<VerdictKey> {
    Some(match command {
        Command::Pass => VerdictKey::Pass,
        Command::Reject => VerdictKey::Reject,
        Command::RejectAs(number) => VerdictKey::Type {
            number: usize::from(number),
            adds: false,
        },
        Command::AddFailure(number) => VerdictKey::Type {
            number: usize::from(number),
            adds: true,
        },
        Command::ClearVerdict => VerdictKey::Clear,
        _ => return None,
    })
}

fn append(view: &RunView, events: Vec<Event>) -> Vec<Effect> {
    if events.is_empty() {
        return Vec::new();
    }
    vec![Effect::AppendEvents {
        dir: view.dir.clone(),
        events,
    }]
}

/// Does what a command about verdicts says.
pub fn on_command(state: &mut AppState, command: Command) -> Vec<Effect> {
    if state.page != Page::Run {
        return Vec::new();
    }
    let source = &mut *state.source;
    let Some(view) = &mut state.run else {
        return Vec::new();
    };
    if let Some(key) = verdict_key(command) {
        let Some(cell) = view.selected.clone() else {
            return Vec::new();
        };
        if !view.has_picture(&cell) {
            let name = view.run.cell_name(&cell);
            state.toast(format!("{name} has no picture to judge"), true);
            return Vec::new();
        }
        if !view.judging.admits(&cell, &view.run) {
            let name = view.run.cell_name(&cell);
            state.toast(
                format!("{name} is left out by the filter; select a cell that is shown"),
                true,
            );
            return Vec::new();
        }
        let order = view.order();
        let judged = view
            .judging
            .verdict_key(source, key, &cell, &view.run, &order);
        if let Some(next) = judged.go_to {
            view.select(next);
        }
        return append(view, judged.events);
    }
    if command == Command::BlindReveal {
        return on_msg(state, JudgeMsg::Reveal);
    }
    match command {
        Command::Undo | Command::Redo => {
            let Some(judged) = view.judging.undo_or_redo(source, command == Command::Redo) else {
                let word = if command == Command::Redo {
                    "redo"
                } else {
                    "undo"
                };
                state.toast(format!("nothing to {word}"), false);
                return Vec::new();
            };
            if let Some(cell) = judged.go_to {
                view.select(cell);
            }
            append(view, judged.events)
        }
        Command::NextUnreviewed => {
            let order = view.order();
            match view
                .judging
                .next_unreviewed(view.selected.as_ref(), &view.run, &order)
            {
                Some(next) => view.select(next),
                None => state.toast("every cell with a picture has a verdict", false),
            }
            Vec::new()
        }
        Command::Blind => {
            if view.judging.blind.is_some() {
                view.judging.blind = None;
                return Vec::new();
            }
            if view.judging.resume_blind() {
                view.is_full_screen = false;
                return Vec::new();
            }
            let cells = view.judging.passed(&view.run);
            begin_blind(state, &cells)
        }
        Command::BlindWinner(number) => {
            let place = usize::from(number).saturating_sub(1);
            let events = view.judging.vote(source, Choice::Winner(place));
            append(view, events)
        }
        Command::BlindTie => {
            let events = view.judging.vote(source, Choice::Tie);
            append(view, events)
        }
        Command::BlindAllBad => {
            let events = view.judging.vote(source, Choice::AllBad);
            append(view, events)
        }
        _ => Vec::new(),
    }
}

fn begin_blind(state: &mut AppState, cells: &[crate::model::cell::CellKey]) -> Vec<Effect> {
    let source = &mut *state.source;
    let Some(view) = &mut state.run else {
        return Vec::new();
    };
    match view.judging.begin_blind(source, cells) {
        Ok(event) => {
            view.is_full_screen = false;
            append(view, vec![event])
        }
        Err(error) => {
            state.toast(
                format!(
                    "no blind comparison: {error}; pass the cells that are to be compared first"
                ),
                true,
            );
            Vec::new()
        }
    }
}

/// Does what a panel says about verdicts.
pub fn on_msg(state: &mut AppState, msg: JudgeMsg) -> Vec<Effect> {
    if let JudgeMsg::BeginBlind(cells) = &msg {
        return begin_blind(state, cells);
    }
    let source = &mut *state.source;
    let Some(view) = &mut state.run else {
        return Vec::new();
    };
    if let JudgeMsg::Seen(cell) | JudgeMsg::AddMark(cell, _) = &msg
        && !view.has_picture(cell)
    {
        return Vec::new();
    }
    let judging = &mut view.judging;
    let events: Vec<Event> = match msg {
        JudgeMsg::Note(cell, text) => judging.note(source, &cell, &text).into_iter().collect(),
        JudgeMsg::Seen(cell) => judging.seen(source, &cell).into_iter().collect(),
        JudgeMsg::AddMark(cell, mark) => {
            let event = judging.act(
                source,
                Action::AddMark {
                    cell: cell.clone(),
                    mark,
                },
            );
            // Whoever marks a cell goes on about it: its note and its marks are beside the grid.
            view.select(cell);
            vec![event]
        }
        JudgeMsg::RemoveMark(cell, mark) => {
            vec![judging.act(source, Action::RemoveMark { cell, mark })]
        }
        JudgeMsg::Reveal => match judging.reveal(source) {
            Ok(event) => event.into_iter().collect(),
            Err(error) => {
                state.toast(error.to_string(), true);
                return Vec::new();
            }
        },
        JudgeMsg::SetFilters(filters) => {
            judging.filters = filters;
            view.lay_out();
            // What keys act on is on screen.
            let shown = view.grid.order();
            if !view
                .selected
                .as_ref()
                .is_some_and(|key| shown.contains(key))
                && let Some(first) = shown.into_iter().next()
            {
                view.select(first);
            }
            Vec::new()
        }
        JudgeMsg::SetSort(sort) => {
            judging.sort = sort;
            view.lay_out();
            Vec::new()
        }
        JudgeMsg::SetBlindTogether(together) => {
            judging.blind_together = together.clamp(2, 4);
            Vec::new()
        }
        JudgeMsg::CloseBlind => {
            judging.blind = None;
            Vec::new()
        }
        JudgeMsg::ShowMarks(marks) => {
            judging.marks = marks;
            Vec::new()
        }
        JudgeMsg::Export(format) => {
            let name = format!("review-{}.{}", view.run.run_id, format.extension());
            return match export::write(format, &view.run, &view.judging.review, &view.judging.types)
            {
                Ok(text) => vec![Effect::ExportReview { name, text }],
                Err(error) => {
                    state.toast(error.to_string(), true);
                    Vec::new()
                }
            };
        }
        JudgeMsg::BeginBlind(_) => Vec::new(),
    };
    append(view, events)
}
