//! From a picked cell to a staged settings file: pure, and refused while anything holds it back that
//! was not overridden with a typed reason.

use super::reason::{HeldBack, ReasonCode};
use super::{
    Approval, ApprovedComposite, ApprovedInference, ApprovedMask, ApprovedModel, ApprovedSettings,
    BlindVotes, Change, Override, Replaced, difference,
};
use crate::model::cell::{CellKey, Guidance, Quant};
use crate::model::document::{DocumentError, SCHEMA};
use crate::model::ids::ReviewerId;
use crate::model::mask_recipe::MaskRecipe;
use crate::model::review::tally::BlindResult;
use crate::model::review::{Action, Judgement, ReviewState, UtcTime};
use crate::model::run::{
    CellState, DoneCell, Environment, InferenceSize, MatmulPath, Run, production_baseline,
};
use sha2::Digest as _;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The reasons that were typed, by what they override.
pub type Overrides = BTreeMap<ReasonCode, String>;

/// What is to be approved, by whom, on which grounds.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// The run.
    pub run: &'a Run,
    /// The picked cell.
    pub cell: &'a CellKey,
    /// What all reviewers said.
    pub review: &'a ReviewState,
    /// Who approves: their own progress counts.
    pub reviewer: &'a ReviewerId,
    /// Their name as they write it.
    pub approved_by: &'a str,
    /// When.
    pub at: UtcTime,
    /// Their note; `None` is what they noted on the cell.
    pub note: Option<&'a str>,
    /// The mask recipe to write; `None` is the one that the cell was made with.
    pub recipe: Option<&'a MaskRecipe>,
    /// SHA-256 of `{cell}.png` as it lies there now, if it was hashed.
    pub image_sha256: Option<&'a str>,
    /// The current settings file's text and path, if there is one.
    pub current: Option<(&'a str, &'a str)>,
}

/// An approval that cannot be staged.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StageError {
    /// The run has no such cell.
    #[error("run {run} has no cell {cell}")]
    NoSuchCell {
        /// The run.
        run: String,
        /// The cell's name.
        cell: String,
    },
    /// There is nothing to look at.
    #[error("{cell} has no picture ({state}) and cannot be approved")]
    NoPicture {
        /// The cell's name.
        cell: String,
        /// `missing`, `failed` or `unreadable`.
        state: &'static str,
    },
    /// The picture is not the one that the run recorded.
    #[error(
        "the picture of {cell} has changed since it was made: its SHA-256 is {found} but the run recorded {recorded}; run the cell again"
    )]
    PictureChanged {
        /// The cell's name.
        cell: String,
        /// What the run says.
        recorded: String,
        /// What lies there.
        found: String,
    },
    /// The current file cannot be read, and is not overwritten.
    #[error(
        "the current settings file cannot be read and is not overwritten; mend it, move it away, or write to another: {0}"
    )]
    Current(DocumentError),
    /// A value that the settings file cannot hold.
    #[error("{0}")]
    Value(String),
    /// Something holds it back.
    #[error("the approval is held back: {}", list(.0))]
    HeldBack(Vec<HeldBack>),
    /// A reason was typed for something that does not hold it back.
    #[error("{0} is overridden but does not hold this approval back; leave the override out")]
    NotHeldBack(ReasonCode),
}

fn list(reasons: &[HeldBack]) -> String {
    let lines: Vec<String> = reasons
        .iter()
        .map(|reason| format!("{} ({})", reason.sentence, reason.code))
        .collect();
    lines.join("; ")
}

/// A settings file in preparation: to be shown, and staged once every reason is answered.
#[derive(Debug, Clone, PartialEq)]
pub struct Draft {
    settings: ApprovedSettings,
    cell: CellKey,
    current: Option<String>,
    current_from: Option<UtcTime>,
    held_back: Vec<HeldBack>,
}

/// A settings file that may be written: everything that held it back was overridden.
#[derive(Debug, Clone, PartialEq)]
pub struct StagedApproval {
    settings: ApprovedSettings,
    cell: CellKey,
    current: Option<String>,
    current_from: Option<UtcTime>,
    text: String,
}

