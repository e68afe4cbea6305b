//! What the lab's thread holds of a session: the painted mask, and for each of the two recipes what it
//! made of it so far. Files of sessions are read and written next door, in `lab_session`.

use super::effects::Outbox;
use super::lab_effects::chain;
use super::lab_session::SessionFiles;
use crate::imaging::codecs;
use crate::imaging::composite::{composite, composite_weights};
use crate::imaging::mask::binary::PixelBox;
use crate::imaging::mask::{BinaryMask, Components, MaskFix, MaskStages, inspect_mask, process};
use crate::imaging::resize::TOKEN_PX;
use crate::imaging::{GrayImage, RgbImage};
use crate::model::cell::CellKey;
use crate::model::mask_recipe::MaskRecipe;
use crate::state::Event;
use crate::state::lab::mask_field::inference_mask;
use crate::state::lab::painting::{MaskPainting, PaintOp, joined};
use crate::state::lab::result::{
    Composed, LabField, LabResult, Opened, Painted, PendingMask, RawPixel,
};
use crate::state::lab::{LabEffect, LabEvent, Slot};
use image::DynamicImage;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A recipe on its way: what it made of the mask, and the field that was last handed out.
struct Tuned {
    stages: MaskStages,
    generation: u64,
    field: Option<((u64, u64), Arc<LabField>)>,
    /// What was computed before the mask was painted on.
    former: (u64, u64),
}

/// A session in the lab's thread.
pub(super) struct LabBench {
    opening: u64,
    opened: Opened,
    painting: MaskPainting,
    saved_revision: u64,
    /// SHA-256 of the session's mask file, as it was read or written last.
    pub(super) mask_sha256: Option<String>,
    small: GrayImage,
    subject: Option<BinaryMask>,
    tuned: [Option<Tuned>; 2],
    pending: Option<(String, DynamicImage)>,
    original: Option<RgbImage>,
    fill: Option<(PathBuf, RgbImage)>,
    composites: u64,
}

impl LabBench {
    pub fn new(opening: u64, files: SessionFiles) -> Self {
        let SessionFiles {
            opened,
            mask,
            subject,
            pending,
            mask_sha256,
        } = files;
        let mut bench = Self {
            opening,
            opened,
            painting: MaskPainting::new(mask),
            saved_revision: 0,
            mask_sha256,
            small: GrayImage::new(0, 0),
            subject,
            tuned: [None, None],
            pending,
            original: None,
            fill: None,
            composites: 0,
        };
        bench.shrink();
        bench
    }

    pub const fn opening(&self) -> u64 {
        self.opening
    }

    pub const fn opened(&self) -> &Opened {
        &self.opened
    }

    pub const fn painting(&self) -> &MaskPainting {
        &self.painting
    }

    pub fn is_changed(&self) -> bool {
        self.painting.revision() != self.saved_revision
    }

    /// The mask was written as it is now.
    pub fn note_saved(&mut self) -> u64 {
        self.saved_revision = self.painting.revision();
        self.saved_revision
    }

    pub fn painted(&self, changed: Option<PixelBox>) -> Painted {
        Painted {
            revision: self.painting.revision(),
            mask: Arc::clone(self.painting.mask()),
            changed,
            can_undo: self.painting.can_undo(),
            can_redo: self.painting.can_redo(),
            is_changed: self.is_changed(),
        }
    }

    fn size(&self) -> (u32, u32) {
        self.opened.placement.image_size
    }

    fn shrink(&mut self) {
        let placement = &self.opened.placement;
        match inference_mask(
            self.painting.mask(),
            placement.region,
            placement.inference_size,
        ) {
            Ok(small) => self.small = small,
            // The sizes were checked when the session was read.
            Err(error) => tracing::error!("{}", chain(&error)),
        }
    }

