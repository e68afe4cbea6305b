//! What the mask lab and mask views need from files and threads: one thread holds the session's mask.
//!
//! Jobs that a newer one makes needless are passed over, so that a drag never queues up behind itself.

use super::effects::Outbox;
use super::lab_session::{self, read_session};
use super::lab_tuning::LabBench;
use crate::imaging::codecs;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::run::{RunDocument, files};
use crate::state::Event;
use crate::state::lab::mask_field::MaskField;
use crate::state::lab::{LabEffect, LabEvent};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};

/// An error and what caused it, in one sentence.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(source) = cause {
        text = format!("{text}: {source}");
        cause = source.source();
    }
    text
}

/// Reads the mask of a run's folder, and measures what a recipe leaves of it.
pub fn run_mask(
    dir: &Path,
    document: &RunDocument,
    recipe: &MaskRecipe,
) -> Result<MaskField, String> {
    let path = dir.join(files::MASK);
    let raw = codecs::decode_mask(&path)
        .map_err(|error| chain(&error))?
        .into_luma8();
    let (region, size) = (document.inference_box, document.inference_size_px);
    MaskField::new(&raw, recipe, region, size)
        .map_err(|error| format!("{}: {}", chain(&error), path.display()))
}

/// The lab's thread, started with the first job.
#[derive(Default)]
pub struct LabThread {
    jobs: Option<Sender<LabEffect>>,
}

impl LabThread {
    /// Hands over a job; never waits.
    pub fn send(&mut self, effect: LabEffect, outbox: &Outbox) {
        if self.jobs.is_none() {
            let (sender, receiver) = channel();
            let thread_outbox = outbox.clone();
            let started = std::thread::Builder::new()
                .name("mask lab".to_owned())
                .spawn(move || work(&receiver, &thread_outbox));
            match started {
                Ok(_) => self.jobs = Some(sender),
                Err(error) => {
                    outbox.send(Event::Problem(format!(
                        "no thread for the mask lab: {error}"
                    )));
                    return;
                }
            }
        }
        if let Some(jobs) = &self.jobs
            && jobs.send(effect).is_err()
        {
            self.jobs = None;
            outbox.send(Event::Problem(
                "the mask lab has stopped: open the session again".to_owned(),
            ));
        }
    }
}

fn work(jobs: &Receiver<LabEffect>, outbox: &Outbox) {
    let mut bench: Option<LabBench> = None;
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        batch.extend(jobs.try_iter());
        let mut jobs_left = without_needless(batch).into_iter().peekable();
        while let Some(job) = jobs_left.next() {
            match job {
                LabEffect::Open {
                    opening,
                    source,
                    sessions_dir,
                } => {
                    let result = read_session(source, &sessions_dir).map(|session| {
                        let fresh = LabBench::new(opening, session);
                        let answer = (Box::new(fresh.opened().clone()), fresh.painted(None));
                        bench = Some(fresh);
                        answer
                    });
                    outbox.send(Event::Lab(LabEvent::Opened(opening, result)));
                    if let Some(bench) = bench.as_ref().filter(|bench| bench.opening() == opening) {
                        bench.tell_pending(outbox);
                    }
                }
                LabEffect::Save { dir, recipe } => {
                    if let Some(bench) = &mut bench {
                        let result = lab_session::save(bench, &dir, &recipe);
                        outbox.send(Event::Lab(LabEvent::Saved(bench.opening(), result)));
                    }
                }
                LabEffect::Paint(first) => {
                    let mut ops = vec![first];
                    while let Some(LabEffect::Paint(op)) =
                        jobs_left.next_if(|next| matches!(next, LabEffect::Paint(_)))
                    {
                        ops.push(op);
                    }
                    if let Some(bench) = &mut bench {
                        bench.paint(&ops, outbox);
                    }
                }
                job => {
                    if let Some(bench) = &mut bench {
                        bench.perform(job, outbox);
                    }
                }
            }
        }
    }
}

/// Leaves out what a later job of the batch replaces: recipes of the same slot, and composites.
fn without_needless(batch: Vec<LabEffect>) -> Vec<LabEffect> {
    let mut kept: Vec<LabEffect> = Vec::new();
    for job in batch.into_iter().rev() {
        let is_replaced = match &job {
            LabEffect::Process { slot, .. } => kept.iter().any(
                |later| matches!(later, LabEffect::Process { slot: other, .. } if other == slot),
            ),
            LabEffect::Compose { .. } => kept
                .iter()
                .any(|later| matches!(later, LabEffect::Compose { .. })),
            _ => false,
        };
        if !is_replaced {
            kept.push(job);
        }
    }
    kept.reverse();
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::mask_recipe::MaskRecipe;
    use crate::state::lab::Slot;
    use crate::state::lab::painting::PaintOp;

    #[test]
    fn a_drag_does_not_queue_up_behind_itself() {
        let process = |slot, generation| LabEffect::Process {
            slot,
            recipe: Box::default(),
            generation,
        };
        let kept = without_needless(vec![
            process(Slot::A, 1),
            LabEffect::Paint(PaintOp::End),
            process(Slot::B, 2),
            process(Slot::A, 3),
            process(Slot::A, 4),
        ]);
        assert_eq!(
            kept,
            [
                LabEffect::Paint(PaintOp::End),
                process(Slot::B, 2),
                process(Slot::A, 4)
            ]
        );
        assert_eq!(Box::<MaskRecipe>::default().dilate_px, 10.0);
    }
}
