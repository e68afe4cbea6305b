//! A finished cell's picture, by its file's name: the name is parsed as a cell's and looked up in the
//! run's plan, and the picture is held against the hash in the cell's document.

use super::refusal::Refusal;
use crate::audit::{hash, run_folder};
use crate::model::cell::CellKey;
use crate::model::run::{CellDocument, CellOutcome, files};
use std::fs::File;
use std::io::{ErrorKind, Seek as _};
use std::path::Path;

/// A picture that is what its cell's document says.
#[derive(Debug)]
pub(super) struct Picture {
    /// At its beginning.
    pub(super) file: File,
    /// Its length.
    pub(super) size_bytes: u64,
    /// 64 hexadecimal digits.
    pub(super) sha256: String,
}

/// Opens `{cell}.png`, the composite, or `{cell}.fill.png`, the raw fill. Reads it once.
///
/// # Errors
/// [`Refusal::NotFound`] if it is no finished cell of this run's, [`Refusal::Internal`] if what is there
/// cannot be believed.
pub(super) fn open(folder: &Path, file: &str) -> Result<Picture, Refusal> {
    let no_cell = || Refusal::NotFound("this run has no picture of that name".to_owned());
    let stem = file.strip_suffix(".png").ok_or_else(no_cell)?;
    let (name, is_fill) = match stem.strip_suffix(".fill") {
        Some(name) => (name, true),
        None => (stem, false),
    };
    if !folder.join(files::RUN).is_file() {
        return Err(Refusal::NotFound("the run has no cells yet".to_owned()));
    }
    let run = run_folder::read_plan(folder).map_err(internal)?;
    let key = CellKey::parse(name, &run.defaults)
        .filter(|key| run.cells.contains_key(key))
        .ok_or_else(no_cell)?;

    // From here on the name is the plan's, not the request's.
    let name = run.cell_name(&key);
    let path = folder.join(files::cell(&name));
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            return Err(Refusal::NotFound(format!("{name} is not made yet")));
        }
        Err(error) => return Err(internal(error)),
    };
    let document = CellDocument::parse(&text, &files::cell(&name)).map_err(internal)?;
    let (fill, composite) = match document.outcome {
        CellOutcome::Done {
            fill_sha256,
            composite_sha256,
        } => (fill_sha256, composite_sha256),
        CellOutcome::Failed { error } => {
            return Err(Refusal::NotFound(format!("{name} failed: {error}")));
        }
    };
    let (picture, expected) = if is_fill {
        (files::fill(&name), fill)
    } else {
        (files::composite(&name), composite)
    };
    let mut file = File::open(folder.join(&picture)).map_err(internal)?;
    let sha256 = hash::sha256_of(&mut file).map_err(internal)?;
    if sha256 != expected {
        return Err(Refusal::Internal(format!(
            "{picture} is not the picture that the cell's document describes"
        )));
    }
    let size_bytes = file.stream_position().map_err(internal)?;
    file.rewind().map_err(internal)?;
    Ok(Picture {
        file,
        size_bytes,
        sha256,
    })
}

/// The run's folder is not as it should be.
pub(super) fn internal(error: impl std::fmt::Display) -> Refusal {
    Refusal::Internal(format!("the run's files cannot be read: {error}"))
}
