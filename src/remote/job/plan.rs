//! How a run is divided into tasks, how long they may take and what they may cost. Pure: what was measured is
//! handed in.

use super::{JobError, Price};
use crate::audit::estimate::{self, Conditions, Rates};
use crate::model::cell::{CellKey, Quant};
use crate::model::run::Environment;
use crate::model::shard::{self, MAX_SHARDS};
use std::collections::BTreeMap;

/// The longest task that is planned, in seconds: a task with a GPU is ended after an hour.
pub const LONGEST_TASK_SECS: f64 = 50.0 * 60.0;
/// After how long a task is ended, in seconds.
pub const TASK_TIMEOUT_SECS: u32 = 3600;
/// From the start of a task to its first quant: the container, the weights' hashes, prompt and picture. A
/// guess; nothing was measured.
const GUESSED_START_SECS: f64 = 240.0;
/// Loading a quant from a mounted bucket: 7 to 13 GB. A guess, where nothing was measured.
const GUESSED_LOAD_SECS: f64 = 60.0;

/// The GPU that a job runs on.
pub fn l4() -> Environment {
    Environment {
        device: "NVIDIA L4".to_owned(),
        compute_capability: Some("8.9".to_owned()),
        memory_bytes: None,
        driver: None,
        program: None,
    }
}

/// The published transformer's values, which every quant of it has.
pub fn published_parameters(keys: &[CellKey]) -> BTreeMap<Quant, f64> {
    let quants = keys.iter().map(|key| key.quant.clone());
    quants
        .map(|quant| (quant, estimate::REAL_PARAMETERS))
        .collect()
}

/// One task.
#[derive(Debug, Clone, PartialEq)]
pub struct PlannedTask {
    /// The quants that it loads.
    pub quants: Vec<Quant>,
    /// Cells that it makes.
    pub cells: usize,
    /// Denoising steps of all of them.
    pub steps: u64,
    /// Seconds that it may take, start and loading included.
    pub secs: f64,
}

/// A run as tasks of a job.
#[derive(Debug, Clone, PartialEq)]
pub struct JobPlan {
    /// The tasks, in the order of their indices.
    pub tasks: Vec<PlannedTask>,
    /// Where the time of a step comes from.
    pub basis: String,
    /// Whether it was measured on this kind of GPU; otherwise it is a guess.
    pub is_measured: bool,
    /// Cells that are there already; no task makes them again.
    pub made: usize,
    /// What a second costs.
    pub price: Price,
}

impl JobPlan {
    /// Divides cells into tasks of at most fifty minutes: one for each quant, more where that is too long. With
    /// `asked` exactly so many. Tasks share out all cells, as they will themselves; those that `is_made` knows
    /// take no time.
    ///
    /// # Errors
    /// [`JobError::Plan`] if a single cell takes too long, or too many or too few tasks are asked for.
    pub fn new(
        keys: &[CellKey],
        conditions: &Conditions<'_>,
        rates: &Rates,
        price: Price,
        asked: Option<usize>,
        is_made: &dyn Fn(&CellKey) -> bool,
    ) -> Result<Self, JobError> {
        if keys.is_empty() {
            return Err(JobError::Plan("there is no cell to be made".to_owned()));
        }
        let missing: Vec<CellKey> = keys.iter().filter(|key| !is_made(key)).cloned().collect();
        let most = keys.len().min(MAX_SHARDS);
        let quants = shard::split(keys, most)
            .iter()
            .filter_map(|share| share.first().map(|key| key.quant.clone()))
            .collect::<std::collections::BTreeSet<_>>()
            .len();
        let (from, to) = match asked {
            Some(asked) if (1..=most).contains(&asked) => (asked, asked),
            Some(asked) => {
                return Err(JobError::Plan(format!(
                    "{asked} tasks for {} cells: give --tasks 1 to {most}",
                    keys.len()
                )));
            }
            // The report alone.
            None if missing.is_empty() => (1, 1),
            None => (quants, most),
        };
        let mut plan = Self {
            tasks: Vec::new(),
            basis: String::new(),
            is_measured: false,
            made: keys.len() - missing.len(),
            price,
        };
        for count in from..=to {
            plan.tasks = shard::split(keys, count)
                .iter()
                .map(|share| {
                    let left: Vec<CellKey> =
                        share.iter().filter(|key| !is_made(key)).cloned().collect();
                    task(&left, conditions, rates)
                })
                .collect();
            if plan.longest_secs() <= LONGEST_TASK_SECS {
                break;
            }
        }
        let longest = plan.longest_secs();
        if longest > LONGEST_TASK_SECS {
            let how = match asked {
                Some(_) => "give more --tasks, or leave the option out",
                None => "make it smaller (--size) or with fewer --steps",
            };
            return Err(JobError::Plan(format!(
                "a task would take {}, and at most {} are planned: {how}",
                estimate::duration(longest),
                estimate::duration(LONGEST_TASK_SECS)
            )));
        }
        let all = rates.of(if missing.is_empty() { keys } else { &missing }, conditions);
        plan.is_measured = all.measured_cells > 0;
        plan.basis = match all.measured_cells {
            0 => format!(
                "a guess: nothing was measured on {} here yet; start and loading are guessed too",
                all.device
            ),
            n => format!(
                "steps from {n} earlier cells on {}; a task's start is a guess",
                all.device
            ),
        };
        Ok(plan)
    }

