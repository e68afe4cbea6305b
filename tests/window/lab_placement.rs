//! The mask lab on runs that were given the whole picture and on runs that were given a crop: what it composes
//! is what the audit writes, and what it draws lies where the crop was cut out.

use super::harness::{Desk, drawn_at_full_size, settle, step_until, view};
use super::lab_runs::{CROP, WHOLE, matrix, run_again, run_of};
use super::mask_lab::{Window, is_settled, lab, open_session, send, set_recipe, settle_lab};
use eframe::egui::vec2;
use egui_kittest::kittest::Queryable as _;
use fill_audit::audit::inputs::SessionInputs;
use fill_audit::imaging::RgbImage;
use fill_audit::imaging::composite::Placement;
use fill_audit::imaging::mask::binary::PixelBox;
use fill_audit::imaging::mask::process;
use fill_audit::model::cell::CellKey;
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::model::run::{InferenceSize, Plan, RunDocument, files};
use fill_audit::state::command::Command;
use fill_audit::state::lab::{LabMsg, LabTab};
use fill_audit::state::{Msg, Page};
use std::path::{Path, PathBuf};

/// The recipes that the tests tune to: one changes the dilation and the feather, one the clean-up too.
fn other_recipes() -> [MaskRecipe; 3] {
    let default = MaskRecipe::default();
    [
        MaskRecipe {
            dilate_px: 16.5,
            feather_sigma_px: 2.0,
            ..default.clone()
        },
        MaskRecipe {
            open_px: 0.0,
            close_px: 3.0,
            dilate_px: 6.0,
            ..default.clone()
        },
        MaskRecipe {
            feather_sigma_px: 0.0,
            ..default
        },
    ]
}

fn run_made(desk: &Desk, inference: InferenceSize) -> PathBuf {
    let plan = Plan {
        matrix: matrix(&[10.0]),
        recipe: MaskRecipe::default(),
    };
    run_of(desk, plan, inference)
}

fn open_lab_of_run(harness: &mut Window, run: &Path) {
    harness.state_mut().send(Msg::Open(run.to_owned()));
    settle(harness);
    let go = Msg::Command(Command::GoTo(Page::MaskLab));
    harness.state_mut().send(go);
    step_until(harness, "the run's copies are open", |harness| {
        is_settled(harness)
    });
}

fn document(run: &Path) -> RunDocument {
    let text = std::fs::read_to_string(run.join(files::RUN)).expect("there");
    RunDocument::parse(&text, files::RUN).expect("readable")
}

/// What the lab shows once a control is let go.
fn exact(harness: &mut Window) -> RgbImage {
    step_until(harness, "the composite is exact", |harness| {
        lab(harness).exact_composite().is_some()
    });
    let composed = lab(harness).exact_composite().expect("exact");
    image::load_from_memory(&composed.picture)
        .expect("a picture")
        .to_rgb8()
}

fn picture(path: &Path) -> RgbImage {
    image::open(path).expect("there").to_rgb8()
}

#[test]
fn the_released_composite_is_what_the_audit_makes_of_that_fill_whole_and_cropped() {
    for inference in [WHOLE, CROP] {
        let desk = Desk::new();
        let run = run_made(&desk, inference);
        let document = document(&run);
        let region = document.inference_box;
        let is_crop = matches!(inference, InferenceSize::Crop { .. });
        assert_eq!((region.width, region.height) != (512, 384), is_crop);
        let inputs = SessionInputs::of_run(&run, &document).expect("the run's inputs");
        let mut harness = desk.plain();
        open_lab_of_run(&mut harness, &run);
        harness.get_by_label("Composite").click();
        harness.run_steps(2);
        let key = lab(&harness).fill_of.clone().expect("a fill");
        let name = view(&harness).run.cell_name(&key);
        let stored = picture(&run.join(files::composite(&name)));
        assert!(
            exact(&mut harness) == stored,
            "{inference:?}: as it was made"
        );

        let fill = picture(&run.join(files::fill(&name)));
        for recipe in other_recipes() {
            set_recipe(&mut harness, |now| *now = recipe.clone());
            let expected = inputs
                .composite(&fill, &inputs.mask(&recipe))
                .expect("composed");
            assert!(expected != stored, "the recipe shows: {recipe:?}");
            assert!(exact(&mut harness) == expected, "{inference:?}: {recipe:?}");
        }
    }
}

#[test]
fn under_its_own_recipe_a_cell_that_was_run_again_is_the_picture_that_the_audit_wrote() {
    for inference in [WHOLE, CROP] {
        let desk = Desk::new();
        let run = run_made(&desk, inference);
        for recipe in other_recipes() {
            run_again(&run, &recipe);
        }
        let mut harness = desk.plain();
        open_lab_of_run(&mut harness, &run);
        send(&mut harness, LabMsg::SetTab(LabTab::Composite));
        let cells: Vec<CellKey> = view(&harness).run.cells.keys().cloned().collect();
        assert_eq!(cells.len(), 8);
        for key in cells {
            let recipe = view(&harness).run.recipe_of(&key).expect("known");
            let name = view(&harness).run.cell_name(&key);
            send(&mut harness, LabMsg::ShowFillOf(key));
            set_recipe(&mut harness, |now| *now = recipe);
            let stored = picture(&run.join(files::composite(&name)));
            assert!(exact(&mut harness) == stored, "{inference:?}: {name}");
            let label = format!("{name} as stored");
            assert!(
                harness.query_by_label(&label).is_some(),
                "no badge at its own recipe: {label}"
            );
        }
    }
}

