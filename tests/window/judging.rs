//! Verdicts by keys, undo, notes, filters, blind comparison.

use super::harness::{Desk, keep_picture, selected, step_until, view};
use eframe::egui::{Event, Key, Modifiers, PointerButton, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use fill_audit::app::FillAuditApp;
use fill_audit::model::review::blind::Choice;
use fill_audit::model::review::event::{Judgement, Shape};
use fill_audit::model::review::select::SortBy;
use fill_audit::state::judging::MarksShown;
use fill_audit::state::{JudgeMsg, Msg};

/// Presses a key and steps until what it says is on disk and drawn.
fn say(harness: &mut Harness<'static, FillAuditApp>, desk: &Desk, key: Key) {
    let before = desk.journal().lines().count();
    harness.key_press(key);
    step_until(harness, "the journal has grown", |_| {
        desk.journal().lines().count() > before
    });
    step_until(harness, "what is on disk is drawn", |harness| {
        view(harness).judging.review.events().count() >= desk.journal().lines().count()
    });
    harness.run_steps(2);
}

#[test]
fn pass_and_reject_go_on_to_the_next_unreviewed_cell() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    assert_eq!(selected(&harness), "Q4_0_gs10");
    say(&mut harness, &desk, Key::P);
    assert_eq!(selected(&harness), "Q4_0_gs20");
    step_until(&mut harness, "the verdict is drawn", |harness| {
        harness
            .query_by_label_contains("Q4_0_gs10, done, baseline, passed")
            .is_some()
    });
    say(&mut harness, &desk, Key::Num2);
    assert_eq!(selected(&harness), "Q4_0_gs30");
    step_until(&mut harness, "the reject is drawn", |harness| {
        harness
            .query_by_label_contains("Q4_0_gs20, done, rejected: colour mismatch")
            .is_some()
    });
}

#[test]
fn keys_pressed_at_once_judge_one_cell_each() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    for _ in 0..3 {
        harness.key_press(Key::P);
    }
    step_until(&mut harness, "three verdicts are drawn", |harness| {
        view(harness).judging.progress(&view(harness).run).passed == 3
    });
    assert_eq!(selected(&harness), "Q5_K_S_gs2");
}

#[test]
fn undo_brings_the_cell_back_on_screen() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    say(&mut harness, &desk, Key::X);
    assert_eq!(selected(&harness), "Q4_0_gs20");
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    step_until(&mut harness, "the verdict is taken back", |harness| {
        view(harness).judging.progress(&view(harness).run).rejected == 0
    });
    assert_eq!(selected(&harness), "Q4_0_gs10");
    harness.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    step_until(&mut harness, "the verdict is back", |harness| {
        view(harness).judging.progress(&view(harness).run).rejected == 1
    });
}

#[test]
fn a_verdict_survives_the_window() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    say(&mut harness, &desk, Key::X);
    drop(harness);
    let mut harness = desk.plain();
    step_until(&mut harness, "the journal is read", |harness| {
        harness
            .query_by_label_contains("Q4_0_gs10, done, baseline, rejected")
            .is_some()
    });
}

#[test]
fn letters_in_a_note_are_no_commands() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    let before = selected(&harness);
    harness.get_by_label("Note").focus();
    harness.run_steps(2);
    harness.get_by_label("Note").type_text("px 1 n");
    harness.key_press(Key::P);
    harness.run_steps(2);
    assert_eq!(selected(&harness), before);
    assert_eq!(
        view(&harness).judging.progress(&view(&harness).run).passed,
        0
    );
    harness.get_by_label("Q8_0_gs2, done").click();
    step_until(&mut harness, "the note is on disk", |_| {
        desk.journal().contains("px 1 n")
    });
}

#[test]
fn a_filter_leaves_out_what_it_does_not_admit() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    say(&mut harness, &desk, Key::P);
    harness.get_by_label("Filter").click();
    harness.run_steps(3);
    harness.get_by_label("Passed").click();
    step_until(&mut harness, "only the passed cell is left", |harness| {
        view(harness).grid.order().len() == 1
    });
}

#[test]
fn a_blind_comparison_hides_names_until_every_round_has_a_vote() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    for _ in 0..3 {
        say(&mut harness, &desk, Key::P);
    }
    harness.key_press(Key::B);
    harness.run_steps(3);
    assert!(view(&harness).judging.blind.is_some());
    assert!(harness.query_by_label("picture 1").is_some());
    for hidden in ["Q4_0", "gs20", "44.", "45."] {
        let shown: Vec<_> = harness.query_all_by_label_contains(hidden).collect();
        assert!(shown.is_empty(), "{hidden} is shown");
    }
    let rounds = view(&harness)
        .judging
        .blind
        .as_ref()
        .map_or(0, |blind| blind.plan.rounds.len());
    assert!(rounds >= 4, "three pairs and a repeated one, but {rounds}");
    for _ in 0..rounds {
        say(&mut harness, &desk, Key::Num1);
    }
    harness.key_press(Key::Enter);
    step_until(&mut harness, "the result is shown", |harness| {
        harness.query_by_label("Q4_0_gs10").is_some()
    });
}

#[test]
fn a_folder_that_cannot_be_written_keeps_verdicts_and_says_so() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    let moved = desk.folder.path().join("away");
    std::fs::rename(&desk.run, &moved).expect("moved");
    harness.key_press(Key::X);
    step_until(&mut harness, "the message stays", |harness| {
        harness
            .query_by_label_contains("verdicts are kept in memory")
            .is_some()
    });
    assert!(view(&harness).judging.unwritten > 0);
    std::fs::rename(&moved, &desk.run).expect("moved back");
    step_until(&mut harness, "the verdict is on disk", |_| {
        desk.journal().contains("Reject")
    });
    step_until(&mut harness, "the message is gone", |harness| {
        harness
            .query_by_label_contains("verdicts are kept in memory")
            .is_none()
    });
}

