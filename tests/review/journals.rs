//! Journals on a disk that is full, shared, or gone for a while.

use super::folder::{Script, cell, document, golden, who};
use fill_audit::audit::journal::{
    Journal, JournalError, JournalReader, PendingJournal, Sink, read_all,
};
use fill_audit::model::review::{Action, Event, EventId, Mark, ReviewState, Shape, journal};
use fill_audit::model::run::Run;
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

fn run() -> Run {
    Run::new(document(), Vec::new()).unwrap()
}

fn append(dir: &Path, event: &Event) {
    Journal::new(dir, &event.reviewer).append(event).unwrap();
}

#[test]
fn the_lines_of_a_journal_are_these() {
    let run = run();
    let mut script = Script::default();
    let q4 = cell(&run, "Q4_0_gs10");
    let q8 = cell(&run, "Q8_0_gs10");
    script.act("jane", Action::Seen { cell: q4.clone() });
    script.reject("jane", q4.clone(), &["hallucinated_object", "seam"]);
    script.act(
        "jane",
        Action::Note {
            cell: q4.clone(),
            text: "a \"ball\"\nnear the paw".to_owned(),
        },
    );
    let mark = Mark {
        shape: Shape::Box {
            x: 10.5,
            y: 20.0,
            width: 30.0,
            height: 4.25,
        },
        failure: fill_audit::model::review::FailureKey::new("residue").ok(),
        text: String::new(),
    };
    let drawn = script.act(
        "jane",
        Action::AddMark {
            cell: q4.clone(),
            mark,
        },
    );
    script.act(
        "jane",
        Action::RemoveMark {
            cell: q4,
            mark: drawn.id.clone(),
        },
    );
    script.pass("jane", q8.clone());
    let undo = Action::Undo {
        of: EventId::from_bits(6),
    };
    script.act("jane", undo);
    script.act(
        "jane",
        Action::Redo {
            of: EventId::from_bits(6),
        },
    );
    let plan = fill_audit::model::review::BlindPlan::new(
        &[q8.clone(), cell(&run, "Q4_0_gs4"), cell(&run, "Q8_0_gs4")],
        2,
        7,
    );
    let session = script
        .act(
            "jane",
            Action::BlindBegin {
                plan: plan.unwrap(),
            },
        )
        .id;
    let choice = fill_audit::model::review::Choice::Winner(1);
    script.act(
        "jane",
        Action::BlindVote {
            session: session.clone(),
            round: 0,
            choice,
        },
    );
    script.act("jane", Action::BlindReveal { session });
    script.act(
        "jane",
        Action::Approved {
            cell: q8,
            file: "phase1.toml".to_owned(),
            sha256: "0".repeat(64),
            overrides: vec![("gpu_not_production".to_owned(), "a trial".to_owned())],
        },
    );
    let dir = tempfile::tempdir().unwrap();
    for event in script.state.events() {
        append(dir.path(), event);
    }
    let text = std::fs::read_to_string(dir.path().join("review-jane.ron")).unwrap();
    golden("review-jane.ron", &text);
    let journals = read_all(dir.path()).unwrap();
    assert_eq!(journals.warnings, Vec::<String>::new());
    assert_eq!(ReviewState::replay(journals.events), script.state);
}

#[test]
fn an_append_starts_on_a_new_line_and_a_torn_line_stays() {
    let run = run();
    let dir = tempfile::tempdir().unwrap();
    let mut script = Script::default();
    let first = script.pass("jane", cell(&run, "Q4_0_gs4"));
    let second = script.pass("jane", cell(&run, "Q4_0_gs10"));
    append(dir.path(), &first);
    let path = dir.path().join("review-jane.ron");
    let torn = "(schema:1,id:\"0000";
    let before = std::fs::read_to_string(&path).unwrap() + torn;
    std::fs::write(&path, &before).unwrap();
    append(dir.path(), &second);
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(text.starts_with(&format!("{before}\n")), "{text}");
    let journals = read_all(dir.path()).unwrap();
    assert_eq!(journals.events, [first, second]);
    assert_eq!(journals.warnings.len(), 1);
    assert!(
        journals.warnings[0].contains("line 2: "),
        "{:?}",
        journals.warnings
    );
    assert!(
        journals.warnings[0].contains("review-jane.ron"),
        "{:?}",
        journals.warnings
    );
}

