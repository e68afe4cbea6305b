//! The pictures that go into a run: the session's, what the model is given of them, and the masks.

use super::AuditError;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::{InferenceSize, PixelBox, RunDocument, files};
use image::{GrayImage, RgbImage};
use std::path::Path;

/// A photograph and its raw mask, and both at inference size.
pub struct SessionInputs {
    /// `image.png` as it lies on disk.
    pub image_file: Vec<u8>,
    /// `mask.png` as it lies on disk.
    pub mask_file: Vec<u8>,
    /// The photograph at its original size.
    pub image: RgbImage,
    /// The photograph at inference size.
    pub inference_image: RgbImage,
    /// The raw mask at inference size.
    pub raw_mask: GrayImage,
    /// The original's box that the model is given.
    pub inference_box: PixelBox,
}

/// A mask as a recipe leaves it.
pub struct ProcessedMask {
    /// What the model is given, 255 where it is filled.
    pub grown: GrayImage,
}

impl SessionInputs {
    pub fn read(folder: &Path, size: InferenceSize) -> Result<Self, AuditError> {
        let image_file = std::fs::read(folder.join(files::IMAGE)).map_err(|s| AuditError::file("the session's picture cannot be read", &folder.join(files::IMAGE), s))?;
        let mask_file = std::fs::read(folder.join(files::MASK)).map_err(|s| AuditError::file("the session's mask cannot be read", &folder.join(files::MASK), s))?;
        let bad = |e: image::ImageError| AuditError::Picture { problem: e.to_string(), path: folder.display().to_string() };
        let image = image::load_from_memory(&image_file).map_err(bad)?.to_rgb8();
        let mask = image::load_from_memory(&mask_file).map_err(bad)?.to_luma8();
        let (w, h) = image.dimensions();
        let long = match size { InferenceSize::Whole { long_side_px } | InferenceSize::Crop { long_side_px, .. } => long_side_px };
        let f = (long as f64 / w.max(h) as f64).min(1.0);
        let (iw, ih) = (((w as f64 * f) as u32 / 16).max(1) * 16, ((h as f64 * f) as u32 / 16).max(1) * 16);
        Ok(Self {
            image_file, mask_file,
            inference_image: image::imageops::resize(&image, iw, ih, image::imageops::FilterType::Lanczos3),
            raw_mask: image::imageops::resize(&mask, iw, ih, image::imageops::FilterType::Triangle),
            inference_box: PixelBox { x: 0, y: 0, width: w, height: h },
            image,
        })
    }

    pub fn of_run(folder: &Path, document: &RunDocument) -> Result<Self, AuditError> {
        Self::read(folder, document.inference)
    }

    pub fn mask(&self, recipe: &MaskRecipe) -> ProcessedMask {
        let mut grown = self.raw_mask.clone();
        for p in grown.pixels_mut() { p.0[0] = if p.0[0] >= recipe.threshold { 255 } else { 0 }; }
        ProcessedMask { grown }
    }

    pub fn gates(&self, _recipe: &MaskRecipe, _subject: Option<&GrayImage>) -> Vec<String> { Vec::new() }

    pub fn composite(&self, fill: &RgbImage, _mask: &ProcessedMask) -> Result<RgbImage, AuditError> {
        Ok(image::imageops::resize(fill, self.image.width(), self.image.height(), image::imageops::FilterType::Lanczos3))
    }
}

pub fn read_subject(_folder: &Path, _inputs: &SessionInputs) -> Result<Option<GrayImage>, AuditError> { Ok(None) }

fn encode(write: impl FnOnce(&mut std::io::Cursor<Vec<u8>>) -> image::ImageResult<()>) -> Result<Vec<u8>, AuditError> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    write(&mut bytes).map_err(|e| AuditError::Picture { problem: e.to_string(), path: String::new() })?;
    Ok(bytes.into_inner())
}
pub fn encode_rgb(image: &RgbImage) -> Result<Vec<u8>, AuditError> { encode(|w| image.write_to(w, image::ImageFormat::Png)) }
pub fn encode_grey(image: &GrayImage) -> Result<Vec<u8>, AuditError> { encode(|w| image.write_to(w, image::ImageFormat::Png)) }
