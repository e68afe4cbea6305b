//! What the bucket has of a run: which cells, and since when its report.

use crate::model::ids::RunId;
use crate::model::run::files;
use crate::storage::store::list_all;
use crate::storage::{StorageConfig, StorageError, Store};
use serde::Serialize;
use std::collections::BTreeSet;

/// What the bucket has of a run, counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CellsSeen {
    /// Cells with a picture.
    pub done: usize,
    /// Cells that were tried and have none.
    pub failed: usize,
    /// Whether the report is there: the run is whole. One from before an execution that did not end well
    /// counts for nothing.
    pub has_report: bool,
}

/// What the bucket has of a run, by the cells' names.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CellsThere {
    /// Cells with a picture.
    pub done: BTreeSet<String>,
    /// Cells that were tried and have none.
    pub failed: BTreeSet<String>,
    /// When the report was written last, in seconds since 1970 (UTC).
    pub report_secs: Option<i64>,
}

impl CellsThere {
    /// Looks at what there is of a run; nothing, if there is no such run.
    ///
    /// # Errors
    /// What the bucket says.
    pub async fn read(
        store: &dyn Store,
        config: &StorageConfig,
        run_id: &RunId,
    ) -> Result<Self, StorageError> {
        let prefix = config.prefix_of_run(run_id.as_str())?;
        let listing = list_all(store, &prefix, false).await?;
        let mut there = Self::default();
        let mut names = BTreeSet::new();
        for object in &listing.objects {
            if let Some(name) = object.name.as_str().strip_prefix(&prefix) {
                names.insert(name);
                if name == files::REPORT {
                    there.report_secs = Some(object.updated_secs);
                }
            }
        }
        for stem in names.iter().filter_map(|name| name.strip_suffix(".ron")) {
            let is_cell = stem != "run"
                && !stem.starts_with("plan-")
                && !stem.starts_with("review-")
                && !stem.starts_with('.');
            if is_cell && names.contains(files::composite(stem).as_str()) {
                there.done.insert(stem.to_owned());
            } else if is_cell {
                there.failed.insert(stem.to_owned());
            }
        }
        Ok(there)
    }

    /// Counted.
    pub fn seen(&self) -> CellsSeen {
        CellsSeen {
            done: self.done.len(),
            failed: self.failed.len(),
            has_report: self.report_secs.is_some(),
        }
    }
}