    /// Cells that all tasks are to make.
    pub fn cells(&self) -> usize {
        self.tasks.iter().map(|task| task.cells).sum()
    }

    /// Seconds of the longest task: how long the run takes if all tasks get a GPU at once.
    pub fn longest_secs(&self) -> f64 {
        self.tasks.iter().map(|task| task.secs).fold(0.0, f64::max)
    }

    /// Seconds of all tasks together: what is paid for.
    pub fn total_secs(&self) -> f64 {
        self.tasks.iter().map(|task| task.secs).sum()
    }

    /// What all of it may cost, in US dollars.
    pub fn cost_usd(&self) -> f64 {
        self.total_secs() * self.price.usd_per_sec()
    }

    /// The plan as it is shown, a line each.
    pub fn lines(&self) -> Vec<String> {
        let (cells, tasks) = (self.cells(), self.tasks.len());
        let mut lines = vec![match self.made {
            0 => format!("{cells} cells in {tasks} tasks on NVIDIA L4:"),
            made => format!(
                "{cells} of {} cells in {tasks} tasks on NVIDIA L4, {made} are in the bucket already:",
                cells + made
            ),
        }];
        for (index, task) in self.tasks.iter().enumerate() {
            let quants: Vec<String> = task.quants.iter().map(ToString::to_string).collect();
            if task.cells == 0 {
                let secs = estimate::duration(task.secs);
                lines.push(format!("  task {index}: no cell is missing, about {secs}"));
                continue;
            }
            lines.push(format!(
                "  task {index}: {}, {} cells, {} steps, about {}",
                quants.join(" and "),
                task.cells,
                task.steps,
                estimate::duration(task.secs)
            ));
        }
        lines.push(format!(
            "time: about {} if all tasks get a GPU at once, {} of GPUs in all ({})",
            estimate::duration(self.longest_secs()),
            estimate::duration(self.total_secs()),
            self.basis
        ));
        lines.push(format!(
            "cost: about {:.2} USD at {}",
            self.cost_usd(),
            self.price
        ));
        lines
    }
}

