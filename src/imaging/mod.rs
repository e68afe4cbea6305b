//! Pixels: codecs, resizing, mask morphology, compositing, differences, colour.
//!
//! Everything here is a pure function of its pixels, apart from [`codecs`], which reads and writes
//! files. Pictures are 8-bit sRGB; masks are white where the picture is repainted.

pub mod codecs;
pub mod composite;
pub mod crop;
pub mod delta_e;
pub mod difference;
mod error;
pub mod mask;
pub mod resize;
pub mod zones;

pub use error::ImagingError;
pub use image::{GrayImage, RgbImage, RgbaImage};
