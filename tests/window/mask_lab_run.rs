//! The mask lab beside a run: the run's mask, composites, hand-overs, a cell that is run again.

use super::harness::{Desk, settle, step_until, view};
use super::lab_runs::own_run;
use super::mask_lab::{Window, is_settled, lab, send, set_recipe};
use eframe::egui::Key;
use egui_kittest::kittest::Queryable as _;
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::state::command::Command;
use fill_audit::state::lab::LabMsg;
use fill_audit::state::look::ViewRequest;
use fill_audit::state::{Msg, Page};

#[test]
fn a_run_opens_zoomed_to_its_mask_s_box() {
    let desk = Desk::new();
    let run = own_run(&desk, &MaskRecipe::default());
    let mut harness = desk.plain();
    harness.state_mut().send(Msg::Open(run));
    step_until(&mut harness, "the mask is measured", |harness| {
        harness
            .state()
            .state()
            .run
            .as_ref()
            .is_some_and(|view| view.masks.all().next().is_some())
    });
    let field = view(&harness).masks.all().next().expect("there").clone();
    assert_eq!(field.size, [256, 192]);
    assert_eq!(view(&harness).view_request.0, ViewRequest::MaskBox);
    // 60..200 by 80..110 at inference size; the one pixel at the tip of the opening's disc keeps one of
    // the tail, to 201. Grown by 10 that is 50..211 by 70..120: 100..422 by 140..240 in the photograph.
    let found = field.mask_box;
    assert_eq!(
        (found.x, found.y, found.width, found.height),
        (100, 140, 322, 100)
    );
    assert_eq!(field.distance_px[95 * 256 + 100], 0.0);
}

#[test]
fn a_composite_is_approximated_while_dragging_and_exact_when_let_go() {
    let desk = Desk::new();
    let run = own_run(&desk, &MaskRecipe::default());
    let mut harness = desk.plain();
    harness.state_mut().send(Msg::Open(run.clone()));
    settle(&mut harness);
    harness
        .state_mut()
        .send(Msg::Command(Command::GoTo(Page::MaskLab)));
    step_until(&mut harness, "the run's copies are open", is_settled_mut);
    harness.get_by_label("Composite").click();
    step_until(&mut harness, "it is exact", |harness| {
        lab(harness).exact_composite().is_some()
    });
    harness.run_steps(2);
    let key = lab(&harness).fill_of.clone().expect("a fill");
    let name = view(&harness).run.cell_name(&key);
    let _ = harness.get_by_label(&format!("{name} at 10 px, exact"));

    // Under the run's own recipe it is the stored picture to the bit.
    let own = image::load_from_memory(&lab(&harness).exact_composite().expect("exact").picture);
    let stored = image::open(run.join(format!("{name}.png"))).expect("there");
    assert!(own.expect("a picture").to_rgb8() == stored.to_rgb8());

    let mut recipe = lab(&harness).recipe().clone();
    recipe.dilate_px = 16.0;
    send(
        &mut harness,
        LabMsg::SetRecipe {
            recipe: Box::new(recipe),
            is_settled: false,
        },
    );
    let _ = harness.get_by_label(&format!("{name} at 16 px, approximated"));
    send(&mut harness, LabMsg::Settle);
    step_until(&mut harness, "it is exact again", |harness| {
        harness
            .query_by_label(&format!("{name} at 16 px, exact"))
            .is_some()
    });
    assert!(
        harness
            .query_by_label(&format!("{name} as stored, made at 10 px"))
            .is_some()
    );
}

#[test]
fn holding_space_shows_the_composite_under_the_other_recipe_exactly_too() {
    let desk = Desk::new();
    let run = own_run(&desk, &MaskRecipe::default());
    let mut harness = desk.plain();
    harness.state_mut().send(Msg::Open(run));
    settle(&mut harness);
    harness
        .state_mut()
        .send(Msg::Command(Command::GoTo(Page::MaskLab)));
    step_until(&mut harness, "the run's copies are open", is_settled_mut);
    harness.get_by_label("Keep this one as B").click();
    harness.run_steps(2);
    set_recipe(&mut harness, |recipe| recipe.dilate_px = 20.0);
    harness.get_by_label("Composite").click();
    let shows =
        |harness: &Window, label: &str| harness.query_all_by_label_contains(label).next().is_some();
    step_until(&mut harness, "A is exact", |harness| {
        shows(harness, "at 20 px, exact")
    });
    harness.key_down(Key::Space);
    step_until(&mut harness, "B is exact", |harness| {
        shows(harness, "at 10 px, exact")
    });
    let other = lab(&harness).exact_composite().expect("exact").revision;
    // Both are kept: going to and fro computes nothing.
    for _ in 0..2 {
        harness.key_up(Key::Space);
        harness.run_steps(2);
        assert!(shows(&harness, "at 20 px, exact"));
        harness.key_down(Key::Space);
        harness.run_steps(2);
        assert!(shows(&harness, "at 10 px, exact"));
    }
    let now = lab(&harness).exact_composite().expect("exact").revision;
    assert_eq!(now, other);
    // What is on screen is what badges speak of.
    assert!(!shows(&harness, "as stored, made"));
    harness.key_up(Key::Space);
    harness.run_steps(2);
    assert!(shows(&harness, "as stored, made at 10 px"));
}

fn is_settled_mut(harness: &mut Window) -> bool {
    is_settled(harness)
}

#[test]
fn the_recipe_goes_to_a_new_run_and_cells_are_run_again_with_it() {
    let desk = Desk::new();
    let run = own_run(&desk, &MaskRecipe::default());
    let mut harness = desk.plain();
    harness.state_mut().send(Msg::Open(run));
    settle(&mut harness);
    let mut form = harness.state().state().compose.clone();
    form.models_dir = "painted".to_owned();
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness
        .state_mut()
        .send(Msg::Command(Command::GoTo(Page::MaskLab)));
    step_until(&mut harness, "the run's copies are open", is_settled_mut);
    set_recipe(&mut harness, |recipe| {
        recipe.dilate_px = 14.0;
        recipe.feather_sigma_px = 2.0;
    });
    harness.get_by_label("Use in a new run").click();
    harness.run_steps(2);
    let state = harness.state().state();
    assert_eq!(
        (state.page, state.compose.dilations.as_str()),
        (Page::Compose, "14")
    );
    assert_eq!(state.compose.recipe.feather_sigma_px, 2.0);

    harness
        .state_mut()
        .send(Msg::Command(Command::GoTo(Page::MaskLab)));
    harness.run_steps(2);
    harness.get_by_label("Compare with the open run").click();
    harness.run_steps(2);
    let badged = "Q4_0_gs10_s2, done, baseline's quant and guidance, made at 10 px";
    let names: Vec<String> = view(&harness)
        .grid
        .order()
        .iter()
        .map(|key| view(&harness).run.cell_name(key))
        .collect();
    assert!(
        harness.query_all_by_label_contains("made at 10 px").count() >= 2,
        "{badged} among {names:?}"
    );
    let cells = view(&harness).run.cells.len();
    harness.get_by_label("Re-run this cell").click();
    step_until(&mut harness, "one more cell is done", |harness| {
        view(harness).run.done_count() == cells + 1 && view(harness).live.is_none()
    });
    let extension = view(&harness)
        .run
        .extensions
        .last()
        .expect("an extension")
        .clone();
    assert_eq!(extension.plan.recipe.feather_sigma_px, 2.0);
    assert_eq!(
        extension.plan.matrix.dilations.first().map(|px| px.value()),
        Some(14.0)
    );
}
