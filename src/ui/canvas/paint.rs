//! What a cell shows, and the numbers that the shader needs for it.
//!
//! Pure: from a [`CellPaint`], a [`CellMap`] and the textures at hand it makes the pieces to draw. The
//! formulas behind each mode stand in `canvas.wgsl`; `tests/canvas.rs` holds them against `imaging`'s.

use super::{
    gpu::{GpuTexture, Piece, PieceUniform},
    texture_store::{FieldId, ImageId},
    view::{CellMap, ImageBox, View},
};
use crate::imaging::difference::Metric;
use crate::imaging::mask::disc::squared_limit;

/// What a cell shows of its picture.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Mode {
    /// The picture.
    #[default]
    Plain,
    /// The reference left of a line, the picture right of it.
    Wipe {
        /// Where the line stands, in image space (pixels from the left edge).
        split_in_image: f64,
    },
    /// How picture and reference differ.
    Difference {
        /// What is measured.
        metric: Metric,
        /// Factor on what is shown; 1 shows differences as they are.
        gain: f32,
        /// Smaller differences are shown as none: 8-bit levels of the channel that differs most, or
        /// ΔE; 0 shows all.
        threshold: f32,
    },
    /// The grown mask at inference size, white on black.
    Mask,
    /// The picture with the grown mask in middle grey, as the model sees it.
    MaskedPicture,
    /// The picture blended into the reference with the feathered mask: an approximation from the
    /// distance field; saving computes it exactly.
    Composite {
        /// Standard deviation of the feather in texels of the field; 0 is a hard edge.
        feather_px: f32,
    },
}

impl Mode {
    /// True if the mode shows a second picture.
    pub fn needs_reference(&self) -> bool {
        matches!(
            self,
            Self::Wipe { .. } | Self::Difference { .. } | Self::Composite { .. }
        )
    }

    /// True if the mode shows the mask.
    pub fn needs_mask(&self) -> bool {
        matches!(
            self,
            Self::Mask | Self::MaskedPicture | Self::Composite { .. }
        )
    }
}

/// What of the mask is drawn over the picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Overlay {
    /// Nothing.
    #[default]
    Off,
    /// Solid white-on-black line around the mask, dashed yellow-on-black line around the grown one.
    Outline,
    /// The grown mask tinted.
    Tint,
    /// Both outlines, and stripes on what the dilation adds.
    Ring,
    /// What clean-up and dilation change of the raw mask: gained, lost and specks in three styles.
    Change,
}

impl Overlay {
    /// The next one, for a key that cycles through outline, tint, ring and off.
    #[must_use]
    pub fn next(self) -> Self {
        match self {
            Self::Off => Self::Outline,
            Self::Outline => Self::Tint,
            Self::Tint => Self::Ring,
            Self::Ring | Self::Change => Self::Off,
        }
    }
}

/// Which channels are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Channel {
    /// All, in colour.
    #[default]
    Rgb,
    /// Red as grey.
    Red,
    /// Green as grey.
    Green,
    /// Blue as grey.
    Blue,
    /// Rec. 709 luma of encoded values as grey.
    Luma,
}

