//! Pure documents and rules: what a session, a run, a cell, a verdict and an approval are.
//!
//! Nothing here touches a file, a clock, a network or a window. A document is parsed from text and
//! written to text; whoever holds the file names it in the error ([`document::DocumentError`]).

pub mod approved;
pub mod cell;
pub mod document;
pub mod ids;
pub mod mask_recipe;
pub mod matrix;
pub mod measured;
pub mod prompt;
pub mod review;
pub mod run;
pub mod session;
pub mod shard;