/// Prepares a settings file and lists what holds it back.
///
/// # Errors
/// [`StageError`] for a cell without a picture, a changed picture, or a current file that cannot be
/// read. What can be overridden is no error but stands in [`Draft::held_back`].
pub fn draft(request: Request<'_>) -> Result<Draft, StageError> {
    let Request { run, cell, .. } = request;
    let name = run.cell_name(cell);
    let done = match run.cells.get(cell) {
        Some(CellState::Done(done)) => done,
        Some(other) => {
            return Err(StageError::NoPicture {
                cell: name,
                state: other.word(),
            });
        }
        None => {
            return Err(StageError::NoSuchCell {
                run: run.run_id.to_string(),
                cell: name,
            });
        }
    };
    let image_sha256 = image_hash(&request, done, &name)?;
    let current = match request.current {
        Some((text, path)) => {
            Some(ApprovedSettings::parse(text, path).map_err(StageError::Current)?)
        }
        None => None,
    };
    let made_with = run.recipe_of(cell);
    let recipe = request.recipe.cloned().or_else(|| made_with.clone());
    let environment = environment(run, done);
    let seen = run
        .cells
        .iter()
        .filter(|(key, state)| {
            matches!(state, CellState::Done(_))
                && request.review.is_seen(Some(request.reviewer), key)
        })
        .count();
    let noted = request.review.review(request.reviewer, cell);
    let note = request
        .note
        .unwrap_or_else(|| noted.map_or("", |said| said.note.as_str()));
    let tally = BlindResult::of_revealed(request.review).tally(cell);
    let settings = ApprovedSettings {
        schema: SCHEMA,
        model: model_of(run, &cell.quant),
        inference: inference_of(run, cell),
        mask: recipe.as_ref().map(mask_of),
        composite: recipe.as_ref().map(|recipe| ApprovedComposite {
            feather_sigma_px: recipe.feather_sigma_px,
        }),
        approval: Approval {
            approved_by: request.approved_by.trim().to_owned(),
            approved_at: request.at.whole_seconds(),
            run: run.run_id.clone(),
            session: run.session.clone(),
            cell: name,
            image_sha256,
            gpu: environment.map(Environment::label),
            wall_secs: done.timing.wall_secs,
            gpu_millis: done.timing.gpu_millis,
            cells_seen: seen,
            cells_total: run.cells.len(),
            blind_votes: BlindVotes {
                wins: tally.wins,
                losses: tally.losses,
                ties: tally.ties,
                all_bad: tally.all_bad,
            },
            note: note.trim().to_owned(),
            overrides: Vec::new(),
        },
        replaces: replaced(current.as_ref())?,
    };
    settings.check().map_err(StageError::Value)?;
    let held_back = reasons(&request, &settings, done, made_with.as_ref());
    Ok(Draft {
        settings,
        cell: cell.clone(),
        current: request.current.map(|(text, _)| text.to_owned()),
        current_from: current.map(|current| current.approval.approved_at),
        held_back,
    })
}

fn image_hash(
    request: &Request<'_>,
    done: &DoneCell,
    name: &str,
) -> Result<Option<String>, StageError> {
    let recorded = match done.document.as_ref().map(|document| &document.outcome) {
        Some(crate::model::run::CellOutcome::Done {
            composite_sha256, ..
        }) => Some(composite_sha256.clone()),
        _ => None,
    };
    match (recorded, request.image_sha256) {
        (Some(recorded), Some(found)) if recorded != found => Err(StageError::PictureChanged {
            cell: name.to_owned(),
            recorded,
            found: found.to_owned(),
        }),
        (recorded, found) => Ok(recorded.or_else(|| found.map(str::to_owned))),
    }
}

/// Where the cell was made: its own document says, or the run does.
pub(super) fn environment<'a>(run: &'a Run, done: &'a DoneCell) -> Option<&'a Environment> {
    match &done.document {
        Some(document) => Some(&document.environment),
        None => run.environment.as_ref(),
    }
}

fn model_of(run: &Run, quant: &Quant) -> ApprovedModel {
    let model = run.document().map(|document| &document.model);
    let file = run.transformer(quant);
    ApprovedModel {
        repository: model.map(|model| model.repository.clone()),
        file: file.map(|file| file.file.clone()),
        sha256: file.map(|file| file.sha256.clone()),
        quant: quant.clone(),
        base: model.map(|model| model.base.clone()),
    }
}

fn inference_of(run: &Run, cell: &CellKey) -> ApprovedInference {
    let document = run.document();
    let (long_side_px, crop_margin) = match document.map(|document| document.inference) {
        Some(InferenceSize::Whole { long_side_px }) => (Some(long_side_px), None),
        Some(InferenceSize::Crop {
            long_side_px,
            margin,
        }) => (Some(long_side_px), Some(margin)),
        None => (None, None),
    };
    ApprovedInference {
        guidance_scale: cell.guidance,
        num_inference_steps: cell.steps,
        prompt: run.prompt_of(cell).map(str::to_owned),
        max_sequence_length: document.map(|document| document.max_sequence_length),
        long_side_px,
        crop_margin,
        seed: cell.seed,
    }
}

fn mask_of(recipe: &MaskRecipe) -> ApprovedMask {
    ApprovedMask {
        threshold: recipe.threshold,
        min_component_px: recipe.min_component_px,
        close_px: recipe.close_px,
        open_px: recipe.open_px,
        dilate_px: recipe.dilate_px,
        max_coverage: recipe.max_coverage,
    }
}

