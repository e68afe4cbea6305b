//! A picture of every way to look at a run, in the folder that `FILL_AUDIT_PICTURES` names.

use super::harness::{Desk, keep_picture, settle, step_until, view};
use super::mask_lab::Window;
use super::seeing::{Recipe, open, request};
use super::two_runs::open_beside;
use eframe::egui::{Key, vec2};
use egui_kittest::kittest::Queryable as _;
use fill_audit::audit::painted_engine::PaintedEngine;
use fill_audit::audit::{AuditContext, ExtendRequest, execute, extend, start};
use fill_audit::imaging::difference::Metric;
use fill_audit::model::cell::{Guidance, Quant, Steps};
use fill_audit::state::look::{Compare, Look, Overlay, Reference, ViewRequest};
use fill_audit::state::seeing::figures;
use fill_audit::state::seeing::time_tone::TimeTone;
use fill_audit::state::{JudgeMsg, Msg};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

const GUIDANCES: &[f64] = &[2.0, 4.0, 10.0, 20.0, 30.0];

/// The repository's session at half its size: sixty composites of the whole one take minutes.
fn session(desk: &Desk) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("sessions/leash-on-grass");
    let dir = desk.folder.path().join("sessions").join("leash-on-grass");
    std::fs::create_dir_all(&dir).expect("made");
    std::fs::copy(from.join("session.ron"), dir.join("session.ron")).expect("copied");
    for name in ["image.png", "mask.png"] {
        let picture = image::open(from.join(name)).expect("a picture");
        let (width, height) = (picture.width() / 2, picture.height() / 2);
        picture
            .resize_exact(width, height, image::imageops::FilterType::Triangle)
            .save(dir.join(name))
            .expect("written");
    }
    dir
}

/// The audit's matrix with two pages of steps, a sweep beside it, a failed cell, and two that are missing.
fn audit(desk: &Desk, run_id: &'static str, seed: u64) -> PathBuf {
    let recipe = Recipe {
        run_id,
        quants: &["Q4_0", "Q5_K_S", "Q8_0"],
        guidances: GUIDANCES,
        steps: &[28, 20],
        seed,
        dilate_px: 10.0,
    };
    let request = request(desk, session(desk), &recipe);
    let cancel = AtomicBool::new(false);
    let mut engine = PaintedEngine::default();
    engine.failing = Some((
        Quant::new("Q5_K_S").expect("a quant"),
        Guidance::new(30.0).expect("a guidance"),
    ));
    let mut context = AuditContext {
        clock: &|| "2026-11-21T09:00:00Z".parse().expect("a time"),
        cancel: &cancel,
        observer: &mut |_| {},
    };
    let owned = start(&request, &mut engine, &mut context).expect("started");
    execute(&owned, &mut engine, Some(28), &mut context).expect("run");
    drop(owned);
    let dir = request.runs_dir.join(run_id);
    let mut matrix = request.plan.matrix.clone();
    matrix.quants = vec![Quant::new("Q4_0").expect("a quant")];
    matrix.guidances = vec![Guidance::new(10.0).expect("a guidance")];
    matrix.steps = vec![Steps::new(50).expect("steps")];
    let sweep = ExtendRequest {
        matrix,
        recipe: request.plan.recipe.clone(),
        prompts: request.prompts.clone(),
    };
    let owned = extend(&dir, &sweep, None, &mut engine, &mut context).expect("extended");
    execute(&owned, &mut engine, Some(1), &mut context).expect("run");
    dir
}

fn set_look(harness: &mut Window, change: impl FnOnce(&mut Look)) {
    let mut look = view(harness).look.clone();
    change(&mut look);
    harness.state_mut().send(Msg::SetLook(Box::new(look)));
    settle(harness);
}

fn press(harness: &mut Window, key: Key) {
    harness.key_press(key);
    settle(harness);
}

fn hover(harness: &mut Window, label: &str) {
    let place = harness.get_by_label_contains(label).rect();
    harness.hover_at(place.center() + vec2(9.0, 6.0));
    harness.run_steps(2);
    settle(harness);
}

