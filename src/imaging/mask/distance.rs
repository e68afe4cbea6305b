//! The exact squared Euclidean distance of every pixel to the nearest white one.
//!
//! Two passes, after Meijster, Roerdink and Hesselink, "A general algorithm for computing distance
//! transforms in linear time" (2000), and Felzenszwalb and Huttenlocher, "Distance Transforms of
//! Sampled Functions" (2012): distances along columns first, then for each row the lower envelope of
//! the parabolas `(x − i)² + g(i)²`. All in integers, so a comparison with R² is exact. Work is cut into
//! bands of rows, so that what passes between the two passes stays in a core's cache; first it is found
//! what reaches each band from outside.

use std::ops::Range;

use half::f16;
use rayon::prelude::*;

use super::binary::{BinaryMask, WORD, pack};
use super::disc::squared_limit;

/// Squared distance of a pixel in a mask without white.
pub const NO_WHITE: u32 = u32::MAX;

/// A column without white in it.
const FAR: u16 = u16::MAX;

/// Rows of a band.
const BAND_ROWS: usize = 64;

/// Squared Euclidean distances in pixels to the nearest white pixel of a mask: 0 on white,
/// [`NO_WHITE`] everywhere if there is none. Exact for pictures up to 46,340 px on a side.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DistanceField {
    width: u32,
    height: u32,
    /// Row by row.
    squared: Vec<u32>,
    /// The least and the greatest value of each 64 pixels of a row. A dilation only looks at the
    /// pixels of those few that its radius lies between.
    blocks: Vec<(u32, u32)>,
}

/// Rows from outside a band to the nearest white, by column.
struct Reach {
    /// From the band's last row up.
    from_last: Vec<u16>,
    /// From the band's first row down.
    from_first: Vec<u16>,
}

impl DistanceField {
    /// The distances to the white pixels of a mask.
    pub fn to_white(mask: &BinaryMask) -> Self {
        let (width, height) = (mask.width() as usize, mask.height() as usize);
        let mut squared = vec![0_u32; width * height];
        let blocks_per_row = width.div_ceil(WORD);
        let mut blocks = vec![(0_u32, 0_u32); blocks_per_row * height];
        if width > 0 && height > 0 {
            let starts: Vec<usize> = (0..height).step_by(BAND_ROWS).collect();
            let bands: Vec<Range<usize>> = starts
                .into_iter()
                .map(|start| start..(start + BAND_ROWS).min(height))
                .collect();
            let reaches: Vec<Reach> = bands
                .par_iter()
                .map(|rows| Reach::of(mask, rows.clone()))
                .collect();
            let (above, below) = joined(&reaches, &bands, width);
            squared
                .par_chunks_mut(width * BAND_ROWS)
                .zip(blocks.par_chunks_mut(blocks_per_row * BAND_ROWS))
                .zip(above.into_par_iter().zip(below))
                .zip(bands)
                .for_each_init(
                    || (vec![FAR; width * BAND_ROWS], Envelope::default()),
                    |(columns, envelope), (((squared, blocks), (above, below)), rows)| {
                        along_columns(columns, mask, rows, above, below);
                        let rows = squared
                            .chunks_exact_mut(width)
                            .zip(blocks.chunks_exact_mut(blocks_per_row))
                            .zip(columns.chunks_exact(width));
                        for ((squared, blocks), nearest) in rows {
                            envelope.find(nearest);
                            envelope.write(nearest, squared, blocks);
                        }
                    },
                );
        }
        Self {
            width: mask.width(),
            height: mask.height(),
            squared,
            blocks,
        }
    }

    /// The distances to the black pixels of a mask.
    pub fn to_black(mask: &BinaryMask) -> Self {
        Self::to_white(&mask.inverted())
    }

    /// Width and height in pixels.
    pub const fn size(&self) -> (u32, u32) {
        (self.width, self.height)
    }

    /// The squared distances in px², row by row.
    pub fn squared(&self) -> &[u32] {
        &self.squared
    }

