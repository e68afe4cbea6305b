//! From the colours that a file was made in to sRGB.

use std::fmt;

use image::DynamicImage;
use moxcms::{
    CicpColorPrimaries, CicpProfile, ColorPrimaries, ColorProfile, DataColorSpace, Layout,
    MatrixCoefficients, ToneReprCurve, TransferCharacteristics, TransformOptions, XyY,
};
use rayon::prelude::*;

use super::png_chunks::PngColour;

/// Where a picture's colours came from, as its badge says. All but [`ColourSource::Untagged`],
/// [`ColourSource::CmykWithoutProfile`] and [`ColourSource::UnreadableProfile`] are certain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ColourSource {
    /// Marked as sRGB; taken as it is.
    Srgb,
    /// Converted from an embedded ICC profile of this name.
    Icc(String),
    /// Converted from a PNG's gamma and chromaticities.
    Gamma,
    /// Converted from coding-independent code points.
    Cicp,
    /// Nothing was said; taken as sRGB.
    Untagged,
    /// Four inks whose profile is not used; converted by simple arithmetic.
    CmykWithoutProfile,
    /// A profile that cannot be read or used, by reason; taken as sRGB.
    UnreadableProfile(String),
}

impl ColourSource {
    /// Whether the colours shown may differ from those meant, which deserves a badge.
    pub const fn is_guess(&self) -> bool {
        matches!(
            self,
            Self::Untagged | Self::CmykWithoutProfile | Self::UnreadableProfile(_)
        )
    }
}

impl fmt::Display for ColourSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Srgb => f.write_str("sRGB"),
            Self::Icc(name) => write!(f, "{name}, converted to sRGB"),
            Self::Gamma => f.write_str("PNG gamma, converted to sRGB"),
            Self::Cicp => f.write_str("cICP, converted to sRGB"),
            Self::Untagged => f.write_str("no colour profile: taken as sRGB"),
            Self::CmykWithoutProfile => f.write_str("CMYK, converted without its profile"),
            Self::UnreadableProfile(reason) => {
                write!(f, "colour profile not usable ({reason}): taken as sRGB")
            }
        }
    }
}

/// Converts an 8-bit picture to sRGB in the order of precedence of the PNG specification (cICP, ICC,
/// sRGB, gAMA). The picture must be `L8`, `La8`, `Rgb8` or `Rgba8`.
pub(super) fn to_srgb(
    image: DynamicImage,
    icc: Option<&[u8]>,
    png: Option<PngColour>,
) -> (DynamicImage, ColourSource) {
    let png = png.unwrap_or_default();
    if let Some(code_points) = png.cicp {
        match profile_of_cicp(code_points) {
            Ok(None) => return (image, ColourSource::Srgb),
            Ok(Some(profile)) => return converted(image, &profile, ColourSource::Cicp),
            // A PNG with code points that are not known here may still say it another way.
            Err(reason) if icc.is_none() && !png.is_srgb && png.gamma.is_none() => {
                return (image, ColourSource::UnreadableProfile(reason));
            }
            Err(_) => {}
        }
    }
    if let Some(icc) = icc {
        return match ColorProfile::new_from_slice(icc) {
            Ok(profile) => {
                let name = name_of(&profile);
                converted(image, &profile, ColourSource::Icc(name))
            }
            Err(error) => (image, ColourSource::UnreadableProfile(error.to_string())),
        };
    }
    if png.is_srgb {
        return (image, ColourSource::Srgb);
    }
    match png.gamma {
        Some(gamma) => match profile_of_gamma(gamma, png.chromaticities) {
            Ok(None) => (image, ColourSource::Srgb),
            Ok(Some(profile)) => converted(image, &profile, ColourSource::Gamma),
            Err(reason) => (image, ColourSource::UnreadableProfile(reason)),
        },
        None => (image, ColourSource::Untagged),
    }
}

