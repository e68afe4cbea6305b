//! What the mask lab and mask views need from files and threads.

use crate::imaging::codecs;
use crate::model::run::{RunDocument, files};
use crate::state::lab::mask_field::MaskField;
use std::path::Path;

/// An error and what caused it, in one sentence.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// Reads the mask of a run's folder and measures it.
pub fn run_mask(dir: &Path, document: &RunDocument) -> Result<MaskField, String> {
    let path = dir.join(files::MASK);
    let raw = codecs::decode(&path)
        .map_err(|error| chain(&error))?
        .into_grey();
    MaskField::of_run(&raw, document)
        .map_err(|error| format!("{}: {}", chain(&error), path.display()))
}
