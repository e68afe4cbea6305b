//! The run under way, here or elsewhere: started, cancelled, left, and what is told of it.

use super::remote::{self, Place, RemoteMsg};
use super::{AppState, Effect, Event, Page, Running, approving, update};
use std::path::PathBuf;

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

/// Takes what is told of the run under way.
pub(super) fn on_event(state: &mut AppState, event: Event) -> Vec<Effect> {
    match event {
        Event::RunStarted { dir, .. } => update::open(state, dir),
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
                view.run.cells.insert(key, *cell);
                view.lay_out();
            }
            approving::stage_again(state);
            Vec::new()
        }
        Event::RunEnded { dir, result } => {
            state.rerun_waits = false;
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
