//! `phase1.toml`: the settings that a reviewer approved, and where they come from.
//!
//! # Schema 1
//!
//! A key that is not listed here is refused. A key marked (if known) is left out where the run does not
//! say: a run of the Python service names neither seed nor hashes. Approving such a cell takes an
//! override for each, which is written down too.
//!
//! | key | value |
//! |---|---|
//! | `schema` | 1 |
//! | `model.repository` (if known) | Hugging Face repository of the transformer file |
//! | `model.file` (if known) | file name in it |
//! | `model.sha256` (if known) | SHA-256 of that file, 64 lower-case hex digits |
//! | `model.quant` | quantization of the transformer |
//! | `model.base` (if known) | repository of VAE, text encoders and scheduler |
//! | `inference.guidance_scale` | 0 to 1000 |
//! | `inference.num_inference_steps` | 1 to 1000 |
//! | `inference.prompt` (if known) | the whole prompt; may be empty |
//! | `inference.max_sequence_length` (if known) | tokens of the T5 encoder |
//! | `inference.long_side_px` (if known) | longest side at inference, in pixels |
//! | `inference.crop_margin` (only when cropped to the mask) | margin as a fraction of the box's longer side |
//! | `inference.seed` (if known) | of the approved picture; above 2^63−1 it is a text |
//! | `mask.*`, `composite.feather_sigma_px` (if known) | the mask recipe, see [`MaskRecipe`] |
//! | `approval.approved_by` | the reviewer's name |
//! | `approval.approved_at` | UTC, whole seconds |
//! | `approval.run`, `approval.session` (if known), `approval.cell` | what was approved |
//! | `approval.image_sha256` (if known) | SHA-256 of `{cell}.png` of that run |
//! | `approval.gpu` (if known) | name and compute capability |
//! | `approval.wall_secs`, `approval.gpu_millis` (if known) | time of that cell |
//! | `approval.cells_seen`, `approval.cells_total` | cells that the reviewer saw, of all that were planned |
//! | `approval.blind_votes` | `wins`, `losses`, `ties`, `all_bad` of revealed comparisons, all reviewers |
//! | `approval.note` | the reviewer's |
//! | `approval.override` | one table for each reason that held it back: `reason` ([`ReasonCode`]), `because` |
//! | `replaces.*` | quant, guidance and steps that this file had before, or production's baseline |

pub mod check;
pub mod difference;
pub mod reason;
pub mod section;
pub mod staging;
mod text;

pub use check::disagreements;
pub use difference::{Change, changes, unified};
pub use reason::{HeldBack, ReasonCode};
pub use section::recommended_section;
pub use staging::{Draft, Request, StageError, StagedApproval, draft};

use super::cell::{Guidance, Quant, Steps};
use super::document::{self, DocumentError};
use super::ids::{RunId, SessionId};
use super::mask_recipe::MaskRecipe;
use super::review::UtcTime;
use serde::Deserialize;

/// The whole file. See the [module](self) for each key.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovedSettings {
    /// Document schema.
    pub schema: u32,
    /// Which weights.
    pub model: ApprovedModel,
    /// How they are run.
    pub inference: ApprovedInference,
    /// How the mask is cleaned and grown; `None` if unknown.
    #[serde(default)]
    pub mask: Option<ApprovedMask>,
    /// How the fill is blended in; `None` if unknown.
    #[serde(default)]
    pub composite: Option<ApprovedComposite>,
    /// Who approved what, and on which grounds.
    pub approval: Approval,
    /// What this replaces.
    pub replaces: Replaced,
}

/// `[model]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovedModel {
    /// Repository of the transformer file.
    #[serde(default)]
    pub repository: Option<String>,
    /// The transformer file.
    #[serde(default)]
    pub file: Option<String>,
    /// Its SHA-256.
    #[serde(default)]
    pub sha256: Option<String>,
    /// Its quantization.
    pub quant: Quant,
    /// Repository of everything else.
    #[serde(default)]
    pub base: Option<String>,
}

