//! A request becomes a run that `audit` can make: its session is found, and what was not asked for is
//! filled in as the command line does.

use super::record;
use super::refusal::Refusal;
use super::wire::{AuditRequest, MatrixRequest};
use crate::audit::RunRequest;
use crate::audit::start::read_session;
use crate::model::ids::RunId;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::matrix::Matrix;
use crate::model::prompt;
use crate::model::run::{InferenceSize, MatmulPath, Plan, dilation_of};
use crate::model::session::files;
use std::path::{Path, PathBuf};

/// Where a worker keeps things, and what it computes on.
#[derive(Debug, Clone)]
pub struct Places {
    /// Where runs are kept.
    pub runs_dir: PathBuf,
    /// Where sessions lie: `{user_id}/{session_id}` or `{session_id}`.
    pub sessions_dir: PathBuf,
    /// `cpu`, `cuda`, `cuda:1`, `metal`.
    pub device: String,
}

/// The run that is asked for, under a name.
///
/// # Errors
/// [`Refusal::NotFound`] if there is no such session, [`Refusal::Invalid`] naming what cannot be run.
pub fn run_request(
    request: &AuditRequest,
    run_id: &RunId,
    places: &Places,
) -> Result<RunRequest, Refusal> {
    let invalid = |error: &dyn std::fmt::Display| Refusal::Invalid(error.to_string());
    let session_dir = session_dir(request, places)?;
    let session = read_session(&session_dir).map_err(|error| invalid(&error))?;
    if session
        .user
        .as_ref()
        .is_some_and(|owner| *owner != request.user_id)
    {
        return Err(no_session(request));
    }
    let mut recipe = match &request.recipe {
        Some(recipe) => recipe.clone(),
        None => session.recipe.clone().unwrap_or_default(),
    };
    let (matrix, prompts) = matrix(request, &recipe)?;
    if request.recipe.is_none() {
        follow_first_dilation(&mut recipe, &matrix);
    }
    let run = RunRequest {
        session_dir,
        runs_dir: places.runs_dir.clone(),
        run_id: Some(run_id.clone()),
        is_new: false,
        plan: Plan { matrix, recipe },
        prompts,
        inference: request
            .inference
            .map_or(InferenceSize::PRODUCTION, InferenceSize::from),
        device: places.device.clone(),
        matmul: MatmulPath::Exact,
        gates_override: None,
    };
    run.check().map_err(|error| invalid(&error))?;
    Ok(run)
}

pub(super) fn no_session(request: &AuditRequest) -> Refusal {
    Refusal::NotFound(format!(
        "user {} has no session {} here",
        request.user_id, request.session_id
    ))
}

/// The folder of a session: the user's own before one that is not sorted by user, and those before one that
/// was brought from the bucket.
fn session_dir(request: &AuditRequest, places: &Places) -> Result<PathBuf, Refusal> {
    own_session_dir(request, places)
        .or_else(|| Some(brought_session_dir(request, places)).filter(|dir| has_pictures(dir)))
        .ok_or_else(|| no_session(request))
}

/// The folder of a session in the folder of sessions, if it is there.
pub(super) fn own_session_dir(request: &AuditRequest, places: &Places) -> Option<PathBuf> {
    let session = request.session_id.as_str();
    [
        places
            .sessions_dir
            .join(request.user_id.as_str())
            .join(session),
        places.sessions_dir.join(session),
    ]
    .into_iter()
    .find(|dir| has_pictures(dir))
}

/// Where a session lies that was brought from the bucket.
pub(super) fn brought_session_dir(request: &AuditRequest, places: &Places) -> PathBuf {
    places
        .runs_dir
        .join(record::FOLDER)
        .join("sessions")
        .join(request.user_id.as_str())
        .join(request.session_id.as_str())
}

fn has_pictures(dir: &Path) -> bool {
    dir.join(files::IMAGE).is_file() && dir.join(files::MASK).is_file()
}

/// The matrix and its prompts, the audit's where nothing is asked.
fn matrix(request: &AuditRequest, recipe: &MaskRecipe) -> Result<(Matrix, Vec<String>), Refusal> {
    let dilate_px = dilation_of(recipe).map_err(|error| Refusal::Invalid(error.to_string()))?;
    let asked = request.matrix.clone().unwrap_or_default();
    let prompts = match (&request.prompt, &asked.prompts) {
        (Some(_), Some(_)) => {
            return Err(Refusal::Invalid(
                "prompt and matrix.prompts are both given; give one of them".to_owned(),
            ));
        }
        (Some(prompt), None) => vec![prompt.clone()],
        (None, Some(prompts)) => prompts.clone(),
        (None, None) => vec![prompt::PRODUCTION.to_owned()],
    };
    let audit = Matrix::audit(dilate_px);
    let MatrixRequest {
        quants,
        guidances,
        steps,
        seeds,
        prompts: _,
        dilations,
    } = asked;
    let matrix = Matrix {
        quants: quants.unwrap_or(audit.quants),
        guidances: guidances.unwrap_or(audit.guidances),
        steps: steps.unwrap_or(audit.steps),
        seeds: seeds.unwrap_or(audit.seeds),
        prompts: (0..prompts.len()).collect(),
        dilations: dilations.unwrap_or(audit.dilations),
    };
    Ok((matrix, prompts))
}

