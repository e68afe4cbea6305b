//! Composing a run: what stands in the form, and the request that it becomes.

use super::remote::{JobForm, Place, PlaceKind, WorkerPlace};
use crate::model::cell::{Guidance, Quant, RadiusPx, Steps};
use crate::model::ids::{IdError, SessionId, UserId};
use crate::model::mask_recipe::MaskRecipe;
use crate::model::matrix::Matrix;
use crate::model::prompt;
use crate::model::run::{InferenceSize, MatmulPath, Plan};
use std::path::PathBuf;
use std::str::FromStr;

/// The form as it is typed. Lists are separated by commas or spaces.
#[derive(Debug, Clone, PartialEq)]
pub struct ComposeForm {
    /// Where it is made.
    pub place: PlaceKind,
    /// The worker's address.
    pub worker: String,
    /// The project of the Cloud Run job.
    pub job_project: String,
    /// Its region.
    pub job_region: String,
    /// Its name.
    pub job_name: String,
    /// Whose session the worker takes.
    pub user: String,
    /// The session as the worker knows it.
    pub session_id: String,
    /// The session's folder.
    pub session_dir: String,
    /// The folder of weights.
    pub models_dir: String,
    /// Where runs are kept.
    pub runs_dir: String,
    /// Quants.
    pub quants: String,
    /// Guidance scales.
    pub guidances: String,
    /// Numbers of steps.
    pub steps: String,
    /// Seeds.
    pub seeds: String,
    /// Prompts, one each.
    pub prompts: Vec<String>,
    /// Dilations in pixels at inference size.
    pub dilations: String,
    /// The rest of the mask recipe.
    pub recipe: MaskRecipe,
    /// Whether only the mask's box is given to the model.
    pub is_cropped: bool,
    /// Longest side that the model is given, in pixels.
    pub long_side_px: u32,
    /// Margin around the mask's box as a fraction of its longer side.
    pub crop_margin: f32,
    /// `cpu`, `cuda:0`, `metal:0`.
    pub device: String,
    /// Whether integer kernels are used; stamped on each cell.
    pub has_integer_kernels: bool,
    /// At most so many cells; empty for all.
    pub max_cells: String,
    /// Why the mask's gates are overridden; empty if they are not.
    pub gates_override: String,
}

impl Default for ComposeForm {
    fn default() -> Self {
        Self {
            place: PlaceKind::ThisMachine,
            worker: String::new(),
            job_project: String::new(),
            job_region: "europe-west4".to_owned(),
            job_name: "fill-audit".to_owned(),
            user: String::new(),
            session_id: String::new(),
            session_dir: String::new(),
            models_dir: String::new(),
            runs_dir: "runs".to_owned(),
            quants: "Q4_0, Q5_K_S, Q8_0".to_owned(),
            guidances: "2, 4, 10, 20, 30".to_owned(),
            steps: "28".to_owned(),
            seeds: "42".to_owned(),
            prompts: vec![prompt::PRODUCTION.to_owned()],
            dilations: "10".to_owned(),
            recipe: MaskRecipe::default(),
            is_cropped: false,
            long_side_px: 1024,
            crop_margin: 0.25,
            device: "cpu".to_owned(),
            has_integer_kernels: false,
            max_cells: String::new(),
            gates_override: String::new(),
        }
    }
}

/// A run that can be started.
#[derive(Debug, Clone, PartialEq)]
pub struct RunRequest {
    /// Where it is made.
    pub place: Place,
    /// The session's folder.
    pub session_dir: PathBuf,
    /// The folder of weights.
    pub models_dir: PathBuf,
    /// Where runs are kept.
    pub runs_dir: PathBuf,
    /// What is asked.
    pub plan: Plan,
    /// Prompts by index.
    pub prompts: Vec<String>,
    /// How the photograph becomes what the model is given.
    pub inference: InferenceSize,
    /// `cpu`, `cuda:0`, `metal:0`.
    pub device: String,
    /// How weights are multiplied.
    pub matmul: MatmulPath,
    /// At most so many cells in this go.
    pub max_cells: Option<usize>,
    /// Why the mask's gates are overridden.
    pub gates_override: Option<String>,
}

/// A field that keeps the run from starting.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// The field's label.
    pub field: &'static str,
    /// What is wrong with it.
    pub problem: String,
}

