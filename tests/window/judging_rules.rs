//! What judging must not do: lose a typed note, judge what is not shown, speak for somebody else, approve on
//! what is no longer so.

use super::harness::{Desk, selected, settle, step_until, view};
use super::lab_runs::own_run;
use eframe::egui::{Key, Modifiers, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use fill_audit::app::{FillAuditApp, Services};
use fill_audit::model::approved::ReasonCode;
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::model::review::select::Filter;
use fill_audit::state::approving::ApproveMsg;
use fill_audit::state::command::Command;
use fill_audit::state::{Event, JudgeMsg, Msg, Page};

type Window = Harness<'static, FillAuditApp>;

fn opened_by(desk: &Desk, reviewer: &str) -> Window {
    let services = Services {
        reviewer: Some(reviewer.to_owned()),
        ..desk.services()
    };
    let run = desk.run.clone();
    let mut harness = Harness::builder()
        .with_size(vec2(1280.0, 800.0))
        .build_eframe(|cc| FillAuditApp::new(cc, Some(run), services));
    settle(&mut harness);
    harness
}

fn journal_of(desk: &Desk, reviewer: &str) -> String {
    std::fs::read_to_string(desk.run.join(format!("review-{reviewer}.ron"))).unwrap_or_default()
}

fn press(harness: &mut Window, desk: &Desk, key: Key) {
    let before = desk.journal().lines().count();
    harness.key_press(key);
    step_until(harness, "the journal has grown", |_| {
        desk.journal().lines().count() > before
    });
    harness.run_steps(2);
}

fn type_note(harness: &mut Window, text: &str) {
    harness.get_by_label("Note").focus();
    harness.run_steps(2);
    harness.get_by_label("Note").type_text(text);
    harness.run_steps(2);
}

fn has_message(harness: &Window, part: &str) -> bool {
    let toasts = &harness.state().state().toasts;
    toasts.iter().any(|toast| toast.text.contains(part))
}

#[test]
fn a_note_is_kept_after_a_pause_in_typing() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    type_note(&mut harness, "a shadow by the paw");
    assert!(!desk.journal().contains("shadow"), "not at every key");
    step_until(&mut harness, "the note is in the journal", |_| {
        desk.journal().contains("a shadow by the paw")
    });
}

#[test]
fn a_note_is_kept_when_its_page_or_the_program_is_left() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    type_note(&mut harness, "left");
    harness
        .state_mut()
        .send(Msg::Command(Command::GoTo(Page::Settings)));
    harness.run_steps(3);
    step_until(&mut harness, "the note is in the journal", |_| {
        desk.journal().contains("\"left\"")
    });
    harness
        .state_mut()
        .send(Msg::Command(Command::GoTo(Page::Run)));
    harness.run_steps(3);
    type_note(&mut harness, " and quit");
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Q);
    harness.run_steps(2);
    drop(harness);
    assert!(
        desk.journal().contains("left and quit"),
        "{}",
        desk.journal()
    );
}

#[test]
fn a_cell_without_a_picture_cannot_be_judged() {
    let desk = Desk::new();
    std::fs::remove_file(desk.run.join("Q4_0_gs10.png")).expect("removed");
    let mut harness = desk.plain();
    let key = view(&harness)
        .run
        .cells
        .iter()
        .find(|(_, state)| state.word() != "done")
        .map(|(key, _)| key.clone())
        .expect("a cell without a picture");
    harness.state_mut().send(Msg::Select(key));
    harness.run_steps(3);
    harness.key_press(Key::P);
    step_until(&mut harness, "it is said", |harness| {
        has_message(harness, "Q4_0_gs10 has no picture to judge")
    });
    assert!(!desk.journal().contains("verdict:"), "{}", desk.journal());
}

#[test]
fn keys_judge_nothing_that_a_filter_leaves_out() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    press(&mut harness, &desk, Key::P);
    let passed = view(&harness).judging.passed(&view(&harness).run).remove(0);
    harness.state_mut().send(Msg::Select(passed.clone()));
    harness.run_steps(2);
    harness
        .state_mut()
        .send(Msg::Judge(JudgeMsg::SetFilters(vec![Filter::Unreviewed])));
    harness.run_steps(2);
    assert_ne!(selected(&harness), "Q4_0_gs10", "what is hidden is left");
    assert_eq!(
        harness.query_all_by_label("left out by the filter").count(),
        0,
        "cells are painted, not widgets"
    );
    assert!(view(&harness).grid.left_out.len() == 1);
    harness.state_mut().send(Msg::Select(passed));
    harness.run_steps(2);
    let before = desk.journal();
    harness.key_press(Key::X);
    step_until(&mut harness, "it is said", |harness| {
        has_message(harness, "left out by the filter")
    });
    assert_eq!(desk.journal(), before);
}

