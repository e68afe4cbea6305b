//! Pictures of everything that judging draws, for a person to look at, in two sizes of the window.

use super::harness::{Desk, keep_picture, settle, step_until, view};
use eframe::egui::{Event, Key, Modifiers, PointerButton, Vec2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use fill_audit::app::{FillAuditApp, Services};
use fill_audit::state::judging::MarksShown;
use fill_audit::state::{JudgeMsg, Msg};

type Window = Harness<'static, FillAuditApp>;

/// Another reviewer has passed two cells and rejected one before.
fn let_bob_judge(desk: &Desk) {
    let services = Services {
        reviewer: Some("bob".to_owned()),
        ..desk.services()
    };
    let run = desk.run.clone();
    let mut harness = Harness::builder()
        .with_size(vec2(1280.0, 800.0))
        .build_eframe(|cc| FillAuditApp::new(cc, Some(run), services));
    settle(&mut harness);
    for key in [Key::P, Key::P, Key::Num2] {
        harness.key_press(key);
        harness.run_steps(2);
    }
    step_until(&mut harness, "bob's verdicts are on disk", |_| {
        let journal = desk.run.join("review-bob.ron");
        std::fs::read_to_string(journal).is_ok_and(|text| text.matches("verdict:").count() >= 3)
    });
}

fn draw_box(harness: &mut Window, cell: &str, size: Vec2) {
    let rect = harness.get_by_label_contains(cell).rect();
    let from = rect.center() - size / 2.0;
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
        Event::PointerMoved(from + size / 2.0),
        Event::PointerMoved(from + size),
        button(from + size, false),
    ] {
        harness.event(event);
        harness.run_steps(1);
    }
    harness.event(Event::ModifiersChanged(Modifiers::NONE));
    harness.run_steps(2);
}

fn press(harness: &mut Window, keys: &[Key]) {
    for key in keys {
        harness.key_press(*key);
        harness.run_steps(3);
    }
}

fn pictures_at(size: Vec2) {
    let desk = Desk::new();
    let_bob_judge(&desk);
    let mut harness = desk.rendered(size);
    let keep = |harness: &mut Window, name: &str| {
        harness.run_steps(3);
        settle(harness);
        keep_picture(harness, &format!("judging_{name}_{:.0}", size.x));
    };
    press(
        &mut harness,
        &[
            Key::Num1,
            Key::P,
            Key::P,
            Key::Num3,
            Key::P,
            Key::Num4,
            Key::P,
        ],
    );
    draw_box(&mut harness, "Q8_0_gs20, done", vec2(40.0, 26.0));
    harness
        .state_mut()
        .send(Msg::Judge(JudgeMsg::ShowMarks(MarksShown::OfSelected)));
    keep(&mut harness, "marks");
    assert!(view(&harness).judging.review.events().count() > 7);

    harness.get_by_label("Finding").click();
    keep(&mut harness, "finding");
    press(&mut harness, &[Key::Escape]);
    harness.get_by_label("Filter").click();
    keep(&mut harness, "filter");
    harness.get_by_label("Reviewers disagree").click();
    press(&mut harness, &[Key::Escape]);
    keep(&mut harness, "disputed");
    harness
        .state_mut()
        .send(Msg::Judge(JudgeMsg::SetFilters(vec![])));
    harness.run_steps(2);

    press(&mut harness, &[Key::B]);
    keep(&mut harness, "blind");
    let rounds = view(&harness)
        .judging
        .blind
        .as_ref()
        .map_or(0, |blind| blind.plan.rounds.len());
    for round in 0..rounds {
        let key = [Key::Num1, Key::Num2, Key::Num0, Key::Minus][round % 4];
        press(&mut harness, &[key]);
    }
    press(&mut harness, &[Key::Enter]);
    keep(&mut harness, "result");
}

#[test]
fn pictures_of_judging_in_a_small_window() {
    pictures_at(vec2(1280.0, 800.0));
}

#[test]
fn pictures_of_judging_in_a_large_window() {
    pictures_at(vec2(3840.0, 2160.0));
}
