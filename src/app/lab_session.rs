//! Reads a session for the mask lab, from its folder or from a run's copies, and saves what was tuned.
//!
//! Nothing is written over a document that could not be read, over another photograph, or over a mask
//! that somebody else has changed in the meantime.

use super::lab_effects::chain;
use super::lab_tuning::LabBench;
use crate::imaging::codecs;
use crate::imaging::composite::Placement;
use crate::imaging::mask::{BinaryMask, inspect_mask};
use crate::imaging::resize::{DEFAULT_LONG_SIDE_PX, inference_size};
use crate::imaging::{GrayImage, ImagingError};
use crate::model::document;
use crate::model::ids::SessionId;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::{RunDocument, files as run_files};
use crate::model::session::{Session, files};
use crate::state::lab::LabSource;
use crate::state::lab::mask_field::{inference_mask, region_of};
use crate::state::lab::result::{Opened, Saved};
use image::DynamicImage;
use std::path::{Path, PathBuf};

/// A subject is white from this grey on, as a mask is by default.
const SUBJECT_THRESHOLD: u8 = 128;

/// A session's files as they were read.
pub(super) struct SessionFiles {
    /// What the window is told.
    pub opened: Opened,
    /// The mask at the photograph's size; black if the file has another size.
    pub mask: GrayImage,
    /// What must not be touched, at inference size.
    pub subject: Option<BinaryMask>,
    /// The mask's file if something is odd about it.
    pub pending: Option<(String, DynamicImage)>,
    /// SHA-256 of the mask's file in the session's folder.
    pub mask_sha256: Option<String>,
}

#[expect(
    clippy::needless_pass_by_value,
    reason = "handed to map_err, which gives the error away"
)]
fn said(error: ImagingError) -> String {
    chain(&error)
}

