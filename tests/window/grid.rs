//! The grid itself: what scrolls and what stays, the wheel, captions, the shared view, what a cell without a
//! reference says.

use super::harness::{Desk, drawn, settle, step_until, view};
use super::lab_runs::own_run;
use super::mask_lab::Window;
use super::seeing;
use eframe::egui::{
    Event, Key, Modifiers, MouseWheelSource, MouseWheelUnit, Pos2, Rect, TouchPhase, vec2,
};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use fill_audit::model::cell::{Guidance, Quant};
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::model::review::event::Shape;
use fill_audit::model::review::select::SortBy;
use fill_audit::state::command::Command;
use fill_audit::state::{JudgeMsg, Msg};

fn rect(harness: &Window, label: &str) -> Rect {
    harness.get_by_label(label).rect()
}

fn turn_wheel(harness: &mut Window, at: Pos2, lines: f32) {
    harness.hover_at(at);
    harness.run_steps(2);
    harness.event(Event::MouseWheel {
        unit: MouseWheelUnit::Line,
        delta: vec2(0.0, lines),
        source: MouseWheelSource::Wheel,
        phase: TouchPhase::Move,
        modifiers: Modifiers::NONE,
    });
    harness.run_steps(30);
}

/// The level in per cent, which stands before the point under the cursor.
fn zoom(harness: &Window) -> String {
    let status = harness.query_all_by_label_contains(" %").next();
    let status = status.expect("the zoom is always visible");
    let text = status
        .accesskit_node()
        .label()
        .or(status.accesskit_node().value());
    let text = text.expect("a text");
    text.split(" %").next().unwrap_or_default().to_owned()
}

/// A window in which not all rows have room.
fn low(desk: &Desk) -> Window {
    let mut harness = desk.rendered(vec2(1280.0, 300.0));
    harness.run_steps(4);
    harness
}

#[test]
fn the_wheel_zooms_over_a_cell_and_scrolls_over_the_labels() {
    let desk = Desk::new();
    let mut harness = low(&desk);
    let first = "Q4_0_gs2, done";
    let (before, zoomed_from) = (rect(&harness, first), zoom(&harness));
    turn_wheel(&mut harness, before.center(), -3.0);
    assert_ne!(zoom(&harness), zoomed_from);
    assert_eq!(rect(&harness, first), before, "nothing scrolled");

    let at_zoom = zoom(&harness);
    let label = rect(&harness, "row label: Q4_0").center();
    turn_wheel(&mut harness, label, -3.0);
    assert!(rect(&harness, first).top() < before.top() - 20.0);
    assert_eq!(zoom(&harness), at_zoom);
}

#[test]
fn labels_stay_in_view_while_the_cells_scroll() {
    let desk = Desk::new();
    let mut harness = low(&desk);
    let column = rect(&harness, "column label: 10");
    let (row, cell) = (
        rect(&harness, "row label: Q4_0"),
        rect(&harness, "Q4_0_gs2, done"),
    );
    turn_wheel(&mut harness, row.center(), -2.0);
    let scrolled = rect(&harness, "Q4_0_gs2, done").top() - cell.top();
    assert!(scrolled < -20.0);
    assert_eq!(rect(&harness, "column label: 10"), column);
    // A row's label goes with its row.
    let label = rect(&harness, "row label: Q5_K_S");
    let its_cell = rect(&harness, "Q5_K_S_gs2, done");
    assert!((label.center().y - its_cell.center().y).abs() < 20.0);
    assert_eq!(label.left(), row.left());
}

#[test]
fn cells_that_are_listed_by_time_say_all_that_differs_among_them() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    harness
        .state_mut()
        .send(Msg::Judge(JudgeMsg::SetSort(SortBy::WallTime)));
    harness.run_steps(3);
    let strip = view(&harness).grid.strips.first().cloned().expect("a list");
    let key = strip.cells.first().cloned().expect("a cell");
    let says = strip.says(&key, &view(&harness).run.prompts);
    assert_eq!(says, ["Q4_0", "gs 2"]);
}

