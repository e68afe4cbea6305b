//! Whether a picture's file can be believed: a look at both ends, or all of it decoded.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::Path;

const SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', b'\r', b'\n', 0x1a, b'\n'];
/// The last chunk of a PNG: length 0, `IEND`, its checksum.
const END: [u8; 12] = [0, 0, 0, 0, b'I', b'E', b'N', b'D', 0xae, 0x42, 0x60, 0x82];
/// Pictures above this many bytes when decoded are refused.
const MAX_DECODED_BYTES: u64 = 1 << 30;

/// Looks at the beginning and the end: finds empty, cut-off and foreign files without decoding.
///
/// # Errors
/// What is wrong, as a reader sees it.
pub fn quick(path: &Path) -> Result<(), String> {
    let mut file = File::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    let mut head = [0; 8];
    file.read_exact(&mut head)
        .map_err(|error| not_a_png(&error))?;
    if head != SIGNATURE {
        return Err("is not a PNG".to_owned());
    }
    let mut tail = [0; 12];
    file.seek(SeekFrom::End(-12))
        .and_then(|_| file.read_exact(&mut tail))
        .map_err(|error| not_a_png(&error))?;
    if tail == END {
        Ok(())
    } else {
        Err("is cut off or damaged at its end".to_owned())
    }
}

fn not_a_png(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::UnexpectedEof | std::io::ErrorKind::InvalidInput => {
            "is too short for a PNG".to_owned()
        }
        _ => format!("cannot be read: {error}"),
    }
}

/// Decodes the whole picture.
///
/// # Errors
/// What is wrong, as a reader sees it.
pub fn full(path: &Path) -> Result<(), String> {
    quick(path)?;
    let mut reader =
        image::ImageReader::open(path).map_err(|error| format!("cannot be opened: {error}"))?;
    reader.set_format(image::ImageFormat::Png);
    let mut limits = image::Limits::default();
    limits.max_alloc = Some(MAX_DECODED_BYTES);
    reader.limits(limits);
    reader
        .decode()
        .map(drop)
        .map_err(|error| format!("cannot be decoded: {error}"))
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn png() -> Vec<u8> {
        let mut bytes = Vec::new();
        image::RgbImage::from_fn(40, 30, |x, y| image::Rgb([x as u8, y as u8, 7]))
            .write_to(
                &mut std::io::Cursor::new(&mut bytes),
                image::ImageFormat::Png,
            )
            .unwrap();
        bytes
    }

    fn check(bytes: &[u8]) -> (Result<(), String>, Result<(), String>) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        std::fs::write(&path, bytes).unwrap();
        (quick(&path), full(&path))
    }

    #[test]
    fn a_whole_picture_is_believed() {
        assert_eq!(check(&png()), (Ok(()), Ok(())));
    }

    #[test]
    fn empty_cut_and_foreign_files_are_found_without_decoding() {
        let bytes = png();
        for bad in [
            &b""[..],
            b"\x89PNG",
            b"not a picture at all",
            &bytes[..bytes.len() - 1],
            &bytes[..40],
        ] {
            let (quick, full) = check(bad);
            assert!(quick.is_err() && full.is_err(), "{bad:?}");
        }
    }

    #[test]
    fn damage_in_the_middle_is_found_by_decoding() {
        let mut bytes = png();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0xff;
        let (quick, full) = check(&bytes);
        assert_eq!(quick, Ok(()));
        assert!(full.is_err());
    }
}
