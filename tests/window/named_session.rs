//! A run of the Python service has no session beside it: a person names it.

use super::harness::{Desk, keep_picture, service_run, settle, step_until, view};
use super::mask_lab::Window;
use eframe::egui::vec2;
use egui_kittest::kittest::Queryable as _;
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::state::Msg;
use fill_audit::state::command::Command;
use fill_audit::state::look::{Look, Overlay, Reference, ViewRequest};
use image::{GrayImage, Luma};
use std::path::PathBuf;

/// The session that the run's report names, with one of the run's own pictures for a photograph, brought to
/// another size.
fn session(desk: &Desk, size: (u32, u32)) -> PathBuf {
    session_called(desk, "D1A406F5", size)
}

fn session_called(desk: &Desk, name: &str, (width, height): (u32, u32)) -> PathBuf {
    let dir = desk.folder.path().join(name);
    std::fs::create_dir_all(&dir).expect("made");
    let picture = image::open(service_run().join("Q8_0_gs10.png")).expect("there");
    let resized = picture.resize_exact(width, height, image::imageops::FilterType::Triangle);
    resized.save(dir.join("image.png")).expect("written");
    let mask = GrayImage::from_fn(width, height, |x, y| {
        let is_on = (width / 4..width / 2).contains(&x) && (height / 4..height / 2).contains(&y);
        Luma([if is_on { 255 } else { 0 }])
    });
    mask.save(dir.join("mask.png")).expect("written");
    dir
}

fn picture_size() -> (u32, u32) {
    image::image_dimensions(service_run().join("Q8_0_gs10.png")).expect("a picture")
}

/// The window on the service's run.
fn opened(desk: &Desk) -> Window {
    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    harness.run_steps(2);
    harness
}

fn name(desk: &Desk, harness: &mut Window, session: PathBuf, button: &str) {
    desk.dialogs.answer(session);
    harness.get_by_label(button).click();
    harness.run_steps(2);
}

fn is_named(harness: &mut Window) -> bool {
    view(harness).named.is_some()
}

fn toasts(harness: &Window) -> Vec<String> {
    let toasts = &harness.state().state().toasts;
    toasts.iter().map(|toast| toast.text.clone()).collect()
}

#[test]
fn the_program_asks_for_the_session_and_then_shows_original_and_mask() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    assert!(
        harness
            .query_by_label_contains("Mask views are off")
            .is_some()
    );
    assert_eq!(view(&harness).original_path(), None);
    assert!(!desk.run.join(".fill-audit-session.ron").exists());

    let session = session(&desk, picture_size());
    name(&desk, &mut harness, session.clone(), "Name the session…");
    step_until(&mut harness, "the session is read", is_named);
    settle(&mut harness);
    assert_eq!(
        view(&harness).original_path(),
        Some(session.join("image.png"))
    );
    for shown in ["Original", "Mask", "session D1A406F5, as it was named here"] {
        assert!(
            harness.query_all_by_label(shown).next().is_some(),
            "{shown}"
        );
    }
    assert!(
        harness
            .query_by_label_contains("Mask views are off")
            .is_none()
    );
    // What the service did is as unknown as before.
    let key = view(&harness).selected.clone().expect("selected");
    assert_eq!(view(&harness).run.recipe_of(&key), None);
    assert_eq!(
        view(&harness).mask_recipe_of(&key),
        Some(MaskRecipe::none())
    );
    let of_the_mask = view(&harness).masks.all().next().expect("there").mask_box;
    let (width, height) = picture_size();
    // To one pixel at inference size, whose sides are multiples of 16.
    assert!(of_the_mask.x.abs_diff(width / 4) <= 2, "{of_the_mask:?}");
    assert!(of_the_mask.y.abs_diff(height / 4) <= 2, "{of_the_mask:?}");
    let look = Look {
        overlay: Overlay::Outline,
        reference: Reference::Original,
        ..view(&harness).look.clone()
    };
    harness.state_mut().send(Msg::SetLook(Box::new(look)));
    settle(&mut harness);
    keep_picture(&mut harness, "service_named_1280");
    assert!(toasts(&harness).is_empty(), "{:?}", toasts(&harness));

    // The next window knows it.
    drop(harness);
    let mut harness = opened(&desk);
    step_until(&mut harness, "it is remembered", is_named);
    // It opens at the mask, as any run does.
    assert_eq!(view(&harness).view_request, (ViewRequest::MaskBox, 1));
    assert_eq!(
        view(&harness).original_path(),
        Some(session.join("image.png"))
    );
}

