//! Mask views and overlays as the shader draws them, against `imaging`'s masks: dilation, ring, clean-up,
//! what the model sees, the composite while it is dragged.

use eframe::egui::pos2;
use fill_audit::imaging::composite::masked_picture;
use fill_audit::imaging::mask::feather::approximate_weight;
use fill_audit::imaging::mask::{
    BinaryMask, DistanceField as Distances, MaskStages, ProcessedMask, disc, process,
};
use fill_audit::model::mask_recipe::MaskRecipe;
use fill_audit::ui::canvas::{DistanceField, FieldId, Mode, Overlay, RawMask, View};
use image::{GrayImage, Luma};

use super::{
    page::{Page, Picture, compare, drawn, one_cell, page},
    shader::{cell, set, size_of, view},
};

type Harness = egui_kittest::Harness<'static, Page>;

const FIELD: FieldId = FieldId(7);
/// Strength of tint and stripes at which the colour itself is seen.
const FULL: f32 = 1.0;

/// Pictures with masks of other sizes: twice as fine, as fine, finer by an odd factor and not square, and
/// coarser.
const SIZES: [([u32; 2], [u32; 2]); 4] = [
    ([62, 42], [31, 21]),
    ([31, 21], [31, 21]),
    ([93, 35], [31, 21]),
    ([33, 47], [66, 94]),
];

/// A mask with a bar, a dot and a corner, whatever its size.
fn square_mask(width: u32, height: u32) -> BinaryMask {
    BinaryMask::from_fn(width, height, |x, y| {
        (6..14).contains(&x) && (5..8).contains(&y) || (x, y) == (22, 15) || x + y < 2
    })
}

/// A picture with a mask over it.
fn masked(picture: &Picture, mask: &BinaryMask, view: View) -> Harness {
    let mut harness = page([230, 170], 1.0);
    one_cell(&mut harness, cell(), &picture.source("picture"), view);
    let distance_px = Distances::to_white(mask).distance_f32();
    let field = DistanceField {
        size: [mask.width(), mask.height()],
        distance_px: &distance_px,
        raw: None,
    };
    harness.state_mut().canvas.set_field(FIELD, &field).unwrap();
    set(&mut harness, |paint| paint.mask = Some(FIELD));
    harness
}

/// The pixel of a mask under a point of the picture, both stretched over the same space.
fn texel(mask: [u32; 2], pos: [f64; 2], picture: &Picture) -> (u32, u32) {
    let size = size_of(picture);
    let [x, y] = [0, 1].map(|i| (pos[i] * f64::from(mask[i]) / size[i] + 0.001).floor() as u32);
    (x, y)
}

fn middle(picture: &Picture, zoom: f64) -> View {
    let [width, height] = size_of(picture);
    view(width / 2.0, height / 2.0, zoom)
}

#[test]
fn the_tint_covers_the_dilated_mask_and_nothing_else() {
    for (size, mask_size) in SIZES {
        let picture = Picture::flat(size[0], size[1], [100, 100, 100, 255]);
        let mask = square_mask(mask_size[0], mask_size[1]);
        for zoom in [1.0, 2.0, 5.0] {
            let view = middle(&picture, zoom);
            let mut harness = masked(&picture, &mask, view);
            for dilate_px in [0.0, 1.0, 2.5, 5.0, 8.0] {
                set(&mut harness, |paint| {
                    paint.overlay = Overlay::Tint;
                    paint.overlay_strength = FULL;
                    paint.dilate_px = dilate_px;
                });
                let grown = disc::dilate(&mask, dilate_px);
                let drawn = drawn(&mut harness);
                compare(
                    &drawn,
                    cell(),
                    1.0,
                    &view,
                    size_of(&picture),
                    1,
                    400,
                    |pos| {
                        let (x, y) = texel(mask_size, pos, &picture);
                        let tinted = [255, 0, 153];
                        Some(if grown.is_white(x, y) {
                            tinted
                        } else {
                            [100; 3]
                        })
                    },
                );
            }
        }
    }
}

