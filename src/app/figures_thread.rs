//! Computes the figures of the three zones: one thread that keeps what the next cell needs again.

use super::effects::Outbox;
use super::lab_effects::chain;
use crate::imaging::codecs;
use crate::imaging::composite::{Placement, composite_weights};
use crate::imaging::mask::process;
use crate::imaging::zones::{ZoneMap, ZoneReport, zone_report};
use crate::imaging::{ImagingError, RgbImage};
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::files;
use crate::state::Event;
use crate::state::lab::mask_field::{inference_mask, region_of};
use crate::state::seeing::SeeEvent;
use crate::state::seeing::figures::FiguresJob;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, Sender, channel};

/// Larger pictures have no figures: both of them, ΔE of every pixel and the zones are held at once, some
/// 16 bytes a pixel.
const MAX_PIXELS: u64 = 64_000_000;

/// The thread, started with the first job.
#[derive(Default)]
pub struct FiguresThread {
    jobs: Option<Sender<FiguresJob>>,
}

impl FiguresThread {
    /// Hands over a job; never waits. Each job is answered.
    pub fn send(&mut self, job: FiguresJob, outbox: &Outbox) {
        if self.jobs.is_none() {
            let (sender, receiver) = channel();
            let thread_outbox = outbox.clone();
            let started = std::thread::Builder::new()
                .name("figures".to_owned())
                .spawn(move || work(&receiver, &thread_outbox));
            if let Err(error) = started {
                answer(outbox, job, Err(format!("no thread for figures: {error}")));
                return;
            }
            self.jobs = Some(sender);
        }
        if let Some(jobs) = &self.jobs
            && let Err(unsent) = jobs.send(job)
        {
            self.jobs = None;
            answer(
                outbox,
                unsent.0,
                Err("the thread for figures has ended".to_owned()),
            );
        }
    }
}

fn answer(outbox: &Outbox, job: FiguresJob, result: Result<ZoneReport, String>) {
    outbox.send(Event::See(SeeEvent::Figures {
        generation: job.generation,
        reading: job.reading,
        key: job.key,
        result,
    }));
}

fn work(jobs: &Receiver<FiguresJob>, outbox: &Outbox) {
    let mut kept = Kept::default();
    while let Ok(job) = jobs.recv() {
        // A decoder that panics on a broken file must not leave the panel waiting for ever.
        let result = catch_unwind(AssertUnwindSafe(|| kept.figures(&job))).unwrap_or_else(|_| {
            kept = Kept::default();
            Err(format!(
                "the picture cannot be read: {}",
                job.picture.display()
            ))
        });
        answer(outbox, job, result);
    }
}

/// A run's opening and reading.
type At = [u64; 2];

/// What the next cell of the same run most likely needs again.
#[derive(Default)]
struct Kept {
    /// By the run's folder and the recipe.
    zones: Option<(PathBuf, At, MaskRecipe, ZoneMap)>,
    /// By its file.
    base: Option<(PathBuf, At, RgbImage)>,
}

impl Kept {
    fn figures(&mut self, job: &FiguresJob) -> Result<ZoneReport, String> {
        let picture = read(&job.picture)?;
        let at = [job.generation, job.reading];
        let file = &job.key.base;
        let has_base = (self.base.as_ref()).is_some_and(|(of, then, _)| of == file && *then == at);
        if !has_base {
            self.base = Some((file.clone(), at, read(file)?));
        }
        let has_zones = (self.zones.as_ref()).is_some_and(|(dir, then, recipe, _)| {
            *dir == job.dir && *then == at && *recipe == job.recipe
        });
        if !has_zones {
            self.zones = Some((job.dir.clone(), at, job.recipe.clone(), zones(job)?));
        }
        let (Some((_, _, base)), Some((_, _, _, zones))) = (&self.base, &self.zones) else {
            return Err("the pictures are not there".to_owned());
        };
        zone_report(&picture, base, zones)
            .map_err(|error| format!("the pictures do not lie over each other: {}", chain(&error)))
    }
}

fn read(path: &Path) -> Result<RgbImage, String> {
    let (width, height) = codecs::dimensions(path).map_err(|error| chain(&error))?;
    let pixels = u64::from(width) * u64::from(height);
    if pixels > MAX_PIXELS {
        return Err(format!(
            "no figures for pictures above {} megapixels; this one has {}: {}",
            MAX_PIXELS / 1_000_000,
            pixels / 1_000_000,
            path.display()
        ));
    }
    codecs::decode(path)
        .map(codecs::Decoded::into_rgb)
        .map_err(|error| chain(&error))
}

/// The zones of a cell, from the run's mask by the rules that the composite was made by.
fn zones(job: &FiguresJob) -> Result<ZoneMap, String> {
    let path = job.dir.join(files::MASK);
    let raw = codecs::decode_mask(&path)
        .map_err(|error| chain(&error))?
        .into_luma8();
    let placement = Placement {
        image_size: raw.dimensions(),
        region: region_of(job.document.inference_box),
        inference_size: job.document.inference_size_px,
    };
    let made = || -> Result<ZoneMap, ImagingError> {
        let small = inference_mask(&raw, placement.region, placement.inference_size)?;
        let mask = process(&small, &job.recipe);
        let weights = composite_weights(&mask, &job.recipe, &placement)?;
        ZoneMap::new(&mask, &weights, &placement)
    };
    made().map_err(|error| format!("{}: {}", chain(&error), path.display()))
}
