//! Reads the session that a person names for a run of the Python service, and remembers it beside the run.

use super::lab_effects::chain;
use crate::audit::start::read_session;
use crate::imaging::codecs;
use crate::imaging::resize::{DEFAULT_LONG_SIDE_PX, inference_size};
use crate::model::document;
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

/// How far the sides of a fill may be from the photograph's, as a share: the service rounds them to tokens.
const SIDES_TOLERANCE: f64 = 0.03;

/// What stands in the note.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Note {
    schema: u32,
    session_dir: PathBuf,
}

/// The session of a run: `session` as it is named now and remembered from then on, or what was remembered;
/// `None` if nobody named one yet. `picture` is one of the run's, to tell another photograph's session.
///
/// # Errors
/// A sentence that names the file when the folder holds no session, or that of another photograph.
pub(super) fn name(
    run: &Path,
    picture: Option<&Path>,
    session: Option<PathBuf>,
) -> Result<Option<Named>, String> {
    let (dir, is_new) = match session {
        Some(dir) => (dir, true),
        None => match remembered(run)? {
            Some(dir) => (dir, false),
            None => return Ok(None),
        },
    };
    let dir = std::path::absolute(&dir).unwrap_or(dir);
    let (session, mask) = read(&dir, picture).map_err(|problem| {
        if is_new {
            problem
        } else {
            format!("the session that was named for this run: {problem}; name it again")
        }
    })?;
    let not_kept = is_new.then(|| remember(run, &dir).err()).flatten();
    Ok(Some(Named {
        session,
        mask: Arc::new(mask),
        not_kept,
    }))
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
    let size = dimensions(&image)?;
    if let Some(picture) = picture {
        let found = dimensions(picture)?;
        let aspect = |(width, height): (u32, u32)| f64::from(width) / f64::from(height.max(1));
        let off = aspect(found) / aspect(size) - 1.0;
        if off.abs() > SIDES_TOLERANCE {
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
    };
    Ok((named, field))
}

fn dimensions(path: &Path) -> Result<(u32, u32), String> {
    image::image_dimensions(path)
        .map_err(|error| format!("the picture cannot be read: {error}: {}", path.display()))
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
    let path = run.join(NOTE);
    let note = Note {
        schema: document::SCHEMA,
        session_dir: session.to_owned(),
    };
    let text =
        document::to_ron(&note, &path.display().to_string()).map_err(|error| error.to_string())?;
    codecs::write_atomically(&path, text.as_bytes()).map_err(|error| chain(&error))
}
