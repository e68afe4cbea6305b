//! What is kept, what is given up, what is loaded first, and what is shown of pictures that are bad.

use std::{
    io::Cursor,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
        mpsc,
    },
    time::Instant,
};

use eframe::egui::{Rect, pos2, vec2};
use egui_kittest::kittest::Queryable as _;
use fill_audit::ui::canvas::{
    CanvasOptions, CellPaint, Decode, ImageSource, ImageStatus, View, loupe_ui, preload_cell,
};

use super::page::{
    Cell, PATIENCE, Page, Picture, compare, decode, drawn, page, page_with, rendered, settle,
};

type Harness = egui_kittest::Harness<'static, Page>;

fn view(x: f64, y: f64, zoom: f64) -> View {
    View {
        center_in_image: [x, y],
        zoom,
    }
}

/// Cells in a row of 100 points each.
fn row(harness: &mut Harness, sources: &[ImageSource], view: View) {
    let page = harness.state_mut();
    page.cells = sources
        .iter()
        .enumerate()
        .map(|(i, source)| Cell {
            rect: Rect::from_min_size(pos2(100.0 * i as f32, 0.0), vec2(100.0, 100.0)),
            label: format!("cell {i}"),
            paint: CellPaint::new(page.canvas.image(source), view),
        })
        .collect();
}

fn arc(
    decode: impl Fn(&ImageSource) -> Result<super::page::Decoded, String> + Send + Sync + 'static,
) -> Arc<Decode> {
    Arc::new(decode)
}

#[test]
fn the_budget_holds_while_scrolling_through_many_pictures() {
    // Each is 1.4 MB with its mips, and 1 MB more for reading pixels; all would take 100 MB.
    let budget_bytes = 16 << 20;
    let options = CanvasOptions {
        budget_bytes,
        threads: 2,
        ..CanvasOptions::default()
    };
    let mut harness = page_with([500, 100], 1.0, &options, arc(decode));
    let sources: Vec<_> = (0..40)
        .map(|i| Picture::flat(512, 512, [i as u8, 0, 0, 255]).source(&format!("picture {i}")))
        .collect();
    let mut high = 0;
    for window in sources.windows(5).step_by(5) {
        row(&mut harness, window, view(256.0, 256.0, 1.0));
        settle(&mut harness);
        let page = harness.state();
        high = high.max(page.canvas.memory().total());
        for cell in &page.cells {
            assert!(
                page.canvas.is_sharp(cell.paint.image),
                "what is on screen is there"
            );
        }
        assert!(
            page.canvas.memory().total() <= budget_bytes,
            "{:?}",
            page.canvas.memory()
        );
    }
    assert!(
        high > budget_bytes / 2,
        "the budget was never touched: {high}"
    );
}

#[test]
fn what_was_seen_last_is_given_up_last() {
    let one = 512 * 512 * 4 * 7 / 3 + 600_000;
    let options = CanvasOptions {
        budget_bytes: one * 3,
        threads: 1,
        ..CanvasOptions::default()
    };
    let decodes = Arc::new(Mutex::new(Vec::new()));
    let log = decodes.clone();
    let logged = move |source: &ImageSource| {
        log.lock().unwrap().push(source.to_string());
        decode(source)
    };
    let mut harness = page_with([100, 100], 1.0, &options, arc(logged));
    let sources: Vec<_> = (0..5)
        .map(|i| Picture::noise(512, 512, i).source(&format!("{i}")))
        .collect();
    for i in [0, 1, 2, 3, 4] {
        row(&mut harness, &sources[i..=i], view(256.0, 256.0, 1.0));
        settle(&mut harness);
    }
    decodes.lock().unwrap().clear();
    row(&mut harness, &sources[3..=3], view(256.0, 256.0, 1.0));
    harness.step();
    assert!(
        harness
            .state()
            .canvas
            .is_sharp(harness.state().cells[0].paint.image)
    );
    row(&mut harness, &sources[0..=0], view(256.0, 256.0, 1.0));
    harness.step();
    assert!(
        !harness
            .state()
            .canvas
            .is_sharp(harness.state().cells[0].paint.image)
    );
    settle(&mut harness);
    assert_eq!(
        *decodes.lock().unwrap(),
        ["0"],
        "only what was given up is read again"
    );
}

