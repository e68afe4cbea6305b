//! What messages and events about runs elsewhere do to the state.

use super::{KnownToken, PlaceKind, RemoteEffect, RemoteEvent, RemoteMsg, WaitingRun};
use crate::state::bucket::BucketEvent;
use crate::state::bucket::transfer::PullView;
use crate::state::compose::RunRequest;
use crate::state::{AppState, Effect, bucket};
use std::path::{Path, PathBuf};

fn effect(effect: RemoteEffect) -> Vec<Effect> {
    vec![Effect::Remote(effect)]
}

/// Keeps the form's worker for the next start of the program, and finds out what the form now needs to show.
pub fn follow_form(state: &mut AppState) -> Vec<Effect> {
    let form = &state.compose;
    state.settings.place = form.place;
    state.settings.worker.clone_from(&form.worker);
    state.settings.worker_user.clone_from(&form.user);
    state.settings.job_project.clone_from(&form.job_project);
    state.settings.job_region.clone_from(&form.job_region);
    state.settings.job_name.clone_from(&form.job_name);
    let mut effects = Vec::new();
    match form.place {
        PlaceKind::ThisMachine => {
            let is_known = |device: &String| *device == form.device;
            let known = state.remote.device.as_ref().map(|(device, _)| device);
            if !known.is_some_and(is_known) {
                effects.extend(effect(RemoteEffect::Describe(form.device.clone())));
            }
        }
        PlaceKind::Job => {}
        PlaceKind::Worker | PlaceKind::Service => {
            let worker = form.worker.trim().to_owned();
            let known = state.remote.token.as_ref().map(|known| &known.worker);
            if !worker.is_empty() && known != Some(&worker) {
                effects.extend(effect(RemoteEffect::FindToken { worker }));
            }
        }
    }
    effects
}

/// Does what a panel says.
pub fn on_msg(state: &mut AppState, msg: RemoteMsg) -> Vec<Effect> {
    let worker = state.compose.worker.trim().to_owned();
    match msg {
        RemoteMsg::Ask => {
            state.remote.asking = Some(worker.clone());
            effect(RemoteEffect::Ask { worker })
        }
        RemoteMsg::Plan => match state.compose.request() {
            Ok(request) => {
                state.remote.is_planning = true;
                effect(RemoteEffect::Plan(Box::new(request)))
            }
            Err(problems) => {
                state.compose_problems = problems;
                Vec::new()
            }
        },
        RemoteMsg::TypeToken(token) => {
            state.remote.typed_token = token;
            Vec::new()
        }
        RemoteMsg::KeepToken => {
            let token = std::mem::take(&mut state.remote.typed_token);
            effect(RemoteEffect::KeepToken { worker, token })
        }
        RemoteMsg::ForgetToken => effect(RemoteEffect::ForgetToken { worker }),
        RemoteMsg::Watch(dir) => {
            if state.is_running() {
                state.toast("a run is under way; let it end or leave it first", true);
                return Vec::new();
            }
            effect(RemoteEffect::PickUp(dir))
        }
        RemoteMsg::Leave => effect(RemoteEffect::Leave),
    }
}

/// Takes what comes back from the background.
pub fn on_event(state: &mut AppState, event: RemoteEvent) -> Vec<Effect> {
    let remote = &mut state.remote;
    match event {
        RemoteEvent::Device(device, words) => remote.device = Some((device, words)),
        RemoteEvent::Asked { worker, result } => {
            if remote.asking.as_ref() == Some(&worker) {
                remote.asking = None;
            }
            remote.asked = Some((worker, result));
        }
        RemoteEvent::Token {
            worker,
            result,
            is_readable,
        } => {
            // With another token the answer may be another.
            if result.is_ok() && remote.asked.as_ref().is_some_and(|(one, _)| *one == worker) {
                remote.asked = None;
            }
            let (place, problem) = match result {
                Ok(place) => (place, None),
                Err(problem) => (None, Some(problem)),
            };
            remote.token = Some(KnownToken {
                worker,
                place,
                is_readable,
            });
            if let Some(problem) = problem {
                state.toast(problem, true);
            }
        }
        RemoteEvent::Planned(plan) => {
            remote.is_planning = false;
            remote.plan = Some(plan);
        }
        RemoteEvent::Waiting(waiting) => remote.waiting = waiting,
        RemoteEvent::Found(dir, open) => {
            let is_open = state.run.as_ref().is_some_and(|view| view.dir == dir);
            if !is_open {
                return Vec::new();
            }
            let goes_on = open.as_ref().is_some_and(|open| !open.has_ended);
            remote.open = open;
            let was_opened = remote.may_pick_up.take_if(|one| *one == dir).is_some();
            if goes_on && was_opened && !state.is_running() {
                return effect(RemoteEffect::PickUp(dir));
            }
        }
        RemoteEvent::LookInBucket { run_id, is_last } => {
            return look_in_bucket(state, run_id, is_last);
        }
    }
    Vec::new()
}

