//! A run: what was planned, on which inputs, with which weights, and what became of each cell.

use super::cell::{Baseline, CellDefaults, CellKey, Guidance, Quant, RadiusPx, RecipeHash, Steps};
use super::document::{self, DocumentError};
use super::ids::{RunId, SessionId};
use super::mask_recipe::MaskRecipe;
use super::matrix::Matrix;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

pub use super::measured::{AccelerationSeen, Timing};

/// The file names of a run's folder, cells aside.
pub mod files {
    /// [`super::RunDocument`] as RON.
    pub const RUN: &str = "run.ron";
    /// The report; its presence says that the run has ended.
    pub const REPORT: &str = "REPORT.md";
    /// Copy of the session's photograph.
    pub const IMAGE: &str = "image.png";
    /// Copy of the session's raw mask.
    pub const MASK: &str = "mask.png";
    /// Copy of the session's region that must not be touched, where it has one.
    pub const SUBJECT: &str = "subject.png";
    /// What the model was given: the photograph at inference size.
    pub const INFERENCE_IMAGE: &str = "inference_image.png";
    /// What the model was given: the grown mask at inference size, black and white.
    pub const INFERENCE_MASK: &str = "inference_mask.png";

    /// `plan-{n}.ron`, from 1.
    pub fn plan(n: usize) -> String {
        format!("plan-{n}.ron")
    }

    /// The composite at original size.
    pub fn composite(cell_name: &str) -> String {
        format!("{cell_name}.png")
    }

    /// The raw fill at inference size.
    pub fn fill(cell_name: &str) -> String {
        format!("{cell_name}.fill.png")
    }

    /// [`super::CellDocument`] as RON.
    pub fn cell(cell_name: &str) -> String {
        format!("{cell_name}.ron")
    }
}

/// How the photograph becomes what the model is given.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum InferenceSize {
    /// The whole image, long side at most so many pixels, both sides multiples of 16.
    Whole {
        /// Longest side in pixels; 1024 in production.
        long_side_px: u32,
    },
    /// The mask's box with a margin, at so many pixels on the long side.
    Crop {
        /// Longest side in pixels, a multiple of 16.
        long_side_px: u32,
        /// Margin on each side, as a fraction of the box's longer side.
        margin: f32,
    },
}

impl InferenceSize {
    /// Production's size.
    pub const PRODUCTION: Self = Self::Whole { long_side_px: 1024 };
}

/// A box in pixels of the original image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PixelBox {
    /// Left edge.
    pub x: u32,
    /// Upper edge.
    pub y: u32,
    /// Width.
    pub width: u32,
    /// Height.
    pub height: u32,
}

/// How quantized weights are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum MatmulPath {
    /// Dequantized exactly before they are multiplied, as production does.
    #[default]
    Exact,
    /// Integer kernels, which also quantize activations. An opt-in that is stamped on the cell.
    Integer,
}

/// A file of weights that went into a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WeightsFile {
    /// The quant if it is a transformer; `None` for text encoders and the VAE.
    #[serde(default)]
    pub quant: Option<Quant>,
    /// Path in the model's folder.
    pub file: String,
    /// SHA-256, 64 hexadecimal digits.
    pub sha256: String,
    /// Size in bytes.
    pub size_bytes: u64,
}

/// Which weights a run uses.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelDocument {
    /// Repository of the transformer files, such as `YarvixPA/FLUX.1-Fill-dev-GGUF`.
    pub repository: String,
    /// Where VAE, text encoders and scheduler come from.
    pub base: String,
    /// Every file, with its hash.
    pub files: Vec<WeightsFile>,
}

impl ModelDocument {
    /// The transformer file of a quant.
    pub fn transformer(&self, quant: &Quant) -> Option<&WeightsFile> {
        self.files
            .iter()
            .find(|file| file.quant.as_ref() == Some(quant))
    }
}

/// The inputs of a run, by the SHA-256 of their files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InputHashes {
    /// `image.png`.
    pub image: String,
    /// `mask.png`.
    pub mask: String,
    /// `inference_image.png`.
    pub inference_image: String,
    /// `inference_mask.png`.
    pub inference_mask: String,
}

/// What is asked of a run or of a later extension.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// The values of every axis.
    pub matrix: Matrix,
    /// The mask recipe; its dilation is the first of the matrix's.
    pub recipe: MaskRecipe,
}