#[test]
fn a_budget_too_small_for_all_still_shows_every_cell() {
    let options = CanvasOptions {
        budget_bytes: 4 << 20,
        threads: 2,
        ..CanvasOptions::default()
    };
    let mut harness = page_with([500, 100], 1.0, &options, arc(decode));
    let sources: Vec<_> = (0..5)
        .map(|i| Picture::flat(700, 700, [200, i, 0, 255]).source(&format!("{i}")))
        .collect();
    row(&mut harness, &sources, view(350.0, 350.0, 1.0));
    let drawn = drawn(&mut harness);
    for i in 0..5 {
        let pixel = drawn.get_pixel(100 * u32::from(i) + 50, 50).0;
        assert_eq!(pixel, [200, i, 0, 255], "cell {i}");
    }
    assert!(harness.state().canvas.memory().total() <= 4 << 20);
}

#[test]
fn a_frame_uploads_no_more_than_its_share() {
    let options = CanvasOptions {
        upload_bytes_per_frame: 256 << 10,
        threads: 1,
        ..CanvasOptions::default()
    };
    let mut harness = page_with([100, 100], 1.0, &options, arc(decode));
    row(
        &mut harness,
        &[Picture::noise(1024, 512, 1).source("large")],
        view(500.0, 250.0, 1.0),
    );
    let started = Instant::now();
    let mut pending = Vec::new();
    loop {
        harness.step();
        let page = harness.state();
        if page.canvas.is_sharp(page.cells[0].paint.image) {
            break;
        }
        if page.canvas.memory().pending > 0 {
            pending.push(page.canvas.memory().full);
        }
        assert!(started.elapsed() < PATIENCE, "the picture never came");
        std::thread::yield_now();
    }
    // 2.8 MB in shares of 256 kB: at least ten frames with the picture on its way.
    assert!(pending.len() >= 10, "{} frames", pending.len());
}

#[test]
fn visible_cells_are_decoded_before_the_rest() {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let decodes = Arc::new(Mutex::new(Vec::new()));
    let log = decodes.clone();
    let gated = move |source: &ImageSource| {
        // The first decode waits until the visible cells have been asked for.
        if log.lock().unwrap().is_empty() {
            log.lock().unwrap().push(source.to_string());
            gate.lock().unwrap().recv().unwrap();
        } else {
            log.lock().unwrap().push(source.to_string());
        }
        decode(source)
    };
    let options = CanvasOptions {
        threads: 1,
        ..CanvasOptions::default()
    };
    let mut harness = page_with([300, 100], 1.0, &options, arc(gated));
    let sources: Vec<_> = (0..8)
        .map(|i| Picture::noise(32, 32, i).source(&format!("{i}")))
        .collect();
    for source in &sources {
        harness.state_mut().canvas.image(source);
    }
    harness.step();
    let started = Instant::now();
    while decodes.lock().unwrap().is_empty() {
        assert!(started.elapsed() < PATIENCE, "no decode began");
        std::thread::yield_now();
    }
    row(&mut harness, &sources[5..8], view(16.0, 16.0, 3.0));
    harness.step();
    open.send(()).unwrap();
    settle(&mut harness);
    let order = decodes.lock().unwrap().clone();
    assert_eq!(order[..4], ["0", "5", "6", "7"]);
    assert_eq!(order.len(), 8, "everything gets its thumbnail, once");
}

#[test]
fn a_stale_picture_is_dropped() {
    let (open, gate) = mpsc::channel::<()>();
    let gate = Mutex::new(gate);
    let calls = Arc::new(AtomicUsize::new(0));
    let counter = calls.clone();
    let changing = move |_: &ImageSource| {
        let call = counter.fetch_add(1, Ordering::SeqCst);
        if call == 0 {
            gate.lock().unwrap().recv().unwrap();
        }
        let color = if call == 0 {
            [255, 0, 0, 255]
        } else {
            [0, 255, 0, 255]
        };
        let picture = Picture::flat(20, 20, color);
        super::page::Decoded::new(20, 20, picture.rgba8)
    };
    let options = CanvasOptions {
        threads: 1,
        ..CanvasOptions::default()
    };
    let mut harness = page_with([100, 100], 1.0, &options, arc(changing));
    row(
        &mut harness,
        &[ImageSource::file("changes.png")],
        view(10.0, 10.0, 2.0),
    );
    harness.step();
    let started = Instant::now();
    while calls.load(Ordering::SeqCst) == 0 {
        assert!(started.elapsed() < PATIENCE, "no decode began");
        std::thread::yield_now();
    }
    let image = harness.state().cells[0].paint.image;
    harness.state_mut().canvas.reload(image);
    open.send(()).unwrap();
    let drawn = drawn(&mut harness);
    assert_eq!(drawn.get_pixel(50, 50).0, [0, 255, 0, 255]);
    assert_eq!(calls.load(Ordering::SeqCst), 2);
}

