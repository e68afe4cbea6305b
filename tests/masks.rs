//! Mask operations against what scikit-image and `OpenCV` make of the same masks.
//!
//! Driven by what is in the folder: every `{mask}_{operation}{number}.png` beside a mask that
//! `expected.json` names. `FILL_AUDIT_FIXTURES` names a folder that holds another set in `masks/`.

use std::error::Error;
use std::path::{Path, PathBuf};

use fill_audit::imaging::GrayImage;
use fill_audit::imaging::codecs::decode_mask;
use fill_audit::imaging::mask::components::despeck;
use fill_audit::imaging::mask::{BinaryMask, DistanceField, disc, feather, process};
use fill_audit::model::mask_recipe::MaskRecipe;
use serde_json::Value;

type Outcome = Result<(), Box<dyn Error>>;

fn folder() -> PathBuf {
    let fixtures = std::env::var_os("FILL_AUDIT_FIXTURES").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures"),
        PathBuf::from,
    );
    fixtures.join("masks")
}

fn cases() -> Result<Vec<Value>, Box<dyn Error>> {
    let path = folder().join("expected.json");
    let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
    let cases: Vec<Value> = serde_json::from_str(&text)?;
    assert!(!cases.is_empty(), "{} names no mask", path.display());
    Ok(cases)
}

fn name_of(case: &Value) -> Result<&str, Box<dyn Error>> {
    Ok(case["mask"]
        .as_str()
        .ok_or("a case without a mask's name")?)
}

fn grey(name: &str) -> Result<GrayImage, Box<dyn Error>> {
    Ok(decode_mask(&folder().join(format!("{name}.png")))?.into_luma8())
}

/// The recipe of the references: threshold 128, despeck 50, open 2, despeck 50, dilate 10.
fn recipe() -> MaskRecipe {
    MaskRecipe {
        feather_sigma_px: 0.0,
        ..MaskRecipe::default()
    }
}

/// The operations that the folder has references of for a mask: "open2", "recipe", …
fn operations(name: &str) -> Result<Vec<String>, Box<dyn Error>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder())? {
        let file = entry?.file_name().to_string_lossy().into_owned();
        let operation = file
            .strip_suffix(".png")
            .and_then(|stem| stem.strip_prefix(name))
            .and_then(|rest| rest.strip_prefix('_'));
        found.extend(operation.map(ToOwned::to_owned));
    }
    found.sort();
    assert!(!found.is_empty(), "no references for {name}");
    Ok(found)
}

fn split(operation: &str) -> Result<(&str, f32), Box<dyn Error>> {
    let digits = operation
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(operation.len());
    let (kind, number) = operation.split_at(digits);
    Ok((
        kind,
        if number.is_empty() {
            0.0
        } else {
            number.parse()?
        },
    ))
}

fn assert_equal(ours: &BinaryMask, reference: &GrayImage, what: &str) {
    assert_eq!(ours.size(), reference.dimensions(), "{what}");
    let differing = ours
        .to_grey()
        .as_raw()
        .iter()
        .zip(reference.as_raw())
        .filter(|(ours, reference)| ours != reference)
        .count();
    assert_eq!(differing, 0, "{what}: pixels that differ");
}

#[test]
fn every_operation_equals_its_reference_pixel_for_pixel() -> Outcome {
    for case in cases()? {
        let name = name_of(&case)?;
        let raw = grey(name)?;
        let start = BinaryMask::from_grey(&raw, 128);
        for operation in operations(name)? {
            let what = format!("{name}_{operation}");
            let reference = grey(&what)?;
            let (kind, number) = split(&operation)?;
            match kind {
                "threshold" => assert_equal(&start, &reference, &what),
                "despeck" => assert_equal(&despeck(&start, number as u32), &reference, &what),
                "open" => assert_equal(&disc::open(&start, number), &reference, &what),
                "close" => assert_equal(&disc::close(&start, number), &reference, &what),
                "dilate" => {
                    let cleaned = despeck(&start, 50);
                    assert_equal(&disc::dilate(&cleaned, number), &reference, &what);
                    let field = DistanceField::to_white(&cleaned);
                    assert_equal(
                        &field.dilated(number),
                        &reference,
                        &format!("{what} by field"),
                    );
                }
                "recipe" => assert_equal(&process(&raw, &recipe()).grown, &reference, &what),
                "feather" => {
                    let ours = feather(&process(&raw, &recipe()).grown, number);
                    assert_eq!(ours.dimensions(), reference.dimensions(), "{what}");
                    let pairs = ours.as_raw().iter().zip(reference.as_raw());
                    let worst = pairs.map(|(a, b)| a.abs_diff(*b)).max();
                    assert!(worst <= Some(1), "{what}: differs by {worst:?}");
                }
                other => return Err(format!("{what}: no operation is called {other}").into()),
            }
        }
    }
    Ok(())
}

#[test]
fn every_figure_equals_its_reference() -> Outcome {
    for case in cases()? {
        let name = name_of(&case)?;
        // Through text, as the reference: reading a float back may be off by its last bit.
        let figures = serde_json::to_string(&process(&grey(name)?, &recipe()).figures())?;
        let figures: Value = serde_json::from_str(&figures)?;
        for (figure, expected) in case.as_object().ok_or("a case that is no object")? {
            if figure != "mask" {
                let ours = figures
                    .get(figure)
                    .ok_or_else(|| format!("no figure {figure}"))?;
                assert_eq!(ours.as_f64(), expected.as_f64(), "{name}: {figure}");
            }
        }
    }
    Ok(())
}