fn name_of(profile: &ColorProfile) -> String {
    use moxcms::ProfileText;
    let text = match &profile.description {
        Some(ProfileText::PlainString(text)) => text.as_str(),
        Some(ProfileText::Localizable(texts)) => texts.first().map_or("", |text| &text.value),
        Some(ProfileText::Description(text)) => &text.ascii_string,
        None => "",
    };
    // What a stranger's file says is shown in the window: one short line of it.
    let text: String = text.chars().filter(|c| !c.is_control()).take(60).collect();
    let text = text.trim();
    if text.is_empty() {
        "unnamed ICC profile".to_owned()
    } else {
        text.to_owned()
    }
}

/// `None` when the code points say sRGB itself.
fn profile_of_cicp(
    [primaries, transfer, matrix, range]: [u8; 4],
) -> Result<Option<ColorProfile>, String> {
    let unknown = |_| format!("cICP {primaries}-{transfer}-{matrix}-{range} is not supported");
    let color_primaries = CicpColorPrimaries::try_from(primaries).map_err(unknown)?;
    let transfer_characteristics = TransferCharacteristics::try_from(transfer).map_err(unknown)?;
    // PNG is always RGB of full range.
    if matrix != 0 || range != 1 {
        return Err(format!(
            "cICP {primaries}-{transfer}-{matrix}-{range} is not allowed in PNG"
        ));
    }
    if (primaries, transfer) == (1, 13) {
        return Ok(None);
    }
    let profile = ColorProfile::new_from_cicp(CicpProfile {
        color_primaries,
        transfer_characteristics,
        matrix_coefficients: MatrixCoefficients::Identity,
        full_range: true,
    });
    if profile.red_trc.is_none() {
        return Err(format!(
            "cICP {primaries}-{transfer}-{matrix}-{range} is not supported"
        ));
    }
    Ok(Some(profile))
}

/// `None` when gamma and chromaticities are those that stand for sRGB.
fn profile_of_gamma(
    gamma: u32,
    chromaticities: Option<[u32; 8]>,
) -> Result<Option<ColorProfile>, String> {
    const SRGB: [u32; 8] = [
        31_270, 32_900, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000,
    ];
    let points = chromaticities.unwrap_or(SRGB);
    let is_srgb_primaries = points.iter().zip(SRGB).all(|(a, b)| a.abs_diff(b) <= 50);
    // 45,455 is what writers of sRGB pictures put there for readers without colour management.
    if gamma.abs_diff(45_455) <= 5 && is_srgb_primaries {
        return Ok(None);
    }
    if !(1_000..=1_000_000).contains(&gamma) {
        return Err(format!("PNG gamma {gamma}/100000"));
    }
    let mut profile = ColorProfile::new_srgb();
    profile.cicp = None;
    let curve = ToneReprCurve::Parametric(vec![100_000.0 / gamma as f32]);
    profile.red_trc = Some(curve.clone());
    profile.green_trc = Some(curve.clone());
    profile.blue_trc = Some(curve);
    if !is_srgb_primaries {
        let [wx, wy, rx, ry, gx, gy, bx, by] = points.map(|value| f64::from(value) / 100_000.0);
        if [wy, ry, gy, by].iter().any(|&y| y <= 0.0) {
            return Err("PNG chromaticities without brightness".to_owned());
        }
        let at = |x: f64, y: f64| moxcms::Chromaticity {
            x: x as f32,
            y: y as f32,
        };
        profile.update_rgb_colorimetry(
            XyY {
                x: wx,
                y: wy,
                yb: 1.0,
            },
            ColorPrimaries {
                red: at(rx, ry),
                green: at(gx, gy),
                blue: at(bx, by),
            },
        );
    }
    Ok(Some(profile))
}

fn converted(
    image: DynamicImage,
    profile: &ColorProfile,
    source: ColourSource,
) -> (DynamicImage, ColourSource) {
    match transformed(&image, profile) {
        Ok(Some(converted)) => (converted, source),
        Ok(None) => (image, source),
        Err(reason) => (image, ColourSource::UnreadableProfile(reason)),
    }
}

