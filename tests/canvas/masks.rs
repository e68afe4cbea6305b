//! The mask as the shader draws it against the mask that is saved, pixel for pixel at 100 %: whole pictures,
//! pictures of other sizes than the mask's, crops.

use eframe::egui::{Rect, pos2, vec2};
use fill_audit::imaging::composite::Placement;
use fill_audit::imaging::mask::binary::PixelBox;
use fill_audit::imaging::mask::{BinaryMask, DistanceField, disc, feather};
use fill_audit::ui::canvas::{
    CellMap, CellPaint, DistanceField as Field, FieldId, ImageBox, Mode, Overlay, View,
};

use super::{
    formulas::{bytes, unit},
    page::{Page, Picture, drawn, one_cell, page},
};

type Harness = egui_kittest::Harness<'static, Page>;

const FIELD: FieldId = FieldId(9);

/// Radii of the slider, of typing, and such as lie right beside a whole squared distance.
const RADII: [f32; 12] = [
    0.0,
    0.5,
    1.0,
    std::f32::consts::SQRT_2,
    1.414_213_7,
    1.5,
    5.385_16,
    8.0,
    12.3,
    17.2,
    32.0,
    200.0,
];

fn disc_of(x: u32, y: u32, centre: [f32; 2], radius: f32) -> bool {
    (x as f32 - centre[0]).hypot(y as f32 - centre[1]) <= radius
}

/// Masks with corners, curves, threads, holes and specks; one without any white.
fn shapes(width: u32, height: u32) -> Vec<(&'static str, BinaryMask)> {
    let middle = [width as f32 / 2.0, height as f32 / 2.0];
    let of = |is_white: &dyn Fn(u32, u32) -> bool| BinaryMask::from_fn(width, height, is_white);
    vec![
        (
            "a bar that touches the frame",
            of(&|x, y| x < width / 3 && (height / 2..height / 2 + 5).contains(&y)),
        ),
        (
            "a ring with a thread",
            of(&|x, y| {
                let ring = disc_of(x, y, middle, 17.0) && !disc_of(x, y, middle, 11.0);
                ring || x.abs_diff(y) == 0
            }),
        ),
        (
            "specks",
            of(&|x, y| (x.wrapping_mul(7) ^ y.wrapping_mul(13)).is_multiple_of(211)),
        ),
        (
            "one pixel in a corner",
            of(&|x, y| x == width - 1 && y == 0),
        ),
        ("nothing", of(&|_, _| false)),
    ]
}

/// A cell that shows all of a picture at 100 %.
fn cell(size: (u32, u32)) -> (Rect, View) {
    let rect = Rect::from_min_size(pos2(7.0, 3.0), vec2(size.0 as f32, size.1 as f32));
    let view = View {
        center_in_image: [f64::from(size.0) / 2.0, f64::from(size.1) / 2.0],
        zoom: 1.0,
    };
    (rect, view)
}

fn box_of(area: PixelBox) -> ImageBox {
    ImageBox {
        min: [f64::from(area.x), f64::from(area.y)],
        max: [f64::from(area.right()), f64::from(area.bottom())],
    }
}

/// A page with one cell that shows a picture of the placement's size with the field in its region.
fn placed(placement: &Placement, picture: &Picture) -> Harness {
    let (rect, view) = cell(placement.image_size);
    let (width, height) = placement.image_size;
    let mut harness = page([width + 20, height + 10], 1.0);
    one_cell(&mut harness, rect, &picture.source("picture"), view);
    set(&mut harness, |paint| {
        paint.size_in_image = Some([f64::from(width), f64::from(height)]);
        paint.mask = Some(FIELD);
        paint.mask_box = Some(box_of(placement.region));
    });
    harness
}

fn set(harness: &mut Harness, change: impl FnOnce(&mut CellPaint)) {
    change(&mut harness.state_mut().cells[0].paint);
}

fn upload(harness: &mut Harness, mask: &BinaryMask) {
    let field = DistanceField::to_white(mask);
    let distance_px = field.distance_f32();
    let (width, height) = field.size();
    let field = Field {
        size: [width, height],
        distance_px: &distance_px,
        raw: None,
    };
    harness.state_mut().canvas.set_field(FIELD, &field).unwrap();
}