/// `run.ron`: written once, by whoever starts the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunDocument {
    /// Document schema.
    pub schema: u32,
    /// The run's name, and its folder's.
    pub run_id: RunId,
    /// The session that is filled.
    pub session: SessionId,
    /// The session's sentence of what a correct fill shows.
    #[serde(default)]
    pub expected: String,
    /// UTC, RFC 3339.
    pub created_at: String,
    /// Program and version.
    pub program: String,
    /// The first plan.
    pub plan: Plan,
    /// Prompts by index; extensions add to them in their own documents.
    pub prompts: Vec<String>,
    /// How the photograph becomes what the model is given.
    pub inference: InferenceSize,
    /// The original's box that the model was given; the whole image unless it was cropped.
    pub inference_box: PixelBox,
    /// Size that the model was given, in pixels: width and height, multiples of 16.
    pub inference_size_px: (u32, u32),
    /// Tokens of the T5 encoder; 512 in production.
    pub max_sequence_length: u32,
    /// How weights are multiplied.
    pub matmul: MatmulPath,
    /// `cpu`, `cuda:0`, `metal:0`, or a worker's address.
    pub device: String,
    /// Which weights.
    pub model: ModelDocument,
    /// SHA-256 of the inputs.
    pub inputs: InputHashes,
    /// Why quality gates of the mask were overridden, if they were.
    #[serde(default)]
    pub gates_overridden: Vec<String>,
    /// What was odd about the weights when they were checked, before the run was started.
    #[serde(default)]
    pub weights_warnings: Vec<String>,
}

/// `plan-{n}.ron`: a sweep or a re-run added later.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ExtensionDocument {
    /// Document schema.
    pub schema: u32,
    /// The run that it belongs to.
    pub run_id: RunId,
    /// UTC, RFC 3339.
    pub created_at: String,
    /// What is asked.
    pub plan: Plan,
    /// Prompts that the run did not have yet; they continue its indices.
    #[serde(default)]
    pub new_prompts: Vec<String>,
    /// Weights that the run did not name yet: the transformers of added quants.
    #[serde(default)]
    pub new_files: Vec<WeightsFile>,
    /// What was odd about them when they were checked.
    #[serde(default)]
    pub weights_warnings: Vec<String>,
    /// Why quality gates of the mask were overridden, if they were.
    #[serde(default)]
    pub gates_overridden: Vec<String>,
}

/// Where a cell was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Environment {
    /// The GPU's or CPU's name.
    pub device: String,
    /// CUDA compute capability such as `8.9`.
    #[serde(default)]
    pub compute_capability: Option<String>,
    /// Memory of the device in bytes.
    #[serde(default)]
    pub memory_bytes: Option<u64>,
    /// Driver's version.
    #[serde(default)]
    pub driver: Option<String>,
    /// Program and version; `None` if it is not known who made it.
    #[serde(default)]
    pub program: Option<String>,
}

impl Environment {
    /// Whether this is production's GPU, an NVIDIA L4.
    pub fn is_production_gpu(&self) -> bool {
        self.device.split_whitespace().any(|word| word == "L4")
    }

    /// A sentence if this is not production's GPU: times then say nothing of production.
    pub fn production_warning(&self) -> Option<String> {
        (!self.is_production_gpu()).then(|| {
            format!(
                "this is not production's GPU, an NVIDIA L4, but {}: times do not compare with production's",
                self.label()
            )
        })
    }

    /// `NVIDIA L4 (sm_89), 22.5 GiB, driver 535.129.03`: all that is known of it.
    pub fn description(&self) -> String {
        let mut text = self.label();
        if let Some(bytes) = self.memory_bytes {
            text.push_str(&format!(", {:.1} GiB", bytes as f64 / f64::from(1 << 30)));
        }
        if let Some(driver) = &self.driver {
            text.push_str(&format!(", driver {driver}"));
        }
        text
    }

    /// `NVIDIA L4 (sm_89)`.
    pub fn label(&self) -> String {
        match &self.compute_capability {
            Some(capability) => format!("{} (sm_{})", self.device, capability.replace('.', "")),
            None => self.device.clone(),
        }
    }
}

/// What became of a cell that was tried.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum CellOutcome {
    /// It has pictures.
    Done {
        /// SHA-256 of `{cell}.fill.png`.
        fill_sha256: String,
        /// SHA-256 of `{cell}.png`.
        composite_sha256: String,
    },
    /// It was tried and failed.
    Failed {
        /// What went wrong, as it is shown.
        error: String,
    },
}

