//! The pictures that go into a run: the session's, what the model is given of them, and the masks.

use super::{AuditError, hash};
use crate::imaging::ImagingError;
use crate::imaging::codecs::{decode_bytes, decode_mask_bytes, encode_grey_png, encode_rgb_png};
use crate::imaging::composite::{Placement, composite, composite_weights};
use crate::imaging::crop::{CropRequest, crop_placement};
use crate::imaging::mask::binary::{BinaryMask, PixelBox as Area};
use crate::imaging::mask::{ProcessedMask, process};
use crate::imaging::resize::{inference_size, resize_area, resize_lanczos};
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::{InferenceSize, PixelBox, RunDocument, files};
use crate::model::session::files as session_files;
use image::{GrayImage, RgbImage};
use std::path::Path;

/// A photograph and its raw mask, and both at inference size.
#[derive(Debug, Clone)]
pub struct SessionInputs {
    /// `image.png` as it lies on disk.
    pub image_file: Vec<u8>,
    /// `mask.png` as it lies on disk.
    pub mask_file: Vec<u8>,
    /// The photograph at its original size.
    pub image: RgbImage,
    /// The photograph at inference size.
    pub inference_image: RgbImage,
    /// The raw mask at inference size, not yet thresholded.
    pub raw_mask: GrayImage,
    /// Where the inference picture lies in the photograph.
    pub placement: Placement,
}

/// A mask as a recipe leaves it, with the recipe.
#[derive(Debug, Clone)]
pub struct PreparedMask {
    /// The recipe, its dilation filled in.
    pub recipe: MaskRecipe,
    /// Cleaned and grown.
    pub mask: ProcessedMask,
}

fn read(path: &Path) -> Result<Vec<u8>, AuditError> {
    std::fs::read(path).map_err(|source| AuditError::file("the file cannot be read", path, source))
}

fn imaging(path: &Path) -> impl Fn(ImagingError) -> AuditError + use<'_> {
    move |error| {
        let problem = error.to_string();
        let shown = path.display().to_string();
        // Some of its messages name the file already.
        if problem.ends_with(&shown) {
            AuditError::Refused(problem)
        } else {
            AuditError::Picture {
                problem,
                path: shown,
            }
        }
    }
}

fn decode_rgb(bytes: &[u8], path: &Path) -> Result<RgbImage, AuditError> {
    let decoded = decode_bytes(bytes, &path.display().to_string()).map_err(imaging(path))?;
    Ok(decoded.into_rgb())
}

fn decode_grey(bytes: &[u8], path: &Path) -> Result<GrayImage, AuditError> {
    let decoded = decode_mask_bytes(bytes, &path.display().to_string()).map_err(imaging(path))?;
    Ok(decoded.into_luma8())
}

/// The part of a picture inside a box.
fn cut<P: image::Pixel + 'static>(
    image: &image::ImageBuffer<P, Vec<P::Subpixel>>,
    area: Area,
) -> image::ImageBuffer<P, Vec<P::Subpixel>> {
    image::imageops::crop_imm(image, area.x, area.y, area.width, area.height).to_image()
}

/// Where the inference picture lies in a photograph of the mask's size.
fn placement(
    mask: &GrayImage,
    folder: &Path,
    size: InferenceSize,
    recipe: &MaskRecipe,
) -> Result<Placement, AuditError> {
    match size {
        InferenceSize::Whole { long_side_px } => {
            let (width, height) = mask.dimensions();
            let inferred = inference_size(width, height, long_side_px);
            Ok(Placement::whole((width, height), inferred))
        }
        InferenceSize::Crop {
            long_side_px,
            margin,
        } => {
            let request = CropRequest {
                margin,
                inference_size: (long_side_px, long_side_px),
            };
            crop_placement(mask, recipe, request).map_err(imaging(&folder.join(files::MASK)))
        }
    }
}

/// The size in pixels at which a session would be inferred; reads its mask alone. For a crop, the box is
/// sought around the mask as `recipe` grows it.
///
/// # Errors
/// [`AuditError`] naming the mask if it cannot be read, or if a crop finds nothing in it.
pub fn inference_size_of(
    folder: &Path,
    size: InferenceSize,
    recipe: &MaskRecipe,
) -> Result<(u32, u32), AuditError> {
    let path = folder.join(files::MASK);
    let mask = decode_grey(&read(&path)?, &path)?;
    Ok(placement(&mask, folder, size, recipe)?.inference_size)
}

