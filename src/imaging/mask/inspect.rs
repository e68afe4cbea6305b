//! Masks that are not what they should be are recognised and a fix is offered; nothing is guessed.

use std::fmt;

use image::{DynamicImage, GrayImage};

use crate::imaging::resize::resize_area;

/// Something about a mask file that a person should confirm before the mask is used.
#[derive(Clone, Debug, PartialEq)]
pub enum MaskFinding {
    /// Its size is not that of the picture.
    WrongSize {
        /// Its width and height in pixels.
        found: (u32, u32),
        /// Those of the picture.
        expected: (u32, u32),
    },
    /// Its shape is in the alpha channel; the colours say nothing.
    AlphaMask,
    /// Most of it is white, its border included: black and white seem to be exchanged.
    Inverted {
        /// White part of the picture at threshold 128, 0 to 1.
        coverage: f64,
    },
    /// Much of it is neither black nor white.
    Grey {
        /// Part of the pixels with a grey from 16 to 239, 0 to 1.
        part: f64,
    },
    /// Its colours differ: it seems to be a picture.
    Coloured {
        /// Part of the pixels whose channels differ by more than 32, 0 to 1.
        part: f64,
    },
    /// It has no white pixel at threshold 128.
    Empty,
}

/// What can be done about a finding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaskFix {
    /// Resize it to the picture's size, by area.
    Resize,
    /// Take the alpha channel: opaque is white.
    UseAlpha,
    /// Take the alpha channel the other way: transparent is white, as erased in an editor.
    UseTransparency,
    /// Exchange black and white.
    Invert,
    /// Make it black and white at 128.
    Binarize,
}

impl MaskFinding {
    /// The fixes to offer, the likeliest first; none where another file is needed.
    pub fn fixes(&self) -> &'static [MaskFix] {
        match self {
            Self::WrongSize { .. } => &[MaskFix::Resize],
            Self::AlphaMask => &[MaskFix::UseAlpha, MaskFix::UseTransparency],
            Self::Inverted { .. } => &[MaskFix::Invert],
            Self::Grey { .. } => &[MaskFix::Binarize],
            Self::Coloured { .. } | Self::Empty => &[],
        }
    }
}

impl fmt::Display for MaskFinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::WrongSize {
                found: (w, h),
                expected: (ew, eh),
            } => {
                write!(f, "the mask is {w}x{h} but the image is {ew}x{eh}")
            }
            Self::AlphaMask => f.write_str("the mask's shape is in its alpha channel"),
            Self::Inverted { coverage } => write!(
                f,
                "{:.0} % of the mask is white, its border included: it seems to be inverted",
                coverage * 100.0
            ),
            Self::Grey { part } => {
                write!(
                    f,
                    "{:.0} % of the mask is neither black nor white",
                    part * 100.0
                )
            }
            Self::Coloured { part } => write!(
                f,
                "{:.0} % of the mask is coloured: it seems to be a picture, not a mask",
                part * 100.0
            ),
            Self::Empty => f.write_str("the mask has no white pixel"),
        }
    }
}

impl MaskFix {
    /// The button's words.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Resize => "Resize to the image",
            Self::UseAlpha => "Use the alpha channel",
            Self::UseTransparency => "Use what is transparent",
            Self::Invert => "Invert",
            Self::Binarize => "Make it black and white",
        }
    }

    /// The mask after this fix. `expected_size` is the picture's width and height. Resizing keeps colours
    /// and alpha, so that what else is odd about the mask is still seen.
    pub fn apply(self, mask: &DynamicImage, expected_size: (u32, u32)) -> DynamicImage {
        let grey = match self {
            Self::Resize => return resized(mask, expected_size),
            Self::UseAlpha => alpha_of(mask),
            Self::UseTransparency => mapped(alpha_of(mask), |alpha| 255 - alpha),
            Self::Invert => mapped(mask.to_luma8(), |grey| 255 - grey),
            Self::Binarize => mapped(mask.to_luma8(), |grey| if grey >= 128 { 255 } else { 0 }),
        };
        DynamicImage::ImageLuma8(grey)
    }
}

