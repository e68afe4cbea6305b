//! Pictures of every mode for people to look at: written to the folder `FILL_AUDIT_PICTURES`, if set.

use eframe::egui::{Rect, pos2, vec2};
use fill_audit::imaging::difference::Metric;
use fill_audit::imaging::mask::{BinaryMask, DistanceField as Distances};
use fill_audit::ui::canvas::{
    CellPaint, Channel, DistanceField, FieldId, Framing, ImageBox, ImageSource, Mode, Overlay,
    RawMask, cell_px, loupe_ui, outlined_text, paint_cursor_mark,
};

use super::page::{Cell, Picture, drawn, page};

const FIELD: FieldId = FieldId(1);
const SIZE: [u32; 2] = [256, 192];

/// A lawn with a dark and a bright half, and something on it.
fn scene(seed: u32, has_object: bool) -> Picture {
    let grain = Picture::noise(SIZE[0], SIZE[1], seed);
    Picture::from_fn(SIZE[0], SIZE[1], |x, y| {
        let n = i32::from(grain.at(x, y)[0]) / 8 - 16;
        let base: [i32; 3] = if x < 100 {
            [20, 30, 18]
        } else {
            [215, 225, 200]
        };
        let thing = (60..150).contains(&x) && (80..90).contains(&(y + x / 10));
        let base = if thing && has_object {
            [150, 60, 40]
        } else {
            base
        };
        let [r, g, b] = base.map(|c| (c + n).clamp(0, 255) as u8);
        [r, g, b, 255]
    })
}

fn field() -> (Vec<f32>, Vec<RawMask>) {
    let is_raw = |x: u32, y: u32| (58..152).contains(&x) && (78..92).contains(&(y + x / 10));
    let is_speck = |x: u32, y: u32| (200..204).contains(&x) && (40..43).contains(&y);
    let pixels = || (0..SIZE[1]).flat_map(|y| (0..SIZE[0]).map(move |x| (x, y)));
    let clean = BinaryMask::from_fn(SIZE[0], SIZE[1], |x, y| is_raw(x, y) && x < 148);
    let raw = pixels()
        .map(|(x, y)| match (is_raw(x, y), is_speck(x, y)) {
            (true, _) => RawMask::On,
            (_, true) => RawMask::Speck,
            _ => RawMask::Off,
        })
        .collect();
    (Distances::to_white(&clean).distance_f32(), raw)
}

type Change = fn(&mut CellPaint);

#[test]
fn every_mode_draws_something_of_its_own() {
    let modes: [(&str, Change); 18] = [
        ("plain", |_| {}),
        ("wipe", |p| {
            p.mode = Mode::Wipe {
                split_in_image: 105.0,
            }
        }),
        ("signed", |p| p.mode = difference(Metric::Signed, 2.0)),
        ("absolute", |p| p.mode = difference(Metric::Absolute, 2.0)),
        ("luma", |p| p.mode = difference(Metric::Luma, 3.0)),
        ("ΔE2000", |p| p.mode = difference(Metric::DeltaE2000, 4.0)),
        ("mask", |p| p.mode = Mode::Mask),
        ("masked picture", |p| p.mode = Mode::MaskedPicture),
        ("composite", |p| {
            p.mode = Mode::Composite { feather_px: 3.0 }
        }),
        ("outline", |p| p.overlay = Overlay::Outline),
        ("tint", |p| p.overlay = Overlay::Tint),
        ("ring", |p| p.overlay = Overlay::Ring),
        ("change", |p| p.overlay = Overlay::Change),
        ("tokens", |p| p.has_token_grid = true),
        ("red", |p| p.channel = Channel::Red),
        ("luma channel", |p| p.channel = Channel::Luma),
        ("+1.5 stops", |p| p.exposure_stops = 1.5),
        ("failed", |_| {}),
    ];
    let pictures = std::env::var_os("FILL_AUDIT_PICTURES");
    // The large one takes a software driver seconds: only where somebody wants to look at it.
    let sizes = [([1280, 800], 1.0), ([3840, 2160], 2.0)];
    for (size, pixels_per_point) in sizes.into_iter().take(1 + usize::from(pictures.is_some())) {
        let mut harness = page(size, pixels_per_point);
        let page = harness.state_mut();
        let fill = page.canvas.image(&scene(1, false).source("fill"));
        let original = page.canvas.image(&scene(2, true).source("original"));
        let failed = page.canvas.image(&ImageSource::memory(
            "runs/20261121/Q4_0_gs10.png",
            b"not a picture".to_vec(),
        ));
        let (distance_px, raw) = field();
        let field = DistanceField {
            size: SIZE,
            distance_px: &distance_px,
            raw: Some(&raw),
        };
        page.canvas.set_field(FIELD, &field).unwrap();
        let points = vec2(size[0] as f32, size[1] as f32) / pixels_per_point;
        let pitch = vec2(points.x / 6.0, points.y / 3.0);
        let framing = Framing::Box(ImageBox {
            min: [58.0, 60.0],
            max: [152.0, 92.0],
        });
        for (i, (label, change)) in modes.iter().enumerate() {
            let corner = pos2((i % 6) as f32 * pitch.x, (i / 6) as f32 * pitch.y);
            let rect = Rect::from_min_size(corner, pitch).shrink(3.0);
            let view = framing.view([256.0, 192.0], cell_px(rect, pixels_per_point));
            let mut paint = CellPaint::new(if *label == "failed" { failed } else { fill }, view);
            paint.reference = Some(original);
            paint.mask = Some(FIELD);
            paint.dilate_px = 8.0;
            change(&mut paint);
            page.cells.push(Cell {
                rect,
                label: (*label).to_owned(),
                paint,
            });
        }
        page.extra = Some(Box::new(|ui, canvas, cells| {
            for cell in cells {
                let at = cell.rect.left_top() + vec2(6.0, 4.0);
                let painter = ui.painter();
                outlined_text(
                    painter,
                    at,
                    eframe::egui::Align2::LEFT_TOP,
                    &cell.label,
                    13.0,
                );
                paint_cursor_mark(painter, cell.rect, &cell.paint.view, [100.0, 70.0]);
            }
            let pointer = cells[0].rect.center();
            loupe_ui(ui.ctx(), cells[0].rect, pointer, &cells[0].paint, canvas);
        }));
        let drawn = drawn(&mut harness);
        if let Some(folder) = &pictures {
            std::fs::create_dir_all(folder).unwrap();
            let name = format!("canvas-{}x{}.png", size[0], size[1]);
            drawn.save(std::path::Path::new(folder).join(name)).unwrap();
        }
        // No two modes may look the same.
        let cell_of = |i: usize| {
            let rect = harness.state().cells[i].rect * pixels_per_point;
            // Below the label.
            let (x, y) = (
                rect.left() as u32,
                rect.top() as u32 + rect.height() as u32 / 2,
            );
            let (w, h) = (rect.width() as u32 / 2, rect.height() as u32 / 3);
            image::imageops::crop_imm(&drawn, x + 4, y, w, h).to_image()
        };
        let cells: Vec<_> = (0..modes.len()).map(cell_of).collect();
        for i in 0..modes.len() {
            for j in i + 1..modes.len() {
                // The loupe lies over the next cells.
                assert!(
                    cells[i] != cells[j],
                    "{} looks like {}",
                    modes[i].0,
                    modes[j].0
                );
            }
        }
    }
}

fn difference(metric: Metric, gain: f32) -> Mode {
    Mode::Difference {
        metric,
        gain,
        threshold: 0.0,
    }
}
