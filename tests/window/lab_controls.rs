//! Each control of the recipe is a slider, a wheel and a typed number on one value, with reset; and what a
//! drag of it computes again.

use super::harness::Desk;
use super::mask_lab::{
    Window, lab, open_session, opened, press, result, session, set_recipe, settle_lab,
};
use eframe::egui::accesskit::Role;
use eframe::egui::{self, Event, Key, Modifiers, Pos2, pos2, vec2};
use egui_kittest::kittest::{NodeT as _, Queryable as _};
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::state::lab::recipe_field::RecipeField;
use image::{GrayImage, Luma};
use std::path::PathBuf;
use std::sync::Arc;

/// The session of the other tests with a mask on which every control has something to do: soft edges,
/// components of many sizes, a slit that closing shuts, a tail that opening removes.
fn soft_session(desk: &Desk) -> PathBuf {
    let dir = session(desk);
    let mask = GrayImage::from_fn(512, 384, |x, y| {
        let bar = (120..400).contains(&x) && (160..220).contains(&y);
        let slit = bar && (250..253).contains(&x);
        let tail = (400..480).contains(&x) && (186..193).contains(&y);
        let side = x / 64 + 3;
        let speck = (20..20 + side).contains(&y) && (x % 64) < side;
        let soft = (120..400).contains(&x) && (220..260).contains(&y);
        Luma([if slit {
            0
        } else if bar || tail || speck {
            255
        } else if soft {
            (255 - (y - 219) * 6) as u8
        } else {
            0
        }])
    });
    mask.save(dir.join("mask.png")).expect("written");
    dir
}

fn value(harness: &Window, field: RecipeField) -> f64 {
    field.value(lab(harness).recipe())
}

/// Slider and number show this value, and so has the recipe.
fn expect_value(harness: &Window, field: RecipeField, expected: f64, what: &str) {
    let label = field.label();
    let slider_label = format!("{label} slider");
    let slider = harness.get_by_label(&slider_label);
    let number = harness.get_by_role_and_label(Role::SpinButton, label);
    let shown = [
        value(harness, field),
        slider.accesskit_node().numeric_value().unwrap_or(f64::NAN),
        number.accesskit_node().numeric_value().unwrap_or(f64::NAN),
    ];
    for shown_value in shown {
        assert!(
            (shown_value - expected).abs() < 1e-4,
            "{label}, {what}: recipe, slider and number are {shown:?}, not {expected}"
        );
    }
}

/// One notch of the wheel over the control's number.
fn wheel(harness: &mut Window, field: RecipeField, lines: f32, modifiers: Modifiers) {
    let number = harness.get_by_role_and_label(Role::SpinButton, field.label());
    let place = number.rect().center();
    harness.hover_at(place);
    harness.step();
    harness.event(Event::MouseWheel {
        unit: egui::MouseWheelUnit::Line,
        delta: vec2(0.0, lines),
        source: egui::MouseWheelSource::Wheel,
        phase: egui::TouchPhase::Move,
        modifiers,
    });
    harness.run_steps(2);
    harness.remove_cursor();
    harness.run_steps(2);
}

fn type_number(harness: &mut Window, field: RecipeField, text: &str) {
    harness
        .get_by_role_and_label(Role::SpinButton, field.label())
        .click();
    harness.run_steps(2);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::A);
    harness.event(Event::Text(text.to_owned()));
    harness.key_press(Key::Enter);
    harness.run_steps(3);
}

fn reset(harness: &mut Window, field: RecipeField) {
    let name = format!("Reset {}", field.label());
    harness.get_by_label(&name).click();
    harness.run_steps(3);
}

