//! A picture file to 8-bit sRGB pixels.

use std::io::Cursor;
use std::path::Path;

use image::metadata::Orientation;
use image::{
    DynamicImage, ExtendedColorType, ImageDecoder as _, ImageReader, Limits, RgbImage, RgbaImage,
};

use super::colour::{ColourSource, to_srgb};
use super::png_chunks;
use crate::imaging::ImagingError;

/// The most pixels that a picture may have: room for 16,384 x 16,384, and for no decompression bomb.
pub const MAX_PIXELS: u64 = 300_000_000;

/// 8-bit pixels, row by row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pixels {
    /// sRGB without alpha.
    Rgb(RgbImage),
    /// sRGB with straight alpha.
    Rgba(RgbaImage),
}

/// A decoded picture: upright, in sRGB, 8 bits a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// The pixels.
    pub pixels: Pixels,
    /// Where the colours came from.
    pub colour: ColourSource,
    /// Whether the file turned or mirrored its pixels by an EXIF orientation, which was followed.
    pub was_reoriented: bool,
}

impl Decoded {
    /// Width and height in pixels.
    pub fn size(&self) -> (u32, u32) {
        match &self.pixels {
            Pixels::Rgb(image) => image.dimensions(),
            Pixels::Rgba(image) => image.dimensions(),
        }
    }

    /// The pixels without alpha. Colours under transparency are kept as they are, as Pillow's
    /// `convert("RGB")` does in the Python service.
    pub fn into_rgb(self) -> RgbImage {
        match self.pixels {
            Pixels::Rgb(image) => image,
            Pixels::Rgba(image) => DynamicImage::ImageRgba8(image).into_rgb8(),
        }
    }

    /// The pixels with alpha, opaque if the file had none; what a texture takes.
    pub fn into_rgba(self) -> RgbaImage {
        match self.pixels {
            Pixels::Rgb(image) => DynamicImage::ImageRgb8(image).into_rgba8(),
            Pixels::Rgba(image) => image,
        }
    }

    /// For what takes either.
    pub fn into_dynamic(self) -> DynamicImage {
        match self.pixels {
            Pixels::Rgb(image) => DynamicImage::ImageRgb8(image),
            Pixels::Rgba(image) => DynamicImage::ImageRgba8(image),
        }
    }
}