fn list<T: FromStr>(field: &'static str, text: &str) -> Result<Vec<T>, FieldProblem>
where
    T::Err: std::fmt::Display,
{
    text.split([',', ' ', ';'])
        .filter(|part| !part.is_empty())
        .map(|part| {
            part.parse().map_err(|error: T::Err| FieldProblem {
                field,
                problem: error.to_string(),
            })
        })
        .collect()
}

impl ComposeForm {
    /// How many cells the form asks for; `None` while a list cannot be read.
    pub fn cell_count(&self) -> Option<usize> {
        let matrix = match self.place {
            PlaceKind::Service => self.of_service().matrix(),
            _ => self.matrix(),
        };
        matrix.ok().map(|matrix| matrix.cell_count())
    }

    fn matrix(&self) -> Result<Matrix, Vec<FieldProblem>> {
        let mut problems = Vec::new();
        let mut matrix = Matrix {
            quants: Vec::new(),
            guidances: Vec::new(),
            steps: Vec::new(),
            seeds: Vec::new(),
            prompts: (0..self.prompts.len()).collect(),
            dilations: Vec::new(),
        };
        let mut keep = |problem: FieldProblem| problems.push(problem);
        list::<Quant>("Quants", &self.quants).map_or_else(&mut keep, |v| matrix.quants = v);
        list::<Guidance>("Guidance", &self.guidances)
            .map_or_else(&mut keep, |v| matrix.guidances = v);
        list::<Steps>("Steps", &self.steps).map_or_else(&mut keep, |v| matrix.steps = v);
        list::<u64>("Seeds", &self.seeds).map_or_else(&mut keep, |v| matrix.seeds = v);
        list::<RadiusPx>("Dilation", &self.dilations)
            .map_or_else(&mut keep, |v| matrix.dilations = v);
        if problems.is_empty()
            && let Err(error) = matrix.check()
        {
            problems.push(FieldProblem {
                field: "Matrix",
                problem: error.to_string(),
            });
        }
        for (index, text) in self.prompts.iter().enumerate() {
            if self.prompts[..index].contains(text) {
                problems.push(FieldProblem {
                    field: "Prompts",
                    problem: format!("given twice: {text:?}"),
                });
            }
        }
        if problems.is_empty() {
            Ok(matrix)
        } else {
            Err(problems)
        }
    }

    /// Where the run is made, as far as that can be read; and what a place elsewhere cannot do.
    fn checked_place(&self, problems: &mut Vec<FieldProblem>) -> Option<Place> {
        if self.place == PlaceKind::ThisMachine {
            return Some(Place::ThisMachine);
        }
        let mut note = |field: &'static str, problem: String| {
            problems.push(FieldProblem { field, problem });
        };
        let user = UserId::new(self.user.trim());
        let session = SessionId::new(self.session_id.trim());
        let in_words = |text: &str, error: &IdError| match text.trim() {
            "" => "is empty".to_owned(),
            _ => error.to_string(),
        };
        if let Err(error) = &user {
            note("User", in_words(&self.user, error));
        }
        if let Err(error) = &session {
            note("Session there", in_words(&self.session_id, error));
        }
        if self.place == PlaceKind::Job {
            if !self.max_cells.trim().is_empty() {
                note("At most", "a job makes all of its cells".to_owned());
            }
            let trimmed = |text: &str| text.trim().to_owned();
            return Some(Place::Job(JobForm {
                project: trimmed(&self.job_project),
                region: trimmed(&self.job_region),
                job: trimmed(&self.job_name),
                user: user.ok()?,
                session: session.ok()?,
            }));
        }
        if self.has_integer_kernels {
            note(
                "Weights",
                "integer kernels are for this machine only".to_owned(),
            );
        }
        if !self.gates_override.trim().is_empty() {
            note(
                "Override mask gates",
                "a worker overrides no gates; mend the mask in the lab".to_owned(),
            );
        }
        let place = WorkerPlace {
            worker: self.worker.trim().to_owned(),
            user: user.ok()?,
            session: session.ok()?,
        };
        Some(match self.place {
            PlaceKind::Service => Place::Service(place),
            _ => Place::Worker(place),
        })
    }

    /// What the Python service makes, which takes no word on it: its own matrix, production's prompt, the
    /// whole image, all cells. What was set for other places is kept in the form.
    fn of_service(&self) -> Self {
        let own = Self::default();
        Self {
            quants: own.quants,
            guidances: own.guidances,
            steps: own.steps,
            seeds: own.seeds,
            dilations: own.dilations,
            prompts: own.prompts,
            recipe: own.recipe,
            is_cropped: own.is_cropped,
            long_side_px: own.long_side_px,
            has_integer_kernels: own.has_integer_kernels,
            gates_override: own.gates_override,
            max_cells: own.max_cells,
            ..self.clone()
        }
    }

    /// The request that the form asks for.
    ///
    /// # Errors
    /// Every field that keeps it from being one.
    pub fn request(&self) -> Result<RunRequest, Vec<FieldProblem>> {
        match self.place {
            PlaceKind::Service => self.of_service().request_as_set(),
            _ => self.request_as_set(),
        }
    }

    fn request_as_set(&self) -> Result<RunRequest, Vec<FieldProblem>> {
        let mut problems = Vec::new();
        let needed: &[(&'static str, &String)] = match self.place {
            PlaceKind::ThisMachine => &[
                ("Session", &self.session_dir),
                ("Weights", &self.models_dir),
                ("Runs", &self.runs_dir),
                ("Device", &self.device),
            ],
            PlaceKind::Worker | PlaceKind::Service => {
                &[("Worker", &self.worker), ("Runs", &self.runs_dir)]
            }
            PlaceKind::Job => &[
                ("Project", &self.job_project),
                ("Region", &self.job_region),
                ("Job", &self.job_name),
                ("Runs", &self.runs_dir),
            ],
        };
        for (field, text) in needed {
            if text.trim().is_empty() {
                problems.push(FieldProblem {
                    field,
                    problem: "is empty".to_owned(),
                });
            }
        }
        let place = self.checked_place(&mut problems);
        let max_cells = match self.max_cells.trim() {
            "" => None,
            text => match text.parse::<usize>() {
                Ok(count) if count > 0 => Some(count),
                _ => {
                    problems.push(FieldProblem {
                        field: "At most",
                        problem: format!("must be a number of cells from 1: {text:?}"),
                    });
                    None
                }
            },
        };
        if !(16..=4096).contains(&self.long_side_px) || !self.long_side_px.is_multiple_of(16) {
            problems.push(FieldProblem {
                field: "Long side",
                problem: format!(
                    "must be a multiple of 16 from 16 to 4096: {}",
                    self.long_side_px
                ),
            });
        }
        let mut recipe = self.recipe.clone();
        let matrix = match self.matrix() {
            Ok(matrix) => matrix,
            Err(more) => {
                problems.extend(more);
                return Err(problems);
            }
        };
        if let Some(first) = matrix.dilations.first() {
            recipe.dilate_px = first.value() as f32;
        }
        if let Err(error) = recipe.check() {
            problems.push(FieldProblem {
                field: "Mask recipe",
                problem: error.to_string(),
            });
        }
        let Some(place) = place.filter(|_| problems.is_empty()) else {
            return Err(problems);
        };
        let long_side_px = self.long_side_px;
        let gates_override = self.gates_override.trim();
        Ok(RunRequest {
            place,
            session_dir: PathBuf::from(self.session_dir.trim()),
            models_dir: PathBuf::from(self.models_dir.trim()),
            runs_dir: PathBuf::from(self.runs_dir.trim()),
            plan: Plan { matrix, recipe },
            prompts: self.prompts.clone(),
            inference: if self.is_cropped {
                InferenceSize::Crop {
                    long_side_px,
                    margin: self.crop_margin,
                }
            } else {
                InferenceSize::Whole { long_side_px }
            },
            device: self.device.trim().to_owned(),
            matmul: if self.has_integer_kernels {
                MatmulPath::Integer
            } else {
                MatmulPath::Exact
            },
            max_cells,
            gates_override: (!gates_override.is_empty()).then(|| gates_override.to_owned()),
        })
    }
}

/// How long the composed run may take.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Seconds for all cells.
    pub secs: f64,
    /// Where the figure comes from; `None` marks it as a guess.
    pub measured_on: Option<String>,
}

