//! The run under way, here or elsewhere: started, cancelled, left, and what is told of it.

use super::remote::{self, Place, RemoteMsg};
use super::{AppState, Effect, Event, Page, Running, approving, update};
use std::path::{Path, PathBuf};

/// Starts the composed run; a job's only with its plan on screen.
pub(super) fn start(state: &mut AppState) -> Vec<Effect> {
    if state.is_running() {
        state.toast("a run is under way; cancel it or let it end first", true);
        return Vec::new();
    }
    match state.compose.request() {
        Ok(request)
            if matches!(request.place, Place::Job(_))
                && !matches!(state.remote.plan_of(&request), Some(Ok(_))) =>
        {
            state.toast("look at the plan with its time and cost first", true);
            state.page = Page::Compose;
            Vec::new()
        }
        Ok(request) => vec![Effect::StartRun(Box::new(request))],
        Err(problems) => {
            if let Some(first) = problems.first() {
                state.toast(format!("{}: {}", first.field, first.problem), true);
            }
            state.compose_problems = problems;
            state.page = Page::Compose;
            Vec::new()
        }
    }
}

/// Asks the run under way to stop.
pub(super) fn cancel(state: &mut AppState) -> Vec<Effect> {
    let Some(running) = &mut state.running else {
        return Vec::new();
    };
    running.live.is_cancelling = true;
    state.show_running();
    vec![Effect::CancelRun]
}

/// Watches the run under way no longer, where it goes on alone.
pub(super) fn leave(state: &mut AppState) -> Vec<Effect> {
    let problem = match &state.running {
        Some(running) if running.live.elsewhere.is_some() => {
            return remote::on_msg(state, RemoteMsg::Leave);
        }
        Some(_) => "this machine makes the run: it cannot go on alone",
        None => "no run is under way",
    };
    state.toast(problem, true);
    Vec::new()
}

/// Brings a run that was read up to date: cells may have ended while it was being read.
pub(super) fn take_in_ended(state: &mut AppState, dir: &Path) {
    let Some(view) = state.run.as_mut().filter(|view| view.dir == dir) else {
        return;
    };
    let ended = state.ended_cells.iter().filter(|(of, ..)| of == dir);
    let mut is_changed = false;
    for (_, key, cell) in ended {
        is_changed |= view.run.cells.get(key) != Some(cell);
        view.run.cells.insert(key.clone(), cell.clone());
    }
    if is_changed {
        view.lay_out();
    }
}

/// Takes what is told of the run under way.
pub(super) fn on_event(state: &mut AppState, event: Event) -> Vec<Effect> {
    match event {
        Event::RunStarted { dir, .. } => {
            state.ended_cells.clear();
            update::open(state, dir)
        }
        Event::RunProgress { dir, mut live } => {
            let now = state.running.as_ref();
            live.is_cancelling |= now.is_some_and(|now| now.live.is_cancelling);
            state.running = Some(Running { dir, live: *live });
            state.show_running();
            Vec::new()
        }
        Event::CellEnded {
            dir,
            key,
            state: cell,
        } => {
            if let Some(view) = state.run.as_mut().filter(|view| view.dir == dir) {
                view.run.cells.insert(key.clone(), (*cell).clone());
                view.lay_out();
            }
            state.ended_cells.push((dir, key, *cell));
            approving::stage_again(state);
            Vec::new()
        }
        Event::RunEnded { dir, result } => {
            state.rerun_waits = false;
            // It is read again as a whole.
            state.ended_cells.clear();
            let was_elsewhere = state
                .running
                .take()
                .is_some_and(|running| running.live.elsewhere.is_some());
            state.show_running();
            match result {
                Ok(sentence) => state.toast(sentence, false),
                Err(problem) => state.toast(problem, true),
            }
            // Whoever looks at another run meanwhile goes on with that.
            let is_open = |dir: &PathBuf| {
                let is_shown = state.run.as_ref().is_some_and(|view| view.dir == *dir);
                is_shown || state.opening.as_ref() == Some(dir)
            };
            let open = dir.filter(is_open);
            let mut effects = Vec::new();
            if was_elsewhere {
                effects.push(remote::list_waiting(state));
                effects.extend(open.iter().cloned().map(remote::look));
            }
            effects.extend(open.map(Effect::OpenRun));
            effects
        }
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::review::sample;

    #[test]
    fn a_cell_that_ends_while_the_run_is_read_is_not_lost() {
        let mut state = AppState::new(crate::state::settings::Settings::default());
        let dir = PathBuf::from("runs/one");
        let started = Event::RunStarted {
            dir: dir.clone(),
            total: 9,
        };
        let effects = update::on_event(&mut state, started);
        assert!(effects.contains(&Effect::OpenRun(dir.clone())));
        // What was read first knows of no cell; one ends before that has come.
        let done = sample::done_run();
        let (key, cell) = done.cells.first_key_value().expect("cells");
        let ended = Event::CellEnded {
            dir: dir.clone(),
            key: key.clone(),
            state: Box::new(cell.clone()),
        };
        update::on_event(&mut state, ended);
        for _ in 0..2 {
            let read = Event::RunOpened {
                dir: dir.clone(),
                result: Ok(Box::new(sample::run())),
            };
            update::on_event(&mut state, read);
            let view = state.run.as_ref().expect("open");
            assert_eq!(view.run.cells.get(key), Some(cell));
            assert_eq!(view.run.done_count(), 1);
        }
        // Once the run has ended, what is read is what there is.
        let ended = Event::RunEnded {
            dir: Some(dir.clone()),
            result: Ok("complete".to_owned()),
        };
        update::on_event(&mut state, ended);
        let read = Event::RunOpened {
            dir,
            result: Ok(Box::new(sample::run())),
        };
        update::on_event(&mut state, read);
        assert_eq!(
            state.run.as_ref().map(|view| view.run.done_count()),
            Some(0)
        );
    }
}
