//! Sizes for inference, and resampling: Lanczos for pictures, area for masks.

use image::{DynamicImage, GrayImage, RgbImage, imageops::FilterType};
use rayon::prelude::*;

/// The long side of an inference picture in pixels, unless a plan says otherwise.
pub const DEFAULT_LONG_SIDE_PX: u32 = 1024;

/// Both sides of an inference picture are multiples of this: one token of FLUX is 16 x 16 px.
pub const TOKEN_PX: u32 = 16;

/// The size at which a picture is inferred: its long side at most `long_side_px`, never enlarged, both
/// sides rounded down to multiples of 16, at least 16. All in pixels.
pub fn inference_size(width: u32, height: u32, long_side_px: u32) -> (u32, u32) {
    let long = width.max(height).max(1);
    let target = long.min(long_side_px);
    let side = |side: u32| {
        // In whole numbers: a scaled side that is exactly a multiple of 16 stays one.
        let scaled = u64::from(side) * u64::from(target) / u64::from(long);
        (scaled as u32 / TOKEN_PX * TOKEN_PX).max(TOKEN_PX)
    };
    (side(width), side(height))
}

/// A picture at another size in pixels by Lanczos over three lobes, widened when it shrinks, so that
/// nothing aliases. The same size gives the same pixels.
pub fn resize_lanczos(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    if image.dimensions() == (width, height) {
        return image.clone();
    }
    DynamicImage::ImageRgb8(image.clone())
        .resize_exact(width.max(1), height.max(1), FilterType::Lanczos3)
        .into_rgb8()
}

/// A mask at another size in pixels by area: each pixel is the mean of what it covers, rounded, with
/// pixels at its edges counted by the part that is covered. Not yet thresholded.
pub fn resize_area(mask: &GrayImage, width: u32, height: u32) -> GrayImage {
    let (old_width, old_height) = mask.dimensions();
    if (old_width, old_height) == (width, height) {
        return mask.clone();
    }
    if old_width == 0 || old_height == 0 || width == 0 || height == 0 {
        return GrayImage::new(width, height);
    }
    let columns = spans(old_width, width);
    let rows = spans(old_height, height);
    let mut out = vec![0_u8; width as usize * height as usize];
    out.par_chunks_mut(width as usize)
        .zip(&rows)
        .for_each(|(out, row)| {
            // The mean down each old column first, then across.
            let mut sums = vec![0.0_f64; old_width as usize];
            for (y, weight) in row.weights() {
                let start = y * old_width as usize;
                let greys = mask
                    .as_raw()
                    .get(start..start + old_width as usize)
                    .unwrap_or(&[]);
                for (sum, &grey) in sums.iter_mut().zip(greys) {
                    *sum += weight * f64::from(grey);
                }
            }
            for (out, column) in out.iter_mut().zip(&columns) {
                let sum: f64 = column
                    .weights()
                    .map(|(x, weight)| weight * sums.get(x).unwrap_or(&0.0))
                    .sum();
                // The small addition keeps an exact half, as of two pixels, from rounding down.
                *out = (sum + 0.5 + 1e-9) as u8;
            }
        });
    GrayImage::from_raw(width, height, out).unwrap_or_else(|| GrayImage::new(width, height))
}

/// What one new pixel covers of the old ones along an axis.
struct Span {
    first: usize,
    /// One weight for each old pixel from `first` on; they sum to 1.
    weights: Vec<f64>,
}

impl Span {
    fn weights(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        (self.first..).zip(self.weights.iter().copied())
    }
}

fn spans(old: u32, new: u32) -> Vec<Span> {
    let (old, new) = (u64::from(old), u64::from(new));
    (0..new)
        .map(|index| {
            // In units of 1/new of an old pixel, so that everything is a whole number.
            let (from, to) = (index * old, (index + 1) * old);
            let (first, last) = (from / new, (to - 1) / new);
            let weights = (first..=last)
                .map(|pixel| {
                    let covered = to.min((pixel + 1) * new) - from.max(pixel * new);
                    covered as f64 / old as f64
                })
                .collect();
            Span {
                first: first as usize,
                weights,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use image::Luma;

    use super::*;

    #[test]
    fn inference_sizes_keep_the_long_side_and_are_never_enlarged() {
        for (from, expected) in [
            ((4000, 3000), (1024, 768)),
            ((3000, 4000), (768, 1024)),
            ((1024, 1024), (1024, 1024)),
            ((1023, 767), (1008, 752)),
            ((640, 480), (640, 480)),
            ((131, 97), (128, 96)),
            ((5000, 20), (1024, 16)),
            ((3, 2), (16, 16)),
        ] {
            assert_eq!(inference_size(from.0, from.1, 1024), expected, "{from:?}");
        }
        assert_eq!(inference_size(4000, 3000, 500), (496, 368));
    }

    #[test]
    fn area_is_the_mean_of_what_is_covered() {
        let mask = GrayImage::from_fn(6, 2, |x, _| Luma([[0, 255, 255, 255, 0, 30][x as usize]]));
        assert_eq!(resize_area(&mask, 3, 1).as_raw(), &[128, 255, 15]);
        // 6 to 4: each new pixel covers one and a half.
        assert_eq!(resize_area(&mask, 4, 1).as_raw(), &[85, 255, 170, 20]);
    }

    #[test]
    fn a_thin_line_survives_where_half_of_a_pixel_is_white() {
        let mask = GrayImage::from_fn(100, 100, |x, _| Luma([if x == 51 { 255 } else { 0 }]));
        let half = resize_area(&mask, 50, 50);
        assert!(half.get_pixel(25, 10).0[0] >= 128);
        assert_eq!(half.get_pixel(24, 10).0[0], 0);
    }

    #[test]
    fn lanczos_keeps_flat_colour_and_size() {
        let image = RgbImage::from_pixel(300, 200, image::Rgb([12, 200, 255]));
        let small = resize_lanczos(&image, 64, 48);
        assert_eq!(small.dimensions(), (64, 48));
        assert!(small.pixels().all(|pixel| pixel.0 == [12, 200, 255]));
        assert_eq!(resize_lanczos(&image, 300, 200), image);
    }
}
