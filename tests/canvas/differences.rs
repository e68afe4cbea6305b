//! Differences and the wipe as the shader draws them, against `imaging`'s own, pixel by pixel: within one
//! 8-bit step, at several zooms, on odd-sized and non-square pictures.

use fill_audit::imaging::difference::{Metric, difference_picture, magnitude};
use fill_audit::ui::canvas::Mode;
use image::RgbImage;

use super::{
    page::{Page, Picture, compare, drawn, one_cell, page},
    shader::{cell, set, size_of, view},
};

type Harness = egui_kittest::Harness<'static, Page>;

/// Odd, flat, tall, and of a single column.
const SIZES: [(u32, u32); 4] = [(37, 23), (64, 5), (9, 31), (1, 9)];
const ZOOMS: [f64; 3] = [1.0, 2.5, 7.0];

fn noise(width: u32, height: u32) -> (Picture, Picture) {
    (
        Picture::noise(width, height, 1),
        Picture::noise(width, height, 2),
    )
}

/// One picture in a cell with the other as its reference, seen from its middle.
fn against(one: &Picture, two: &Picture, zoom: f64) -> Harness {
    let mut harness = page([230, 170], 1.0);
    let view = middle(one, zoom);
    one_cell(&mut harness, cell(), &one.source("one"), view);
    let reference = harness.state_mut().canvas.image(&two.source("two"));
    set(&mut harness, |paint| paint.reference = Some(reference));
    harness
}

fn middle(picture: &Picture, zoom: f64) -> fill_audit::ui::canvas::View {
    let [width, height] = size_of(picture);
    view(width / 2.0 - 0.2, height / 2.0 + 0.2, zoom)
}

fn at(picture: &RgbImage, pos: [f64; 2]) -> [u8; 3] {
    picture
        .get_pixel(pos[0].floor() as u32, pos[1].floor() as u32)
        .0
}

fn compare_difference(
    harness: &mut Harness,
    (one, two): (&Picture, &Picture),
    zoom: f64,
    (metric, gain, threshold): (Metric, f32, f32),
) {
    set(harness, |paint| {
        paint.mode = Mode::Difference {
            metric,
            gain,
            threshold,
        };
    });
    let (first, second) = (one.rgb(), two.rgb());
    let expected = difference_picture(&first, &second, metric, gain, threshold).unwrap();
    let drawn = drawn(harness);
    let [width, height] = size_of(one);
    // What of it fits into the cell, less what lies on the edges of texels.
    let least = ((width * zoom).min(200.0) * (height * zoom).min(148.0) * 0.4) as usize;
    let view = middle(one, zoom);
    compare(&drawn, cell(), 1.0, &view, size_of(one), 1, least, |pos| {
        // At the very threshold rounding decides.
        let level = magnitude(at(&first, pos), at(&second, pos), metric);
        let is_close = threshold > 0.0 && (level - threshold).abs() < 0.01;
        (!is_close).then(|| at(&expected, pos))
    });
}

#[test]
fn every_metric_is_drawn_as_it_is_computed() {
    for (width, height) in SIZES {
        let (one, two) = noise(width, height);
        for zoom in ZOOMS {
            let mut harness = against(&one, &two, zoom);
            for choice in [
                (Metric::Signed, 1.0, 0.0),
                (Metric::Signed, 3.0, 60.0),
                (Metric::Absolute, 1.0, 0.0),
                (Metric::Absolute, 2.0, 100.0),
                (Metric::Luma, 1.0, 0.0),
                (Metric::Luma, 4.0, 20.0),
                (Metric::DeltaE2000, 1.0, 0.0),
                (Metric::DeltaE2000, 2.0, 30.0),
            ] {
                compare_difference(&mut harness, (&one, &two), zoom, choice);
            }
        }
    }
}

#[test]
fn small_colour_differences_are_right_under_gain() {
    let one = Picture::noise(61, 43, 8);
    let mut two = one.clone();
    for (i, byte) in two.rgba8.iter_mut().enumerate() {
        if i % 4 != 3 {
            *byte = byte.saturating_add((i % 5) as u8);
        }
    }
    let mut harness = against(&one, &two, 3.0);
    let choice = (Metric::DeltaE2000, 20.0, 0.0);
    compare_difference(&mut harness, (&one, &two), 3.0, choice);
}

