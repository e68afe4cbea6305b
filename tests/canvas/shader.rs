//! Every mode of the shader against the plain formulas, at several zooms and sizes.

use eframe::egui::{Rect, pos2, vec2};
use fill_audit::ui::canvas::{
    CellPaint, Channel, DistanceField, FieldId, Metric, Mode, Overlay, RawMask, View,
};

use super::{
    formulas::{bytes, delta_e_2000, distances, encoded, lab, linear, luma, unit},
    page::{Page, Picture, compare, drawn, encoding_page, one_cell, page},
};

type Harness = egui_kittest::Harness<'static, Page>;

const FIELD: FieldId = FieldId(7);

/// An odd place for an odd-sized cell.
fn cell() -> Rect {
    Rect::from_min_size(pos2(11.0, 5.0), vec2(203.0, 151.0))
}

fn view(x: f64, y: f64, zoom: f64) -> View {
    View {
        center_in_image: [x, y],
        zoom,
    }
}

fn size_of(picture: &Picture) -> [f64; 2] {
    [f64::from(picture.width), f64::from(picture.height)]
}

fn set(harness: &mut Harness, change: impl FnOnce(&mut CellPaint)) {
    change(&mut harness.state_mut().cells[0].paint);
}

/// Two odd-sized pictures in one cell, the second as the reference.
fn two_pictures(zoom: f64) -> (Harness, Picture, Picture, View) {
    let (one, two) = (Picture::noise(37, 23, 1), Picture::noise(37, 23, 2));
    let mut harness = page([230, 170], 1.0);
    let view = view(18.3, 11.7, zoom);
    one_cell(&mut harness, cell(), &one.source("one"), view);
    let reference = harness.state_mut().canvas.image(&two.source("two"));
    set(&mut harness, |paint| paint.reference = Some(reference));
    (harness, one, two, view)
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
fn differences_agree_with_the_formulas() {
    for zoom in [1.0, 2.5, 7.0] {
        let (mut harness, one, two, view) = two_pictures(zoom);
        for (metric, gain, threshold) in [
            (Metric::Signed, 1.0, 0.0),
            (Metric::Signed, 3.0, 60.0),
            (Metric::Absolute, 1.0, 0.0),
            (Metric::Absolute, 2.0, 100.0),
            (Metric::Luma, 1.0, 0.0),
            (Metric::Luma, 4.0, 20.0),
            (Metric::DeltaE2000, 1.0, 0.0),
            (Metric::DeltaE2000, 2.0, 30.0),
        ] {
            set(&mut harness, |paint| {
                paint.mode = Mode::Difference {
                    metric,
                    gain,
                    threshold,
                }
            });
            let drawn = drawn(&mut harness);
            let (gain, threshold) = (f64::from(gain), f64::from(threshold));
            compare(&drawn, cell(), 1.0, &view, size_of(&one), 1, 700, |pos| {
                let (a, b) = (unit(one.texel(pos)), unit(two.texel(pos)));
                let d = [0, 1, 2].map(|i| a[i] - b[i]);
                let largest = d.into_iter().map(f64::abs).fold(0.0, f64::max) * 255.0;
                Some(bytes(match metric {
                    Metric::Signed if largest + 1e-6 < threshold => [0.5; 3],
                    Metric::Absolute if largest + 1e-6 < threshold => [0.0; 3],
                    Metric::Signed => d.map(|d| 0.5 + 0.5 * gain * d),
                    Metric::Absolute => d.map(|d| gain * d.abs()),
                    Metric::Luma => {
                        let d = luma(d).abs();
                        // At the very threshold rounding decides.
                        if (d * 255.0 - threshold).abs() < 0.01 && threshold > 0.0 {
                            return None;
                        }
                        [if d * 255.0 < threshold { 0.0 } else { gain * d }; 3]
                    }
                    Metric::DeltaE2000 => {
                        let e = delta_e_2000(lab(a), lab(b));
                        if (e - threshold).abs() < 0.01 && threshold > 0.0 {
                            return None;
                        }
                        [if e < threshold { 0.0 } else { gain * e / 100.0 }; 3]
                    }
                }))
            });
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
    let mut harness = page([230, 170], 1.0);
    let view = view(30.0, 21.0, 3.0);
    one_cell(&mut harness, cell(), &one.source("one"), view);
    let reference = harness.state_mut().canvas.image(&two.source("two"));
    set(&mut harness, |paint| {
        paint.reference = Some(reference);
        paint.mode = Mode::Difference {
            metric: Metric::DeltaE2000,
            gain: 20.0,
            threshold: 0.0,
        };
    });
    let drawn = drawn(&mut harness);
    compare(
        &drawn,
        cell(),
        1.0,
        &view,
        size_of(&one),
        1,
        10_000,
        |pos| {
            let e = delta_e_2000(lab(unit(one.texel(pos))), lab(unit(two.texel(pos))));
            Some(bytes([20.0 * e / 100.0; 3]))
        },
    );
}

#[test]
fn the_wipe_stands_in_the_picture_also_while_zoomed() {
    for zoom in [1.0, 3.0, 7.0] {
        let (mut harness, one, two, view) = two_pictures(zoom);
        for split_in_image in [0.0, 12.25, 18.0, 37.0] {
            set(&mut harness, |paint| {
                paint.mode = Mode::Wipe { split_in_image }
            });
            let drawn = drawn(&mut harness);
            compare(&drawn, cell(), 1.0, &view, size_of(&one), 0, 600, |pos| {
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
                        Channel::Luma => [luma(c); 3],
                    }))
                },
            );
        }
    }
}

