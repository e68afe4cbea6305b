//! Pictures that are broken, too large, or not what their name says: the cell says so, the others are
//! shown.

use super::harness::{Desk, drawn, keep_picture, settle, step_until, view};
use super::mask_lab::Window;
use eframe::egui::{Key, vec2};
use egui_kittest::kittest::Queryable as _;
use image::codecs::gif::GifEncoder;
use image::{DynamicImage, ImageFormat, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use std::io::Cursor;
use std::path::Path;

fn encoded(picture: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Vec::new();
    picture
        .write_to(&mut Cursor::new(&mut bytes), format)
        .expect("encoded");
    bytes
}

/// A PNG's beginning and end whose header claims a size.
fn huge_header(width: u32, height: u32) -> Vec<u8> {
    let mut bytes = encoded(&RgbImage::new(4, 4).into(), ImageFormat::Png);
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
    bytes
}

/// The checksum of a PNG's chunk.
fn crc(bytes: &[u8]) -> u32 {
    let mut crc = u32::MAX;
    for byte in bytes {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xedb8_8320
            } else {
                crc >> 1
            };
        }
    }
    !crc
}

/// A palette of two colours: orange and black, one bit a pixel.
fn palette_png() -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8], content: &[u8]| {
        bytes.extend((content.len() as u32).to_be_bytes());
        let mut body = kind.to_vec();
        body.extend(content);
        bytes.extend(&body);
        bytes.extend(crc(&body).to_be_bytes());
    };
    chunk(b"IHDR", &[0, 0, 0, 8, 0, 0, 0, 2, 1, 3, 0, 0, 0]);
    chunk(b"PLTE", &[255, 128, 0, 0, 0, 0]);
    // Two rows of one byte each, filter 0, all of the first colour: stored, not compressed.
    let raw = [0_u8, 0, 0, 0];
    let mut zlib = vec![0x78, 0x01, 0x01, 4, 0, 0xfb, 0xff];
    zlib.extend(raw);
    zlib.extend([0, 4, 0, 1]);
    chunk(b"IDAT", &zlib);
    chunk(b"IEND", &[]);
    bytes
}

fn animated_gif() -> Vec<u8> {
    let mut bytes = Vec::new();
    let frame = |colour: [u8; 4]| image::Frame::new(RgbaImage::from_pixel(8, 8, Rgba(colour)));
    let mut encoder = GifEncoder::new(&mut bytes);
    encoder
        .encode_frames([frame([0, 255, 0, 255]), frame([255, 0, 0, 255])])
        .expect("encoded");
    drop(encoder);
    bytes
}

fn put(run: &Path, name: &str, bytes: &[u8]) {
    std::fs::write(run.join(format!("{name}.png")), bytes).expect("written");
}

/// What the middle of a cell shows.
fn middle(harness: &mut Window, label: &str) -> [u8; 3] {
    let rect = harness.get_by_label_contains(label).rect();
    let shown = drawn(harness);
    let at = rect.center();
    let [r, g, b, _] = shown.get_pixel(at.x as u32, at.y as u32).0;
    [r, g, b]
}

#[test]
fn bad_pictures_are_cells_with_a_reason_and_the_rest_of_the_grid_works() {
    let desk = Desk::new();
    let whole = std::fs::read(desk.run.join("Q4_0_gs2.png")).expect("there");
    // Cut off: known from the end of the file. Cut out of the middle: known only when it is decoded.
    put(&desk.run, "Q4_0_gs2", &whole[..whole.len() / 2]);
    let mut torn = whole[..whole.len() / 3].to_vec();
    torn.extend(&whole[whole.len() - 12..]);
    put(&desk.run, "Q4_0_gs4", &torn);
    put(&desk.run, "Q4_0_gs10", &huge_header(50_000, 50_000));
    let cmyk = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/pictures/cmyk.jpg");
    put(&desk.run, "Q4_0_gs20", &std::fs::read(cmyk).expect("there"));
    put(&desk.run, "Q4_0_gs30", &animated_gif());
    let deep = image::ImageBuffer::from_pixel(64, 64, Rgb([0_u16, 0x80ff, 0xffff]));
    put(
        &desk.run,
        "Q8_0_gs2",
        &encoded(&deep.into(), ImageFormat::Png),
    );
    put(&desk.run, "Q8_0_gs4", &palette_png());
    let alpha = RgbaImage::from_pixel(64, 64, Rgba([255, 0, 255, 255]));
    put(
        &desk.run,
        "Q8_0_gs10",
        &encoded(&alpha.into(), ImageFormat::Png),
    );
    let grey = image::GrayImage::from_pixel(64, 64, Luma([77]));
    put(
        &desk.run,
        "Q8_0_gs20",
        &encoded(&grey.into(), ImageFormat::Png),
    );
    put(&desk.run, "Q8_0_gs30", b"");

    let mut harness = desk.rendered(vec2(1280.0, 800.0));
    harness.key_press(Key::F);
    settle(&mut harness);
    keep_picture(&mut harness, "hostile_1280");

    // Known when the run is opened: the wrong end, the wrong kind, nothing at all.
    for name in ["Q4_0_gs2,", "Q4_0_gs20,", "Q4_0_gs30,", "Q8_0_gs30,"] {
        let label = format!("{name} unreadable");
        assert!(harness.query_by_label_contains(&label).is_some(), "{name}");
    }
    // Known when they are decoded: the name of the cell says why.
    for name in ["Q4_0_gs4, done", "Q4_0_gs10, done"] {
        step_until(&mut harness, name, |harness| {
            harness
                .query_by_label_contains(name)
                .is_some_and(|cell| format!("{cell:?}").contains("png"))
        });
    }
    // Sixteen bits, a palette, alpha and grey have the right pixels.
    assert_eq!(middle(&mut harness, "Q8_0_gs2, done"), [0, 128, 255]);
    assert_eq!(middle(&mut harness, "Q8_0_gs4, done"), [255, 128, 0]);
    assert_eq!(middle(&mut harness, "Q8_0_gs10, done"), [255, 0, 255]);
    assert_eq!(middle(&mut harness, "Q8_0_gs20, done"), [77; 3]);
    // The rest goes on: moving, one cell alone, and judging.
    harness.get_by_label("Q5_K_S_gs10, done").click();
    harness.run_steps(2);
    harness.key_press(Key::Enter);
    settle(&mut harness);
    assert!(view(&harness).is_full_screen);
    harness.key_press(Key::P);
    step_until(&mut harness, "the verdict is written", |_| {
        desk.journal().contains("Pass")
    });
}
