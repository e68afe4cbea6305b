//! Mask files that are dropped or pasted on the mask lab: what is odd is said and a fix offered, and nothing
//! is taken silently.

use super::harness::{Desk, ScriptedDialogs, step_until};
use super::mask_lab::{Window, is_settled, lab, open_session, opened, result, session, settle_lab};
use eframe::egui::{self, Event, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable as _;
use fill_audit::app::{FillAuditApp, Services};
use fill_audit::state::command::Command;
use fill_audit::state::{Msg, Page};
use image::{DynamicImage, GrayImage, Luma, Rgba, RgbaImage};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What the session of these tests is made of.
const SIZE: (u32, u32) = (512, 384);

/// White pixels of [`is_white`].
const WHITE_PX: u64 = 120 * 80;

/// The mask that all files of these tests mean.
fn is_white(x: u32, y: u32) -> bool {
    (60..180).contains(&x) && (100..180).contains(&y)
}

fn plain() -> GrayImage {
    GrayImage::from_fn(SIZE.0, SIZE.1, |x, y| {
        Luma([if is_white(x, y) { 255 } else { 0 }])
    })
}

/// A mask with something odd about it: what is said, and the fix that makes it the plain one.
struct Odd {
    mask: DynamicImage,
    said: &'static str,
    fix: &'static str,
    /// Whether it could be meant as it is.
    is_usable: bool,
}

fn odd_masks() -> Vec<Odd> {
    let grey = |white: u8, black: u8| {
        DynamicImage::ImageLuma8(GrayImage::from_fn(SIZE.0, SIZE.1, |x, y| {
            Luma([if is_white(x, y) { white } else { black }])
        }))
    };
    let alpha = |inside: u8, outside: u8| {
        DynamicImage::ImageRgba8(RgbaImage::from_fn(SIZE.0, SIZE.1, |x, y| {
            Rgba([0, 0, 0, if is_white(x, y) { inside } else { outside }])
        }))
    };
    let small = GrayImage::from_fn(SIZE.0 / 2, SIZE.1 / 2, |x, y| {
        Luma([if is_white(2 * x, 2 * y) { 255 } else { 0 }])
    });
    vec![
        Odd {
            mask: DynamicImage::ImageLuma8(small),
            said: "the mask is 256x192 but the image is 512x384",
            fix: "Resize to the image",
            is_usable: false,
        },
        Odd {
            mask: alpha(255, 0),
            said: "the mask's shape is in its alpha channel",
            fix: "Use the alpha channel",
            is_usable: true,
        },
        Odd {
            mask: alpha(0, 255),
            said: "the mask's shape is in its alpha channel",
            fix: "Use what is transparent",
            is_usable: true,
        },
        Odd {
            mask: grey(0, 255),
            said: "it seems to be inverted",
            fix: "Invert",
            is_usable: true,
        },
        Odd {
            mask: grey(230, 40),
            said: "of the mask is neither black nor white",
            fix: "Make it black and white",
            is_usable: true,
        },
    ]
}

#[derive(Debug)]
struct Dropped(PathBuf);

impl egui::DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}

fn drop_file(harness: &mut Window, path: &Path) {
    let file = Arc::new(Dropped(path.to_owned()));
    harness.input_mut().dropped_files.push(file);
    harness.run_steps(2);
}

fn paste_picture(harness: &mut Window, picture: &DynamicImage) {
    let rgba = picture.to_rgba8();
    let size = [rgba.width() as usize, rgba.height() as usize];
    let image = egui::ColorImage::from_rgba_unmultiplied(size, rgba.as_raw());
    harness.event(Event::PasteImage(Arc::new(image)));
    harness.run_steps(2);
}

/// What is said about the mask that waits; nothing of it was taken.
fn expect_question(harness: &mut Window, odd: &Odd, before: u64) {
    step_until(harness, odd.said, |harness| {
        harness.query_by_label_contains(odd.said).is_some()
    });
    assert_eq!(
        lab(harness).painted.revision,
        before,
        "{}: nothing is taken silently",
        odd.said
    );
    assert_eq!(
        harness.query_by_label("Use it as it is").is_some(),
        odd.is_usable,
        "{}",
        odd.said
    );
}

