//! Judging and approving as the window's state does it: message in, effects out, no window and no disk.

use super::folder::{at, cell, who, write};
use fill_audit::audit::approval;
use fill_audit::audit::journal::read_all;
use fill_audit::audit::run_folder::{self, Verification};
use fill_audit::model::approved::StagedApproval;
use fill_audit::model::ids::RunId;
use fill_audit::model::review::{Action, Event as ReviewEvent, UtcTime};
use fill_audit::model::run::{CellState, Run};
use fill_audit::state::approving::ApproveMsg;
use fill_audit::state::command::Command;
use fill_audit::state::judging::EventSource;
use fill_audit::state::settings::Settings;
use fill_audit::state::{AppState, Effect, Event, JudgeMsg, Msg, update};
use std::path::{Path, PathBuf};

/// A clock that stands at a second, and numbers in their order.
struct Fixed {
    second: i64,
    bits: u128,
}

impl EventSource for Fixed {
    fn now(&self) -> UtcTime {
        at(self.second)
    }

    fn fresh_bits(&mut self) -> u128 {
        self.bits += 1;
        self.bits
    }
}

fn opened(dir: &Path, run: Run, second: i64) -> AppState {
    let mut state = AppState::new(Settings {
        reviewer: "jane".to_owned(),
        ..Settings::default()
    });
    state.source = Box::new(Fixed {
        second,
        bits: 1 << 64,
    });
    update(&mut state, Msg::Open(dir.to_owned()));
    let result = Ok(Box::new(run));
    let dir = dir.to_owned();
    tell(&mut state, Event::RunOpened { dir, result });
    state
}

fn tell(state: &mut AppState, event: Event) -> Vec<Effect> {
    update(state, Msg::Event(event))
}

fn appended(effects: Vec<Effect>) -> Vec<ReviewEvent> {
    effects
        .into_iter()
        .filter_map(|effect| match effect {
            Effect::AppendEvents { events, .. } => Some(events),
            _ => None,
        })
        .flatten()
        .collect()
}

fn select(state: &mut AppState, name: &str) {
    let run = &state.run.as_ref().unwrap().run;
    let key = cell(run, name);
    update(state, Msg::Select(key));
}

/// How many verdicts are drawn as passed.
fn drawn(state: &AppState) -> usize {
    let view = state.run.as_ref().unwrap();
    view.judging.progress(&view.run).passed
}

fn folder() -> (tempfile::TempDir, PathBuf, Run) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("run");
    std::fs::create_dir(&path).unwrap();
    let run = write(&path);
    (dir, path, run)
}

#[test]
fn a_verdict_is_drawn_when_it_is_on_disk_and_not_before() {
    let (_dir, path, run) = folder();
    let mut state = opened(&path, run, 0);
    select(&mut state, "Q4_0_gs4");
    let events = appended(update(&mut state, Msg::Command(Command::Pass)));
    assert!(matches!(
        events.as_slice(),
        [event] if matches!(event.action, Action::Verdict { .. })
    ));
    // The next key goes on from it, but nothing of it is drawn.
    assert_eq!(drawn(&state), 0);
    let selected = state.run.as_ref().unwrap().selected.clone();
    assert_ne!(
        selected,
        Some(cell(&state.run.as_ref().unwrap().run, "Q4_0_gs4"))
    );
    tell(
        &mut state,
        Event::EventsWritten {
            dir: path,
            events,
            waiting: 0,
        },
    );
    assert_eq!(drawn(&state), 1);
}

#[test]
fn what_a_journal_cannot_hold_is_not_drawn_and_what_waits_is_counted_by_folder() {
    let (_dir, path, run) = folder();
    let mut state = opened(&path, run, 0);
    select(&mut state, "Q4_0_gs4");
    let events = appended(update(&mut state, Msg::Command(Command::Pass)));
    let refused = |events: Vec<ReviewEvent>, dir: &Path, waiting| Event::EventsNotWritten {
        dir: dir.to_owned(),
        events,
        problem: "it breaks a rule".to_owned(),
        waiting,
    };
    let event = refused(events.clone(), &path, 0);
    tell(&mut state, event);
    assert_eq!(
        drawn(&state),
        0,
        "it is lost, and not shown as if it were not"
    );
    assert!(!state.would_lose_verdicts());
    tell(&mut state, refused(events.clone(), &path, 1));
    assert_eq!(drawn(&state), 1, "it is kept, and may be drawn");
    assert!(state.would_lose_verdicts());
    // Another folder that is well again says nothing about this one.
    tell(
        &mut state,
        Event::EventsWritten {
            dir: PathBuf::from("elsewhere"),
            events: Vec::new(),
            waiting: 0,
        },
    );
    assert!(state.would_lose_verdicts());
    let said = |state: &AppState| {
        let toasts = state.toasts.iter();
        toasts.filter(|one| one.text.contains("in memory")).count()
    };
    assert_eq!(said(&state), 1);
    tell(
        &mut state,
        Event::EventsWritten {
            dir: path,
            events,
            waiting: 0,
        },
    );
    assert!(!state.would_lose_verdicts());
    assert_eq!(said(&state), 0);
}

