//! Where a recipe goes: badges on what was made with another one, cells that are run again, the session, a
//! run's plan, the approved settings.

use super::harness::{Desk, settle, step_until, view};
use super::lab_runs::{WHOLE, matrix, own_run, run_again, run_of};
use super::mask_lab::{Window, is_settled, lab, open_session, send, session, set_recipe};
use eframe::egui::{Key, Role, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{By, NodeT as _, Queryable as _};
use fill_audit::app::{FillAuditApp, Services};
use fill_audit::audit::painted_engine::PaintedEngine;
use fill_audit::model::approved::ApprovedSettings;
use fill_audit::model::cell::{CellKey, Quant, RadiusPx};
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::model::run::{CellState, Plan, RunDocument, files};
use fill_audit::model::session::Session;
use fill_audit::state::command::Command;
use fill_audit::state::lab::{LabMsg, LabTab};
use fill_audit::state::look::Look;
use fill_audit::state::{Msg, Page};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

/// A recipe that differs from the default in more than its dilation.
fn tuned() -> MaskRecipe {
    MaskRecipe {
        open_px: 1.5,
        dilate_px: 14.0,
        feather_sigma_px: 2.0,
        ..MaskRecipe::default()
    }
}

fn open_run(harness: &mut Window, run: &Path) {
    harness.state_mut().send(Msg::Open(run.to_owned()));
    settle(harness);
}

fn go_to(harness: &mut Window, page: Page) {
    harness.state_mut().send(Msg::Command(Command::GoTo(page)));
    harness.run_steps(2);
}

fn open_lab(harness: &mut Window) {
    go_to(harness, Page::MaskLab);
    step_until(harness, "the run's copies are open", |harness| {
        is_settled(harness)
    });
}

fn use_painter(harness: &mut Window) {
    let mut form = harness.state().state().compose.clone();
    "painted".clone_into(&mut form.models_dir);
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness.run_steps(1);
}

fn keys(harness: &Window) -> Vec<CellKey> {
    view(harness).run.cells.keys().cloned().collect()
}

/// Whether the cell's picture on the run's page carries this badge.
fn has_badge(harness: &Window, key: &CellKey, badge: &str) -> bool {
    let name = view(harness).run.cell_name(key);
    let label = format!("{name}, done");
    harness
        .query_all_by_label_contains(badge)
        .filter_map(|node| node.accesskit_node().label())
        .any(|found| found.starts_with(&label))
}

#[test]
fn these_cells_are_run_again_with_the_tuned_recipe_and_the_former_ones_carry_badges() {
    let desk = Desk::new();
    let mut plan = Plan {
        matrix: matrix(&[10.0]),
        recipe: MaskRecipe::default(),
    };
    plan.matrix
        .quants
        .push(Quant::new("Q8_0").expect("a quant"));
    let run = run_of(&desk, plan, WHOLE);
    let mut harness = desk.plain();
    open_run(&mut harness, &run);
    use_painter(&mut harness);
    open_lab(&mut harness);
    set_recipe(&mut harness, |recipe| *recipe = tuned());
    let former = keys(&harness);
    assert_eq!(former.len(), 4);
    assert!(
        harness
            .query_by_label("4 of 4 finished cells were made with another recipe")
            .is_some()
    );
    harness.get_by_label("Re-run these 4 cells").click();
    step_until(&mut harness, "four more cells are done", |harness| {
        view(harness).run.done_count() == 8 && view(harness).live.is_none()
    });
    settle(&mut harness);
    assert_eq!(harness.state().state().page, Page::Run);

    // One plan was added, with this recipe and the cells that were asked for.
    let run_view = view(&harness);
    assert_eq!(run_view.run.extensions.len(), 1);
    assert_eq!(run_view.run.extensions[0].plan.recipe, tuned());
    let fresh: Vec<CellKey> = keys(&harness)
        .into_iter()
        .filter(|key| !former.contains(key))
        .collect();
    let asked = |key: &CellKey| (key.quant.clone(), key.guidance, key.steps, key.seed);
    let (mut old, mut new): (Vec<_>, Vec<_>) = (
        former.iter().map(asked).collect(),
        fresh.iter().map(asked).collect(),
    );
    old.sort();
    new.sort();
    assert_eq!(old, new);
    for key in &fresh {
        assert_eq!(run_view.run.recipe_of(key).as_ref(), Some(&tuned()));
        let name = run_view.run.cell_name(key);
        assert!(name.contains("_d14_m"), "{name}");
        assert!(run.join(files::fill(&name)).is_file());
        assert!(run_view.grid.order().contains(key), "{name} is on the page");
    }
    // What was made otherwise says so, what is fresh does not.
    let badge = "made at 10 px, open 2, feather σ 4";
    for key in &former {
        assert!(has_badge(&harness, key, badge), "{key:?}");
    }
    for key in &fresh {
        assert!(!has_badge(&harness, key, "made "), "{key:?}");
    }

    // Asked for once more, nothing is repeated.
    let before = std::fs::read_dir(&run).expect("there").count();
    go_to(&mut harness, Page::MaskLab);
    harness.get_by_label("Re-run these 4 cells").click();
    step_until(&mut harness, "nothing was left to do", |harness| {
        let toasts = &harness.state().state().toasts;
        toasts
            .iter()
            .any(|toast| toast.text.contains("0 cells made, 0 failed"))
    });
    assert_eq!(view(&harness).run.extensions.len(), 1);
    assert_eq!(std::fs::read_dir(&run).expect("there").count(), before);

    // At their own recipes again nothing carries a badge.
    let look = Look {
        dilate_px: None,
        ..view(&harness).look.clone()
    };
    go_to(&mut harness, Page::Run);
    harness.state_mut().send(Msg::SetLook(Box::new(look)));
    harness.run_steps(2);
    assert_eq!(harness.query_all_by_label_contains(badge).count(), 0);
    assert!(view(&harness).lab_recipe.is_none());
}

#[test]
fn cells_that_are_asked_for_during_a_run_wait_for_its_end() {
    let desk = Desk::new();
    let run = own_run(&desk, &MaskRecipe::default());
    let services = Services {
        engines: Arc::new(|_, _, _| {
            let mut painter = PaintedEngine::default();
            painter.step = Duration::from_millis(150);
            Ok(Box::new(painter))
        }),
        ..desk.services()
    };
    let mut harness = Harness::builder()
        .with_size(vec2(1280.0, 800.0))
        .build_eframe(|cc| FillAuditApp::new(cc, Some(run), services));
    settle(&mut harness);
    use_painter(&mut harness);
    open_lab(&mut harness);
    for (waits, dilate_px) in [(false, 14.0), (true, 5.0)] {
        go_to(&mut harness, Page::MaskLab);
        set_recipe(&mut harness, |recipe| recipe.dilate_px = dilate_px);
        harness.get_by_label("Re-run these 2 cells").click();
        step_until(&mut harness, "it is under way", |harness| {
            harness.state().state().rerun_waits == waits && view(harness).live.is_some()
        });
    }
    // A third one would be one too many.
    go_to(&mut harness, Page::MaskLab);
    let button = harness.get_by_label("Re-run these 2 cells");
    assert!(button.accesskit_node().is_disabled());
    step_until(&mut harness, "both have ended", |harness| {
        view(harness).run.done_count() == 6 && view(harness).live.is_none()
    });
    assert!(!harness.state().state().rerun_waits);
    let dilations: Vec<f32> = view(&harness)
        .run
        .extensions
        .iter()
        .map(|extension| extension.plan.recipe.dilate_px)
        .collect();
    assert_eq!(dilations, [14.0, 5.0]);
}

#[test]
fn a_run_that_is_refused_leaves_the_cells_as_they_were() {
    let desk = Desk::new();
    let run = own_run(&desk, &MaskRecipe::default());
    let mut harness = desk.plain();
    open_run(&mut harness, &run);
    use_painter(&mut harness);
    open_lab(&mut harness);
    set_recipe(&mut harness, |recipe| recipe.dilate_px = 100.0);
    harness.get_by_label("Re-run these 2 cells").click();
    step_until(&mut harness, "it is refused", |harness| {
        let toasts = &harness.state().state().toasts;
        toasts
            .iter()
            .any(|toast| toast.is_error && toast.text.contains("at most 40 % is allowed"))
    });
    step_until(&mut harness, "the run is read again", |harness| {
        !harness.state().is_loading()
    });
    assert_eq!(view(&harness).run.cells.len(), 2);
    assert!(!run.join(files::plan(1)).exists());
}

#[test]
fn in_the_lab_a_cell_s_badge_says_what_its_own_recipe_does_otherwise() {
    let desk = Desk::new();
    let plan = Plan {
        matrix: matrix(&[8.0, 14.0]),
        recipe: MaskRecipe {
            dilate_px: 8.0,
            ..MaskRecipe::default()
        },
    };
    let run = run_of(&desk, plan, WHOLE);
    run_again(&run, &tuned());
    let mut harness = desk.plain();
    open_run(&mut harness, &run);
    open_lab(&mut harness);
    send(&mut harness, LabMsg::SetTab(LabTab::Composite));
    set_recipe(&mut harness, |recipe| recipe.dilate_px = 8.0);
    let mut seen = 0;
    for key in keys(&harness) {
        let name = view(&harness).run.cell_name(&key);
        send(&mut harness, LabMsg::ShowFillOf(key.clone()));
        let badge = match (key.dilate_px.map(RadiusPx::value), &key.recipe) {
            (Some(8.0), None) => "",
            (Some(14.0), None) => ", made at 14 px",
            (Some(14.0), Some(_)) => ", made at 14 px, open 1.5, feather σ 2",
            other => panic!("{other:?}"),
        };
        let label = format!("{name} as stored{badge}");
        assert!(harness.query_by_label(&label).is_some(), "{label}");
        // What is composed is always the recipe on screen, whatever the cell was made with.
        step_until(&mut harness, "it is exact", |harness| {
            lab(harness).exact_composite().is_some()
        });
        let composed = lab(&harness).exact_composite().expect("exact");
        assert_eq!(&composed.recipe, lab(&harness).recipe());
        assert_eq!(composed.cell, key);
        assert!(
            harness
                .query_by_label(&format!("{name} at 8 px, exact"))
                .is_some()
        );
        seen += 1;
    }
    assert_eq!(seen, 6);
    assert!(
        harness
            .query_by_label("4 of 6 finished cells were made with another recipe")
            .is_some()
    );
    // With nothing but the feather moved, the badge says that.
    set_recipe(&mut harness, |recipe| recipe.feather_sigma_px = 1.0);
    let first = keys(&harness).remove(0);
    let name = view(&harness).run.cell_name(&first);
    send(&mut harness, LabMsg::ShowFillOf(first));
    assert!(
        harness
            .query_by_label(&format!("{name} as stored, made with feather σ 4"))
            .is_some()
    );
}

/// Types a reason for everything that holds the approval back, and writes it.
fn approve(harness: &mut Window, desk: &Desk) -> Vec<String> {
    harness.key_press(Key::A);
    step_until(harness, "the approval is on screen", |harness| {
        view(harness).approving.is_some()
    });
    harness.run_steps(2);
    let codes: Vec<String> = view(harness)
        .approving
        .as_ref()
        .and_then(|approving| approving.draft.as_ref().ok())
        .map(|draft| {
            draft
                .held_back()
                .iter()
                .map(|reason| reason.code.to_string())
                .collect()
        })
        .expect("a draft");
    for code in &codes {
        let label = format!("({code})");
        let field = || By::new().role(Role::TextInput).label_contains(&label);
        harness.get(field()).focus();
        harness.run_steps(2);
        harness.get(field()).type_text("it is a test");
        harness.run_steps(2);
    }
    let _ = std::fs::remove_file(desk.phase1());
    harness.get_by_label("Write settings").click();
    step_until(harness, "the settings are written", |harness| {
        desk.phase1().exists() && view(harness).approving.is_none()
    });
    codes
}

fn approved(desk: &Desk) -> ApprovedSettings {
    let text = std::fs::read_to_string(desk.phase1()).expect("written");
    ApprovedSettings::parse(&text, "phase1.toml").expect("a settings file")
}

#[test]
fn a_tuned_recipe_goes_to_the_session_to_the_run_s_plan_and_into_the_approved_settings() {
    let desk = Desk::new();
    let dir = session(&desk);
    let mut harness = desk.plain();
    open_session(&mut harness, dir.clone());
    set_recipe(&mut harness, |recipe| *recipe = tuned());
    harness.get_by_label("Save to the session").click();
    step_until(&mut harness, "it is saved", |harness| {
        !lab(harness).has_unsaved()
    });
    let text = std::fs::read_to_string(dir.join("session.ron")).expect("written");
    let saved = Session::parse(&text, "session.ron").expect("readable");
    assert_eq!(saved.recipe.as_ref(), Some(&tuned()));
    // Opened again, the lab begins with it.
    open_session(&mut harness, dir);
    assert_eq!(*lab(&harness).recipe(), tuned());

    harness.get_by_label("Use in a new run").click();
    harness.run_steps(2);
    let mut form = harness.state().state().compose.clone();
    "painted".clone_into(&mut form.models_dir);
    "Q4_0".clone_into(&mut form.quants);
    "4, 10".clone_into(&mut form.guidances);
    "2".clone_into(&mut form.steps);
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness.run_steps(2);
    harness.get_by_label("Start run").click();
    step_until(&mut harness, "the run is complete", |harness| {
        let run = harness.state().state().run.as_ref();
        run.is_some_and(|view| {
            view.run.document().is_some() && view.run.done_count() == 2 && view.live.is_none()
        })
    });
    settle(&mut harness);
    let text = std::fs::read_to_string(view(&harness).dir.join(files::RUN)).expect("written");
    let document = RunDocument::parse(&text, files::RUN).expect("readable");
    assert_eq!(document.plan.recipe, tuned());
    for (key, state) in &view(&harness).run.cells {
        assert_eq!(view(&harness).run.recipe_of(key).as_ref(), Some(&tuned()));
        assert!(matches!(state, CellState::Done(_)));
    }

    let codes = approve(&mut harness, &desk);
    assert!(
        !codes.iter().any(|code| code == "recipe_differs"),
        "{codes:?}"
    );
    assert_eq!(approved(&desk).recipe(), Some(tuned()));
}

#[test]
fn a_recipe_that_was_handed_over_is_approved_only_with_a_reason() {
    let desk = Desk::new();
    let run = own_run(&desk, &MaskRecipe::default());
    let mut harness = desk.plain();
    open_run(&mut harness, &run);
    open_lab(&mut harness);
    set_recipe(&mut harness, |recipe| *recipe = tuned());
    harness.get_by_label("Compare with the open run").click();
    harness.run_steps(3);
    let codes = approve(&mut harness, &desk);
    assert!(
        codes.iter().any(|code| code == "recipe_differs"),
        "{codes:?}"
    );
    assert_eq!(approved(&desk).recipe(), Some(tuned()));
}
