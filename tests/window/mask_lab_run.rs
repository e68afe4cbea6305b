//! The mask lab beside a run: the run's mask, composites, hand-overs, cells that are run again, pictures.

use super::harness::{Desk, fixture, keep_picture, settle, step_until, view};
use super::mask_lab::{
    Window, is_settled, lab, open_session, send, session, set_recipe, settle_lab,
};
use eframe::egui::vec2;
use egui_kittest::kittest::Queryable as _;
use fill_audit::audit::painted_engine::PaintedEngine;
use fill_audit::audit::{AuditContext, RunRequest, execute, start};
use fill_audit::model::cell::{Guidance, Quant, RadiusPx, Steps};
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::model::matrix::Matrix;
use fill_audit::model::prompt;
use fill_audit::model::run::{InferenceSize, MatmulPath, Plan};
use fill_audit::state::command::Command;
use fill_audit::state::lab::{LabMsg, LabTab};
use fill_audit::state::look::ViewRequest;
use fill_audit::state::{Msg, Page};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

/// A run of that session with one quant and two guidances, made at 10 px and a long side of 256.
pub fn own_run(desk: &Desk, recipe: &MaskRecipe) -> PathBuf {
    let request = RunRequest {
        session_dir: session(desk),
        runs_dir: desk.folder.path().join("runs"),
        run_id: None,
        is_new: false,
        plan: Plan {
            matrix: Matrix {
                quants: vec![Quant::new("Q4_0").expect("a quant")],
                guidances: [4.0, 10.0]
                    .map(|g| Guidance::new(g).expect("a guidance"))
                    .to_vec(),
                steps: vec![Steps::new(2).expect("steps")],
                seeds: vec![42],
                prompts: vec![0],
                dilations: vec![RadiusPx::new(10.0).expect("a radius")],
            },
            recipe: recipe.clone(),
        },
        prompts: vec![prompt::PRODUCTION.to_owned()],
        inference: InferenceSize::Whole { long_side_px: 256 },
        device: "cpu".to_owned(),
        matmul: MatmulPath::Exact,
        gates_override: None,
    };
    let cancel = AtomicBool::new(false);
    let mut engine = PaintedEngine::default();
    let mut context = AuditContext {
        clock: &|| "2026-11-21T09:00:00Z".parse().expect("a time"),
        cancel: &cancel,
        observer: &mut |_| {},
    };
    let owned = start(&request, &mut engine, &mut context).expect("started");
    execute(&owned, &mut engine, None, &mut context).expect("run");
    owned.folder
}

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
            .is_some_and(|view| view.mask_field.is_some())
    });
    let field = view(&harness).mask_field.clone().expect("there");
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

/// The repository's own session where there is one: what a reviewer sees.
fn real_session() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions/leash-on-grass");
    if own.join("image.png").is_file() {
        own
    } else {
        fixture("service-run")
    }
}

#[test]
fn pictures_of_the_mask_lab() {
    for (size_name, size) in [
        ("1280", vec2(1280.0, 800.0)),
        ("3840", vec2(3840.0, 2160.0)),
    ] {
        let desk = Desk::new();
        let mut harness = desk.rendered(size);
        open_session(&mut harness, real_session());
        let show = |harness: &mut Window, name: &str| {
            settle(harness);
            keep_picture(harness, &format!("lab_{name}_{size_name}"));
        };
        send(
            &mut harness,
            LabMsg::SetRecipe {
                recipe: Box::new(MaskRecipe::none()),
                is_settled: true,
            },
        );
        settle_lab(&mut harness);
        show(&mut harness, "before");
        send(
            &mut harness,
            LabMsg::SetRecipe {
                recipe: Box::default(),
                is_settled: true,
            },
        );
        settle_lab(&mut harness);
        harness
            .state_mut()
            .send(Msg::Command(Command::ToggleMaskBox));
        show(&mut harness, "after");
        // A software driver takes seconds for each picture of the large window.
        let tabs: &[LabTab] = if size_name == "1280" {
            &[LabTab::Model, LabTab::Paint]
        } else {
            &[]
        };
        for &tab in tabs {
            send(&mut harness, LabMsg::SetTab(tab));
            show(&mut harness, tab.label());
        }
    }
    let desk = Desk::new();
    let run = own_run(&desk, &MaskRecipe::default());
    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    harness.state_mut().send(Msg::Open(run));
    settle(&mut harness);
    harness
        .state_mut()
        .send(Msg::Command(Command::GoTo(Page::MaskLab)));
    step_until(&mut harness, "the run's copies are open", is_settled_mut);
    set_recipe(&mut harness, |recipe| recipe.dilate_px = 14.0);
    send(&mut harness, LabMsg::SetTab(LabTab::Composite));
    step_until(&mut harness, "it is exact", |harness| {
        lab(harness).exact_composite().is_some()
    });
    settle(&mut harness);
    keep_picture(&mut harness, "lab_composite_1280");
    send(&mut harness, LabMsg::UseInOpenRun);
    settle(&mut harness);
    keep_picture(&mut harness, "lab_badges_1280");
}
