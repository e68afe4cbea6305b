//! Pictures as strangers make them: each is read right or refused in a sentence that names it.
#![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]

use std::path::{Path, PathBuf};

use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::{DynamicImage, ExtendedColorType, ImageEncoder as _, Rgb, RgbImage, Rgba, RgbaImage};
use moxcms::ColorProfile;

use super::*;
use crate::imaging::ImagingError;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/pictures")
        .join(name)
}

fn gradient() -> RgbImage {
    RgbImage::from_fn(40, 30, |x, y| Rgb([(x * 6) as u8, (y * 8) as u8, 90]))
}

/// A PNG without any colour chunk.
fn bare_png(image: &DynamicImage) -> Vec<u8> {
    let mut bytes = Vec::new();
    let encoder = PngEncoder::new(&mut bytes);
    encoder
        .write_image(
            image.as_bytes(),
            image.width(),
            image.height(),
            image.color().into(),
        )
        .unwrap();
    bytes
}

fn crc(bytes: &[u8]) -> u32 {
    let step = |crc: u32, &byte: &u8| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ if crc & 1 == 1 { 0xedb8_8320 } else { 0 }
        })
    };
    !bytes.iter().fold(!0, step)
}

/// The PNG with a chunk more behind its header.
fn with_chunk(mut png: Vec<u8>, kind: [u8; 4], content: &[u8]) -> Vec<u8> {
    let mut chunk = kind.to_vec();
    chunk.extend(content);
    let crc = crc(&chunk);
    let mut whole = (content.len() as u32).to_be_bytes().to_vec();
    whole.extend(chunk);
    whole.extend(crc.to_be_bytes());
    png.splice(33..33, whole);
    png
}

/// A PNG whose header announces this size; the pixels behind it are those of a small one.
fn with_size(mut png: Vec<u8>, width: u32, height: u32) -> Vec<u8> {
    png[16..20].copy_from_slice(&width.to_be_bytes());
    png[20..24].copy_from_slice(&height.to_be_bytes());
    let crc = crc(&png[12..29]);
    png[29..33].copy_from_slice(&crc.to_be_bytes());
    png
}

fn reason(result: Result<Decoded, ImagingError>) -> String {
    result
        .map(|decoded| decoded.size())
        .unwrap_err()
        .to_string()
}

#[test]
fn what_is_encoded_comes_back_to_the_bit_and_says_srgb() {
    let decoded = decode_bytes(&encode_rgb_png(&gradient()).unwrap(), "a").unwrap();
    assert_eq!(decoded.colour, ColourSource::Srgb);
    assert_eq!(decoded.into_rgb(), gradient());

    let rgba = RgbaImage::from_fn(9, 7, |x, y| Rgba([x as u8, y as u8, 3, (x * 20) as u8]));
    let decoded = decode_bytes(&encode_rgba_png(&rgba).unwrap(), "a").unwrap();
    assert_eq!(decoded.pixels, Pixels::Rgba(rgba));

    let grey = DynamicImage::ImageRgb8(gradient()).into_luma8();
    let decoded = decode_mask_bytes(&encode_grey_png(&grey).unwrap(), "a").unwrap();
    assert_eq!(decoded, DynamicImage::ImageLuma8(grey));
}

#[test]
fn a_mask_s_greys_are_not_moved_by_a_profile() {
    let grey = image::GrayImage::from_pixel(4, 4, image::Luma([120]));
    let png = bare_png(&DynamicImage::ImageLuma8(grey.clone()));
    let png = with_chunk(png, *b"gAMA", &100_000_u32.to_be_bytes());
    let mask = decode_mask_bytes(&png, "mask.png").unwrap();
    assert_eq!(mask, DynamicImage::ImageLuma8(grey));
}

#[test]
fn a_header_of_fifty_thousand_by_fifty_thousand_is_refused_before_it_is_decoded() {
    let png = with_size(
        bare_png(&DynamicImage::ImageRgb8(gradient())),
        50_000,
        50_000,
    );
    assert_eq!(
        reason(decode_bytes(&png, "huge.png")),
        "picture has 50000x50000 = 2500 megapixels, at most 300 are read: huge.png"
    );
}

#[test]
fn a_truncated_picture_and_one_that_is_none_are_refused_by_name() {
    let png = bare_png(&DynamicImage::ImageRgb8(gradient()));
    for length in [40, png.len() / 2, png.len() - 20] {
        let message = reason(decode_bytes(&png[..length], "cut.png"));
        assert!(
            message.starts_with("the picture cannot be decoded (")
                && message.ends_with(": cut.png")
        );
    }
    assert_eq!(
        reason(decode_bytes(b"# Report", "REPORT.md")),
        "not a PNG, JPEG, WebP, TIFF, BMP or GIF picture: REPORT.md"
    );
    let missing = reason(decode(Path::new("/nowhere/a.png")));
    assert_eq!(missing, "cannot read the file: /nowhere/a.png");
}