#[test]
fn a_cell_without_a_picture_is_neither_judged_nor_marked_as_seen() {
    let (_dir, path, mut run) = folder();
    let key = cell(&run, "Q4_0_gs4");
    run.cells.insert(key.clone(), CellState::Missing);
    let mut state = opened(&path, run, 0);
    update(&mut state, Msg::Select(key.clone()));
    for command in [Command::Pass, Command::Reject, Command::RejectAs(1)] {
        assert!(appended(update(&mut state, Msg::Command(command))).is_empty());
    }
    let seen = Msg::Judge(JudgeMsg::Seen(key));
    assert!(appended(update(&mut state, seen)).is_empty());
}

/// Goes through the approval of `Q8_0_gs4` to what would be written.
fn staged(state: &mut AppState, path: &Path, settings: &Path) -> StagedApproval {
    select(state, "Q8_0_gs4");
    state.settings.phase1_path = settings.display().to_string();
    let effects = update(state, Msg::Command(Command::Approve));
    let Some((dir, key, target)) = effects.into_iter().find_map(|effect| match effect {
        Effect::ReadForApproval { dir, cell, path } => Some((dir, cell, path)),
        _ => None,
    }) else {
        panic!("nothing is read for the approval");
    };
    let run = run_folder::open(&dir, Verification::Full).unwrap();
    let picture = path.join(run.picture_file(&key));
    let read = Event::ApprovalRead {
        dir,
        image_sha256: Some(fill_audit::audit::hash::sha256_file(&picture).unwrap()),
        run: Box::new(run),
        cell: key,
        current: approval::read_current(&target).unwrap(),
        path: target,
    };
    tell(state, read);
    let note = ApproveMsg::Note("leaves continue".to_owned());
    update(state, Msg::Approve(note));
    let effects = update(state, Msg::Approve(ApproveMsg::Write));
    let written = effects.into_iter().find_map(|effect| match effect {
        Effect::WriteApproval { staged, .. } => Some(*staged),
        _ => None,
    });
    written.expect("nothing holds it back")
}

/// What the window would write for a run that jane has reviewed, at a second of the tests' clock.
pub fn bytes_of_the_window(path: &Path, settings: &Path, second: i64) -> String {
    let run = run_folder::open(path, Verification::Quick).unwrap();
    let mut state = opened(path, run, second);
    let journals = read_all(path).unwrap();
    // As the window had it: without what the command recorded since.
    let is_said = |event: &ReviewEvent| !matches!(event.action, Action::Approved { .. });
    tell(
        &mut state,
        Event::JournalsRead {
            dir: path.to_owned(),
            events: journals.events.into_iter().filter(is_said).collect(),
            warnings: Vec::new(),
        },
    );
    staged(&mut state, path, settings).text().to_owned()
}

#[test]
fn an_approval_of_one_run_is_recorded_there_even_if_another_is_open_by_then() {
    let (dir, path, run) = folder();
    let mut state = opened(&path, run.clone(), 0);
    let seen: Vec<_> = run.cells.keys().cloned().collect();
    for key in seen {
        let events = appended(update(&mut state, Msg::Judge(JudgeMsg::Seen(key))));
        tell(
            &mut state,
            Event::EventsWritten {
                dir: path.clone(),
                events,
                waiting: 0,
            },
        );
    }
    let settings = dir.path().join("phase1.toml");
    let staged = staged(&mut state, &path, &settings);
    // It can no longer be called back.
    update(&mut state, Msg::Approve(ApproveMsg::Cancel));
    assert!(state.run.as_ref().unwrap().approving.is_some());
    let mut other = run;
    other.run_id = RunId::new("other").unwrap();
    let elsewhere = dir.path().join("other");
    update(&mut state, Msg::Open(elsewhere.clone()));
    tell(
        &mut state,
        Event::RunOpened {
            dir: elsewhere,
            result: Ok(Box::new(other)),
        },
    );
    let effects = tell(
        &mut state,
        Event::ApprovalWritten {
            dir: path.clone(),
            path: settings.clone(),
            staged: Box::new(staged),
            result: Ok("written".to_owned()),
        },
    );
    let recorded = effects.into_iter().find_map(|effect| match effect {
        Effect::AppendEvents { dir, events } => Some((dir, events)),
        _ => None,
    });
    let (dir, events) = recorded.expect("it is recorded");
    assert_eq!(dir, path);
    let [event] = events.as_slice() else {
        panic!("one event, but {events:?}");
    };
    assert_eq!(event.reviewer, who("jane"));
    assert!(
        matches!(&event.action, Action::Approved { file, .. } if *file == settings.display().to_string())
    );
}