#[test]
fn pictures_of_judging() {
    let desk = Desk::new();
    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    for key in [Key::Num1, Key::P, Key::P, Key::Num3, Key::P] {
        say(&mut harness, &desk, key);
    }
    super::harness::settle(&mut harness);
    keep_picture(&mut harness, "judging_1280");
    harness.key_press(Key::B);
    harness.run_steps(3);
    super::harness::settle(&mut harness);
    keep_picture(&mut harness, "blind_1280");
}

#[test]
fn every_review_key_does_what_the_table_says() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    let standing = |harness: &Harness<'static, FillAuditApp>, name: &str| {
        let view = view(harness);
        let key = view
            .run
            .cells
            .keys()
            .find(|key| view.run.cell_name(key) == name)
            .cloned();
        let said = key.and_then(|key| {
            view.judging
                .review
                .review(&view.judging.reviewer, &key)
                .cloned()
        });
        said.map(|said| (said.judgement, said.types.len()))
    };
    // A seam is noted and passes; Shift adds a type and stays; clear stays; N goes to what is open.
    say(&mut harness, &desk, Key::Num5);
    assert_eq!(
        standing(&harness, "Q4_0_gs10"),
        Some((Some(Judgement::Pass), 1))
    );
    assert_eq!(selected(&harness), "Q4_0_gs20");
    say(&mut harness, &desk, Key::Num4);
    harness.key_press(Key::ArrowLeft);
    harness.run_steps(2);
    assert_eq!(selected(&harness), "Q4_0_gs20");
    harness.key_press_modifiers(Modifiers::SHIFT, Key::Num2);
    step_until(&mut harness, "two types are named", |harness| {
        standing(harness, "Q4_0_gs20") == Some((Some(Judgement::Reject), 2))
    });
    assert_eq!(selected(&harness), "Q4_0_gs20");
    say(&mut harness, &desk, Key::U);
    assert_eq!(standing(&harness, "Q4_0_gs20"), Some((None, 0)));
    assert_eq!(selected(&harness), "Q4_0_gs20");
    harness.key_press(Key::N);
    harness.run_steps(2);
    assert_eq!(selected(&harness), "Q4_0_gs30");
}

#[test]
fn cells_are_listed_by_time_and_marks_are_shown_in_every_cell_on_demand() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    harness
        .state_mut()
        .send(Msg::Judge(JudgeMsg::SetSort(SortBy::WallTime)));
    harness.run_steps(3);
    let order = view(&harness).grid.order();
    let secs = |harness: &Harness<'static, FillAuditApp>| -> Vec<f64> {
        let run = &view(harness).run;
        order
            .iter()
            .filter_map(|key| run.cells.get(key)?.timing()?.wall_secs)
            .collect()
    };
    assert_eq!(secs(&harness).len(), 15);
    assert!(secs(&harness).is_sorted());
    harness
        .state_mut()
        .send(Msg::Judge(JudgeMsg::ShowMarks(MarksShown::OfSelected)));
    harness.run_steps(3);
    assert!(
        harness
            .query_by_label("boxes and points: of this cell in every cell")
            .is_some()
    );
}

#[test]
fn a_tie_and_all_bad_are_votes_by_key() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    for _ in 0..3 {
        say(&mut harness, &desk, Key::P);
    }
    harness.key_press(Key::B);
    harness.run_steps(3);
    say(&mut harness, &desk, Key::Num0);
    say(&mut harness, &desk, Key::Minus);
    let votes: Vec<_> = view(&harness)
        .judging
        .review
        .blind_sessions()
        .into_iter()
        .flat_map(|session| session.votes.values().copied())
        .collect();
    assert_eq!(votes, [Choice::Tie, Choice::AllBad]);
}

#[test]
fn shift_and_drag_draws_a_box_from_where_the_button_went_down() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    let cell = harness.get_by_label_contains("Q4_0_gs20, done").rect();
    let from = cell.center() - vec2(20.0, 10.0);
    let to = from + vec2(30.0, 20.0);
    let button = |pos, pressed| Event::PointerButton {
        pos,
        button: PointerButton::Primary,
        pressed,
        modifiers: Modifiers::SHIFT,
    };
    harness.event(Event::ModifiersChanged(Modifiers::SHIFT));
    for event in [
        Event::PointerMoved(from),
        button(from, true),
        Event::PointerMoved(from + vec2(10.0, 8.0)),
        Event::PointerMoved(to),
        button(to, false),
    ] {
        harness.event(event);
        harness.run_steps(1);
    }
    step_until(&mut harness, "the box is on disk", |_| {
        desk.journal().contains("AddMark")
    });
    let journal = desk.journal();
    assert_eq!(
        selected(&harness),
        "Q4_0_gs20",
        "what is marked is selected"
    );
    step_until(&mut harness, "the box is drawn", |harness| {
        let view = view(harness);
        view.run.cells.keys().any(|key| {
            let said = view.judging.review.review(&view.judging.reviewer, key);
            said.is_some_and(|said| {
                said.marks.iter().any(|placed| match placed.mark.shape {
                    Shape::Box { width, height, .. } => {
                        assert!((width / height - 1.5).abs() < 0.1, "{journal}");
                        true
                    }
                    Shape::Point { .. } => panic!("a point and not a box: {journal}"),
                })
            })
        })
    });
}
