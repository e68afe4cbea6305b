//! Replay, merging, undo and redo, filters and order.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use super::sample::{Script, cell, done_run, run, time, who};
use super::*;
use crate::model::cell::CellKey;
use crate::model::review::event::MAX_SEQ;
use proptest::prelude::*;
use std::collections::BTreeSet;

#[test]
fn a_verdict_replaces_the_one_before_and_clear_leaves_the_cell_seen() {
    let mut script = Script::default();
    script.reject("jane", "Q4_0_gs10", &["residue", "seam"]);
    script.pass("jane", "Q4_0_gs10");
    let said = script
        .state
        .review(&who("jane"), &cell("Q4_0_gs10"))
        .unwrap();
    assert_eq!(said.judgement, Some(Judgement::Pass));
    assert!(said.types.is_empty());
    assert_eq!(said.judged_at, Some(time(2)));
    script.verdict("jane", "Q4_0_gs10", Verdict::Clear);
    let said = script
        .state
        .review(&who("jane"), &cell("Q4_0_gs10"))
        .unwrap();
    assert_eq!(
        (said.judgement, said.seen, said.judged_at),
        (None, true, None)
    );
}

#[test]
fn undo_names_the_cell_to_bring_back_and_redo_does_too() {
    let mut script = Script::default();
    script.pass("jane", "Q4_0_gs4");
    script.reject("jane", "Q4_0_gs10", &[]);
    assert_eq!(script.undo("jane"), Some(cell("Q4_0_gs10")));
    assert_eq!(
        script.state.standing(None, &cell("Q4_0_gs10")),
        Standing::Unreviewed
    );
    assert_eq!(script.undo("jane"), Some(cell("Q4_0_gs4")));
    assert_eq!(script.state.next_undo(&who("jane")), None);
    assert_eq!(script.redo("jane"), Some(cell("Q4_0_gs4")));
    assert_eq!(script.redo("jane"), Some(cell("Q4_0_gs10")));
    assert_eq!(
        script.state.standing(None, &cell("Q4_0_gs10")),
        Standing::Rejected
    );
    assert_eq!(script.state.next_redo(&who("jane")), None);
}

#[test]
fn a_new_verdict_ends_what_could_be_redone() {
    let mut script = Script::default();
    script.pass("jane", "Q4_0_gs4");
    script.undo("jane");
    script.pass("jane", "Q4_0_gs10");
    assert_eq!(script.state.next_redo(&who("jane")), None);
    assert_eq!(
        script.state.standing(None, &cell("Q4_0_gs4")),
        Standing::Unreviewed
    );
}

#[test]
fn nobody_undoes_what_another_reviewer_said() {
    let mut script = Script::default();
    let id = script.pass("jane", "Q4_0_gs4");
    assert_eq!(script.state.next_undo(&who("max")), None);
    script.act("max", Action::Undo { of: id });
    assert_eq!(
        script.state.standing(None, &cell("Q4_0_gs4")),
        Standing::Passed
    );
    assert_eq!(script.state.ignored().len(), 1);
}

#[test]
fn notes_and_marks_are_undone_too() {
    let mut script = Script::default();
    let at = cell("Q8_0_gs4");
    let jane = who("jane");
    script.act(
        "jane",
        Action::Note {
            cell: at.clone(),
            text: "seam at the left".to_owned(),
        },
    );
    let shape = Shape::between((30.0, 8.0), (10.0, 20.0));
    let mark = Mark {
        shape,
        failure: None,
        text: String::new(),
    };
    let id = script.act(
        "jane",
        Action::AddMark {
            cell: at.clone(),
            mark: mark.clone(),
        },
    );
    assert_eq!(
        shape,
        Shape::Box {
            x: 10.0,
            y: 8.0,
            width: 20.0,
            height: 12.0
        }
    );
    script.act(
        "jane",
        Action::RemoveMark {
            cell: at.clone(),
            mark: id.clone(),
        },
    );
    assert!(script.state.review(&jane, &at).unwrap().marks.is_empty());
    assert_eq!(
        script.state.next_undo(&jane).unwrap().word,
        "removal of a mark"
    );
    script.undo("jane");
    assert_eq!(
        script.state.review(&jane, &at).unwrap().marks,
        [PlacedMark { id, mark }]
    );
    script.undo("jane");
    script.undo("jane");
    assert_eq!(script.state.review(&jane, &at), None);
    script.redo("jane");
    assert_eq!(
        script.state.review(&jane, &at).unwrap().note,
        "seam at the left"
    );
}

