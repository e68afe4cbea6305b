//! Axes: dragged by name, hidden value by value, gone through by themselves; cells toned by time.

use super::harness::{Desk, selected, step_until, view};
use super::mask_lab::{Window, drag, session};
use super::seeing::{Recipe, open, painted_run};
use eframe::egui::{Key, Pos2};
use egui_kittest::kittest::Queryable as _;
use fill_audit::model::matrix::Axis;
use fill_audit::state::Msg;
use fill_audit::state::command::Command;
use fill_audit::state::seeing::SeeMsg;
use fill_audit::state::seeing::time_tone::TimeTone;

fn center(harness: &Window, label: &str) -> Pos2 {
    harness.get_by_label(label).rect().center()
}

/// Drags what has one label onto what has the other.
fn drag_onto(harness: &mut Window, from: Pos2, to: Pos2) {
    let middle = from + (to - from) * 0.5;
    drag(
        harness,
        &[from, from + (middle - from) * 0.2, middle, to, to],
    );
    harness.run_steps(3);
}

#[test]
fn an_axis_name_is_dragged_onto_columns_rows_and_labels() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    let from = center(&harness, "rows: quant");
    let to = center(&harness, "columns: guidance");
    drag_onto(&mut harness, from, to);
    let pivot = view(&harness).pivot.clone();
    assert_eq!((pivot.rows, pivot.columns), (Axis::Guidance, Axis::Quant));
    // Onto the labels above the grid.
    let from = center(&harness, "rows: guidance");
    let cell = harness.get_by_label("Q4_0_gs10, done, baseline").rect();
    let grid = harness.get_by_label("Q4_0_gs2, done").rect();
    let to = Pos2::new(cell.center().x, grid.top() - 12.0);
    drag_onto(&mut harness, from, to);
    let pivot = view(&harness).pivot.clone();
    assert_eq!((pivot.rows, pivot.columns), (Axis::Quant, Axis::Guidance));
    // A click still opens the menu.
    harness.get_by_label("rows: quant").click();
    harness.run_steps(3);
    harness.get_by_label("steps").click();
    harness.run_steps(3);
    assert_eq!(view(&harness).pivot.rows, Axis::Steps);
}

#[test]
fn an_axis_becomes_pages_and_comes_back() {
    let desk = Desk::new();
    let recipe = Recipe {
        steps: &[2, 3],
        ..Recipe::default()
    };
    let run = painted_run(&desk, session(&desk), &recipe);
    let mut harness = desk.plain();
    open(&mut harness, &run);
    assert!(harness.query_by_label("page steps").is_some());
    let (from, to) = (
        center(&harness, "rows: quant"),
        center(&harness, "page steps"),
    );
    drag_onto(&mut harness, from, to);
    let now = view(&harness);
    assert_eq!(now.pivot.rows, Axis::Steps);
    assert_eq!(now.pivot.page_axes(&now.run), [Axis::Quant]);
    let from = harness.get_by_label("page quant").rect();
    // The name stands to the left of its menu.
    let from = Pos2::new(from.left() - 16.0, from.center().y);
    let to = center(&harness, "rows: steps");
    drag_onto(&mut harness, from, to);
    assert_eq!(view(&harness).pivot.rows, Axis::Quant);
}

#[test]
fn a_run_opens_on_the_page_of_the_selected_cell() {
    let desk = Desk::new();
    let recipe = Recipe {
        // The baseline is at the first of these, which stands on the second page.
        steps: &[3, 2],
        ..Recipe::default()
    };
    let run = painted_run(&desk, session(&desk), &recipe);
    let mut harness = desk.plain();
    open(&mut harness, &run);
    let view = view(&harness);
    let selected = view.selected.clone().expect("the baseline");
    assert_eq!(selected.steps.value(), 3);
    assert!(view.grid.order().contains(&selected));
}

