//! The list, fetching, sending and deciding, message by message.

#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::super::choices::Choice;
use super::super::inbox::{InboxListing, InboxRow};
use super::super::{BucketEffect as B, BucketEvent as E, BucketMsg as M};
use super::*;
use crate::model::cell::{CellDefaults, CellKey};
use crate::model::ids::RunId;
use crate::model::run::{CellState, DoneCell, Origin, Run, Timing};
use crate::state::settings::Settings;
use crate::state::{Msg, update as apply};
use std::collections::BTreeMap;

fn state() -> AppState {
    AppState::new(Settings {
        reviewer: "ada".to_owned(),
        ..Settings::default()
    })
}

fn event(state: &mut AppState, event: E) -> Vec<Effect> {
    apply(state, Msg::Event(Event::Bucket(event)))
}

fn send(state: &mut AppState, msg: M) -> Vec<Effect> {
    apply(state, Msg::Bucket(msg))
}

fn row(run_id: &str, dir: Option<&str>, is_in_bucket: bool) -> InboxRow {
    InboxRow {
        run_id: run_id.to_owned(),
        dir: dir.map(PathBuf::from),
        is_in_bucket,
        ..InboxRow::default()
    }
}

/// A state whose list has a run on disk, one in the bucket, and one on both sides.
fn listed() -> AppState {
    let mut state = state();
    let effects = list(&mut state);
    let [Effect::Bucket(B::List { job, .. })] = effects.as_slice() else {
        panic!("{effects:?}")
    };
    let listing = InboxListing {
        rows: vec![
            row("here", Some("runs/here"), false),
            row("there", None, true),
            row("both", Some("runs/both"), true),
        ],
        freshness: BucketFreshness::Live(0),
        ..InboxListing::default()
    };
    event(&mut state, E::Listed(*job, Box::new(listing)));
    state
}

fn key(stem: &str) -> CellKey {
    CellKey::parse(stem, &CellDefaults::of_service_run()).unwrap()
}

/// A run of the Python service with cells that are here and cells that are not.
fn run(id: &str, done: &[&str], missing: &[&str]) -> Box<Run> {
    let mut cells = BTreeMap::new();
    for stem in done {
        let state = CellState::Done(Box::new(DoneCell {
            timing: Timing::default(),
            document: None,
        }));
        cells.insert(key(stem), state);
    }
    for stem in missing {
        cells.insert(key(stem), CellState::Missing);
    }
    Box::new(Run {
        run_id: RunId::new(id).unwrap(),
        session: None,
        expected: String::new(),
        origin: Origin::Service,
        extensions: Vec::new(),
        prompts: Vec::new(),
        environment: None,
        warnings: Vec::new(),
        cells,
        defaults: CellDefaults::of_service_run(),
        picture_names: BTreeMap::new(),
        reported_timings: BTreeMap::new(),
        acceleration_section: None,
    })
}