    /// Does a job that needs no file of the session itself.
    pub fn perform(&mut self, job: LabEffect, outbox: &Outbox) {
        match job {
            LabEffect::Process {
                slot,
                recipe,
                generation,
            } => {
                self.tune(slot, &recipe, generation);
                self.tell_result(slot, outbox);
            }
            LabEffect::Paint(op) => self.paint(std::slice::from_ref(&op), outbox),
            LabEffect::LoadMask(path) => match codecs::decode_mask(&path) {
                Ok(decoded) => {
                    let name = path.display().to_string();
                    self.consider(name, decoded, outbox);
                }
                Err(error) => outbox.send(Event::Problem(chain(&error))),
            },
            LabEffect::PasteMask { size, rgba } => {
                match image::RgbaImage::from_raw(size.0, size.1, rgba.to_vec()) {
                    Some(image) => {
                        let name = "the pasted picture".to_owned();
                        self.consider(name, DynamicImage::ImageRgba8(image), outbox);
                    }
                    None => outbox.send(Event::Problem(format!(
                        "the pasted picture has too few pixels for {}x{}",
                        size.0, size.1
                    ))),
                }
            }
            LabEffect::FixMask(fix) => self.fix(fix, outbox),
            LabEffect::UseMask => {
                if let Some((_, mask)) = self.pending.take() {
                    self.take(&mask.to_luma8(), outbox);
                }
            }
            LabEffect::DropMask => {
                self.pending = None;
                self.tell_pending(outbox);
            }
            LabEffect::Compose { fill, cell, recipe } => {
                match self.compose(&fill, *cell, &recipe) {
                    Ok(composed) => {
                        outbox.send(Event::Lab(LabEvent::Composed(
                            self.opening,
                            Arc::new(composed),
                        )));
                    }
                    Err(problem) => outbox.send(Event::Problem(problem)),
                }
            }
            LabEffect::Open { .. } | LabEffect::Save { .. } | LabEffect::ChooseMask => {}
        }
    }

    /// Paints several things before the recipes are carried out again.
    pub fn paint(&mut self, ops: &[PaintOp], outbox: &Outbox) {
        let changed = ops
            .iter()
            .filter_map(|op| self.painting.apply(op))
            .reduce(joined);
        self.after_painting(changed, outbox);
    }

    fn tune(&mut self, slot: Slot, recipe: &MaskRecipe, generation: u64) {
        let place = &mut self.tuned[slot.index()];
        if let Some(tuned) = place {
            tuned.stages.set_recipe(recipe.clone());
            tuned.generation = generation;
        } else {
            let stages = MaskStages::new(self.small.clone(), recipe.clone());
            *place = Some(Tuned {
                stages,
                generation,
                field: None,
                former: (0, 0),
            });
        }
    }

    fn tell_result(&mut self, slot: Slot, outbox: &Outbox) {
        let mask_revision = self.painting.revision();
        let Some(tuned) = &mut self.tuned[slot.index()] else {
            return;
        };
        match tuned.result(mask_revision, self.subject.as_ref()) {
            Ok(result) => {
                let event = LabEvent::Processed(self.opening, slot, Arc::new(result));
                outbox.send(Event::Lab(event));
            }
            Err(problem) => outbox.send(Event::Problem(problem)),
        }
    }

    /// Everything that follows from another mask.
    fn after_painting(&mut self, changed: Option<PixelBox>, outbox: &Outbox) {
        let painted = self.painted(changed);
        outbox.send(Event::Lab(LabEvent::Painted(self.opening, painted)));
        if changed.is_none() {
            return;
        }
        self.shrink();
        for slot in [Slot::A, Slot::B] {
            if let Some(tuned) = &mut self.tuned[slot.index()] {
                tuned.repaint(&self.small);
            }
            self.tell_result(slot, outbox);
        }
    }

    /// Takes a mask if nothing is odd about it; asks otherwise.
    fn consider(&mut self, name: String, mask: DynamicImage, outbox: &Outbox) {
        if inspect_mask(&mask, self.size()).is_empty() {
            self.pending = None;
            self.take(&mask.to_luma8(), outbox);
        } else {
            self.pending = Some((name, mask));
            self.tell_pending(outbox);
        }
    }

    fn fix(&mut self, fix: MaskFix, outbox: &Outbox) {
        if let Some((name, mask)) = self.pending.take() {
            let fixed = fix.apply(&mask, self.size());
            self.consider(name, fixed, outbox);
        }
    }

    fn take(&mut self, mask: &GrayImage, outbox: &Outbox) {
        let changed = self.painting.replace(mask);
        self.after_painting(changed, outbox);
        self.tell_pending(outbox);
    }

    /// Says which mask waits for a word, if any.
    pub fn tell_pending(&self, outbox: &Outbox) {
        let pending = self.pending.as_ref().map(|(name, mask)| PendingMask {
            name: name.clone(),
            size: (mask.width(), mask.height()),
            findings: inspect_mask(mask, self.size()),
        });
        outbox.send(Event::Lab(LabEvent::Pending(self.opening, pending)));
    }