#[test]
fn seen_and_approved_are_no_part_of_undo() {
    let mut script = Script::default();
    script.act(
        "jane",
        Action::Seen {
            cell: cell("Q4_0_gs4"),
        },
    );
    let approved = Action::Approved {
        cell: cell("Q4_0_gs4"),
        file: "phase1.toml".to_owned(),
        sha256: super::sample::sha('1'),
        overrides: Vec::new(),
    };
    script.act("jane", approved);
    assert_eq!(script.state.next_undo(&who("jane")), None);
    assert_eq!(script.state.approvals().len(), 1);
}

#[test]
fn reviewers_stand_side_by_side_and_disagreement_shows() {
    let mut script = Script::default();
    script.pass("jane", "Q4_0_gs4");
    script.reject("max", "Q4_0_gs4", &["residue"]);
    script.pass("max", "Q4_0_gs10");
    let names: Vec<&str> = script
        .state
        .side_by_side(&cell("Q4_0_gs4"))
        .iter()
        .map(|(reviewer, _)| reviewer.as_str())
        .collect();
    assert_eq!(names, ["jane", "max"]);
    assert!(script.state.is_disputed(&cell("Q4_0_gs4")));
    assert!(!script.state.is_disputed(&cell("Q4_0_gs10")));
    assert_eq!(
        script.state.standing(Some(&who("jane")), &cell("Q4_0_gs4")),
        Standing::Passed
    );
    let disputed = select::select(
        &done_run(),
        &script.state,
        &who("jane"),
        &[Filter::Disputed],
        SortBy::Key,
    );
    assert_eq!(disputed, [cell("Q4_0_gs4")]);
}

#[test]
fn an_event_that_comes_late_is_put_where_it_belongs() {
    let mut script = Script::default();
    script.pass("jane", "Q4_0_gs4");
    script.reject("jane", "Q4_0_gs4", &[]);
    let mut late_first = ReviewState::default();
    let events: Vec<Event> = script.state.events().cloned().collect();
    for event in events.into_iter().rev() {
        late_first.apply(event);
    }
    assert_eq!(late_first, script.state);
    assert_eq!(
        late_first.standing(None, &cell("Q4_0_gs4")),
        Standing::Rejected
    );
}

#[test]
fn a_wrong_clock_does_not_turn_an_answer_round() {
    let mut script = Script::default();
    script.pass("jane", "Q4_0_gs4");
    let behind = "2020-01-01T00:00:00Z".parse().unwrap();
    let event = script.state.next_event(
        EventId::from_bits(99),
        behind,
        &who("jane"),
        Action::Verdict {
            cell: cell("Q4_0_gs4"),
            verdict: Verdict::Clear,
        },
    );
    script.state.apply(event);
    assert_eq!(
        script.state.standing(None, &cell("Q4_0_gs4")),
        Standing::Unreviewed
    );
}

#[test]
fn one_id_with_two_contents_ends_the_same_in_either_order() {
    let pass = Action::Verdict {
        cell: cell("Q4_0_gs4"),
        verdict: Verdict::Pass(BTreeSet::new()),
    };
    let clear = Action::Verdict {
        cell: cell("Q4_0_gs4"),
        verdict: Verdict::Clear,
    };
    let one = Event::new(EventId::from_bits(1), 1, time(1), who("jane"), pass);
    let two = Event::new(EventId::from_bits(1), 2, time(2), who("jane"), clear);
    let forth = ReviewState::replay([one.clone(), two.clone()]);
    let back = ReviewState::replay([two, one]);
    assert_eq!(forth, back);
    assert_eq!(forth.ignored().len(), 1);
}

