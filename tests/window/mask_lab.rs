//! The mask lab on a session: what it shows, A and B, painting, saving.

use super::harness::{Desk, step_until};
use eframe::egui::accesskit::Role;
use eframe::egui::{Event, Key, Modifiers, PointerButton, Pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use fill_audit::app::FillAuditApp;
use fill_audit::imaging::mask::process;
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::model::session::Session;
use fill_audit::state::command::Command;
use fill_audit::state::lab::result::LabResult;
use fill_audit::state::lab::{LabMsg, LabView};
use fill_audit::state::{Msg, Page};
use image::{GrayImage, Luma, RgbImage};
use std::path::PathBuf;
use std::sync::Arc;

pub type Window = Harness<'static, FillAuditApp>;

/// A photograph of 512 x 384 with a bar, a thin tail that opening removes, and a speck.
pub fn session(desk: &Desk) -> PathBuf {
    let dir = desk.folder.path().join("sessions").join("bar");
    std::fs::create_dir_all(&dir).expect("made");
    let image = RgbImage::from_fn(512, 384, |x, y| {
        image::Rgb([
            (x / 3 % 200) as u8,
            (y / 2) as u8,
            if (x / 16 + y / 16) % 2 == 0 { 90 } else { 140 },
        ])
    });
    let mask = GrayImage::from_fn(512, 384, |x, y| {
        let bar = (120..400).contains(&x) && (160..220).contains(&y);
        let tail = (400..480).contains(&x) && (188..191).contains(&y);
        let speck = (40..44).contains(&x) && (40..44).contains(&y);
        Luma([if bar || tail || speck { 255 } else { 0 }])
    });
    image.save(dir.join("image.png")).expect("written");
    mask.save(dir.join("mask.png")).expect("written");
    dir
}

pub fn lab(harness: &Window) -> &LabView {
    harness
        .state()
        .state()
        .lab
        .as_ref()
        .expect("a session is open in the lab")
}

pub fn result(harness: &Window) -> &Arc<LabResult> {
    lab(harness).results[0].as_ref().expect("a result")
}

pub fn is_settled(harness: &Window) -> bool {
    let app = harness.state().state();
    app.lab_opening.is_none()
        && app
            .lab
            .as_ref()
            .is_some_and(|view| !view.is_behind() && view.results[1].is_some())
}

pub fn settle_lab(harness: &mut Window) {
    step_until(harness, "the lab has computed", |harness| {
        is_settled(harness)
    });
    harness.run_steps(2);
}

pub fn send(harness: &mut Window, msg: LabMsg) {
    harness.state_mut().send(Msg::Lab(msg));
    harness.run_steps(2);
}

pub fn open_session(harness: &mut Window, dir: PathBuf) {
    harness
        .state_mut()
        .send(Msg::Command(Command::GoTo(Page::MaskLab)));
    send(harness, LabMsg::OpenSession(dir));
    step_until(harness, "the session is open", |harness| {
        harness.state().state().lab.is_some() && harness.state().state().lab_opening.is_none()
    });
    settle_lab(harness);
}

pub fn opened(desk: &Desk) -> Window {
    let mut harness = desk.plain();
    open_session(&mut harness, session(desk));
    harness
}

pub fn set_recipe(harness: &mut Window, change: impl FnOnce(&mut MaskRecipe)) {
    let mut recipe = lab(harness).recipe().clone();
    change(&mut recipe);
    send(
        harness,
        LabMsg::SetRecipe {
            recipe: Box::new(recipe),
            is_settled: true,
        },
    );
    settle_lab(harness);
}

pub fn press(harness: &mut Window, pos: Pos2, pressed: bool) {
    let modifiers = Modifiers::NONE;
    harness.event(Event::PointerButton {
        pos,
        button: PointerButton::Primary,
        pressed,
        modifiers,
    });
    harness.step();
}

/// Presses at the first point, moves through the others, lets go at the last.
pub fn drag(harness: &mut Window, points: &[Pos2]) {
    harness.hover_at(points[0]);
    harness.step();
    press(harness, points[0], true);
    for point in points {
        harness.hover_at(*point);
        harness.step();
    }
    press(harness, *points.last().expect("a point"), false);
}

#[test]
fn a_session_shows_controls_figures_and_gates() {
    let desk = Desk::new();
    let harness = opened(&desk);
    for name in [
        "threshold",
        "drop under",
        "close",
        "open",
        "dilate",
        "feather σ",
    ] {
        let _ = harness.get_by_role_and_label(Role::SpinButton, name);
        let _ = harness.get_by_label(&format!("{name} slider"));
        let _ = harness.get_by_label(&format!("Reset {name}"));
    }
    for name in [
        "photograph and mask",
        "raw mask",
        "processed mask",
        "what changed",
    ] {
        let _ = harness.get_by_label(name);
    }
    assert!(harness.query_by_label("✓ passes every gate").is_some());
    // A bar of 280 x 60 with a tail of 80 x 3 and a speck of 16 px, at 512 x 384.
    let raw = image::open(session(&desk).join("mask.png")).expect("there");
    let figures = process(&raw.into_luma8(), lab(&harness).recipe()).figures();
    let before = f64::from(280 * 60 + 80 * 3 + 16) / f64::from(512 * 384);
    assert!((figures.coverage_before - before).abs() < 1e-9);
    let found = figures.bounds.expect("a box");
    // To the right: the bar ends at 400, the tip of the opening's disc keeps a pixel or two of the tail.
    let margin = figures.margin_to_frame_px.expect("a margin");
    assert!((100..=102).contains(&margin), "{margin}");
    let rows = [
        format!(
            "coverage: {:.2} % → {:.2} %",
            before * 100.0,
            figures.coverage_after_recipe * 100.0
        ),
        format!("largest: {} px", figures.largest_component_px),
        format!("gained: {} px", figures.added_px),
        format!("lost: {} px", figures.removed_px),
        format!(
            "box: {} × {} at ({}, {})",
            found.width, found.height, found.x, found.y
        ),
        format!("to the frame: {margin} px ({margin} of the photo)"),
    ];
    assert_eq!((found.x, found.y), (110, 150));
    for row in rows {
        assert!(harness.query_by_label(&row).is_some(), "{row}");
    }
    // The bar with its tail, and the speck; clean-up leaves the bar.
    assert!(harness.query_by_label("components: 2 → 1").is_some());
    assert!(
        harness
            .query_by_label("specks dropped: 1 (16 px)")
            .is_some()
    );
    assert!(
        harness
            .query_by_label_contains("px of the object stay uncovered")
            .is_some()
    );
}

#[test]
fn space_shows_the_other_recipe_while_it_is_held() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    harness.get_by_label("Keep this one as B").click();
    harness.run_steps(2);
    set_recipe(&mut harness, |recipe| recipe.dilate_px = 20.0);
    harness.key_down(Key::Space);
    harness.run_steps(2);
    assert_eq!(lab(&harness).shown_recipe().dilate_px, 10.0);
    assert!(harness.query_by_label("showing B").is_some());
    harness.key_up(Key::Space);
    harness.run_steps(2);
    assert_eq!(lab(&harness).shown_recipe().dilate_px, 20.0);
    harness.get_by_label("Swap A and B").click();
    settle_lab(&mut harness);
    assert_eq!(lab(&harness).recipe().dilate_px, 10.0);
    assert_eq!(result(&harness).recipe.dilate_px, 10.0);
}