#[test]
fn a_preloaded_neighbour_is_there_on_the_very_next_frame() {
    let mut harness = page([100, 100], 1.0);
    let sources = [1, 2].map(|i| Picture::noise(600, 600, i).source(&format!("{i}")));
    row(&mut harness, &sources[..1], view(300.0, 300.0, 1.0));
    let neighbour = harness.state_mut().canvas.image(&sources[1]);
    harness.state_mut().extra = Some(Box::new(move |ui, canvas, cells| {
        let paint = CellPaint {
            image: neighbour,
            ..cells[0].paint.clone()
        };
        preload_cell(ui.pixels_per_point(), cells[0].rect, &paint, canvas);
    }));
    settle(&mut harness);
    harness.state_mut().extra = None;
    harness.state_mut().cells[0].paint.image = neighbour;
    harness.step();
    assert!(harness.state().canvas.is_sharp(neighbour));
    let drawn = rendered(&mut harness);
    let expected = Picture::noise(600, 600, 2).at(250 + 37, 250 + 41);
    assert_eq!(drawn.get_pixel(37, 41).0, expected);
}

#[test]
fn a_tiled_picture_has_no_seams_and_exact_texels() {
    let picture = Picture::noise(1700, 1300, 3);
    let source = picture.source("large");
    let options = CanvasOptions {
        max_whole_px: 600,
        threads: 2,
        ..CanvasOptions::default()
    };
    let mut harness = page_with([320, 220], 1.0, &options, arc(decode));
    let rect = Rect::from_min_size(pos2(9.0, 7.0), vec2(301.0, 201.0));
    for (x, y, zoom) in [
        (1024.0, 512.0, 1.0),
        (512.3, 1024.9, 3.0),
        (1690.0, 1290.0, 2.0),
    ] {
        let view = view(x, y, zoom);
        super::page::one_cell(&mut harness, rect, &source, view);
        let drawn = drawn(&mut harness);
        let size = [1700.0, 1300.0];
        compare(&drawn, rect, 1.0, &view, size, 0, 15_000, |pos| {
            Some([0, 1, 2].map(|i| picture.texel(pos)[i]))
        });
    }
}

#[test]
fn a_shrunk_tiled_picture_is_smooth_across_tiles() {
    // A gradient has the same slope everywhere: a seam would be a step.
    let picture = Picture::from_fn(2048, 1024, |x, y| [(x / 8) as u8, (y / 4) as u8, 128, 255]);
    let options = CanvasOptions {
        max_whole_px: 600,
        threads: 2,
        ..CanvasOptions::default()
    };
    let mut harness = page_with([420, 220], 1.0, &options, arc(decode));
    let rect = Rect::from_min_size(pos2(10.0, 10.0), vec2(400.0, 200.0));
    for zoom in [0.7, 0.5, 0.3] {
        let view = view(1024.0, 512.0, zoom);
        super::page::one_cell(&mut harness, rect, &picture.source("gradient"), view);
        let drawn = drawn(&mut harness);
        compare(
            &drawn,
            rect,
            1.0,
            &view,
            [2048.0, 1024.0],
            2,
            70_000,
            |pos| Some([(pos[0] / 8.0) as u8, (pos[1] / 4.0) as u8, 128]),
        );
    }
}

