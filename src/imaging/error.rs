//! What can go wrong with pixels.

use std::path::PathBuf;

/// A picture that cannot be read, written or combined with another.
#[derive(Debug, thiserror::Error)]
pub enum ImagingError {
    /// The file cannot be opened or read.
    #[error("cannot read the file: {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file cannot be written.
    #[error("cannot write the file: {}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The content is no picture of a kind that is read here.
    #[error("not a PNG, JPEG, WebP, TIFF, BMP or GIF picture: {name}")]
    UnknownFormat {
        /// The file or what stands for it.
        name: String,
    },
    /// The picture is broken or uses something that is not supported.
    #[error("the picture cannot be decoded ({reason}): {name}")]
    Decode {
        /// The file or what stands for it.
        name: String,
        /// What the decoder says.
        reason: String,
    },
    /// The header announces more pixels than are decoded.
    #[error(
        "picture has {width}x{height} = {} megapixels, at most {} are read: {name}",
        u64::from(*width) * u64::from(*height) / 1_000_000,
        max_pixels / 1_000_000
    )]
    TooLarge {
        /// The file or what stands for it.
        name: String,
        /// Pixels across, as the header says.
        width: u32,
        /// Pixels down, as the header says.
        height: u32,
        /// The limit in pixels.
        max_pixels: u64,
    },
    /// The picture cannot be encoded.
    #[error("cannot encode the picture as PNG: {reason}")]
    Encode {
        /// What the encoder says.
        reason: String,
    },
    /// Two pictures that belong together differ in size.
    #[error(
        "{what} is {}x{} but {}x{} was expected",
        found.0, found.1, expected.0, expected.1
    )]
    SizeMismatch {
        /// Which of the two is wrong: "mask", "fill".
        what: &'static str,
        /// Its width and height in pixels.
        found: (u32, u32),
        /// The width and height it should have.
        expected: (u32, u32),
    },
    /// A picture or mask without pixels.
    #[error("{what} has no pixels: {width}x{height}")]
    NoPixels {
        /// Which picture.
        what: &'static str,
        /// Its width.
        width: u32,
        /// Its height.
        height: u32,
    },
}