#[test]
fn the_next_unreviewed_follows_the_displayed_order_and_stays_put_at_the_end() {
    let mut run = done_run();
    run.cells
        .insert(cell("Q5_K_S_gs4"), crate::model::run::CellState::Missing);
    let jane = who("jane");
    let mut script = Script::default();
    script.pass("jane", "Q4_0_gs10");
    let shown: Vec<CellKey> = [
        "Q8_0_gs4",
        "Q4_0_gs4",
        "Q4_0_gs10",
        "Q5_K_S_gs4",
        "Q4_0_gs30",
    ]
    .map(cell)
    .to_vec();
    let next = |from: &str| next_of(&shown, Some(&cell(from)), &run, &script.state, &jane);
    assert_eq!(next("Q8_0_gs4"), Some(cell("Q4_0_gs4")));
    // Passed ones and those without a picture are stepped over.
    assert_eq!(next("Q4_0_gs4"), Some(cell("Q4_0_gs30")));
    assert_eq!(next("Q4_0_gs30"), None);
    assert_eq!(
        next_of(&shown, None, &run, &script.state, &jane),
        Some(cell("Q8_0_gs4"))
    );
    let around = select::next_unreviewed_around(
        &shown,
        Some(&cell("Q4_0_gs30")),
        &run,
        &script.state,
        &jane,
    );
    assert_eq!(around, Some(&cell("Q8_0_gs4")));
    let only = [cell("Q4_0_gs30")];
    assert_eq!(
        select::next_unreviewed_around(&only, Some(&only[0]), &run, &script.state, &jane),
        None
    );
}

fn next_of(
    shown: &[CellKey],
    from: Option<&CellKey>,
    run: &crate::model::run::Run,
    state: &ReviewState,
    who: &crate::model::ids::ReviewerId,
) -> Option<CellKey> {
    select::next_unreviewed(shown, from, run, state, who).cloned()
}

#[test]
fn filters_hold_together_and_times_sort() {
    let run = done_run();
    let jane = who("jane");
    let mut script = Script::default();
    script.pass("jane", "Q4_0_gs4");
    script.reject("jane", "Q4_0_gs10", &["residue"]);
    script.reject("jane", "Q8_0_gs10", &["colour_mismatch"]);
    let chosen = |filters: &[Filter], by| select::select(&run, &script.state, &jane, filters, by);
    assert_eq!(chosen(&[Filter::Passed], SortBy::Key), [cell("Q4_0_gs4")]);
    assert_eq!(
        chosen(&[Filter::Failed], SortBy::Key),
        [cell("Q4_0_gs10"), cell("Q8_0_gs10")]
    );
    let residue = FailureKey::new("residue").unwrap();
    assert_eq!(
        chosen(&[Filter::FailedBy(residue)], SortBy::Key),
        [cell("Q4_0_gs10")]
    );
    assert_eq!(chosen(&[Filter::Unreviewed], SortBy::Key).len(), 6);
    // 40.5 and 41.5 s are within 41.5 s.
    let fast = Filter::FastEnough { wall_secs: 41.5 };
    assert_eq!(
        chosen(std::slice::from_ref(&fast), SortBy::Key),
        [cell("Q4_0_gs4"), cell("Q4_0_gs10")]
    );
    assert_eq!(
        chosen(&[fast, Filter::Failed], SortBy::Key),
        [cell("Q4_0_gs10")]
    );
    assert_eq!(
        chosen(&[], SortBy::WallTime).first(),
        Some(&cell("Q4_0_gs4"))
    );
}