/// Every pixel of the picture with what is drawn of it.
fn pixels(harness: &mut Harness, placement: &Placement) -> Vec<((u32, u32), [u8; 3])> {
    let (rect, view) = cell(placement.image_size);
    let drawn = drawn(harness);
    let map = CellMap::new(rect, 1.0, &view);
    let (width, height) = placement.image_size;
    (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .map(|(x, y)| {
            let at = map.to_ui([f64::from(x) + 0.5, f64::from(y) + 0.5]);
            let [r, g, b, _] = drawn.get_pixel(at.x as u32, at.y as u32).0;
            ((x, y), [r, g, b])
        })
        .collect()
}

fn placements() -> [(&'static str, Placement); 5] {
    let crop = |x, y, width, height| PixelBox {
        x,
        y,
        width,
        height,
    };
    [
        (
            "the picture's own size",
            Placement::whole((131, 97), (131, 97)),
        ),
        // Ratios whose fractions lie closer to whole numbers than f32 can tell.
        ("a smaller mask", Placement::whole((251, 167), (112, 80))),
        (
            "a much smaller mask",
            Placement::whole((509, 331), (64, 48)),
        ),
        (
            "an enlarged crop",
            Placement {
                image_size: (160, 120),
                region: crop(37, 21, 83, 61),
                inference_size: (128, 96),
            },
        ),
        (
            "a reduced crop",
            Placement {
                image_size: (307, 211),
                region: crop(11, 5, 233, 199),
                inference_size: (112, 96),
            },
        ),
    ]
}

#[test]
fn the_shader_s_mask_is_the_saved_one_pixel_for_pixel_at_full_size() {
    for (place, placement) in placements() {
        let (width, height) = placement.image_size;
        let picture = Picture::flat(width, height, [90, 90, 90, 255]);
        let mut harness = placed(&placement, &picture);
        set(&mut harness, |paint| paint.mode = Mode::Mask);
        for (shape, mask) in shapes(placement.inference_size.0, placement.inference_size.1) {
            upload(&mut harness, &mask);
            for radius_px in RADII {
                set(&mut harness, |paint| paint.dilate_px = radius_px);
                let saved = disc::dilate(&mask, radius_px);
                let mut differing = 0;
                for ((x, y), shown) in pixels(&mut harness, &placement) {
                    let at = placement.inference_pixel(x, y);
                    let is_white = at.is_some_and(|(u, v)| saved.is_white(u, v));
                    let expected = if is_white { [255; 3] } else { [0; 3] };
                    differing += usize::from(shown != expected);
                }
                assert_eq!(differing, 0, "{place}, {shape}, {radius_px} px");
            }
        }
    }
}

#[test]
fn in_a_crop_the_live_composite_shows_the_fill_where_it_was_made() {
    let placement = Placement {
        image_size: (160, 120),
        region: PixelBox {
            x: 37,
            y: 21,
            width: 80,
            height: 64,
        },
        inference_size: (80, 64),
    };
    let (photo, fill) = (Picture::noise(160, 120, 1), Picture::noise(80, 64, 2));
    let mask = BinaryMask::from_fn(80, 64, |x, y| {
        (20..50).contains(&x) && (25..40).contains(&y)
    });
    let mut harness = placed(&placement, &fill);
    upload(&mut harness, &mask);
    let reference = harness.state_mut().canvas.image(&photo.source("photo"));
    let (dilate_px, feather_px) = (6.0, 2.0);
    set(&mut harness, |paint| {
        paint.reference = Some(reference);
        paint.image_box = Some(box_of(placement.region));
        paint.mode = Mode::Composite { feather_px };
        paint.dilate_px = dilate_px;
    });
    let field = DistanceField::to_white(&mask);
    let (mut outside, mut inside, mut between) = (0, 0, 0);
    for ((x, y), shown) in pixels(&mut harness, &placement) {
        let own = [0, 1, 2].map(|i| photo.at(x, y)[i]);
        let Some((u, v)) = placement.inference_pixel(x, y) else {
            assert_eq!(shown, own, "around the crop, at {x},{y}");
            outside += 1;
            continue;
        };
        let distance = f64::from(field.squared_at(u, v)).sqrt();
        let weight = if distance <= 0.0 {
            inside += 1;
            1.0
        } else if distance > f64::from(dilate_px) {
            outside += 1;
            0.0
        } else {
            between += 1;
            let t = (f64::from(dilate_px) + 0.5 - distance) / f64::from(feather_px);
            1.0 / (1.0 + (-1.702 * t).exp())
        };
        let (a, b) = (unit(photo.at(x, y)), unit(fill.at(u, v)));
        let expected = bytes([0, 1, 2].map(|i| a[i] + (b[i] - a[i]) * weight));
        for (shown, expected) in shown.into_iter().zip(expected) {
            assert!(shown.abs_diff(expected) <= 1, "at {x},{y}: weight {weight}");
        }
    }
    assert!(outside > 10_000 && inside == 450 && between > 500);
}

/// The live weight stands in for the exact feather: along a straight edge to within a few levels.
#[test]
fn the_live_weight_is_near_the_exact_feather() {
    let mask = BinaryMask::from_fn(120, 90, |x, y| {
        (40..80).contains(&x) && (30..60).contains(&y)
    });
    let placement = Placement::whole((120, 90), (120, 90));
    let mut harness = placed(&placement, &Picture::flat(120, 90, [255; 4]));
    upload(&mut harness, &mask);
    let black = Picture::flat(120, 90, [0, 0, 0, 255]);
    let reference = harness.state_mut().canvas.image(&black.source("black"));
    let (dilate_px, feather_px) = (10.0, 4.0);
    set(&mut harness, |paint| {
        paint.reference = Some(reference);
        paint.mode = Mode::Composite { feather_px };
        paint.dilate_px = dilate_px;
    });
    let exact = feather(&disc::dilate(&mask, dilate_px), feather_px);
    let row = 45;
    for ((x, y), [shown, ..]) in pixels(&mut harness, &placement) {
        if y == row && (30..40).contains(&x) {
            let exact = exact.get_pixel(x, y).0[0];
            assert!(
                shown.abs_diff(exact) <= 5,
                "at {x}: {shown}, exactly {exact}"
            );
        }
    }
}

#[test]
fn in_a_crop_the_token_grid_begins_at_the_crop_s_corner() {
    let placement = Placement {
        image_size: (200, 150),
        region: PixelBox {
            x: 21,
            y: 13,
            width: 144,
            height: 96,
        },
        inference_size: (96, 64),
    };
    let picture = Picture::flat(200, 150, [90, 90, 90, 255]);
    let mut harness = placed(&placement, &picture);
    upload(&mut harness, &BinaryMask::black(96, 64));
    set(&mut harness, |paint| {
        paint.has_token_grid = true;
        paint.shown_box = paint.mask_box;
    });
    let (mut columns, mut rows) = (Vec::new(), Vec::new());
    for ((x, y), shown) in pixels(&mut harness, &placement) {
        if placement.inference_pixel(x, y).is_none() {
            assert_eq!(shown, [64; 3], "around the crop, at {x},{y}");
            continue;
        }
        // Away from the lines that cross.
        if y == 20 && shown != [90; 3] {
            columns.push(x);
        }
        if x == 30 && shown != [90; 3] {
            rows.push(y);
        }
    }
    // 16 tokens' pixels are 24 of the picture's here.
    assert_eq!(columns, [21, 45, 69, 93, 117, 141]);
    assert_eq!(rows, [13, 37, 61, 85]);
}

#[test]
fn the_tint_of_a_crop_ends_where_the_crop_does() {
    let placement = Placement {
        image_size: (160, 120),
        region: PixelBox {
            x: 40,
            y: 30,
            width: 64,
            height: 48,
        },
        inference_size: (64, 48),
    };
    let mut harness = placed(&placement, &Picture::flat(160, 120, [100, 100, 100, 255]));
    // White up to the crop's right edge: growing does not go on beyond what was inferred.
    let mask = BinaryMask::from_fn(64, 48, |x, _| x > 50);
    upload(&mut harness, &mask);
    set(&mut harness, |paint| {
        paint.overlay = Overlay::Tint;
        paint.overlay_strength = 1.0;
        paint.dilate_px = 8.0;
    });
    let saved = disc::dilate(&mask, 8.0);
    for ((x, y), shown) in pixels(&mut harness, &placement) {
        let at = placement.inference_pixel(x, y);
        let is_white = at.is_some_and(|(u, v)| saved.is_white(u, v));
        let expected = if is_white { [255, 0, 153] } else { [100; 3] };
        assert_eq!(shown, expected, "at {x},{y}");
    }
}
