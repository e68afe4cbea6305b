//! What comes back from the background: the session that was read, what a recipe made of its mask, the
//! mask as it was painted, composites.

use crate::imaging::GrayImage;
use crate::imaging::composite::Placement;
use crate::imaging::mask::binary::PixelBox;
use crate::imaging::mask::{MaskFigures, MaskFinding};
use crate::model::cell::CellKey;
use crate::model::mask_recipe::{MaskGate, MaskRecipe};
use std::path::PathBuf;
use std::sync::Arc;

use super::LabSource;

/// A session as it was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Opened {
    /// Where it was read from.
    pub source: LabSource,
    /// The session's name.
    pub name: String,
    /// The session's sentence of what a correct fill shows.
    pub expected: String,
    /// The photograph's file.
    pub image: PathBuf,
    /// Where the inference picture lies in it.
    pub placement: Placement,
    /// The session's folder, if it is known where to save.
    pub session_dir: Option<PathBuf>,
    /// The recipe to begin with: the session's, the run's, or the program's default.
    pub recipe: MaskRecipe,
    /// The recipe as it stands in `session.ron`.
    pub saved_recipe: Option<MaskRecipe>,
    /// Why `session.ron` cannot be read; nothing is saved over it.
    pub document_problem: Option<String>,
    /// Whether there is a region that must not be touched.
    pub has_subject: bool,
    /// What was wrong with an optional file, such as a subject of another size.
    pub warnings: Vec<String>,
}

impl Opened {
    /// The part of the photograph that is inferred, in its pixels; `None` if that is all of it.
    pub fn inferred_box(&self) -> Option<PixelBox> {
        let (width, height) = self.placement.image_size;
        let region = self.placement.region;
        (region != PixelBox::whole(width, height)).then_some(region)
    }
}

/// What a pixel was before clean-up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RawPixel {
    /// Black.
    Off,
    /// White.
    On,
    /// White, in a component that is dropped for its size.
    Speck,
}

/// Distances to a cleaned mask at inference size, made once for each threshold and clean-up. It lies over
/// the part of the photograph that is inferred: see [`Opened::inferred_box`].
#[derive(Debug, PartialEq)]
pub struct LabField {
    /// Width and height in pixels at inference size.
    pub size: [u32; 2],
    /// For each pixel, row by row: pixels to the nearest one of the cleaned mask, 0 on it.
    pub distance_px: Vec<f32>,
    /// What each pixel was before clean-up.
    pub raw: Vec<RawPixel>,
}

/// What a recipe made of the mask.
#[derive(Debug)]
pub struct LabResult {
    /// The request that it answers.
    pub generation: u64,
    /// The recipe.
    pub recipe: MaskRecipe,
    /// The mask that it was carried out on, [`Painted::revision`].
    pub mask_revision: u64,
    /// Distances; the same one as before where only dilation or feather changed.
    pub field: Arc<LabField>,
    /// Figures at inference size.
    pub figures: MaskFigures,
    /// Gates that it does not pass.
    pub gates: Vec<MaskGate>,
    /// Pixels of specks that are dropped.
    pub speck_px: u64,
    /// Specks that are dropped.
    pub specks: usize,
    /// Pixels of the object that clean-up uncovers and growing does not cover again.
    pub uncovered_px: u64,
    /// 16-pixel tokens that hold a masked pixel.
    pub masked_tokens: u64,
    /// How often a distance field was computed since the session was opened.
    pub field_computations: u64,
    /// How often a clean-up was carried out since the session was opened.
    pub clean_ups: u64,
}

/// The mask at original resolution.
#[derive(Debug, Clone)]
pub struct Painted {
    /// Counts changes.
    pub revision: u64,
    /// The mask.
    pub mask: Arc<GrayImage>,
    /// What changed with this revision; none for the first.
    pub changed: Option<PixelBox>,
    /// Whether there is a step to take back.
    pub can_undo: bool,
    /// Whether there is a step to do again.
    pub can_redo: bool,
    /// Whether it differs from the session's file.
    pub is_changed: bool,
}

/// A mask that is not what it should be: a person says what is done with it.
#[derive(Debug, Clone, PartialEq)]
pub struct PendingMask {
    /// Its file, or that it was pasted.
    pub name: String,
    /// Width and height in pixels.
    pub size: (u32, u32),
    /// What is odd about it.
    pub findings: Vec<MaskFinding>,
}

impl PendingMask {
    /// Whether it may be taken as it is: a mask of the right size that is no picture.
    pub fn is_usable(&self) -> bool {
        !self.findings.iter().any(|finding| {
            matches!(
                finding,
                MaskFinding::WrongSize { .. } | MaskFinding::Coloured { .. }
            )
        })
    }
}

/// An exact composite as an encoded picture.
#[derive(Debug)]
pub struct Composed {
    /// The cell whose fill it shows.
    pub cell: CellKey,
    /// The recipe.
    pub recipe: MaskRecipe,
    /// The mask, [`Painted::revision`].
    pub mask_revision: u64,
    /// A BMP at the original's size: quick to write and to read.
    pub picture: Arc<[u8]>,
    /// Tells it from former ones.
    pub revision: u64,
}

/// What was saved.
#[derive(Debug, Clone, PartialEq)]
pub struct Saved {
    /// The session's folder.
    pub dir: PathBuf,
    /// The recipe.
    pub recipe: MaskRecipe,
    /// The painted mask's revision, if it was written.
    pub mask_revision: Option<u64>,
}