#[test]
fn two_windows_append_at_the_same_time_and_each_reads_the_others_lines() {
    let run = run();
    let dir = tempfile::tempdir().unwrap();
    let at = cell(&run, "Q4_0_gs4");
    let mut reader = JournalReader::new(dir.path());
    assert_eq!(
        reader.poll().unwrap().map(|journals| journals.events.len()),
        None
    );
    std::thread::scope(|scope| {
        for window in 0..4u64 {
            let (dir, at) = (dir.path(), &at);
            scope.spawn(move || {
                for n in 0..50u64 {
                    let id = EventId::from_bits(u128::from(window * 1000 + n));
                    let action = Action::Seen { cell: at.clone() };
                    let time = super::folder::at(n as i64);
                    append(dir, &Event::new(id, n + 1, time, who("jane"), action));
                }
            });
        }
    });
    let journals = reader.poll().unwrap().unwrap();
    assert_eq!((journals.events.len(), journals.warnings.len()), (200, 0));
    assert_eq!(reader.poll().unwrap(), None);
    let mut script = Script::default();
    append(dir.path(), &script.pass("max", at));
    assert_eq!(reader.poll().unwrap().unwrap().events.len(), 201);
    let text = std::fs::read_to_string(dir.path().join("review-jane.ron")).unwrap();
    assert_eq!(text.lines().filter(|line| line.is_empty()).count(), 0);
}

#[test]
fn a_journal_that_cannot_be_read_is_a_warning_and_the_others_count() {
    let run = run();
    let dir = tempfile::tempdir().unwrap();
    let mut script = Script::default();
    append(dir.path(), &script.pass("jane", cell(&run, "Q4_0_gs4")));
    std::fs::create_dir(dir.path().join("review-max.ron")).unwrap();
    let journals = read_all(dir.path()).unwrap();
    assert_eq!(journals.events.len(), 1);
    assert!(
        journals.warnings[0].contains("review-max.ron"),
        "{:?}",
        journals.warnings
    );
    assert!(read_all(&dir.path().join("gone")).is_err());
}

/// Fails until it is mended, then writes.
struct Failing {
    is_broken: Rc<Cell<bool>>,
    journal: Journal,
}

impl Sink for Failing {
    fn append(&mut self, event: &Event) -> Result<(), JournalError> {
        if self.is_broken.get() {
            let source = std::io::Error::from(std::io::ErrorKind::ReadOnlyFilesystem);
            return Err(JournalError::File {
                path: "review-jane.ron".to_owned(),
                source,
            });
        }
        self.journal.append(event)
    }
}