#[test]
fn a_wrong_extension_is_read_by_its_content() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("actually_png.jpg");
    std::fs::write(&path, encode_rgb_png(&gradient()).unwrap()).unwrap();
    assert_eq!(decode(&path).unwrap().into_rgb(), gradient());
}

#[test]
fn sixteen_bits_palette_and_other_formats_become_eight_bit_rgb() {
    let deep = image::ImageBuffer::from_fn(5, 4, |x, _| Rgb([x as u16 * 257, 65_535, 128]));
    let png = bare_png(&DynamicImage::ImageRgb16(deep));
    let decoded = decode_bytes(&png, "deep.png").unwrap().into_rgb();
    assert_eq!(decoded.get_pixel(3, 0).0, [3, 255, 0]);

    // A palette, and two frames of which the first is taken.
    let decoded = decode(&fixture("two_frames.gif")).unwrap();
    assert_eq!(decoded.size(), (12, 10));
    assert_eq!(decoded.into_rgb().get_pixel(5, 5).0, [10, 200, 30]);

    for format in [
        image::ImageFormat::Tiff,
        image::ImageFormat::Bmp,
        image::ImageFormat::WebP,
    ] {
        let mut bytes = std::io::Cursor::new(Vec::new());
        gradient().write_to(&mut bytes, format).unwrap();
        let decoded = decode_bytes(bytes.get_ref(), "other").unwrap();
        assert_eq!(decoded.colour, ColourSource::Untagged, "{format:?}");
        assert_eq!(decoded.into_rgb(), gradient(), "{format:?}");
    }
}

#[test]
fn cmyk_is_converted_and_says_that_its_profile_was_not_used() {
    let decoded = decode(&fixture("cmyk.jpg")).unwrap();
    assert_eq!(decoded.colour, ColourSource::CmykWithoutProfile);
    assert!(decoded.colour.is_guess());
    let rgb = decoded.into_rgb();
    let [r, g, b] = rgb.get_pixel(4, 8).0;
    assert!(r < 30 && g > 225 && b > 225, "cyan ink: {r} {g} {b}");
    assert!(
        rgb.get_pixel(28, 8).0.iter().all(|&value| value > 240),
        "no ink is white"
    );
}

#[test]
fn the_orientation_of_a_camera_is_followed() {
    let decoded = decode(&fixture("turned.jpg")).unwrap();
    assert!(decoded.was_reoriented);
    // 24 x 16 with red at the top left, to be turned clockwise: red at the top right.
    assert_eq!(decoded.size(), (16, 24));
    assert_eq!(dimensions(&fixture("turned.jpg")).unwrap(), (16, 24));
    let rgb = decoded.into_rgb();
    let is_red = |x, y| rgb.get_pixel(x, y).0[1] < 80;
    assert!(is_red(13, 2) && !is_red(2, 2) && !is_red(13, 20));
}

#[test]
fn an_embedded_profile_is_converted_to_srgb_and_named() {
    let flat = RgbImage::from_pixel(8, 8, Rgb([200, 100, 50]));
    let wide = ColorProfile::new_display_p3().encode().unwrap();
    let mut png = Vec::new();
    let mut encoder = PngEncoder::new(&mut png);
    encoder.set_icc_profile(wide.clone()).unwrap();
    encoder
        .write_image(flat.as_raw(), 8, 8, ExtendedColorType::Rgb8)
        .unwrap();
    let decoded = decode_bytes(&png, "p3.png").unwrap();
    assert!(matches!(&decoded.colour, ColourSource::Icc(name) if name.contains("P3")));
    let pixel = decoded.into_rgb().get_pixel(3, 3).0;
    for (ours, reference) in pixel.iter().zip(P3_REFERENCE) {
        assert!(ours.abs_diff(reference) <= 1, "{pixel:?}");
    }

    let mut jpeg = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut jpeg, 100);
    encoder.set_icc_profile(wide).unwrap();
    encoder
        .write_image(flat.as_raw(), 8, 8, ExtendedColorType::Rgb8)
        .unwrap();
    let pixel = decode_bytes(&jpeg, "p3.jpg")
        .unwrap()
        .into_rgb()
        .get_pixel(3, 3)
        .0;
    assert!(
        pixel
            .iter()
            .zip(P3_REFERENCE)
            .all(|(a, b)| a.abs_diff(b) <= 3),
        "{pixel:?}"
    );
}

/// What (200, 100, 50) in Display P3 is in sRGB, worked out from the two sets of chromaticities and
/// the common curve: 214.9, 92.6, 31.0.
const P3_REFERENCE: [u8; 3] = [215, 93, 31];

