//! Values of all cells at one point, and the view as a picture.

use super::harness::{Desk, ScriptedDialogs, settle, step_until, view};
use super::mask_lab::{Window, session};
use super::seeing::{Recipe, open, painted_run};
use eframe::egui::{Key, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use fill_audit::app::FillAuditApp;
use fill_audit::imaging::delta_e::delta_e_2000_of_srgb;
use std::sync::Arc;

#[test]
fn the_values_under_the_cursor_are_those_in_the_files() {
    let desk = Desk::new();
    let run = painted_run(&desk, session(&desk), &Recipe::default());
    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    open(&mut harness, &run);
    harness.key_press(Key::V);
    harness.run_steps(3);
    let cell = harness.get_by_label_contains("Q8_0_gs4, done").rect();
    let at = cell.center() + vec2(11.0, -7.0);
    harness.hover_at(at);
    harness.run_steps(3);
    let title = |harness: &Window| {
        let shown = harness.query_by_label_contains("Values at (")?;
        let text = format!("{shown:?}");
        let inner = text
            .split("Values at (")
            .nth(1)?
            .split(')')
            .next()?
            .to_owned();
        let mut numbers = inner.split(", ").map(str::parse::<u32>);
        Some((numbers.next()?.ok()?, numbers.next()?.ok()?))
    };
    let (x, y) = title(&harness).expect("a point");
    let original = image::open(run.join("image.png")).expect("there").to_rgb8();
    let base = original.get_pixel(x, y).0;
    for key in view(&harness).grid.order() {
        let name = view(&harness).run.cell_name(&key);
        let picture = image::open(run.join(format!("{name}.png"))).expect("there");
        let rgb = picture.to_rgb8().get_pixel(x, y).0;
        let expected = format!(
            "{name}  {:3} {:3} {:3}  ΔE {:.1}",
            rgb[0],
            rgb[1],
            rgb[2],
            delta_e_2000_of_srgb(rgb, base)
        );
        step_until(&mut harness, &expected, |harness| {
            harness.query_by_label(&expected).is_some()
        });
    }
    let [r, g, b] = base;
    let expected = format!("original  {r:3} {g:3} {b:3}");
    assert!(harness.query_by_label(&expected).is_some(), "{expected}");
    // The list stays when the pointer leaves the pictures.
    harness.hover_at(eframe::egui::pos2(640.0, 790.0));
    harness.run_steps(3);
    assert_eq!(title(&harness), Some((x, y)));
}

#[test]
fn without_an_original_the_list_says_why_there_is_no_difference() {
    let desk = Desk::new();
    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    harness.key_press(Key::V);
    settle(&mut harness);
    assert!(
        harness
            .query_by_label_contains("the original is unknown, so there is no ΔE")
            .is_some()
    );
    let path = desk.run.join("Q4_0_gs10.png");
    let picture = image::open(path).expect("there").to_rgb8();
    assert!(picture.width() > 0);
    step_until(&mut harness, "values of every cell", |harness| {
        harness.query_by_label_contains("Q8_0_gs30  ").is_some()
            && harness.query_by_label_contains("Q4_0_gs2  …").is_none()
    });
}

#[test]
fn the_view_is_written_as_a_picture() {
    let desk = Desk::new();
    let path = desk.folder.path().join("view.png");
    let dialogs = ScriptedDialogs::default();
    dialogs.answers.lock().expect("free").push(path.clone());
    let mut services = desk.services();
    services.dialogs = Arc::new(dialogs);
    let run = desk.run.clone();
    let mut harness: Window = Harness::builder()
        .with_size(vec2(1280.0, 800.0))
        .wgpu()
        .build_eframe(|cc| FillAuditApp::new(cc, Some(run), services));
    settle(&mut harness);
    harness.key_press_modifiers(eframe::egui::Modifiers::COMMAND, Key::E);
    step_until(&mut harness, "the picture is written", |harness| {
        harness.query_by_label_contains("written: ").is_some()
    });
    let written = image::open(&path).expect("a picture").to_rgb8();
    assert_eq!(written.dimensions(), (1280, 800));
    // The selected cell's frame is in it.
    let accent = image::Rgb([0x4a, 0x9e, 0xff]);
    assert!(written.pixels().filter(|p| **p == accent).count() > 100);
}