/// Fetches what a run elsewhere has left in the bucket, unless that is under way.
fn look_in_bucket(state: &mut AppState, run_id: String, is_last: bool) -> Vec<Effect> {
    let is_fetching = state
        .bucket
        .pull
        .as_ref()
        .is_some_and(|pull| pull.is_running() && pull.request.run_id == run_id);
    let is_first = state.remote.in_bucket.as_ref() != Some(&run_id);
    // The last time a failure counts.
    state.remote.in_bucket = (!is_last).then(|| run_id.clone());
    let is_busy = state.bucket.pull.as_ref().is_some_and(PullView::is_running);
    if is_fetching || (!is_first && is_busy) {
        // What is fetched may be another run, which somebody wants to see; or it was listed too early.
        if is_last {
            state.remote.last_look = Some(run_id);
        }
        return Vec::new();
    }
    if !is_first {
        // Whoever looks at something else meanwhile goes on with that.
        return bucket::pull_run(state, run_id);
    }
    let found = BucketEvent::AddressIsRun {
        bucket: None,
        run_id,
    };
    bucket::on_event(state, found)
}

/// The run that is looked for a last time, now that a pull has ended; none if its own was stopped by hand.
pub fn last_look_after(state: &mut AppState, ended: &str, was_stopped: bool) -> Option<String> {
    let wanted = state.remote.last_look.take()?;
    (!was_stopped || wanted != ended).then_some(wanted)
}

/// A run was opened: it may be made elsewhere.
pub fn after_opening(state: &mut AppState, dir: &Path) -> Vec<Effect> {
    state.remote.open = None;
    state.remote.may_pick_up = Some(dir.to_owned());
    vec![look(dir.to_owned())]
}

/// Asks what is remembered of the run in a folder.
pub fn look(dir: PathBuf) -> Effect {
    Effect::Remote(RemoteEffect::Look(dir))
}

/// Whether that a run could not be fetched is to be expected: somebody is still making its first cell.
pub fn look_in_bucket_failed(state: &AppState, run_id: &str) -> bool {
    state.remote.in_bucket.as_deref() == Some(run_id)
}

/// Runs what is missing of the open run where it was made; `None` if that is this machine.
pub fn resume(state: &AppState) -> Option<Vec<Effect>> {
    let view = state.run.as_ref()?;
    let open = state.remote.open.as_ref()?;
    if open.run.dir != view.dir {
        return None;
    }
    let dir = view.dir.clone();
    if !open.has_ended {
        return Some(effect(RemoteEffect::PickUp(dir)));
    }
    // What the others make again is asked for in another way; a job's costs are shown before.
    (open.kind != PlaceKind::ThisMachine).then(|| effect(RemoteEffect::Resume(dir)))
}

/// Asks for the list of runs that go on without being watched.
pub fn list_waiting(state: &AppState) -> Effect {
    Effect::Remote(RemoteEffect::ListWaiting {
        runs_dir: PathBuf::from(&state.settings.runs_dir),
    })
}

impl super::RemoteView {
    /// The plan of what is asked for, if that is what was planned last.
    pub fn plan_of(&self, request: &RunRequest) -> Option<&Result<Vec<String>, String>> {
        let plan = self.plan.as_ref()?;
        (*plan.request == *request).then_some(&plan.result)
    }

