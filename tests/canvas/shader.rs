//! The shader shows what is in the file: texels, mips, sizes, transparency, channels, exposure.

use eframe::egui::{Rect, pos2, vec2};
use fill_audit::imaging::difference::luma;
use fill_audit::ui::canvas::{CellPaint, Channel, Mode, View};

use super::{
    formulas::{bytes, encoded, linear, unit},
    page::{Page, Picture, compare, drawn, encoding_page, one_cell, page},
};

type Harness = egui_kittest::Harness<'static, Page>;

/// An odd place for an odd-sized cell.
pub fn cell() -> Rect {
    Rect::from_min_size(pos2(11.0, 5.0), vec2(203.0, 151.0))
}

pub fn view(x: f64, y: f64, zoom: f64) -> View {
    View {
        center_in_image: [x, y],
        zoom,
    }
}

pub fn size_of(picture: &Picture) -> [f64; 2] {
    [f64::from(picture.width), f64::from(picture.height)]
}

pub fn set(harness: &mut Harness, change: impl FnOnce(&mut CellPaint)) {
    change(&mut harness.state_mut().cells[0].paint);
}

#[test]
fn what_is_in_the_file_is_on_the_screen() {
    for (width, height) in [(37, 23), (64, 5), (1, 9)] {
        let picture = Picture::noise(width, height, 3);
        let mut harness = page([230, 170], 1.0);
        for zoom in [1.0, 1.5, 3.0, 7.3] {
            let view = view(f64::from(width) / 2.0, f64::from(height) / 2.0, zoom);
            one_cell(&mut harness, cell(), &picture.source("picture"), view);
            let drawn = drawn(&mut harness);
            compare(&drawn, cell(), 1.0, &view, size_of(&picture), 0, 9, |pos| {
                Some([0, 1, 2].map(|i| picture.texel(pos)[i]))
            });
        }
    }
}

#[test]
fn a_target_that_encodes_shows_the_same_values() {
    let picture = Picture::noise(37, 23, 3);
    let mut harness = encoding_page([230, 170]);
    let view = view(18.0, 11.0, 3.0);
    one_cell(&mut harness, cell(), &picture.source("picture"), view);
    let drawn = drawn(&mut harness);
    compare(
        &drawn,
        cell(),
        1.0,
        &view,
        size_of(&picture),
        1,
        5000,
        |pos| Some([0, 1, 2].map(|i| picture.texel(pos)[i])),
    );
}

#[test]
fn texels_are_exact_on_scaled_displays() {
    let picture = Picture::noise(40, 30, 4);
    for pixels_per_point in [1.25, 2.0] {
        let mut harness = page([300, 260], pixels_per_point);
        let rect = Rect::from_min_size(pos2(8.0, 4.0), vec2(96.0, 80.0));
        let view = view(20.0, 15.0, 4.0);
        one_cell(&mut harness, rect, &picture.source("picture"), view);
        let drawn = drawn(&mut harness);
        compare(
            &drawn,
            rect,
            pixels_per_point,
            &view,
            size_of(&picture),
            0,
            5000,
            |pos| Some([0, 1, 2].map(|i| picture.texel(pos)[i])),
        );
    }
}

#[test]
fn a_picture_at_half_size_is_the_average_in_linear_light() {
    let picture = Picture::noise(600, 400, 5);
    let mut harness = page([230, 170], 1.0);
    // The middle is chosen so that screen pixels and texels of the half-size level coincide.
    let rect = Rect::from_min_size(pos2(11.0, 5.0), vec2(204.0, 152.0));
    let view = view(300.0, 200.0, 0.5);
    one_cell(&mut harness, rect, &picture.source("picture"), view);
    let drawn = drawn(&mut harness);
    compare(
        &drawn,
        rect,
        1.0,
        &view,
        size_of(&picture),
        1,
        30_000,
        |pos| {
            let [x, y] = pos.map(|v| (v / 2.0).floor() as u32 * 2);
            let average = [0, 1, 2].map(|i| {
                let four = [(0, 0), (1, 0), (0, 1), (1, 1)]
                    .map(|(dx, dy)| linear(unit(picture.at(x + dx, y + dy))[i]));
                encoded(four.iter().sum::<f64>() / 4.0)
            });
            Some(bytes(average))
        },
    );
}

