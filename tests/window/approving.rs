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

#[test]
fn a_former_file_is_shown_as_a_difference_and_kept() {
    let desk = Desk::new();
    let former = {
        let mut harness = desk.plain();
        let text = approve(&mut harness, &desk, "Q4_0_gs10");
        drop(harness);
        text
    };
    assert!(former.contains("guidance_scale = 10"), "{former}");
    let mut harness = desk.plain();
    harness.key_press(Key::ArrowRight);
    harness.run_steps(2);
    harness.key_press(Key::A);
    step_until(&mut harness, "the approval is on screen", |harness| {
        harness.query_by_label("Approve Q4_0_gs20").is_some()
    });
    let shows = |harness: &super::mask_lab::Window, line: &str| {
        harness.query_all_by_label_contains(line).next().is_some()
    };
    assert!(shows(&harness, "Against the current file"));
    assert!(shows(&harness, "− guidance_scale = 10"));
    assert!(shows(&harness, "+ guidance_scale = 20"));
    // Nothing is written by looking.
    assert_eq!(
        std::fs::read_to_string(desk.phase1()).expect("read"),
        former
    );
    let written = approve(&mut harness, &desk, "Q4_0_gs20");
    assert!(written.contains("guidance_scale = 20"), "{written}");
    let kept = std::fs::read_dir(desk.folder.path())
        .expect("listed")
        .flatten();
    let kept: Vec<String> = kept
        .filter(|entry| entry.file_name().to_string_lossy().starts_with("phase1"))
        .filter_map(|entry| std::fs::read_to_string(entry.path()).ok())
        .collect();
    assert!(
        kept.contains(&former) && kept.contains(&written),
        "{}",
        kept.len()
    );
}

/// Answers every reason and writes; the file's text.
fn approve(harness: &mut super::mask_lab::Window, desk: &Desk, cell: &str) -> String {
    if view(harness).approving.is_none() {
        harness.key_press(Key::A);
    }
    step_until(harness, "the approval is on screen", |harness| {
        harness.query_by_label(&format!("Approve {cell}")).is_some()
    });
    let draft = view(harness)
        .approving
        .as_ref()
        .and_then(|it| it.draft.as_ref().ok());
    let held_back = draft.expect("a draft").held_back();
    let codes: Vec<String> = held_back
        .iter()
        .map(|reason| reason.code.to_string())
        .collect();
    for code in &codes {
        let label = format!("({code})");
        let field = || By::new().role(Role::TextInput).label_contains(&label);
        harness.get(field()).focus();
        harness.run_steps(2);
        harness.get(field()).type_text("known from elsewhere");
        harness.run_steps(2);
    }
    let before = std::fs::read_to_string(desk.phase1()).unwrap_or_default();
    harness.get_by_label("Write settings").click();
    let now = || std::fs::read_to_string(desk.phase1()).unwrap_or_default();
    step_until(harness, "the settings are written", |_| now() != before);
    step_until(harness, "the approval is closed", |harness| {
        view(harness).approving.is_none()
    });
    now()
}