#[test]
fn another_name_is_another_reviewer_with_nothing_seen() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    press(&mut harness, &desk, Key::P);
    let mut settings = harness.state().state().settings.clone();
    "bob".clone_into(&mut settings.reviewer);
    harness
        .state_mut()
        .send(Msg::SetSettings(Box::new(settings)));
    step_until(&mut harness, "the review is bob's", |harness| {
        view(harness).judging.reviewer.as_str() == "bob"
            && view(harness).judging.review.events().count() > 0
    });
    let progress = view(&harness).judging.progress(&view(&harness).run);
    assert_eq!(progress.passed, 0, "ada's pass is not bob's");
    harness.key_press(Key::X);
    step_until(&mut harness, "bob's journal has it", |_| {
        journal_of(&desk, "bob").contains("Reject")
    });
    assert!(!desk.journal().contains("Reject"), "not in ada's");
}

#[test]
fn a_reject_that_comes_while_the_approval_is_open_holds_it_back() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    harness.key_press(Key::A);
    step_until(&mut harness, "the approval is on screen", |harness| {
        view(harness).approving.is_some()
    });
    let reasons = |harness: &Window| -> Vec<ReasonCode> {
        let approving = view(harness).approving.as_ref().expect("it stays open");
        let draft = approving.draft.as_ref().expect("a draft");
        draft.held_back().iter().map(|one| one.code).collect()
    };
    for code in reasons(&harness) {
        let why = "known from elsewhere".to_owned();
        harness
            .state_mut()
            .send(Msg::Approve(ApproveMsg::Override(code, why)));
    }
    harness.run_steps(2);
    assert!(!reasons(&harness).contains(&ReasonCode::FailureOnCell));
    let mut other = opened_by(&desk, "max");
    assert_eq!(selected(&other), "Q4_0_gs10");
    other.key_press(Key::X);
    step_until(&mut other, "max has rejected it", |_| {
        journal_of(&desk, "max").contains("Reject")
    });
    step_until(&mut harness, "the dialog knows", |harness| {
        reasons(harness).contains(&ReasonCode::FailureOnCell)
    });
    harness.state_mut().send(Msg::Approve(ApproveMsg::Write));
    harness.run_steps(5);
    assert!(!desk.phase1().exists());
}

#[test]
fn a_blind_comparison_that_was_left_goes_on_where_it_was() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    for _ in 0..3 {
        press(&mut harness, &desk, Key::P);
    }
    press(&mut harness, &desk, Key::B);
    press(&mut harness, &desk, Key::Num1);
    let session = view(&harness).judging.blind.clone().expect("it began");
    assert_eq!(session.round, 1);
    drop(harness);
    let mut harness = desk.plain();
    step_until(&mut harness, "the votes are read", |harness| {
        !view(harness).judging.review.blind_sessions().is_empty()
    });
    harness.key_press(Key::B);
    harness.run_steps(3);
    assert_eq!(view(&harness).judging.blind.as_ref(), Some(&session));
}

#[test]
fn closing_with_verdicts_in_memory_is_refused_once() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    std::fs::rename(&desk.run, desk.folder.path().join("away")).expect("moved");
    harness.key_press(Key::X);
    step_until(&mut harness, "the verdict waits", |harness| {
        harness.state().state().would_lose_verdicts()
    });
    harness.state_mut().send(Msg::CloseRequested);
    step_until(&mut harness, "it is said", |harness| {
        has_message(harness, "close again to lose them")
    });
    assert!(!harness.state().state().would_lose_verdicts());
}

#[test]
fn the_end_of_another_run_does_not_take_the_open_one_away() {
    let desk = Desk::new();
    let other = own_run(&desk, &MaskRecipe::default());
    let mut harness = desk.plain();
    harness.state_mut().send(Msg::Event(Event::RunEnded {
        dir: Some(other),
        result: Ok("run x is complete".to_owned()),
    }));
    step_until(&mut harness, "it is said", |harness| {
        has_message(harness, "run x is complete")
    });
    settle(&mut harness);
    assert_eq!(view(&harness).dir, desk.run);
}

#[test]
fn the_report_has_the_review_once_the_window_is_closed() {
    let desk = Desk::new();
    let folder = own_run(&desk, &MaskRecipe::default());
    let desk = Desk {
        run: folder.clone(),
        ..desk
    };
    let report = || std::fs::read_to_string(folder.join("REPORT.md")).expect("a report");
    assert!(!report().contains("## Review"));
    let mut harness = desk.plain();
    press(&mut harness, &desk, Key::Num1);
    drop(harness);
    let text = report();
    let review = text.find("## Review").expect("a review");
    let recommended = text.find("## Recommended Settings").expect("the last");
    assert!(
        review < recommended && text.contains("hallucinated object"),
        "{text}"
    );
}
