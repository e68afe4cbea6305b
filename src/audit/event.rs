//! What a run tells whoever watches it: the command line's progress bar, or the window.

use crate::model::cell::{CellKey, Quant};
use crate::model::ids::RunId;
use crate::model::run::CellState;
use image::RgbImage;
use std::path::PathBuf;

/// How a run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// Every cell that was asked for was tried.
    Complete,
    /// As many cells as were allowed were tried; others are left.
    CellLimit,
    /// It was cancelled; what was finished is kept.
    Cancelled,
}

/// What came of a run, or of one go at it.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSummary {
    /// The run.
    pub run_id: RunId,
    /// Its folder.
    pub folder: PathBuf,
    /// How it ended.
    pub ending: Ending,
    /// Cells that were there before.
    pub already_done: usize,
    /// Cells made in this go.
    pub made: usize,
    /// Cells that failed in this go.
    pub failed: usize,
    /// Cells that are still missing.
    pub left: usize,
}

/// A step on the way. Sent in order; nothing waits for an answer.
#[derive(Debug, Clone)]
pub enum AuditEvent {
    /// The folder is there and its cells are known.
    Started {
        /// The run.
        run_id: RunId,
        /// Its folder.
        folder: PathBuf,
        /// Cells that are done already.
        already_done: usize,
        /// The cells of this go, in their order.
        todo: Vec<CellKey>,
    },
    /// The weights' hashes are being found.
    CheckingWeights,
    /// Something will go on some other way than it might.
    Warning {
        /// What, as it is shown.
        text: String,
    },
    /// What each stage will need, before anything is loaded.
    Memory {
        /// A line for each stage, and what is free.
        lines: Vec<String>,
    },
    /// Prompts and picture are encoded, once for all cells.
    Preparing,
    /// A quant is read into memory.
    Loading {
        /// Which.
        quant: Quant,
    },
    /// A cell is begun.
    CellStarted {
        /// Which.
        key: CellKey,
    },
    /// A denoising step is done.
    Step {
        /// Which cell.
        key: CellKey,
        /// Counted from 1.
        index: usize,
        /// How many there will be.
        total: usize,
        /// What the fill looks like so far, small.
        preview: Option<RgbImage>,
    },
    /// A cell is on disk, done or failed.
    CellFinished {
        /// Which.
        key: CellKey,
        /// What became of it.
        state: CellState,
    },
    /// It is over.
    Finished(RunSummary),
}