#[test]
fn the_profile_of_srgb_itself_changes_no_pixel() {
    let mut png = Vec::new();
    let mut encoder = PngEncoder::new(&mut png);
    encoder
        .set_icc_profile(ColorProfile::new_srgb().encode().unwrap())
        .unwrap();
    encoder
        .write_image(gradient().as_raw(), 40, 30, ExtendedColorType::Rgb8)
        .unwrap();
    let decoded = decode_bytes(&png, "srgb.png").unwrap();
    assert!(matches!(decoded.colour, ColourSource::Icc(_)));
    assert_eq!(decoded.into_rgb(), gradient());
}

#[test]
fn png_gamma_and_code_points_are_honoured() {
    let flat = DynamicImage::ImageRgb8(RgbImage::from_pixel(4, 4, Rgb([128, 128, 128])));
    let png = |kind, content: &[u8]| with_chunk(bare_png(&flat), kind, content);
    let pixel = |bytes: &[u8]| {
        let decoded = decode_bytes(bytes, "a.png").unwrap();
        (decoded.colour.clone(), decoded.into_rgb().get_pixel(0, 0).0)
    };
    assert_eq!(pixel(&bare_png(&flat)), (ColourSource::Untagged, [128; 3]));
    assert_eq!(pixel(&png(*b"sRGB", &[0])), (ColourSource::Srgb, [128; 3]));
    assert_eq!(
        pixel(&png(*b"gAMA", &45_455_u32.to_be_bytes())),
        (ColourSource::Srgb, [128; 3])
    );
    // Linear light: 128/255 is 188 in sRGB.
    let (colour, grey) = pixel(&png(*b"gAMA", &100_000_u32.to_be_bytes()));
    assert_eq!(colour, ColourSource::Gamma);
    assert!(
        grey.iter().all(|value| value.abs_diff(188) <= 1),
        "{grey:?}"
    );
    // Rec. 709 primaries and sRGB's curve, then linear, then an unassigned code.
    assert_eq!(
        pixel(&png(*b"cICP", &[1, 13, 0, 1])),
        (ColourSource::Srgb, [128; 3])
    );
    let (colour, grey) = pixel(&png(*b"cICP", &[1, 8, 0, 1]));
    assert_eq!(colour, ColourSource::Cicp);
    assert!(
        grey.iter().all(|value| value.abs_diff(188) <= 1),
        "{grey:?}"
    );
    let (colour, grey) = pixel(&png(*b"cICP", &[77, 13, 0, 1]));
    assert!(colour.is_guess(), "{colour}");
    assert_eq!(grey, [128; 3]);
}

#[test]
fn chromaticities_move_colours() {
    let red = DynamicImage::ImageRgb8(RgbImage::from_pixel(4, 4, Rgb([200, 100, 50])));
    // Display P3's primaries and white with a plain 2.2 curve.
    let points: Vec<u8> = [
        31_270, 32_900, 68_000, 32_000, 26_500, 69_000, 15_000, 6_000_u32,
    ]
    .iter()
    .flat_map(|point| point.to_be_bytes())
    .collect();
    let png = with_chunk(bare_png(&red), *b"cHRM", &points);
    let png = with_chunk(png, *b"gAMA", &45_455_u32.to_be_bytes());
    let decoded = decode_bytes(&png, "p3.png").unwrap();
    assert_eq!(decoded.colour, ColourSource::Gamma);
    // Worked out the same way, with the plain curve: 216.3, 92.5, 23.7.
    let pixel = decoded.into_rgb().get_pixel(0, 0).0;
    assert!(
        pixel
            .iter()
            .zip([216, 92, 24])
            .all(|(a, b)| a.abs_diff(b) <= 1),
        "{pixel:?}"
    );
}

#[test]
fn a_broken_profile_is_said_and_the_picture_is_shown() {
    let mut png = Vec::new();
    let mut encoder = PngEncoder::new(&mut png);
    encoder.set_icc_profile(vec![7; 200]).unwrap();
    encoder
        .write_image(gradient().as_raw(), 40, 30, ExtendedColorType::Rgb8)
        .unwrap();
    let decoded = decode_bytes(&png, "odd.png").unwrap();
    assert!(matches!(decoded.colour, ColourSource::UnreadableProfile(_)));
    assert_eq!(decoded.into_rgb(), gradient());
}

#[test]
fn a_file_is_replaced_whole_and_nothing_is_left_beside_it() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("cell.png");
    std::fs::write(&path, "old").unwrap();
    write_rgb_png(&path, &gradient()).unwrap();
    assert_eq!(decode(&path).unwrap().into_rgb(), gradient());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    let bytes = std::fs::read(&path).unwrap();
    assert_eq!(sha256_of_file(&path).unwrap(), sha256_of_bytes(&bytes));
    assert_eq!(
        sha256_of_bytes(b"abc"),
        "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    );
    let nowhere = folder.path().join("missing/cell.png");
    let message = write_atomically(&nowhere, b"x").unwrap_err().to_string();
    assert!(message.starts_with("cannot write the file: "), "{message}");
}
