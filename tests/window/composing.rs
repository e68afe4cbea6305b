//! Composing a run, starting it, watching it, cancelling it, resuming it.

use super::harness::{Desk, keep_picture, step_until, view};
use eframe::egui::{Key, Modifiers, vec2};
use egui_kittest::kittest::Queryable as _;
use fill_audit::app::{FillAuditApp, Services};
use fill_audit::audit::painted_engine::PaintedEngine;
use fill_audit::audit::pipeline_engine::environment_of;
use fill_audit::pipeline::ComputeDevice;
use fill_audit::state::command::Command;
use fill_audit::state::compose::ComposeForm;
use fill_audit::state::{Msg, Page};
use image::{GrayImage, Luma, RgbImage};
use std::path::PathBuf;

/// A small session: grey ground with a bar over it.
fn session(desk: &Desk) -> PathBuf {
    let dir = desk.folder.path().join("bar");
    std::fs::create_dir_all(&dir).expect("made");
    let image = RgbImage::from_fn(256, 192, |x, y| {
        image::Rgb([(x % 200) as u8, (y % 190) as u8, 90])
    });
    let mask = GrayImage::from_fn(256, 192, |x, y| {
        Luma([if (60..200).contains(&x) && (80..110).contains(&y) {
            255
        } else {
            0
        }])
    });
    image.save(dir.join("image.png")).expect("written");
    mask.save(dir.join("mask.png")).expect("written");
    dir
}

fn fill_form(
    harness: &mut egui_kittest::Harness<'static, fill_audit::app::FillAuditApp>,
    desk: &Desk,
) {
    let mut form = harness.state().state().compose.clone();
    form.session_dir = session(desk).display().to_string();
    "painted".clone_into(&mut form.models_dir);
    "3".clone_into(&mut form.steps);
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness
        .state_mut()
        .send(Msg::Command(Command::GoTo(Page::Compose)));
    harness.run_steps(3);
}

#[test]
fn a_composed_run_fills_the_grid_and_is_complete() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    fill_form(&mut harness, &desk);
    assert!(harness.query_by_label("15 cells").is_some());
    harness.get_by_label("Start run").click();
    step_until(&mut harness, "the run is open", |harness| {
        harness
            .state()
            .state()
            .run
            .as_ref()
            .is_some_and(|view| view.run.document().is_some())
    });
    step_until(&mut harness, "all cells are done", |harness| {
        view(harness).run.done_count() == 15 && view(harness).live.is_none()
    });
    assert!(view(&harness).dir.join("REPORT.md").is_file());
    assert!(harness.query_by_label("Q8_0_gs30, done").is_some());
}

/// Changes the form and waits for the estimate of what it then asks for.
fn estimated(
    harness: &mut egui_kittest::Harness<'static, FillAuditApp>,
    change: impl FnOnce(&mut ComposeForm),
    expected: &str,
) {
    let mut form = harness.state().state().compose.clone();
    change(&mut form);
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness
        .state_mut()
        .send(Msg::Command(Command::GoTo(Page::Compose)));
    step_until(harness, &format!("the form says: {expected}"), |harness| {
        harness.query_by_label(expected).is_some()
    });
}

#[test]
fn the_time_of_a_composed_run_is_a_guess_until_cells_were_made_here() {
    let desk = Desk::new();
    // It paints where the program would compute, so that its cells count as measured there.
    let here = environment_of(ComputeDevice::Cpu);
    let named = here.label();
    let services = Services {
        engines: std::sync::Arc::new(move |_, _, _| {
            let mut painter = PaintedEngine::default();
            painter.environment = Some(here.clone());
            Ok(Box::new(painter))
        }),
        ..desk.services()
    };
    let run = desk.run.clone();
    let mut harness = egui_kittest::Harness::builder()
        .with_size(vec2(1280.0, 800.0))
        .build_eframe(|cc| FillAuditApp::new(cc, Some(run), services));
    fill_form(&mut harness, &desk);
    // 130 s a step for 1,536 tokens: 512 of text, and one for each 16 x 16 px of the 256 x 192 that the
    // session has; it is not enlarged to the long side.
    let guess =
        |time: &str| format!("about {time} (a guess: nothing was measured on this device yet)");
    estimated(&mut harness, |_| {}, &guess("44 min 41 s"));
    let at_most = |form: &mut ComposeForm| "3".clone_into(&mut form.max_cells);
    estimated(&mut harness, at_most, &guess("8 min 56 s"));
    let smaller = |form: &mut ComposeForm| form.long_side_px = 128;
    estimated(&mut harness, smaller, &guess("7 min 7 s"));
    let cropped = |form: &mut ComposeForm| {
        form.is_cropped = true;
        form.long_side_px = 64;
    };
    estimated(&mut harness, cropped, &guess("6 min 39 s"));

    let whole = |form: &mut ComposeForm| {
        form.is_cropped = false;
        form.long_side_px = 1024;
        form.max_cells.clear();
    };
    estimated(&mut harness, whole, &guess("44 min 41 s"));
    harness.state_mut().send(Msg::Command(Command::StartRun));
    step_until(&mut harness, "all cells are done", |harness| {
        let view = harness.state().state().run.as_ref();
        view.is_some_and(|view| {
            // Not the service's run, which was open before.
            view.run.document().is_some() && view.run.done_count() == 15 && view.live.is_none()
        })
    });
    // A painted step is put down as half a second: 15 cells of 4 steps.
    let measured = format!("about 30 s (from 15 earlier cells on {named})");
    let longer = |form: &mut ComposeForm| "4".clone_into(&mut form.steps);
    estimated(&mut harness, longer, &measured);
}