#[test]
fn a_session_that_is_open_whole_says_why_a_crop_s_fills_do_not_fit() {
    let desk = Desk::new();
    let run = run_made(&desk, CROP);
    let mut harness = desk.plain();
    harness.state_mut().send(Msg::Open(run));
    settle(&mut harness);
    open_session(&mut harness, desk.folder.path().join("sessions/bar"));
    send(&mut harness, LabMsg::SetTab(LabTab::Composite));
    assert!(
        harness
            .query_by_label_contains("another size or part was inferred")
            .is_some()
    );
    assert!(harness.query_by_label("original").is_some());
}

/// What is drawn of a lab's cell below its title, with the point of the photograph under each pixel. The
/// lab must show the photograph at 100 % about its middle.
fn drawn_cell(harness: &mut Window, label: &str) -> Vec<([f64; 2], [u8; 3])> {
    let rect = harness.get_by_label(label).rect();
    let size = lab(harness).opened.placement.image_size;
    drawn_at_full_size(harness, rect, size)
}

/// 100 % about the middle of the photograph, without a cursor over it.
fn at_full_size(harness: &mut Window) {
    harness.remove_cursor();
    harness.run_steps(2);
    // A crop is opened at what was inferred: to fit is then the whole photograph.
    for command in [Command::Fit, Command::ActualSize] {
        harness.state_mut().send(Msg::Command(command));
        harness.run_steps(2);
    }
    settle(harness);
}

fn is_in_frame(area: PixelBox, [x, y]: [f64; 2]) -> bool {
    let near = |at: f64, edge: u32| (at - f64::from(edge)).abs() <= 3.0;
    near(x, area.x) || near(x, area.right()) || near(y, area.y) || near(y, area.bottom())
}

#[test]
fn the_lab_s_mask_is_drawn_as_it_is_saved_pixel_for_pixel_at_full_size() {
    for inference in [WHOLE, CROP] {
        let desk = Desk::new();
        let run = run_made(&desk, inference);
        let document = document(&run);
        let inputs = SessionInputs::of_run(&run, &document).expect("the run's inputs");
        let placement: Placement = inputs.placement;
        let mut harness = desk.rendered(vec2(1280.0, 800.0));
        open_lab_of_run(&mut harness, &run);
        let is_crop = matches!(inference, InferenceSize::Crop { .. });
        at_full_size(&mut harness);
        for dilate_px in [0.0, 0.5, 1.0, 1.5, 8.0, 12.3, 32.0] {
            set_recipe(&mut harness, |recipe| recipe.dilate_px = dilate_px);
            let recipe = lab(&harness).recipe().clone();
            let mask = process(&inputs.raw_mask, &recipe);
            for (label, saved) in [("processed mask", &mask.grown), ("raw mask", &mask.raw)] {
                let mut differing = 0;
                for (at, shown) in drawn_cell(&mut harness, label) {
                    if is_crop && is_in_frame(placement.region, at) {
                        continue;
                    }
                    let pixel = placement.inference_pixel(at[0] as u32, at[1] as u32);
                    let is_white = pixel.is_some_and(|(u, v)| saved.is_white(u, v));
                    let expected = if is_white { [255; 3] } else { [0; 3] };
                    differing += usize::from(shown != expected);
                }
                assert_eq!(differing, 0, "{inference:?}, {label} at {dilate_px} px");
            }
        }
    }
}

#[test]
fn the_live_composite_lies_where_the_exact_one_does() {
    for inference in [WHOLE, CROP] {
        let desk = Desk::new();
        let run = run_made(&desk, inference);
        let mut harness = desk.rendered(vec2(1280.0, 800.0));
        open_lab_of_run(&mut harness, &run);
        send(&mut harness, LabMsg::SetTab(LabTab::Composite));
        at_full_size(&mut harness);
        let key = lab(&harness).fill_of.clone().expect("a fill");
        let name = view(&harness).run.cell_name(&key);
        let mut recipe = lab(&harness).recipe().clone();
        recipe.dilate_px = 16.0;
        // A control that is still held.
        send(
            &mut harness,
            LabMsg::SetRecipe {
                recipe: Box::new(recipe),
                is_settled: false,
            },
        );
        settle_lab(&mut harness);
        settle(&mut harness);
        let live = drawn_cell(&mut harness, &format!("{name} at 16 px, approximated"));
        send(&mut harness, LabMsg::Settle);
        let _ = exact(&mut harness);
        settle(&mut harness);
        let exact = drawn_cell(&mut harness, &format!("{name} at 16 px, exact"));
        let stored = drawn_cell(&mut harness, &format!("{name} as stored, made at 10 px"));
        let far = |a: [u8; 3], b: [u8; 3]| {
            a.into_iter()
                .zip(b)
                .any(|(a, b): (u8, u8)| a.abs_diff(b) > 32)
        };
        let differing = |one: &[([f64; 2], [u8; 3])], other: &[([f64; 2], [u8; 3])]| {
            let pairs = one.iter().zip(other);
            pairs.filter(|((_, a), (_, b))| far(*a, *b)).count() as f64 / one.len() as f64
        };
        let from_exact = differing(&live, &exact);
        let from_stored = differing(&live, &stored);
        // What is far apart are a few pixels on the edges of the fill's pattern, which the live one
        // takes without Lanczos, and corners, where the feather is approximated.
        assert!(
            from_exact < 0.01 && from_exact < from_stored / 4.0,
            "{inference:?}: {from_exact} from the exact one, {from_stored} from the stored one"
        );
    }
}