/// `{cell}.ron`: written last; a cell counts as done only if this agrees with inputs and pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CellDocument {
    /// Document schema.
    pub schema: u32,
    /// What was asked.
    pub key: CellKey,
    /// What became of it.
    pub outcome: CellOutcome,
    /// How long it took.
    pub timing: Timing,
    /// Where it was made.
    pub environment: Environment,
    /// How weights were multiplied.
    pub matmul: MatmulPath,
    /// SHA-256 over everything that went in: weights, inputs, recipe, prompt, key.
    pub inputs_sha256: String,
    /// UTC, RFC 3339.
    pub finished_at: String,
    /// The most memory that the process held while the cell was made, in bytes, mapped weights
    /// included; a GPU's own memory is not part of it. `None` where the system does not say.
    #[serde(default)]
    pub peak_memory_bytes: Option<u64>,
    /// What was counted of each acceleration.
    #[serde(default)]
    pub accelerations: Vec<AccelerationSeen>,
}

macro_rules! parse {
    ($type:ty) => {
        impl $type {
            /// Reads the document.
            ///
            /// # Errors
            /// [`DocumentError`] naming `path`, the line, and what was expected.
            pub fn parse(text: &str, path: &str) -> Result<Self, DocumentError> {
                let document: Self = document::from_ron(text, path)?;
                document::check_schema(document.schema, path)?;
                document.check().map_err(|problem| DocumentError::Value {
                    problem,
                    path: path.to_owned(),
                })?;
                Ok(document)
            }
        }
    };
}

parse!(RunDocument);
parse!(ExtensionDocument);
parse!(CellDocument);

fn check_sha256(what: &str, text: &str) -> Result<(), String> {
    if text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')) {
        Ok(())
    } else {
        Err(format!(
            "{what} must be a SHA-256 of 64 lower-case hex digits, but is {text:?}"
        ))
    }
}

impl Plan {
    fn check(&self, prompt_count: usize) -> Result<(), String> {
        self.matrix.check().map_err(|error| error.to_string())?;
        self.recipe.check().map_err(|error| error.to_string())?;
        match self
            .matrix
            .prompts
            .iter()
            .find(|index| **index >= prompt_count)
        {
            Some(index) => Err(format!(
                "prompt {index} is asked for but there are {prompt_count}"
            )),
            None => Ok(()),
        }
    }
}

impl RunDocument {
    fn check(&self) -> Result<(), String> {
        self.plan.check(self.prompts.len())?;
        check_sha256("inputs.image", &self.inputs.image)?;
        check_sha256("inputs.mask", &self.inputs.mask)?;
        check_sha256("inputs.inference_image", &self.inputs.inference_image)?;
        check_sha256("inputs.inference_mask", &self.inputs.inference_mask)?;
        for file in &self.model.files {
            check_sha256(&format!("the hash of {}", file.file), &file.sha256)?;
        }
        let (width, height) = self.inference_size_px;
        if width == 0 || height == 0 || !width.is_multiple_of(16) || !height.is_multiple_of(16) {
            return Err(format!(
                "inference size must be multiples of 16, but is {width}x{height}"
            ));
        }
        Ok(())
    }

    /// What cell names leave out.
    pub fn defaults(&self) -> CellDefaults {
        let matrix = &self.plan.matrix;
        CellDefaults {
            steps: matrix.steps.first().copied().unwrap_or(Steps::PRODUCTION),
            seed: matrix.seeds.first().copied(),
            prompt: matrix.prompts.first().copied(),
            dilate_px: matrix.dilations.first().copied(),
        }
    }
}

impl ExtensionDocument {
    fn check(&self) -> Result<(), String> {
        // Indices below the run's own count cannot be checked here; `Run::new` does.
        self.plan
            .matrix
            .check()
            .map_err(|error| error.to_string())?;
        for file in &self.new_files {
            check_sha256(&format!("the hash of {}", file.file), &file.sha256)?;
        }
        self.plan.recipe.check().map_err(|error| error.to_string())
    }
}

impl CellDocument {
    fn check(&self) -> Result<(), String> {
        check_sha256("inputs_sha256", &self.inputs_sha256)?;
        if let CellOutcome::Done {
            fill_sha256,
            composite_sha256,
        } = &self.outcome
        {
            check_sha256("fill_sha256", fill_sha256)?;
            check_sha256("composite_sha256", composite_sha256)?;
        }
        Ok(())
    }
}

/// What a reader finds of a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum CellState {
    /// Planned, nothing there yet.
    Missing,
    /// Pictures are there, with what is known of how they came about.
    Done(Box<DoneCell>),
    /// Tried, and failed.
    Failed {
        /// What went wrong.
        error: String,
        /// The document, where there is one.
        document: Option<Box<CellDocument>>,
    },
    /// Something is there that cannot be believed.
    Unreadable {
        /// Why.
        reason: String,
    },
}