fn replaced(current: Option<&ApprovedSettings>) -> Result<Replaced, StageError> {
    if let Some(current) = current {
        return Ok(Replaced {
            quant: current.model.quant.clone(),
            guidance_scale: current.inference.guidance_scale,
            num_inference_steps: current.inference.num_inference_steps,
        });
    }
    let (quant, guidance, num_inference_steps) = production_baseline();
    let guidance_scale: Guidance = guidance
        .ok_or_else(|| StageError::Value("production's baseline has no guidance".to_owned()))?;
    Ok(Replaced {
        quant,
        guidance_scale,
        num_inference_steps,
    })
}

/// Names, at most five, and how many more.
fn some_names(names: &[String]) -> String {
    let shown: Vec<&str> = names.iter().take(5).map(String::as_str).collect();
    let mut text = shown.join(", ");
    if names.len() > 5 {
        let _ = write!(text, " and {} more", names.len() - 5);
    }
    text
}

fn reasons(
    request: &Request<'_>,
    settings: &ApprovedSettings,
    done: &DoneCell,
    made_with: Option<&MaskRecipe>,
) -> Vec<HeldBack> {
    let Request {
        run,
        cell,
        review,
        reviewer,
        ..
    } = *request;
    let mut found = Vec::new();
    let mut hold = |code, sentence: String| found.push(HeldBack { code, sentence });

    let pictures = |state: &CellState| matches!(state, CellState::Done(_));
    let unseen: Vec<String> = run
        .cells
        .iter()
        .filter(|(key, state)| pictures(state) && !review.is_seen(Some(reviewer), key))
        .map(|(key, _)| run.cell_name(key))
        .collect();
    if !unseen.is_empty() {
        let all = run.cells.values().filter(|state| pictures(state)).count();
        hold(
            ReasonCode::UnseenCells,
            format!(
                "{} of {all} cells are unseen by {reviewer}: {}",
                unseen.len(),
                some_names(&unseen)
            ),
        );
    }
    let rejecting: Vec<String> = review
        .side_by_side(cell)
        .into_iter()
        .filter(|(_, said)| said.judgement == Some(Judgement::Reject))
        .map(|(who, said)| {
            let types: Vec<String> = said.types.iter().map(ToString::to_string).collect();
            if types.is_empty() {
                who.to_string()
            } else {
                format!("{who} ({})", types.join(", "))
            }
        })
        .collect();
    if !rejecting.is_empty() {
        hold(
            ReasonCode::FailureOnCell,
            format!(
                "{} carries a failure, by {}",
                settings.approval.cell,
                rejecting.join(", ")
            ),
        );
    }
    let incomplete: Vec<String> = run
        .cells
        .iter()
        .filter(|(_, state)| !pictures(state))
        .map(|(key, state)| format!("{} ({})", run.cell_name(key), state.word()))
        .collect();
    if !incomplete.is_empty() {
        hold(
            ReasonCode::IncompleteRun,
            format!(
                "{} of {} cells of the run have no picture: {}",
                incomplete.len(),
                run.cells.len(),
                some_names(&incomplete)
            ),
        );
    }
    if settings.approval.image_sha256.is_none() {
        hold(
            ReasonCode::UnknownImageHash,
            "the picture's SHA-256 is unknown".to_owned(),
        );
    }
    if let (Some(staged), Some(made_with)) = (request.recipe, made_with)
        && staged != made_with
    {
        hold(
            ReasonCode::RecipeDiffers,
            recipe_sentence(made_with, staged),
        );
    }
    found.extend(reasons_of_making(run, cell, done));
    found.sort_by_key(|reason| reason.code);
    found
}

/// What holds an approval back by how the cell was made, whatever anybody said of it and whatever is staged.
pub(super) fn reasons_of_making(run: &Run, cell: &CellKey, done: &DoneCell) -> Vec<HeldBack> {
    let mut found = Vec::new();
    let mut hold = |code, sentence: String| found.push(HeldBack { code, sentence });
    if run.transformer(&cell.quant).is_none() {
        hold(
            ReasonCode::UnknownWeightsHash,
            format!("the SHA-256 of the {} weights is unknown", cell.quant),
        );
    }
    if cell.seed.is_none() {
        hold(ReasonCode::UnknownSeed, "the seed is unknown".to_owned());
    }
    if run.recipe_of(cell).is_none() {
        hold(
            ReasonCode::UnknownRecipe,
            "the mask recipe that the cell was made with is unknown".to_owned(),
        );
    }
    if run.prompt_of(cell).is_none() {
        hold(
            ReasonCode::UnknownPrompt,
            "the prompt is unknown".to_owned(),
        );
    }
    if run.document().is_none() {
        hold(
            ReasonCode::UnknownInferenceInputs,
            "inference size and prompt length are unknown".to_owned(),
        );
    }
    let matmul = done.document.as_ref().map(|document| document.matmul);
    if matmul == Some(MatmulPath::Integer) {
        hold(
            ReasonCode::IntegerKernels,
            "integer kernels made the cell; production dequantizes exactly".to_owned(),
        );
    }
    let environment = environment(run, done);
    if !environment.is_some_and(Environment::is_production_gpu) {
        let sentence = match environment.map(Environment::label) {
            Some(gpu) => format!("it was made on {gpu}, and production's GPU is an NVIDIA L4"),
            None => "it is unknown which GPU made it; production's is an NVIDIA L4".to_owned(),
        };
        hold(ReasonCode::GpuNotProduction, sentence);
    }
    found
}