#[test]
fn the_fastest_come_first_and_unknown_times_last() {
    let mut run = run();
    for (name, secs) in [("Q8_0_gs30", 3.0), ("Q4_0_gs30", 9.0), ("Q5_K_S_gs10", 5.0)] {
        run.cells
            .insert(cell(name), sample::done(&cell(name), secs));
    }
    let sorted = select::select(
        &run,
        &ReviewState::default(),
        &who("jane"),
        &[],
        SortBy::WallTime,
    );
    assert_eq!(
        sorted[..3],
        [cell("Q8_0_gs30"), cell("Q5_K_S_gs10"), cell("Q4_0_gs30")]
    );
    assert_eq!(sorted.len(), 9);
}

#[test]
fn progress_counts_pictures_only() {
    let mut run = done_run();
    run.cells
        .insert(cell("Q8_0_gs30"), crate::model::run::CellState::Missing);
    let mut script = Script::default();
    script.act(
        "jane",
        Action::Seen {
            cell: cell("Q4_0_gs4"),
        },
    );
    script.pass("jane", "Q4_0_gs10");
    script.reject("jane", "Q4_0_gs30", &[]);
    script.pass("max", "Q8_0_gs4");
    let progress = Progress::of(&run, &script.state, &who("jane"));
    assert_eq!(
        progress,
        Progress {
            seen: 3,
            judged: 2,
            passed: 1,
            rejected: 1,
            total: 8,
            planned: 9
        }
    );
    assert_eq!(progress.label(), "3 of 8 seen");
}

#[test]
fn a_line_reads_back_and_an_edited_one_is_refused_with_its_line() {
    let mut script = Script::default();
    script.act(
        "jane",
        Action::Note {
            cell: cell("Q4_0_gs4"),
            text: "two\nlines \"and\" ünïcode \u{2028}".to_owned(),
        },
    );
    let event = script.state.events().next().unwrap().clone();
    let line = journal::to_line(&event, "review-jane.ron").unwrap();
    assert!(!line.contains('\n'), "{line}");
    let text = format!(
        "{line}\n(schema:1,id:\"torn\n\n{}\nnot RON\n{line}",
        line.replace("schema:1", "schema:7")
    );
    let parsed = journal::parse(text.as_bytes(), 1, "review-jane.ron");
    assert_eq!(parsed.events, [event.clone(), event]);
    let lines: Vec<usize> = parsed.warnings.iter().map(|warning| warning.line).collect();
    assert_eq!(lines, [2, 4, 5]);
    let newer = parsed.warnings[1].to_string();
    assert!(
        newer.contains("schema 7 is newer") && newer.contains("review-jane.ron"),
        "{newer}"
    );
}

#[test]
fn a_hostile_counter_or_shape_is_refused() {
    let mark = |x| Action::AddMark {
        cell: cell("Q4_0_gs4"),
        mark: Mark {
            shape: Shape::Point { x, y: 0.0 },
            failure: None,
            text: String::new(),
        },
    };
    let event = |seq, action| Event::new(EventId::from_bits(1), seq, time(0), who("jane"), action);
    assert!(event(1, mark(5.0)).check().is_ok());
    assert!(event(1, mark(f32::NAN)).check().is_err());
    assert!(event(0, mark(5.0)).check().is_err());
    assert!(event(MAX_SEQ + 1, mark(5.0)).check().is_err());
    assert!(journal::to_line(&event(1, mark(f32::INFINITY)), "x").is_err());
}

#[test]
fn journals_are_named_after_their_reviewer() {
    assert_eq!(journal::file_name(&who("jane")), "review-jane.ron");
    assert_eq!(journal::reviewer_of("review-jane.ron"), Some(who("jane")));
    for other in [
        "review-.ron",
        "review-a b.ron",
        "run.ron",
        "review-jane.ron.bak",
    ] {
        assert_eq!(journal::reviewer_of(other), None, "{other}");
    }
}

/// What a random script may do; numbers are taken modulo what there is.
#[derive(Debug, Clone)]
enum Step {
    Seen(usize),
    Verdict(usize, usize),
    Note(usize, String),
    Mark(usize),
    Unmark(usize, usize),
    Begin,
    Vote(usize, usize, usize),
    Reveal(usize),
    Undo,
    Redo,
    Foreign(usize),
}