    /// Runs that could be watched: not the one under way.
    pub fn watchable(&self, running: Option<&Path>) -> Vec<&WaitingRun> {
        let is_other = |run: &&WaitingRun| running != Some(run.dir.as_path());
        self.waiting.iter().filter(is_other).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::bucket::transfer::PullOutcome;
    use crate::state::remote::{JobPlan, Secret};
    use crate::state::run_view::LiveRun;
    use crate::state::settings::Settings;
    use crate::state::{Event, Msg, Running, update};

    fn running(state: &mut AppState) {
        state.running = Some(Running {
            dir: None,
            live: LiveRun::starting(Some("http://worker".to_owned())),
        });
    }

    #[test]
    fn a_second_run_is_not_watched_beside_the_first() {
        let mut state = AppState::new(Settings::default());
        let watch = || Msg::Remote(RemoteMsg::Watch("runs/r1".into()));
        let expected = Effect::Remote(RemoteEffect::PickUp("runs/r1".into()));
        assert_eq!(update(&mut state, watch()), [expected]);
        running(&mut state);
        assert_eq!(update(&mut state, watch()), []);
        assert!(state.toasts.iter().any(|toast| toast.is_error));
    }

    #[test]
    fn a_token_leaves_the_state_when_it_is_kept_and_is_never_shown() {
        let mut state = AppState::new(Settings::default());
        state.compose.worker = " http://worker ".to_owned();
        let token = Secret("correct-horse-battery".to_owned());
        update(&mut state, Msg::Remote(RemoteMsg::TypeToken(token.clone())));
        let effects = update(&mut state, Msg::Remote(RemoteMsg::KeepToken));
        let worker = "http://worker".to_owned();
        let kept = RemoteEffect::KeepToken { worker, token };
        assert!(!format!("{kept:?}").contains("horse"));
        assert_eq!(effects, [Effect::Remote(kept)]);
        assert_eq!(state.remote.typed_token, Secret::default());
    }

    #[test]
    fn a_bucket_that_has_nothing_yet_is_no_failure_before_the_last_look() {
        let mut state = AppState::new(Settings::default());
        let look = |is_last| {
            let run_id = "r1".to_owned();
            let event = RemoteEvent::LookInBucket { run_id, is_last };
            Msg::Event(Event::Remote(event))
        };
        let end = |state: &mut AppState| {
            let job = state.bucket.pull.as_ref().map(|pull| pull.request.job);
            let problem = Err("nothing is there".to_owned());
            let ended = BucketEvent::PullEnded(job.unwrap_or_default(), problem);
            update(state, Msg::Event(Event::Bucket(ended)));
        };
        for _ in 0..2 {
            update(&mut state, look(false));
            end(&mut state);
            assert_eq!(state.toasts, []);
        }
        update(&mut state, look(true));
        end(&mut state);
        assert!(state.toasts.iter().any(|toast| toast.is_error));
    }

    #[test]
    fn the_last_look_is_not_dropped_while_something_is_fetched() {
        let look = |state: &mut AppState, run_id: &str, is_last| {
            let run_id = run_id.to_owned();
            let event = RemoteEvent::LookInBucket { run_id, is_last };
            update(state, Msg::Event(Event::Remote(event)))
        };
        let end = |state: &mut AppState, result| {
            let job = state.bucket.pull.as_ref().map(|pull| pull.request.job);
            let ended = BucketEvent::PullEnded(job.unwrap_or_default(), result);
            update(state, Msg::Event(Event::Bucket(ended)))
        };
        let fetched = |effects: &[Effect]| -> Vec<String> {
            let mut found = Vec::new();
            for effect in effects {
                if let Effect::Bucket(crate::state::bucket::BucketEffect::Pull(request)) = effect {
                    found.push(request.run_id.clone());
                }
            }
            found
        };
        for early in [
            Err("nothing is there".to_owned()),
            Ok(PullOutcome::default()),
        ] {
            let mut state = AppState::new(Settings::default());
            assert_eq!(fetched(&look(&mut state, "r1", false)), ["r1"]);
            assert_eq!(look(&mut state, "r1", true), []);
            // What was under way was listed too early: it is looked at once more, and then no more.
            assert_eq!(fetched(&end(&mut state, early)), ["r1"]);
            assert_eq!(state.toasts, []);
            assert_eq!(end(&mut state, Ok(PullOutcome::default())), []);
        }
        // Another run is fetched meanwhile: this one comes after it.
        let mut state = AppState::new(Settings::default());
        look(&mut state, "r1", false);
        bucket::pull_run(&mut state, "r2".to_owned());
        assert_eq!(look(&mut state, "r1", true), []);
        let ended = end(&mut state, Ok(PullOutcome::default()));
        assert_eq!(fetched(&ended), ["r1"]);
        // Who stops it has enough of it.
        look(&mut state, "r1", true);
        let stopped = PullOutcome {
            was_stopped: true,
            ..PullOutcome::default()
        };
        assert_eq!(end(&mut state, Ok(stopped)), []);
    }

    #[test]
    fn a_jobs_run_starts_with_the_plan_of_just_that_run() {
        let mut state = AppState::new(Settings::default());
        let form = crate::state::compose::ComposeForm {
            place: PlaceKind::Job,
            job_project: "demo-1".to_owned(),
            user: "u1".to_owned(),
            session_id: "s1".to_owned(),
            ..state.compose.clone()
        };
        let is_start = |effects: &[Effect]| {
            let mut starts = effects.iter();
            starts.any(|effect| matches!(effect, Effect::StartRun(_)))
        };
        let start = || Msg::Command(crate::state::command::Command::StartRun);
        update(&mut state, Msg::SetCompose(Box::new(form.clone())));
        assert!(!is_start(&update(&mut state, start())));
        let Ok(request) = form.request() else {
            panic!("it can be run")
        };
        let plan = JobPlan {
            request: Box::new(request),
            result: Ok(vec!["cost: about 1 USD".to_owned()]),
        };
        let planned = RemoteEvent::Planned(plan);
        update(&mut state, Msg::Event(Event::Remote(planned)));
        assert!(is_start(&update(&mut state, start())));
        let other = crate::state::compose::ComposeForm {
            steps: "50".to_owned(),
            ..form
        };
        update(&mut state, Msg::SetCompose(Box::new(other)));
        assert!(!is_start(&update(&mut state, start())));
    }
}