#[test]
fn a_picture_beyond_the_gpus_limit_opens_in_tiles_within_the_budget() {
    let picture = Picture::from_fn(16_384, 1100, |x, y| {
        [(x / 64) as u8, (y % 256) as u8, (x % 251) as u8, 255]
    });
    let options = CanvasOptions {
        budget_bytes: 32 << 20,
        threads: 2,
        ..CanvasOptions::default()
    };
    let mut harness = page_with([400, 300], 1.0, &options, arc(decode));
    let rect = Rect::from_min_size(pos2(0.0, 0.0), vec2(400.0, 300.0));
    let source = picture.source("panorama");
    for (x, zoom) in [(8192.0, 0.024), (16_000.0, 1.0), (300.0, 4.0)] {
        let view = view(x, 550.0, zoom);
        super::page::one_cell(&mut harness, rect, &source, view);
        let drawn = drawn(&mut harness);
        let page = harness.state();
        assert!(page.canvas.is_sharp(page.cells[0].paint.image));
        assert!(
            page.canvas.memory().total() <= 32 << 20,
            "{:?}",
            page.canvas.memory()
        );
        if zoom >= 1.0 {
            compare(
                &drawn,
                rect,
                1.0,
                &view,
                [16_384.0, 1100.0],
                0,
                80_000,
                |pos| Some([0, 1, 2].map(|i| picture.texel(pos)[i])),
            );
        } else {
            let middle = drawn.get_pixel(200, 150).0;
            assert!(middle[0].abs_diff(128) <= 3, "{middle:?}");
        }
    }
}

fn png(picture: &Picture) -> Vec<u8> {
    encoded(picture, image::ImageFormat::Png)
}

fn encoded(picture: &Picture, format: image::ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let rgba =
        image::RgbaImage::from_raw(picture.width, picture.height, picture.rgba8.clone()).unwrap();
    let image = image::DynamicImage::from(rgba);
    match format {
        image::ImageFormat::Jpeg => image.into_rgb8().write_to(&mut bytes, format).unwrap(),
        _ => image.write_to(&mut bytes, format).unwrap(),
    }
    bytes.into_inner()
}

/// A PNG whose header promises sides of 50,000 pixels, with a valid checksum.
fn huge_header() -> Vec<u8> {
    let mut bytes = png(&Picture::flat(4, 4, [0; 4]));
    bytes[16..20].copy_from_slice(&50_000_u32.to_be_bytes());
    bytes[20..24].copy_from_slice(&50_000_u32.to_be_bytes());
    let mut crc = u32::MAX;
    for byte in &bytes[12..29] {
        crc ^= u32::from(*byte);
        for _ in 0..8 {
            crc = if crc & 1 == 1 {
                (crc >> 1) ^ 0xEDB8_8320
            } else {
                crc >> 1
            };
        }
    }
    bytes[29..33].copy_from_slice(&(!crc).to_be_bytes());
    bytes
}

#[test]
fn bad_pictures_say_why_and_the_others_are_shown() {
    let good = Picture::flat(30, 30, [10, 200, 30, 255]);
    let truncated = png(&Picture::noise(64, 64, 1))[..2000].to_vec();
    let folder = tempfile::tempdir().unwrap();
    let misnamed = folder.path().join("really a png.jpg");
    std::fs::write(&misnamed, png(&good)).unwrap();
    let text = folder.path().join("notes.png");
    std::fs::write(&text, "not a picture").unwrap();
    let sources = [
        ImageSource::memory("truncated.png", truncated),
        ImageSource::memory("huge.png", huge_header()),
        ImageSource::file(&text),
        ImageSource::file(folder.path().join("missing.png")),
        ImageSource::memory("empty.png", Vec::new()),
        ImageSource::file(&misnamed),
        ImageSource::memory("good.jpg", encoded(&good, image::ImageFormat::Jpeg)),
        ImageSource::memory("good.gif", encoded(&good, image::ImageFormat::Gif)),
    ];
    let mut harness = page([800, 100], 1.0);
    row(&mut harness, &sources, view(15.0, 15.0, 3.0));
    let drawn = drawn(&mut harness);
    for (i, name) in [
        "truncated.png",
        "huge.png",
        "notes.png",
        "missing.png",
        "empty.png",
    ]
    .iter()
    .enumerate()
    {
        let page = harness.state();
        let ImageStatus::Failed(reason) = page.canvas.status(page.cells[i].paint.image) else {
            panic!("{name} was accepted");
        };
        assert!(
            reason.starts_with("cannot") && reason.contains(name),
            "{reason}"
        );
        let label = format!("cell {i}: cannot");
        let cell = harness.get_by_label_contains(&label);
        assert!((cell.rect().width() - 100.0).abs() < 0.5);
        // The reason is written in the cell: something lighter than its grey.
        let left = 100 * i as u32;
        let written = (left..left + 100)
            .flat_map(|x| (0..100).map(move |y| (x, y)))
            .filter(|(x, y)| drawn.get_pixel(*x, *y).0[0] > 150)
            .count();
        assert!(written > 50, "{name}: {written} pixels of text");
    }
    for i in 5..8 {
        let [r, g, b, _] = drawn.get_pixel(100 * i + 50, 50).0;
        assert!(
            r < 40 && g.abs_diff(200) < 25 && b < 60,
            "cell {i} shows {r} {g} {b}"
        );
    }
}

