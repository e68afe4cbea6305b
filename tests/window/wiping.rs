//! The wipe's line, taken with the pointer and by keys, in the grid and in one cell alone.

use super::harness::{Desk, view};
use super::mask_lab::{Window, drag};
use eframe::egui::{Key, Modifiers, Rect, vec2};
use egui_kittest::kittest::Queryable as _;

fn rect(harness: &Window, label: &str) -> Rect {
    harness.get_by_label_contains(label).rect()
}

#[test]
fn the_line_is_dragged_in_the_grid_and_the_picture_stays() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    harness.key_press(Key::F);
    harness.key_press(Key::W);
    harness.run_steps(3);
    assert_eq!(view(&harness).look.wipe, 0.5);
    let cell = rect(&harness, "Q5_K_S_gs4, done");
    let line = cell.center();
    let side = cell.width().min(cell.height());
    let to = line + vec2(side * 0.25, 8.0);
    drag(&mut harness, &[line, line + vec2(8.0, 0.0), to, to]);
    let wipe = view(&harness).look.wipe;
    assert!((wipe - 0.75).abs() < 0.02, "{wipe}");
    // Beside the line the picture is moved, and the line with it: it stands in the picture.
    let beside = line - vec2(side * 0.3, 0.0);
    drag(
        &mut harness,
        &[beside, beside + vec2(9.0, 0.0), beside + vec2(24.0, 0.0)],
    );
    assert_eq!(view(&harness).look.wipe, wipe);
}

#[test]
fn the_line_comes_into_view_where_one_is_zoomed_in_and_can_be_dragged_there() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    harness.key_press(Key::F);
    harness.key_press(Key::Enter);
    harness.run_steps(3);
    let area = rect(&harness, "full screen: ");
    // Close to the left edge of the picture, where the line at half its width is out of view.
    for _ in 0..14 {
        harness.key_press(Key::Plus);
        harness.run_steps(1);
    }
    for _ in 0..30 {
        harness.key_press_modifiers(Modifiers::SHIFT, Key::ArrowLeft);
        harness.run_steps(1);
    }
    harness.key_press(Key::W);
    harness.run_steps(3);
    let before = view(&harness).look.wipe;
    assert!(before < 0.3, "the line is in view: {before}");
    let line = area.center();
    drag(
        &mut harness,
        &[
            line,
            line + vec2(8.0, 0.0),
            line + vec2(60.0, 0.0),
            line + vec2(60.0, 0.0),
        ],
    );
    let after = view(&harness).look.wipe;
    assert!(after > before && after < before + 0.2, "{before} {after}");
}

#[test]
fn the_line_moves_by_keys() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    harness.key_press(Key::W);
    harness.run_steps(2);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::ArrowRight);
    harness.run_steps(2);
    let wipe = view(&harness).look.wipe;
    harness.key_press_modifiers(Modifiers::COMMAND, Key::ArrowLeft);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::ArrowLeft);
    harness.run_steps(2);
    assert!((wipe - view(&harness).look.wipe - 0.02).abs() < 1e-5);
}
