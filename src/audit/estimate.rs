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
    /// Values in the transformer, in all; 0 if it is not known.
    pub parameters: f64,
}

/// Seconds of one step at one pixel, by quant and over all, as the median of earlier cells.
struct Measured {
    by_quant: BTreeMap<Quant, (f64, usize)>,
    over_all: Option<(f64, usize)>,
}

/// Estimates cells from the runs that lie beside each other in a folder. Reads their documents.
pub fn estimate(runs_dir: &Path, keys: &[CellKey], conditions: &Conditions<'_>) -> Estimate {
    let mut samples: BTreeMap<Quant, Vec<f64>> = BTreeMap::new();
    for folder in run_folders(runs_dir) {
        if let Ok(run) = run_folder::open(&folder, Verification::Quick) {
            collect(&run, conditions, &mut samples);
        }
    }
    of_samples(&samples, keys, conditions)
}

fn collect(run: &Run, conditions: &Conditions<'_>, samples: &mut BTreeMap<Quant, Vec<f64>>) {
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
        let ratio = parameters / conditions.parameters;
        let same_model = conditions.parameters == 0.0 || (0.5..2.0).contains(&ratio);
        if same_device
            && same_model
            && cell.matmul == conditions.matmul
            && let Some(secs) = cell.timing.wall_secs.filter(|secs| *secs > 0.0)
        {
            let rate = secs / f64::from(key.steps.value()) / pixels;
            samples.entry(key.quant.clone()).or_default().push(rate);
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
            (None, None) => guessed_step_secs(conditions) * f64::from(key.steps.value()),
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
const REAL_PARAMETERS: f64 = 11.9e9;

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
fn guessed_step_secs(conditions: &Conditions<'_>) -> f64 {
    let tokens = conditions.inference_px as f64 / 256.0 + 512.0;
    let size = if conditions.parameters > 0.0 {
        conditions.parameters / REAL_PARAMETERS
    } else {
        1.0
    };
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
    use crate::model::cell::CellDefaults;

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
            parameters: 0.0,
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

    #[test]
    fn a_guess_says_so() {
        let environment = environment();
        let conditions = Conditions {
            environment: &environment,
            matmul: MatmulPath::Exact,
            inference_px: 1 << 20,
            parameters: 0.0,
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