#[test]
fn the_ring_is_what_growing_adds() {
    let picture = Picture::flat(62, 42, [100, 100, 100, 255]);
    let cleaned = square_mask(31, 21);
    for (zoom, dilate_px) in [(6.0, 6.0), (8.0, 4.5)] {
        let view = middle(&picture, zoom);
        let mut harness = masked(&picture, &cleaned, view);
        set(&mut harness, |paint| {
            paint.overlay = Overlay::Ring;
            paint.overlay_strength = FULL;
            paint.dilate_px = dilate_px;
        });
        let mask = ProcessedMask {
            raw: cleaned.clone(),
            grown: disc::dilate(&cleaned, dilate_px),
            cleaned: cleaned.clone(),
        };
        let ring = mask.ring();
        let drawn = drawn(&mut harness);
        let kinds = |pos: [f64; 2]| {
            let (x, y) = texel([31, 21], pos, &picture);
            (mask.cleaned.is_white(x, y), mask.grown.is_white(x, y))
        };
        let stripes = [[0, 191, 255], [65; 3]];
        let mut seen = [0_usize; 2];
        let map = fill_audit::ui::canvas::CellMap::new(cell(), 1.0, &view);
        for (px, py, pixel) in drawn.enumerate_pixels() {
            let pos = map.to_image(pos2(px as f32 + 0.5, py as f32 + 0.5));
            let is_clear = (-4..=4).all(|dx| {
                (-4..=4).all(|dy| {
                    let near = [pos[0] + f64::from(dx) / zoom, pos[1] + f64::from(dy) / zoom];
                    let is_inside = near[0] >= 0.0
                        && near[1] >= 0.0
                        && near[0] < 62.0
                        && near[1] < 42.0
                        && in_cell(px, py);
                    is_inside && kinds(near) == kinds(pos)
                })
            });
            // The outlines lie where the kind changes.
            if !is_clear {
                continue;
            }
            let (x, y) = texel([31, 21], pos, &picture);
            let colour = [0, 1, 2].map(|i| pixel.0[i]);
            let is_near =
                |other: [u8; 3]| colour.iter().zip(other).all(|(a, b)| a.abs_diff(b) <= 1);
            if ring.is_white(x, y) {
                seen[0] += 1;
                assert!(
                    stripes.into_iter().any(is_near),
                    "ring at {pos:?}: {colour:?}"
                );
            } else {
                seen[1] += 1;
                assert!(is_near([100; 3]), "no ring at {pos:?}: {colour:?}");
            }
        }
        assert!(seen[0] > 200 && seen[1] > 200, "{seen:?}");
    }
}

#[test]
fn mask_views_show_what_the_model_sees() {
    let dilate_px = 3.0;
    for (size, mask_size) in SIZES {
        let picture = Picture::noise(size[0], size[1], 9);
        let fill = Picture::noise(size[0], size[1], 10);
        let mask = square_mask(mask_size[0], mask_size[1]);
        let grown = disc::dilate(&mask, dilate_px);
        let distances = Distances::to_white(&mask).distance_f32();
        let is_same_size = size == mask_size;
        for zoom in [1.0, 3.0] {
            let view = middle(&picture, zoom);
            let mut harness = masked(&picture, &mask, view);
            let reference = harness.state_mut().canvas.image(&fill.source("fill"));
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
                let given = is_same_size.then(|| masked_picture(&picture.rgb(), &grown).unwrap());
                let drawn = drawn(&mut harness);
                compare(
                    &drawn,
                    cell(),
                    1.0,
                    &view,
                    size_of(&picture),
                    1,
                    400,
                    |pos| {
                        let (x, y) = texel(mask_size, pos, &picture);
                        let own = [0, 1, 2].map(|i| picture.texel(pos)[i]);
                        Some(match (mode, &given) {
                            (Mode::Mask, _) => [if grown.is_white(x, y) { 255 } else { 0 }; 3],
                            (Mode::MaskedPicture, Some(given)) => given.get_pixel(x, y).0,
                            (Mode::MaskedPicture, None) if grown.is_white(x, y) => [128; 3],
                            (Mode::Composite { feather_px }, _) => {
                                let distance = distances[(y * mask_size[0] + x) as usize];
                                let weight = approximate_weight(distance, dilate_px, feather_px);
                                let other = fill.texel(pos);
                                [0, 1, 2].map(|i| {
                                    let (from, to) = (f32::from(other[i]), f32::from(own[i]));
                                    (from + (to - from) * weight).round() as u8
                                })
                            }
                            _ => own,
                        })
                    },
                );
            }
        }
    }
}

