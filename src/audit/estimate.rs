//! How long cells may take: from earlier cells on the same device, or a guess that says so.

use super::run_folder::{self, Verification};
use super::start::run_folders;
use crate::model::cell::{CellKey, Quant};
use crate::model::run::{CellState, Environment, MatmulPath, Run};
use std::collections::BTreeMap;
use std::path::Path;

/// Seconds of a number of cells, with where the figure comes from.
#[derive(Debug, Clone, PartialEq)]
pub struct Estimate {
    /// Wall seconds for all of them, loading aside.
    pub secs: f64,
    /// How many earlier cells it comes from; 0 marks a guess.
    pub measured_cells: usize,
    /// The device.
    pub device: String,
}

impl std::fmt::Display for Estimate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "about {}", duration(self.secs))?;
        match self.measured_cells {
            0 => write!(f, " (a guess: nothing was measured on {} yet)", self.device),
            1 => write!(f, " (from 1 earlier cell on {})", self.device),
            n => write!(f, " (from {n} earlier cells on {})", self.device),
        }
    }
}

/// `0.4 s`, `45 s`, `3 min 20 s`, `2 h 5 min`.
pub fn duration(secs: f64) -> String {
    let secs = secs.max(0.0);
    if secs < 10.0 {
        return format!("{secs:.1} s");
    }
    let whole = secs.round() as u64;
    match (whole / 3600, whole / 60 % 60, whole % 60) {
        (0, 0, s) => format!("{s} s"),
        (0, m, s) => format!("{m} min {s} s"),
        (h, m, _) => format!("{h} h {m} min"),
    }
}

/// What the cells to be estimated share.
#[derive(Debug, Clone, PartialEq)]
pub struct Conditions<'a> {
    /// Where they will be made.
    pub environment: &'a Environment,
    /// How weights are multiplied.
    pub matmul: MatmulPath,
    /// Pixels at inference size.
    pub inference_px: u64,
    /// Values in the transformer of each quant, in all; a quant is left out if they are not known.
    pub parameters: BTreeMap<Quant, f64>,
}

impl Conditions<'_> {
    /// Values in a quant's transformer; those of the largest known for a quant that is not asked for, since it
    /// may stand in for one that is. `None` if none are known.
    fn parameters_of(&self, quant: &Quant) -> Option<f64> {
        let own = self.parameters.get(quant).copied();
        own.or_else(|| self.parameters.values().copied().reduce(f64::max))
    }
}

/// Seconds of one step at one pixel, by quant and over all, as the median of earlier cells.
struct Measured {
    by_quant: BTreeMap<Quant, (f64, usize)>,
    over_all: Option<(f64, usize)>,
}

/// Estimates cells from the runs that lie beside each other in a folder. Reads their documents.
pub fn estimate(runs_dir: &Path, keys: &[CellKey], conditions: &Conditions<'_>) -> Estimate {
    Rates::read(runs_dir, conditions).of(keys, conditions)
}

/// What earlier cells took, under the same conditions.
#[derive(Debug, Clone, Default)]
pub struct Rates {
    /// Seconds of one step at one pixel, of each cell.
    samples: BTreeMap<Quant, Vec<f64>>,
    /// Seconds that loading took, of each cell that loaded.
    loads: BTreeMap<Quant, Vec<f64>>,
}

impl Rates {
    /// From the runs that lie beside each other in a folder. Reads their documents.
    pub fn read(runs_dir: &Path, conditions: &Conditions<'_>) -> Self {
        let mut rates = Self::default();
        for folder in run_folders(runs_dir) {
            if let Ok(run) = run_folder::open(&folder, Verification::Quick) {
                collect(&run, conditions, &mut rates);
            }
        }
        rates
    }

    /// How long cells may take, loading aside.
    pub fn of(&self, keys: &[CellKey], conditions: &Conditions<'_>) -> Estimate {
        of_samples(&self.samples, keys, conditions)
    }

    /// Seconds that loading a quant took, the median; `None` if it was not measured.
    pub fn load_secs(&self, quant: &Quant) -> Option<f64> {
        median(&mut self.loads.get(quant)?.clone())
    }
}