struct Originals {
    image_file: Vec<u8>,
    mask_file: Vec<u8>,
    image: RgbImage,
    mask: GrayImage,
}

impl Originals {
    fn read(folder: &Path) -> Result<Self, AuditError> {
        let (image_path, mask_path) = (folder.join(files::IMAGE), folder.join(files::MASK));
        let (image_file, mask_file) = (read(&image_path)?, read(&mask_path)?);
        let image = decode_rgb(&image_file, &image_path)?;
        let mask = decode_grey(&mask_file, &mask_path)?;
        if mask.dimensions() != image.dimensions() {
            return Err(AuditError::Picture {
                problem: format!(
                    "mask is {}x{} but the image is {}x{}",
                    mask.width(),
                    mask.height(),
                    image.width(),
                    image.height()
                ),
                path: mask_path.display().to_string(),
            });
        }
        Ok(Self {
            image_file,
            mask_file,
            image,
            mask,
        })
    }

    fn raw_mask(&self, placement: &Placement) -> GrayImage {
        let (width, height) = placement.inference_size;
        resize_area(&cut(&self.mask, placement.region), width, height)
    }
}

impl SessionInputs {
    /// Reads a session's pictures and brings them to inference size. For a crop, the box is sought
    /// around the mask as `recipe` grows it.
    ///
    /// # Errors
    /// [`AuditError`] naming the file that is missing or wrong.
    pub fn read(
        folder: &Path,
        size: InferenceSize,
        recipe: &MaskRecipe,
    ) -> Result<Self, AuditError> {
        let originals = Originals::read(folder)?;
        let placement = placement(&originals.mask, folder, size, recipe)?;
        let (width, height) = placement.inference_size;
        Ok(Self {
            inference_image: resize_lanczos(
                &cut(&originals.image, placement.region),
                width,
                height,
            ),
            raw_mask: originals.raw_mask(&placement),
            placement,
            image: originals.image,
            image_file: originals.image_file,
            mask_file: originals.mask_file,
        })
    }

    /// The inputs as a run keeps them, held against its hashes: what was asked first is what every
    /// later cell is made from.
    ///
    /// # Errors
    /// [`AuditError`] naming the file that is missing or is not the run's.
    pub fn of_run(folder: &Path, document: &RunDocument) -> Result<Self, AuditError> {
        let originals = Originals::read(folder)?;
        let path = folder.join(files::INFERENCE_IMAGE);
        let inference_file = read(&path)?;
        for (name, bytes, expected) in [
            (files::IMAGE, &originals.image_file, &document.inputs.image),
            (files::MASK, &originals.mask_file, &document.inputs.mask),
            (
                files::INFERENCE_IMAGE,
                &inference_file,
                &document.inputs.inference_image,
            ),
        ] {
            let found = hash::sha256(bytes);
            if found != *expected {
                return Err(AuditError::Refused(format!(
                    "{name} is not the file that the run was started with: SHA-256 {found}, expected \
                     {expected}: {}",
                    folder.display()
                )));
            }
        }
        let area = document.inference_box;
        let placement = Placement {
            image_size: originals.image.dimensions(),
            region: Area {
                x: area.x,
                y: area.y,
                width: area.width,
                height: area.height,
            },
            inference_size: document.inference_size_px,
        };
        let (width, height) = placement.image_size;
        let fits = area.width > 0
            && area.height > 0
            && u64::from(area.x) + u64::from(area.width) <= u64::from(width)
            && u64::from(area.y) + u64::from(area.height) <= u64::from(height);
        if !fits {
            return Err(AuditError::Refused(format!(
                "inference_box {area:?} does not lie in the {width}x{height} picture: {}",
                folder.join(files::RUN).display()
            )));
        }
        Ok(Self {
            inference_image: decode_rgb(&inference_file, &path)?,
            raw_mask: originals.raw_mask(&placement),
            placement,
            image: originals.image,
            image_file: originals.image_file,
            mask_file: originals.mask_file,
        })
    }