impl Estimate {
    /// `about 4 min (from 12 cells on NVIDIA L4)` or `about 40 min (a guess: …)`.
    pub fn label(&self) -> String {
        let source = self.measured_on.as_ref().map_or(
            "a guess: nothing was measured on this device yet".to_owned(),
            |on| format!("from {on}"),
        );
        format!("about {} ({source})", duration_label(self.secs))
    }
}

/// `45 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration_label(secs: f64) -> String {
    let secs = secs.max(0.0).round() as u64;
    match (secs / 3600, secs / 60 % 60, secs % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    fn form() -> ComposeForm {
        ComposeForm {
            session_dir: "sessions/a".to_owned(),
            models_dir: "assets/tiny-fill".to_owned(),
            ..ComposeForm::default()
        }
    }

    #[test]
    fn the_default_form_is_the_audits_matrix() {
        let request = form().request().unwrap();
        assert_eq!(request.plan.matrix.cell_count(), 15);
        assert_eq!(request.prompts, [prompt::PRODUCTION]);
        assert_eq!(form().cell_count(), Some(15));
    }

    #[test]
    fn every_wrong_field_is_named_at_once() {
        let form = ComposeForm {
            session_dir: " ".to_owned(),
            guidances: "2, x".to_owned(),
            max_cells: "0".to_owned(),
            ..form()
        };
        let fields: Vec<_> = form
            .request()
            .unwrap_err()
            .into_iter()
            .map(|p| p.field)
            .collect();
        assert_eq!(fields, ["Session", "At most", "Guidance"]);
    }

    #[test]
    fn a_worker_needs_other_fields_than_this_machine() {
        let form = ComposeForm {
            place: PlaceKind::Worker,
            models_dir: String::new(),
            session_dir: String::new(),
            has_integer_kernels: true,
            ..ComposeForm::default()
        };
        let fields = |form: &ComposeForm| {
            let problems = form.request().unwrap_err().into_iter();
            problems.map(|p| p.field).collect::<Vec<_>>()
        };
        assert_eq!(
            fields(&form),
            ["Worker", "User", "Session there", "Weights"]
        );
        let form = ComposeForm {
            worker: " http://127.0.0.1:8080 ".to_owned(),
            user: "u1".to_owned(),
            session_id: "D1A406F5".to_owned(),
            has_integer_kernels: false,
            ..form
        };
        let Place::Worker(place) = form.request().unwrap().place else {
            panic!("a worker")
        };
        assert_eq!(place.worker, "http://127.0.0.1:8080");
        assert_eq!(place.session.as_str(), "D1A406F5");
        let form = ComposeForm {
            session_id: "../x".to_owned(),
            ..form
        };
        assert_eq!(fields(&form), ["Session there"]);
    }

    #[test]
    fn a_job_needs_its_place_and_makes_all_of_its_cells() {
        let form = ComposeForm {
            place: PlaceKind::Job,
            max_cells: "3".to_owned(),
            has_integer_kernels: true,
            ..ComposeForm::default()
        };
        let problems = form.request().unwrap_err();
        let fields: Vec<_> = problems.iter().map(|p| p.field).collect();
        assert_eq!(fields, ["Project", "User", "Session there", "At most"]);
        let form = ComposeForm {
            job_project: "demo-1".to_owned(),
            user: "u1".to_owned(),
            session_id: "s1".to_owned(),
            max_cells: String::new(),
            ..form
        };
        let Place::Job(job) = form.request().unwrap().place else {
            panic!("a job")
        };
        assert_eq!(
            (job.region.as_str(), job.job.as_str()),
            ("europe-west4", "fill-audit")
        );
    }

    #[test]
    fn the_python_service_makes_its_own_matrix_whatever_was_set_for_other_places() {
        let form = ComposeForm {
            place: PlaceKind::Service,
            worker: "https://service".to_owned(),
            user: "u1".to_owned(),
            session_id: "s1".to_owned(),
            ..ComposeForm::default()
        };
        let request = form.request().unwrap();
        assert!(matches!(request.place, Place::Service(_)));
        let other = ComposeForm {
            quants: "not read".repeat(9),
            steps: "20".to_owned(),
            max_cells: "3".to_owned(),
            is_cropped: true,
            prompts: vec![String::new()],
            ..form
        };
        assert_eq!(other.request().unwrap(), request);
        assert_eq!(other.cell_count(), Some(15));
        let here = ComposeForm {
            place: PlaceKind::Worker,
            ..other
        };
        assert!(
            here.request().is_err(),
            "what was set is kept for other places"
        );
    }

    #[test]
    fn durations_read_well() {
        let labels = [9.6, 200.0, 7500.0].map(duration_label);
        assert_eq!(labels, ["10 s", "3 min 20 s", "2 h 5 min"]);
    }
}