fn collect(run: &Run, conditions: &Conditions<'_>, rates: &mut Rates) {
    let Some(document) = run.document() else {
        return;
    };
    let (width, height) = document.inference_size_px;
    let pixels = f64::from(width) * f64::from(height);
    for (key, state) in &run.cells {
        let CellState::Done(done) = state else {
            continue;
        };
        let Some(cell) = &done.document else { continue };
        let same_device = cell.environment.device == conditions.environment.device;
        // A tiny model's time says nothing about the real one's.
        let parameters = run
            .transformer(&key.quant)
            .map_or(0.0, |file| parameters(&key.quant, file.size_bytes));
        let same_model = conditions
            .parameters_of(&key.quant)
            .is_none_or(|wanted| (0.5..2.0).contains(&(parameters / wanted)));
        if same_device
            && same_model
            && cell.matmul == conditions.matmul
            && let Some(secs) = cell.timing.wall_secs.filter(|secs| *secs > 0.0)
        {
            let rate = secs / f64::from(key.steps.value()) / pixels;
            let samples = &mut rates.samples;
            samples.entry(key.quant.clone()).or_default().push(rate);
            if let Some(secs) = cell.timing.load_secs {
                let loads = &mut rates.loads;
                loads.entry(key.quant.clone()).or_default().push(secs);
            }
        }
    }
}

fn median(values: &mut [f64]) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

fn of_samples(
    samples: &BTreeMap<Quant, Vec<f64>>,
    keys: &[CellKey],
    conditions: &Conditions<'_>,
) -> Estimate {
    let mut all: Vec<f64> = samples.values().flatten().copied().collect();
    let count = all.len();
    let measured = Measured {
        by_quant: samples
            .iter()
            .filter_map(|(quant, rates)| {
                let rate = median(&mut rates.clone())?;
                Some((quant.clone(), (rate, rates.len())))
            })
            .collect(),
        over_all: median(&mut all).map(|rate| (rate, count)),
    };
    let mut secs = 0.0;
    let mut sources: BTreeMap<Option<&Quant>, usize> = BTreeMap::new();
    for key in keys {
        let work = f64::from(key.steps.value()) * conditions.inference_px as f64;
        secs += match (measured.by_quant.get(&key.quant), measured.over_all) {
            (Some((rate, n)), _) => {
                sources.insert(Some(&key.quant), *n);
                rate * work
            }
            (None, Some((rate, n))) => {
                sources.insert(None, n);
                rate * work
            }
            (None, None) => {
                guessed_step_secs(conditions, &key.quant) * f64::from(key.steps.value())
            }
        };
    }
    Estimate {
        secs,
        measured_cells: sources
            .get(&None)
            .copied()
            .unwrap_or(sources.values().sum()),
        device: conditions.environment.label(),
    }
}

/// Parameters of the real transformer.
pub const REAL_PARAMETERS: f64 = 11.9e9;

/// Values in a transformer's file, by its size and its quant's bits.
pub fn parameters(quant: &Quant, size_bytes: u64) -> f64 {
    let bits = match quant.as_str() {
        name if name.starts_with("Q2") => 2.6,
        name if name.starts_with("Q3") => 3.4,
        name if name.starts_with("Q4") => 4.5,
        name if name.starts_with("Q5") => 5.5,
        name if name.starts_with("Q6") => 6.6,
        name if name.starts_with("Q8") => 8.5,
        "F32" => 32.0,
        _ => 16.0,
    };
    size_bytes as f64 * 8.0 / bits
}