/// A cell that has a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct DoneCell {
    /// How long it took, as far as is known.
    pub timing: Timing,
    /// Its document; `None` for a cell of the Python service.
    pub document: Option<CellDocument>,
}

impl CellState {
    /// `done`, `failed`, `missing` or `unreadable`.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Done(_) => "done",
            Self::Failed { .. } => "failed",
            Self::Unreadable { .. } => "unreadable",
        }
    }

    /// What is known of the time that it took.
    pub fn timing(&self) -> Option<&Timing> {
        match self {
            Self::Done(done) => Some(&done.timing),
            Self::Failed {
                document: Some(document),
                ..
            } => Some(&document.timing),
            _ => None,
        }
    }
}

/// Who wrote a run.
#[derive(Debug, Clone, PartialEq)]
pub enum Origin {
    /// This program: everything is known.
    FillAudit(Box<RunDocument>),
    /// The Python service: names and a table; what it does not say is unknown.
    Service,
}

/// A run as it is shown: the plan's cells and whatever else lies there, each with its state.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// The run's name.
    pub run_id: RunId,
    /// The session, if it is known.
    pub session: Option<SessionId>,
    /// What a correct fill shows, if it is known.
    pub expected: String,
    /// Who wrote it.
    pub origin: Origin,
    /// Extensions, in their order.
    pub extensions: Vec<ExtensionDocument>,
    /// Prompts by index, extensions included.
    pub prompts: Vec<String>,
    /// Where it was made, if that is known.
    pub environment: Option<Environment>,
    /// What could not be read or does not agree, as it is shown.
    pub warnings: Vec<String>,
    /// Every cell in a fixed order: by key.
    pub cells: BTreeMap<CellKey, CellState>,
    /// What cell names leave out.
    pub defaults: CellDefaults,
    /// Pictures whose file is not named as [`CellKey::name`] has it: the Python service rounds guidance.
    pub picture_names: BTreeMap<CellKey, String>,
    /// What a report says of cells that have no picture to show it with.
    pub reported_timings: BTreeMap<CellKey, Timing>,
    /// The report's section on compilation or acceleration, as it was written.
    pub acceleration_section: Option<String>,
}

impl Run {
    /// A run with the cells of its plan and extensions, all missing.
    ///
    /// # Errors
    /// A sentence if an extension names a prompt that does not exist or belongs to another run.
    pub fn new(document: RunDocument, extensions: Vec<ExtensionDocument>) -> Result<Self, String> {
        let defaults = document.defaults();
        let mut prompts = document.prompts.clone();
        let mut cells = BTreeMap::new();
        for key in document.plan.matrix.cells(None) {
            cells.insert(key, CellState::Missing);
        }
        for (index, extension) in extensions.iter().enumerate() {
            let name = files::plan(index + 1);
            if extension.run_id != document.run_id {
                return Err(format!("{name} belongs to run {}", extension.run_id));
            }
            prompts.extend(extension.new_prompts.iter().cloned());
            extension
                .plan
                .check(prompts.len())
                .map_err(|problem| format!("{name}: {problem}"))?;
            let recipe = recipe_tag(&document.plan.recipe, &extension.plan.recipe);
            for key in extension.plan.matrix.cells(recipe.as_ref()) {
                cells.entry(key).or_insert(CellState::Missing);
            }
        }
        Ok(Self {
            run_id: document.run_id.clone(),
            session: Some(document.session.clone()),
            expected: document.expected.clone(),
            extensions,
            prompts,
            environment: None,
            warnings: Vec::new(),
            cells,
            defaults,
            picture_names: BTreeMap::new(),
            reported_timings: BTreeMap::new(),
            acceleration_section: None,
            origin: Origin::FillAudit(Box::new(document)),
        })
    }

    /// `run.ron`, where there is one.
    pub fn document(&self) -> Option<&RunDocument> {
        match &self.origin {
            Origin::FillAudit(document) => Some(document),
            Origin::Service => None,
        }
    }

    /// The recipe that a cell was or is to be made with, its dilation filled in; `None` if unknown.
    pub fn recipe_of(&self, key: &CellKey) -> Option<MaskRecipe> {
        let document = self.document()?;
        let base = match &key.recipe {
            None => Some(&document.plan.recipe),
            Some(hash) => self
                .extensions
                .iter()
                .map(|extension| &extension.plan.recipe)
                .find(|recipe| recipe_tag(&document.plan.recipe, recipe).as_ref() == Some(hash)),
        };
        let mut recipe = base?.clone();
        recipe.dilate_px = key.dilate_px?.value() as f32;
        Some(recipe)
    }

