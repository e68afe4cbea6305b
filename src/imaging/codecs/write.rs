//! Pixels to PNG bytes, bytes to a file that is whole or not there, and hashes.

use std::io::{Read as _, Write as _};
use std::path::Path;

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ExtendedColorType, GrayImage, ImageEncoder as _, RgbImage, RgbaImage};
use sha2::{Digest as _, Sha256};

use crate::imaging::ImagingError;

/// Where the header chunk of every PNG ends: 8 bytes of signature, 25 of `IHDR`.
const AFTER_HEADER: usize = 33;

/// An `sRGB` chunk (perceptual) with its length and checksum.
const SRGB_CHUNK: [u8; 13] = [
    0, 0, 0, 1, b's', b'R', b'G', b'B', 0, 0xae, 0xce, 0x1c, 0xe9,
];

/// An sRGB picture as a PNG that says so, quickly rather than small.
///
/// # Errors
/// When the encoder refuses, as for a picture without pixels.
pub fn encode_rgb_png(image: &RgbImage) -> Result<Vec<u8>, ImagingError> {
    encode(
        image.as_raw(),
        image.dimensions(),
        ExtendedColorType::Rgb8,
        true,
    )
}

/// An sRGB picture with straight alpha as a PNG that says so.
///
/// # Errors
/// As [`encode_rgb_png`].
pub fn encode_rgba_png(image: &RgbaImage) -> Result<Vec<u8>, ImagingError> {
    encode(
        image.as_raw(),
        image.dimensions(),
        ExtendedColorType::Rgba8,
        true,
    )
}

/// A mask or another map of greys as a PNG of one channel, without any colour chunk.
///
/// # Errors
/// As [`encode_rgb_png`].
pub fn encode_grey_png(image: &GrayImage) -> Result<Vec<u8>, ImagingError> {
    encode(
        image.as_raw(),
        image.dimensions(),
        ExtendedColorType::L8,
        false,
    )
}

/// [`encode_rgb_png`], then [`write_atomically`].
///
/// # Errors
/// When either fails.
pub fn write_rgb_png(path: &Path, image: &RgbImage) -> Result<(), ImagingError> {
    write_atomically(path, &encode_rgb_png(image)?)
}

/// [`encode_grey_png`], then [`write_atomically`].
///
/// # Errors
/// When either fails.
pub fn write_grey_png(path: &Path, image: &GrayImage) -> Result<(), ImagingError> {
    write_atomically(path, &encode_grey_png(image)?)
}

fn encode(
    pixels: &[u8],
    (width, height): (u32, u32),
    kind: ExtendedColorType,
    is_srgb: bool,
) -> Result<Vec<u8>, ImagingError> {
    let mut png = Vec::with_capacity(pixels.len() / 2 + 1024);
    PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive)
        .write_image(pixels, width, height, kind)
        .map_err(|error| ImagingError::Encode {
            reason: error.to_string(),
        })?;
    if is_srgb && png.len() >= AFTER_HEADER {
        png.splice(AFTER_HEADER..AFTER_HEADER, SRGB_CHUNK);
    }
    Ok(png)
}

/// Writes a file so that a reader, or a program that starts after a crash, finds the old content or
/// the new, never a part: a temporary file in the same folder, flushed to disk, then renamed.
///
/// # Errors
/// When any of that fails; the old file is then untouched.
pub fn write_atomically(path: &Path, content: &[u8]) -> Result<(), ImagingError> {
    let failed = |source| ImagingError::Write {
        path: path.to_path_buf(),
        source,
    };
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(".fill-audit-").suffix(".tmp");
    #[cfg(unix)]
    {
        // Temporary files are private by default; this one becomes an ordinary file, so it takes an
        // ordinary file's permissions, less the umask.
        use std::os::unix::fs::PermissionsExt as _;
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder).map_err(failed)?;
    file.write_all(content).map_err(failed)?;
    file.as_file().sync_all().map_err(failed)?;
    file.persist(path).map_err(|error| failed(error.error))?;
    // The rename itself is on disk once the folder is; where folders cannot be opened (Windows)
    // the system sees to that.
    #[cfg(unix)]
    std::fs::File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(failed)?;
    Ok(())
}

/// The SHA-256 of bytes, as 64 hex digits.
pub fn sha256_of_bytes(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The SHA-256 of a file's bytes, as 64 hex digits, read in pieces.
///
/// # Errors
/// When the file cannot be read.
pub fn sha256_of_file(path: &Path) -> Result<String, ImagingError> {
    let failed = |source| ImagingError::Read {
        path: path.to_path_buf(),
        source,
    };
    let mut file = std::fs::File::open(path).map_err(failed)?;
    let mut hasher = Sha256::new();
    let mut piece = vec![0_u8; 1 << 20];
    loop {
        match file.read(&mut piece).map_err(failed)? {
            0 => return Ok(hex(&hasher.finalize())),
            read => hasher.update(piece.get(..read).unwrap_or(&[])),
        }
    }
}

fn hex(digest: &[u8]) -> String {
    use std::fmt::Write as _;
    digest
        .iter()
        .fold(String::with_capacity(digest.len() * 2), |mut text, byte| {
            // Writing to a String does not fail.
            let _ = write!(text, "{byte:02x}");
            text
        })
}