/// `[inference]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovedInference {
    /// Guidance scale.
    pub guidance_scale: Guidance,
    /// Denoising steps.
    pub num_inference_steps: Steps,
    /// The whole prompt.
    #[serde(default)]
    pub prompt: Option<String>,
    /// Tokens of the T5 encoder.
    #[serde(default)]
    pub max_sequence_length: Option<u32>,
    /// Longest side at inference, in pixels.
    #[serde(default)]
    pub long_side_px: Option<u32>,
    /// Margin around the mask's box as a fraction of its longer side; `None` unless cropped.
    #[serde(default)]
    pub crop_margin: Option<f32>,
    /// Seed of the approved picture.
    #[serde(default, deserialize_with = "seed")]
    pub seed: Option<u64>,
}

/// `[mask]`: radii in pixels at inference size, in this order.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovedMask {
    /// White where grey is at least this.
    pub threshold: u8,
    /// Smaller components are dropped.
    pub min_component_px: u32,
    /// Radius of the closing.
    pub close_px: f32,
    /// Radius of the opening.
    pub open_px: f32,
    /// Radius of the dilation.
    pub dilate_px: f32,
    /// A mask that covers more is refused, 0 to 1.
    pub max_coverage: f32,
}

/// `[composite]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApprovedComposite {
    /// Standard deviation of the feather, in pixels.
    pub feather_sigma_px: f32,
}

/// `[approval]`.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Approval {
    /// The reviewer's name.
    pub approved_by: String,
    /// UTC, whole seconds.
    #[serde(deserialize_with = "utc_time")]
    pub approved_at: UtcTime,
    /// The run.
    pub run: RunId,
    /// The session.
    #[serde(default)]
    pub session: Option<SessionId>,
    /// The cell's name in that run.
    pub cell: String,
    /// SHA-256 of the cell's composite.
    #[serde(default)]
    pub image_sha256: Option<String>,
    /// GPU that made it.
    #[serde(default)]
    pub gpu: Option<String>,
    /// Wall-clock seconds of that cell.
    #[serde(default)]
    pub wall_secs: Option<f64>,
    /// GPU milliseconds of that cell.
    #[serde(default)]
    pub gpu_millis: Option<f64>,
    /// Cells with a picture that the reviewer saw.
    pub cells_seen: usize,
    /// Cells of the run.
    pub cells_total: usize,
    /// Votes on the cell.
    pub blind_votes: BlindVotes,
    /// The reviewer's note.
    #[serde(default)]
    pub note: String,
    /// What held it back and why that was overridden.
    #[serde(default, rename = "override")]
    pub overrides: Vec<Override>,
}

/// Votes of revealed blind comparisons on the approved cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BlindVotes {
    /// Chosen.
    pub wins: usize,
    /// Another was chosen.
    pub losses: usize,
    /// Found equal.
    pub ties: usize,
    /// None was good enough.
    pub all_bad: usize,
}

/// `[[approval.override]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Override {
    /// What held it back.
    pub reason: ReasonCode,
    /// Why that was overridden, as it was typed.
    pub because: String,
}

/// `[replaces]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replaced {
    /// Quantization.
    pub quant: Quant,
    /// Guidance scale.
    pub guidance_scale: Guidance,
    /// Denoising steps.
    pub num_inference_steps: Steps,
}

fn utc_time<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<UtcTime, D::Error> {
    let at = toml::value::Datetime::deserialize(deserializer)?;
    at.to_string().parse().map_err(serde::de::Error::custom)
}

fn seed<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum NumberOrText {
        Number(u64),
        Text(String),
    }
    match NumberOrText::deserialize(deserializer)? {
        NumberOrText::Number(number) => Ok(Some(number)),
        NumberOrText::Text(text) => text.parse().map(Some).map_err(serde::de::Error::custom),
    }
}

#[derive(Deserialize)]
struct SchemaOnly {
    schema: u32,
}

