//! How two pictures differ, pixel by pixel, by the same formulas as the canvas's shader.

use image::{Rgb, RgbImage};
use rayon::prelude::*;

use super::ImagingError;
use super::delta_e::delta_e_2000_of_srgb;

/// Rec. 709 luma weights of red, green and blue, applied to the encoded sRGB values.
pub const LUMA_WEIGHTS: [f32; 3] = [0.2126, 0.7152, 0.0722];

/// Pixels that one core takes at a time.
const PIXELS_AT_ONCE: usize = 4096;

/// What is measured between a picture `p` and its reference `r`, both 8-bit sRGB; values in the
/// formulas are encoded (not linear) and from 0 to 1. What leaves 0 to 1 is cut off.
///
/// NVIDIA's ꟻLIP is not among them: the crate that offers it, `nv-flip` 0.1.2, has had no release since
/// 2023, and binds a C++ library that every build would have to compile. It would also need the screen's
/// pixels per degree, which differ from reviewer to reviewer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Metric {
    /// Each channel `0.5 + 0.5 · gain · (p − r)`: mid grey where nothing differs. The magnitude is the
    /// largest `|p − r|` of the three channels in 8-bit levels.
    Signed,
    /// Each channel `gain · |p − r|`. The magnitude is as for signed.
    #[default]
    Absolute,
    /// `gain · |Y(p) − Y(r)|` as grey, with `Y` by [`LUMA_WEIGHTS`]. The magnitude is the difference
    /// in 8-bit levels.
    Luma,
    /// `gain · ΔE2000 / 100` as grey. The magnitude is ΔE2000 itself.
    DeltaE2000,
}

impl Metric {
    /// All metrics in the order of the key.
    pub const ALL: [Self; 4] = [Self::Signed, Self::Absolute, Self::Luma, Self::DeltaE2000];

    /// The name that is shown.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Signed => "signed",
            Self::Absolute => "absolute",
            Self::Luma => "luma",
            Self::DeltaE2000 => "ΔE2000",
        }
    }

    /// The unit of the magnitude, and so of a threshold.
    pub const fn unit(self) -> &'static str {
        match self {
            Self::DeltaE2000 => "ΔE",
            Self::Signed | Self::Absolute | Self::Luma => "levels",
        }
    }
}

/// A picture of the difference. Where the magnitude is under `threshold` (8-bit levels, or ΔE) the
/// pixel is drawn as if nothing differed; a threshold of 0 shows all.
///
/// # Errors
/// When the sizes differ.
pub fn difference_picture(
    picture: &RgbImage,
    reference: &RgbImage,
    metric: Metric,
    gain: f32,
    threshold: f32,
) -> Result<RgbImage, ImagingError> {
    check_sizes(picture, reference)?;
    let mut out = RgbImage::new(picture.width(), picture.height());
    out.par_chunks_mut(PIXELS_AT_ONCE * 3)
        .zip(picture.par_chunks(PIXELS_AT_ONCE * 3))
        .zip(reference.par_chunks(PIXELS_AT_ONCE * 3))
        .for_each(|((out, picture), reference)| {
            let pixels = picture
                .as_chunks::<3>()
                .0
                .iter()
                .zip(reference.as_chunks::<3>().0);
            for (out, (&picture, &reference)) in out.as_chunks_mut::<3>().0.iter_mut().zip(pixels) {
                *out = difference(picture, reference, metric, gain, threshold);
            }
        });
    Ok(out)
}

/// The difference of one pixel, as drawn: see [`difference_picture`].
pub fn difference(
    picture: [u8; 3],
    reference: [u8; 3],
    metric: Metric,
    gain: f32,
    threshold: f32,
) -> [u8; 3] {
    let levels: [f32; 3] =
        std::array::from_fn(|channel| f32::from(picture[channel]) - f32::from(reference[channel]));
    let is_shown = magnitude(picture, reference, metric) >= threshold;
    let to_byte = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    match metric {
        Metric::Signed if !is_shown => [to_byte(0.5); 3],
        _ if !is_shown => [0; 3],
        Metric::Signed => levels.map(|d| to_byte(0.5 + 0.5 * gain * d / 255.0)),
        Metric::Absolute => levels.map(|d| to_byte(gain * d.abs() / 255.0)),
        Metric::Luma => [to_byte(gain * luma_of(levels).abs() / 255.0); 3],
        Metric::DeltaE2000 => {
            [to_byte(gain * delta_e_2000_of_srgb(picture, reference) as f32 / 100.0); 3]
        }
    }
}

