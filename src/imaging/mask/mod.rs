//! Binary masks and everything that is done to them at inference size.
//!
//! White means repaint. A disc of radius R is `dx² + dy² ≤ R²` for any real R; pixels beyond the
//! border of the picture are neither white nor black, so they never erode a mask.
//!
//! | file | job |
//! |---|---|
//! | [`binary`] | the mask itself, one bit a pixel |
//! | [`disc`] | dilate, erode, open, close |
//! | [`components`] | 8-connected components, despeck |
//! | [`distance`] | exact squared distances, for a dilation that changes on every drag |
//! | [`mod@feather`] | Gaussian blur of a mask |
//! | [`mod@process`] | a whole recipe with its figures and gates |
//! | [`stages`] | the same, recomputing only what a change touches |
//! | [`inspect`] | masks that are not what they should be, with the fix to offer |

pub mod binary;
pub mod components;
pub mod disc;
pub mod distance;
pub mod feather;
pub mod inspect;
pub mod process;
pub mod stages;

pub use binary::BinaryMask;
pub use components::Components;
pub use distance::DistanceField;
pub use feather::feather;
pub use inspect::{MaskFinding, MaskFix, inspect_mask};
pub use process::{MaskFigures, ProcessedMask, process};
pub use stages::MaskStages;