/// What a person should confirm about a mask before it is used, for a picture of `expected_size`
/// (width, height). Empty for a plain mask: black and white with a soft edge at most, mostly black.
pub fn inspect_mask(mask: &DynamicImage, expected_size: (u32, u32)) -> Vec<MaskFinding> {
    let mut findings = Vec::new();
    let found = (mask.width(), mask.height());
    if found != expected_size {
        findings.push(MaskFinding::WrongSize {
            found,
            expected: expected_size,
        });
    }
    if mask.color().has_alpha() && is_alpha_mask(mask) {
        findings.push(MaskFinding::AlphaMask);
        return findings;
    }
    let part = coloured_part(mask);
    if part > 0.05 {
        findings.push(MaskFinding::Coloured { part });
        return findings;
    }
    let grey = mask.to_luma8();
    let pixels = grey.as_raw().len().max(1) as f64;
    let part_of =
        |is: fn(u8) -> bool| grey.as_raw().iter().filter(|&&grey| is(grey)).count() as f64 / pixels;
    let coverage = part_of(|grey| grey >= 128);
    if coverage == 0.0 {
        findings.push(MaskFinding::Empty);
    } else if coverage > 0.5 && border_coverage(&grey) > 0.5 {
        findings.push(MaskFinding::Inverted { coverage });
    }
    let part = part_of(|grey| (16..240).contains(&grey));
    if part > 0.10 {
        findings.push(MaskFinding::Grey { part });
    }
    findings
}

/// Alpha varies from clear to opaque, while the colours of what shows are nearly one colour.
fn is_alpha_mask(mask: &DynamicImage) -> bool {
    let rgba = mask.to_rgba8();
    let (mut clear, mut opaque) = (false, false);
    let (mut darkest, mut lightest) = ([255_u8; 3], [0_u8; 3]);
    for pixel in rgba.pixels() {
        let [r, g, b, alpha] = pixel.0;
        clear |= alpha < 64;
        opaque |= alpha >= 192;
        if alpha >= 128 {
            for ((low, high), value) in darkest.iter_mut().zip(&mut lightest).zip([r, g, b]) {
                *low = value.min(*low);
                *high = value.max(*high);
            }
        }
    }
    let one_colour = darkest
        .iter()
        .zip(lightest)
        .all(|(&low, high)| high.saturating_sub(low) <= 32);
    clear && opaque && one_colour
}

fn coloured_part(mask: &DynamicImage) -> f64 {
    if !mask.color().has_color() {
        return 0.0;
    }
    let rgb = mask.to_rgb8();
    let is_coloured = |[r, g, b]: [u8; 3]| r.max(g).max(b) - r.min(g).min(b) > 32;
    let coloured = rgb.pixels().filter(|pixel| is_coloured(pixel.0)).count();
    coloured as f64 / (rgb.width() as f64 * rgb.height() as f64).max(1.0)
}

/// White part of the outermost pixels.
fn border_coverage(grey: &GrayImage) -> f64 {
    let (right, bottom) = (
        grey.width().saturating_sub(1),
        grey.height().saturating_sub(1),
    );
    let (mut white, mut all) = (0_u32, 0_u32);
    for (x, y, pixel) in grey.enumerate_pixels() {
        if x == 0 || y == 0 || x == right || y == bottom {
            all += 1;
            white += u32::from(pixel.0[0] >= 128);
        }
    }
    f64::from(white) / f64::from(all.max(1))
}

/// Each channel by area.
fn resized(mask: &DynamicImage, (width, height): (u32, u32)) -> DynamicImage {
    let color = mask.color();
    if !color.has_alpha() && !color.has_color() {
        return DynamicImage::ImageLuma8(resize_area(&mask.to_luma8(), width, height));
    }
    let rgba = mask.to_rgba8();
    let channel = |index: usize| {
        let own = GrayImage::from_fn(rgba.width(), rgba.height(), |x, y| {
            image::Luma([rgba.get_pixel(x, y).0[index]])
        });
        resize_area(&own, width, height)
    };
    let channels = [0, 1, 2, 3].map(channel);
    let resized = image::RgbaImage::from_fn(width, height, |x, y| {
        image::Rgba([0, 1, 2, 3].map(|index: usize| channels[index].get_pixel(x, y).0[0]))
    });
    if color.has_alpha() {
        DynamicImage::ImageRgba8(resized)
    } else {
        DynamicImage::ImageRgb8(DynamicImage::ImageRgba8(resized).into_rgb8())
    }
}

