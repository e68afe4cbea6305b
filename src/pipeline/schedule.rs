//! Noise levels of `FlowMatchEulerDiscreteScheduler`, with its dynamic shift.
//!
//! Follows `scheduling_flow_match_euler_discrete.py` of diffusers 0.42 and `calculate_shift` of
//! its FLUX pipelines. Pure.

use super::error::{PipelineError, Result};
use serde::Deserialize;
use std::path::Path;

/// The parts of `scheduler_config.json` that choose the noise levels; the defaults are FLUX.1's.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(default)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "the configuration file has them"
)]
pub struct Schedule {
    base_shift: f64,
    max_shift: f64,
    base_image_seq_len: f64,
    max_image_seq_len: f64,
    shift: f64,
    use_dynamic_shifting: bool,
    time_shift_type: String,
    use_karras_sigmas: bool,
    use_exponential_sigmas: bool,
    use_beta_sigmas: bool,
    invert_sigmas: bool,
    stochastic_sampling: bool,
    shift_terminal: Option<f64>,
}

impl Default for Schedule {
    fn default() -> Self {
        Self {
            base_shift: 0.5,
            max_shift: 1.15,
            base_image_seq_len: 256.0,
            max_image_seq_len: 4096.0,
            shift: 3.0,
            use_dynamic_shifting: true,
            time_shift_type: "exponential".to_owned(),
            use_karras_sigmas: false,
            use_exponential_sigmas: false,
            use_beta_sigmas: false,
            invert_sigmas: false,
            stochastic_sampling: false,
            shift_terminal: None,
        }
    }
}

impl Schedule {
    /// Reads `scheduler_config.json`.
    ///
    /// # Errors
    /// If it cannot be parsed, or asks for what this schedule does not do.
    pub fn from_json(text: &str, path: &Path) -> Result<Self> {
        let schedule: Self = serde_json::from_str(text)
            .map_err(|e| PipelineError::bad_config(path, e.to_string()))?;
        let unsupported = [
            ("use_karras_sigmas", schedule.use_karras_sigmas),
            ("use_exponential_sigmas", schedule.use_exponential_sigmas),
            ("use_beta_sigmas", schedule.use_beta_sigmas),
            ("invert_sigmas", schedule.invert_sigmas),
            ("stochastic_sampling", schedule.stochastic_sampling),
            ("shift_terminal", schedule.shift_terminal.is_some()),
            (
                "time_shift_type",
                !matches!(schedule.time_shift_type.as_str(), "exponential" | "linear"),
            ),
        ];
        match unsupported.iter().find(|(_, asked)| *asked) {
            Some((key, _)) => Err(PipelineError::bad_config(
                path,
                format!("{key} is set to something that FLUX.1-Fill does not use"),
            )),
            None => Ok(schedule),
        }
    }

    /// The noise level before each step and 0 at the end: `steps + 1` values from 1 downwards, for
    /// an image of `tokens` 16-pixel squares. `steps` must be at least 1.
    pub fn sigmas(&self, steps: usize, tokens: usize) -> Vec<f32> {
        let slope =
            (self.max_shift - self.base_shift) / (self.max_image_seq_len - self.base_image_seq_len);
        let mu = tokens as f64 * slope + (self.base_shift - slope * self.base_image_seq_len);
        // numpy.linspace(1, 1 / steps, steps), then everything in float32.
        let last = 1.0 / steps as f64;
        let gap = if steps > 1 {
            (last - 1.0) / (steps - 1) as f64
        } else {
            0.0
        };
        let shifted = |t: f32| {
            if self.use_dynamic_shifting {
                let numerator = if self.time_shift_type == "linear" {
                    mu as f32
                } else {
                    mu.exp() as f32
                };
                numerator / (numerator + (1.0 / t - 1.0))
            } else {
                let shift = self.shift as f32;
                shift * t / (1.0 + (shift - 1.0) * t)
            }
        };
        let mut sigmas: Vec<f32> = (0..steps)
            .map(|i| {
                let t = if i + 1 == steps && steps > 1 {
                    last
                } else {
                    1.0 + i as f64 * gap
                };
                shifted(t as f32)
            })
            .collect();
        sigmas.push(0.0);
        sigmas
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;

    #[test]
    fn noise_falls_from_one_to_zero() {
        let sigmas = Schedule::default().sigmas(28, 4096);
        assert_eq!(sigmas.len(), 29);
        assert!((sigmas[0] - 1.0).abs() < 1e-7);
        assert!(sigmas.windows(2).all(|w| w[0] > w[1]));
        assert_eq!(sigmas.last(), Some(&0.0));
    }

    #[test]
    fn larger_pictures_keep_more_noise_for_longer() {
        let small = Schedule::default().sigmas(4, 256);
        let large = Schedule::default().sigmas(4, 4096);
        assert!(large[2] > small[2]);
    }

    #[test]
    fn what_the_schedule_does_not_do_is_refused_by_name() {
        let path = Path::new("scheduler/scheduler_config.json");
        let error = Schedule::from_json(r#"{"use_karras_sigmas": true}"#, path).unwrap_err();
        assert!(error.to_string().contains("use_karras_sigmas"), "{error}");
        assert!(Schedule::from_json("{", path).is_err());
        let same = Schedule::from_json(r#"{"shift": 3.0, "num_train_timesteps": 1000}"#, path);
        assert_eq!(same.unwrap(), Schedule::default());
    }
}