    /// The squared distance of one pixel in px²; [`NO_WHITE`] outside the picture.
    pub fn squared_at(&self, x: u32, y: u32) -> u32 {
        if x >= self.width || y >= self.height {
            return NO_WHITE;
        }
        let index = y as usize * self.width as usize + x as usize;
        self.squared.get(index).copied().unwrap_or(NO_WHITE)
    }

    /// The mask grown by a radius in px: white where the squared distance is at most R². Equal to
    /// [`super::disc::dilate`], without computing any distance.
    pub fn dilated(&self, radius_px: f32) -> BinaryMask {
        let mut grown = BinaryMask::black(self.width, self.height);
        self.dilate_into(radius_px, &mut grown);
        grown
    }

    /// [`DistanceField::dilated`] into a mask that is there already, made anew if its size differs.
    pub fn dilate_into(&self, radius_px: f32, grown: &mut BinaryMask) {
        if grown.size() != self.size() {
            *grown = BinaryMask::black(self.width, self.height);
        }
        let width = self.width as usize;
        if width == 0 {
            return;
        }
        // NO_WHITE is within no radius.
        let limit = squared_limit(radius_px)
            .unwrap_or(0)
            .min(u64::from(NO_WHITE - 1)) as u32;
        let words_per_row = grown.words_per_row();
        grown
            .words_mut()
            .par_chunks_mut(words_per_row)
            .zip(self.blocks.par_chunks(words_per_row))
            .zip(self.squared.par_chunks(width))
            .with_min_len(64)
            .for_each(|((words, blocks), squared)| {
                for (index, (word, &(least, greatest))) in words.iter_mut().zip(blocks).enumerate()
                {
                    *word = if least > limit {
                        0
                    } else {
                        let start = index * WORD;
                        let end = width.min(start + WORD);
                        if greatest <= limit {
                            u64::MAX >> (WORD - (end - start))
                        } else {
                            pack(squared.get(start..end).unwrap_or(&[]), |d| d <= limit)
                        }
                    };
                }
            });
    }

    /// The squared distances as a texture's floats: exact up to 4,096 px, so that a shader which
    /// compares with R² agrees with the CPU pixel for pixel. Infinite without white.
    pub fn squared_f32(&self) -> Vec<f32> {
        let float = |&squared: &u32| {
            if squared == NO_WHITE {
                f32::INFINITY
            } else {
                squared as f32
            }
        };
        self.squared.par_iter().map(float).collect()
    }

    /// The distances in px as floats. Infinite without white.
    pub fn distance_f32(&self) -> Vec<f32> {
        self.squared
            .par_iter()
            .map(|&squared| root(squared))
            .collect()
    }
}

/// Signed distances in px as half floats, for outlines of an even width: outside the mask the distance
/// to the nearest white pixel, inside minus the distance to the nearest black one. Neither is ever 0;
/// the outline runs between −1 and 1. Not for deciding which pixel is white: see
/// [`DistanceField::squared_f32`].
pub fn signed_f16(to_white: &DistanceField, to_black: &DistanceField) -> Vec<f16> {
    let signed = |(&outside, &inside): (&u32, &u32)| {
        f16::from_f32(if outside > 0 {
            root(outside)
        } else {
            -root(inside)
        })
    };
    to_white
        .squared
        .par_iter()
        .zip(&to_black.squared)
        .map(signed)
        .collect()
}

fn root(squared: u32) -> f32 {
    if squared == NO_WHITE {
        f32::INFINITY
    } else {
        (squared as f32).sqrt()
    }
}

impl Reach {
    fn of(mask: &BinaryMask, rows: Range<usize>) -> Self {
        Self {
            from_last: rows_until_white(mask, rows.clone().rev()),
            from_first: rows_until_white(mask, rows),
        }
    }
}

/// How many of `rows` come before one that is white in each column.
fn rows_until_white(mask: &BinaryMask, rows: impl Iterator<Item = usize>) -> Vec<u16> {
    let mut until = vec![FAR; mask.width() as usize];
    // Columns that no white was found in yet.
    let mut open = vec![u64::MAX; mask.words_per_row()];
    for (count, y) in (0_u16..).zip(rows) {
        for ((until, open), &word) in until.chunks_mut(WORD).zip(&mut open).zip(mask.row(y)) {
            let mut found = *open & word;
            *open &= !word;
            while found != 0 {
                if let Some(until) = until.get_mut(found.trailing_zeros() as usize) {
                    *until = count;
                }
                found &= found - 1;
            }
        }
    }
    until
}