/// Takes the pictures on a screen of so many points; the names begin with what they show.
fn pictures(size: (f32, f32), pixels_per_point: f32, name: &str) {
    let desk = Desk::new();
    let run = audit(&desk, "20261121-090000", 42);
    let second = audit(&desk, "20261122-090000", 7);
    let mut harness = desk.rendered_at(vec2(size.0, size.1), pixels_per_point);
    let is_large = pixels_per_point > 1.0;
    let keep = |harness: &mut Window, what: &str| {
        // One of each kind is enough on the large screen.
        let is_more_of_it = [
            "overlay_b",
            "overlay_m",
            "overlay_o",
            "overlay_r",
            "difference_l",
            "two_runs_difference",
        ]
        .iter()
        .any(|start| what.starts_with(start));
        if is_large && is_more_of_it {
            return;
        }
        settle(harness);
        keep_picture(harness, &format!("{what}_{name}"));
    };
    keep(&mut harness, "service");
    open(&mut harness, &run);
    step_until(&mut harness, "the figures are there", |harness| {
        let view = view(harness);
        figures::subject(view).is_ok_and(|key| view.figures.of(&key).is_some())
    });
    keep(&mut harness, "grid_with_strip_and_pages");
    for key in [Key::F, Key::Comma] {
        press(&mut harness, key);
    }
    keep(&mut harness, "second_page_whole_image");
    for key in [Key::Period, Key::M] {
        press(&mut harness, key);
    }
    for metric in Metric::ALL {
        set_look(&mut harness, |look| {
            look.compare = Compare::Difference;
            look.metric = metric;
        });
        keep(&mut harness, &format!("difference_{}", metric.label()));
    }
    set_look(&mut harness, |look| {
        look.compare = Compare::Wipe;
        look.tone = TimeTone::Wall;
    });
    keep(&mut harness, "wipe_and_time_tones");
    set_look(&mut harness, |look| {
        look.compare = Compare::Plain;
        look.tone = TimeTone::Off;
    });
    for overlay in Overlay::ALL {
        if overlay != Overlay::Off {
            set_look(&mut harness, |look| look.overlay = overlay);
            keep(
                &mut harness,
                &format!("overlay_{}", overlay.label().replace(' ', "_")),
            );
        }
    }
    set_look(&mut harness, |look| {
        look.overlay = Overlay::Off;
        look.has_loupe = true;
        look.has_values = true;
    });
    hover(&mut harness, "Q5_K_S_gs4, done");
    keep(&mut harness, "loupe_and_values");
    harness.remove_cursor();
    set_look(&mut harness, |look| {
        look.has_loupe = false;
        look.has_values = false;
    });
    press(&mut harness, Key::Enter);
    keep(&mut harness, "full_screen");
    set_look(&mut harness, |look| look.compare = Compare::Wipe);
    keep(&mut harness, "full_screen_wipe");
    set_look(&mut harness, |look| look.compare = Compare::Plain);
    press(&mut harness, Key::C);
    keep(&mut harness, "full_screen_cycling");
    press(&mut harness, Key::Escape);
    let shown = view(&harness).grid.order();
    harness
        .state_mut()
        .send(Msg::Judge(JudgeMsg::BeginBlind(shown)));
    step_until(&mut harness, "the comparison is on screen", |harness| {
        view(harness).judging.blind.is_some()
    });
    keep(&mut harness, "blind");
    harness.state_mut().send(Msg::Judge(JudgeMsg::CloseBlind));
    settle(&mut harness);
    open_beside(&mut harness, second);
    keep(&mut harness, "two_runs");
    set_look(&mut harness, |look| {
        look.reference = Reference::OtherRun;
        look.compare = Compare::Difference;
        look.metric = Metric::DeltaE2000;
    });
    keep(&mut harness, "two_runs_difference");
    set_look(&mut harness, |look| look.compare = Compare::Plain);
    press(&mut harness, Key::Enter);
    keep(&mut harness, "two_runs_full_screen");
    press(&mut harness, Key::Escape);
    let mut settings = harness.state().state().settings.clone();
    settings.is_light = true;
    harness
        .state_mut()
        .send(Msg::SetSettings(Box::new(settings)));
    press(&mut harness, Key::Y);
    set_look(&mut harness, |look| look.tone = TimeTone::Wall);
    keep(&mut harness, "light_theme");
    assert_ne!(view(&harness).view_request.0, ViewRequest::Fit);
}

#[test]
fn pictures_of_every_way_to_look() {
    // A software driver takes seconds for each: only where somebody wants to look at them.
    if std::env::var_os("FILL_AUDIT_PICTURES").is_none() {
        return;
    }
    pictures((1280.0, 800.0), 1.0, "1280");
}

#[test]
fn pictures_of_every_way_to_look_on_a_large_screen() {
    if std::env::var_os("FILL_AUDIT_PICTURES").is_none() {
        return;
    }
    // As displays of that size are used: two pixels to a point.
    pictures((1920.0, 1080.0), 2.0, "3840");
}