#[test]
fn a_cancelled_run_keeps_what_is_finished_and_is_resumed() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    fill_form(&mut harness, &desk);
    let mut form = harness.state().state().compose.clone();
    form.steps = "40".to_owned();
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness.run_steps(2);
    harness.key_press_modifiers(Modifiers::COMMAND, Key::Enter);
    step_until(&mut harness, "a cell is done", |harness| {
        harness
            .state()
            .state()
            .run
            .as_ref()
            .is_some_and(|view| view.run.document().is_some() && view.run.done_count() >= 1)
    });
    harness.state_mut().send(Msg::Command(Command::CancelRun));
    step_until(&mut harness, "the run has stopped", |harness| {
        view(harness).live.is_none()
    });
    let done = view(&harness).run.done_count();
    assert!((1..15).contains(&done), "{done}");
    // What the frame before knew may still be drawn.
    harness.run_steps(1);
    harness.get_by_label("Resume run").click();
    step_until(&mut harness, "all cells are done", |harness| {
        view(harness).run.done_count() == 15 && view(harness).live.is_none()
    });
}

#[test]
fn the_cell_under_way_shows_what_it_looks_like_so_far() {
    let desk = Desk::new();
    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    fill_form(&mut harness, &desk);
    let mut form = harness.state().state().compose.clone();
    form.steps = "200".to_owned();
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness.state_mut().send(Msg::Command(Command::StartRun));
    // The painter's previews grow lighter step by step: at half of them, mid-grey.
    step_until(&mut harness, "a preview is there", |harness| {
        let view = harness.state().state().run.as_ref();
        let live = view.and_then(|view| view.live.as_ref());
        live.is_some_and(|live| live.preview.is_some() && live.step > 100)
    });
    let preview = view(&harness)
        .live
        .as_ref()
        .and_then(|live| live.preview.clone());
    let preview = preview.expect("a preview");
    let document = view(&harness).run.document().expect("our own run");
    let (width, height) = document.inference_size_px;
    assert_eq!(preview.dimensions(), (width / 8, height / 8));
    let key = view(&harness)
        .live
        .as_ref()
        .and_then(|live| live.cell.clone());
    let name = view(&harness).run.cell_name(&key.expect("a cell"));
    let cell = harness
        .get_by_label_contains(&format!("{name}, missing"))
        .rect();
    let picture = harness.render().expect("rendered");
    keep_picture(&mut harness, "preview_1280");
    // Off the middle, where the bar of progress and its text are.
    let at = cell.center() + vec2(0.0, -cell.height() * 0.12);
    let pixel = picture.get_pixel(at.x as u32, at.y as u32).0;
    assert!(
        pixel[0] > 90 && pixel[0] == pixel[1] && pixel[1] == pixel[2],
        "{pixel:?} of {cell:?}"
    );
    harness.state_mut().send(Msg::Command(Command::CancelRun));
    step_until(&mut harness, "the run has stopped", |harness| {
        view(harness).live.is_none()
    });
}

#[test]
fn a_form_that_cannot_be_run_names_its_fields() {
    let desk = Desk::new();
    let mut harness = desk.plain();
    fill_form(&mut harness, &desk);
    let mut form = harness.state().state().compose.clone();
    form.guidances = "2, lots".to_owned();
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness.run_steps(3);
    assert!(
        harness
            .query_by_label_contains("Guidance: guidance must be a number")
            .is_some()
    );
}

#[test]
fn pictures_of_composing_and_of_a_run_under_way() {
    let desk = Desk::new();
    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    fill_form(&mut harness, &desk);
    keep_picture(&mut harness, "compose_1280");
    let mut form = harness.state().state().compose.clone();
    form.steps = "60".to_owned();
    harness.state_mut().send(Msg::SetCompose(Box::new(form)));
    harness.state_mut().send(Msg::Command(Command::StartRun));
    step_until(&mut harness, "some cells are done", |harness| {
        harness
            .state()
            .state()
            .run
            .as_ref()
            .is_some_and(|view| view.run.document().is_some() && view.run.done_count() >= 4)
    });
    harness.run_steps(6);
    keep_picture(&mut harness, "under_way_1280");
    harness.state_mut().send(Msg::Command(Command::CancelRun));
    step_until(&mut harness, "the run has stopped", |harness| {
        view(harness).live.is_none()
    });
}