#[test]
fn strokes_change_the_mask_and_are_undone_one_by_one() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    let before = result(&harness).figures.coverage_before;
    harness.get_by_label("Paint").click();
    harness.run_steps(2);
    let cell = harness.get_by_label("mask over the photograph").rect();
    let at = |x: f32, y: f32| cell.center() + vec2(x, y);
    drag(
        &mut harness,
        &[at(-150.0, -150.0), at(0.0, -150.0), at(150.0, -150.0)],
    );
    settle_lab(&mut harness);
    step_until(&mut harness, "the stroke is painted", |harness| {
        lab(harness).painted.can_undo
    });
    settle_lab(&mut harness);
    let painted = result(&harness).figures.coverage_before;
    assert!(painted > before, "{painted} {before}");
    assert!(lab(&harness).painted.is_changed);
    harness.get_by_label("Eraser").click();
    harness.run_steps(2);
    drag(&mut harness, &[at(-20.0, -150.0), at(20.0, -150.0)]);
    step_until(&mut harness, "the eraser took away", |harness| {
        is_settled(harness) && result(harness).figures.coverage_before < painted
    });
    for wanted in [painted, before] {
        harness.key_press_modifiers(Modifiers::COMMAND, Key::Z);
        step_until(&mut harness, "a stroke is taken back", |harness| {
            is_settled(harness) && result(harness).figures.coverage_before == wanted
        });
    }
    assert!(!lab(&harness).painted.can_undo);
    harness.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z);
    step_until(&mut harness, "the stroke is back", |harness| {
        is_settled(harness) && result(harness).figures.coverage_before == painted
    });
    // Lasso and fill: an outline drawn, a hole in it filled.
    harness.get_by_label("Lasso").click();
    harness.run_steps(2);
    let revision = lab(&harness).painted.revision;
    drag(
        &mut harness,
        &[
            at(-100.0, 100.0),
            at(0.0, 100.0),
            at(0.0, 150.0),
            at(-100.0, 150.0),
        ],
    );
    step_until(&mut harness, "the lasso is filled", |harness| {
        lab(harness).painted.revision > revision && is_settled(harness)
    });
    harness.get_by_label("Fill").click();
    harness.run_steps(1);
    harness.get_by_label("take away").click();
    harness.run_steps(1);
    let revision = lab(&harness).painted.revision;
    let components = result(&harness).figures.components_before;
    let inside = at(-30.0, 120.0);
    drag(&mut harness, &[inside]);
    step_until(&mut harness, "the area is taken away", |harness| {
        lab(harness).painted.revision > revision && is_settled(harness)
    });
    assert_eq!(result(&harness).figures.components_before, components - 1);
}

