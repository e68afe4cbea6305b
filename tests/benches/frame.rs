//! Replays a review on the comparison canvas without a window and prints what it cost, as JSON.
//!
//! Per number of cells: time to the first and to all cells, and p50, p95, p99 and maximum of the window
//! thread's time per frame while opening, zooming, panning, wiping and flipping. A frame is counted from
//! the interface to the encoded draw calls; submission and presentation are left out, and nothing is
//! drawn. Then one picture of 16k x 16k, and 1,000 pictures under the byte budget.
//!
//! `cargo bench --bench frame` measures all, with `-- still` only what cells cost when nothing happens,
//! with `-- many` only the 1,000 pictures. Without `--bench` a few frames show that it works.
#![expect(clippy::unwrap_used, reason = "a measurement that cannot go on fails")]
#![expect(clippy::print_stdout, reason = "the JSON is what it is for")]

mod surface;

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use eframe::egui::{self, Pos2, Rect, pos2, vec2};
use fill_audit::ui::canvas::{
    Canvas, CanvasOptions, CellPaint, Decode, DecodedImage, Framing, ImageId, ImageSource, Mode,
    View, cell_px, cell_response, decode_with_image_crate, paint_cell, preload_cell,
};
use serde_json::{Value, json};
use surface::{FRAME, Spent, Surface, parts, quantiles};

const WINDOW_PX: [u32; 2] = [1920, 1080];
const SIDE_PX: u32 = 1024;
const LIMIT: Duration = Duration::from_mins(5);

/// The canvas on a surface.
struct Screen {
    surface: Surface,
    canvas: Canvas,
    peak_rss_mb: u64,
    peak_store_mb: u64,
}

impl Screen {
    fn new(options: &CanvasOptions, decode: &Arc<Decode>) -> Self {
        let surface = Surface::new(WINDOW_PX);
        let canvas = Canvas::new(&surface.ctx, Some(&surface.gpu), decode, options);
        Self {
            surface,
            canvas,
            peak_rss_mb: 0,
            peak_store_mb: 0,
        }
    }

    /// Draws one frame and answers what the window's thread spent on it.
    fn frame(&mut self, draw: impl Fn(&egui::Ui, &mut Canvas)) -> Spent {
        let started = Instant::now();
        let canvas = &mut self.canvas;
        let spent = self.surface.frame(egui::RawInput::default(), |ui| {
            canvas.begin_frame();
            draw(ui, canvas);
            canvas.end_frame(ui.ctx());
        });
        // As a window that waits for the display does: the decoders get the processors meanwhile.
        if self.canvas.is_busy() {
            std::thread::sleep(FRAME.saturating_sub(started.elapsed()));
        }
        self.peak_rss_mb = self.peak_rss_mb.max(rss_mb());
        self.peak_store_mb = self.peak_store_mb.max(self.canvas.memory().total() >> 20);
        spent
    }
}

fn files() -> Arc<Decode> {
    Arc::new(decode_with_image_crate)
}

/// Cells in rows that fill the window.
fn places(count: usize) -> Vec<Rect> {
    let [width, height] = WINDOW_PX.map(|px| px as f32);
    let columns = (1..=count)
        .find(|c| c * c * 9 >= count * 16)
        .unwrap_or(count);
    let rows = count.div_ceil(columns);
    let pitch = vec2(width / columns as f32, height / rows as f32);
    (0..count)
        .map(|i| {
            let corner = pos2(
                (i % columns) as f32 * pitch.x,
                (i / columns) as f32 * pitch.y,
            );
            Rect::from_min_size(corner, pitch).shrink(1.0)
        })
        .collect()
}

