//! What is asked of somebody else, under a name that no run here has; or what was asked before.

use super::{Aim, job};
use crate::model::ids::{RunId, SessionId, UserId};
use crate::model::matrix::Matrix;
use crate::model::run::InferenceSize;
use crate::remote::client::backoff::Backoff;
use crate::remote::client::{Kind, RemoteNote};
use crate::remote::wire::{AuditRequest, InferenceRequest, MatrixRequest};
use crate::state::compose::RunRequest;
use crate::state::remote::Place;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

/// The note of the run that is meant, and the folder of runs.
pub(super) fn noted(aim: Aim) -> Result<(PathBuf, RemoteNote), String> {
    let (dir, is_resume) = match aim {
        Aim::Start(request) => return new_note(*request),
        Aim::PickUp(dir) => (dir, false),
        Aim::Resume(dir) => (dir, true),
    };
    let found = RemoteNote::of_folder(&dir).map_err(|error| error.to_string())?;
    let (runs_dir, mut note) = found.ok_or_else(|| {
        format!(
            "nothing is remembered of where this run was made: {}",
            dir.display()
        )
    })?;
    if is_resume && note.kind != Kind::Worker {
        return Err(match note.kind {
            Kind::Job => format!(
                "`fill-audit job start --run-id {}` makes what is missing of a job's run, and shows its time \
                 and cost first",
                note.run_id
            ),
            _ => "the Python service makes nothing but its whole matrix; compose that anew"
                .to_owned(),
        });
    }
    if is_resume {
        // All that is missing, whatever was asked for first.
        note.request.max_variations = None;
    }
    Ok((runs_dir, note))
}

fn new_note(request: RunRequest) -> Result<(PathBuf, RemoteNote), String> {
    let (kind, worker, user, session) = match &request.place {
        Place::Worker(place) | Place::Service(place) => {
            let kind = match &request.place {
                Place::Service(_) => Kind::Service,
                _ => Kind::Worker,
            };
            (kind, place.worker.clone(), &place.user, &place.session)
        }
        Place::Job(form) => {
            let name = job::place_of(form)?.name();
            (Kind::Job, name, &form.user, &form.session)
        }
        Place::ThisMachine => return Err("the run is to be made on this machine".to_owned()),
    };
    let ids = (user.clone(), session.clone());
    let now = jiff::Timestamp::now();
    let run_id = free_id(&request.runs_dir, now)?;
    let runs_dir = request.runs_dir.clone();
    let request = audit_request(request, ids);
    let note = RemoteNote::new(kind, worker, run_id, request, now);
    Ok((runs_dir, note))
}

/// A name by the clock that no run here has.
fn free_id(runs_dir: &Path, now: jiff::Timestamp) -> Result<RunId, String> {
    let base = now.strftime("%Y%m%d-%H%M%S").to_string();
    let is_free = |run_id: &RunId| {
        !runs_dir.join(run_id.as_str()).exists()
            && matches!(RemoteNote::read(runs_dir, run_id), Ok(None))
    };
    // Other machines may ask the same worker in the same second.
    let tail = u16::try_from(Backoff::seed() & 0xffff);
    let tail = tail.unwrap_or_default();
    (0..100_u16)
        .filter_map(|n| RunId::new(format!("{base}-{:04x}", tail.wrapping_add(n))).ok())
        .find(is_free)
        .ok_or_else(|| format!("no free name for a run was found in {}", runs_dir.display()))
}

fn audit_request(request: RunRequest, (user_id, session_id): (UserId, SessionId)) -> AuditRequest {
    let Matrix {
        quants,
        guidances,
        steps,
        seeds,
        prompts: _,
        dilations,
    } = request.plan.matrix;
    AuditRequest {
        user_id,
        session_id,
        run_id: None,
        matrix: Some(MatrixRequest {
            quants: Some(quants),
            guidances: Some(guidances),
            steps: Some(steps),
            seeds: Some(seeds),
            prompts: Some(request.prompts),
            dilations: Some(dilations),
        }),
        recipe: Some(request.plan.recipe),
        prompt: None,
        max_variations: request
            .max_cells
            .and_then(|cells| NonZeroU32::new(u32::try_from(cells).unwrap_or(u32::MAX))),
        inference: Some(match request.inference {
            InferenceSize::Whole { long_side_px } => InferenceRequest::Whole { long_side_px },
            InferenceSize::Crop {
                long_side_px,
                margin,
            } => InferenceRequest::Crop {
                long_side_px,
                margin,
            },
        }),
    }
}