fn steps() -> impl Strategy<Value = Vec<(bool, Step)>> {
    let n = 0usize..12;
    let step = prop_oneof![
        n.clone().prop_map(Step::Seen),
        (n.clone(), 0usize..4).prop_map(|(c, v)| Step::Verdict(c, v)),
        (n.clone(), ".{0,6}").prop_map(|(c, t)| Step::Note(c, t)),
        n.clone().prop_map(Step::Mark),
        (n.clone(), n.clone()).prop_map(|(c, m)| Step::Unmark(c, m)),
        Just(Step::Begin),
        (n.clone(), 0usize..8, 0usize..5).prop_map(|(s, r, c)| Step::Vote(s, r, c)),
        n.clone().prop_map(Step::Reveal),
        Just(Step::Undo),
        Just(Step::Undo),
        Just(Step::Redo),
        n.prop_map(Step::Foreign),
    ];
    proptest::collection::vec((any::<bool>(), step), 0..40)
}

/// Makes a script's event as a window that knows `state` would; `None` where there is nothing to do.
fn action_of(state: &ReviewState, reviewer: &str, step: &Step) -> Option<Action> {
    let cells: Vec<CellKey> = run().cells.into_keys().collect();
    let at = |n: &usize| cells[n % cells.len()].clone();
    let ids: Vec<EventId> = state.events().map(|event| event.id.clone()).collect();
    let id = |n: &usize| (!ids.is_empty()).then(|| ids[n % ids.len()].clone());
    let sessions: Vec<EventId> = state
        .blind_sessions()
        .iter()
        .map(|session| session.id.clone())
        .collect();
    let session = |n: &usize| (!sessions.is_empty()).then(|| sessions[n % sessions.len()].clone());
    Some(match step {
        Step::Seen(n) => Action::Seen { cell: at(n) },
        Step::Verdict(n, which) => Action::Verdict {
            cell: at(n),
            verdict: match which {
                0 => Verdict::Pass(BTreeSet::new()),
                1 => Verdict::Reject(BTreeSet::new()),
                2 => Verdict::Reject([FailureKey::new("residue").unwrap()].into()),
                _ => Verdict::Clear,
            },
        },
        Step::Note(n, text) => Action::Note {
            cell: at(n),
            text: text.clone(),
        },
        Step::Mark(n) => Action::AddMark {
            cell: at(n),
            mark: Mark {
                shape: Shape::Point {
                    x: *n as f32 / 3.0,
                    y: 1.0,
                },
                failure: None,
                text: String::new(),
            },
        },
        Step::Unmark(n, m) => Action::RemoveMark {
            cell: at(n),
            mark: id(m)?,
        },
        Step::Begin => Action::BlindBegin {
            plan: BlindPlan::new(&cells[..4], 2, 7).unwrap(),
        },
        Step::Vote(n, round, choice) => Action::BlindVote {
            session: session(n)?,
            round: *round,
            choice: match choice {
                0 => Choice::Tie,
                1 => Choice::AllBad,
                n => Choice::Winner(n - 2),
            },
        },
        Step::Reveal(n) => Action::BlindReveal {
            session: session(n)?,
        },
        Step::Undo => state.next_undo(&who(reviewer))?.action,
        Step::Redo => state.next_redo(&who(reviewer))?.action,
        Step::Foreign(n) => Action::Undo { of: id(n)? },
    })
}

fn name(is_jane: bool) -> &'static str {
    if is_jane { "jane" } else { "max" }
}

/// One window's events, which may know only part of what another does.
fn perform(state: &mut ReviewState, script: &[(bool, Step)], first_id: u128) -> Vec<Event> {
    let mut events = Vec::new();
    for (n, (is_jane, step)) in script.iter().enumerate() {
        let reviewer = name(*is_jane);
        let Some(action) = action_of(state, reviewer, step) else {
            continue;
        };
        let id = EventId::from_bits(first_id + n as u128);
        let event = state.next_event(id, time(n as u64), &who(reviewer), action);
        state.apply(event.clone());
        events.push(event);
    }
    events
}

