//! How much a cell differs, and runs of a known session to look at.

use super::harness::{Desk, settle, step_until, view};
use super::mask_lab::{Window, session};
use eframe::egui::Key;
use egui_kittest::kittest::Queryable as _;
use fill_audit::audit::painted_engine::PaintedEngine;
use fill_audit::audit::{AuditContext, RunRequest, execute, start};
use fill_audit::imaging::composite::{Placement, composite_weights};
use fill_audit::imaging::mask::process;
use fill_audit::imaging::resize::resize_area;
use fill_audit::imaging::zones::{ZoneMap, zone_report};
use fill_audit::model::cell::{Guidance, Quant, RadiusPx, Steps};
use fill_audit::model::ids::RunId;
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::model::matrix::Matrix;
use fill_audit::model::prompt;
use fill_audit::model::run::{InferenceSize, MatmulPath, Plan};
use fill_audit::state::Msg;
use fill_audit::state::look::Reference;
use fill_audit::state::seeing::figures;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// What a run is made of beyond the session.
pub struct Recipe {
    pub run_id: &'static str,
    pub quants: &'static [&'static str],
    pub guidances: &'static [f64],
    pub steps: &'static [u32],
    pub seed: u64,
    pub dilate_px: f64,
}

impl Default for Recipe {
    fn default() -> Self {
        Self {
            run_id: "20261121-090000",
            quants: &["Q4_0", "Q8_0"],
            guidances: &[4.0, 10.0],
            steps: &[2],
            seed: 42,
            dilate_px: 10.0,
        }
    }
}

/// A run of a session, painted at a long side of 256.
pub fn painted_run(desk: &Desk, session_dir: PathBuf, recipe: &Recipe) -> PathBuf {
    painted_run_with(desk, session_dir, recipe, |_| ())
}

/// Such a run whose painter is changed before it begins.
pub fn painted_run_with(
    desk: &Desk,
    session_dir: PathBuf,
    recipe: &Recipe,
    change: impl FnOnce(&mut PaintedEngine),
) -> PathBuf {
    let request = request(desk, session_dir, recipe);
    let cancel = AtomicBool::new(false);
    let mut engine = PaintedEngine::default();
    change(&mut engine);
    let mut context = AuditContext {
        clock: &|| "2026-11-21T09:00:00Z".parse().expect("a time"),
        cancel: &cancel,
        observer: &mut |_| {},
    };
    let owned = start(&request, &mut engine, &mut context).expect("started");
    execute(&owned, &mut engine, None, &mut context).expect("run");
    owned.folder
}

/// What is asked of such a run.
pub fn request(desk: &Desk, session_dir: PathBuf, recipe: &Recipe) -> RunRequest {
    RunRequest {
        session_dir,
        runs_dir: desk.folder.path().join("runs"),
        run_id: Some(RunId::new(recipe.run_id).expect("a name")),
        is_new: false,
        plan: Plan {
            matrix: Matrix {
                quants: recipe
                    .quants
                    .iter()
                    .map(|name| Quant::new(*name).expect("a quant"))
                    .collect(),
                guidances: recipe
                    .guidances
                    .iter()
                    .map(|g| Guidance::new(*g).expect("a guidance"))
                    .collect(),
                steps: recipe
                    .steps
                    .iter()
                    .map(|n| Steps::new(*n).expect("steps"))
                    .collect(),
                seeds: vec![recipe.seed],
                prompts: vec![0],
                dilations: vec![RadiusPx::new(recipe.dilate_px).expect("a radius")],
            },
            recipe: MaskRecipe {
                dilate_px: recipe.dilate_px as f32,
                ..MaskRecipe::default()
            },
        },
        prompts: vec![prompt::PRODUCTION.to_owned()],
        inference: InferenceSize::Whole { long_side_px: 256 },
        device: "cpu".to_owned(),
        matmul: MatmulPath::Exact,
        gates_override: Some("a test".to_owned()),
    }
}

/// Opens a run in a window that is there, and waits for it and its mask.
pub fn open(harness: &mut Window, run: &Path) {
    harness.state_mut().send(Msg::Open(run.to_owned()));
    let dir = run.to_owned();
    step_until(harness, "the run is open", move |harness| {
        let state = harness.state().state();
        let is_there = state
            .run
            .as_ref()
            .is_some_and(|view| view.dir == dir && view.masks.all().next().is_some());
        is_there && state.opening.is_none()
    });
    settle(harness);
}

