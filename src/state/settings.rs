//! What is kept between sessions of the program.

use super::remote::PlaceKind;
use crate::model::review::failure::FailureTypes;
use serde::{Deserialize, Serialize};

/// The settings. Unknown ones of a newer program are ignored, missing ones get their defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// The reviewer's name, as it stands in journals and approvals.
    pub reviewer: String,
    /// Where runs are kept.
    pub runs_dir: String,
    /// Where sessions are kept.
    pub sessions_dir: String,
    /// The folder of weights.
    pub models_dir: String,
    /// Where the approved settings are written.
    pub phase1_path: String,
    /// Where a composed run is made.
    pub place: PlaceKind,
    /// The worker's address; its token is kept elsewhere.
    pub worker: String,
    /// Whose sessions it is asked for.
    pub worker_user: String,
    /// The project of the Cloud Run job.
    pub job_project: String,
    /// Its region.
    pub job_region: String,
    /// Its name.
    pub job_name: String,
    /// Memory for pictures, in MiB.
    pub picture_budget_mib: u32,
    /// The failure types on the keys `1` to `9`, in their order.
    pub failure_types: FailureTypes,
    /// Light instead of dark.
    pub is_light: bool,
    /// Size of the interface, 0.5 to 3.
    pub ui_scale: f32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            reviewer: String::new(),
            runs_dir: "runs".to_owned(),
            sessions_dir: "sessions".to_owned(),
            models_dir: String::new(),
            phase1_path: "phase1.toml".to_owned(),
            place: PlaceKind::default(),
            worker: String::new(),
            worker_user: String::new(),
            job_project: String::new(),
            job_region: "europe-west4".to_owned(),
            job_name: "fill-audit".to_owned(),
            picture_budget_mib: 1024,
            failure_types: FailureTypes::default(),
            is_light: false,
            ui_scale: 1.0,
        }
    }
}

impl Settings {
    /// Brings every number into its range.
    #[must_use]
    pub fn sane(mut self) -> Self {
        self.ui_scale = if self.ui_scale.is_finite() {
            self.ui_scale.clamp(0.5, 3.0)
        } else {
            1.0
        };
        self.picture_budget_mib = self.picture_budget_mib.clamp(64, 65_536);
        self
    }
}
