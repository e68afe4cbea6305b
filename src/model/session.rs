//! A session: a photograph, the mask of what is to be removed, and what a person expects to see there.

use super::document::{self, DocumentError};
use super::ids::{SessionId, UserId};
use serde::{Deserialize, Serialize};

/// `session.ron`: what stands beside `image.png`, `mask.png` and an optional `subject.png`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Session {
    /// Document schema.
    pub schema: u32,
    /// The session's name; also its folder's.
    pub id: SessionId,
    /// Whose session it is, where that is known.
    #[serde(default)]
    pub user: Option<UserId>,
    /// What a correct fill shows, in a sentence, such as "grass with fallen leaves, nothing else".
    #[serde(default)]
    pub expected: String,
    /// Anything else that a reviewer should know.
    #[serde(default)]
    pub note: String,
    /// The mask recipe saved by the mask lab; `None` means the program's default.
    #[serde(default)]
    pub recipe: Option<super::mask_recipe::MaskRecipe>,
}

impl Session {
    /// A session about which only the pictures are known.
    pub fn unnamed(id: SessionId) -> Self {
        Self {
            schema: document::SCHEMA,
            id,
            user: None,
            expected: String::new(),
            note: String::new(),
            recipe: None,
        }
    }

    /// Reads `session.ron`.
    ///
    /// # Errors
    /// [`DocumentError`] naming `path`, the line, and what was expected.
    pub fn parse(text: &str, path: &str) -> Result<Self, DocumentError> {
        let session: Self = document::from_ron(text, path)?;
        document::check_schema(session.schema, path)?;
        if let Some(recipe) = &session.recipe {
            recipe.check().map_err(|error| DocumentError::Value {
                problem: error.to_string(),
                path: path.to_owned(),
            })?;
        }
        Ok(session)
    }
}

/// The file names of a session's folder.
pub mod files {
    /// The photograph.
    pub const IMAGE: &str = "image.png";
    /// White is what is to be repainted.
    pub const MASK: &str = "mask.png";
    /// White is what must not be touched; optional.
    pub const SUBJECT: &str = "subject.png";
    /// [`super::Session`] as RON.
    pub const DOCUMENT: &str = "session.ron";
}