#[test]
fn a_session_at_another_size_is_the_same_photograph_and_one_of_another_shape_is_not() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    let (width, height) = picture_size();
    let button = "Name the session…";
    let other = session(&desk, (width, height * 2));
    name(&desk, &mut harness, other, button);
    step_until(&mut harness, "it is refused", |harness| {
        !toasts(harness).is_empty()
    });
    let said = toasts(&harness).remove(0);
    assert!(said.contains("another photograph"), "{said}");
    assert!(said.contains(&format!("{width}x{height}")), "{said}");
    assert!(!is_named(&mut harness));
    assert!(!desk.run.join(".fill-audit-session.ron").exists());

    let twice = session(&desk, (width * 2, height * 2));
    name(&desk, &mut harness, twice, button);
    step_until(&mut harness, "it is named", is_named);

    // A folder without a session changes nothing.
    let empty = desk.folder.path().join("empty");
    std::fs::create_dir(&empty).expect("made");
    name(&desk, &mut harness, empty, "Another session…");
    step_until(&mut harness, "that is refused too", |harness| {
        toasts(harness)
            .iter()
            .any(|said| said.contains("no image.png"))
    });
    assert!(is_named(&mut harness));
}

#[test]
fn a_session_that_went_away_is_asked_for_again_and_says_which() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    let session = session(&desk, picture_size());
    name(&desk, &mut harness, session.clone(), "Name the session…");
    step_until(&mut harness, "it is named", is_named);
    drop(harness);
    std::fs::remove_dir_all(&session).expect("removed");
    let mut harness = opened(&desk);
    step_until(&mut harness, "it is missed", |harness| {
        !toasts(harness).is_empty()
    });
    let said = toasts(&harness).remove(0);
    assert!(
        said.contains("D1A406F5") && said.contains("name it again"),
        "{said}"
    );
    assert!(harness.query_by_label("Name the session…").is_some());
}

#[test]
fn boxes_and_cells_stay_where_they_are_when_a_larger_photograph_is_named() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    let cell = |harness: &mut Window| {
        harness.remove_cursor();
        settle(harness);
        harness.run_steps(2);
        let rect = harness.get_by_label("Q8_0_gs30, done").rect();
        let drawn = super::harness::drawn(harness);
        let [x, y] = [rect.min.x, rect.min.y].map(|at| at as u32);
        let [width, height] = [rect.width(), rect.height()].map(|px| px as u32);
        image::imageops::crop_imm(&drawn, x, y, width, height).to_image()
    };
    harness.state_mut().send(Msg::Command(Command::ActualSize));
    let before = cell(&mut harness);
    let (width, height) = picture_size();
    let session = session(&desk, (width * 3, height * 3));
    name(&desk, &mut harness, session, "Name the session…");
    step_until(&mut harness, "it is named", is_named);
    assert!(cell(&mut harness) == before);
}

#[test]
fn what_changes_in_the_session_is_seen_after_the_next_reading() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    let session = session(&desk, picture_size());
    name(&desk, &mut harness, session.clone(), "Name the session…");
    step_until(&mut harness, "it is named", is_named);
    let before = view(&harness).session_revision();
    let (width, height) = picture_size();
    let all = GrayImage::from_pixel(width, height, Luma([255]));
    all.save(session.join("mask.png")).expect("written");
    harness.state_mut().send(Msg::Command(Command::Reload));
    step_until(&mut harness, "it is read again", |harness| {
        view(harness).session_revision() != before
    });
    let field = view(&harness).masks.all().next().expect("there");
    assert_eq!(
        (field.mask_box.width, field.mask_box.height),
        (width, height)
    );
}

#[test]
fn a_note_that_cannot_be_read_is_not_written_over() {
    let desk = Desk::new();
    let note = desk.run.join(".fill-audit-session.ron");
    std::fs::write(&note, "(schema: 99, session_dir: \"elsewhere\")").expect("written");
    let mut harness = opened(&desk);
    step_until(&mut harness, "it is said", |harness| {
        !toasts(harness).is_empty()
    });
    let session = session(&desk, picture_size());
    name(&desk, &mut harness, session, "Name the session…");
    step_until(&mut harness, "it is named", is_named);
    let said = toasts(&harness);
    assert!(
        said.iter()
            .any(|said| said.contains("until the window is closed")),
        "{said:?}"
    );
    let text = std::fs::read_to_string(&note).expect("there");
    assert!(text.contains("schema: 99"), "{text}");
}

#[test]
fn another_session_than_the_report_names_is_taken_with_a_word() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    let session = session_called(&desk, "cat-on-sofa", picture_size());
    name(&desk, &mut harness, session, "Name the session…");
    step_until(&mut harness, "it is named", is_named);
    let said = toasts(&harness).remove(0);
    assert!(
        said.contains("D1A406F5") && said.contains("cat-on-sofa"),
        "{said}"
    );
}
