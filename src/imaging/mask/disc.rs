//! Morphology with Euclidean discs, 64 pixels at a time; knows one radius and no recipe.
//!
//! A disc is a stack of horizontal runs, one for each row distance `dy`, of half width
//! `w(dy) = ⌊√(R² − dy²)⌋`. The runs are nested, so a row of the result is built from the widest run
//! inwards (Horner's scheme): take the rows under the widest run, widen by the difference to the next,
//! add the rows under that one, and so on. A row costs about 2R + 1 ORs and R widenings of its words.

use rayon::prelude::*;

use super::binary::BinaryMask;

/// ⌊R²⌋: an integer squared distance is within R exactly if it is at most this. `None` for R = 0 or
/// what is no radius, which change nothing.
pub fn squared_limit(radius_px: f32) -> Option<u64> {
    let squared = f64::from(radius_px) * f64::from(radius_px);
    (radius_px > 0.0 && squared >= 1.0).then_some(squared as u64)
}

/// White where the disc of this radius (px) around the pixel meets the mask: it grows by the radius.
#[must_use]
pub fn dilate(mask: &BinaryMask, radius_px: f32) -> BinaryMask {
    match squared_limit(radius_px) {
        Some(limit) => dilate_within(mask, limit),
        None => mask.clone(),
    }
}

/// White where the disc of this radius (px) around the pixel has no black pixel of the picture.
#[must_use]
pub fn erode(mask: &BinaryMask, radius_px: f32) -> BinaryMask {
    match squared_limit(radius_px) {
        Some(limit) => dilate_within(&mask.inverted(), limit).inverted(),
        None => mask.clone(),
    }
}

/// Erosion, then dilation: drops what the disc of this radius (px) does not fit into.
#[must_use]
pub fn open(mask: &BinaryMask, radius_px: f32) -> BinaryMask {
    dilate(&erode(mask, radius_px), radius_px)
}

/// Dilation, then erosion: fills what the disc of this radius (px) does not fit into.
#[must_use]
pub fn close(mask: &BinaryMask, radius_px: f32) -> BinaryMask {
    erode(&dilate(mask, radius_px), radius_px)
}

/// Row distances that share one half width.
struct Run {
    half_width: u64,
    /// All `dy ≥ 0` with this half width: one interval.
    first_dy: usize,
    last_dy: usize,
}

/// The disc's runs from the widest (`dy` = 0) to the narrowest, for rows of up to `width` pixels.
fn runs_of_disc(limit: u64, width: u32, height: u32) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    let last_dy = limit.isqrt().min(u64::from(height));
    for dy in 0..=last_dy {
        let half_width = (limit - dy * dy).isqrt().min(u64::from(width));
        let dy = dy as usize;
        match runs.last_mut() {
            Some(run) if run.half_width == half_width => run.last_dy = dy,
            _ => runs.push(Run {
                half_width,
                first_dy: dy,
                last_dy: dy,
            }),
        }
    }
    runs
}

fn dilate_within(mask: &BinaryMask, limit: u64) -> BinaryMask {
    let (width, height) = mask.size();
    let mut grown = BinaryMask::black(width, height);
    let words_per_row = mask.words_per_row();
    if words_per_row == 0 {
        return grown;
    }
    let runs = runs_of_disc(limit, width, height);
    let height = height as usize;
    let has_white: Vec<bool> = (0..height)
        .map(|y| mask.row(y).iter().any(|&word| word != 0))
        .collect();
    grown
        .words_mut()
        .par_chunks_mut(words_per_row)
        .enumerate()
        .with_min_len(8)
        .for_each_init(
            // One spare word at either end spares the widening its special cases.
            || {
                (
                    vec![0_u64; words_per_row + 2],
                    vec![0_u64; words_per_row + 2],
                )
            },
            |(row, widened), (y, out)| {
                row.fill(0);
                let mut is_black = true;
                for (index, run) in runs.iter().enumerate() {
                    for dy in run.first_dy..=run.last_dy {
                        let above = y.checked_sub(dy);
                        let below = (dy > 0).then_some(y + dy);
                        for source in above.into_iter().chain(below) {
                            if has_white.get(source).is_some_and(|&white| white) {
                                is_black = false;
                                let words = row.iter_mut().skip(1).zip(mask.row(source));
                                words.for_each(|(word, source)| *word |= source);
                            }
                        }
                    }
                    if !is_black {
                        let next = runs.get(index + 1).map_or(0, |next| next.half_width);
                        widen(row, widened, run.half_width - next);
                    }
                }
                out.copy_from_slice(row.get(1..=words_per_row).unwrap_or_default());
            },
        );
    grown.clear_padding();
    grown
}