#[test]
fn the_recipe_is_saved_and_everything_else_in_the_document_stays() {
    let desk = Desk::new();
    let dir = session(&desk);
    let document = dir.join("session.ron");
    std::fs::write(
        &document,
        "(schema: 1, id: \"bar\", expected: \"grass\", note: \"keep\")",
    )
    .expect("written");
    let mut harness = desk.plain();
    open_session(&mut harness, dir.clone());
    assert!(harness.query_by_label("expected: grass").is_some());
    set_recipe(&mut harness, |recipe| recipe.dilate_px = 8.0);
    let mask = std::fs::read(dir.join("mask.png")).expect("there");
    harness.get_by_label("Save to the session").click();
    step_until(&mut harness, "it is saved", |harness| {
        !lab(harness).has_unsaved()
    });
    let text = std::fs::read_to_string(&document).expect("there");
    let saved = Session::parse(&text, "session.ron").expect("readable");
    assert_eq!(
        (saved.expected.as_str(), saved.note.as_str()),
        ("grass", "keep")
    );
    assert_eq!(saved.recipe.as_ref(), Some(lab(&harness).recipe()));
    assert_eq!(
        std::fs::read(dir.join("mask.png")).expect("there"),
        mask,
        "nothing was painted"
    );

    std::fs::write(&document, "(schema: 1, id: \"bar\", expectd: 3)").expect("written");
    set_recipe(&mut harness, |recipe| recipe.dilate_px = 9.0);
    harness.get_by_label("Save to the session").click();
    step_until(&mut harness, "the problem is said", |harness| {
        harness
            .query_by_label_contains("so that nothing is overwritten")
            .is_some()
    });
    let text = std::fs::read_to_string(&document).expect("there");
    assert!(text.contains("expectd"), "{text}");
}