/// Takes the fix; the mask is then the plain one.
fn take_fix(harness: &mut Window, odd: &Odd) {
    harness.get_by_label(odd.fix).click();
    step_until(harness, odd.fix, |harness| {
        lab(harness).pending.is_none() && is_settled(harness)
    });
    assert!(*lab(harness).painted.mask == plain(), "{}", odd.fix);
    assert_eq!(result(harness).figures.largest_component_px, WHITE_PX);
}

/// Takes back what was taken, so that the next one starts from the session's mask.
fn undo(harness: &mut Window) {
    let before = lab(harness).painted.revision;
    harness.state_mut().send(Msg::Command(Command::Undo));
    step_until(harness, "the former mask is back", |harness| {
        lab(harness).painted.revision > before && is_settled(harness)
    });
    assert!(*lab(harness).painted.mask != plain());
}

#[test]
fn each_odd_mask_that_is_dropped_is_recognised_and_offered_its_fix() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    for (index, odd) in odd_masks().iter().enumerate() {
        let path = desk.folder.path().join(format!("odd {index}.png"));
        odd.mask.save(&path).expect("written");
        let before = lab(&harness).painted.revision;
        drop_file(&mut harness, &path);
        expect_question(&mut harness, odd, before);
        let name = path.display().to_string();
        assert!(harness.query_by_label(&name).is_some(), "it is named");
        take_fix(&mut harness, odd);
        undo(&mut harness);
    }
}

#[test]
fn each_odd_mask_that_is_pasted_is_recognised_and_offered_its_fix() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    for odd in odd_masks() {
        let before = lab(&harness).painted.revision;
        paste_picture(&mut harness, &odd.mask);
        expect_question(&mut harness, &odd, before);
        assert!(harness.query_by_label("the pasted picture").is_some());
        take_fix(&mut harness, &odd);
        undo(&mut harness);
    }
}

#[test]
fn a_path_that_is_pasted_is_read_like_a_file_that_is_dropped() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    let odd = odd_masks().remove(0);
    let path = desk.folder.path().join("a mask.png");
    odd.mask.save(&path).expect("written");
    let plainly = path.display().to_string();
    let address = format!("file://{}", plainly.replace(' ', "%20"));
    for text in [plainly, address] {
        let before = lab(&harness).painted.revision;
        harness.event(Event::Paste(text));
        expect_question(&mut harness, &odd, before);
        take_fix(&mut harness, &odd);
        undo(&mut harness);
    }
    // Text that is no path is none of the lab's business.
    let toasts = harness.state().state().toasts.len();
    harness.event(Event::Paste("grass, no shadow".to_owned()));
    harness.run_steps(3);
    assert!(lab(&harness).pending.is_none());
    assert_eq!(harness.state().state().toasts.len(), toasts);
}

#[test]
fn a_plain_mask_is_taken_at_once_and_can_be_undone() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    let path = desk.folder.path().join("plain.png");
    plain().save(&path).expect("written");
    drop_file(&mut harness, &path);
    step_until(&mut harness, "it is taken", |harness| {
        lab(harness).painted.is_changed && is_settled(harness)
    });
    assert!(lab(&harness).pending.is_none());
    assert!(*lab(&harness).painted.mask == plain());
    undo(&mut harness);
    paste_picture(&mut harness, &DynamicImage::ImageLuma8(plain()));
    step_until(&mut harness, "it is taken", |harness| {
        *lab(harness).painted.mask == plain() && is_settled(harness)
    });
}

#[test]
fn an_odd_mask_is_used_as_it_is_or_left_aside_on_a_person_s_word() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    let odd = odd_masks().remove(4);
    let before = lab(&harness).painted.revision;
    paste_picture(&mut harness, &odd.mask);
    expect_question(&mut harness, &odd, before);
    harness.get_by_label("Leave it aside").click();
    step_until(&mut harness, "it is left aside", |harness| {
        lab(harness).pending.is_none()
    });
    assert_eq!(lab(&harness).painted.revision, before);
    assert!(!lab(&harness).painted.is_changed);

    paste_picture(&mut harness, &odd.mask);
    expect_question(&mut harness, &odd, before);
    harness.get_by_label("Use it as it is").click();
    step_until(&mut harness, "it is used", |harness| {
        lab(harness).pending.is_none() && lab(harness).painted.is_changed && is_settled(harness)
    });
    assert_eq!(lab(&harness).painted.mask.get_pixel(70, 110).0, [230]);
    assert_eq!(lab(&harness).painted.mask.get_pixel(0, 0).0, [40]);
    assert_eq!(result(&harness).figures.largest_component_px, WHITE_PX);
}