fn syntax(error: &toml::de::Error, text: &str, path: &str) -> DocumentError {
    let start = error.span().map_or(0, |span| span.start).min(text.len());
    let before = &text.as_bytes()[..start];
    let line_start = before
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |at| at + 1);
    DocumentError::Syntax {
        problem: error.message().replace('\n', " "),
        line: before.split(|byte| *byte == b'\n').count(),
        column: start - line_start + 1,
        path: path.to_owned(),
    }
}

pub(crate) fn check_sha256(what: &str, digits: Option<&str>) -> Result<(), String> {
    match digits {
        Some(digits)
            if digits.len() != 64
                || !digits
                    .bytes()
                    .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) =>
        {
            Err(format!(
                "{what} must be a SHA-256 of 64 lower-case hex digits, but is {digits:?}"
            ))
        }
        _ => Ok(()),
    }
}

impl ApprovedSettings {
    /// Reads `phase1.toml`.
    ///
    /// # Errors
    /// [`DocumentError`] naming `path`, the line, and what was expected.
    pub fn parse(text: &str, path: &str) -> Result<Self, DocumentError> {
        if let Ok(head) = toml::from_str::<SchemaOnly>(text) {
            document::check_schema(head.schema, path)?;
        }
        let settings: Self = toml::from_str(text).map_err(|error| syntax(&error, text, path))?;
        document::check_schema(settings.schema, path)?;
        settings.check().map_err(|problem| DocumentError::Value {
            problem,
            path: path.to_owned(),
        })?;
        Ok(settings)
    }

    /// Writes `phase1.toml`, with a comment on each value.
    pub fn to_toml(&self) -> String {
        text::write(self)
    }

    /// The mask recipe, if both of its parts are known.
    pub fn recipe(&self) -> Option<MaskRecipe> {
        let mask = self.mask.as_ref()?;
        Some(MaskRecipe {
            threshold: mask.threshold,
            min_component_px: mask.min_component_px,
            close_px: mask.close_px,
            open_px: mask.open_px,
            dilate_px: mask.dilate_px,
            max_coverage: mask.max_coverage,
            feather_sigma_px: self.composite.as_ref()?.feather_sigma_px,
        })
    }

    /// Checks what its types cannot hold.
    ///
    /// # Errors
    /// A sentence naming the offending value.
    pub fn check(&self) -> Result<(), String> {
        let Approval {
            approved_by,
            cells_seen,
            cells_total,
            ..
        } = &self.approval;
        check_sha256("model.sha256", self.model.sha256.as_deref())?;
        check_sha256(
            "approval.image_sha256",
            self.approval.image_sha256.as_deref(),
        )?;
        if self.mask.is_some() != self.composite.is_some() {
            return Err("[mask] and [composite] belong together, but one is missing".to_owned());
        }
        if let Some(recipe) = self.recipe() {
            recipe.check().map_err(|error| error.to_string())?;
        }
        if approved_by.trim().is_empty() {
            return Err("approval.approved_by must name the reviewer, but is empty".to_owned());
        }
        if cells_seen > cells_total {
            return Err(format!(
                "approval.cells_seen is {cells_seen} but approval.cells_total is {cells_total}"
            ));
        }
        for number in [self.approval.wall_secs, self.approval.gpu_millis]
            .into_iter()
            .flatten()
        {
            if !number.is_finite() || number < 0.0 {
                return Err(format!("a time must be 0 or more, but is {number}"));
            }
        }
        if let Some(margin) = self.inference.crop_margin
            && !(0.0..=16.0).contains(&margin)
        {
            return Err(format!(
                "inference.crop_margin must be from 0 to 16, but is {margin}"
            ));
        }
        let mut codes: Vec<ReasonCode> = Vec::new();
        for one in &self.approval.overrides {
            if one.because.trim().is_empty() {
                return Err(format!("the override of {} has no reason", one.reason));
            }
            if codes.contains(&one.reason) {
                return Err(format!("{} is overridden twice", one.reason));
            }
            codes.push(one.reason);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