fn draw_cells(
    ui: &egui::Ui,
    canvas: &mut Canvas,
    places: &[Rect],
    images: &[ImageId],
    framing: &Framing,
    wipe: Option<f64>,
) {
    let size_in_image = [f64::from(SIDE_PX); 2];
    for (i, (rect, image)) in places.iter().zip(images).enumerate() {
        let id = egui::Id::unique(("cell", i));
        let label = format!("cell {i}");
        cell_response(
            ui,
            id,
            *rect,
            || label.clone(),
            false,
            canvas.status(*image),
        );
    }
    for (rect, image) in places.iter().zip(images) {
        let view = framing.view(size_in_image, cell_px(*rect, 1.0));
        let mut paint = CellPaint::new(*image, view);
        paint.size_in_image = Some(size_in_image);
        if let Some(split_in_image) = wipe {
            paint.reference = images.first().copied();
            paint.mode = Mode::Wipe { split_in_image };
        }
        paint_cell(ui.painter(), *rect, &paint, canvas);
    }
    for rect in places.iter().take(images.len()) {
        ui.painter().text(
            rect.left_top(),
            egui::Align2::LEFT_TOP,
            "Q4_0",
            egui::FontId::proportional(11.0),
            egui::Color32::WHITE,
        );
    }
}

/// Something like a photo: slopes and grain, so that it compresses like one.
fn photo(side: u32, seed: u32) -> Vec<u8> {
    let image = image::RgbImage::from_fn(side, side, |x, y| {
        let h = (x.wrapping_mul(0x9E37_79B1) ^ y.wrapping_mul(0x85EB_CA77) ^ seed)
            .wrapping_mul(0x27D4_EB2F);
        let grain = (h >> 28) as u8;
        image::Rgb([
            (x * 160 / side) as u8 + grain + (seed * 9) as u8,
            (y * 200 / side) as u8 + grain,
            ((x + y) * 100 / side) as u8 + grain,
        ])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

fn sources(count: usize) -> Vec<ImageSource> {
    // A few files under many names: each name is decoded and kept by itself.
    let files: Vec<Arc<[u8]>> = (0..6).map(|seed| photo(SIDE_PX, seed).into()).collect();
    (0..count)
        .map(|i| ImageSource::memory(format!("cell {i}"), files[i % files.len()].clone()))
        .collect()
}

fn rss_mb() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS"));
    let kb = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<u64>().ok());
    kb.unwrap_or(0) / 1024
}

/// Zoom between the whole picture and eight times that, and back.
fn swing(frame: usize, frames: usize) -> f64 {
    0.5 - 0.5 * (frame as f64 / frames as f64 * std::f64::consts::TAU).cos()
}

fn review(count: usize, frames: usize) -> Value {
    let sources = sources(count);
    let before_mb = rss_mb();
    let mut screen = Screen::new(&CanvasOptions::default(), &files());
    let places = places(count);
    let started = Instant::now();
    let images: Vec<ImageId> = sources
        .iter()
        .map(|source| screen.canvas.image(source))
        .collect();

    let mut opening = Vec::new();
    let (mut first_cell, mut all_cells) = (None, None);
    while all_cells.is_none() {
        let spent = screen
            .frame(|ui, canvas| draw_cells(ui, canvas, &places, &images, &Framing::Whole, None));
        opening.push(spent);
        if first_cell.is_none() && images.iter().any(|image| screen.canvas.is_sharp(*image)) {
            first_cell = Some(started.elapsed());
        }
        if images.iter().all(|image| screen.canvas.is_sharp(*image)) {
            all_cells = Some(started.elapsed());
        }
        assert!(started.elapsed() < LIMIT, "the cells never came");
    }

    let middle = [f64::from(SIDE_PX) / 2.0; 2];
    let fit = View::fit([f64::from(SIDE_PX); 2], cell_px(places[0], 1.0)).zoom;
    let view = |frame: usize, x: f64| {
        Framing::Free(View {
            center_in_image: [middle[0] + x, middle[1]],
            zoom: fit * (1.0 + 7.0 * swing(frame, frames)),
        })
    };
    // Once through, so that what zooming needs is there; that way is reported too.
    let mut sharpening = Vec::new();
    let close = view(frames / 2, 0.0);
    for _ in 0..frames {
        sharpening.push(
            screen.frame(|ui, canvas| draw_cells(ui, canvas, &places, &images, &close, None)),
        );
    }
    let settling = Instant::now();
    while screen.canvas.is_busy() && settling.elapsed() < LIMIT {
        screen.frame(|ui, canvas| draw_cells(ui, canvas, &places, &images, &close, None));
    }
    let mut timed = |draw: &dyn Fn(usize) -> (Framing, Option<f64>)| {
        let times: Vec<Spent> = (0..frames)
            .map(|frame| {
                let (framing, wipe) = draw(frame);
                screen.frame(|ui, canvas| {
                    draw_cells(ui, canvas, &places, &images, &framing, wipe);
                })
            })
            .collect();
        quantiles(&times)
    };
    let zooming = timed(&|frame| (view(frame, 0.0), None));
    let panning = timed(&|frame| (view(frames / 3, 300.0 * (swing(frame, frames) - 0.5)), None));
    let wiping = timed(&|frame| {
        (
            view(frames / 3, 0.0),
            Some(f64::from(SIDE_PX) * swing(frame, frames)),
        )
    });

    // Full screen: one cell after the other, the next two on their way.
    let whole = [Rect::from_min_size(
        Pos2::ZERO,
        vec2(WINDOW_PX[0] as f32, WINDOW_PX[1] as f32),
    )];
    let mut flipping = Vec::new();
    let mut ready_at_once = 0;
    for (i, image) in images.iter().enumerate() {
        let next: Vec<ImageId> = images.iter().skip(i + 1).take(2).copied().collect();
        let draw = |ui: &egui::Ui, canvas: &mut Canvas| {
            draw_cells(ui, canvas, &whole, &[*image], &Framing::Whole, None);
            for id in &next {
                let view = Framing::Whole.view([f64::from(SIDE_PX); 2], cell_px(whole[0], 1.0));
                let paint = CellPaint {
                    size_in_image: Some([f64::from(SIDE_PX); 2]),
                    ..CellPaint::new(*id, view)
                };
                preload_cell(1.0, whole[0], &paint, canvas);
            }
        };
        flipping.push(screen.frame(draw));
        ready_at_once += usize::from(screen.canvas.is_sharp(*image));
        // A person looks for at least a moment, in which neighbours arrive.
        let looking = Instant::now();
        while screen.canvas.is_busy() && looking.elapsed() < Duration::from_millis(200) {
            flipping.push(screen.frame(draw));
        }
    }
    json!({
        "cells": count,
        "side_px": SIDE_PX,
        "first_cell_ms": first_cell.map(|d| d.as_millis()),
        "all_cells_ms": all_cells.map(|d| d.as_millis()),
        "opening": quantiles(&opening),
        "sharpening": quantiles(&sharpening),
        "zooming": zooming,
        "panning": panning,
        "wiping": wiping,
        "flipping": quantiles(&flipping),
        "flipped_to_a_sharp_picture_at_once": format!("{ready_at_once} of {count}"),
        "peak_store_mb": screen.peak_store_mb,
        "peak_rss_mb": screen.peak_rss_mb,
        "rss_before_mb": before_mb,
    })
}

/// A picture beyond the GPU's limit: opened whole, then panned at 100 %.
fn large(side: u32, frames: usize) -> Value {
    let before_mb = rss_mb();
    let decode: Arc<Decode> = Arc::new(move |_: &ImageSource| {
        let row: Vec<u8> = (0..side)
            .flat_map(|x| [(x >> 6) as u8, x as u8, 90, 255])
            .collect();
        DecodedImage::new(side, side, row.repeat(side as usize))
    });
    let mut screen = Screen::new(&CanvasOptions::default(), &decode);
    let image = screen
        .canvas
        .image(&ImageSource::memory("large", Vec::new()));
    let rect = Rect::from_min_size(Pos2::ZERO, vec2(WINDOW_PX[0] as f32, WINDOW_PX[1] as f32));
    let size_in_image = [f64::from(side); 2];
    let draw = |view: View| {
        move |ui: &egui::Ui, canvas: &mut Canvas| {
            let paint = CellPaint {
                size_in_image: Some(size_in_image),
                ..CellPaint::new(image, view)
            };
            paint_cell(ui.painter(), rect, &paint, canvas);
        }
    };
    let started = Instant::now();
    let whole = View::fit(size_in_image, cell_px(rect, 1.0));
    let mut opening = Vec::new();
    while !screen.canvas.is_sharp(image) {
        opening.push(screen.frame(draw(whole)));
        assert!(started.elapsed() < LIMIT, "the picture never came");
    }
    let opened = started.elapsed();
    let opening_rss_mb = screen.peak_rss_mb;
    screen.peak_rss_mb = 0;
    let mut panning = Vec::new();
    for frame in 0..frames {
        let at = f64::from(side) * (0.2 + 0.6 * frame as f64 / frames as f64);
        let view = View {
            center_in_image: [at; 2],
            zoom: 1.0,
        };
        panning.push(screen.frame(draw(view)));
    }
    json!({
        "side_px": side,
        "opened_ms": opened.as_millis(),
        "opening": quantiles(&opening),
        "panning": quantiles(&panning),
        "peak_store_mb": screen.peak_store_mb,
        "peak_rss_opening_mb": opening_rss_mb,
        "peak_rss_panning_mb": screen.peak_rss_mb,
        "rss_before_mb": before_mb,
    })
}

/// Many pictures, paged through at full size: the byte budget holds.
fn many(count: usize, per_page: usize) -> Value {
    let sources = sources(count);
    let before_mb = rss_mb();
    let options = CanvasOptions::default();
    let mut screen = Screen::new(&options, &files());
    let images: Vec<ImageId> = sources
        .iter()
        .map(|source| screen.canvas.image(source))
        .collect();
    let places = places(per_page);
    let close = Framing::Free(View {
        center_in_image: [512.0; 2],
        zoom: 1.0,
    });
    let mut times = Vec::new();
    for page in images.chunks(per_page) {
        let started = Instant::now();
        while !page.iter().all(|image| screen.canvas.is_sharp(*image)) {
            times.push(
                screen.frame(|ui, canvas| draw_cells(ui, canvas, &places, page, &close, None)),
            );
            assert!(started.elapsed() < LIMIT, "a page never came");
        }
    }
    json!({
        "pictures": count,
        "per_page": per_page,
        "paging": quantiles(&times),
        "budget_mb": options.budget_bytes >> 20,
        "peak_store_mb": screen.peak_store_mb,
        "peak_rss_mb": screen.peak_rss_mb,
        "rss_before_mb": before_mb,
    })
}

/// Frames of 300 thumbnails that are all there: what cells cost when nothing happens.
fn still(count: usize, frames: usize) -> Value {
    let sources: Vec<ImageSource> = {
        let file: Arc<[u8]> = photo(64, 1).into();
        (0..count)
            .map(|i| ImageSource::memory(format!("cell {i}"), file.clone()))
            .collect()
    };
    let mut screen = Screen::new(&CanvasOptions::default(), &files());
    let places = places(count);
    let images: Vec<ImageId> = sources
        .iter()
        .map(|source| screen.canvas.image(source))
        .collect();
    let started = Instant::now();
    while !images.iter().all(|image| screen.canvas.is_sharp(*image)) {
        screen.frame(|ui, canvas| draw_cells(ui, canvas, &places, &images, &Framing::Whole, None));
        assert!(started.elapsed() < LIMIT, "the cells never came");
    }
    let times: Vec<Spent> = (0..frames)
        .map(|_| {
            screen
                .frame(|ui, canvas| draw_cells(ui, canvas, &places, &images, &Framing::Whole, None))
        })
        .collect();
    json!({
        "cells": count,
        "still": quantiles(&times),
        "p50_parts_cpu_ms": parts(&times),
    })
}

fn main() {
    let has = |wanted: &str| std::env::args().any(|arg| arg == wanted);
    let report = if has("still") {
        json!({ "still": still(300, 300) })
    } else if has("many") {
        json!({ "many": many(1000, 75) })
    } else if has("--bench") {
        json!({
            "window_px": WINDOW_PX,
            "still": still(300, 300),
            "reviews": [review(18, 240), review(75, 240), review(300, 120)],
            "large": large(16_384, 240),
            "many": many(1000, 75),
        })
    } else {
        json!({ "reviews": [review(3, 4)], "still": still(3, 4), "large": large(3100, 4) })
    };
    println!(
        "{}",
        serde_json::to_string_pretty(&report).unwrap_or_default()
    );
}