/// A recipe that nobody asked for takes its dilation from the matrix.
fn follow_first_dilation(recipe: &mut MaskRecipe, matrix: &Matrix) {
    if let Some(first) = matrix.dilations.first() {
        recipe.dilate_px = first.value() as f32;
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::remote::wire::parse_request;

    struct Place {
        dir: tempfile::TempDir,
    }

    impl Place {
        fn new() -> Self {
            let place = Self {
                dir: tempfile::tempdir().unwrap(),
            };
            place.add_session("plain", None);
            place.add_session("jane/own", Some("jane"));
            place.add_session("shared", Some("jane"));
            place
        }

        fn add_session(&self, path: &str, user: Option<&str>) {
            let dir = self.dir.path().join("sessions").join(path);
            std::fs::create_dir_all(&dir).unwrap();
            for name in [files::IMAGE, files::MASK] {
                std::fs::write(dir.join(name), "").unwrap();
            }
            if let Some(user) = user {
                let id = path.rsplit('/').next().unwrap();
                let text = format!("(schema: 1, id: \"{id}\", user: \"{user}\")");
                std::fs::write(dir.join(files::DOCUMENT), text).unwrap();
            }
        }

        fn plan(&self, user: &str, session: &str, rest: &str) -> Result<RunRequest, Refusal> {
            let body = format!(r#"{{"user_id": "{user}", "session_id": "{session}"{rest}}}"#);
            let places = Places {
                runs_dir: self.dir.path().join("runs"),
                sessions_dir: self.dir.path().join("sessions"),
                device: "cpu".to_owned(),
            };
            run_request(
                &parse_request(body.as_bytes())?,
                &RunId::new("r").unwrap(),
                &places,
            )
        }
    }

    #[test]
    fn nothing_asked_is_the_audits_matrix_at_production() {
        let run = Place::new().plan("joe", "plain", "").unwrap();
        assert_eq!(run.plan.matrix.cell_count(), 15);
        assert_eq!(run.prompts, [prompt::PRODUCTION]);
        assert_eq!(run.inference, InferenceSize::PRODUCTION);
        assert_eq!(run.plan.recipe, MaskRecipe::default());
    }

    #[test]
    fn each_axis_can_be_asked_for() {
        let rest = r#", "matrix": {"quants": ["Q8_0"], "guidances": [2.5], "steps": [4, 8],
            "seeds": [1, 2], "prompts": ["", "grass"], "dilations": [8, 12]},
            "inference": {"crop": {"long_side_px": 64}}"#;
        let run = Place::new().plan("joe", "plain", rest).unwrap();
        assert_eq!(run.plan.matrix.cell_count(), 16);
        assert_eq!(run.prompts, ["", "grass"]);
        assert_eq!(run.plan.recipe.dilate_px, 8.0);
        let crop = InferenceSize::Crop {
            long_side_px: 64,
            margin: 0.25,
        };
        assert_eq!(run.inference, crop);
    }

    #[test]
    fn what_cannot_be_run_is_named() {
        let place = Place::new();
        for (rest, expected) in [
            (
                r#", "prompt": "a", "matrix": {"prompts": ["b"]}"#,
                "give one of them",
            ),
            (r#", "matrix": {"seeds": []}"#, "no seed"),
            (r#", "matrix": {"seeds": [1, 1]}"#, "seed 1 twice"),
            (
                r#", "inference": {"whole": {"long_side_px": 100}}"#,
                "multiple of 16",
            ),
            (
                r#", "recipe": {"threshold": 128, "min_component_px": 0, "close_px": 0, "open_px": 0,
                    "dilate_px": 4, "max_coverage": 0.4, "feather_sigma_px": 1},
                    "matrix": {"dilations": [8]}"#,
                "first dilation",
            ),
        ] {
            let refusal = place.plan("joe", "plain", rest).unwrap_err();
            assert!(matches!(refusal, Refusal::Invalid(_)), "{refusal}");
            assert!(refusal.to_string().contains(expected), "{refusal}");
        }
    }

    #[test]
    fn a_session_is_its_users_and_a_users_folder_is_no_session() {
        let place = Place::new();
        let folder = place.plan("jane", "own", "").unwrap().session_dir;
        assert!(folder.ends_with("jane/own"));
        assert!(place.plan("jane", "shared", "").is_ok());
        for (user, session) in [("joe", "own"), ("joe", "shared"), ("joe", "jane")] {
            let refusal = place.plan(user, session, "").unwrap_err();
            assert!(matches!(refusal, Refusal::NotFound(_)), "{refusal}");
        }
    }
}
