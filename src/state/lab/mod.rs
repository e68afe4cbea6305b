//! The mask lab: a session's mask and the recipe that is being tuned on it. No pixels of the screen
//! here, and no files: both are asked for by [`LabEffect`]s.
//!
//! | file | job |
//! |---|---|
//! | [`recipe_field`] | the recipe's numbers: names, units, ranges |
//! | [`painting`] | the mask at original resolution, with undo |
//! | [`result`] | what a recipe made of the mask, and what else comes back from the background |
//! | [`rerun`] | which cells are run again with another recipe |
//! | [`mask_field`] | the mask of an open run, for its grid |

pub mod mask_field;
pub mod painting;
pub mod recipe_field;
pub mod rerun;
pub mod result;
mod update;

pub use update::fills;
pub(super) use update::{hold_other, on_command, on_event, on_msg, save_in};

use super::look::{Overlay, ViewRequest};
use crate::imaging::mask::MaskFix;
use crate::model::cell::CellKey;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::RunDocument;
use painting::PaintOp;
use rerun::RerunScope;
use result::{Composed, LabResult, Opened, Painted, PendingMask, Saved};
use std::path::PathBuf;
use std::sync::Arc;

/// Which of the two recipes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Slot {
    /// The one that the controls change.
    #[default]
    A,
    /// The one that is shown while Space is held.
    B,
}

impl Slot {
    /// 0 or 1.
    pub const fn index(self) -> usize {
        match self {
            Self::A => 0,
            Self::B => 1,
        }
    }
}

/// Where the pictures come from.
#[derive(Debug, Clone, PartialEq)]
pub enum LabSource {
    /// A run's copies.
    Run {
        /// The run's folder.
        dir: PathBuf,
        /// What the run was made with.
        document: Box<RunDocument>,
    },
    /// A session's folder.
    Session(PathBuf),
}

impl LabSource {
    /// The folder.
    pub fn dir(&self) -> &PathBuf {
        match self {
            Self::Run { dir, .. } | Self::Session(dir) => dir,
        }
    }
}

/// What the middle of the page shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum LabTab {
    /// The photograph with the mask, the raw mask, the processed mask, what changed.
    #[default]
    Mask,
    /// What the model will see.
    Model,
    /// A finished fill under this recipe.
    Composite,
    /// Painting.
    Paint,
}

impl LabTab {
    /// All tabs in their order.
    pub const ALL: [Self; 4] = [Self::Mask, Self::Model, Self::Composite, Self::Paint];

    /// The name that is shown.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Mask => "Mask",
            Self::Model => "What the model sees",
            Self::Composite => "Composite",
            Self::Paint => "Paint",
        }
    }
}

/// What a drag on the picture does while painting.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Tool {
    /// Paints a disc along the way.
    #[default]
    Brush,
    /// Takes away along the way.
    Eraser,
    /// Takes what an outline encloses.
    Lasso,
    /// Takes the area around a click.
    Fill,
}

impl Tool {
    /// All tools in their order.
    pub const ALL: [Self; 4] = [Self::Brush, Self::Eraser, Self::Lasso, Self::Fill];

    /// The name that is shown.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Brush => "Brush",
            Self::Eraser => "Eraser",
            Self::Lasso => "Lasso",
            Self::Fill => "Fill",
        }
    }
}

/// How painting is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Brush {
    /// The tool.
    pub tool: Tool,
    /// Radius of brush and eraser in pixels of the original, 0.5 to 500.
    pub radius_px: f32,
    /// Whether lasso and fill take away.
    pub is_erasing: bool,
}

impl Default for Brush {
    fn default() -> Self {
        Self {
            tool: Tool::Brush,
            radius_px: 12.0,
            is_erasing: false,
        }
    }
}

/// A session that is open in the lab.
#[derive(Debug)]
pub struct LabView {
    /// Tells openings apart; results of an older one are dropped.
    pub opening: u64,
    /// What was read.
    pub opened: Box<Opened>,
    /// The recipe that the controls change, and the one that Space shows.
    pub recipes: [MaskRecipe; 2],
    /// Whether the other recipe is shown.
    pub is_b_held: bool,
    /// What the recipes made of the mask, as far as it is there.
    pub results: [Option<Arc<LabResult>>; 2],
    /// Counts what was asked for.
    pub requested: u64,
    /// What the middle shows.
    pub tab: LabTab,
    /// What is drawn over the photograph.
    pub overlay: Overlay,
    /// How painting is done.
    pub brush: Brush,
    /// The mask at original resolution.
    pub painted: Painted,
    /// A mask that waits for a person's word.
    pub pending: Option<PendingMask>,
    /// The cell whose fill the composite shows.
    pub fill_of: Option<CellKey>,
    /// Exact composites, each for the recipe and the mask that it names: one of either recipe.
    pub composed: [Option<Arc<Composed>>; 2],
    /// What the shared view is to do at the next frame, and a number that tells requests apart.
    pub view_request: (ViewRequest, u64),
    /// The recipe as it stands in the session's document, if it does.
    pub saved_recipe: Option<MaskRecipe>,
    /// Whether it is being saved.
    pub is_saving: bool,
}

impl LabView {
    /// The recipe that is on screen.
    pub fn shown_slot(&self) -> Slot {
        if self.is_b_held { Slot::B } else { Slot::A }
    }

    /// The recipe that the controls change.
    pub fn recipe(&self) -> &MaskRecipe {
        &self.recipes[0]
    }