/// Reads a picture file: PNG, JPEG, WebP, TIFF, BMP or the first frame of a GIF, told by content and
/// not by name.
///
/// # Errors
/// When the file cannot be read, is no such picture, is broken, or is larger than [`MAX_PIXELS`].
pub fn decode(path: &Path) -> Result<Decoded, ImagingError> {
    let bytes = std::fs::read(path).map_err(|source| ImagingError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    decode_bytes(&bytes, &path.display().to_string())
}

/// Width and height in pixels of a picture as [`decode`] gives it, from the file's head alone.
///
/// # Errors
/// The file cannot be read, or is no picture of a known format. The error names the path.
pub fn dimensions(path: &Path) -> Result<(u32, u32), ImagingError> {
    let read = |source| ImagingError::Read {
        path: path.to_path_buf(),
        source,
    };
    let failed = |error: image::ImageError| ImagingError::Decode {
        name: path.display().to_string(),
        reason: error.to_string(),
    };
    let reader = ImageReader::open(path).map_err(read)?;
    let reader = reader.with_guessed_format().map_err(read)?;
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let (width, height) = decoder.dimensions();
    let is_turned = matches!(
        decoder.orientation(),
        Ok(Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH)
    );
    Ok(if is_turned {
        (height, width)
    } else {
        (width, height)
    })
}

/// Reads a mask file: 8 bits a channel and upright as [`decode`], but with the values that stand in the
/// file. A mask's greys are no colours, and a profile would move them across the threshold.
///
/// # Errors
/// As [`decode`].
pub fn decode_mask(path: &Path) -> Result<DynamicImage, ImagingError> {
    let bytes = std::fs::read(path).map_err(|source| ImagingError::Read {
        path: path.to_path_buf(),
        source,
    })?;
    decode_mask_bytes(&bytes, &path.display().to_string())
}

/// [`decode_mask`] for bytes that are in memory; `name` stands in errors for the path.
///
/// # Errors
/// As [`decode`].
pub fn decode_mask_bytes(bytes: &[u8], name: &str) -> Result<DynamicImage, ImagingError> {
    let Stored {
        mut image,
        orientation,
        ..
    } = stored(bytes, name)?;
    image.apply_orientation(orientation);
    Ok(image)
}

/// [`decode`] for bytes that are in memory; `name` stands in errors for the path.
///
/// # Errors
/// As [`decode`].
pub fn decode_bytes(bytes: &[u8], name: &str) -> Result<Decoded, ImagingError> {
    let Stored {
        image,
        orientation,
        icc,
        is_cmyk,
    } = stored(bytes, name)?;
    let (mut image, colour) = if is_cmyk {
        // The decoder has made RGB of it, which an ink profile does not describe.
        (image, ColourSource::CmykWithoutProfile)
    } else {
        to_srgb(image, icc.as_deref(), png_chunks::read(bytes))
    };
    image.apply_orientation(orientation);
    let pixels = if image.color().has_alpha() {
        Pixels::Rgba(image.into_rgba8())
    } else {
        Pixels::Rgb(image.into_rgb8())
    };
    Ok(Decoded {
        pixels,
        colour,
        was_reoriented: orientation != Orientation::NoTransforms,
    })
}

/// Pixels as they stand in the file, at 8 bits a channel, and what to do with them.
struct Stored {
    image: DynamicImage,
    orientation: Orientation,
    icc: Option<Vec<u8>>,
    is_cmyk: bool,
}

fn stored(bytes: &[u8], name: &str) -> Result<Stored, ImagingError> {
    let failed = |error: image::ImageError| ImagingError::Decode {
        name: name.to_owned(),
        reason: error.to_string(),
    };
    let format = image::guess_format(bytes)
        .ok()
        .filter(image::ImageFormat::reading_enabled)
        .ok_or_else(|| ImagingError::UnknownFormat {
            name: name.to_owned(),
        })?;
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    // The limit is on pixels; 16 bits and four channels make eight bytes of each, and decoders need
    // some room beside the picture.
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_PIXELS * 10);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(failed)?;

    let (width, height) = decoder.dimensions();
    if u64::from(width) * u64::from(height) > MAX_PIXELS {
        return Err(ImagingError::TooLarge {
            name: name.to_owned(),
            width,
            height,
            max_pixels: MAX_PIXELS,
        });
    }
    if width == 0 || height == 0 {
        return Err(ImagingError::Decode {
            name: name.to_owned(),
            reason: format!("it has no pixels: {width}x{height}"),
        });
    }
    // A broken profile or orientation is no reason to show nothing.
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    let icc = decoder.icc_profile().unwrap_or(None);
    let inks = decoder.original_color_type();
    let is_cmyk = matches!(inks, ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16)
        || (format == image::ImageFormat::Jpeg && jpeg_has_four_inks(bytes));

    let image = to_eight_bits(DynamicImage::from_decoder(decoder).map_err(failed)?);
    Ok(Stored {
        image,
        orientation,
        icc,
        is_cmyk,
    })
}

/// The same kind of picture with 8 bits a channel. 16-bit values are divided by 257 and rounded;
/// floats are taken as 0 to 1.
fn to_eight_bits(image: DynamicImage) -> DynamicImage {
    let (has_alpha, has_colour) = (image.color().has_alpha(), image.color().has_color());
    match (has_colour, has_alpha) {
        (false, false) => DynamicImage::ImageLuma8(image.into_luma8()),
        (false, true) => DynamicImage::ImageLumaA8(image.into_luma_alpha8()),
        (true, false) => DynamicImage::ImageRgb8(image.into_rgb8()),
        (true, true) => DynamicImage::ImageRgba8(image.into_rgba8()),
    }
}

/// Whether a JPEG's frame header names four components: CMYK or YCCK.
fn jpeg_has_four_inks(bytes: &[u8]) -> bool {
    let mut rest = bytes.get(2..).unwrap_or(&[]);
    while let [0xff, marker, after @ ..] = rest {
        match marker {
            // Padding and markers without content.
            0xff => rest = rest.get(1..).unwrap_or(&[]),
            0x01 | 0xd0..=0xd8 => rest = after,
            // Frame headers: length 2, precision 1, height 2, width 2, then the count.
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                return after.get(7) == Some(&4);
            }
            _ => {
                let [high, low, ..] = after else { return false };
                let length = usize::from(*high) << 8 | usize::from(*low);
                rest = after.get(length.max(2)..).unwrap_or(&[]);
            }
        }
    }
    false
}