/// Everything that decides what one cell looks like.
#[derive(Clone, Debug, PartialEq)]
pub struct CellPaint {
    /// The picture.
    pub image: ImageId,
    /// The second picture of [`Mode::Wipe`], [`Mode::Difference`] and [`Mode::Composite`]; stretched
    /// over the same image space.
    pub reference: Option<ImageId>,
    /// The mask's distance field; stretched over the same image space.
    pub mask: Option<FieldId>,
    /// Where the picture lies in image space, such as the fill of a crop; `None` is all of it. Around
    /// it a composite shows its reference, anything else neutral grey.
    pub image_box: Option<ImageBox>,
    /// Where the field lies in image space, such as what a crop was inferred of; `None` is all of it.
    /// Nothing is mask around it.
    pub mask_box: Option<ImageBox>,
    /// What is shown of image space, neutral grey around it; `None` is all of it.
    pub shown_box: Option<ImageBox>,
    /// What is shown.
    pub mode: Mode,
    /// What is drawn over it.
    pub overlay: Overlay,
    /// Dilation in texels of the field, that is pixels at inference size.
    pub dilate_px: f32,
    /// Strength of tint and stripes, 0 to 1.
    pub overlay_strength: f32,
    /// Lines around the 16-pixel tokens at inference size, from the field's corner; needs a mask.
    pub has_token_grid: bool,
    /// Which channels; not in differences and mask views.
    pub channel: Channel,
    /// Exposure in stops, in linear light; 0 leaves every value as it is in the file.
    pub exposure_stops: f32,
    /// Where to look.
    pub view: View,
    /// The image space that all cells share, in pixels: the size of the session's picture. Pictures of
    /// another size are stretched over it. `None` takes the picture's own size.
    pub size_in_image: Option<[f64; 2]>,
    /// Whether a remark on how the picture was read stands in its corner.
    pub has_badge: bool,
}

impl CellPaint {
    /// The picture as it is, seen through `view`.
    pub fn new(image: ImageId, view: View) -> Self {
        Self {
            image,
            reference: None,
            mask: None,
            image_box: None,
            mask_box: None,
            shown_box: None,
            mode: Mode::Plain,
            overlay: Overlay::Off,
            dilate_px: 0.0,
            overlay_strength: 0.5,
            has_token_grid: false,
            channel: Channel::Rgb,
            exposure_stops: 0.0,
            view,
            size_in_image: None,
            has_badge: true,
        }
    }

    /// Why the cell cannot be shown as asked, if so: a mode without the second picture or the mask
    /// that it needs.
    pub fn missing_input(&self) -> Option<&'static str> {
        if self.mode.needs_reference() && self.reference.is_none() {
            return Some("no reference to compare with");
        }
        if self.mode.needs_mask() && self.mask.is_none() {
            return Some("no mask in this session");
        }
        None
    }
}

/// A texture that covers a part of image space.
#[derive(Clone, Debug)]
pub(super) struct Patch {
    pub texture: GpuTexture,
    /// What it is drawn over, in image space.
    pub covers: ImageBox,
    /// Image space to texels: scale and offset per axis.
    pub texels: [[f64; 2]; 2],
    /// False for a stand-in of lower resolution, which is smoothed when magnified.
    pub is_final: bool,
}

impl Patch {
    /// A texture stretched over all of image space.
    pub fn whole(texture: GpuTexture, size_in_image: [f64; 2], is_final: bool) -> Self {
        let size = texture.size();
        let texels = [0, 1].map(|i| [f64::from(size[i]) / size_in_image[i], 0.0]);
        Self {
            texture,
            covers: ImageBox::whole(size_in_image),
            texels,
            is_final,
        }
    }

    /// The same texture over a place that begins at `corner` instead of at the origin.
    #[must_use]
    pub fn moved_to(mut self, corner: [f64; 2]) -> Self {
        for ((min, max), by) in self
            .covers
            .min
            .iter_mut()
            .zip(&mut self.covers.max)
            .zip(corner)
        {
            *min += by;
            *max += by;
        }
        for ([scale, offset], by) in self.texels.iter_mut().zip(corner) {
            *offset -= by * *scale;
        }
        self
    }

    fn map(&self) -> [f32; 4] {
        let [x, y] = self.texels;
        [x[0] as f32, y[0] as f32, x[1] as f32, y[1] as f32]
    }

    /// Mip level to sample at `zoom`, or -1 where each texel fills at least one screen pixel.
    fn level(&self, zoom: f64) -> f32 {
        let texels_per_px = self.texels[0][0].max(self.texels[1][0]) / zoom;
        if texels_per_px <= 1.0 + 1e-6 {
            if self.is_final { -1.0 } else { 0.0 }
        } else {
            (texels_per_px.log2() as f32).min((self.texture.levels() - 1) as f32)
        }
    }
}