    fn compose(
        &mut self,
        fill_path: &Path,
        cell: CellKey,
        recipe: &MaskRecipe,
    ) -> Result<Composed, String> {
        let said = |error: crate::imaging::ImagingError| chain(&error);
        if self.original.is_none() {
            let decoded = codecs::decode(&self.opened.image).map_err(said)?;
            self.original = Some(decoded.into_rgb());
        }
        if self.fill.as_ref().is_none_or(|(path, _)| path != fill_path) {
            let decoded = codecs::decode(fill_path).map_err(said)?;
            self.fill = Some((fill_path.to_owned(), decoded.into_rgb()));
        }
        let (Some(original), Some((_, fill))) = (&self.original, &self.fill) else {
            return Err(format!("the fill is not there: {}", fill_path.display()));
        };
        let placement = &self.opened.placement;
        let ready = self
            .tuned
            .iter()
            .flatten()
            .find(|tuned| tuned.stages.recipe() == recipe);
        let weights = match ready {
            Some(tuned) => composite_weights(tuned.stages.mask(), recipe, placement),
            None => composite_weights(&process(&self.small, recipe), recipe, placement),
        }
        .map_err(said)?;
        let picture = composite(original, fill, &weights, placement).map_err(said)?;
        let mut bytes = std::io::Cursor::new(Vec::new());
        DynamicImage::ImageRgb8(picture)
            .write_to(&mut bytes, image::ImageFormat::Bmp)
            .map_err(|error| format!("the composite cannot be shown: {error}"))?;
        self.composites += 1;
        Ok(Composed {
            cell,
            recipe: recipe.clone(),
            mask_revision: self.painting.revision(),
            picture: bytes.into_inner().into(),
            revision: self.composites,
        })
    }
}

impl Tuned {
    /// The same recipe on another mask.
    fn repaint(&mut self, small: &GrayImage) {
        let fresh = MaskStages::new(small.clone(), self.stages.recipe().clone());
        let old = std::mem::replace(&mut self.stages, fresh);
        self.former.0 += old.field_computations();
        self.former.1 += old.clean_ups();
        self.field = None;
    }

    fn result(
        &mut self,
        mask_revision: u64,
        subject: Option<&BinaryMask>,
    ) -> Result<LabResult, String> {
        let specks = self.stages.specks();
        let counts = (self.stages.field_computations(), self.stages.clean_ups());
        let field = match &self.field {
            Some((made_at, field)) if *made_at == counts => Arc::clone(field),
            _ => {
                let field = Arc::new(field_of(&mut self.stages, &specks));
                let counts = (self.stages.field_computations(), self.stages.clean_ups());
                self.field = Some((counts, Arc::clone(&field)));
                field
            }
        };
        let stages = &self.stages;
        Ok(LabResult {
            generation: self.generation,
            recipe: stages.recipe().clone(),
            mask_revision,
            field,
            figures: stages.figures(),
            gates: stages.gates(subject).map_err(|error| chain(&error))?,
            speck_px: specks.white_px(),
            specks: Components::of(&specks).count(),
            uncovered_px: stages.uncovered().white_px(),
            masked_tokens: masked_tokens(&stages.mask().grown),
            field_computations: self.former.0 + stages.field_computations(),
            clean_ups: self.former.1 + stages.clean_ups(),
        })
    }
}

fn field_of(stages: &mut MaskStages, specks: &BinaryMask) -> LabField {
    let field = stages.field();
    let (width, height) = field.size();
    let distance_px = field.distance_f32();
    let on = stages.mask().raw.to_grey();
    let dropped = specks.to_grey();
    let raw = on
        .as_raw()
        .iter()
        .zip(dropped.as_raw())
        .map(|(&on, &dropped)| match (on, dropped) {
            (0, _) => RawPixel::Off,
            (_, 0) => RawPixel::On,
            _ => RawPixel::Speck,
        })
        .collect();
    LabField {
        size: [width, height],
        distance_px,
        raw,
    }
}

/// Tokens of 16 x 16 pixels that hold a white one.
fn masked_tokens(mask: &BinaryMask) -> u64 {
    let Some(area) = mask.bounding_box() else {
        return 0;
    };
    let mut count = 0;
    for top in (area.y / TOKEN_PX * TOKEN_PX..area.bottom()).step_by(TOKEN_PX as usize) {
        for left in (area.x / TOKEN_PX * TOKEN_PX..area.right()).step_by(TOKEN_PX as usize) {
            let mut rows = top..top + TOKEN_PX;
            count += u64::from(rows.any(|y| (left..left + TOKEN_PX).any(|x| mask.is_white(x, y))));
        }
    }
    count
}