fn task(cells: &[CellKey], conditions: &Conditions<'_>, rates: &Rates) -> PlannedTask {
    let mut quants: Vec<Quant> = Vec::new();
    for key in cells {
        if !quants.contains(&key.quant) {
            quants.push(key.quant.clone());
        }
    }
    let loading: f64 = quants
        .iter()
        .map(|quant| rates.load_secs(quant).unwrap_or(GUESSED_LOAD_SECS))
        .sum();
    PlannedTask {
        secs: GUESSED_START_SECS + loading + rates.of(cells, conditions).secs,
        steps: cells.iter().map(|key| u64::from(key.steps.value())).sum(),
        cells: cells.len(),
        quants,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::model::cell::{RadiusPx, Steps};
    use crate::model::matrix::Matrix;
    use crate::model::run::MatmulPath;

    /// The plan where all cells of some quants are there.
    fn plan_rest(
        matrix: &Matrix,
        px: u64,
        asked: Option<usize>,
        made: &[&str],
    ) -> Result<JobPlan, JobError> {
        let keys = matrix.cells(None);
        let environment = l4();
        let conditions = Conditions {
            environment: &environment,
            matmul: MatmulPath::Exact,
            inference_px: px,
            parameters: published_parameters(&keys),
        };
        JobPlan::new(
            &keys,
            &conditions,
            &Rates::default(),
            Price::default(),
            asked,
            &|key| made.contains(&key.quant.as_str()),
        )
    }

    fn plan(matrix: &Matrix, px: u64, asked: Option<usize>) -> Result<JobPlan, JobError> {
        plan_rest(matrix, px, asked, &[])
    }

    fn audit() -> Matrix {
        Matrix::audit(RadiusPx::new(10.0).unwrap())
    }

    #[test]
    fn the_audit_is_a_task_for_each_quant_and_says_what_is_guessed() {
        let plan = plan(&audit(), 1024 * 1024, None).unwrap();
        assert_eq!(plan.tasks.len(), 3);
        let first = &plan.tasks[0];
        assert_eq!((first.cells, first.steps), (5, 140));
        // 140 steps of 1.6 s, the start and one quant.
        assert!(
            (first.secs - (140.0 * 1.6 + 300.0)).abs() < 1.0,
            "{first:?}"
        );
        assert!(!plan.is_measured);
        let text = plan.lines().join("\n");
        assert!(text.contains("a guess: nothing was measured"), "{text}");
        assert!(text.contains("task 2: Q8_0, 5 cells, 140 steps"), "{text}");
        assert!(
            text.contains("cost: about 0.62 USD at 0.0003947 USD a second"),
            "{text}"
        );
        assert!(text.contains("April 2026"), "{text}");
    }

    #[test]
    fn what_is_there_already_is_neither_planned_nor_priced() {
        let whole = plan(&audit(), 1024 * 1024, None).unwrap();
        let first = whole.tasks[0].quants[0].clone();
        let rest = plan_rest(&audit(), 1024 * 1024, None, &[first.as_str()]).unwrap();
        assert_eq!((rest.cells(), rest.made, rest.tasks.len()), (10, 5, 3));
        // The task is started all the same, and loads nothing.
        let saved = whole.tasks[0].secs - GUESSED_START_SECS;
        assert!((whole.total_secs() - rest.total_secs() - saved).abs() < 1e-6);
        assert!(rest.cost_usd() < whole.cost_usd());
        let text = rest.lines().join("\n");
        assert!(
            text.contains("10 of 15 cells in 3 tasks on NVIDIA L4, 5 are in the bucket already"),
            "{text}"
        );
        assert!(text.contains("task 0: no cell is missing, about"), "{text}");
        let quants: Vec<String> = audit().quants.iter().map(ToString::to_string).collect();
        let quants: Vec<&str> = quants.iter().map(String::as_str).collect();
        let none = plan_rest(&audit(), 1024 * 1024, None, &quants).unwrap();
        assert_eq!((none.cells(), none.made, none.tasks.len()), (0, 15, 1));
    }

    #[test]
    fn what_takes_longer_than_fifty_minutes_is_divided_further() {
        let mut long = audit();
        long.seeds = (1..=30).collect();
        let plan = plan(&long, 1024 * 1024, None).unwrap();
        assert_eq!(plan.cells(), 450);
        assert!(plan.tasks.len() > 3);
        assert!(plan.longest_secs() <= LONGEST_TASK_SECS);
        assert!(plan.tasks.iter().all(|task| task.quants.len() == 1));
        // One fewer would not do.
        let fewer = super::tests::plan(&long, 1024 * 1024, Some(plan.tasks.len() - 1));
        assert!(fewer.unwrap_err().to_string().contains("more --tasks"));
    }

    #[test]
    fn a_cell_that_is_too_long_for_a_task_is_refused() {
        let mut slow = audit();
        slow.steps = vec![Steps::new(1000).unwrap()];
        let error = plan(&slow, 4096 * 4096, None).unwrap_err().to_string();
        assert!(error.contains("fewer --steps"), "{error}");
        assert!(plan(&audit(), 4096, Some(16)).is_err());
        assert_eq!(plan(&audit(), 4096, Some(1)).unwrap().tasks.len(), 1);
    }
}