#[test]
fn values_of_pages_can_be_hidden_too() {
    let desk = Desk::new();
    let recipe = Recipe {
        steps: &[2, 3],
        ..Recipe::default()
    };
    let run = painted_run(&desk, session(&desk), &recipe);
    let mut harness = desk.plain();
    open(&mut harness, &run);
    harness.get_by_label("Show").click();
    harness.run_steps(3);
    harness.get_by_label("steps 2").click();
    harness.run_steps(3);
    assert!(harness.query_by_label("Show (1 hidden)").is_some());
    let shown = view(&harness).grid.order();
    assert_eq!(shown.len(), 4);
    assert!(shown.iter().all(|key| key.steps.value() == 3));
    harness.get_by_label("quant Q4_0").click();
    harness.run_steps(3);
    assert_eq!(view(&harness).grid.order().len(), 2);
    harness.get_by_label("Show all").click();
    harness.run_steps(3);
    assert_eq!(view(&harness).grid.order().len(), 4);
}

#[test]
fn the_grid_goes_through_its_pages_by_itself_at_a_speed_that_is_seen() {
    let desk = Desk::new();
    let recipe = Recipe {
        steps: &[2, 3],
        ..Recipe::default()
    };
    let run = painted_run(&desk, session(&desk), &recipe);
    let mut harness = desk.plain();
    open(&mut harness, &run);
    harness.key_press(Key::C);
    harness.run_steps(2);
    assert!(!view(&harness).is_full_screen);
    assert!(harness.query_by_label("cycle along: steps").is_some());
    assert!(harness.query_all_by_label("a picture every").count() >= 1);
    let page = |harness: &Window| view(harness).pivot.page[&Axis::Steps].clone();
    let first = page(&harness);
    step_until(&mut harness, "the page has turned", |harness| {
        page(harness) != first
    });
    step_until(&mut harness, "it has come round", |harness| {
        page(harness) == first
    });
    let secs = view(&harness).cycle.secs;
    harness.get_by_label("Faster").click();
    harness.run_steps(2);
    assert!(view(&harness).cycle.secs < secs);
    harness.get_by_label("Stop (C)").click();
    harness.run_steps(2);
    assert!(!view(&harness).cycle.is_on);
}

#[test]
fn without_pages_one_cell_alone_goes_through_the_columns() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    let before = selected(&harness);
    harness.key_press(Key::C);
    harness.run_steps(2);
    assert!(view(&harness).is_full_screen);
    harness.state_mut().send(Msg::See(SeeMsg::CycleSecs(0.1)));
    step_until(&mut harness, "another column is shown", |harness| {
        selected(harness) != before && selected(harness).starts_with("Q4_0")
    });
    harness
        .state_mut()
        .send(Msg::See(SeeMsg::CycleAxis(Axis::Quant)));
    harness.run_steps(2);
    let guidance = view(&harness).selected.as_ref().expect("one").guidance;
    step_until(&mut harness, "another quant is shown", |harness| {
        !selected(harness).starts_with("Q4_0")
    });
    let key = view(&harness).selected.clone().expect("one");
    assert_eq!(key.guidance, guidance);
    harness.key_press(Key::Escape);
    harness.run_steps(2);
    assert!(!view(&harness).cycle.is_on);
}

#[test]
fn cells_are_toned_by_time_with_a_legend() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    harness.key_press(Key::T);
    harness.run_steps(2);
    assert_eq!(view(&harness).look.tone, TimeTone::Wall);
    assert!(harness.query_by_label_contains("wall time from ").is_some());
    harness
        .state_mut()
        .send(Msg::Command(Command::NextTimeTone));
    harness.run_steps(2);
    assert!(harness.query_by_label("tone by: GPU time").is_some());
}

#[test]
fn every_command_has_a_menu_entry_and_says_why_where_it_does_nothing() {
    use fill_audit::state::command::{COMMANDS, Menu};
    let desk = Desk::new();
    let mut harness = desk.plain();
    for menu in Menu::ALL {
        let button = harness
            .query_all_by_label(menu.title())
            .next()
            .expect("the menu");
        button.click();
        harness.run_steps(4);
        for info in COMMANDS.iter().filter(|info| info.menu == menu) {
            assert!(
                harness.query_all_by_label(info.name).next().is_some(),
                "{} is not in {}",
                info.name,
                menu.title()
            );
        }
        harness.key_press(Key::Escape);
        harness.run_steps(4);
    }
    let state = harness.state().state();
    let why = |command| fill_audit::state::seeing::why_not(state, command);
    assert!(why(Command::TogglePairs).is_some_and(|reason| reason.contains("second run")));
    assert!(why(Command::WipeBy(1)).is_some() && why(Command::AutoCycle).is_none());
}
