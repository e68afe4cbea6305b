//! What drawing the lab keeps between frames: its view, what the GPU was handed, an unfinished outline.

use crate::imaging::GrayImage;
use crate::imaging::mask::binary::PixelBox;
use crate::state::lab::painting::joined;
use crate::state::lab::result::{LabField, Painted, RawPixel};
use crate::state::lab::{LabView, Slot};
use crate::ui::canvas::{Canvas, DistanceField, FieldId, Framing, ImageId, RawMask};
use eframe::egui::{self, Color32, ColorImage, TextureHandle, TextureOptions};
use std::sync::Arc;

/// The field ids of the two recipes: distances to the cleaned mask.
const CLEANED: [FieldId; 2] = [FieldId(2), FieldId(3)];
/// The field ids of the two recipes: the mask after its threshold.
const RAW: [FieldId; 2] = [FieldId(4), FieldId(5)];

/// What drawing the lab keeps between frames.
#[derive(Default)]
pub struct LabMemory {
    /// Where all cells of the lab look.
    pub framing: Framing,
    /// The request to the view that was answered last.
    pub request_seen: Option<u64>,
    /// The outline of a lasso that is being drawn, in pixels of the original.
    pub lasso: Vec<[f32; 2]>,
    /// Whether a stroke is being drawn.
    pub has_stroke: bool,
    /// The point under the cursor.
    pub cursor_in_image: Option<[f64; 2]>,
    /// Zoom and cursor as they are shown.
    pub status: String,
    /// The exact composites of the two recipes that the canvas holds, by their revisions.
    pub composed: [Option<(u64, ImageId)>; 2],
    opening: u64,
    uploaded: [Option<Arc<LabField>>; 2],
    uploads: u64,
    tint: Option<Tint>,
}

/// The painted mask on the GPU.
struct Tint {
    texture: TextureHandle,
    revision: u64,
    mask: Arc<GrayImage>,
    /// Mask pixels along one texel: more than 1 where the GPU takes no texture of the mask's size.
    step: u32,
}

impl LabMemory {
    /// Forgets what belongs to another session.
    pub fn begin(&mut self, view: &LabView) {
        if self.opening != view.opening {
            let uploads = self.uploads;
            *self = Self {
                opening: view.opening,
                uploads,
                ..Self::default()
            };
        }
    }

    /// How often a field was handed to the GPU: never while the dilation is dragged.
    pub const fn field_uploads(&self) -> u64 {
        self.uploads
    }

    /// Hands the fields to the GPU where they are others, and answers those of the recipe on screen:
    /// cleaned and raw.
    pub fn fields(&mut self, view: &LabView, canvas: Option<&mut Canvas>) -> Option<[FieldId; 2]> {
        let slot = view.shown_slot();
        let index = Slot::index(slot);
        let field = &view.shown_result()?.field;
        let is_there = self.uploaded[index]
            .as_ref()
            .is_some_and(|uploaded| Arc::ptr_eq(uploaded, field));
        if !is_there {
            self.uploads += 1;
            if let Some(canvas) = canvas {
                upload(field, index, canvas);
            }
            self.uploaded[index] = Some(Arc::clone(field));
        }
        Some([CLEANED[index], RAW[index]])
    }

    /// The painted mask as a texture, brought up to date where it changed.
    pub fn tint(&mut self, ctx: &egui::Context, painted: &Painted) -> &TextureHandle {
        let max_side = ctx.input(|input| input.max_texture_side) as u32;
        let (width, height) = painted.mask.dimensions();
        let step = width.max(height).div_ceil(max_side.max(1)).max(1);
        let whole = PixelBox::whole(width, height);
        let is_next = |tint: &Tint| tint.revision + 1 == painted.revision && tint.step == step;
        match &mut self.tint {
            Some(tint) if Arc::ptr_eq(&tint.mask, &painted.mask) => {}
            Some(tint) if is_next(tint) && painted.changed.is_some() => {
                let area = painted.changed.unwrap_or(whole);
                let (pos, image) = tinted(&painted.mask, area, step);
                tint.texture
                    .set_partial(pos, image, TextureOptions::NEAREST);
                tint.revision = painted.revision;
                tint.mask = Arc::clone(&painted.mask);
            }
            Some(tint) if tint.step == step => {
                // Several changes came at once: what differs is found by looking.
                if let Some(area) = difference(&tint.mask, &painted.mask) {
                    let (pos, image) = tinted(&painted.mask, area, step);
                    tint.texture
                        .set_partial(pos, image, TextureOptions::NEAREST);
                }
                tint.revision = painted.revision;
                tint.mask = Arc::clone(&painted.mask);
            }
            _ => self.tint = None,
        }
        &self
            .tint
            .get_or_insert_with(|| Tint {
                texture: ctx.load_texture(
                    "painted mask",
                    tinted(&painted.mask, whole, step).1,
                    TextureOptions::NEAREST,
                ),
                revision: painted.revision,
                mask: Arc::clone(&painted.mask),
                step,
            })
            .texture
    }
}