fn pull_request(effects: &[Effect]) -> PullRequest {
    let found = effects.iter().find_map(|effect| match effect {
        Effect::Bucket(B::Pull(request)) => Some(request.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no pull in {effects:?}"))
}

fn push_request(effects: &[Effect]) -> PushRequest {
    let found = effects.iter().find_map(|effect| match effect {
        Effect::Bucket(B::Push(request)) => Some(request.clone()),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("no push in {effects:?}"))
}

/// The bucket's run opened, listed and read once, with one cell of two here.
fn fetching() -> (AppState, PullRequest) {
    let mut state = listed();
    let request = pull_request(&send(&mut state, M::OpenRow("there".into())));
    let files = ["Q4_0_gs10.png", "Q4_0_gs2.png", "REPORT.md"];
    event(
        &mut state,
        E::PullListed {
            job: request.job,
            files: files.map(|file| (file.to_owned(), 7)).to_vec(),
            offline: None,
            is_in_progress: false,
        },
    );
    let arrived = [("REPORT.md", true), ("Q4_0_gs2.png", true)];
    let moved = Moved {
        arrived: arrived.map(|(file, new)| (file.to_owned(), new)).to_vec(),
        ..Moved::default()
    };
    event(&mut state, E::PullMoved(request.job, Box::new(moved)));
    let read = E::PullRead {
        job: request.job,
        dir: request.dir.clone(),
        run: run("there", &["Q4_0_gs2"], &["Q4_0_gs10"]),
    };
    event(&mut state, read);
    (state, request)
}

fn conflict(file: &str) -> ConflictRow {
    ConflictRow {
        file: file.to_owned(),
        my_bytes: 1,
        my_secs: 2,
        their_bytes: 3,
        their_secs: 4,
        their_generation: 99,
        choice: None,
    }
}

#[test]
fn a_run_on_disk_alone_is_read_and_one_of_the_bucket_is_fetched_into_the_folder_of_runs() {
    let mut state = listed();
    let effects = send(&mut state, M::OpenRow("here".into()));
    assert_eq!(effects, [Effect::OpenRun("runs/here".into())]);
    let mut state = listed();
    let request = pull_request(&send(&mut state, M::OpenRow("there".into())));
    assert_eq!(request.dir, PathBuf::from("runs/there"));
    assert_eq!(state.opening, Some(request.dir));
    assert_eq!(state.page, Page::Run);
    let mut state = listed();
    let effects = send(&mut state, M::OpenRow("both".into()));
    assert_eq!(effects.first(), Some(&Effect::OpenRun("runs/both".into())));
    assert_eq!(
        pull_request(&effects).run_id,
        "both",
        "and looked at in the bucket"
    );
}

#[test]
fn what_arrives_fills_the_open_run_and_says_what_is_still_coming() {
    let (state, _) = fetching();
    let view = state.run.as_ref().unwrap();
    assert_eq!(view.run.done_count(), 1);
    assert!(view.lacks(&key("Q4_0_gs10")) && !view.lacks(&key("Q4_0_gs2")));
    assert_eq!(state.opening, None);
    assert!(state.bucket.is_fetching(&view.dir));
}

#[test]
fn the_selected_and_visible_cells_come_first_and_only_changes_are_said() {
    let (mut state, _) = fetching();
    let first = |effects: &[Effect]| match effects {
        [Effect::Bucket(B::ShowFirst(files))] => files.first().cloned(),
        _ => None,
    };
    let effects = apply(&mut state, Msg::Select(key("Q4_0_gs2")));
    assert_eq!(first(&effects).as_deref(), Some("Q4_0_gs2.png"));
    assert_eq!(apply(&mut state, Msg::HoldReference(false)), []);
    apply(&mut state, Msg::Select(key("Q4_0_gs10")));
    let visible = vec![key("Q4_0_gs2")];
    let effects = send(&mut state, M::Visible(visible));
    assert!(first(&effects).is_none_or(|file| file == "Q4_0_gs10.png"));
}

#[test]
fn a_file_that_was_replaced_is_read_again_and_one_that_was_here_is_not() {
    let (mut state, request) = fetching();
    for is_new in [false, true] {
        let moved = Moved {
            arrived: vec![("Q4_0_gs10.png".to_owned(), is_new)],
            ..Moved::default()
        };
        event(&mut state, E::PullMoved(request.job, Box::new(moved)));
        let view = state.run.as_ref().unwrap();
        assert_eq!(view.revisions.contains_key("Q4_0_gs10.png"), is_new);
        assert!(view.lacking.is_empty());
    }
}

#[test]
fn what_an_older_pull_brings_is_dropped_and_another_run_is_not_taken_off_the_screen() {
    let (mut state, request) = fetching();
    // Another run is opened: the pull is stopped, and what it still reads does not come to the front.
    let effects = apply(&mut state, Msg::Open("runs/here".into()));
    assert!(
        effects.contains(&Effect::Bucket(B::StopPull)),
        "{effects:?}"
    );
    apply(
        &mut state,
        Msg::Event(Event::RunOpened {
            dir: "runs/here".into(),
            result: Ok(run("here", &["Q8_0_gs2"], &[])),
        }),
    );
    let read = E::PullRead {
        job: request.job,
        dir: request.dir.clone(),
        run: run("there", &["Q4_0_gs2"], &[]),
    };
    event(&mut state, read);
    assert_eq!(state.run.as_ref().unwrap().run.run_id.as_str(), "here");
    let stopped = PullOutcome {
        was_stopped: true,
        ..PullOutcome::default()
    };
    event(&mut state, E::PullEnded(request.job, Ok(stopped)));
    assert_eq!(state.page, Page::Run, "the other run stays in front");
    assert!(event(&mut state, E::PullEnded(999, Err("x".into()))).is_empty());
    assert!(state.toasts.is_empty());
}

#[test]
fn a_pull_that_brings_nothing_leads_back_to_the_list_with_its_reason() {
    let mut state = listed();
    let request = pull_request(&send(&mut state, M::OpenRow("there".into())));
    event(
        &mut state,
        E::PullEnded(request.job, Err("not found: x".into())),
    );
    assert_eq!((state.page, state.opening.clone()), (Page::Inbox, None));
    assert!(
        state
            .toasts
            .iter()
            .any(|toast| toast.is_error && toast.text == "not found: x")
    );
}

#[test]
fn a_stopped_pull_is_resumed_by_the_same_request() {
    let (mut state, request) = fetching();
    assert_eq!(send(&mut state, M::StopPull), [Effect::Bucket(B::StopPull)]);
    assert_eq!(send(&mut state, M::StopPull), [], "once is enough");
    let stopped = PullOutcome {
        was_stopped: true,
        ..PullOutcome::default()
    };
    event(&mut state, E::PullEnded(request.job, Ok(stopped)));
    let pull = state.bucket.pull.as_ref().unwrap();
    assert!(pull.is_unfinished());
    assert_eq!(pull.words().as_deref(), Some("1 file is not fetched"));
    let again = pull_request(&send(&mut state, M::ResumePull));
    assert_eq!((again.run_id, again.dir), (request.run_id, request.dir));
    assert!(again.job > request.job);
}

#[test]
fn sending_needs_an_open_run_and_makes_its_own_pull_wait() {
    let mut none = listed();
    assert_eq!(apply(&mut none, Msg::Command(Command::PushRun)), []);
    assert!(
        none.toasts
            .iter()
            .any(|toast| toast.text.contains("open a run first"))
    );
    let (mut state, pull) = fetching();
    let push = push_request(&apply(&mut state, Msg::Command(Command::PushRun)));
    assert_eq!(push.dir, pull.dir);
    apply(&mut state, Msg::Command(Command::PushRun));
    assert!(
        state
            .toasts
            .iter()
            .any(|toast| toast.text.contains("already"))
    );
    event(
        &mut state,
        E::PullEnded(
            pull.job,
            Ok(PullOutcome {
                was_stopped: true,
                ..PullOutcome::default()
            }),
        ),
    );
    let done = PushOutcome {
        place: "gs://b/audit/there/".into(),
        sent: 3,
        ..PushOutcome::default()
    };
    let effects = event(&mut state, E::PushEnded(push.job, Ok(done)));
    assert_eq!(pull_request(&effects).dir, pull.dir, "fetching goes on");
    assert!(state.bucket.push.is_none());
    assert!(
        state
            .toasts
            .iter()
            .any(|toast| toast.text.starts_with("3 files sent to gs://b/"))
    );
}

#[test]
fn nothing_goes_on_before_each_file_has_its_decision() {
    let (mut state, pull) = fetching();
    event(
        &mut state,
        E::PullEnded(pull.job, Ok(PullOutcome::default())),
    );
    let push = push_request(&apply(&mut state, Msg::Command(Command::PushRun)));
    let outcome = PushOutcome {
        conflicts: vec![conflict("REPORT.md"), conflict("notes.txt")],
        ..PushOutcome::default()
    };
    event(&mut state, E::PushEnded(push.job, Ok(outcome)));
    assert_eq!(state.bucket.conflicts.as_ref().unwrap().undecided(), 2);
    assert_eq!(send(&mut state, M::Decide), []);
    send(&mut state, M::ChooseAll(Choice::Theirs));
    send(&mut state, M::Choose("REPORT.md".into(), Choice::Mine));
    let again = push_request(&send(&mut state, M::Decide));
    let mine = again.choices.get("REPORT.md");
    assert_eq!(
        mine,
        Some(&(Choice::Mine, 99)),
        "about the one that was shown"
    );
    assert_eq!(again.choices.get("notes.txt"), Some(&(Choice::Theirs, 99)));
    assert!(state.bucket.conflicts.is_none());
    // Deciding later changes nothing.
    let outcome = PushOutcome {
        conflicts: vec![conflict("REPORT.md")],
        ..PushOutcome::default()
    };
    event(&mut state, E::PushEnded(again.job, Ok(outcome)));
    assert_eq!(send(&mut state, M::DecideLater), []);
    assert!(state.bucket.conflicts.is_none() && state.bucket.push.is_none());
}

#[test]
fn what_both_sides_changed_waits_for_a_decision_when_fetching_too() {
    let (mut state, pull) = fetching();
    let outcome = PullOutcome {
        conflicts: vec![conflict("REPORT.md")],
        ..PullOutcome::default()
    };
    event(&mut state, E::PullEnded(pull.job, Ok(outcome)));
    send(&mut state, M::Choose("REPORT.md".into(), Choice::Both));
    let again = pull_request(&send(&mut state, M::Decide));
    assert_eq!(again.dir, pull.dir);
    assert_eq!(again.choices.get("REPORT.md"), Some(&(Choice::Both, 99)));
}

#[test]
fn without_a_network_it_waits_and_goes_up_when_the_bucket_answers() {
    let (mut state, pull) = fetching();
    event(
        &mut state,
        E::PullEnded(pull.job, Ok(PullOutcome::default())),
    );
    let push = push_request(&apply(&mut state, Msg::Command(Command::PushRun)));
    let queued = PushOutcome {
        place: "gs://b/audit/there/".into(),
        queued: Some("offline".into()),
        ..PushOutcome::default()
    };
    let effects = event(&mut state, E::PushEnded(push.job, Ok(queued)));
    assert_eq!(effects, [Effect::Bucket(B::ListQueue)]);
    let rows = vec![super::super::QueuedRow {
        dir: push.dir,
        place: "gs://b/audit/there/".into(),
        queued_secs: 0,
    }];
    event(&mut state, E::Queue(rows));
    let list_with = |state: &mut AppState, freshness: BucketFreshness| {
        list(state);
        let job = state.bucket.inbox.listing_job.unwrap();
        let listing = InboxListing {
            freshness,
            ..InboxListing::default()
        };
        event(state, E::Listed(job, Box::new(listing)))
    };
    let offline = BucketFreshness::Failed("offline".into());
    assert_eq!(list_with(&mut state, offline), []);
    let effects = list_with(&mut state, BucketFreshness::Live(0));
    assert_eq!(effects, [Effect::Bucket(B::SendQueue)]);
    assert_eq!(
        list_with(&mut state, BucketFreshness::Live(0)),
        [],
        "once at a time"
    );
    let effects = event(&mut state, E::QueueSent(vec![("sent: r".into(), true)]));
    assert_eq!(effects, [Effect::Bucket(B::ListQueue)]);
}

#[test]
fn small_pictures_are_asked_for_once_and_failures_again_with_the_next_list() {
    let mut state = listed();
    let keys = vec!["a".to_owned(), "b".to_owned()];
    let effects = send(&mut state, M::NeedThumbnails(keys.clone()));
    assert_eq!(effects, [Effect::Bucket(B::Thumbnails(keys.clone()))]);
    assert_eq!(send(&mut state, M::NeedThumbnails(keys)), []);
    event(&mut state, E::Thumbnail("a".into(), Err("x".into())));
    event(&mut state, E::Thumbnail("b".into(), Ok("b.png".into())));
    let mut listing = state.bucket.inbox.listing.clone();
    listing.rows[0].picture = Some("a".into());
    listing.rows[1].picture = Some("b".into());
    list(&mut state);
    let job = state.bucket.inbox.listing_job.unwrap();
    event(&mut state, E::Listed(job, Box::new(listing)));
    let kept: Vec<_> = state.bucket.inbox.thumbnails.keys().cloned().collect();
    assert_eq!(kept, ["b"]);
}

#[test]
fn arrows_and_enter_work_in_the_list_and_leave_the_open_run_alone() {
    let (mut state, _) = fetching();
    state.page = Page::Inbox;
    let before = state.run.as_ref().unwrap().selected.clone();
    for command in [Command::Down, Command::Down, Command::Right] {
        apply(&mut state, Msg::Command(command));
    }
    assert_eq!(state.run.as_ref().unwrap().selected, before);
    assert!(state.bucket.inbox.selected.is_some());
    let effects = apply(&mut state, Msg::Command(Command::FullScreen));
    assert!(!effects.is_empty());
    assert_eq!(state.page, Page::Run);
}

#[test]
fn an_address_is_looked_up_and_opens_a_run_a_folder_or_a_session() {
    let mut state = listed();
    let pasted = " gs://other/audit/r9/ ".to_owned();
    let effects = send(&mut state, M::OpenAddress(pasted));
    assert!(matches!(
        effects.as_slice(),
        [Effect::Bucket(B::Resolve { address, .. })] if address == "gs://other/audit/r9/"
    ));
    let effects = event(
        &mut state,
        E::AddressIsRun {
            bucket: Some("other".into()),
            run_id: "r9".into(),
        },
    );
    let request = pull_request(&effects);
    assert_eq!(request.bucket.as_deref(), Some("other"));
    assert_eq!(state.bucket.inbox.address, "");
    let effects = event(&mut state, E::AddressIsFolder("runs/x".into()));
    assert!(effects.contains(&Effect::OpenRun("runs/x".into())));
    send(&mut state, M::OpenAddress("nonsense".into()));
    event(&mut state, E::AddressRefused("neither".into()));
    assert_eq!(state.bucket.inbox.address, "nonsense", "to be mended");
    assert!(state.bucket.inbox.resolving.is_none());
    event(&mut state, E::SessionFetched("sessions/s".into()));
    assert_eq!(state.page, Page::MaskLab);
}

#[test]
fn settings_that_are_refused_stay_on_screen_with_the_reason() {
    let mut state = state();
    let mut form = state.bucket.settings.form.clone();
    form.run_prefix = "audit/".to_owned();
    send(&mut state, M::SetForm(Box::new(form.clone())));
    assert!(state.bucket.settings.is_changed());
    let effects = send(&mut state, M::SaveForm);
    assert_eq!(
        effects,
        [Effect::Bucket(B::SaveConfig(Box::new(form.clone())))]
    );
    event(
        &mut state,
        E::ConfigSaved(Err("run_prefix must end in {run_id}/".into())),
    );
    assert_eq!(state.bucket.settings.form, form);
    assert!(state.bucket.settings.problem.is_some());
    send(&mut state, M::RevertForm);
    assert!(!state.bucket.settings.is_changed() && state.bucket.settings.problem.is_none());
}
