//! Whether a settings file agrees with the run that it names. Files are hashed by whoever calls.

use super::staging::{environment, reasons_of_making};
use super::{ApprovedSettings, ReasonCode};
use crate::model::cell::CellKey;
use crate::model::run::{CellOutcome, CellState, Environment, InferenceSize, Run};

/// Each value that does not agree with the run, as a sentence; none if all do. What the run does not
/// know is not compared; what it knows must stand in the file. What held the approval back by the
/// run's own facts must have been overridden there.
pub fn disagreements(settings: &ApprovedSettings, run: &Run) -> Vec<String> {
    let approval = &settings.approval;
    if approval.run != run.run_id {
        return vec![format!(
            "it approves run {} but this is run {}",
            approval.run, run.run_id
        )];
    }
    let key =
        CellKey::parse(&approval.cell, &run.defaults).filter(|key| run.cells.contains_key(key));
    let Some(key) = key else {
        return vec![format!("run {} has no cell {}", run.run_id, approval.cell)];
    };
    let mut found = Vec::new();
    let mut compare = |what: &str, says: Option<String>, is: Option<String>| match (says, is) {
        (Some(says), Some(is)) if says != is => {
            found.push(format!("{what} is {says} in the file but {is} in the run"));
        }
        (None, Some(is)) => {
            found.push(format!("{what} is not in the file but {is} in the run"));
        }
        _ => {}
    };
    let inference = &settings.inference;
    let text = |text: &str| Some(format!("{text:?}"));
    compare(
        "model.quant",
        Some(settings.model.quant.to_string()),
        Some(key.quant.to_string()),
    );
    compare(
        "inference.guidance_scale",
        Some(inference.guidance_scale.to_string()),
        Some(key.guidance.to_string()),
    );
    compare(
        "inference.num_inference_steps",
        Some(inference.num_inference_steps.to_string()),
        Some(key.steps.to_string()),
    );
    compare(
        "inference.seed",
        inference.seed.map(|seed| seed.to_string()),
        key.seed.map(|seed| seed.to_string()),
    );
    compare(
        "inference.prompt",
        inference.prompt.as_deref().and_then(text),
        run.prompt_of(&key).and_then(text),
    );
    compare(
        "approval.session",
        approval.session.as_ref().map(ToString::to_string),
        run.session.as_ref().map(ToString::to_string),
    );
    if let Some(document) = run.document() {
        let transformer = run.transformer(&key.quant);
        compare(
            "model.sha256",
            settings.model.sha256.clone(),
            transformer.map(|file| file.sha256.clone()),
        );
        compare(
            "model.file",
            settings.model.file.clone(),
            transformer.map(|file| file.file.clone()),
        );
        compare(
            "model.repository",
            settings.model.repository.clone(),
            Some(document.model.repository.clone()),
        );
        compare(
            "model.base",
            settings.model.base.clone(),
            Some(document.model.base.clone()),
        );
        compare(
            "inference.max_sequence_length",
            inference.max_sequence_length.map(|n| n.to_string()),
            Some(document.max_sequence_length.to_string()),
        );
        let (long_side_px, margin) = match document.inference {
            InferenceSize::Whole { long_side_px } => (long_side_px, None),
            InferenceSize::Crop {
                long_side_px,
                margin,
            } => (long_side_px, Some(margin)),
        };
        compare(
            "inference.long_side_px",
            inference.long_side_px.map(|n| n.to_string()),
            Some(long_side_px.to_string()),
        );
        let shown = |margin: Option<f32>| {
            Some(margin.map_or("none".to_owned(), |margin| margin.to_string()))
        };
        compare(
            "inference.crop_margin",
            shown(inference.crop_margin),
            shown(margin),
        );
    }
    let is_overridden = |code| approval.overrides.iter().any(|one| one.reason == code);
    if !is_overridden(ReasonCode::RecipeDiffers) {
        let shown = |recipe: crate::model::mask_recipe::MaskRecipe| format!("{recipe:?}");
        compare(
            "the mask recipe",
            settings.recipe().map(shown),
            run.recipe_of(&key).map(shown),
        );
    }
    match run.cells.get(&key) {
        Some(CellState::Done(done)) => {
            let number = |value: Option<f64>| value.map(|value| value.to_string());
            compare(
                "approval.gpu",
                approval.gpu.clone(),
                environment(run, done).map(Environment::label),
            );
            compare(
                "approval.wall_secs",
                number(approval.wall_secs),
                number(done.timing.wall_secs),
            );
            compare(
                "approval.gpu_millis",
                number(approval.gpu_millis),
                number(done.timing.gpu_millis),
            );
            if let Some(CellOutcome::Done {
                composite_sha256, ..
            }) = done.document.as_ref().map(|document| &document.outcome)
            {
                compare(
                    "approval.image_sha256",
                    approval.image_sha256.clone(),
                    Some(composite_sha256.clone()),
                );
            }
        }
        Some(other) => found.push(format!(
            "{} has no picture in the run ({})",
            approval.cell,
            other.word()
        )),
        None => {}
    }
    if let Some(CellState::Done(done)) = run.cells.get(&key) {
        for reason in reasons_of_making(run, &key, done) {
            if !is_overridden(reason.code) {
                found.push(format!(
                    "{}, which the file does not override ({})",
                    reason.sentence, reason.code
                ));
            }
        }
    }
    found
}