#[test]
fn greys_and_hues_across_the_circle_have_their_delta_e() {
    // Every hue beside the one opposite, and greys beside nearly grey: where the formula has its turns.
    let wheel = |x: u32, shift: u32| {
        let angle = f64::from(x * 10 + shift).to_radians();
        [0.0_f64, 120.0, 240.0]
            .map(|part| (128.0 + 100.0 * (angle + part.to_radians()).cos()).round() as u8)
    };
    let colour = |x: u32, y: u32, is_second: bool| {
        let [r, g, b] = match (y, is_second) {
            (0 | 1, false) => wheel(x, 0),
            (0, true) => wheel(x, 180),
            (1, true) => wheel(x, 178),
            (_, false) => [(x * 7) as u8; 3],
            (_, true) => [(x * 7) as u8, (x * 7) as u8, (x * 7 + 3) as u8],
        };
        [r, g, b, 255]
    };
    let one = Picture::from_fn(36, 3, |x, y| colour(x, y, false));
    let two = Picture::from_fn(36, 3, |x, y| colour(x, y, true));
    let mut harness = against(&one, &two, 5.0);
    for gain in [1.0, 8.0] {
        compare_difference(
            &mut harness,
            (&one, &two),
            5.0,
            (Metric::DeltaE2000, gain, 0.0),
        );
    }
}

#[test]
fn the_wipe_stands_in_the_picture_also_while_zoomed() {
    for (width, height) in SIZES {
        let (one, two) = noise(width, height);
        for zoom in ZOOMS {
            let mut harness = against(&one, &two, zoom);
            let whole = f64::from(width);
            for split_in_image in [0.0, whole / 3.0, (whole / 2.0).floor(), whole] {
                set(&mut harness, |paint| {
                    paint.mode = Mode::Wipe { split_in_image };
                });
                let drawn = drawn(&mut harness);
                let view = middle(&one, zoom);
                compare(&drawn, cell(), 1.0, &view, size_of(&one), 0, 0, |pos| {
                    let away_px = (pos[0] - split_in_image) * zoom;
                    if away_px.abs() < 2.1 {
                        return None; // the line
                    }
                    let side = if away_px < 0.0 { &two } else { &one };
                    Some([0, 1, 2].map(|i| side.texel(pos)[i]))
                });
            }
        }
    }
}

#[test]
fn the_wipe_line_is_seen_on_black_and_on_white() {
    for grey in [0, 255] {
        let picture = Picture::flat(30, 30, [grey, grey, grey, 255]);
        let mut harness = page([230, 170], 1.0);
        let image = one_cell(
            &mut harness,
            cell(),
            &picture.source("picture"),
            view(15.0, 15.0, 4.0),
        );
        set(&mut harness, |paint| {
            paint.reference = Some(image);
            paint.mode = Mode::Wipe {
                split_in_image: 15.0,
            };
        });
        let drawn = drawn(&mut harness);
        let other = 255 - grey;
        let seen = drawn
            .pixels()
            .filter(|p| p.0 == [other, other, other, 255])
            .count();
        assert!(seen >= 120, "{seen} pixels of the line on {grey}");
    }
}

#[test]
fn equal_pictures_do_not_differ_whatever_they_are_drawn_from() {
    // One of them was looked at closely before: of it there is more than the thumbnail.
    let picture = Picture::noise(611, 403, 5);
    let mut harness = page([230, 170], 1.0);
    one_cell(
        &mut harness,
        cell(),
        &picture.source("one"),
        view(300.0, 200.0, 2.0),
    );
    let _ = drawn(&mut harness);
    let reference = harness.state_mut().canvas.image(&picture.source("two"));
    for zoom in [0.2, 0.3] {
        let view = view(305.5, 201.5, zoom);
        set(&mut harness, |paint| {
            paint.view = view;
            paint.reference = Some(reference);
            paint.mode = Mode::Difference {
                metric: Metric::Absolute,
                gain: 64.0,
                threshold: 0.0,
            };
        });
        let drawn = drawn(&mut harness);
        compare(
            &drawn,
            cell(),
            1.0,
            &view,
            size_of(&picture),
            0,
            1000,
            |_| Some([0; 3]),
        );
    }
}