fn alpha_of(mask: &DynamicImage) -> GrayImage {
    let rgba = mask.to_rgba8();
    GrayImage::from_fn(rgba.width(), rgba.height(), |x, y| {
        image::Luma([rgba.get_pixel(x, y).0[3]])
    })
}

fn mapped(mut grey: GrayImage, to: fn(u8) -> u8) -> GrayImage {
    grey.pixels_mut()
        .for_each(|pixel| pixel.0[0] = to(pixel.0[0]));
    grey
}

#[cfg(test)]
mod tests {
    use image::{Luma, Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    fn blob(x: u32, y: u32) -> bool {
        (10..30).contains(&x) && (12..25).contains(&y)
    }

    fn plain() -> GrayImage {
        GrayImage::from_fn(64, 48, |x, y| Luma([if blob(x, y) { 255 } else { 0 }]))
    }

    #[test]
    fn a_plain_mask_has_no_findings() {
        assert_eq!(
            inspect_mask(&DynamicImage::ImageLuma8(plain()), (64, 48)),
            []
        );
        let opaque = DynamicImage::ImageLuma8(plain()).to_rgba8();
        assert_eq!(
            inspect_mask(&DynamicImage::ImageRgba8(opaque), (64, 48)),
            []
        );
    }

    #[test]
    fn each_wrong_mask_is_recognised_and_its_fix_gives_a_plain_one() {
        let size = (64, 48);
        let alpha = RgbaImage::from_fn(64, 48, |x, y| {
            Rgba([0, 0, 0, if blob(x, y) { 255 } else { 0 }])
        });
        let inverted = mapped(plain(), |grey| 255 - grey);
        let grey = GrayImage::from_fn(64, 48, |x, y| Luma([if blob(x, y) { 230 } else { 40 }]));
        let large = GrayImage::from_fn(128, 96, |x, y| {
            Luma([if blob(x / 2, y / 2) { 255 } else { 0 }])
        });
        for (mask, expected) in [
            (DynamicImage::ImageRgba8(alpha), MaskFinding::AlphaMask),
            (
                DynamicImage::ImageLuma8(inverted),
                MaskFinding::Inverted {
                    coverage: 2812.0 / 3072.0,
                },
            ),
            (
                DynamicImage::ImageLuma8(grey),
                MaskFinding::Grey { part: 1.0 },
            ),
            (
                DynamicImage::ImageLuma8(large),
                MaskFinding::WrongSize {
                    found: (128, 96),
                    expected: size,
                },
            ),
        ] {
            assert_eq!(inspect_mask(&mask, size), std::slice::from_ref(&expected));
            let fix = expected.fixes().first().copied();
            let fixed = fix.map(|fix| fix.apply(&mask, size));
            assert_eq!(fixed, Some(DynamicImage::ImageLuma8(plain())), "{expected}");
        }
    }

    #[test]
    fn a_photo_is_not_taken_for_a_mask() {
        let photo = RgbImage::from_fn(64, 48, |x, y| Rgb([(x * 4) as u8, 80, (y * 5) as u8]));
        let photo = DynamicImage::ImageRgb8(photo);
        let resized = MaskFix::Resize.apply(&photo, (32, 24));
        for (photo, size) in [(photo, (64, 48)), (resized, (32, 24))] {
            let findings = inspect_mask(&photo, size);
            assert!(
                matches!(findings.as_slice(), [MaskFinding::Coloured { .. }]),
                "{findings:?}"
            );
        }
    }

    #[test]
    fn an_alpha_mask_of_another_size_is_fixed_in_either_order() {
        let large = RgbaImage::from_fn(128, 96, |x, y| {
            Rgba([0, 0, 0, if blob(x / 2, y / 2) { 255 } else { 0 }])
        });
        let large = DynamicImage::ImageRgba8(large);
        let size = (64, 48);
        for order in [
            [MaskFix::Resize, MaskFix::UseAlpha],
            [MaskFix::UseAlpha, MaskFix::Resize],
        ] {
            let mut mask = large.clone();
            for fix in order {
                let offered = inspect_mask(&mask, size);
                let is_offered = offered.iter().any(|found| found.fixes().contains(&fix));
                assert!(is_offered, "{fix:?} is not in {offered:?}");
                mask = fix.apply(&mask, size);
            }
            assert_eq!(mask, DynamicImage::ImageLuma8(plain()), "{order:?}");
        }
    }
}
