//! Reads the session that a person names for a run of the Python service, and remembers it beside the run.

use super::lab_effects::chain;
use crate::audit::start::read_session;
use crate::imaging::codecs;
use crate::imaging::resize::{DEFAULT_LONG_SIDE_PX, inference_size};
use crate::model::document;
use crate::model::ids::SessionId;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::PixelBox;
use crate::model::session::files;
use crate::state::lab::mask_field::MaskField;
use crate::state::named_session::{Named, NamedSession};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Hidden, so that it is this machine's own: it is neither listed as a file of the run nor pushed.
const NOTE: &str = ".fill-audit-session.ron";

/// How far the shape of a fill may be from the photograph's, as a share of its sides' ratio.
const SHAPE_TOLERANCE: f64 = 0.03;

/// What stands in the note.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    schema: u32,
    session_dir: PathBuf,
}

/// What is known of the run.
pub(super) struct Asked<'a> {
    /// Its folder.
    pub run: &'a Path,
    /// One of its pictures.
    pub picture: Option<&'a Path>,
    /// The session that its report names.
    pub reported: Option<&'a SessionId>,
}

/// The session of a run: `session` as it is named now and remembered from then on, or what was remembered;
/// `None` if nobody named one yet.
///
/// # Errors
/// A sentence that names the file when the folder holds no session, or that of another photograph.
pub(super) fn name(asked: &Asked<'_>, session: Option<PathBuf>) -> Result<Option<Named>, String> {
    let is_new = session.is_some();
    let dir = match session {
        Some(dir) => dir,
        None => match remembered(asked.run)? {
            Some(dir) => dir,
            None => return Ok(None),
        },
    };
    let dir = std::path::absolute(&dir).unwrap_or(dir);
    let (session, mask) = read(&dir, asked.picture).map_err(|problem| {
        if is_new {
            problem
        } else {
            format!("the session that was named for this run: {problem}; name it again")
        }
    })?;
    let mut warnings = Vec::new();
    if is_new {
        if let Some(reported) = asked.reported.filter(|own| own.as_str() != session.name) {
            warnings.push(format!(
                "the run's report names the session {reported}, and this is {}",
                session.name
            ));
        }
        if let Err(problem) = remember(asked.run, &dir) {
            warnings.push(format!(
                "the session is named until the window is closed: {problem}"
            ));
        }
    }
    Ok(Some(Named {
        session,
        mask: Arc::new(mask),
        is_new,
        warnings,
    }))
}

/// Whether a picture may be a fill of a photograph: of its size, of the size at which it is inferred, or of
/// about its shape.
fn is_fill_of(fill: (u32, u32), photograph: (u32, u32)) -> bool {
    let inferred = inference_size(photograph.0, photograph.1, DEFAULT_LONG_SIDE_PX);
    let ratio = |(width, height): (u32, u32)| f64::from(width) / f64::from(height.max(1));
    fill == photograph
        || fill == inferred
        || (ratio(fill) / ratio(photograph) - 1.0).abs() <= SHAPE_TOLERANCE
}

fn read(dir: &Path, picture: Option<&Path>) -> Result<(NamedSession, MaskField), String> {
    let (image, mask) = (dir.join(files::IMAGE), dir.join(files::MASK));
    for path in [&image, &mask] {
        if !path.is_file() {
            let name = path.file_name().unwrap_or_default().display();
            return Err(format!(
                "this folder holds no session: there is no {name}: {}",
                dir.display()
            ));
        }
    }
    let session = read_session(dir).map_err(|error| chain(&error))?;
    let dimensions = |path: &Path| codecs::dimensions(path).map_err(|error| chain(&error));
    let size = dimensions(&image)?;
    if let Some(picture) = picture {
        let found = dimensions(picture)?;
        if !is_fill_of(found, size) {
            return Err(format!(
                "this is the session of another photograph: it is {}x{}, and the run's pictures are \
                 {}x{}: {}",
                size.0,
                size.1,
                found.0,
                found.1,
                dir.display()
            ));
        }
    }
    let raw = codecs::decode_mask(&mask).map_err(|error| chain(&error))?;
    let raw = raw.into_luma8();
    if raw.dimensions() != size {
        return Err(format!(
            "the mask is {}x{} and the photograph {}x{}; the mask lab can fit it: {}",
            raw.width(),
            raw.height(),
            size.0,
            size.1,
            mask.display()
        ));
    }
    let whole = PixelBox {
        x: 0,
        y: 0,
        width: size.0,
        height: size.1,
    };
    let inferred = inference_size(size.0, size.1, DEFAULT_LONG_SIDE_PX);
    let field = MaskField::new(&raw, &MaskRecipe::none(), whole, inferred)
        .map_err(|error| format!("{}: {}", chain(&error), mask.display()))?;
    let named = NamedSession {
        name: session.id.to_string(),
        expected: session.expected,
        dir: dir.to_owned(),
        image,
        mask,
        revision: 0,
    };
    Ok((named, field))
}

/// The folder that was named before.
fn remembered(run: &Path) -> Result<Option<PathBuf>, String> {
    let path = run.join(NOTE);
    let shown = path.display().to_string();
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => {
            return Err(format!(
                "which session this run has cannot be read: {error}: {shown}"
            ));
        }
    };
    let note: Note = document::from_ron(&text, &shown).map_err(|error| error.to_string())?;
    document::check_schema(note.schema, &shown).map_err(|error| error.to_string())?;
    Ok(Some(note.session_dir))
}

fn remember(run: &Path, session: &Path) -> Result<(), String> {
    // A note that cannot be read is not written over.
    remembered(run).map_err(|problem| format!("{problem}; remove that file"))?;
    let path = run.join(NOTE);
    let note = Note {
        schema: document::SCHEMA,
        session_dir: session.to_owned(),
    };
    let text =
        document::to_ron(&note, &path.display().to_string()).map_err(|error| error.to_string())?;
    codecs::write_atomically(&path, text.as_bytes()).map_err(|error| chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fill_has_the_photograph_s_size_or_that_of_inference_or_its_shape() {
        for fill in [(2000, 620), (1024, 304), (1000, 310)] {
            assert!(is_fill_of(fill, (2000, 620)), "{fill:?}");
        }
        for fill in [(620, 2000), (1024, 1024), (1024, 330)] {
            assert!(!is_fill_of(fill, (2000, 620)), "{fill:?}");
        }
    }
}