/// The picture in sRGB; `None` when the profile moves no colour by more than one level, so that a
/// picture that carries sRGB's own profile keeps its pixels to the bit.
fn transformed(
    image: &DynamicImage,
    profile: &ColorProfile,
) -> Result<Option<DynamicImage>, String> {
    let has_alpha = image.color().has_alpha();
    let is_grey = profile.color_space == DataColorSpace::Gray;
    if !is_grey && profile.color_space != DataColorSpace::Rgb {
        return Err(format!(
            "made for {:?}, but the picture is RGB",
            profile.color_space
        ));
    }
    if is_grey && image.color().has_color() {
        return Err("made for grey, but the picture is RGB".to_owned());
    }
    let (from, to) = match (is_grey, has_alpha) {
        (true, false) => (Layout::Gray, Layout::Rgb),
        (true, true) => (Layout::GrayAlpha, Layout::Rgba),
        (false, false) => (Layout::Rgb, Layout::Rgb),
        (false, true) => (Layout::Rgba, Layout::Rgba),
    };
    let srgb = ColorProfile::new_srgb();
    let transform = profile
        .create_transform_8bit(from, &srgb, to, TransformOptions::default())
        .map_err(|error| error.to_string())?;
    let (from_channels, to_channels) = (channels(from), channels(to));

    // Every colour of a coarse cube, against where it came from.
    let samples: Vec<u8> = (0..=255_u8)
        .step_by(51)
        .flat_map(|a| (0..=255_u8).step_by(51).map(move |b| (a, b)))
        .flat_map(|(a, b)| (0..=255_u8).step_by(51).map(move |c| [a, b, c, 255]))
        .flat_map(|sample| match from_channels {
            1 => vec![sample[0]],
            2 => vec![sample[0], 255],
            3 => sample[..3].to_vec(),
            _ => sample.to_vec(),
        })
        .collect();
    let mut moved = vec![0_u8; samples.len() / from_channels * to_channels];
    transform
        .transform(&samples, &mut moved)
        .map_err(|error| error.to_string())?;
    let moves_nothing = samples
        .chunks_exact(from_channels)
        .zip(moved.chunks_exact(to_channels))
        .all(|(sample, moved)| {
            let grey = from_channels < 3;
            moved.iter().take(3).enumerate().all(|(channel, &value)| {
                let before = sample.get(if grey { 0 } else { channel }).copied();
                before.is_some_and(|before| before.abs_diff(value) <= 1)
            })
        });
    if moves_nothing {
        return Ok(None);
    }

    let source = match from {
        Layout::Gray => image.to_luma8().into_raw(),
        Layout::GrayAlpha => image.to_luma_alpha8().into_raw(),
        Layout::Rgb => image.to_rgb8().into_raw(),
        _ => image.to_rgba8().into_raw(),
    };
    let (width, height) = (image.width(), image.height());
    let pixels = width as usize * height as usize;
    let mut target = vec![0_u8; pixels * to_channels];
    // A few rows at a time, on all cores.
    let at_once = (width as usize * 16).max(1);
    target
        .par_chunks_mut(at_once * to_channels)
        .zip(source.par_chunks(at_once * from_channels))
        .try_for_each(|(target, source)| transform.transform(source, target))
        .map_err(|error| error.to_string())?;
    let converted = if has_alpha {
        image::RgbaImage::from_raw(width, height, target).map(DynamicImage::ImageRgba8)
    } else {
        image::RgbImage::from_raw(width, height, target).map(DynamicImage::ImageRgb8)
    };
    converted
        .map(Some)
        .ok_or_else(|| "the converted picture has another size".to_owned())
}

const fn channels(layout: Layout) -> usize {
    match layout {
        Layout::Gray => 1,
        Layout::GrayAlpha => 2,
        Layout::Rgb => 3,
        _ => 4,
    }
}
