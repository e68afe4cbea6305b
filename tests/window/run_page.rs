//! The Run page.

use super::harness::{keep_picture, plain, rendered, service_run, settle};
use eframe::egui::{Key, vec2};
use egui_kittest::kittest::{NodeT as _, Queryable as _};

#[test]
fn a_run_opens_as_a_grid_with_the_baseline_selected() {
    let mut harness = plain(Some(service_run()));
    settle(&mut harness);
    let baseline = harness.get_by_label("Q4_0_gs10, done, baseline");
    assert!(format!("{:?}", baseline.accesskit_node().toggled()).contains("True"));
    assert!(harness.query_by_label("Q8_0_gs30, done").is_some());
    assert!(harness.query_all_by_label_contains("unknown").count() >= 2);
}

#[test]
fn arrows_move_through_the_grid_and_enter_shows_one_cell() {
    let mut harness = plain(Some(service_run()));
    settle(&mut harness);
    for key in [Key::ArrowRight, Key::ArrowDown] {
        harness.key_press(key);
        harness.run_steps(2);
    }
    let selected = harness
        .state()
        .state()
        .run
        .as_ref()
        .and_then(|view| view.selected.clone());
    assert_eq!(
        selected.map(|key| (key.quant.to_string(), key.guidance.value())),
        Some(("Q5_K_S".to_owned(), 20.0))
    );
    harness.key_press(Key::Enter);
    harness.run_steps(2);
    assert!(
        harness
            .query_by_label("full screen: Q5_K_S_gs20, done")
            .is_some()
    );
    harness.key_press(Key::Escape);
    harness.run_steps(2);
    assert!(harness.query_by_label_contains("full screen").is_none());
}

#[test]
fn pictures_of_the_run_page() {
    for (name, size) in [
        ("run_1280", vec2(1280.0, 800.0)),
        ("run_3840", vec2(3840.0, 2160.0)),
    ] {
        let mut harness = rendered(size, Some(service_run()));
        settle(&mut harness);
        keep_picture(&mut harness, name);
    }
}
