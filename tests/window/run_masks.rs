//! The masks on the run page: each cell's own, where it lies, whatever cleaned it.

use super::harness::{Desk, drawn_at_full_size, keep_picture, settle, step_until, view};
use super::lab_runs::{CROP, WHOLE, matrix, run_again, run_of};
use super::mask_lab::Window;
use eframe::egui::vec2;
use egui_kittest::kittest::Queryable as _;
use fill_audit::audit::inputs::SessionInputs;
use fill_audit::imaging::mask::process;
use fill_audit::model::cell::CellKey;
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::model::run::{InferenceSize, Plan, RunDocument, files};
use fill_audit::state::Msg;
use fill_audit::state::command::Command;
use fill_audit::state::look::{Look, Overlay};
use std::path::{Path, PathBuf};

/// Cleaned otherwise than by default, and grown less.
fn other_recipe() -> MaskRecipe {
    MaskRecipe {
        open_px: 0.0,
        close_px: 3.0,
        dilate_px: 6.0,
        ..MaskRecipe::default()
    }
}

/// A run whose cells were made at 10 px, and again with another recipe.
fn run_twice(desk: &Desk, inference: InferenceSize) -> PathBuf {
    let plan = Plan {
        matrix: matrix(&[10.0]),
        recipe: MaskRecipe::default(),
    };
    let run = run_of(desk, plan, inference);
    run_again(&run, &other_recipe());
    run
}

fn inputs(run: &Path) -> SessionInputs {
    let text = std::fs::read_to_string(run.join(files::RUN)).expect("there");
    let document = RunDocument::parse(&text, files::RUN).expect("readable");
    SessionInputs::of_run(run, &document).expect("the run's inputs")
}

fn look(harness: &mut Window, change: impl FnOnce(&mut Look)) {
    let mut look = view(harness).look.clone();
    change(&mut look);
    harness.state_mut().send(Msg::SetLook(Box::new(look)));
    harness.run_steps(2);
}

/// Selects a cell in full screen at 100 %.
fn show_alone(harness: &mut Window, key: &CellKey) {
    harness.state_mut().send(Msg::Select(key.clone()));
    if !view(harness).is_full_screen {
        let full_screen = Msg::Command(Command::FullScreen);
        harness.state_mut().send(full_screen);
    }
    harness.run_steps(2);
    for command in [Command::Fit, Command::ActualSize] {
        harness.state_mut().send(Msg::Command(command));
        harness.run_steps(2);
    }
    harness.remove_cursor();
    settle(harness);
}

#[test]
fn every_cell_shows_the_mask_that_it_was_made_with_pixel_for_pixel() {
    for inference in [WHOLE, CROP] {
        let desk = Desk::new();
        let run = run_twice(&desk, inference);
        let inputs = inputs(&run);
        let mut harness = desk.rendered(vec2(1280.0, 800.0));
        harness.state_mut().send(Msg::Open(run.clone()));
        step_until(&mut harness, "both masks are there", |harness| {
            let run = harness.state().state().run.as_ref();
            run.is_some_and(|view| view.masks.all().count() == 2)
        });
        look(&mut harness, |look| look.overlay = Overlay::Mask);
        let keys: Vec<CellKey> = view(&harness).run.cells.keys().cloned().collect();
        let first = |is_other: bool| keys.iter().find(|key| key.recipe.is_some() == is_other);
        for key in [first(false), first(true)].map(|key| key.expect("made").clone()) {
            show_alone(&mut harness, &key);
            let name = view(&harness).run.cell_name(&key);
            keep_picture(&mut harness, &format!("run_mask_{name}"));
            let file = view(&harness).run.inference_mask_file(&key);
            let saved = image::open(run.join(&file)).expect("there").into_luma8();
            // The file is what the recipe of the cell makes.
            let recipe = view(&harness).run.recipe_of(&key).expect("known");
            let made = process(&inputs.raw_mask, &recipe).grown;
            assert_eq!(saved, made.to_grey(), "{file}");
            let cell = harness.get_by_label_contains("full screen: ").rect();
            let (mut differing, mut white) = (0, 0);
            let drawn = drawn_at_full_size(&mut harness, cell, inputs.placement.image_size);
            for (at, shown) in drawn {
                let at = inputs.placement.inference_pixel(at[0] as u32, at[1] as u32);
                let Some((u, v)) = at else { continue };
                let expected = [saved.get_pixel(u, v).0[0]; 3];
                white += usize::from(expected == [255; 3]);
                differing += usize::from(shown != expected);
            }
            assert!(white > 1000, "{name}: {white}");
            assert_eq!(differing, 0, "{inference:?}, {name}");
        }
    }
}

#[test]
fn a_recipe_from_the_lab_draws_its_own_mask_until_it_is_taken_back() {
    let desk = Desk::new();
    let run = run_twice(&desk, WHOLE);
    let mut harness = desk.plain();
    harness.state_mut().send(Msg::Open(run));
    settle(&mut harness);
    let keys: Vec<CellKey> = view(&harness).run.cells.keys().cloned().collect();
    let own: Vec<_> = keys
        .iter()
        .map(|key| view(&harness).mask_recipe_of(key))
        .collect();
    let tuned = MaskRecipe {
        min_component_px: 500,
        ..other_recipe()
    };
    harness.state_mut().send(Msg::Command(Command::GoTo(
        fill_audit::state::Page::MaskLab,
    )));
    super::mask_lab::settle_lab(&mut harness);
    super::mask_lab::set_recipe(&mut harness, |recipe| *recipe = tuned.clone());
    super::mask_lab::send(&mut harness, fill_audit::state::lab::LabMsg::UseInOpenRun);
    step_until(&mut harness, "its mask is there", |harness| {
        view(harness).masks.of(&tuned).is_some()
    });
    for key in &keys {
        assert_eq!(view(&harness).mask_recipe_of(key).as_ref(), Some(&tuned));
    }
    look(&mut harness, |look| look.dilate_px = None);
    let again: Vec<_> = keys
        .iter()
        .map(|key| view(&harness).mask_recipe_of(key))
        .collect();
    assert_eq!(again, own);
}

#[test]
fn a_mask_that_comes_late_is_drawn_after_the_next_reading() {
    let desk = Desk::new();
    let run = run_twice(&desk, WHOLE);
    let mask = run.join(files::MASK);
    let aside = desk.folder.path().join("mask-aside.png");
    std::fs::rename(&mask, &aside).expect("moved");
    let mut harness = desk.plain();
    harness.state_mut().send(Msg::Open(run));
    step_until(&mut harness, "it is missed", |harness| {
        let toasts = &harness.state().state().toasts;
        toasts
            .iter()
            .any(|toast| toast.text.contains("mask views are off"))
    });
    std::fs::rename(&aside, &mask).expect("moved back");
    harness.state_mut().send(Msg::Command(Command::Reload));
    step_until(&mut harness, "both masks are there", |harness| {
        view(harness).masks.all().count() == 2
    });
}