/// Moves on by a row: 0 where it is white, one more than before elsewhere.
fn one_row_further(reach: &mut [u16], row: &[u64]) {
    for (reach, &word) in reach.chunks_mut(WORD).zip(row) {
        for distance in reach.iter_mut() {
            *distance = distance.saturating_add(1);
        }
        let mut rest = word;
        while rest != 0 {
            if let Some(distance) = reach.get_mut(rest.trailing_zeros() as usize) {
                *distance = 0;
            }
            rest &= rest - 1;
        }
    }
}

/// For each band the rows from the row above it up, and from the row below it down, to the nearest
/// white in each column.
fn joined(
    reaches: &[Reach],
    bands: &[Range<usize>],
    width: usize,
) -> (Vec<Vec<u16>>, Vec<Vec<u16>>) {
    let passed = |far: &[u16], own: &[u16], rows: &Range<usize>| -> Vec<u16> {
        let rows = rows.len() as u16;
        far.iter()
            .zip(own)
            .map(|(&far, &own)| own.min(far.saturating_add(rows)))
            .collect()
    };
    let nothing = vec![FAR; width];
    let mut above = vec![nothing.clone()];
    for (reach, rows) in reaches.iter().zip(bands) {
        let next = passed(above.last().unwrap_or(&nothing), &reach.from_last, rows);
        above.push(next);
    }
    let mut below = vec![nothing.clone()];
    for (reach, rows) in reaches.iter().zip(bands).skip(1).rev() {
        let next = passed(below.last().unwrap_or(&nothing), &reach.from_first, rows);
        below.push(next);
    }
    below.reverse();
    (above, below)
}

/// The pass along columns for the rows of a band: the distance of every pixel to the nearest white one of
/// its column, [`FAR`] without any. `above` and `below` say how far white is from the rows around the band.
fn along_columns(
    columns: &mut [u16],
    mask: &BinaryMask,
    rows: Range<usize>,
    mut above: Vec<u16>,
    mut below: Vec<u16>,
) {
    let width = above.len();
    for (y, nearest) in rows.clone().zip(columns.chunks_exact_mut(width)) {
        one_row_further(&mut above, mask.row(y));
        nearest.copy_from_slice(&above);
    }
    for (y, nearest) in rows.zip(columns.chunks_exact_mut(width)).rev() {
        one_row_further(&mut below, mask.row(y));
        for (nearest, &below) in nearest.iter_mut().zip(&below) {
            *nearest = (*nearest).min(below);
        }
    }
}

/// A parabola `(x − centre)² + base` that is the lowest from `start` on.
#[derive(Clone, Copy)]
struct Parabola {
    start: i64,
    centre: i64,
    /// `centre² + base`: two parabolas differ by a straight line, and this is its height at 0.
    at_zero: i64,
}

/// The pass along a row: the parabolas over its pixels, and the lowest of them at every pixel.
#[derive(Default)]
struct Envelope {
    /// From left to right.
    lowest: Vec<Parabola>,
    /// The centre of the parabola that begins to be the lowest at a pixel, plus one; 0 where none begins.
    begins: Vec<u32>,
}