/// How much one pixel differs, in the unit of the metric's threshold.
pub fn magnitude(picture: [u8; 3], reference: [u8; 3], metric: Metric) -> f32 {
    let levels: [f32; 3] =
        std::array::from_fn(|channel| f32::from(picture[channel]) - f32::from(reference[channel]));
    match metric {
        Metric::Signed | Metric::Absolute => levels
            .iter()
            .fold(0.0, |largest, level| level.abs().max(largest)),
        Metric::Luma => luma_of(levels).abs(),
        Metric::DeltaE2000 => delta_e_2000_of_srgb(picture, reference) as f32,
    }
}

/// ΔE2000 of every pixel, row by row.
///
/// # Errors
/// When the sizes differ.
pub fn delta_e_map(picture: &RgbImage, reference: &RgbImage) -> Result<Vec<f32>, ImagingError> {
    check_sizes(picture, reference)?;
    let mut map = vec![0.0; picture.width() as usize * picture.height() as usize];
    map.par_chunks_mut(PIXELS_AT_ONCE)
        .zip(picture.par_chunks(PIXELS_AT_ONCE * 3))
        .zip(reference.par_chunks(PIXELS_AT_ONCE * 3))
        .for_each(|((map, picture), reference)| {
            let pixels = picture
                .as_chunks::<3>()
                .0
                .iter()
                .zip(reference.as_chunks::<3>().0);
            for (delta_e, (&picture, &reference)) in map.iter_mut().zip(pixels) {
                *delta_e = delta_e_2000_of_srgb(picture, reference) as f32;
            }
        });
    Ok(map)
}

/// The luma of a colour, 0 to 255: Rec. 709 weights on encoded values.
pub fn luma(pixel: Rgb<u8>) -> f32 {
    luma_of(pixel.0.map(f32::from))
}

fn luma_of(channels: [f32; 3]) -> f32 {
    channels
        .iter()
        .zip(LUMA_WEIGHTS)
        .map(|(value, weight)| value * weight)
        .sum()
}

fn check_sizes(picture: &RgbImage, reference: &RgbImage) -> Result<(), ImagingError> {
    if picture.dimensions() == reference.dimensions() {
        return Ok(());
    }
    Err(ImagingError::SizeMismatch {
        what: "picture",
        found: picture.dimensions(),
        expected: reference.dimensions(),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    const PICTURE: [u8; 3] = [110, 90, 100];
    const REFERENCE: [u8; 3] = [100, 100, 100];

    #[test]
    fn each_metric_draws_its_formula() {
        let drawn = |metric, gain| difference(PICTURE, REFERENCE, metric, gain, 0.0);
        assert_eq!(drawn(Metric::Signed, 1.0), [133, 123, 128]);
        assert_eq!(drawn(Metric::Signed, 4.0), [148, 108, 128]);
        assert_eq!(drawn(Metric::Absolute, 4.0), [40, 40, 0]);
        // 0.2126 * 10 - 0.7152 * 10 = -5.026
        assert_eq!(drawn(Metric::Luma, 10.0), [50; 3]);
        let delta_e = magnitude(PICTURE, REFERENCE, Metric::DeltaE2000);
        let expected = (delta_e * 3.0 / 100.0 * 255.0).round() as u8;
        assert_eq!(drawn(Metric::DeltaE2000, 3.0), [expected; 3]);
        assert_eq!(drawn(Metric::Absolute, 1000.0), [255, 255, 0]);
    }

    #[test]
    fn what_is_under_the_threshold_is_drawn_as_equal() {
        let drawn = |metric, threshold| difference(PICTURE, REFERENCE, metric, 4.0, threshold);
        assert_eq!(drawn(Metric::Absolute, 10.0), [40, 40, 0]);
        assert_eq!(drawn(Metric::Absolute, 10.5), [0; 3]);
        assert_eq!(drawn(Metric::Signed, 10.5), [128; 3]);
        assert_eq!(drawn(Metric::Luma, 5.1), [0; 3]);
        assert_eq!(drawn(Metric::DeltaE2000, 99.0), [0; 3]);
    }

    #[test]
    fn a_picture_of_the_difference_has_every_pixel_and_one_size() {
        let reference = RgbImage::from_fn(7, 5, |x, y| Rgb([x as u8 * 30, y as u8 * 40, 9]));
        let mut picture = reference.clone();
        picture.put_pixel(3, 2, Rgb([255, 80, 9]));
        let drawn = difference_picture(&picture, &reference, Metric::Absolute, 1.0, 0.0).unwrap();
        for (x, y, pixel) in drawn.enumerate_pixels() {
            let expected = if (x, y) == (3, 2) {
                [165, 0, 0]
            } else {
                [0; 3]
            };
            assert_eq!(pixel.0, expected, "{x},{y}");
        }
        let map = delta_e_map(&picture, &reference).unwrap();
        assert_eq!(map.iter().filter(|&&delta_e| delta_e > 0.0).count(), 1);
        let other = RgbImage::new(7, 6);
        assert!(difference_picture(&picture, &other, Metric::Luma, 1.0, 0.0).is_err());
    }
}
