//! The exact squared Euclidean distance of every pixel to the nearest white one.
//!
//! Two passes, after Meijster, Roerdink and Hesselink, "A general algorithm for computing distance
//! transforms in linear time" (2000), and Felzenszwalb and Huttenlocher, "Distance Transforms of
//! Sampled Functions" (2012): distances along columns first, then for each row the lower envelope of
//! the parabolas `(x − i)² + g(i)²`. All in integers, so a comparison with R² is exact. Columns are
//! done in bands of rows, each on its own core, and joined by what reaches a band from outside.

use half::f16;
use rayon::prelude::*;

use super::binary::{BinaryMask, WORD, pack};
use super::disc::squared_limit;

/// Squared distance of a pixel in a mask without white.
pub const NO_WHITE: u32 = u32::MAX;

/// A column without white in it.
const FAR: u16 = u16::MAX;

/// Rows of a band in the pass along columns.
const BAND_ROWS: usize = 128;

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

/// The pass along columns inside one band, and what it hands to the bands around it.
struct Band {
    /// Rows to the nearest white in the same column of the band, row by row.
    rows: Vec<u16>,
    /// Rows from the band's last row up to the nearest white, by column.
    from_last: Vec<u16>,
    /// Rows from the band's first row down to the nearest white, by column.
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
            let band_starts: Vec<usize> = (0..height).step_by(BAND_ROWS).collect();
            let bands: Vec<Band> = band_starts
                .par_iter()
                .map(|&start| Band::of(mask, start, (start + BAND_ROWS).min(height)))
                .collect();
            let (above, below) = reaches(&bands, width);
            squared
                .par_chunks_mut(width * BAND_ROWS)
                .zip(blocks.par_chunks_mut(blocks_per_row * BAND_ROWS))
                .zip(&bands)
                .zip(above.par_iter().zip(&below))
                .for_each(|(((squared, blocks), band), (above, below))| {
                    rows_of_band(squared, blocks, band, above, below, width);
                });
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

impl Band {
    fn of(mask: &BinaryMask, start: usize, end: usize) -> Self {
        let width = mask.width() as usize;
        let mut rows = vec![FAR; width * (end - start)];
        let mut reach = vec![FAR; width];
        for (y, row) in (start..end).zip(rows.chunks_exact_mut(width)) {
            one_row_further(&mut reach, mask.row(y));
            row.copy_from_slice(&reach);
        }
        let from_last = reach.clone();
        reach.fill(FAR);
        for (y, row) in (start..end).zip(rows.chunks_exact_mut(width)).rev() {
            one_row_further(&mut reach, mask.row(y));
            for (nearest, &below) in row.iter_mut().zip(&reach) {
                *nearest = (*nearest).min(below);
            }
        }
        Self {
            rows,
            from_last,
            from_first: reach,
        }
    }
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
fn reaches(bands: &[Band], width: usize) -> (Vec<Vec<u16>>, Vec<Vec<u16>>) {
    let passed = |reach: &[u16], own: &[u16], rows: usize| -> Vec<u16> {
        let rows = rows as u16;
        reach
            .iter()
            .zip(own)
            .map(|(&far, &own)| own.min(far.saturating_add(rows)))
            .collect()
    };
    let mut above = vec![vec![FAR; width]];
    for band in bands.iter().take(bands.len().saturating_sub(1)) {
        let rows = band.rows.len() / width;
        let next = above
            .last()
            .map(|reach| passed(reach, &band.from_last, rows));
        above.extend(next);
    }
    let mut below = vec![vec![FAR; width]];
    for band in bands.iter().skip(1).rev() {
        let rows = band.rows.len() / width;
        let next = below
            .last()
            .map(|reach| passed(reach, &band.from_first, rows));
        below.extend(next);
    }
    below.reverse();
    (above, below)
}

/// The pass along rows for one band.
fn rows_of_band(
    squared: &mut [u32],
    blocks: &mut [(u32, u32)],
    band: &Band,
    above: &[u16],
    below: &[u16],
    width: usize,
) {
    let count = band.rows.len() / width;
    let mut nearest = vec![FAR; width];
    let mut envelope = Vec::with_capacity(width);
    let rows = squared
        .chunks_exact_mut(width)
        .zip(band.rows.chunks_exact(width));
    for (y, ((squared, own), blocks)) in rows
        .zip(blocks.chunks_mut(width.div_ceil(WORD)))
        .enumerate()
    {
        let (to_above, to_below) = ((y + 1) as u16, (count - y) as u16);
        let columns = own.iter().zip(above).zip(below);
        for (nearest, ((&own, above), below)) in nearest.iter_mut().zip(columns) {
            let from_above = above.saturating_add(to_above);
            let from_below = below.saturating_add(to_below);
            *nearest = own.min(from_above).min(from_below);
        }
        lower_envelope(&nearest, &mut envelope);
        write_row(squared, &envelope);
        for (block, squared) in blocks.iter_mut().zip(squared.chunks(WORD)) {
            let least = squared.iter().copied().min().unwrap_or(0);
            let greatest = squared.iter().copied().max().unwrap_or(0);
            *block = (least, greatest);
        }
    }
}

/// A parabola `(x − centre)² + base` that is the lowest from `start` on.
#[derive(Clone, Copy)]
struct Parabola {
    start: i64,
    centre: i64,
    base: i64,
}

/// The longest side at which all sums of the envelope fit into 32 bits, where divisions are quick.
const SHORT_SIDE_PX: usize = 32_000;

/// `nearest` is the distance along the column for each pixel of the row, [`FAR`] without any.
fn lower_envelope(nearest: &[u16], envelope: &mut Vec<Parabola>) {
    envelope.clear();
    let width = nearest.len() as i64;
    let is_short = nearest.len() <= SHORT_SIDE_PX;
    let mut last = Parabola {
        start: 0,
        centre: -1,
        base: 0,
    };
    for (centre, &distance) in (0_i64..).zip(nearest) {
        if distance == FAR {
            continue;
        }
        let base = i64::from(distance) * i64::from(distance);
        let mut start = 0;
        while last.centre >= 0 {
            let at = |centre: i64, base: i64| (last.start - centre) * (last.start - centre) + base;
            if at(last.centre, last.base) > at(centre, base) {
                last = envelope.pop().unwrap_or(Parabola {
                    start: 0,
                    centre: -1,
                    base: 0,
                });
                continue;
            }
            // The last parabola is no higher at its own start, so the two cross at or after it.
            let rise = centre * centre - last.centre * last.centre + base - last.base;
            let run = 2 * (centre - last.centre);
            start = 1 + if is_short && distance < SHORT_SIDE_PX as u16 {
                i64::from(rise as u32 / run as u32)
            } else {
                rise / run
            };
            break;
        }
        if start < width {
            if last.centre >= 0 {
                envelope.push(last);
            }
            last = Parabola {
                start,
                centre,
                base,
            };
        }
    }
    if last.centre >= 0 {
        envelope.push(last);
    }
}

fn write_row(squared: &mut [u32], envelope: &[Parabola]) {
    if envelope.is_empty() {
        squared.fill(NO_WHITE);
        return;
    }
    let width = squared.len();
    for (index, parabola) in envelope.iter().enumerate() {
        let end = envelope
            .get(index + 1)
            .map_or(width, |next| next.start as usize);
        let start = parabola.start as usize;
        let from = parabola.start - parabola.centre;
        if let Some(run) = squared.get_mut(start..end) {
            for (offset, squared) in (0_i64..).zip(run) {
                let dx = from + offset;
                *squared = (dx * dx + parabola.base).min(i64::from(NO_WHITE - 1)) as u32;
            }
        }
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
        for (width, height, one_in) in [(37, 23, 40), (1, 70, 9), (70, 1, 9), (65, 64, 500)] {
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
