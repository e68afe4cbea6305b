//! Approving: held back, overridden by typed reasons, written, kept.

use super::harness::{Desk, keep_picture, step_until, view};
use eframe::egui::{Key, Role, vec2};
use egui_kittest::kittest::{By, NodeT as _, Queryable as _};
use fill_audit::model::approved::ApprovedSettings;

#[test]
fn a_run_that_says_too_little_is_held_back_until_each_reason_is_answered() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    harness.key_press(Key::A);
    step_until(&mut harness, "the approval is on screen", |harness| {
        harness.query_by_label("Approve Q4_0_gs10").is_some()
    });
    assert!(
        harness
            .get_by_label("Write settings")
            .accesskit_node()
            .is_disabled()
    );
    let codes: Vec<String> = view(&harness)
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
    for expected in [
        "unseen_cells",
        "unknown_weights_hash",
        "unknown_seed",
        "unknown_recipe",
    ] {
        assert!(
            codes.iter().any(|code| code == expected),
            "{expected} is not in {codes:?}"
        );
    }
    for code in &codes {
        let label = format!("({code})");
        let field = || By::new().role(Role::TextInput).label_contains(&label);
        harness.get(field()).focus();
        harness.run_steps(2);
        harness.get(field()).type_text("known from elsewhere");
        harness.run_steps(2);
    }
    harness.get_by_label("Write settings").click();
    step_until(&mut harness, "the settings are written", |_| {
        desk.phase1().exists()
    });
    let text = std::fs::read_to_string(desk.phase1()).expect("read");
    let settings = ApprovedSettings::parse(&text, "phase1.toml").expect("a settings file");
    assert_eq!(settings.model.quant.as_str(), "Q4_0");
    assert_eq!(settings.approval.overrides.len(), codes.len());
    step_until(&mut harness, "the approval is in the journal", |_| {
        desk.journal().contains("Approved")
    });
    let report = std::fs::read_to_string(desk.run.join("REPORT.md")).expect("the report");
    assert!(!report.contains("[User fills this in"), "{report}");
}

#[test]
fn a_picture_of_the_approval() {
    let desk = Desk::new();
    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    harness.key_press(Key::A);
    step_until(&mut harness, "the approval is on screen", |harness| {
        view(harness).approving.is_some()
    });
    super::harness::settle(&mut harness);
    keep_picture(&mut harness, "approve_1280");
}