/// One step, scaled from the real model: 1.6 s at 1 megapixel on an L4 (45 s for 28 steps, as the
/// service reports), and about 130 s at 1,024 image and 512 text tokens on two cores of a CPU.
fn guessed_step_secs(conditions: &Conditions<'_>, quant: &Quant) -> f64 {
    let tokens = conditions.inference_px as f64 / 256.0 + 512.0;
    let size = conditions
        .parameters_of(quant)
        .map_or(1.0, |parameters| parameters / REAL_PARAMETERS);
    let is_gpu = conditions.environment.compute_capability.is_some();
    if is_gpu {
        1.6 * tokens / 4608.0 * size
    } else {
        130.0 * tokens / 1536.0 * size
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::model::cell::{CellDefaults, Guidance, RadiusPx, Steps};
    use crate::model::ids::{RunId, SessionId};
    use crate::model::mask_recipe::MaskRecipe;
    use crate::model::matrix::Matrix;
    use crate::model::run::{
        CellDocument, CellOutcome, DoneCell, InferenceSize, InputHashes, ModelDocument, PixelBox,
        Plan, RunDocument, Timing, WeightsFile,
    };

    fn environment() -> Environment {
        Environment {
            device: "box".to_owned(),
            compute_capability: None,
            memory_bytes: None,
            driver: None,
            program: None,
        }
    }

    fn keys(names: &[&str]) -> Vec<CellKey> {
        let defaults = CellDefaults::of_service_run();
        names
            .iter()
            .map(|name| CellKey::parse(name, &defaults).unwrap())
            .collect()
    }

    #[test]
    fn a_quants_own_cells_come_before_all_others() {
        let environment = environment();
        let conditions = Conditions {
            environment: &environment,
            matmul: MatmulPath::Exact,
            inference_px: 1000,
            parameters: BTreeMap::new(),
        };
        let q = |name: &str| Quant::new(name).unwrap();
        // Per step and pixel: 1 ms for Q4_0, 3 ms for Q8_0.
        let samples = BTreeMap::from([
            (q("Q4_0"), vec![0.001, 0.001, 9.0]),
            (q("Q8_0"), vec![0.003]),
        ]);
        let estimate = of_samples(&samples, &keys(&["Q4_0_gs2", "Q8_0_gs2"]), &conditions);
        assert!((estimate.secs - 28.0 * 4.0).abs() < 1e-9, "{estimate}");
        assert_eq!(estimate.measured_cells, 4);
        assert_eq!(
            estimate.to_string(),
            "about 1 min 52 s (from 4 earlier cells on box)"
        );
    }

    /// A run of `Q4_0` and `Q8_0` at 10 steps and 64 x 32 pixels, whose transformers have so many bytes.
    fn planned(sizes: [u64; 2]) -> Run {
        let quants = ["Q4_0", "Q8_0"].map(|name| Quant::new(name).unwrap());
        let file = |(quant, size_bytes): (&Quant, u64)| WeightsFile {
            quant: Some(quant.clone()),
            file: format!("{quant}.gguf"),
            sha256: String::new(),
            size_bytes,
        };
        let files = quants.iter().zip(sizes).map(file).collect();
        let none = String::new;
        let document = RunDocument {
            schema: 1,
            run_id: RunId::new("earlier".to_owned()).unwrap(),
            session: SessionId::new("bar".to_owned()).unwrap(),
            expected: none(),
            created_at: none(),
            program: none(),
            plan: Plan {
                matrix: Matrix {
                    quants: quants.to_vec(),
                    guidances: vec![Guidance::new(2.0).unwrap()],
                    steps: vec![Steps::new(10).unwrap()],
                    seeds: vec![42],
                    prompts: vec![0],
                    dilations: vec![RadiusPx::new(4.0).unwrap()],
                },
                recipe: MaskRecipe::default(),
            },
            prompts: vec!["grass".to_owned()],
            inference: InferenceSize::Whole { long_side_px: 64 },
            inference_box: PixelBox {
                x: 0,
                y: 0,
                width: 64,
                height: 32,
            },
            inference_size_px: (64, 32),
            max_sequence_length: 512,
            matmul: MatmulPath::Exact,
            device: "cpu".to_owned(),
            model: ModelDocument {
                repository: none(),
                base: none(),
                files,
            },
            inputs: InputHashes {
                image: none(),
                mask: none(),
                inference_image: none(),
                inference_mask: none(),
            },
            gates_overridden: Vec::new(),
            weights_warnings: Vec::new(),
        };
        Run::new(document, Vec::new()).unwrap()
    }

    /// What became of a cell that took 20 s, changed by the caller.
    fn finished(key: &CellKey, change: impl Fn(&mut CellDocument)) -> CellState {
        let mut document = CellDocument {
            schema: 1,
            key: key.clone(),
            outcome: CellOutcome::Done {
                fill_sha256: String::new(),
                composite_sha256: String::new(),
            },
            timing: Timing {
                wall_secs: Some(20.0),
                ..Timing::default()
            },
            environment: environment(),
            matmul: MatmulPath::Exact,
            inputs_sha256: String::new(),
            finished_at: String::new(),
            peak_memory_bytes: None,
            accelerations: Vec::new(),
        };
        change(&mut document);
        CellState::Done(Box::new(DoneCell {
            timing: document.timing.clone(),
            document: Some(document),
        }))
    }

    /// The rates that are collected from a run by quant.
    fn collected(
        sizes: [u64; 2],
        parameters: &[(&str, f64)],
        change: impl Fn(&mut CellDocument),
    ) -> BTreeMap<String, Vec<f64>> {
        let mut run = planned(sizes);
        for (key, state) in &mut run.cells {
            *state = finished(key, &change);
        }
        let environment = environment();
        let conditions = Conditions {
            environment: &environment,
            matmul: MatmulPath::Exact,
            inference_px: 1,
            parameters: parameters
                .iter()
                .map(|(name, values)| (Quant::new(*name).unwrap(), *values))
                .collect(),
        };
        let mut rates = Rates::default();
        collect(&run, &conditions, &mut rates);
        let named = |(quant, rates): (Quant, Vec<f64>)| (quant.to_string(), rates);
        rates.samples.into_iter().map(named).collect()
    }

    #[test]
    fn only_cells_of_the_same_device_model_and_path_count() {
        // 1000 values each, at 4.5 and 8.5 bits.
        let sizes = [563, 1063];
        // 20 s for 10 steps of 64 x 32 pixels.
        let rate = vec![20.0 / 10.0 / 2048.0];
        let of = |names: &[&str]| -> BTreeMap<String, Vec<f64>> {
            let entry = |name: &&str| ((*name).to_owned(), rate.clone());
            names.iter().map(entry).collect()
        };
        let (both, none) = (of(&["Q4_0", "Q8_0"]), BTreeMap::new());
        let same = [("Q4_0", 1000.0), ("Q8_0", 1000.0)];
        assert_eq!(collected(sizes, &same, |_| {}), both);
        // Nothing is known of what will be used, or only of one quant.
        assert_eq!(collected(sizes, &[], |_| {}), both);
        assert_eq!(collected(sizes, &same[..1], |_| {}), both);
        // Each quant is held against its own file.
        let one_is_large = [("Q4_0", 1000.0), ("Q8_0", 9000.0)];
        assert_eq!(collected(sizes, &one_is_large, |_| {}), of(&["Q4_0"]));
        assert_eq!(collected([563, 9000], &same, |_| {}), of(&["Q4_0"]));
        let elsewhere = |cell: &mut CellDocument| cell.environment.device = "other".to_owned();
        assert_eq!(collected(sizes, &same, elsewhere), none);
        let otherwise = |cell: &mut CellDocument| cell.matmul = MatmulPath::Integer;
        assert_eq!(collected(sizes, &same, otherwise), none);
        let untimed = |cell: &mut CellDocument| cell.timing.wall_secs = None;
        assert_eq!(collected(sizes, &same, untimed), none);
    }

    #[test]
    fn a_guess_takes_each_quants_own_weights() {
        let environment = environment();
        let q = |name: &str| Quant::new(name).unwrap();
        let guess = |parameters: BTreeMap<Quant, f64>| {
            let conditions = Conditions {
                environment: &environment,
                matmul: MatmulPath::Exact,
                inference_px: 256,
                parameters,
            };
            of_samples(
                &BTreeMap::new(),
                &keys(&["Q4_0_gs2", "Q8_0_gs2"]),
                &conditions,
            )
            .secs
        };
        let (real, half) = (REAL_PARAMETERS, REAL_PARAMETERS / 2.0);
        let one = guess(BTreeMap::from([(q("Q4_0"), real), (q("Q8_0"), real)])) / 2.0;
        let mixed = guess(BTreeMap::from([(q("Q4_0"), half), (q("Q8_0"), real)]));
        assert!((mixed - 1.5 * one).abs() < 1e-6 * one, "{mixed} of {one}");
        // A quant whose weights are not known is taken for the real model's only if none are known.
        assert_eq!(guess(BTreeMap::new()), 2.0 * one);
        assert_eq!(guess(BTreeMap::from([(q("Q8_0"), half)])), one);
    }

    #[test]
    fn what_loading_took_is_known_beside_the_steps() {
        let mut run = planned([6_690_000_000, 12_640_000_000]);
        for (key, state) in &mut run.cells {
            let secs = (key.quant.as_str() == "Q8_0").then_some(7.0);
            *state = finished(key, |document| document.timing.load_secs = secs);
        }
        let environment = environment();
        let conditions = Conditions {
            environment: &environment,
            matmul: MatmulPath::Exact,
            inference_px: 64 * 32,
            parameters: BTreeMap::new(),
        };
        let mut rates = Rates::default();
        collect(&run, &conditions, &mut rates);
        let load_secs = |name: &str| rates.load_secs(&Quant::new(name).unwrap());
        assert_eq!((load_secs("Q8_0"), load_secs("Q4_0")), (Some(7.0), None));
        // Each cell took 20 s for its 10 steps at this size.
        let keys: Vec<CellKey> = run.cells.keys().cloned().collect();
        let estimate = rates.of(&keys, &conditions);
        assert!((estimate.secs - 40.0).abs() < 1e-9, "{estimate}");
        assert_eq!(estimate.measured_cells, 2);
    }

    #[test]
    fn a_guess_says_so() {
        let environment = environment();
        let conditions = Conditions {
            environment: &environment,
            matmul: MatmulPath::Exact,
            inference_px: 1 << 20,
            parameters: BTreeMap::new(),
        };
        let estimate = of_samples(&BTreeMap::new(), &keys(&["Q4_0_gs2"]), &conditions);
        assert!(
            estimate
                .to_string()
                .ends_with("(a guess: nothing was measured on box yet)")
        );
        assert!(
            estimate.secs > 3600.0,
            "the real model takes hours on a CPU"
        );
    }

    #[test]
    fn durations_read_well() {
        let labels = [0.42, 45.2, 200.0, 7500.0].map(duration);
        assert_eq!(labels, ["0.4 s", "45 s", "3 min 20 s", "2 h 5 min"]);
    }
}