#[test]
fn gained_lost_and_specks_are_what_clean_up_makes_of_the_mask() {
    // A bar with a thin tail that opening removes, and a speck.
    let grey = GrayImage::from_fn(64, 48, |x, y| {
        let bar = (12..40).contains(&x) && (18..30).contains(&y);
        let tail = (40..56).contains(&x) && y == 22;
        let speck = (5..8).contains(&x) && (5..8).contains(&y);
        Luma([if bar || tail || speck { 255 } else { 0 }])
    });
    let recipe = MaskRecipe {
        dilate_px: 3.0,
        ..MaskRecipe::default()
    };
    let mask = process(&grey, &recipe);
    let specks = MaskStages::new(grey, recipe.clone()).specks();
    let (added, removed) = (mask.added(), mask.removed());
    assert!(!added.is_empty() && !specks.is_empty() && removed.white_px() > specks.white_px());
    let raw: Vec<RawMask> = (0..48)
        .flat_map(|y| (0..64).map(move |x| (x, y)))
        .map(
            |(x, y)| match (specks.is_white(x, y), mask.raw.is_white(x, y)) {
                (true, _) => RawMask::Speck,
                (false, true) => RawMask::On,
                (false, false) => RawMask::Off,
            },
        )
        .collect();
    let distance_px = Distances::to_white(&mask.cleaned).distance_f32();
    for (size, zoom) in [([64, 48], 3.0), ([64, 48], 1.0), ([77, 41], 4.0)] {
        let picture = Picture::flat(size[0], size[1], [90, 90, 90, 255]);
        let view = middle(&picture, zoom);
        let mut harness = page([230, 170], 1.0);
        one_cell(&mut harness, cell(), &picture.source("picture"), view);
        let field = DistanceField {
            size: [64, 48],
            distance_px: &distance_px,
            raw: Some(&raw),
        };
        harness.state_mut().canvas.set_field(FIELD, &field).unwrap();
        set(&mut harness, |paint| {
            paint.mask = Some(FIELD);
            paint.overlay = Overlay::Change;
            paint.overlay_strength = FULL;
            paint.dilate_px = recipe.dilate_px;
        });
        let drawn = drawn(&mut harness);
        compare(
            &drawn,
            cell(),
            1.0,
            &view,
            size_of(&picture),
            1,
            2000,
            |pos| {
                let (x, y) = texel([64, 48], pos, &picture);
                Some(if added.is_white(x, y) {
                    [26, 217, 77]
                } else if specks.is_white(x, y) && removed.is_white(x, y) {
                    [191, 102, 255]
                } else if removed.is_white(x, y) {
                    [255, 77, 26]
                } else {
                    [90; 3]
                })
            },
        );
    }
}

#[test]
fn outlines_are_seen_on_black_and_on_white_and_look_different() {
    for grey in [0_u8, 255] {
        let picture = Picture::flat(62, 42, [grey, grey, grey, 255]);
        let mut harness = masked(&picture, &square_mask(31, 21), view(31.0, 21.0, 3.0));
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
        let half = BinaryMask::from_fn(64, 64, |x, _| x >= 32);
        let distance_px = Distances::to_white(&half).distance_f32();
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