    /// The prompt that a cell was or is to be made with; `None` if unknown.
    pub fn prompt_of(&self, key: &CellKey) -> Option<&str> {
        self.prompts.get(key.prompt?).map(String::as_str)
    }

    /// How a cell relates to what production does today.
    pub fn baseline(&self, key: &CellKey) -> Option<Baseline> {
        if key.is_baseline(&self.defaults) {
            return Some(Baseline::Exact);
        }
        // Asked for every cell in every frame: all the others are only looked at where it matters.
        let stands_in =
            key.steps == self.defaults.steps && key.is_baseline_but_steps(&self.defaults);
        let is_elsewhere = || {
            let mut others = self.cells.keys();
            others.any(|other| other.is_baseline(&self.defaults))
        };
        (stands_in && !is_elsewhere()).then_some(Baseline::OtherSteps)
    }

    /// The key of the baseline, or of what stands in for it.
    pub fn baseline_key(&self) -> Option<&CellKey> {
        self.cells.keys().find(|key| self.baseline(key).is_some())
    }

    /// Cells of the run's first plan. A cell that only an extension asked for, or that was only
    /// found, belongs to a strip of its own and never pads the matrix.
    pub fn main_cells(&self) -> BTreeSet<CellKey> {
        match &self.origin {
            Origin::FillAudit(document) => document.plan.matrix.cells(None).into_iter().collect(),
            Origin::Service => {
                let at_default =
                    |key: &&CellKey| key.steps == self.defaults.steps && key.recipe.is_none();
                self.cells.keys().filter(at_default).cloned().collect()
            }
        }
    }

    /// The values that occur on an axis, in order.
    pub fn axis_values(&self, axis: super::matrix::Axis) -> Vec<super::matrix::AxisValue> {
        let values: BTreeSet<_> = self.cells.keys().map(|key| axis.value_of(key)).collect();
        values.into_iter().collect()
    }

    /// The file of a cell's composite, whether it is there or not.
    pub fn picture_file(&self, key: &CellKey) -> String {
        self.picture_names
            .get(key)
            .cloned()
            .unwrap_or_else(|| files::composite(&self.cell_name(key)))
    }

    /// The file of the mask that the model is given for a cell: `inference_mask.png` at the run's recipe,
    /// with what differs at another, as in the cell's name.
    pub fn inference_mask_file(&self, key: &CellKey) -> String {
        let mut name = "inference_mask".to_owned();
        if let Some(dilate_px) = key
            .dilate_px
            .filter(|_| key.dilate_px != self.defaults.dilate_px)
        {
            name.push_str(&format!("_d{dilate_px}"));
        }
        if let Some(recipe) = &key.recipe {
            name.push_str(&format!("_m{}", recipe.as_str()));
        }
        name.push_str(".png");
        name
    }

    /// What is known of the time that a cell took, also where its picture is missing.
    pub fn timing_of(&self, key: &CellKey) -> Option<&Timing> {
        self.cells
            .get(key)
            .and_then(CellState::timing)
            .or_else(|| self.reported_timings.get(key))
    }

    /// The transformer file of a quant, from the run or an extension.
    pub fn transformer(&self, quant: &Quant) -> Option<&WeightsFile> {
        let document = self.document()?;
        document.model.transformer(quant).or_else(|| {
            self.extensions
                .iter()
                .flat_map(|extension| &extension.new_files)
                .find(|file| file.quant.as_ref() == Some(quant))
        })
    }

    /// How many cells are done.
    pub fn done_count(&self) -> usize {
        self.cells
            .values()
            .filter(|state| matches!(state, CellState::Done(_)))
            .count()
    }

    /// The name of a cell's files, without extension.
    pub fn cell_name(&self, key: &CellKey) -> String {
        key.name(&self.defaults)
    }
}

/// What marks a cell whose recipe differs from the run's in more than its dilation.
pub fn recipe_tag(of_run: &MaskRecipe, of_cell: &MaskRecipe) -> Option<RecipeHash> {
    if of_run.same_but_dilation(of_cell) {
        return None;
    }
    RecipeHash::new(of_cell.hash8()).ok()
}

/// Production's settings today, which an approval replaces.
pub fn production_baseline() -> (Quant, Option<Guidance>, Steps) {
    let quant = Quant::audited().swap_remove(0);
    (quant, Guidance::new(10.0).ok(), Steps::PRODUCTION)
}

/// The dilation of a recipe as an axis value.
///
/// # Errors
/// [`super::cell::ValueError`] if the recipe's dilation is out of range.
pub fn dilation_of(recipe: &MaskRecipe) -> Result<RadiusPx, super::cell::ValueError> {
    RadiusPx::new(f64::from(recipe.dilate_px))
}