/// The session's document; `None` if there is none.
fn read_document(dir: &Path) -> Result<Option<Session>, String> {
    let path = dir.join(files::DOCUMENT);
    let shown = path.display().to_string();
    match std::fs::read_to_string(&path) {
        Ok(text) => Session::parse(&text, &shown)
            .map(Some)
            .map_err(|error| error.to_string()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(format!(
            "the session's document cannot be read: {error}: {shown}"
        )),
    }
}

/// The name of a folder as a session's name.
fn folder_id(dir: &Path) -> Result<SessionId, String> {
    let full = std::path::absolute(dir).unwrap_or_else(|_| dir.to_owned());
    let name = full
        .file_name()
        .map(|name| name.to_string_lossy().into_owned())
        .unwrap_or_default();
    SessionId::new(name).map_err(|error| format!("{error}: {}", dir.display()))
}

/// Reads a session.
///
/// # Errors
/// A sentence that names the file when there is no photograph or no mask that can be read.
pub(super) fn read_session(source: LabSource, sessions_dir: &Path) -> Result<SessionFiles, String> {
    match source {
        LabSource::Session(dir) => read_folder(&dir),
        LabSource::Run { dir, document } => read_run(dir, *document, sessions_dir),
    }
}

fn read_folder(dir: &Path) -> Result<SessionFiles, String> {
    let image = dir.join(files::IMAGE);
    if !image.is_file() {
        return Err(format!(
            "this folder holds no session: there is no {}: {}",
            files::IMAGE,
            dir.display()
        ));
    }
    let size = codecs::decode(&image).map_err(said)?.size();
    let placement = Placement::whole(size, inference_size(size.0, size.1, DEFAULT_LONG_SIDE_PX));
    let (session, document_problem) = match read_document(dir) {
        Ok(session) => (session, None),
        Err(problem) => (None, Some(problem)),
    };
    let name = match &session {
        Some(session) => session.id.to_string(),
        None => folder_id(dir).map_or_else(|_| "session".to_owned(), |id| id.to_string()),
    };
    let saved_recipe = session.as_ref().and_then(|session| session.recipe.clone());
    let opened = Opened {
        source: LabSource::Session(dir.to_owned()),
        name,
        expected: session.map(|session| session.expected).unwrap_or_default(),
        image,
        placement,
        session_dir: Some(dir.to_owned()),
        recipe: saved_recipe.clone().unwrap_or_default(),
        saved_recipe,
        document_problem,
        has_subject: false,
        warnings: Vec::new(),
    };
    with_masks(opened, &dir.join(files::MASK), dir)
}

fn read_run(
    dir: PathBuf,
    document: RunDocument,
    sessions_dir: &Path,
) -> Result<SessionFiles, String> {
    let image = dir.join(run_files::IMAGE);
    let mask = dir.join(run_files::MASK);
    let size = codecs::decode(&image).map_err(said)?.size();
    let placement = Placement {
        image_size: size,
        region: region_of(document.inference_box),
        inference_size: document.inference_size_px,
    };
    let session_dir = own_session(&document, sessions_dir);
    let found = session_dir.as_deref().map_or(Ok(None), read_document);
    let (session, document_problem) = match found {
        Ok(session) => (session, None),
        Err(problem) => (None, Some(problem)),
    };
    let subject_dir = session_dir.clone().unwrap_or_else(|| dir.clone());
    let opened = Opened {
        name: document.session.to_string(),
        expected: document.expected.clone(),
        image,
        placement,
        session_dir,
        recipe: document.plan.recipe.clone(),
        saved_recipe: session.and_then(|session| session.recipe),
        document_problem,
        has_subject: false,
        warnings: Vec::new(),
        source: LabSource::Run {
            dir,
            document: Box::new(document),
        },
    };
    with_masks(opened, &mask, &subject_dir)
}

/// The folder of a run's session, if it still holds the photograph and the mask of the run.
fn own_session(document: &RunDocument, sessions_dir: &Path) -> Option<PathBuf> {
    let dir = sessions_dir.join(document.session.as_str());
    let is_same = |name: &str, expected: &str| {
        codecs::sha256_of_file(&dir.join(name)).is_ok_and(|found| found == expected)
    };
    let is_own = is_same(files::IMAGE, &document.inputs.image)
        && is_same(files::MASK, &document.inputs.mask);
    is_own.then_some(dir)
}

fn with_masks(
    mut opened: Opened,
    mask_path: &Path,
    subject_dir: &Path,
) -> Result<SessionFiles, String> {
    let size = opened.placement.image_size;
    let (mask, pending) = if mask_path.is_file() {
        let found = codecs::decode_mask(mask_path).map_err(said)?;
        let grey = found.to_luma8();
        let is_odd = !inspect_mask(&found, size).is_empty();
        let mask = if grey.dimensions() == size {
            grey
        } else {
            GrayImage::new(size.0, size.1)
        };
        (
            mask,
            is_odd.then(|| (mask_path.display().to_string(), found)),
        )
    } else {
        opened
            .warnings
            .push(format!("there is no mask yet: {}", mask_path.display()));
        (GrayImage::new(size.0, size.1), None)
    };
    let subject = match read_subject(&subject_dir.join(files::SUBJECT), &opened.placement) {
        Ok(subject) => subject,
        Err(problem) => {
            opened.warnings.push(problem);
            None
        }
    };
    opened.has_subject = subject.is_some();
    let mask_sha256 = opened
        .session_dir
        .as_ref()
        .and_then(|dir| codecs::sha256_of_file(&dir.join(files::MASK)).ok());
    Ok(SessionFiles {
        opened,
        mask,
        subject,
        pending,
        mask_sha256,
    })
}

fn read_subject(path: &Path, placement: &Placement) -> Result<Option<BinaryMask>, String> {
    if !path.is_file() {
        return Ok(None);
    }
    let grey = codecs::decode_mask(path).map_err(said)?.into_luma8();
    let (size, expected) = (grey.dimensions(), placement.image_size);
    if size != expected {
        return Err(format!(
            "subject is {}x{} but the image is {}x{}, so it is left aside: {}",
            size.0,
            size.1,
            expected.0,
            expected.1,
            path.display()
        ));
    }
    let small = inference_mask(&grey, placement.region, placement.inference_size).map_err(said)?;
    Ok(Some(BinaryMask::from_grey(&small, SUBJECT_THRESHOLD)))
}

/// Writes the recipe into the session's document, and the mask if it was painted on. A folder without a
/// photograph gets a copy, so that a run's session can be saved on its own.
///
/// # Errors
/// A sentence that names the file; what was there is then untouched, or written whole.
pub(super) fn save(bench: &mut LabBench, dir: &Path, recipe: &MaskRecipe) -> Result<Saved, String> {
    let document = read_document(dir)
        .map_err(|problem| format!("not saved, so that nothing is overwritten: {problem}"))?;
    std::fs::create_dir_all(dir).map_err(|error| {
        format!(
            "the session's folder cannot be made: {error}: {}",
            dir.display()
        )
    })?;
    let mut session = match document {
        Some(session) => session,
        None => Session {
            expected: bench.opened().expected.clone(),
            ..Session::unnamed(folder_id(dir)?)
        },
    };
    save_image(&bench.opened().image, dir)?;
    save_mask(bench, dir)?;
    session.recipe = Some(recipe.clone());
    let path = dir.join(files::DOCUMENT);
    let text = document::to_ron(&session, &path.display().to_string())
        .map_err(|error| error.to_string())?;
    codecs::write_atomically(&path, text.as_bytes()).map_err(said)?;
    let mask_revision = Some(bench.note_saved());
    Ok(Saved {
        dir: dir.to_owned(),
        recipe: recipe.clone(),
        mask_revision,
    })
}

fn save_image(from: &Path, dir: &Path) -> Result<(), String> {
    let to = dir.join(files::IMAGE);
    if !to.exists() {
        let bytes = std::fs::read(from).map_err(|error| {
            format!("the photograph cannot be read: {error}: {}", from.display())
        })?;
        return codecs::write_atomically(&to, &bytes).map_err(said);
    }
    let (own, there) = (
        codecs::sha256_of_file(from).map_err(said)?,
        codecs::sha256_of_file(&to).map_err(said)?,
    );
    if own == there {
        Ok(())
    } else {
        Err(format!(
            "not saved: another photograph is there already: {}",
            to.display()
        ))
    }
}

fn save_mask(bench: &mut LabBench, dir: &Path) -> Result<(), String> {
    let to = dir.join(files::MASK);
    let is_there = to.exists();
    if is_there && !bench.is_changed() {
        return Ok(());
    }
    if is_there && bench.mask_sha256 != Some(codecs::sha256_of_file(&to).map_err(said)?) {
        return Err(format!(
            "not saved: the mask has changed since it was read; open the session again: {}",
            to.display()
        ));
    }
    let bytes = codecs::encode_grey_png(bench.painting().mask()).map_err(said)?;
    codecs::write_atomically(&to, &bytes).map_err(said)?;
    bench.mask_sha256 = Some(codecs::sha256_of_bytes(&bytes));
    Ok(())
}