#[test]
fn a_mode_without_its_reference_says_so_instead_of_showing_the_fill() {
    let desk = Desk::new();
    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    harness.remove_cursor();
    settle(&mut harness);
    let cell = rect(&harness, "Q8_0_gs30, done");
    let shot = |harness: &mut Window| {
        let drawn = drawn(harness);
        let [x, y] = [cell.min.x, cell.min.y].map(|at| at as u32 + 4);
        image::imageops::crop_imm(&drawn, x, y, cell.width() as u32 - 8, 60).to_image()
    };
    let plain = shot(&mut harness);
    harness.state_mut().send(Msg::Command(Command::Difference));
    settle(&mut harness);
    // The bar above the grid has moved the cells.
    let moved = rect(&harness, "Q8_0_gs30, done");
    let drawn = drawn(&mut harness);
    let [x, y] = [moved.min.x, moved.min.y].map(|at| at as u32 + 4);
    let now = image::imageops::crop_imm(&drawn, x, y, moved.width() as u32 - 8, 60).to_image();
    let colours = |picture: &image::RgbaImage| {
        let mut found: Vec<[u8; 4]> = picture.pixels().map(|pixel| pixel.0).collect();
        found.sort_unstable();
        found.dedup();
        found.len()
    };
    // Words on grey, where there was a cat.
    assert!(
        colours(&now) < colours(&plain) / 4,
        "{} of {}",
        colours(&now),
        colours(&plain)
    );
}

#[test]
fn what_is_on_screen_is_marked_by_a_key_and_a_tool_draws_without_shift() {
    let desk = Desk::new();
    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    let key = view(&harness).selected.clone().expect("selected");
    harness.key_press(Key::Enter);
    harness.run_steps(2);
    harness.state_mut().send(Msg::Command(Command::ActualSize));
    harness.run_steps(2);
    for _ in 0..8 {
        harness.state_mut().send(Msg::Command(Command::ZoomIn));
        harness.run_steps(1);
    }
    harness.key_press_modifiers(Modifiers::SHIFT, Key::K);
    let marks = |harness: &Window| -> Vec<Shape> {
        let judging = &view(harness).judging;
        let said = judging.review.review(&judging.reviewer, &key);
        let marks = said.map_or_else(Vec::new, |said| said.marks.clone());
        marks.into_iter().map(|placed| placed.mark.shape).collect()
    };
    step_until(&mut harness, "the box is on disk and drawn", |harness| {
        marks(harness).len() == 1
    });
    let Shape::Box {
        x,
        y,
        width,
        height,
    } = marks(&harness).remove(0)
    else {
        panic!("no box")
    };
    assert!(
        x > 0.0 && y > 0.0 && width > 20.0 && height > 20.0,
        "{x} {y} {width} {height}"
    );

    harness.key_press(Key::K);
    harness.run_steps(2);
    assert!(view(&harness).is_marking);
    let cell = harness.get_by_label_contains("full screen: ").rect();
    harness.hover_at(cell.center());
    harness.run_steps(1);
    harness.drag_at(cell.center());
    harness.run_steps(1);
    harness.drop_at(cell.center());
    step_until(&mut harness, "the point is there", |harness| {
        marks(harness).len() == 2
    });
    let is_point = |shape: &Shape| matches!(shape, Shape::Point { .. });
    assert!(marks(&harness).iter().any(is_point));
    harness.key_press(Key::K);
    harness.run_steps(2);
    assert!(!view(&harness).is_marking);
}

#[test]
fn the_reference_is_shown_and_taken_away_by_the_mouse_too() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    for expected in [true, false] {
        harness.get_by_label("show it").click();
        harness.run_steps(2);
        assert_eq!(view(&harness).is_reference_held, expected);
    }
}

#[test]
fn in_a_blind_comparison_menus_and_palette_judge_nothing() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    for passed in 1..=3 {
        harness.key_press(Key::P);
        step_until(&mut harness, "it is drawn", |harness| {
            view(harness).judging.progress(&view(harness).run).passed == passed
        });
    }
    harness.key_press(Key::B);
    step_until(&mut harness, "it has begun", |harness| {
        view(harness).judging.blind.is_some()
    });
    for command in [Command::Pass, Command::ExportSheet, Command::HoldReference] {
        harness.state_mut().send(Msg::Command(command));
        harness.run_steps(3);
    }
    assert!(!view(&harness).is_reference_held);
    let passed = view(&harness).judging.progress(&view(&harness).run).passed;
    assert_eq!(passed, 3);
    let said = &harness.state().state().toasts;
    assert!(
        said.iter()
            .any(|toast| toast.text.contains("blind comparison hides"))
    );
}

#[test]
fn the_channel_and_the_exposure_that_are_on_are_named() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    assert!(
        harness
            .query_by_label_contains("for looking only")
            .is_none()
    );
    harness
        .state_mut()
        .send(Msg::Command(Command::CycleChannel));
    harness.run_steps(2);
    assert!(harness.query_by_label("red, for looking only").is_some());
    harness.key_press(Key::E);
    harness.run_steps(2);
    assert!(
        harness
            .query_by_label_contains("exposure +0.5 stops")
            .is_some()
    );
}