#[test]
fn a_decoder_that_panics_takes_nothing_else_down() {
    let is_armed = Arc::new(AtomicBool::new(true));
    let armed = is_armed.clone();
    let panics_once = move |source: &ImageSource| {
        assert!(!armed.swap(false, Ordering::SeqCst), "on purpose");
        decode(source)
    };
    let options = CanvasOptions {
        threads: 1,
        ..CanvasOptions::default()
    };
    let mut harness = page_with([200, 100], 1.0, &options, arc(panics_once));
    let sources = ["bad", "good"].map(|name| Picture::flat(30, 30, [1, 2, 3, 255]).source(name));
    row(&mut harness, &sources, view(15.0, 15.0, 2.0));
    let drawn = drawn(&mut harness);
    assert!(
        harness
            .query_by_label_contains("cell 0: the decoder stopped")
            .is_some()
    );
    assert_eq!(drawn.get_pixel(150, 50).0, [1, 2, 3, 255]);
}

#[test]
fn values_are_read_as_they_are_in_the_file() {
    for max_whole_px in [600, 3072] {
        let picture = Picture::noise(1100, 700, 5);
        let options = CanvasOptions {
            max_whole_px,
            ..CanvasOptions::default()
        };
        let mut harness = page_with([100, 100], 1.0, &options, arc(decode));
        row(
            &mut harness,
            &[picture.source("picture")],
            view(600.0, 300.0, 0.1),
        );
        settle(&mut harness);
        let image = harness.state().cells[0].paint.image;
        for (x, y) in [(0, 0), (1099, 699), (512, 511)] {
            // Asking brings it; the value is there some frames later.
            harness.state_mut().extra = Some(Box::new(move |_, canvas, _| {
                canvas.read_pixel(image, x, y);
            }));
            settle(&mut harness);
            let value = harness.state_mut().canvas.read_pixel(image, x, y);
            assert_eq!(
                value,
                Some(picture.at(x, y)),
                "at ({x}, {y}) with {max_whole_px}"
            );
        }
        assert_eq!(harness.state_mut().canvas.read_pixel(image, 1100, 0), None);
    }
}

#[test]
fn the_loupe_magnifies_what_is_under_the_pointer() {
    let picture = Picture::noise(200, 200, 6);
    let mut harness = page([600, 400], 1.0);
    let rect = Rect::from_min_size(pos2(0.0, 0.0), vec2(200.0, 200.0));
    super::page::one_cell(
        &mut harness,
        rect,
        &picture.source("picture"),
        view(100.0, 100.0, 1.0),
    );
    let pointer = pos2(60.5, 70.5);
    harness.state_mut().extra = Some(Box::new(move |ui, canvas, cells| {
        loupe_ui(ui.ctx(), cells[0].rect, pointer, &cells[0].paint, canvas);
    }));
    let drawn = drawn(&mut harness);
    // The loupe is right below the pointer; its middle shows the pixel under it.
    let middle = (60 + 24 + 90, 70 + 24 + 90);
    assert_eq!(drawn.get_pixel(middle.0, middle.1).0, picture.at(60, 70));
    let page = harness.state_mut();
    let text = page.canvas.readout_text(&page.cells[0].paint, [60.5, 70.5]);
    let [r, g, b, _] = picture.at(60, 70);
    assert_eq!(text, format!("(60, 70)  R {r} G {g} B {b}"));
}

#[test]
fn a_mode_without_its_input_says_so() {
    let mut harness = page([200, 100], 1.0);
    row(
        &mut harness,
        &[Picture::flat(30, 30, [255; 4]).source("a")],
        view(15.0, 15.0, 2.0),
    );
    harness.state_mut().cells[0].paint.mode = fill_audit::ui::canvas::Mode::Mask;
    let drawn = drawn(&mut harness);
    assert!(
        drawn.pixels().all(|p| p.0 != [255; 4]),
        "the picture is not shown as a mask"
    );
    assert!(
        drawn.pixels().filter(|p| p.0[0] > 150).count() > 30,
        "the reason is written"
    );
}