/// The pieces of one cell: every patch of the picture, cut by every patch of the reference. A single
/// piece fills the cell, with what surrounds the picture; several, and one of a picture that does not
/// cover image space, leave that to the caller. `field` is the mask's field and where it lies.
pub(super) fn pieces(
    paint: &CellPaint,
    map: &CellMap,
    base: &[Patch],
    reference: &[Patch],
    field: Option<(&GpuTexture, ImageBox)>,
) -> Vec<Piece> {
    if matches!(paint.mode, Mode::Composite { .. }) && paint.image_box.is_some() {
        // Around a fill that covers only a part the original goes on.
        let around = CellPaint {
            mode: Mode::Plain,
            image_box: None,
            ..paint.clone()
        };
        let mut all = pieces_of(&around, map, reference, &[], field);
        all.extend(pieces_of(paint, map, base, reference, field));
        return all;
    }
    pieces_of(paint, map, base, reference, field)
}

fn pieces_of(
    paint: &CellPaint,
    map: &CellMap,
    base: &[Patch],
    reference: &[Patch],
    field: Option<(&GpuTexture, ImageBox)>,
) -> Vec<Piece> {
    let common = common_uniform(paint, map, field);
    let visible = map.visible();
    let fills_cell = base.len() == 1 && reference.len() <= 1 && paint.image_box.is_none();
    let mut pieces = Vec::with_capacity(base.len());
    let mut add = |base: &Patch, reference: Option<&Patch>| {
        let mut covers = base.covers;
        for other in reference
            .map(|patch| &patch.covers)
            .into_iter()
            .chain(&paint.shown_box)
        {
            covers = covers.intersection(other);
        }
        let region = if fills_cell {
            visible
        } else {
            covers.intersection(&visible)
        };
        if region.is_empty() {
            return;
        }
        let zoom = map.zoom();
        pieces.push(Piece {
            uniform: PieceUniform {
                region: corners(&region),
                covers: corners(&covers),
                base_map: base.map(),
                reference_map: reference.map_or([0.0; 4], Patch::map),
                levels: [
                    base.level(zoom),
                    reference.map_or(0.0, |patch| patch.level(zoom)),
                    common.levels[2],
                    common.levels[3],
                ],
                ..common
            },
            base: base.texture.clone(),
            reference: reference.map(|patch| patch.texture.clone()),
            field: field.map(|(texture, _)| texture.clone()),
        });
    };
    for patch in base {
        if reference.is_empty() {
            add(patch, None);
        } else {
            for second in reference {
                add(patch, Some(second));
            }
        }
    }
    pieces
}

fn corners(area: &ImageBox) -> [f32; 4] {
    [area.min[0], area.min[1], area.max[0], area.max[1]].map(|v| v as f32)
}

/// Between the last distance that a radius reaches and the next one: squared distances are whole
/// numbers, so that no rounding decides whether a pixel is grown.
fn reach_px(dilate_px: f32) -> f32 {
    let limit = squared_limit(dilate_px).unwrap_or(0);
    (limit as f64 + 0.5).sqrt() as f32
}