/// Widens every white run of a row by `by` pixels on both sides. The result stays in `row`, which
/// has one spare word at either end, always black; `spare` is of the same length.
fn widen(row: &mut Vec<u64>, spare: &mut Vec<u64>, mut by: u64) {
    // Steps double. Widened by s in total, a white pixel is a run of at least s + 1 pixels inside
    // the picture (2s + 1 where the border does not cut it), so a step of s + 1 leaves no gap.
    let mut longest_step = 1;
    while by > 0 {
        let step = by.min(longest_step).min(63);
        shift_both_ways(row, spare, step as u32);
        std::mem::swap(row, spare);
        by -= step;
        longest_step += step;
    }
}

/// `out = row | row shifted left by step | row shifted right by step`, `step` from 1 to 63.
fn shift_both_ways(row: &[u64], out: &mut [u64], step: u32) {
    let back = u64::BITS - step;
    for (out, three) in out.iter_mut().skip(1).zip(row.windows(3)) {
        if let [before, here, after] = *three {
            *out = here | here << step | before >> back | here >> step | after << back;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every pair of pixels, straight from the definition.
    fn dilated_slowly(mask: &BinaryMask, radius_px: f32) -> BinaryMask {
        let (width, height) = mask.size();
        let limit = f64::from(radius_px) * f64::from(radius_px);
        BinaryMask::from_fn(width, height, |x, y| {
            (0..height).any(|v| {
                (0..width).any(|u| {
                    let (dx, dy) = (f64::from(x) - f64::from(u), f64::from(y) - f64::from(v));
                    mask.is_white(u, v) && dx * dx + dy * dy <= limit
                })
            })
        })
    }

    fn any_mask() -> impl Strategy<Value = BinaryMask> {
        (1_u32..90, 1_u32..24, 0.0_f64..0.3, any::<u64>()).prop_map(
            |(width, height, part, seed)| {
                let mut state = seed | 1;
                let mut mask = BinaryMask::black(width, height);
                for y in 0..height {
                    for x in 0..width {
                        state ^= state << 13;
                        state ^= state >> 7;
                        state ^= state << 17;
                        mask.set(x, y, (state >> 11) as f64 / (1_u64 << 53) as f64 <= part);
                    }
                }
                mask
            },
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn dilation_is_the_disc_of_the_definition(mask in any_mask(), radius_px in 0.0_f32..30.0) {
            prop_assert_eq!(dilate(&mask, radius_px), dilated_slowly(&mask, radius_px));
        }

        #[test]
        fn erosion_is_dilation_of_the_black(mask in any_mask(), radius_px in 0.0_f32..8.0) {
            let slowly = dilated_slowly(&mask.inverted(), radius_px).inverted();
            prop_assert_eq!(erode(&mask, radius_px), slowly);
        }

        #[test]
        fn dilation_contains_its_input_and_grows_with_the_radius(
            mask in any_mask(), radius_px in 0.0_f32..20.0, more in 0.0_f32..5.0,
        ) {
            let grown = dilate(&mask, radius_px);
            prop_assert!(mask.is_within(&grown));
            prop_assert!(grown.is_within(&dilate(&mask, radius_px + more)));
        }

        #[test]
        fn opening_is_contained_closing_contains_and_both_are_idempotent(
            mask in any_mask(), radius_px in 0.0_f32..6.0,
        ) {
            let opened = open(&mask, radius_px);
            let closed = close(&mask, radius_px);
            prop_assert!(opened.is_within(&mask));
            prop_assert!(mask.is_within(&closed));
            prop_assert_eq!(open(&opened, radius_px), opened);
            prop_assert_eq!(close(&closed, radius_px), closed);
        }
    }

    #[test]
    fn a_radius_beyond_the_picture_fills_it() {
        let mut mask = BinaryMask::black(70, 3);
        mask.set(0, 0, true);
        assert_eq!(dilate(&mask, 512.0).white_px(), 210);
    }
}
