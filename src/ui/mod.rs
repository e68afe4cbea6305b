//! Everything that draws: panels, grid, comparison canvas and its shader, mask lab, review, approval.

pub mod canvas;