#[test]
fn what_cannot_be_written_waits_in_order_and_the_problem_stays() {
    let run = run();
    let dir = tempfile::tempdir().unwrap();
    let is_broken = Rc::new(Cell::new(true));
    let journal = Journal::new(dir.path(), &who("jane"));
    let mut pending = PendingJournal::new(Failing {
        is_broken: Rc::clone(&is_broken),
        journal,
    });
    let mut script = Script::default();
    assert!(!pending.push(script.pass("jane", cell(&run, "Q4_0_gs4"))));
    assert!(!pending.push(script.reject("jane", cell(&run, "Q4_0_gs10"), &[])));
    assert_eq!(pending.waiting().len(), 2);
    assert!(
        pending
            .problem()
            .unwrap()
            .to_string()
            .contains("kept in memory")
    );
    is_broken.set(false);
    assert!(pending.push(script.pass("jane", cell(&run, "Q8_0_gs4"))));
    assert!(pending.problem().is_none());
    assert_eq!(pending.waiting().len(), 0);
    let journals = read_all(dir.path()).unwrap();
    assert_eq!(
        journals.events,
        script.state.events().cloned().collect::<Vec<_>>()
    );
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_keeps_verdicts_until_there_is_room() {
    let run = run();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("review-jane.ron");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let mut pending = PendingJournal::new(Journal::new(dir.path(), &who("jane")));
    let mut script = Script::default();
    assert!(!pending.push(script.pass("jane", cell(&run, "Q4_0_gs4"))));
    let problem = pending.problem().unwrap().to_string();
    assert!(
        problem.contains("No space left") && problem.contains("review-jane.ron"),
        "{problem}"
    );
    std::fs::remove_file(&path).unwrap();
    assert!(pending.flush());
    assert_eq!(read_all(dir.path()).unwrap().events.len(), 1);
}

#[test]
fn a_vanished_folder_keeps_verdicts_until_it_is_back() {
    let run = run();
    let dir = tempfile::tempdir().unwrap();
    let (here, away) = (dir.path().join("run"), dir.path().join("away"));
    std::fs::create_dir(&here).unwrap();
    let mut pending = PendingJournal::new(Journal::new(&here, &who("jane")));
    let mut script = Script::default();
    assert!(pending.push(script.pass("jane", cell(&run, "Q4_0_gs4"))));
    std::fs::rename(&here, &away).unwrap();
    assert!(!pending.push(script.pass("jane", cell(&run, "Q4_0_gs10"))));
    assert!(!pending.push(script.pass("jane", cell(&run, "Q8_0_gs4"))));
    std::fs::rename(&away, &here).unwrap();
    assert!(pending.flush());
    let journals = read_all(&here).unwrap();
    assert_eq!(
        journals.events,
        script.state.events().cloned().collect::<Vec<_>>()
    );
}

#[cfg(unix)]
#[test]
fn a_read_only_folder_keeps_verdicts_until_it_may_be_written() {
    use std::os::unix::fs::PermissionsExt as _;
    let run = run();
    let dir = tempfile::tempdir().unwrap();
    let mode = |mode| {
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    };
    mode(0o555);
    if std::fs::write(dir.path().join("probe"), "").is_ok() {
        return as_nobody("journals::a_read_only_folder_keeps_verdicts_until_it_may_be_written");
    }
    let mut pending = PendingJournal::new(Journal::new(dir.path(), &who("jane")));
    let mut script = Script::default();
    assert!(!pending.push(script.pass("jane", cell(&run, "Q4_0_gs4"))));
    assert!(
        pending
            .problem()
            .unwrap()
            .to_string()
            .contains("ermission denied")
    );
    mode(0o755);
    assert!(pending.flush());
    assert_eq!(read_all(dir.path()).unwrap().events.len(), 1);
}

/// Runs one test again as a user to whom a read-only folder is read-only: the superuser may write everywhere.
#[cfg(unix)]
fn as_nobody(test: &str) {
    use std::os::unix::fs::PermissionsExt as _;
    use std::os::unix::process::CommandExt as _;
    const NOBODY: u32 = 65_534;
    // Where this program lies others may not look.
    let place = tempfile::tempdir().unwrap();
    let all = || std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(place.path(), all()).unwrap();
    let program = place.path().join("again");
    std::fs::copy(std::env::current_exe().unwrap(), &program).unwrap();
    std::fs::set_permissions(&program, all()).unwrap();
    let output = std::process::Command::new(&program)
        .args(["--exact", test])
        .current_dir("/")
        .uid(NOBODY)
        .gid(NOBODY)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("1 passed"), "{said}");
}

#[test]
fn an_event_that_breaks_a_rule_does_not_hold_back_the_next() {
    let run = run();
    let dir = tempfile::tempdir().unwrap();
    let mut pending = PendingJournal::new(Journal::new(dir.path(), &who("jane")));
    let mut script = Script::default();
    let long = "x".repeat(20_000);
    let bad = Action::Note {
        cell: cell(&run, "Q4_0_gs4"),
        text: long,
    };
    assert!(pending.push(script.act("jane", bad)));
    assert!(
        pending
            .problem()
            .unwrap()
            .to_string()
            .contains("16384 bytes")
    );
    assert!(pending.push(script.pass("jane", cell(&run, "Q4_0_gs4"))));
    assert!(pending.problem().is_none());
    assert_eq!(read_all(dir.path()).unwrap().events.len(), 1);
}

#[test]
fn merging_copies_of_a_folder_loses_and_repeats_nothing() {
    let run = run();
    let (one, two) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let mut script = Script::default();
    let shared = script.pass("jane", cell(&run, "Q4_0_gs4"));
    append(one.path(), &shared);
    append(two.path(), &shared);
    append(
        one.path(),
        &script.reject("jane", cell(&run, "Q4_0_gs4"), &[]),
    );
    append(two.path(), &script.pass("jane", cell(&run, "Q8_0_gs4")));
    let (ours, theirs) = (
        std::fs::read_to_string(one.path().join("review-jane.ron")).unwrap(),
        std::fs::read_to_string(two.path().join("review-jane.ron")).unwrap(),
    );
    // Through the store's merge of lines, either way round, and through events.
    for text in [
        fill_audit::storage::journal::merge(&ours, &theirs),
        fill_audit::storage::journal::merge(&theirs, &ours),
    ] {
        let parsed = journal::parse(text.as_bytes(), 1, "merged");
        assert_eq!((parsed.events.len(), parsed.warnings.len()), (3, 0));
        assert_eq!(ReviewState::replay(parsed.events), script.state);
    }
}