impl Envelope {
    /// `nearest` is the distance along the column for each pixel of the row, [`FAR`] without any.
    fn find(&mut self, nearest: &[u16]) {
        let lowest = &mut self.lowest;
        lowest.clear();
        let width = nearest.len() as i64;
        let mut last: Option<Parabola> = None;
        let next = nearest.iter().skip(1).chain([&FAR]);
        for (centre, (&distance, &next)) in (0_i64..).zip(nearest.iter().zip(next)) {
            if distance == FAR {
                continue;
            }
            let at_zero = centre * centre + i64::from(distance) * i64::from(distance);
            let mut start = 0;
            if let Some(mut left) = last {
                let mut run = 2 * (centre - left.centre);
                let mut rise = at_zero - left.at_zero;
                // Up to its centre the parabola to the left is no higher, from there on the next one is.
                if next <= distance && rise >= centre * run {
                    continue;
                }
                loop {
                    if rise >= left.start * run {
                        // The parabola to the left is no higher at its own start, so the two cross
                        // at or after it.
                        start = 1 + quotient(rise, run);
                        if start < width {
                            lowest.push(left);
                        }
                        break;
                    }
                    let Some(before) = lowest.pop() else { break };
                    left = before;
                    run = 2 * (centre - left.centre);
                    rise = at_zero - left.at_zero;
                }
            }
            if start < width {
                last = Some(Parabola {
                    start,
                    centre,
                    at_zero,
                });
            }
        }
        lowest.extend(last);
    }

    /// The squared distances of the row that was looked at last, and the least and greatest of each 64.
    fn write(&mut self, nearest: &[u16], squared: &mut [u32], blocks: &mut [(u32, u32)]) {
        let Some(first) = self.lowest.first() else {
            squared.fill(NO_WHITE);
            blocks.fill((NO_WHITE, NO_WHITE));
            return;
        };
        let mut centre = first.centre as usize;
        self.begins.clear();
        self.begins.resize(nearest.len(), 0);
        for parabola in &self.lowest {
            if let Some(begins) = self.begins.get_mut(parabola.start as usize) {
                *begins = parabola.centre as u32 + 1;
            }
        }
        let pixels = squared.chunks_mut(WORD).zip(self.begins.chunks(WORD));
        for ((start, block), (squared, begins)) in (0_usize..).step_by(WORD).zip(blocks).zip(pixels)
        {
            for (x, (squared, &begins)) in (start..).zip(squared.iter_mut().zip(begins)) {
                // Without a jump: where the next parabola begins cannot be foreseen.
                centre = if begins == 0 {
                    centre
                } else {
                    begins as usize - 1
                };
                let across = x.abs_diff(centre) as u64;
                let along = u64::from(nearest.get(centre).copied().unwrap_or(FAR));
                let sum = across * across + along * along;
                *squared = sum.min(u64::from(NO_WHITE - 1)) as u32;
            }
            let least = squared.iter().copied().min().unwrap_or(0);
            let greatest = squared.iter().copied().max().unwrap_or(0);
            *block = (least, greatest);
        }
    }
}

