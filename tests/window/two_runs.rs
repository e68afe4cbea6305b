//! A second run beside the open one: pairs, names of what has no counterpart, whose verdicts these are.

use super::harness::{Desk, ScriptedDialogs, drawn, keep_picture, settle, step_until, view};
use super::mask_lab::Window;
use eframe::egui::{Key, Modifiers, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use fill_audit::app::FillAuditApp;
use fill_audit::state::Msg;
use fill_audit::state::command::Command;
use fill_audit::state::look::Reference;
use fill_audit::state::seeing::SeeMsg;
use std::path::PathBuf;
use std::sync::Arc;

/// A copy of the service's run without one cell, with one more, and with other colours.
pub fn second_run(desk: &Desk) -> PathBuf {
    let folder = desk.folder.path().join("runs").join("20260301-120000");
    std::fs::create_dir_all(&folder).expect("made");
    for entry in std::fs::read_dir(&desk.run).expect("the run").flatten() {
        let name = entry.file_name();
        let is_picture = entry.path().extension().is_some_and(|e| e == "png");
        if !is_picture || name == "Q8_0_gs30.png" {
            continue;
        }
        let mut picture = image::open(entry.path()).expect("a picture").to_rgb8();
        for pixel in picture.pixels_mut() {
            pixel.0.swap(0, 2);
        }
        picture.save(folder.join(&name)).expect("written");
        if name == "Q4_0_gs10.png" {
            picture.save(folder.join("Q4_0_gs50.png")).expect("written");
        }
    }
    folder
}

/// Opens it beside the open one.
pub fn open_beside(harness: &mut Window, other: PathBuf) {
    harness.state_mut().send(Msg::See(SeeMsg::OpenOther(other)));
    step_until(harness, "the second run is open", |harness| {
        view(harness).other.is_some()
    });
    settle(harness);
}

#[test]
fn cells_stand_beside_their_counterparts_and_what_has_none_is_named() {
    let desk = Desk::new();
    let other = second_run(&desk);
    let mut harness = desk.plain();
    open_beside(&mut harness, other);
    for label in [
        "Q4_0_gs10 in run 20260301-120000, done",
        "Q8_0_gs30 is not in run 20260301-120000",
        "14 cells in both",
        "1 only in A",
        "1 only in B",
    ] {
        assert!(harness.query_by_label(label).is_some(), "{label}");
    }
    harness.get_by_label("1 only in B").click();
    harness.run_steps(3);
    assert!(harness.query_by_label("Q4_0_gs50").is_some());
}

#[test]
fn the_second_run_is_chosen_from_the_list_or_by_its_folder() {
    let desk = Desk::new();
    let other = second_run(&desk);
    let mut harness = desk.plain();
    harness.get_by_label("Second run").click();
    step_until(&mut harness, "the runs are listed", |harness| {
        harness
            .query_by_label_contains("20260301-120000  (15 of 15 cells)")
            .is_some()
    });
    harness
        .get_by_label_contains("20260301-120000  (15 of 15 cells)")
        .click();
    step_until(&mut harness, "the second run is open", |harness| {
        view(harness).other.is_some()
    });

    let dialogs = ScriptedDialogs::default();
    dialogs.answers.lock().expect("free").push(other.clone());
    let mut services = desk.services();
    services.dialogs = Arc::new(dialogs);
    let run = desk.run.clone();
    let mut harness: Window = Harness::builder()
        .with_size(vec2(1280.0, 800.0))
        .build_eframe(|cc| FillAuditApp::new(cc, Some(run), services));
    settle(&mut harness);
    harness.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::O);
    step_until(&mut harness, "the chosen run is open", |harness| {
        view(harness)
            .other
            .as_ref()
            .is_some_and(|it| it.dir == other)
    });
}

#[test]
fn verdicts_are_about_the_first_run_and_say_so() {
    let desk = Desk::new();
    let other = second_run(&desk);
    let mut harness = desk.plain();
    open_beside(&mut harness, other.clone());
    assert!(
        harness
            .query_by_label_contains("verdicts and boxes are about A")
            .is_some()
    );
    // A click on the second run's picture selects the pair; the verdict goes to the first run.
    harness
        .get_by_label("Q5_K_S_gs4 in run 20260301-120000, done")
        .click();
    harness.run_steps(3);
    assert_eq!(super::harness::selected(&harness), "Q5_K_S_gs4");
    harness.key_press(Key::X);
    step_until(&mut harness, "the verdict is on disk", |_| {
        desk.journal().contains("Reject")
    });
    let theirs: Vec<_> = std::fs::read_dir(&other)
        .expect("there")
        .flatten()
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("review"))
        .collect();
    assert!(theirs.is_empty());
}