/// Drags the slider over a part of its range in small moves; answers the values on the way.
fn drag_slider(harness: &mut Window, field: RecipeField, from: f32, to: f32) -> Vec<f64> {
    let slider = harness
        .get_by_label(&format!("{} slider", field.label()))
        .rect();
    let along = |part: f32| pos2(slider.left() + slider.width() * part, slider.center().y);
    let points: Vec<Pos2> = (0..=16)
        .map(|step| along(from + (to - from) * step as f32 / 16.0))
        .collect();
    harness.hover_at(points[0]);
    harness.step();
    press(harness, points[0], true);
    let mut seen = Vec::new();
    for point in &points {
        harness.hover_at(*point);
        harness.run_steps(2);
        seen.push(value(harness, field));
    }
    press(harness, points[points.len() - 1], false);
    harness.remove_cursor();
    settle_lab(harness);
    seen.dedup();
    seen
}

#[test]
fn every_control_is_slider_wheel_and_number_on_one_value_and_can_be_reset() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    for field in RecipeField::ALL {
        let first = field.value(&MaskRecipe::default());
        let step = field.step();
        expect_value(&harness, field, first, "as it was opened");

        wheel(&mut harness, field, 1.0, Modifiers::NONE);
        expect_value(&harness, field, first + step, "a notch up");
        wheel(&mut harness, field, 1.0, Modifiers::SHIFT);
        expect_value(&harness, field, first + 9.0 * step, "eight more with Shift");
        for _ in 0..8 {
            wheel(&mut harness, field, -1.0, Modifiers::NONE);
        }
        expect_value(&harness, field, first + step, "eight notches down");

        let (text, typed) = match field {
            RecipeField::Threshold => ("77", 77.0),
            RecipeField::MinComponent => ("123", 123.0),
            _ => ("7.25", 7.25),
        };
        type_number(&mut harness, field, text);
        expect_value(&harness, field, typed, "typed");
        // What is typed may lie beyond the slider, never beyond what is allowed.
        type_number(&mut harness, field, "9999999");
        expect_value(&harness, field, *field.limits().end(), "typed too large");

        reset(&mut harness, field);
        expect_value(&harness, field, first, "reset");
        let reset_label = format!("Reset {}", field.label());
        assert!(
            harness
                .get_by_label(&reset_label)
                .accesskit_node()
                .is_disabled(),
            "{}: there is nothing to reset",
            field.label()
        );

        let seen = drag_slider(&mut harness, field, 0.1, 0.9);
        assert!(seen.len() > 8, "{}: {seen:?}", field.label());
        assert!(seen.is_sorted(), "{}: {seen:?}", field.label());
        let last = seen.last().copied().unwrap_or(f64::NAN);
        expect_value(&harness, field, last, "dragged");
        reset(&mut harness, field);
        expect_value(&harness, field, first, "reset after a drag");
    }
    settle_lab(&mut harness);
    assert_eq!(*lab(&harness).recipe(), MaskRecipe::default());
}

#[test]
fn brackets_change_the_dilation_by_one_and_with_shift_by_eight() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    let dilation = |harness: &Window| value(harness, RecipeField::Dilate);
    let press_key = |harness: &mut Window, key, modifiers| {
        harness.key_press_modifiers(modifiers, key);
        harness.run_steps(2);
    };
    press_key(&mut harness, Key::CloseBracket, Modifiers::NONE);
    assert_eq!(dilation(&harness), 11.0);
    press_key(&mut harness, Key::OpenBracket, Modifiers::NONE);
    press_key(&mut harness, Key::OpenBracket, Modifiers::NONE);
    assert_eq!(dilation(&harness), 9.0);
    press_key(&mut harness, Key::CloseBracket, Modifiers::SHIFT);
    assert_eq!(dilation(&harness), 17.0);
    press_key(&mut harness, Key::OpenBracket, Modifiers::SHIFT);
    press_key(&mut harness, Key::OpenBracket, Modifiers::SHIFT);
    press_key(&mut harness, Key::OpenBracket, Modifiers::SHIFT);
    assert_eq!(dilation(&harness), 0.0, "none is negative");
    // Also with what a keyboard sends for Shift and a bracket.
    press_key(&mut harness, Key::CloseCurlyBracket, Modifiers::SHIFT);
    assert_eq!(dilation(&harness), 8.0);
    // After a drag the keys still are the window's.
    drag_slider(&mut harness, RecipeField::Dilate, 0.1, 0.5);
    let dragged = dilation(&harness);
    press_key(&mut harness, Key::CloseBracket, Modifiers::NONE);
    assert!((dilation(&harness) - dragged - 1.0).abs() < 1e-4);
}