/// Waits until the figures of the selected cell are there; they, or why there are none.
fn figures(harness: &mut Window) -> Result<fill_audit::imaging::zones::ZoneReport, String> {
    step_until(harness, "the figures are there", |harness| {
        let view = view(harness);
        figures::subject(view).is_ok_and(|key| view.figures.of(&key).is_some())
    });
    harness.run_steps(2);
    let view = view(harness);
    let key = figures::subject(view).expect("a cell");
    view.figures.of(&key).cloned().expect("there")
}

#[test]
fn the_figures_of_the_zones_are_those_that_imaging_computes() {
    let desk = Desk::new();
    let run = painted_run(&desk, session(&desk), &Recipe::default());
    let mut harness = desk.plain();
    open(&mut harness, &run);
    let shown = figures(&mut harness).expect("figures");

    let name = super::harness::selected(&harness);
    let picture = |name: &str| {
        image::open(run.join(format!("{name}.png")))
            .expect("there")
            .to_rgb8()
    };
    let recipe = MaskRecipe::default();
    let raw = image::open(run.join("mask.png")).expect("there").to_luma8();
    let placement = Placement::whole((512, 384), (256, 192));
    let mask = process(&resize_area(&raw, 256, 192), &recipe);
    let weights = composite_weights(&mask, &recipe, &placement).expect("weights");
    let zones = ZoneMap::new(&mask, &weights, &placement).expect("zones");
    let expected = zone_report(&picture(&name), &picture("image"), &zones).expect("a report");
    assert_eq!(shown, expected);
    assert_eq!(shown.outside.changed_px, 0);
    assert!(shown.ring.changed_px > 0 && shown.inside.changed_px > 0);

    let label = format!("outside: 0 of {}", shown.outside.pixels / 1000);
    assert!(harness.query_by_label_contains(&label).is_some());
    assert!(harness.query_by_label_contains("ring: ").is_some());
    assert!(
        harness
            .query_by_label_contains("not how good the fill is")
            .is_some()
    );
    assert!(harness.query_by_label_contains("⚠").is_none());
}

#[test]
fn anything_changed_outside_the_mask_is_a_warning() {
    let desk = Desk::new();
    let run = painted_run(&desk, session(&desk), &Recipe::default());
    let mut harness = desk.plain();
    open(&mut harness, &run);
    assert_eq!(
        figures(&mut harness).expect("figures").outside.changed_px,
        0
    );
    let name = super::harness::selected(&harness);
    let path = run.join(format!("{name}.png"));
    let mut picture = image::open(&path).expect("there").to_rgb8();
    for x in 0..3 {
        let pixel = picture.get_pixel_mut(x, 2);
        pixel.0[1] ^= 1;
    }
    picture.save(&path).expect("written");
    harness.key_press(Key::F5);
    step_until(&mut harness, "the run is read again", |harness| {
        let view = view(harness);
        let key = figures::subject(view).expect("a cell");
        let known = view.figures.of(&key);
        known.is_some_and(|it| it.as_ref().is_ok_and(|it| it.outside.changed_px == 3))
    });
    harness.run_steps(2);
    assert!(
        harness
            .query_by_label_contains("⚠ 3 px differ outside the mask")
            .is_some()
    );
}

#[test]
fn figures_are_against_the_chosen_reference() {
    let desk = Desk::new();
    let run = painted_run(&desk, session(&desk), &Recipe::default());
    let mut harness = desk.plain();
    open(&mut harness, &run);
    let against_original = figures(&mut harness).expect("figures");
    // This cell becomes the reference: there is nothing to say of it against itself.
    harness.key_press_modifiers(eframe::egui::Modifiers::SHIFT, Key::Space);
    harness.run_steps(2);
    assert!(
        harness
            .query_by_label_contains("the reference is this cell itself")
            .is_some()
    );
    harness.key_press(Key::ArrowLeft);
    harness.run_steps(2);
    let against_cell = figures(&mut harness).expect("figures");
    assert!(matches!(view(&harness).look.reference, Reference::Cell(_)));
    assert_ne!(against_cell, against_original);
    assert_eq!(against_cell.outside.changed_px, 0);
}

#[test]
fn without_a_session_the_panel_says_why_there_are_no_figures() {
    let desk = Desk::new();
    let harness = desk.plain();
    assert!(
        harness
            .query_by_label_contains("keeps neither session nor mask")
            .is_some()
    );
}