#[test]
fn what_is_odd_in_two_ways_is_asked_about_twice() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    let large = RgbaImage::from_fn(SIZE.0 * 2, SIZE.1 * 2, |x, y| {
        Rgba([255, 255, 255, if is_white(x / 2, y / 2) { 255 } else { 0 }])
    });
    let path = desk.folder.path().join("large.png");
    large.save(&path).expect("written");
    drop_file(&mut harness, &path);
    step_until(&mut harness, "both are said", |harness| {
        harness
            .query_by_label_contains("the mask is 1024x768")
            .is_some()
            && harness.query_by_label("Use the alpha channel").is_some()
    });
    harness.get_by_label("Resize to the image").click();
    step_until(
        &mut harness,
        "the size is no question any more",
        |harness| {
            harness
                .query_by_label_contains("the mask is 1024x768")
                .is_none()
        },
    );
    assert!(!lab(&harness).painted.is_changed);
    harness.get_by_label("Use the alpha channel").click();
    step_until(&mut harness, "the mask is taken", |harness| {
        lab(harness).pending.is_none() && is_settled(harness)
    });
    assert!(*lab(&harness).painted.mask == plain());
}

#[test]
fn a_photo_and_a_file_that_is_no_picture_are_not_taken_for_masks() {
    let desk = Desk::new();
    let mut harness = opened(&desk);
    let photo = desk.folder.path().join("sessions/bar/image.png");
    drop_file(&mut harness, &photo);
    step_until(&mut harness, "it is said", |harness| {
        harness
            .query_by_label_contains("it seems to be a picture, not a mask")
            .is_some()
    });
    assert!(harness.query_by_label("Use it as it is").is_none());
    harness.get_by_label("Leave it aside").click();
    step_until(&mut harness, "it is left aside", |harness| {
        lab(harness).pending.is_none()
    });

    let text = desk.folder.path().join("notes.txt");
    std::fs::write(&text, "no picture").expect("written");
    drop_file(&mut harness, &text);
    step_until(&mut harness, "the problem names the file", |harness| {
        harness.query_by_label_contains("notes.txt").is_some()
    });
    assert!(!lab(&harness).painted.is_changed);
}

#[test]
fn an_odd_mask_of_the_session_itself_is_asked_about_too() {
    let desk = Desk::new();
    let dir = session(&desk);
    let odd = odd_masks().remove(3);
    odd.mask.save(dir.join("mask.png")).expect("written");
    let mut harness = desk.plain();
    open_session(&mut harness, dir);
    expect_question(&mut harness, &odd, 0);
    take_fix(&mut harness, &odd);
}

#[test]
fn on_an_empty_lab_a_folder_or_one_of_its_files_opens_the_session() {
    for name in [None, Some("image.png")] {
        let desk = Desk::new();
        let dir = session(&desk);
        let mut harness = desk.plain();
        let go = Msg::Command(Command::GoTo(Page::MaskLab));
        harness.state_mut().send(go);
        harness.run_steps(2);
        let dropped = name.map_or(dir.clone(), |name| dir.join(name));
        drop_file(&mut harness, &dropped);
        step_until(&mut harness, "the session is open", |harness| {
            harness.state().state().lab.is_some()
        });
        settle_lab(&mut harness);
        assert_eq!(lab(&harness).opened.name, "bar");
        assert_eq!(harness.state().state().page, Page::MaskLab);
    }
}

#[test]
fn a_mask_is_chosen_in_a_dialog_as_well() {
    let desk = Desk::new();
    let path = desk.folder.path().join("plain.png");
    plain().save(&path).expect("written");
    let dialogs = ScriptedDialogs::default();
    dialogs.answers.lock().expect("free").push(path);
    let services = Services {
        dialogs: Arc::new(dialogs),
        ..desk.services()
    };
    let mut harness = Harness::builder()
        .with_size(vec2(1280.0, 800.0))
        .build_eframe(|cc| FillAuditApp::new(cc, None, services));
    open_session(&mut harness, session(&desk));
    harness.get_by_label("Paint").click();
    harness.run_steps(2);
    harness.get_by_label("Load a mask…").click();
    step_until(&mut harness, "it is taken", |harness| {
        lab(harness).painted.is_changed && is_settled(harness)
    });
    assert!(*lab(&harness).painted.mask == plain());
}