fn common_uniform(
    paint: &CellPaint,
    map: &CellMap,
    field: Option<(&GpuTexture, ImageBox)>,
) -> PieceUniform {
    let per_px = 1.0 / map.zoom();
    let origin = map.origin_px();
    let (mode, metric, params, feather_px) = match paint.mode {
        Mode::Plain => (0, 0, [0.0; 3], 0.0),
        Mode::Wipe { split_in_image } => (1, 0, [split_in_image as f32, 0.0, 0.0], 0.0),
        Mode::Difference {
            metric,
            gain,
            threshold,
        } => {
            let metric = match metric {
                Metric::Signed => 0,
                Metric::Absolute => 1,
                Metric::Luma => 2,
                Metric::DeltaE2000 => 3,
            };
            (2, metric, [0.0, gain, threshold], 0.0)
        }
        Mode::Mask => (3, 0, [0.0; 3], 0.0),
        Mode::MaskedPicture => (4, 0, [0.0; 3], 0.0),
        Mode::Composite { feather_px } => (5, 0, [0.0; 3], feather_px),
    };
    let overlay = match paint.overlay {
        _ if field.is_none() => 0,
        Overlay::Off => 0,
        Overlay::Outline => 1,
        Overlay::Tint => 2,
        Overlay::Ring => 3,
        Overlay::Change => 4,
    };
    let channel = match paint.channel {
        Channel::Rgb => 0,
        Channel::Red => 1,
        Channel::Green => 2,
        Channel::Blue => 3,
        Channel::Luma => 4,
    };
    let place = field.map_or(ImageBox::whole([1.0; 2]), |(_, place)| place);
    let texels_per_image_px = field.map_or([1.0; 2], |(texture, place)| {
        let (size, covered) = (texture.size(), place.size());
        [0, 1].map(|i| f64::from(size[i]) / covered[i])
    });
    let px_per_texel = map.zoom() / texels_per_image_px[0].max(texels_per_image_px[1]);
    let has_tokens = paint.has_token_grid && field.is_some();
    PieceUniform {
        to_image: [
            per_px as f32,
            per_px as f32,
            (-origin[0] * per_px) as f32,
            (-origin[1] * per_px) as f32,
        ],
        field_place: [
            place.min[0] as f32,
            place.min[1] as f32,
            place.size()[0] as f32,
            place.size()[1] as f32,
        ],
        levels: [
            0.0,
            0.0,
            px_per_texel as f32,
            f32::from(u8::from(has_tokens)),
        ],
        choice: [mode, metric, overlay, channel],
        params: [params[0], params[1], params[2], paint.exposure_stops.exp2()],
        mask: [
            paint.dilate_px.max(0.0),
            feather_px.max(0.0),
            paint.overlay_strength,
            reach_px(paint.dilate_px),
        ],
        ..PieceUniform::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mode_says_what_it_lacks() {
        let view = View {
            center_in_image: [0.0; 2],
            zoom: 1.0,
        };
        let mut paint = CellPaint::new(ImageId::FIRST, view);
        assert_eq!(paint.missing_input(), None);
        paint.mode = Mode::Wipe {
            split_in_image: 3.0,
        };
        assert!(
            paint
                .missing_input()
                .is_some_and(|why| why.contains("reference"))
        );
        paint.mode = Mode::Mask;
        assert!(
            paint
                .missing_input()
                .is_some_and(|why| why.contains("mask"))
        );
    }

    #[test]
    fn the_reach_lies_between_whole_squared_distances() {
        // The nearest float below the square root of 2 holds no diagonal neighbour, the next but one does.
        for (dilate_px, inside, outside) in [
            (0.0, 0.0, 1.0),
            (0.5, 0.0, 1.0),
            (1.0, 1.0, 2.0),
            (std::f32::consts::SQRT_2, 1.0, 2.0),
            (1.414_213_7, 2.0, 3.0),
            (12.3, 151.0, 152.0),
            (32.0, 1024.0, 1025.0),
            (256.0, 65_536.0, 65_537.0),
        ] {
            let reach = reach_px(dilate_px);
            assert!(f32::sqrt(inside) < reach, "{dilate_px}: {reach}");
            assert!(f32::sqrt(outside) > reach, "{dilate_px}: {reach}");
        }
    }

    #[test]
    fn the_overlay_key_comes_back_to_off() {
        let mut overlay = Overlay::Off;
        for _ in 0..4 {
            overlay = overlay.next();
        }
        assert_eq!(overlay, Overlay::Off);
    }
}
