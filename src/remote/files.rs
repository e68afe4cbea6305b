//! A run's files as another machine takes them: inputs, plans, finished cells, contact sheet, report. What
//! a name means is decided by the run's plan; nothing else in the folder can be reached.

use super::pictures::{self, Picture, internal};
use super::refusal::Refusal;
use super::wire::RunFile;
use crate::audit::{CONTACT_SHEET, hash, run_folder};
use crate::model::cell::CellKey;
use crate::model::run::{CellDocument, CellOutcome, Run, files};
use std::fs::File;
use std::io::{ErrorKind, Seek as _};
use std::path::Path;

/// The files of a run that are whole, in the order in which they are best taken: each comes after those
/// that it speaks of. None while the run has no folder.
///
/// # Errors
/// [`Refusal::Internal`] if the folder or a document cannot be read.
pub(super) fn list(folder: &Path) -> Result<Vec<RunFile>, Refusal> {
    if !folder.join(files::RUN).is_file() {
        return Ok(Vec::new());
    }
    let run = run_folder::read_plan(folder).map_err(internal)?;
    let mut found = Vec::new();
    for name in [
        files::IMAGE,
        files::MASK,
        files::SUBJECT,
        files::INFERENCE_IMAGE,
        files::INFERENCE_MASK,
        files::RUN,
    ] {
        found.extend(described(folder, name)?);
    }
    for number in 1..=run.extensions.len() {
        found.extend(described(folder, &files::plan(number))?);
    }
    for key in run.cells.keys() {
        found.extend(cell_files(folder, &run.cell_name(key))?);
    }
    for name in [CONTACT_SHEET, files::REPORT] {
        found.extend(described(folder, name)?);
    }
    Ok(found)
}

/// A file with its size and hash; `None` if it is not there.
fn described(folder: &Path, name: &str) -> Result<Option<RunFile>, Refusal> {
    let Some(opened) = opened(folder, name)? else {
        return Ok(None);
    };
    Ok(Some(RunFile {
        name: name.to_owned(),
        size_bytes: opened.size_bytes,
        sha256: opened.sha256,
    }))
}

/// The files of a cell that ended, its document last. Pictures are known by what the document says of them.
fn cell_files(folder: &Path, name: &str) -> Result<Vec<RunFile>, Refusal> {
    let document_name = files::cell(name);
    let text = match std::fs::read_to_string(folder.join(&document_name)) {
        Ok(text) => text,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(internal(error)),
    };
    let mut found = Vec::new();
    // One that cannot be understood is shown as such wherever it is opened.
    if let Ok(document) = CellDocument::parse(&text, &document_name)
        && let CellOutcome::Done {
            fill_sha256,
            composite_sha256,
        } = document.outcome
    {
        let pictures = [
            (files::fill(name), fill_sha256),
            (files::composite(name), composite_sha256),
        ];
        for (name, sha256) in pictures {
            let Ok(metadata) = folder.join(&name).metadata() else {
                return Ok(Vec::new());
            };
            found.push(RunFile {
                name,
                size_bytes: metadata.len(),
                sha256,
            });
        }
    }
    found.push(RunFile {
        name: document_name,
        size_bytes: text.len() as u64,
        sha256: hash::sha256(text.as_bytes()),
    });
    Ok(found)
}

fn opened(folder: &Path, name: &str) -> Result<Option<Picture>, Refusal> {
    let mut file = match File::open(folder.join(name)) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(internal(error)),
    };
    let sha256 = hash::sha256_of(&mut file).map_err(internal)?;
    let size_bytes = file.stream_position().map_err(internal)?;
    file.rewind().map_err(internal)?;
    Ok(Some(Picture {
        file,
        size_bytes,
        sha256,
    }))
}

/// Opens one of the run's files. Reads it once.
///
/// # Errors
/// [`Refusal::NotFound`] if the run has no such file, [`Refusal::Internal`] if what is there cannot be
/// believed.
pub(super) fn open(folder: &Path, name: &str) -> Result<Picture, Refusal> {
    let no_file = || Refusal::NotFound("this run has no file of that name".to_owned());
    if !folder.join(files::RUN).is_file() {
        return Err(Refusal::NotFound("the run has no files yet".to_owned()));
    }
    let run = run_folder::read_plan(folder).map_err(internal)?;
    match known_name(&run, name).ok_or_else(no_file)? {
        Known::Picture => pictures::open(folder, name),
        Known::Document(name) => opened(folder, &name)?.ok_or_else(no_file),
    }
}

/// What a name from outside means in a run.
enum Known {
    /// A cell's picture, as far as its ending says.
    Picture,
    /// A file of this name, which is the plan's and not the request's.
    Document(String),
}

fn known_name(run: &Run, name: &str) -> Option<Known> {
    let fixed = [
        files::IMAGE,
        files::MASK,
        files::SUBJECT,
        files::INFERENCE_IMAGE,
        files::INFERENCE_MASK,
        files::RUN,
        files::REPORT,
        CONTACT_SHEET,
    ];
    if let Some(fixed) = fixed.into_iter().find(|fixed| *fixed == name) {
        return Some(Known::Document(fixed.to_owned()));
    }
    let plan = (1..=run.extensions.len()).map(files::plan);
    if let Some(plan) = plan.into_iter().find(|plan| plan == name) {
        return Some(Known::Document(plan));
    }
    if name.strip_suffix(".png").is_some() {
        return Some(Known::Picture);
    }
    let key = CellKey::parse(name.strip_suffix(".ron")?, &run.defaults)
        .filter(|key| run.cells.contains_key(key))?;
    Some(Known::Document(files::cell(&run.cell_name(&key))))
}

/// What a file is, as it stands in an answer's head.
pub(super) fn content_type(name: &str) -> &'static str {
    match Path::new(name).extension().and_then(|end| end.to_str()) {
        Some("png") => "image/png",
        Some("md") => "text/markdown; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    }
}