#[test]
fn letters_and_brackets_act_only_while_no_number_is_typed() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    harness
        .get_by_role_and_label(Role::SpinButton, "open")
        .click();
    harness.run_steps(2);
    harness.key_press(Key::CloseBracket);
    harness.key_press(Key::O);
    harness.run_steps(2);
    assert_eq!(*lab(&harness).recipe(), MaskRecipe::default());
}

#[test]
fn presets_are_one_click() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    for preset in MaskRecipe::presets() {
        harness.get_by_label(preset.name).click();
        settle_lab(&mut harness);
        assert_eq!(*lab(&harness).recipe(), preset.recipe, "{}", preset.name);
        assert_eq!(result(&harness).recipe, preset.recipe, "{}", preset.name);
    }
}

#[test]
fn sizes_at_the_original_s_resolution_stand_beside_the_radii() {
    let desk = Desk::new();
    let dir = session(&desk);
    // Twice what is inferred: a pixel at inference size is two of the photograph.
    image::RgbImage::from_pixel(2048, 1536, image::Rgb([90, 120, 60]))
        .save(dir.join("image.png"))
        .expect("written");
    GrayImage::from_fn(2048, 1536, |x, y| {
        Luma([if (600..1200).contains(&x) && (700..900).contains(&y) {
            255
        } else {
            0
        }])
    })
    .save(dir.join("mask.png"))
    .expect("written");
    let mut harness = desk.plain();
    open_session(&mut harness, dir);
    set_recipe(&mut harness, |recipe| {
        recipe.close_px = 1.5;
        recipe.dilate_px = 12.3;
    });
    for text in [
        "= 200 px of the photo",
        "= 3.0 px of the photo",
        "= 4.0 px of the photo",
        "= 24.6 px of the photo",
        "= 8.0 px of the photo",
    ] {
        assert!(harness.query_by_label(text).is_some(), "{text}");
    }
}

#[test]
fn a_drag_computes_again_what_it_touches_and_nothing_else() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    open_session(&mut harness, soft_session(&desk));
    for (field, from, to, touches_the_field) in [
        (RecipeField::Threshold, 0.2, 0.8, true),
        (RecipeField::MinComponent, 0.0, 0.6, true),
        (RecipeField::Close, 0.0, 0.5, true),
        (RecipeField::Open, 0.0, 0.5, true),
        (RecipeField::Dilate, 0.05, 0.95, false),
        (RecipeField::Feather, 0.05, 0.95, false),
    ] {
        let before = Arc::clone(result(&harness));
        let seen = drag_slider(&mut harness, field, from, to);
        assert!(seen.len() > 8, "{}: {seen:?}", field.label());
        let after = Arc::clone(result(&harness));
        let computed = (
            after.field_computations - before.field_computations,
            after.clean_ups - before.clean_ups,
        );
        if touches_the_field {
            assert!(
                computed.0 > 0 && computed.1 > 0,
                "{}: {computed:?}",
                field.label()
            );
            assert_ne!(
                after.figures.coverage_after_recipe.to_bits(),
                before.figures.coverage_after_recipe.to_bits(),
                "{} shows in the figures",
                field.label()
            );
        } else {
            assert_eq!(computed, (0, 0), "{}", field.label());
            // What the GPU would be handed again if it were another one.
            assert!(Arc::ptr_eq(&after.field, &before.field));
        }
        let has_grown = after.figures.coverage_after_recipe > before.figures.coverage_after_recipe;
        assert!(
            has_grown || field != RecipeField::Dilate,
            "the figures follow the dilation"
        );
        reset(&mut harness, field);
        settle_lab(&mut harness);
    }
}