#[test]
fn the_same_cell_of_the_second_run_can_be_the_reference() {
    let desk = Desk::new();
    let other = second_run(&desk);
    let mut harness = desk.plain();
    // Without a second run the command says what it needs.
    harness.key_press_modifiers(Modifiers::SHIFT, Key::R);
    harness.run_steps(2);
    assert_eq!(view(&harness).look.reference, Reference::Original);
    assert!(
        harness
            .query_by_label_contains("No second run is open")
            .is_some()
    );
    open_beside(&mut harness, other);
    harness.key_press_modifiers(Modifiers::SHIFT, Key::R);
    harness.key_press(Key::D);
    harness.run_steps(2);
    assert_eq!(view(&harness).look.reference, Reference::OtherRun);
    let texts = harness.query_all_by_label_contains("from the same cell of run 20260301-120000");
    // Above the grid, and over the figures.
    assert_eq!(texts.count(), 2);
    harness.key_press(Key::Y);
    harness.run_steps(2);
    assert!(view(&harness).paired().is_none() && view(&harness).other.is_some());
    harness
        .state_mut()
        .send(Msg::Command(Command::CloseOtherRun));
    harness.run_steps(2);
    assert_eq!(view(&harness).look.reference, Reference::Original);
}

#[test]
fn each_half_shows_its_own_run_and_the_difference_is_between_them() {
    let desk = Desk::new();
    let other = second_run(&desk);
    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    open_beside(&mut harness, other);
    harness.key_press(Key::F);
    settle(&mut harness);
    keep_picture(&mut harness, "two_runs_1280");
    let ours = harness.get_by_label("Q4_0_gs10, done, baseline").rect();
    let theirs = harness
        .get_by_label("Q4_0_gs10 in run 20260301-120000, done")
        .rect();
    assert!((ours.size() - theirs.size()).length() < 1.0);
    let average = |picture: &image::RgbaImage, rect: eframe::egui::Rect| {
        let mut sum = [0_f64; 3];
        let at = rect.shrink(24.0);
        let part = image::imageops::crop_imm(
            picture,
            at.left() as u32,
            at.top() as u32,
            at.width() as u32,
            at.height() as u32,
        )
        .to_image();
        for pixel in part.pixels() {
            for (sum, value) in sum.iter_mut().zip(pixel.0) {
                *sum += f64::from(value);
            }
        }
        sum.map(|sum| sum / f64::from(part.width() * part.height()))
    };
    let shown = drawn(&mut harness);
    let (one, two) = (average(&shown, ours), average(&shown, theirs));
    // Red and blue are swapped in the second run.
    assert!(
        (one[0] - two[2]).abs() < 2.0 && (one[2] - two[0]).abs() < 2.0,
        "{one:?} {two:?}"
    );
    assert!((one[0] - one[2]).abs() > 4.0, "{one:?}");

    harness.key_press_modifiers(Modifiers::SHIFT, Key::R);
    harness.key_press(Key::D);
    settle(&mut harness);
    let shown = drawn(&mut harness);
    let at = ours.shrink(24.0);
    let part = image::imageops::crop_imm(
        &shown,
        at.left() as u32,
        at.top() as u32,
        at.width() as u32,
        at.height() as u32,
    );
    // Green is the same in both, red and blue are not; labels aside.
    let count = |is_so: &dyn Fn([u8; 4]) -> bool| {
        part.to_image()
            .pixels()
            .filter(|pixel| is_so(pixel.0))
            .count()
    };
    let all = count(&|_| true);
    assert!(count(&|pixel| pixel[1] <= 1) * 10 > all * 8);
    assert!(count(&|pixel| pixel[1] <= 1 && pixel[0] > 8) * 2 > all);
    keep_picture(&mut harness, "two_runs_difference_1280");
}