#[test]
fn the_whole_picture_stays_on_screen_when_cells_and_readings_change() {
    let desk = Desk::new();
    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    let free = |harness: &mut Window| {
        harness.state_mut().send(Msg::Command(Command::ActualSize));
        harness.run_steps(3);
    };
    free(&mut harness);
    let at = zoom(&harness);
    harness.key_press(Key::ArrowRight);
    harness.run_steps(3);
    assert_eq!(zoom(&harness), at);
    harness.key_press(Key::S);
    harness.run_steps(3);
    assert_eq!(zoom(&harness), at);
    harness.state_mut().send(Msg::Command(Command::Reload));
    settle(&mut harness);
    assert_eq!(zoom(&harness), at);
}

#[test]
fn keys_frame_the_mask_the_whole_and_every_pixel_and_the_level_says_which() {
    let desk = Desk::new();
    let run = own_run(&desk, &MaskRecipe::default());
    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    seeing::open(&mut harness, &run);
    let level = |harness: &Window| zoom(harness).parse::<f64>().expect("a number");
    harness.run_steps(3);
    let at_mask = level(&harness);
    harness.key_press(Key::F);
    harness.run_steps(3);
    let whole = level(&harness);
    assert!(
        at_mask > whole,
        "a run opens at its mask: {at_mask} and {whole}"
    );
    harness.key_press(Key::M);
    harness.run_steps(3);
    assert!((level(&harness) - at_mask).abs() < 1.0);
    harness.key_press(Key::M);
    harness.run_steps(3);
    assert!((level(&harness) - whole).abs() < 1.0);
    harness.key_press(Key::Z);
    harness.run_steps(3);
    assert!((level(&harness) - 100.0).abs() < 0.5);
}

#[test]
fn the_point_under_the_cursor_is_marked_in_every_cell() {
    let desk = Desk::new();
    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    harness.remove_cursor();
    settle(&mut harness);
    let (here, there) = (
        rect(&harness, "Q4_0_gs2, done"),
        rect(&harness, "Q8_0_gs30, done"),
    );
    let around = |harness: &mut Window| {
        // The arms of the mark are 3 to 9 points long.
        let [x, y] = [there.center().x, there.center().y].map(|at| at as u32 - 12);
        let drawn = drawn(harness);
        image::imageops::crop_imm(&drawn, x, y, 24, 24).to_image()
    };
    let before = around(&mut harness);
    harness.hover_at(here.center());
    harness.run_steps(3);
    let after = around(&mut harness);
    let changed = before
        .pixels()
        .zip(after.pixels())
        .filter(|(a, b)| a != b)
        .count();
    assert!((20..200).contains(&changed), "{changed}");
}

#[test]
fn a_failed_cell_says_so_and_why() {
    let desk = Desk::new();
    let session = super::mask_lab::session(&desk);
    let run = seeing::painted_run_with(&desk, session, &seeing::Recipe::default(), |engine| {
        engine.failing = Some((
            Quant::new("Q4_0").expect("a quant"),
            Guidance::new(4.0).expect("a guidance"),
        ));
    });
    let mut harness = desk.plain();
    seeing::open(&mut harness, &run);
    harness.run_steps(2);
    let failed = harness.get_by_label_contains("Q4_0_gs4, failed");
    failed.click();
    harness.run_steps(2);
    assert!(
        harness
            .query_all_by_label_contains("not finite")
            .next()
            .is_some()
    );
    assert!(harness.query_by_label_contains("1 failed").is_some());
}

#[test]
fn the_contact_sheet_is_exported_from_the_window() {
    let desk = Desk::new();
    let path = desk.folder.path().join("sheet.png");
    desk.dialogs.answer(path.clone());
    let mut harness = desk.plain();
    harness.state_mut().send(Msg::Command(Command::ExportSheet));
    step_until(&mut harness, "it is written", |harness| {
        harness.query_by_label_contains("written: ").is_some()
    });
    let (width, height) = image::open(&path)
        .expect("a picture")
        .to_rgb8()
        .dimensions();
    assert!(width > 800 && height > 400, "{width}x{height}");
}

#[test]
fn theme_and_size_of_text_are_changed_by_commands() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    let look = |harness: &Window| {
        (
            harness.ctx.global_style().visuals.dark_mode,
            harness.ctx.zoom_factor(),
        )
    };
    let before = look(&harness);
    for command in [Command::ToggleTheme, Command::LargerText] {
        harness.state_mut().send(Msg::Command(command));
        harness.run_steps(3);
    }
    let after = look(&harness);
    assert_ne!(after.0, before.0);
    assert!(after.1 > before.1);
    harness.state_mut().send(Msg::Command(Command::SmallerText));
    harness.run_steps(3);
    assert!((look(&harness).1 - before.1).abs() < 1e-3);
}
