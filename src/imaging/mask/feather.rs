//! Gaussian blur of a binary mask: the seam of the composite, never what the model is given.

use image::GrayImage;
use rayon::prelude::*;

use super::binary::BinaryMask;

/// Gaussian blur of a binary mask, rounded to 8 bits, as `OpenCV`'s
/// `GaussianBlur(mask, (0, 0), sigma, borderType=BORDER_REFLECT_101)` to within 1/255: the kernel
/// has `round(6σ + 1) | 1` taps, and the border mirrors without repeating its pixel. A sigma (px) of
/// 0 or less blurs nothing.
pub fn feather(mask: &BinaryMask, sigma_px: f32) -> GrayImage {
    let grey = mask.to_grey();
    let (width, height) = (mask.width() as usize, mask.height() as usize);
    if sigma_px.is_nan() || sigma_px <= 0.0 || width == 0 || height == 0 {
        return grey;
    }
    let half_kernel = half_kernel(sigma_px);
    let radius = half_kernel.len() - 1;

    // Along rows first. A row without white stays empty, which spares most of the work.
    let blurred_rows: Vec<Option<Vec<f32>>> = grey
        .as_raw()
        .par_chunks(width)
        .map(|row| {
            row.iter()
                .any(|&grey| grey > 0)
                .then(|| blurred_row(row, &half_kernel))
        })
        .collect();
    let row_at = |y: usize, offset: isize| {
        let source = reflected(y as isize + offset, height);
        blurred_rows.get(source).and_then(Option::as_ref)
    };

    let mut out = vec![0_u8; width * height];
    out.par_chunks_mut(width).enumerate().for_each_init(
        || vec![0_f32; width],
        |sums, (y, out)| {
            sums.fill(0.0);
            let mut is_black = true;
            for offset in -(radius as isize)..=radius as isize {
                let weight = half_kernel
                    .get(offset.unsigned_abs())
                    .copied()
                    .unwrap_or(0.0);
                if let Some(row) = row_at(y, offset) {
                    is_black = false;
                    for (sum, value) in sums.iter_mut().zip(row) {
                        *sum += weight * value;
                    }
                }
            }
            if !is_black {
                for (out, sum) in out.iter_mut().zip(sums.iter()) {
                    *out = (sum + 0.5) as u8;
                }
            }
        },
    );
    GrayImage::from_raw(mask.width(), mask.height(), out).unwrap_or(grey)
}

/// What the feather will be at a pixel, from its distance alone: exact for a straight edge, and what is
/// drawn while a radius is dragged. `distance_px` is that to the cleaned mask before growing; the
/// result is the composite's weight, 0 to 1, already forced to 0 outside and to 1 on the cleaned mask.
///
/// The formula, for a shader: with `t = (R + 0.5 − d) / σ`, weight = `1 / (1 + exp(−1.702 t))`, which
/// stays within 0.01 of the normal distribution's integral.
pub fn approximate_weight(distance_px: f32, dilate_px: f32, sigma_px: f32) -> f32 {
    if distance_px <= 0.0 {
        1.0
    } else if distance_px > dilate_px {
        0.0
    } else if sigma_px <= 0.0 {
        1.0
    } else {
        1.0 / (1.0 + (-1.702 * (dilate_px + 0.5 - distance_px) / sigma_px).exp())
    }
}

/// The middle of the kernel and what is right of it; the whole sums to 1.
fn half_kernel(sigma_px: f32) -> Vec<f32> {
    let sigma = f64::from(sigma_px);
    let taps = (sigma * 6.0 + 1.0).round_ties_even() as usize | 1;
    let half: Vec<f64> = (0..=taps / 2)
        .map(|x| (-((x * x) as f64) / (2.0 * sigma * sigma)).exp())
        .collect();
    let sum = 2.0 * half.iter().sum::<f64>() - 1.0;
    half.iter().map(|weight| (weight / sum) as f32).collect()
}

fn blurred_row(row: &[u8], half_kernel: &[f32]) -> Vec<f32> {
    let radius = half_kernel.len() - 1;
    let padded: Vec<f32> = (-(radius as isize)..(row.len() + radius) as isize)
        .map(|x| {
            row.get(reflected(x, row.len()))
                .map_or(0.0, |&grey| f32::from(grey))
        })
        .collect();
    let mut sums = vec![0_f32; row.len()];
    for start in 0..=2 * radius {
        let weight = half_kernel
            .get(start.abs_diff(radius))
            .copied()
            .unwrap_or(0.0);
        for (sum, value) in sums.iter_mut().zip(padded.iter().skip(start)) {
            *sum += weight * value;
        }
    }
    sums
}

/// The index inside `0..length` that a mirror at the outermost pixels shows (reflect-101).
fn reflected(index: isize, length: usize) -> usize {
    if length <= 1 {
        return 0;
    }
    let last = length as isize - 1;
    let folded = index.rem_euclid(2 * last);
    (if folded > last {
        2 * last - folded
    } else {
        folded
    }) as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_border_mirrors_without_repeating_its_pixel() {
        let shown: Vec<usize> = (-4..9).map(|index| reflected(index, 4)).collect();
        assert_eq!(shown, [2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]);
        assert_eq!(reflected(-7, 1), 0);
    }

    #[test]
    fn white_stays_white_and_black_stays_black() {
        let white = BinaryMask::black(40, 9).inverted();
        assert!(
            feather(&white, 30.0)
                .as_raw()
                .iter()
                .all(|&grey| grey == 255)
        );
        assert!(
            feather(&BinaryMask::black(40, 9), 3.0)
                .as_raw()
                .iter()
                .all(|&grey| grey == 0)
        );
    }

    #[test]
    fn the_approximation_follows_the_blur_of_a_straight_edge() {
        // White left of column 60; the cleaned mask ends 10 px before.
        let grown = BinaryMask::from_fn(120, 90, |x, _| x < 60);
        let exact = feather(&grown, 4.0);
        for x in 50..60 {
            let distance_px = (x - 49) as f32;
            let approximate = approximate_weight(distance_px, 10.0, 4.0);
            let exact = f32::from(exact.get_pixel(x, 45).0[0]) / 255.0;
            assert!(
                (approximate - exact).abs() < 0.015,
                "{x}: {approximate} {exact}"
            );
        }
    }
}