/// A mask of odd size: a bar, a dot and a corner.
fn mask(width: u32, height: u32) -> Vec<bool> {
    (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .map(|(x, y)| {
            (6..14).contains(&x) && (5..8).contains(&y) || (x, y) == (22, 15) || x + y < 2
        })
        .collect()
}

/// A picture with a mask of other size over it.
fn masked(picture: &Picture, mask_size: [u32; 2], view: View) -> (Harness, Vec<f32>) {
    let mut harness = page([230, 170], 1.0);
    one_cell(&mut harness, cell(), &picture.source("picture"), view);
    let distance_px = distances(
        mask_size[0],
        mask_size[1],
        &mask(mask_size[0], mask_size[1]),
    );
    let field = DistanceField {
        size: mask_size,
        distance_px: &distance_px,
        raw: None,
    };
    harness.state_mut().canvas.set_field(FIELD, &field).unwrap();
    set(&mut harness, |paint| paint.mask = Some(FIELD));
    (harness, distance_px)
}

fn field_texel(distance_px: &[f32], mask_size: [u32; 2], pos: [f64; 2], size: [f64; 2]) -> f64 {
    let at = [0, 1].map(|i| (pos[i] * f64::from(mask_size[i]) / size[i] + 0.001).floor() as usize);
    f64::from(distance_px[at[1] * mask_size[0] as usize + at[0]])
}

#[test]
fn the_tint_covers_the_dilated_mask_and_nothing_else() {
    let picture = Picture::flat(62, 42, [100, 100, 100, 255]);
    let mask_size = [31, 21];
    for zoom in [1.0, 2.0, 5.0] {
        let view = view(31.0, 21.0, zoom);
        let (mut harness, field) = masked(&picture, mask_size, view);
        for dilate_px in [0.0, 1.0, 2.5, 5.0, 8.0] {
            set(&mut harness, |paint| {
                paint.overlay = Overlay::Tint;
                paint.overlay_strength = 1.0;
                paint.dilate_px = dilate_px;
            });
            let drawn = drawn(&mut harness);
            compare(
                &drawn,
                cell(),
                1.0,
                &view,
                size_of(&picture),
                1,
                2500,
                |pos| {
                    let distance = field_texel(&field, mask_size, pos, size_of(&picture));
                    let is_in = distance <= f64::from(dilate_px) + 1e-6;
                    Some(if is_in { [255, 0, 153] } else { [100; 3] })
                },
            );
        }
    }
}

#[test]
fn mask_views_show_what_the_model_sees() {
    let picture = Picture::noise(62, 42, 9);
    let fill = Picture::noise(62, 42, 10);
    let mask_size = [31, 21];
    let view = view(31.0, 21.0, 3.0);
    let (mut harness, field) = masked(&picture, mask_size, view);
    let reference = harness.state_mut().canvas.image(&fill.source("fill"));
    let dilate_px = 3.0;
    set(&mut harness, |paint| {
        paint.reference = Some(reference);
        paint.dilate_px = dilate_px;
    });
    for mode in [
        Mode::Mask,
        Mode::MaskedPicture,
        Mode::Composite { feather_px: 0.0 },
        Mode::Composite { feather_px: 2.0 },
    ] {
        set(&mut harness, |paint| paint.mode = mode);
        let drawn = drawn(&mut harness);
        compare(
            &drawn,
            cell(),
            1.0,
            &view,
            size_of(&picture),
            1,
            20_000,
            |pos| {
                let distance = field_texel(&field, mask_size, pos, size_of(&picture));
                let is_in = distance <= f64::from(dilate_px) + 1e-6;
                let own = unit(picture.texel(pos));
                let other = unit(fill.texel(pos));
                Some(bytes(match mode {
                    Mode::Mask => [f64::from(u8::from(is_in)); 3],
                    Mode::MaskedPicture if is_in => [0.5; 3],
                    Mode::Composite { feather_px } => {
                        let sigma = f64::from(feather_px);
                        let weight = if distance <= 0.0 {
                            1.0
                        } else if !is_in {
                            0.0
                        } else if sigma == 0.0 {
                            1.0
                        } else {
                            let x = (f64::from(dilate_px) + 0.5 - distance) / sigma;
                            1.0 / (1.0 + (-1.702 * x).exp())
                        };
                        [0, 1, 2].map(|i| other[i] + (own[i] - other[i]) * weight)
                    }
                    _ => own,
                }))
            },
        );
    }
}

#[test]
fn outlines_are_seen_on_black_and_on_white_and_look_different() {
    for grey in [0_u8, 255] {
        let picture = Picture::flat(62, 42, [grey, grey, grey, 255]);
        let (mut harness, _) = masked(&picture, [31, 21], view(31.0, 21.0, 3.0));
        set(&mut harness, |paint| {
            paint.overlay = Overlay::Outline;
            paint.dilate_px = 4.0;
        });
        let outline = drawn(&mut harness);
        let count = |color: [u8; 3]| outline.pixels().filter(|p| p.0[..3] == color).count();
        let other = 255 - grey;
        assert!(
            count([other; 3]) > 100,
            "the solid outline is lost on {grey}"
        );
        assert!(
            count([255, 209, 0]) > 100,
            "the dashed outline is lost on {grey}"
        );
        set(&mut harness, |paint| paint.overlay = Overlay::Ring);
        let ring = drawn(&mut harness);
        let changed = ring
            .pixels()
            .zip(outline.pixels())
            .filter(|(a, b)| a != b)
            .count();
        assert!(changed > 500, "the ring is not seen on {grey}: {changed}");
        set(&mut harness, |paint| paint.overlay = Overlay::Off);
        let off = drawn(&mut harness);
        let is_plain = |p: &image::Rgba<u8>| p.0[..3] == [grey; 3] || p.0[..3] == [64; 3];
        let touched = off
            .enumerate_pixels()
            .filter(|(x, y, p)| in_cell(*x, *y) && !is_plain(p));
        assert_eq!(touched.count(), 0, "off draws nothing over the picture");
    }
}

fn in_cell(x: u32, y: u32) -> bool {
    cell().contains(pos2(x as f32 + 0.5, y as f32 + 0.5))
}

#[test]
fn an_outline_is_as_thick_at_any_zoom() {
    let picture = Picture::flat(64, 64, [0, 0, 0, 255]);
    for zoom in [0.5, 1.0, 2.0, 6.0, 20.0] {
        let mut harness = page([230, 170], 1.0);
        one_cell(
            &mut harness,
            cell(),
            &picture.source("picture"),
            view(32.0, 32.0, zoom),
        );
        // The right half is masked: one straight edge.
        let half: Vec<bool> = (0..64 * 64).map(|i| i % 64 >= 32).collect();
        let distance_px = distances(64, 64, &half);
        let field = DistanceField {
            size: [64, 64],
            distance_px: &distance_px,
            raw: None,
        };
        harness.state_mut().canvas.set_field(FIELD, &field).unwrap();
        set(&mut harness, |paint| {
            paint.mask = Some(FIELD);
            paint.overlay = Overlay::Outline;
        });
        let drawn = drawn(&mut harness);
        let row = 5 + 151 / 2;
        let white = (11..214)
            .filter(|x| drawn.get_pixel(*x, row).0[..3] == [255; 3])
            .count();
        assert!((1..=3).contains(&white), "{white} pixels thick at {zoom}");
    }
}

#[test]
fn gained_lost_and_specks_are_told_apart() {
    let picture = Picture::flat(40, 40, [90, 90, 90, 255]);
    let mut harness = page([230, 170], 1.0);
    one_cell(
        &mut harness,
        cell(),
        &picture.source("picture"),
        view(20.0, 20.0, 3.0),
    );
    let after: Vec<bool> = (0..1600).map(|i| (10..20).contains(&(i % 40))).collect();
    let distance_px = distances(40, 40, &after);
    let raw: Vec<RawMask> = (0..1600)
        .map(|i| match i % 40 {
            15..25 => RawMask::On,
            30..33 => RawMask::Speck,
            _ => RawMask::Off,
        })
        .collect();
    let field = DistanceField {
        size: [40, 40],
        distance_px: &distance_px,
        raw: Some(&raw),
    };
    harness.state_mut().canvas.set_field(FIELD, &field).unwrap();
    set(&mut harness, |paint| {
        paint.mask = Some(FIELD);
        paint.overlay = Overlay::Change;
        paint.overlay_strength = 1.0;
    });
    let drawn = drawn(&mut harness);
    let columns = |color: [u8; 3]| drawn.pixels().filter(|p| p.0[..3] == color).count() / (3 * 120);
    // Gained: 10..15, lost: 20..25, specks: 30..33; three screen pixels to a texel.
    assert_eq!(columns([26, 217, 77]), 5);
    assert_eq!(columns([255, 77, 26]), 5);
    assert_eq!(columns([191, 102, 255]), 3);
}

#[test]
fn the_token_grid_has_a_line_every_16_texels() {
    let picture = Picture::flat(96, 64, [90, 90, 90, 255]);
    let mut harness = page([230, 170], 1.0);
    let view = view(48.0, 32.0, 2.0);
    one_cell(&mut harness, cell(), &picture.source("picture"), view);
    let field = DistanceField {
        size: [96, 64],
        distance_px: &vec![1e9; 96 * 64],
        raw: None,
    };
    harness.state_mut().canvas.set_field(FIELD, &field).unwrap();
    set(&mut harness, |paint| {
        paint.mask = Some(FIELD);
        paint.has_token_grid = true;
    });
    let drawn = drawn(&mut harness);
    let map = fill_audit::ui::canvas::CellMap::new(cell(), 1.0, &view);
    let y = map.to_ui([8.0, 8.0]).y as u32;
    let lines: Vec<i64> = (12..213)
        .filter(|x| drawn.get_pixel(*x, y).0[..3] != [90; 3] && drawn.get_pixel(*x, y).0[0] != 64)
        .map(|x| map.to_image(pos2(x as f32 + 0.5, y as f32))[0].floor() as i64)
        .collect();
    assert_eq!(lines, [0, 16, 32, 48, 64, 80]);
}