proptest! {
    #[test]
    fn replay_equals_applying_one_by_one(script in steps()) {
        let mut state = ReviewState::default();
        let events = perform(&mut state, &script, 1);
        prop_assert_eq!(&ReviewState::replay(events.clone()), &state);
        // And through the file.
        let text: String = events
            .iter()
            .map(|event| journal::to_line(event, "x").unwrap() + "\n")
            .collect();
        let parsed = journal::parse(text.as_bytes(), 1, "x");
        prop_assert!(parsed.warnings.is_empty(), "{:?}", parsed.warnings);
        prop_assert_eq!(ReviewState::replay(parsed.events), state);
    }

    #[test]
    fn undo_then_redo_is_the_identity(script in steps()) {
        let mut state = ReviewState::default();
        perform(&mut state, &script, 1);
        for reviewer in ["jane", "max"] {
            let before = ReviewState::replay(state.events().cloned());
            let mut depth = 0;
            while let Some(step) = state.next_undo(&who(reviewer)) {
                depth += 1;
                let id = EventId::from_bits(10_000 + state.events().count() as u128);
                let event = state.next_event(id, time(99), &who(reviewer), step.action);
                state.apply(event);
            }
            for _ in 0..depth {
                let step = state.next_redo(&who(reviewer)).unwrap();
                let id = EventId::from_bits(10_000 + state.events().count() as u128);
                let event = state.next_event(id, time(99), &who(reviewer), step.action);
                state.apply(event);
            }
            prop_assert!(state.says_the_same_as(&before), "{:?}", script);
        }
    }

    #[test]
    fn interleaved_journals_merge_to_the_same_state_in_either_order(
        common in steps(), left in steps(), right in steps(),
    ) {
        let mut base = ReviewState::default();
        let common = perform(&mut base, &common, 1);
        let mut one = base.clone();
        let left = perform(&mut one, &left, 1_000);
        let mut two = base;
        let right = perform(&mut two, &right, 2_000);
        one.merge(right.clone());
        two.merge(left.clone());
        prop_assert_eq!(&one, &two);
        let mut third = ReviewState::replay(right);
        for event in left.into_iter().rev().chain(common) {
            third.apply(event);
        }
        prop_assert_eq!(third, one);
    }

    #[test]
    fn no_bytes_make_the_journal_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        let parsed = journal::parse(&bytes, 1, "x");
        prop_assert!(parsed.events.is_empty());
    }

    #[test]
    fn a_damaged_line_never_takes_its_neighbours_along(
        at in any::<proptest::sample::Index>(), byte in any::<u8>(), cut in any::<bool>(),
    ) {
        let mut script = Script::default();
        script.reject("jane", "Q4_0_gs4", &["residue"]);
        script.act("jane", Action::BlindBegin {
            plan: BlindPlan::new(&[cell("Q4_0_gs4"), cell("Q8_0_gs4")], 2, 3).unwrap(),
        });
        script.pass("jane", "Q8_0_gs4");
        let lines: Vec<String> =
            script.state.events().map(|event| journal::to_line(event, "x").unwrap()).collect();
        let mut middle = lines[1].clone().into_bytes();
        let at = at.index(middle.len());
        if cut { middle.truncate(at) } else { middle[at] = byte }
        prop_assume!(!middle.contains(&b'\n'));
        let bytes = [lines[0].as_bytes(), b"\n", &middle, b"\n", lines[2].as_bytes()].concat();
        let parsed = journal::parse(&bytes, 1, "x");
        let events: Vec<&Event> = script.state.events().collect();
        prop_assert_eq!(parsed.events.first(), Some(events[0]));
        prop_assert_eq!(parsed.events.last(), Some(events[2]));
    }
}