fn recipe_sentence(made_with: &MaskRecipe, staged: &MaskRecipe) -> String {
    if made_with.same_but_dilation(staged) {
        format!(
            "the cell was made at a dilation of {} px, but {} px is staged",
            made_with.dilate_px, staged.dilate_px
        )
    } else {
        format!(
            "the cell was made with recipe {}, but recipe {} is staged",
            made_with.hash8(),
            staged.hash8()
        )
    }
}

impl Draft {
    /// Everything that holds it back, in the order of [`ReasonCode::ALL`] as far as it applies.
    pub fn held_back(&self) -> &[HeldBack] {
        &self.held_back
    }

    /// What no reason was typed for yet.
    pub fn still_held_back(&self, overrides: &Overrides) -> Vec<HeldBack> {
        self.held_back
            .iter()
            .filter(|reason| {
                overrides
                    .get(&reason.code)
                    .is_none_or(|because| because.trim().is_empty())
            })
            .cloned()
            .collect()
    }

    fn with(&self, overrides: &Overrides) -> StagedApproval {
        let mut settings = self.settings.clone();
        settings.approval.overrides = self
            .held_back
            .iter()
            .filter_map(|reason| {
                let because = overrides.get(&reason.code)?.trim();
                (!because.is_empty()).then(|| Override {
                    reason: reason.code,
                    because: because.to_owned(),
                })
            })
            .collect();
        let text = settings.to_toml();
        StagedApproval {
            settings,
            cell: self.cell.clone(),
            current: self.current.clone(),
            current_from: self.current_from,
            text,
        }
    }

    /// The file as it would be written with the reasons typed so far.
    pub fn preview(&self, overrides: &Overrides) -> String {
        self.with(overrides).text
    }

    /// The current file's text, if there is one.
    pub fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// Stages the file once every reason is answered.
    ///
    /// # Errors
    /// [`StageError::HeldBack`] with what is not answered, [`StageError::NotHeldBack`] for an answer to
    /// nothing.
    pub fn stage(&self, overrides: &Overrides) -> Result<StagedApproval, StageError> {
        let left = self.still_held_back(overrides);
        if !left.is_empty() {
            return Err(StageError::HeldBack(left));
        }
        let holds = |code: &ReasonCode| self.held_back.iter().any(|reason| reason.code == *code);
        if let Some(code) = overrides.keys().find(|code| !holds(code)) {
            return Err(StageError::NotHeldBack(*code));
        }
        Ok(self.with(overrides))
    }
}

impl StagedApproval {
    /// The settings.
    pub fn settings(&self) -> &ApprovedSettings {
        &self.settings
    }

    /// The bytes to write.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The text that it was compared with: the write is refused if the file says something else by then.
    pub fn current(&self) -> Option<&str> {
        self.current.as_deref()
    }

    /// When that was approved.
    pub fn current_from(&self) -> Option<UtcTime> {
        self.current_from
    }

    /// The values that it changes.
    pub fn changes(&self) -> Vec<Change> {
        difference::changes(self.current(), &self.text)
    }

    /// What it changes, as a unified diff; `file` is the settings file's name.
    pub fn unified(&self, file: &str) -> String {
        difference::unified(self.current(), &self.text, file)
    }

    /// The event to record once it is written to `file`.
    pub fn action(&self, file: &str) -> Action {
        let mut sha256 = String::with_capacity(64);
        for byte in sha2::Sha256::digest(self.text.as_bytes()) {
            let _ = write!(sha256, "{byte:02x}");
        }
        Action::Approved {
            cell: self.cell.clone(),
            file: file.to_owned(),
            sha256,
            overrides: self
                .settings
                .approval
                .overrides
                .iter()
                .map(|one| (one.reason.code().to_owned(), one.because.clone()))
                .collect(),
        }
    }
}
