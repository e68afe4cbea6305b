//! The mask's gates at the command line: `mask` writes all the same, `run` refuses until a reason is given.

use crate::{Place, words};
use image::{GrayImage, Luma, Rgb, RgbImage};
use std::path::PathBuf;

const SIDE: u32 = 64;

fn mask(is_white: impl Fn(u32, u32) -> bool) -> GrayImage {
    GrayImage::from_fn(SIDE, SIDE, |x, y| {
        Luma([if is_white(x, y) { 255 } else { 0 }])
    })
}

fn bar() -> GrayImage {
    mask(|x, y| (10..40).contains(&x) && (20..26).contains(&y))
}

/// A session of 64 x 64 pixels, so that nothing is resized.
fn session(place: &Place, mask: &GrayImage, subject: Option<&GrayImage>) -> PathBuf {
    let dir = place.path("session");
    std::fs::create_dir_all(&dir).unwrap();
    RgbImage::from_fn(SIDE, SIDE, |x, y| Rgb([(x * 3) as u8, (y * 2) as u8, 90]))
        .save(dir.join("image.png"))
        .unwrap();
    mask.save(dir.join("mask.png")).unwrap();
    if let Some(subject) = subject {
        subject.save(dir.join("subject.png")).unwrap();
    }
    dir
}

/// One cell of a step at this dilation.
fn one_cell(session: &std::path::Path, dilate_px: &str) -> Vec<String> {
    let mut args: Vec<String> =
        "run --quant Q4_0 --guidance 2 --steps 1 --size 64 --despeck 0 --open 0 --run-id mine"
            .split_whitespace()
            .map(str::to_owned)
            .collect();
    args.extend(["--dilate".to_owned(), dilate_px.to_owned()]);
    args.extend(["--session".to_owned(), session.display().to_string()]);
    args
}

#[test]
fn each_gate_is_refused_by_its_sentence_and_overridden_by_a_reason() {
    let far_subject = mask(|x, y| x > 41 && (20..26).contains(&y));
    for (name, mask, subject, dilate_px, said) in [
        (
            "over 40 %",
            bar(),
            None,
            "22",
            "of the picture; at most 40 % is allowed",
        ),
        (
            "no component of 50 px",
            mask(|x, y| x % 16 < 7 && y % 16 < 7),
            None,
            "0",
            "the raw mask has no component of 50 px; its largest has 49",
        ),
        (
            "empty",
            mask(|_, _| false),
            None,
            "2",
            "the processed mask is empty: nothing would be repainted",
        ),
        (
            "touches the subject",
            bar(),
            Some(&far_subject),
            "4",
            "px of the subject",
        ),
    ] {
        let place = Place::new();
        let dir = session(&place, &mask, subject);
        let mut args = one_cell(&dir, dilate_px);
        let error = place.fails(&words(&args), 1);
        assert!(
            error.contains(said) && error.contains("--override-gates"),
            "{name}: {error}"
        );
        assert!(!place.path("runs").exists(), "{name}: nothing is left");
        let mut dry = words(&args);
        dry.push("--dry-run");
        let printed = place.ok(&dry);
        assert!(
            printed.contains("the mask would be refused") && printed.contains(said),
            "{name}: {printed}"
        );

        // The lab's command writes what it is asked for, and says the same where it can.
        let raw = dir.join("mask.png").display().to_string();
        let out = place.path("grown.png").display().to_string();
        let printed = place.ok(&["mask", &raw, "--out", &out, "--dilate", dilate_px]);
        assert!(place.path("grown.png").is_file(), "{name}");
        assert_eq!(
            printed.contains(said),
            subject.is_none(),
            "{name}: {printed}"
        );

        args.extend(["--override-gates".to_owned(), "it is a test".to_owned()]);
        place.ok(&words(&args));
        let document = std::fs::read_to_string(place.path("runs/mine/run.ron")).unwrap();
        assert!(
            document.contains(said) && document.contains("it is a test"),
            "{name}: {document}"
        );
    }
}

#[test]
fn what_must_not_be_touched_is_held_against_sweeps_too() {
    let place = Place::new();
    let far_subject = mask(|x, y| x > 46 && (20..26).contains(&y));
    let dir = session(&place, &bar(), Some(&far_subject));
    place.ok(&words(&one_cell(&dir, "2")));
    // The run keeps what it must not touch: the session may be gone.
    std::fs::remove_dir_all(&dir).unwrap();
    let sweep = ["run", "--extend", "mine", "--dilate", "9"];
    let error = place.fails(&sweep, 1);
    assert!(error.contains("px of the subject"), "{error}");
    assert!(!place.path("runs/mine/plan-1.ron").exists());
    let mut dry = sweep.to_vec();
    dry.push("--dry-run");
    let printed = place.ok(&dry);
    assert!(printed.contains("px of the subject"), "{printed}");
    let mut reasoned = sweep.to_vec();
    reasoned.extend(["--override-gates", "the tail may go"]);
    place.ok(&reasoned);
    assert!(place.path("runs/mine/Q4_0_gs2_d9.png").is_file());
}
