//! Looking beyond one picture at a time: a second run beside the open one, figures of the zones, pages
//! that turn by themselves, cells toned by time, pixel values.

pub mod cycle;
pub mod figures;
pub mod time_tone;
pub mod two_runs;

use super::command::{Command, is_allowed_in_blind, is_blind_only};
use super::look::{self, Compare, Reference, ViewRequest};
use super::run_view::RunView;
use super::{AppState, Effect, FolderFor, Page};
use crate::imaging::zones::ZoneReport;
use crate::model::matrix::Axis;
use crate::model::run::Run;
use figures::{FiguresJob, FiguresKey};
use std::path::PathBuf;
use time_tone::TimeTone;
use two_runs::OtherRun;

/// What a panel says about how the run is looked at.
#[derive(Debug, Clone)]
pub enum SeeMsg {
    /// Open a second run beside the open one.
    OpenOther(PathBuf),
    /// Read which runs there are to compare with.
    ListRuns,
    /// Draw each cell as a pair, or the first run alone.
    ShowPairs(bool),
    /// The time for the next page or cell has come.
    CycleOn,
    /// Go through this axis.
    CycleAxis(Axis),
    /// Show each for so many seconds.
    CycleSecs(f32),
    /// An axis was dropped onto the pages.
    MakePages(Axis),
}

/// What ended in the background.
#[derive(Debug, Clone)]
pub enum SeeEvent {
    /// A second run was read.
    OtherOpened {
        /// Its folder.
        dir: PathBuf,
        /// The opening of the first run, [`RunView::generation`].
        generation: u64,
        /// The run, or why it could not be read.
        result: Result<Box<Run>, String>,
    },
    /// Figures were computed.
    Figures {
        /// The opening of the run.
        generation: u64,
        /// The reading of the run, [`FiguresJob::reading`].
        reading: u64,
        /// What they are about.
        key: FiguresKey,
        /// The figures, or why there are none.
        result: Result<ZoneReport, String>,
    },
}

/// What has to be done in the background.
#[derive(Debug, Clone, PartialEq)]
pub enum SeeEffect {
    /// Read a second run.
    OpenOther {
        /// Its folder.
        dir: PathBuf,
        /// Comes back with the result.
        generation: u64,
    },
    /// Compute figures.
    Figures(Box<FiguresJob>),
}

pub(super) fn on_msg(state: &mut AppState, msg: SeeMsg) -> Vec<Effect> {
    if let SeeMsg::ListRuns = msg {
        return super::bucket::list(state);
    }
    if let SeeMsg::OpenOther(dir) = msg {
        return open_other(state, dir);
    }
    let Some(view) = &mut state.run else {
        return Vec::new();
    };
    match msg {
        SeeMsg::ShowPairs(is_paired) => {
            if let Some(other) = &mut view.other {
                other.is_paired = is_paired;
            }
        }
        SeeMsg::CycleOn => view.cycle_on(),
        SeeMsg::CycleAxis(axis) => view.cycle.axis = Some(axis),
        SeeMsg::CycleSecs(secs) => view.cycle = view.cycle.with_secs(secs),
        SeeMsg::MakePages(axis) => {
            view.pivot.set_pages(axis, &view.run);
            view.lay_out();
        }
        SeeMsg::ListRuns | SeeMsg::OpenOther(_) => {}
    }
    Vec::new()
}

/// Reads a second run; the first one is not compared with itself.
pub(super) fn open_other(state: &mut AppState, dir: PathBuf) -> Vec<Effect> {
    let Some(view) = &state.run else {
        state.toast("open a run first, then a second one beside it", true);
        return Vec::new();
    };
    if view.dir == dir {
        state.toast(
            "this run is open already: choose another one to compare it with",
            true,
        );
        return Vec::new();
    }
    let generation = view.generation;
    vec![Effect::See(SeeEffect::OpenOther { dir, generation })]
}