    /// The recipe that is on screen.
    pub fn shown_recipe(&self) -> &MaskRecipe {
        &self.recipes[self.shown_slot().index()]
    }

    /// What the recipe on screen made of the mask; an older one's while it is on its way.
    pub fn shown_result(&self) -> Option<&Arc<LabResult>> {
        self.results[self.shown_slot().index()].as_ref()
    }

    /// Whether figures belong to another recipe or mask than the one on screen.
    pub fn is_behind(&self) -> bool {
        self.shown_result().is_none_or(|result| {
            result.recipe != *self.shown_recipe() || result.mask_revision != self.painted.revision
        })
    }

    /// The exact composite, if it belongs to what is on screen.
    pub fn exact_composite(&self) -> Option<&Arc<Composed>> {
        self.composed.iter().flatten().find(|composed| {
            composed.recipe == *self.shown_recipe()
                && composed.mask_revision == self.painted.revision
                && Some(&composed.cell) == self.fill_of.as_ref()
        })
    }

    /// Whether anything would be lost without saving.
    pub fn has_unsaved(&self) -> bool {
        let kept = self.saved_recipe.as_ref().unwrap_or(&self.opened.recipe);
        self.painted.is_changed || kept != self.recipe()
    }

    fn ask(&mut self, request: ViewRequest) {
        self.view_request = (request, self.view_request.1 + 1);
    }
}

/// What a panel of the lab says.
#[derive(Debug, Clone)]
pub enum LabMsg {
    /// Open the copies of the open run.
    OpenRun,
    /// Open a session's folder.
    OpenSession(PathBuf),
    /// A control changed the recipe.
    SetRecipe {
        /// The new recipe.
        recipe: Box<MaskRecipe>,
        /// Whether the control was let go; exact composites wait for it.
        is_settled: bool,
    },
    /// A control was let go.
    Settle,
    /// Keep the recipe as the one that Space shows.
    KeepAsB,
    /// Exchange the two recipes.
    SwapRecipes,
    /// Show something else in the middle.
    SetTab(LabTab),
    /// Draw something else over the photograph.
    SetOverlay(Overlay),
    /// Paint otherwise.
    SetBrush(Brush),
    /// Paint.
    Paint(PaintOp),
    /// Ask for a mask's file.
    ChooseMask,
    /// Read a mask's file.
    LoadMask(PathBuf),
    /// A picture was pasted.
    PasteMask {
        /// Width and height in pixels.
        size: (u32, u32),
        /// Straight RGBA, row by row.
        rgba: Arc<[u8]>,
    },
    /// Apply an offered fix to the mask that waits.
    FixMask(MaskFix),
    /// Take the mask that waits as it is.
    UseMask,
    /// Do not take the mask that waits.
    DropMask,
    /// Show a cell's fill under this recipe.
    ShowFillOf(CellKey),
    /// Save the recipe, and the mask if it was painted on, to the session.
    Save,
    /// Hand the recipe to the form of a new run.
    UseInNewRun,
    /// Compare the open run with this recipe.
    UseInOpenRun,
    /// Run cells of the open run again with this recipe, or with the dilation that its overlay shows.
    Rerun(RerunScope),
}

/// What comes back from the background.
#[derive(Debug, Clone)]
pub enum LabEvent {
    /// A session was read, or why not.
    Opened(u64, Result<(Box<Opened>, Painted), String>),
    /// A recipe was carried out.
    Processed(u64, Slot, Arc<LabResult>),
    /// The mask was painted on.
    Painted(u64, Painted),
    /// A mask was read and waits for a word; `None` when it was taken or dropped.
    Pending(u64, Option<PendingMask>),
    /// A composite was computed exactly.
    Composed(u64, Arc<Composed>),
    /// The session was saved, or why not.
    Saved(u64, Result<Saved, String>),
    /// A mask's file was chosen.
    MaskChosen(PathBuf),
}

/// What the lab cannot do itself. All but the first belong to the session that is open.
#[derive(Debug, Clone, PartialEq)]
pub enum LabEffect {
    /// Read a session.
    Open {
        /// Comes back with everything that belongs to it.
        opening: u64,
        /// Which.
        source: LabSource,
        /// Where the session of a run may be found.
        sessions_dir: PathBuf,
    },
    /// Carry out a recipe.
    Process {
        /// Which of the two.
        slot: Slot,
        /// The recipe.
        recipe: Box<MaskRecipe>,
        /// Comes back with the result.
        generation: u64,
    },
    /// Paint.
    Paint(PaintOp),
    /// Ask for a mask's file.
    ChooseMask,
    /// Read a mask's file.
    LoadMask(PathBuf),
    /// Take a picture as a mask.
    PasteMask {
        /// Width and height in pixels.
        size: (u32, u32),
        /// Straight RGBA.
        rgba: Arc<[u8]>,
    },
    /// Apply a fix to the mask that waits.
    FixMask(MaskFix),
    /// Take the mask that waits.
    UseMask,
    /// Forget the mask that waits.
    DropMask,
    /// Compute a composite exactly.
    Compose {
        /// The fill at inference size.
        fill: PathBuf,
        /// Its cell.
        cell: Box<CellKey>,
        /// The recipe.
        recipe: Box<MaskRecipe>,
    },
    /// Write `session.ron`, and `mask.png` if it was painted on.
    Save {
        /// The session's folder.
        dir: PathBuf,
        /// The recipe.
        recipe: Box<MaskRecipe>,
    },
}
