//! The Run page: the grid, moving through it, one cell alone.

use super::harness::{Desk, selected};
use eframe::egui::{Key, Modifiers};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use fill_audit::model::matrix::Axis;
use fill_audit::state::look::{Compare, Reference};

#[test]
fn a_run_opens_as_a_grid_with_the_baseline_selected() {
    let desk = Desk::new();
    let harness = desk.plain();
    let baseline = harness.get_by_label("Q4_0_gs10, done, baseline");
    assert!(format!("{:?}", baseline.accesskit_node().toggled()).contains("True"));
    assert!(harness.query_by_label("Q8_0_gs30, done").is_some());
    assert!(harness.query_all_by_label_contains("unknown").count() >= 2);
}

#[test]
fn arrows_move_through_the_grid_and_enter_shows_one_cell() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    for key in [Key::ArrowRight, Key::ArrowDown] {
        harness.key_press(key);
        harness.run_steps(2);
    }
    assert_eq!(selected(&harness), "Q5_K_S_gs20");
    harness.key_press(Key::Enter);
    harness.run_steps(2);
    assert!(
        harness
            .query_by_label_contains("full screen: Q5_K_S_gs20, done")
            .is_some()
    );
    harness.key_press(Key::ArrowRight);
    harness.run_steps(2);
    assert!(
        harness
            .query_by_label_contains("full screen: Q5_K_S_gs30, done")
            .is_some()
    );
    harness.key_press(Key::Escape);
    harness.run_steps(2);
    assert!(harness.query_by_label_contains("full screen").is_none());
}

#[test]
fn rows_and_columns_are_swapped_by_a_key_and_by_menu() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    harness.key_press(Key::S);
    harness.run_steps(2);
    let pivot = super::harness::view(&harness).pivot.clone();
    assert_eq!((pivot.rows, pivot.columns), (Axis::Guidance, Axis::Quant));
    harness.get_by_label("rows: guidance").click();
    harness.run_steps(3);
    harness.get_by_label("quant").click();
    harness.run_steps(3);
    assert_eq!(super::harness::view(&harness).pivot.rows, Axis::Quant);
}

#[test]
fn comparing_is_set_by_keys_and_space_flickers_while_it_is_held() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    harness.key_press_modifiers(Modifiers::SHIFT, Key::Space);
    harness.run_steps(2);
    let view = super::harness::view;
    assert!(matches!(view(&harness).look.reference, Reference::Cell(_)));
    harness.key_press(Key::ArrowRight);
    harness.key_down(Key::Space);
    harness.run_steps(2);
    assert!(view(&harness).is_reference_held);
    harness.key_up(Key::Space);
    harness.run_steps(2);
    assert!(!view(&harness).is_reference_held);
    harness.key_press(Key::W);
    harness.run_steps(2);
    assert_eq!(view(&harness).look.compare, Compare::Wipe);
    harness.key_press(Key::D);
    harness.run_steps(2);
    assert_eq!(view(&harness).look.compare, Compare::Difference);
    assert!(harness.query_all_by_label("gain").count() >= 1);
    harness.key_press(Key::Escape);
    harness.run_steps(2);
    assert_eq!(view(&harness).look.compare, Compare::Plain);
}

#[test]
fn help_and_palette_know_every_command() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    harness.key_press(Key::F1);
    harness.run_steps(3);
    assert!(harness.query_by_label("Next unreviewed cell").is_some());
    harness.key_press(Key::Escape);
    harness.run_steps(2);
    harness.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::P);
    harness.run_steps(3);
    harness
        .get_by_label("Find a command")
        .type_text("swap rows");
    harness.run_steps(3);
    harness.key_press(Key::Enter);
    harness.run_steps(3);
    assert_eq!(super::harness::view(&harness).pivot.rows, Axis::Guidance);
    assert!(!harness.state().state().is_palette_open);
}