#[test]
fn outside_the_picture_is_neutral_grey() {
    let picture = Picture::flat(10, 10, [255, 0, 0, 255]);
    let mut harness = page([230, 170], 1.0);
    one_cell(
        &mut harness,
        cell(),
        &picture.source("picture"),
        view(5.0, 5.0, 4.0),
    );
    let drawn = drawn(&mut harness);
    assert_eq!(drawn.get_pixel(20, 10).0, [64, 64, 64, 255]);
    assert_eq!(
        drawn.pixels().filter(|p| p.0 == [255, 0, 0, 255]).count(),
        40 * 40
    );
}

#[test]
fn transparent_parts_show_a_checkerboard() {
    let picture = Picture::flat(40, 40, [0, 0, 255, 0]);
    let mut harness = page([230, 170], 1.0);
    one_cell(
        &mut harness,
        cell(),
        &picture.source("picture"),
        view(20.0, 20.0, 2.0),
    );
    let drawn = drawn(&mut harness);
    let count = |grey: u8| {
        drawn
            .pixels()
            .filter(|p| p.0 == [grey, grey, grey, 255])
            .count()
    };
    assert!(
        count(102) > 2500 && count(153) > 2500,
        "{} {}",
        count(102),
        count(153)
    );
}

#[test]
fn a_reference_of_another_size_lies_over_the_same_image_space() {
    let large = Picture::noise(64, 48, 1);
    let small = Picture::noise(32, 24, 2);
    let mut harness = page([230, 170], 1.0);
    let view = view(32.0, 24.0, 4.0);
    one_cell(&mut harness, cell(), &large.source("large"), view);
    let reference = harness.state_mut().canvas.image(&small.source("small"));
    set(&mut harness, |paint| {
        paint.reference = Some(reference);
        paint.size_in_image = Some([64.0, 48.0]);
        paint.mode = Mode::Wipe {
            split_in_image: 64.0,
        };
    });
    let drawn = drawn(&mut harness);
    compare(&drawn, cell(), 1.0, &view, [63.0, 48.0], 0, 20_000, |pos| {
        Some([0, 1, 2].map(|i| small.texel(pos.map(|v| v / 2.0))[i]))
    });
}

#[test]
fn channels_and_exposure_agree_with_the_formulas() {
    let picture = Picture::noise(37, 23, 6);
    let mut harness = page([230, 170], 1.0);
    let view = view(18.0, 11.0, 3.0);
    one_cell(&mut harness, cell(), &picture.source("picture"), view);
    for channel in [
        Channel::Rgb,
        Channel::Red,
        Channel::Green,
        Channel::Blue,
        Channel::Luma,
    ] {
        for stops in [0.0, 1.0, -2.5] {
            set(&mut harness, |paint| {
                paint.channel = channel;
                paint.exposure_stops = stops;
            });
            let drawn = drawn(&mut harness);
            compare(
                &drawn,
                cell(),
                1.0,
                &view,
                size_of(&picture),
                1,
                5000,
                |pos| {
                    let mut c = unit(picture.texel(pos));
                    if stops != 0.0 {
                        c = c.map(|c| encoded(linear(c) * f64::from(stops).exp2()));
                    }
                    Some(bytes(match channel {
                        Channel::Rgb => c,
                        Channel::Red => [c[0]; 3],
                        Channel::Green => [c[1]; 3],
                        Channel::Blue => [c[2]; 3],
                        // Of the light itself: what exposure takes beyond white still counts.
                        Channel::Luma => {
                            let weight = |i: usize| {
                                let mut one = [0; 3];
                                one[i] = 255;
                                f64::from(luma(image::Rgb(one))) / 255.0
                            };
                            [c[0] * weight(0) + c[1] * weight(1) + c[2] * weight(2); 3]
                        }
                    }))
                },
            );
        }
    }
}