/// `rise / run` of two that are not negative, quickest where it is met most: between neighbours, and in 32 bits.
fn quotient(rise: i64, run: i64) -> i64 {
    match (u32::try_from(rise), u32::try_from(run)) {
        (_, Ok(2)) => rise >> 1,
        (Ok(rise), Ok(run)) => i64::from(rise / run),
        _ => rise / run,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::disc;
    use super::*;

    fn specks(width: u32, height: u32, one_in: u32) -> BinaryMask {
        let mut state = 0x9e37_79b9_u32 ^ (width * 31 + height);
        let mut mask = BinaryMask::black(width, height);
        for y in 0..height {
            for x in 0..width {
                state ^= state << 13;
                state ^= state >> 17;
                state ^= state << 5;
                mask.set(x, y, state.is_multiple_of(one_in));
            }
        }
        mask
    }

    #[test]
    fn every_squared_distance_is_that_of_the_nearest_white_pixel() {
        for (width, height, one_in) in [
            (37, 23, 40),
            (1, 70, 9),
            (70, 1, 9),
            (65, 64, 500),
            (130, 140, 3),
            (130, 140, 4000),
        ] {
            let mask = specks(width, height, one_in);
            let field = DistanceField::to_white(&mask);
            for y in 0..height {
                for x in 0..width {
                    let nearest = (0..height)
                        .flat_map(|v| (0..width).map(move |u| (u, v)))
                        .filter(|&(u, v)| mask.is_white(u, v))
                        .map(|(u, v)| x.abs_diff(u).pow(2) + y.abs_diff(v).pow(2))
                        .min()
                        .unwrap_or(NO_WHITE);
                    assert_eq!(field.squared_at(x, y), nearest, "{width}x{height}: {x},{y}");
                }
            }
        }
    }

    #[test]
    fn the_longest_sides_are_exact_too() {
        let ends = [(3, 0), (45_990, 0), (20_001, 0)];
        for (width, height) in [(46_000, 1), (1, 46_000)] {
            let mut mask = BinaryMask::black(width, height);
            for (at, zero) in ends {
                let (x, y) = if height == 1 { (at, zero) } else { (zero, at) };
                mask.set(x, y, true);
            }
            let field = DistanceField::to_white(&mask);
            for at in (0..46_000_u32).step_by(17) {
                let nearest = ends.iter().map(|(end, _)| at.abs_diff(*end).pow(2)).min();
                let (x, y) = if height == 1 { (at, 0) } else { (0, at) };
                assert_eq!(
                    Some(field.squared_at(x, y)),
                    nearest,
                    "{width}x{height}: {at}"
                );
            }
        }
        // One white pixel in a corner: the greatest distances that fit.
        let mut mask = BinaryMask::black(46_340, 2);
        mask.set(0, 0, true);
        let field = DistanceField::to_white(&mask);
        assert_eq!(field.squared_at(46_339, 1), 46_339_u32.pow(2) + 1);
    }

    #[test]
    fn bands_are_joined_without_a_seam() {
        // Taller than two bands, with white in the first and the last rows only.
        let mut mask = BinaryMask::black(3, 300);
        mask.set(0, 5, true);
        mask.set(2, 290, true);
        let field = DistanceField::to_white(&mask);
        for y in 0..300_u32 {
            let expected = (y.abs_diff(5).pow(2)).min(y.abs_diff(290).pow(2) + 4);
            assert_eq!(field.squared_at(0, y), expected, "row {y}");
        }
    }

    #[test]
    fn comparing_the_field_is_dilating_with_the_disc() {
        for (width, height) in [(131, 97), (64, 40), (200, 150)] {
            let mask = specks(width, height, 300);
            let field = DistanceField::to_white(&mask);
            for radius_px in [0.0, 0.5, 1.0, 1.5, 2.9, 8.0, 12.25, 33.0, 400.0] {
                let grown = field.dilated(radius_px);
                assert_eq!(
                    grown,
                    disc::dilate(&mask, radius_px),
                    "{width}: {radius_px}"
                );
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(32))]

        #[test]
        fn comparing_grows_with_the_radius_contains_the_mask_and_is_the_disc(
            width in 1_u32..90, height in 1_u32..40, one_in in 5_u32..400,
            radius_px in 0.0_f32..30.0, squared in 1_u32..900, more in 0.0_f32..5.0,
        ) {
            let mask = specks(width, height, one_in);
            let field = DistanceField::to_white(&mask);
            // Any radius, and such as lie right beside a whole squared distance.
            let edge = (squared as f32).sqrt();
            for radius_px in [radius_px, edge, edge.next_down(), edge.next_up()] {
                let grown = field.dilated(radius_px);
                prop_assert_eq!(&grown, &disc::dilate(&mask, radius_px));
                prop_assert!(mask.is_within(&grown));
                prop_assert!(grown.is_within(&field.dilated(radius_px + more)));
            }
        }
    }

    #[test]
    fn a_black_mask_stays_black_at_any_radius() {
        let field = DistanceField::to_white(&BinaryMask::black(70, 9));
        assert!(field.dilated(512.0).is_empty());
        assert!(
            field
                .squared_f32()
                .iter()
                .all(|squared| squared.is_infinite())
        );
    }

    #[test]
    fn signed_distances_change_sign_at_the_outline() {
        let mask = BinaryMask::from_fn(9, 9, |x, y| (3..6).contains(&x) && (3..6).contains(&y));
        let to_white = DistanceField::to_white(&mask);
        let signed = signed_f16(&to_white, &DistanceField::to_black(&mask));
        assert_eq!(signed.get(4 * 9 + 4).map(|d| d.to_f32()), Some(-2.0));
        assert_eq!(signed.get(4 * 9).map(|d| d.to_f32()), Some(3.0));
    }
}
