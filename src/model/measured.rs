//! What was measured and counted while a cell was made: times, and accelerations that ran.

use serde::{Deserialize, Serialize};

/// How long a cell took.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timing {
    /// Wall-clock seconds of the denoising loop and the decoding, loading aside.
    #[serde(default)]
    pub wall_secs: Option<f64>,
    /// GPU milliseconds by its own events; `None` on a CPU.
    #[serde(default)]
    pub gpu_millis: Option<f64>,
    /// Seconds of each step.
    #[serde(default)]
    pub step_secs: Vec<f64>,
    /// Seconds that loading the quant took, on the cell that loaded it.
    #[serde(default)]
    pub load_secs: Option<f64>,
    /// Seconds of making the picture from the last latents; part of the wall-clock seconds.
    #[serde(default)]
    pub decode_secs: Option<f64>,
}

/// An acceleration, as the path itself counted it while a cell was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccelerationSeen {
    /// Its name, as a report shows it.
    pub name: String,
    /// Whether the program on that device has it.
    pub available: bool,
    /// Whether it was asked for.
    pub asked: bool,
    /// How often it ran.
    pub seen: u64,
    /// What a reader should know.
    #[serde(default)]
    pub remark: String,
}

impl AccelerationSeen {
    /// Whether it was asked for and did not run.
    pub fn fell_back(&self) -> bool {
        self.asked && self.seen == 0
    }
}