    /// The original's box that the model is given.
    pub fn inference_box(&self) -> PixelBox {
        let area = self.placement.region;
        PixelBox {
            x: area.x,
            y: area.y,
            width: area.width,
            height: area.height,
        }
    }

    /// The mask that a recipe makes.
    pub fn mask(&self, recipe: &MaskRecipe) -> PreparedMask {
        PreparedMask {
            recipe: recipe.clone(),
            mask: process(&self.raw_mask, recipe),
        }
    }

    /// What keeps the mask of a recipe from being run, each in a sentence.
    ///
    /// # Errors
    /// [`AuditError`] if `subject` is not of the inference size.
    pub fn gates(
        &self,
        recipe: &MaskRecipe,
        subject: Option<&BinaryMask>,
    ) -> Result<Vec<String>, AuditError> {
        let gates = process(&self.raw_mask, recipe)
            .gates(recipe, subject)
            .map_err(|error| AuditError::Refused(error.to_string()))?;
        Ok(gates.iter().map(ToString::to_string).collect())
    }

    /// The original with a fill blended in, at the original's size.
    ///
    /// # Errors
    /// [`AuditError`] if sizes do not fit.
    pub fn composite(&self, fill: &RgbImage, mask: &PreparedMask) -> Result<RgbImage, AuditError> {
        let refused = |error: ImagingError| AuditError::Refused(error.to_string());
        let weights =
            composite_weights(&mask.mask, &mask.recipe, &self.placement).map_err(refused)?;
        composite(&self.image, fill, &weights, &self.placement).map_err(refused)
    }
}

/// What must not be touched: `subject.png` of a session or a run.
#[derive(Debug, Clone)]
pub struct Subject {
    /// The file as it lies on disk.
    pub file: Vec<u8>,
    /// White where nothing may be touched, at inference size.
    pub mask: BinaryMask,
}

/// The `subject.png` of a session, or of a run that keeps a copy, if there is one.
///
/// # Errors
/// [`AuditError`] if it cannot be read or is not of the photograph's size.
pub fn read_subject(folder: &Path, inputs: &SessionInputs) -> Result<Option<Subject>, AuditError> {
    let path = folder.join(session_files::SUBJECT);
    if !path.exists() {
        return Ok(None);
    }
    let file = read(&path)?;
    let grey = decode_grey(&file, &path)?;
    let (width, height) = inputs.placement.image_size;
    if grey.dimensions() != (width, height) {
        return Err(AuditError::Picture {
            problem: format!(
                "subject is {}x{} but the image is {width}x{height}",
                grey.width(),
                grey.height()
            ),
            path: path.display().to_string(),
        });
    }
    let (width, height) = inputs.placement.inference_size;
    let small = resize_area(&cut(&grey, inputs.placement.region), width, height);
    let mask = BinaryMask::from_grey(&small, 128);
    Ok(Some(Subject { file, mask }))
}

/// The mask in a file of the run, held against what the recipe makes now.
///
/// # Errors
/// [`AuditError`] if the file cannot be read or shows another mask.
pub fn check_kept_mask(path: &Path, mask: &PreparedMask) -> Result<(), AuditError> {
    if decode_grey(&read(path)?, path)? == mask.mask.grown.to_grey() {
        return Ok(());
    }
    Err(AuditError::Picture {
        problem: "this is not the mask that the run's recipe makes of mask.png".to_owned(),
        path: path.display().to_string(),
    })
}

fn encoded(result: Result<Vec<u8>, ImagingError>) -> Result<Vec<u8>, AuditError> {
    result.map_err(|error| AuditError::Refused(error.to_string()))
}

/// A picture as a PNG.
///
/// # Errors
/// [`AuditError`] if it has no pixels.
pub fn encode_rgb(image: &RgbImage) -> Result<Vec<u8>, AuditError> {
    encoded(encode_rgb_png(image))
}

/// A mask as a PNG.
///
/// # Errors
/// [`AuditError`] if it has no pixels.
pub fn encode_mask(mask: &BinaryMask) -> Result<Vec<u8>, AuditError> {
    encoded(encode_grey_png(&mask.to_grey()))
}