fn upload(field: &LabField, index: usize, canvas: &mut Canvas) {
    let raw: Vec<RawMask> = field
        .raw
        .iter()
        .map(|pixel| match pixel {
            RawPixel::Off => RawMask::Off,
            RawPixel::On => RawMask::On,
            RawPixel::Speck => RawMask::Speck,
        })
        .collect();
    let after_threshold: Vec<f32> = field
        .raw
        .iter()
        .map(|pixel| {
            if *pixel == RawPixel::Off {
                f32::INFINITY
            } else {
                0.0
            }
        })
        .collect();
    let fields = [
        (CLEANED[index], &field.distance_px, Some(raw.as_slice())),
        (RAW[index], &after_threshold, None),
    ];
    for (id, distance_px, raw) in fields {
        let field = DistanceField {
            size: field.size,
            distance_px,
            raw,
        };
        if let Err(problem) = canvas.set_field(id, &field) {
            tracing::warn!("the mask cannot be shown: {problem}");
        }
    }
}

/// The texels over an area of the mask, and where they begin.
fn tinted(mask: &GrayImage, area: PixelBox, step: u32) -> ([usize; 2], ColorImage) {
    let (left, top) = (area.x / step, area.y / step);
    let texels = |side: u32| side.div_ceil(step);
    let right = texels(area.right().min(mask.width())).max(left + 1);
    let bottom = texels(area.bottom().min(mask.height())).max(top + 1);
    let mut pixels = Vec::with_capacity(((right - left) * (bottom - top)) as usize);
    for y in top..bottom {
        for x in left..right {
            let at = (
                (x * step).min(mask.width() - 1),
                (y * step).min(mask.height() - 1),
            );
            let grey = mask.get_pixel(at.0, at.1).0[0];
            pixels.push(Color32::from_rgba_unmultiplied(
                255,
                0,
                153,
                (u16::from(grey) * 110 / 255) as u8,
            ));
        }
    }
    let size = [(right - left) as usize, (bottom - top) as usize];
    ([left as usize, top as usize], ColorImage::new(size, pixels))
}

/// The box of the pixels in which two masks of one size differ.
fn difference(a: &GrayImage, b: &GrayImage) -> Option<PixelBox> {
    let width = a.width().max(1) as usize;
    let rows = a
        .as_raw()
        .chunks_exact(width)
        .zip(b.as_raw().chunks_exact(width));
    let mut found: Option<PixelBox> = None;
    for (y, (a, b)) in (0_u32..).zip(rows) {
        let differs = |(a, b): (&u8, &u8)| a != b;
        let (Some(first), Some(last)) = (
            a.iter().zip(b).position(differs),
            a.iter().zip(b).rposition(differs),
        ) else {
            continue;
        };
        let row = PixelBox {
            x: first as u32,
            y,
            width: (last - first + 1) as u32,
            height: 1,
        };
        found = Some(found.map_or(row, |found| joined(found, row)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_area_that_differs_is_found() {
        let a = GrayImage::new(40, 30);
        let mut b = a.clone();
        assert_eq!(difference(&a, &b), None);
        b.put_pixel(7, 9, image::Luma([255]));
        b.put_pixel(20, 12, image::Luma([255]));
        assert_eq!(
            difference(&a, &b),
            Some(PixelBox {
                x: 7,
                y: 9,
                width: 14,
                height: 4
            })
        );
    }

    #[test]
    fn a_mask_larger_than_a_texture_is_shown_coarser() {
        let mask = GrayImage::from_pixel(10, 6, image::Luma([255]));
        let (pos, image) = tinted(
            &mask,
            PixelBox {
                x: 4,
                y: 2,
                width: 5,
                height: 3,
            },
            4,
        );
        assert_eq!((pos, image.size), ([1, 0], [2, 2]));
    }
}