pub(super) fn on_event(state: &mut AppState, event: SeeEvent) -> Vec<Effect> {
    match event {
        SeeEvent::OtherOpened {
            dir,
            generation,
            result,
        } => {
            state.next_id += 1;
            let revision = state.next_id;
            let is_asked = |view: &&mut RunView| view.generation == generation;
            match (result, state.run.as_mut().filter(is_asked)) {
                (Ok(run), Some(view)) => {
                    let other = OtherRun::new(dir, *run, revision, &view.run);
                    if other.matching.count() == 0 {
                        let text = format!(
                            "no cell of run {} was made with the values of one here; only names are shown",
                            other.run.run_id
                        );
                        view.other = Some(other);
                        state.toast(text, true);
                    } else {
                        view.other = Some(other);
                    }
                }
                (Err(problem), _) => state.toast(problem, true),
                (Ok(_), None) => {}
            }
        }
        SeeEvent::Figures {
            generation,
            reading,
            key,
            result,
        } => {
            if let Some(view) = state
                .run
                .as_mut()
                .filter(|view| view.generation == generation)
            {
                view.figures.take_in(reading, key, result);
            }
        }
    }
    Vec::new()
}

/// Commands of this part; `None` for all others.
pub(super) fn on_command(view: &mut RunView, command: Command) -> Option<Vec<Effect>> {
    match command {
        Command::Values => view.look.has_values = !view.look.has_values,
        Command::NextTimeTone => {
            view.look.tone = look::next_in(&TimeTone::ALL, view.look.tone);
        }
        Command::AutoCycle => view.toggle_cycle(),
        Command::CycleFaster => view.cycle = view.cycle.with_secs(view.cycle.secs / 1.25),
        Command::CycleSlower => view.cycle = view.cycle.with_secs(view.cycle.secs * 1.25),
        Command::CompareWithRun => return Some(vec![Effect::ChooseFolder(FolderFor::OtherRun)]),
        Command::CloseOtherRun => view.close_other(),
        Command::TogglePairs => {
            if let Some(other) = &mut view.other {
                other.is_paired = !other.is_paired;
            }
        }
        Command::ReferenceIsOtherRun => {
            if view.other.is_some() {
                view.look.reference = Reference::OtherRun;
            }
        }
        Command::PanBy(across, down) => view.ask(ViewRequest::PanBy([across, down].map(f32::from))),
        Command::WipeBy(percent) => {
            if view.look.compare == Compare::Wipe {
                let wipe = view.look.wipe + f32::from(percent) / 100.0;
                view.look.wipe = wipe.clamp(0.0, 1.0);
            }
        }
        _ => return None,
    }
    Some(Vec::new())
}

/// Why a command would do nothing now; `None` if it can be used.
pub fn why_not(state: &AppState, command: Command) -> Option<&'static str> {
    let view = state.run.as_ref();
    let has_other = view.is_some_and(|view| view.other.is_some());
    let is_on_run = state.page == Page::Run;
    let is_blind = is_on_run && view.is_some_and(|view| view.judging.blind.is_some());
    match command {
        _ if is_blind && !is_allowed_in_blind(command) => {
            Some("Not while a blind comparison hides which cell is which: leave it with Escape.")
        }
        _ if !is_blind && is_blind_only(command) => Some("Only in a blind comparison."),
        Command::CompareWithRun | Command::Values | Command::NextTimeTone | Command::AutoCycle
            if view.is_none() =>
        {
            Some("No run is open.")
        }
        Command::CloseOtherRun | Command::TogglePairs | Command::ReferenceIsOtherRun
            if !has_other =>
        {
            Some("No second run is open: Compare, Compare with another run….")
        }
        Command::WipeBy(_) if view.is_none_or(|view| view.look.compare != Compare::Wipe) => {
            Some("Only while the wipe is on.")
        }
        Command::CycleFaster | Command::CycleSlower
            if view.is_none_or(|view| !view.cycle.is_on) =>
        {
            Some("Only while pictures change by themselves.")
        }
        _ => None,
    }
}
