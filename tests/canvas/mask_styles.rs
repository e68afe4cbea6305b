//! What lies over the photograph in the mask lab: each style told apart from the others, on black, on white
//! and on grass.

use eframe::egui::{Rect, pos2, vec2};
use fill_audit::imaging::difference::luma;
use fill_audit::ui::canvas::{CellMap, DistanceField, FieldId, Overlay, RawMask, View};
use std::collections::BTreeMap;

use super::page::{Picture, drawn, one_cell, page};

const FIELD: FieldId = FieldId(11);
const WHITE: [u8; 3] = [255; 3];
const BLACK: [u8; 3] = [0; 3];
const GROWN: [u8; 3] = [255, 209, 0];

/// Columns of the field: mask, ring, free, uncovered, free, specks.
const MASK_END: u32 = 12;
const GROWN_BY: u32 = 8;
const UNCOVERED: std::ops::Range<u32> = 28..36;
const SPECKS: std::ops::Range<u32> = 44..52;
const SIDE: u32 = 60;
const ZOOM: f64 = 6.0;

/// Straight upright edges on a ground of one colour, as the lab draws them over the photograph: the
/// colours of each column of screen pixels.
fn columns_on(ground: [u8; 3]) -> Vec<BTreeMap<[u8; 3], usize>> {
    let [r, g, b] = ground;
    let picture = Picture::flat(SIDE, SIDE, [r, g, b, 255]);
    let side = SIDE as f32 * ZOOM as f32;
    let mut harness = page([side as u32 + 10, side as u32 + 10], 1.0);
    let rect = Rect::from_min_size(pos2(4.0, 6.0), vec2(side, side));
    let middle = f64::from(SIDE) / 2.0;
    let view = View {
        center_in_image: [middle, middle],
        zoom: ZOOM,
    };
    one_cell(&mut harness, rect, &picture.source("ground"), view);
    let across = || (0..SIDE * SIDE).map(|index| index % SIDE);
    let distance_px: Vec<f32> = across()
        .map(|x| (x as f32 - (MASK_END as f32 - 1.0)).max(0.0))
        .collect();
    let raw: Vec<RawMask> = across()
        .map(|x| {
            if x < MASK_END || UNCOVERED.contains(&x) {
                RawMask::On
            } else if SPECKS.contains(&x) {
                RawMask::Speck
            } else {
                RawMask::Off
            }
        })
        .collect();
    let field = DistanceField {
        size: [SIDE, SIDE],
        distance_px: &distance_px,
        raw: Some(&raw),
    };
    harness.state_mut().canvas.set_field(FIELD, &field).unwrap();
    let paint = &mut harness.state_mut().cells[0].paint;
    paint.mask = Some(FIELD);
    paint.overlay = Overlay::Ring;
    paint.dilate_px = GROWN_BY as f32;
    let drawn = drawn(&mut harness);
    let map = CellMap::new(rect, 1.0, &view);
    let left = map.to_ui([0.0; 2]);
    (0..side as u32)
        .map(|x| {
            let mut colours = BTreeMap::new();
            // Along the picture's own edge runs an outline too.
            for y in 4..side as u32 - 4 {
                let pixel = drawn.get_pixel(left.x as u32 + x, left.y as u32 + y).0;
                *colours.entry([pixel[0], pixel[1], pixel[2]]).or_insert(0) += 1;
            }
            colours
        })
        .collect()
}

fn lightness([r, g, b]: [u8; 3]) -> f64 {
    f64::from(luma(image::Rgb([r, g, b]))) / 255.0
}

/// The columns of screen pixels of these columns of the field.
fn zone(
    columns: &[BTreeMap<[u8; 3], usize>],
    texels: std::ops::Range<u32>,
) -> BTreeMap<[u8; 3], usize> {
    let mut all = BTreeMap::new();
    let range = (f64::from(texels.start) * ZOOM) as usize..(f64::from(texels.end) * ZOOM) as usize;
    for (colour, count) in columns[range].iter().flatten() {
        *all.entry(*colour).or_insert(0) += count;
    }
    all
}

/// The part of a zone that stands out from the ground by at least a quarter of the way from black to white.
fn legible_part(zone: &BTreeMap<[u8; 3], usize>, ground: [u8; 3]) -> f64 {
    let stands_out = |colour: &[u8; 3]| (lightness(*colour) - lightness(ground)).abs() >= 0.25;
    let all: usize = zone.values().sum();
    let legible: usize = zone
        .iter()
        .filter(|(colour, _)| stands_out(colour))
        .map(|(_, count)| count)
        .sum();
    legible as f64 / all as f64
}

#[test]
fn outlines_ring_uncovered_and_specks_are_styles_of_their_own_on_any_ground() {
    for ground in [BLACK, WHITE, [96, 128, 60]] {
        let columns = columns_on(ground);
        let height = columns[0].values().sum::<usize>();
        let near =
            |texel: u32, column: usize| (column as f64 - f64::from(texel) * ZOOM).abs() <= 4.0;
        // The original outline: solid white, with black beside it.
        let at_mask = |colour: [u8; 3]| {
            columns
                .iter()
                .enumerate()
                .filter(|(column, _)| near(MASK_END, *column))
                .any(|(_, colours)| colours.get(&colour) == Some(&height))
        };
        assert!(at_mask(WHITE), "no solid white line on {ground:?}");
        assert!(at_mask(BLACK), "no black beside the line on {ground:?}");
        // The grown outline: dashes of yellow and black.
        let dashed = columns
            .iter()
            .enumerate()
            .filter(|(column, _)| near(MASK_END + GROWN_BY, *column))
            .filter(|(_, colours)| {
                let part = |colour| *colours.get(&colour).unwrap_or(&0) as f64 / height as f64;
                part(GROWN) > 0.4 && part(BLACK) > 0.4
            });
        assert!(dashed.count() >= 1, "no dashed line on {ground:?}");

        let ring = zone(&columns, MASK_END + 1..MASK_END + GROWN_BY - 1);
        let uncovered = zone(&columns, UNCOVERED);
        let specks = zone(&columns, SPECKS);
        for (name, zone) in [
            ("ring", &ring),
            ("uncovered", &uncovered),
            ("specks", &specks),
        ] {
            // Stripes: two tones, each of a good part, that differ in lightness too.
            let all: usize = zone.values().sum();
            let tones: Vec<f64> = zone
                .iter()
                .filter(|(_, count)| **count as f64 > 0.3 * all as f64)
                .map(|(colour, _)| lightness(*colour))
                .collect();
            let [one, other] = tones[..] else {
                panic!("{name} on {ground:?}: {zone:?}");
            };
            assert!((one - other).abs() > 0.1, "{name} on {ground:?}: {zone:?}");
            if ground == BLACK || ground == WHITE {
                let legible = legible_part(zone, ground);
                assert!(
                    legible > 0.3,
                    "{name} on {ground:?}: {legible:.2} of it stands out, {zone:?}"
                );
            }
        }
        assert!(
            ring != uncovered && uncovered != specks && specks != ring,
            "two styles look alike on {ground:?}"
        );
        // What none of it concerns is the photograph's.
        let free = zone(&columns, MASK_END + GROWN_BY + 2..UNCOVERED.start - 1);
        assert_eq!(free.keys().collect::<Vec<_>>(), [&ground]);
    }
}
