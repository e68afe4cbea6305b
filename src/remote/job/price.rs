//! What a second of a task costs: a labelled figure, never a promise.

use super::JobError;

/// The price of one second of a task, in US dollars.
#[derive(Debug, Clone, PartialEq)]
pub struct Price {
    /// Of the GPU.
    pub gpu_usd_per_sec: f64,
    /// Of one virtual CPU.
    pub cpu_usd_per_sec: f64,
    /// Of one GiB of memory.
    pub gib_usd_per_sec: f64,
    /// Virtual CPUs of a task, as the job's YAML has them.
    pub cpus: u32,
    /// GiB of memory of a task, as the job's YAML has them.
    pub memory_gib: u32,
    /// Where the GPU's figure comes from, and from when.
    pub source: String,
}

impl Default for Price {
    /// Tier 1 regions, an L4 without zonal redundancy, which jobs use. Public pages quote 0.67 USD an hour
    /// for the GPU and 0.75 for 8 CPUs with 32 GiB; Google's own list was not read for these figures.
    fn default() -> Self {
        Self {
            gpu_usd_per_sec: 0.000_186_7,
            cpu_usd_per_sec: 0.000_018,
            gib_usd_per_sec: 0.000_002,
            cpus: 8,
            memory_gib: 32,
            source:
                "as quoted for tier 1 regions in April 2026 by others than Google; the list is \
                     https://cloud.google.com/run/pricing"
                    .to_owned(),
        }
    }
}

impl Price {
    /// The default with another price of a GPU's second, in US dollars from 0 to 1.
    ///
    /// # Errors
    /// [`JobError::Plan`] if it is none.
    pub fn with_gpu(usd_per_sec: f64) -> Result<Self, JobError> {
        if !(0.0..=1.0).contains(&usd_per_sec) {
            return Err(JobError::Plan(format!(
                "a GPU's second costs 0 to 1 USD, not {usd_per_sec}; give --gpu-price USD"
            )));
        }
        let default = Self::default();
        Ok(Self {
            gpu_usd_per_sec: usd_per_sec,
            source: format!("the GPU's price as given, the rest {}", default.source),
            ..default
        })
    }

    /// One second of a task with all that belongs to it.
    pub fn usd_per_sec(&self) -> f64 {
        self.gpu_usd_per_sec
            + self.cpu_usd_per_sec * f64::from(self.cpus)
            + self.gib_usd_per_sec * f64::from(self.memory_gib)
    }
}

impl std::fmt::Display for Price {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.7} USD a second: L4 {:.7}, {} CPUs, {} GiB ({})",
            self.usd_per_sec(),
            self.gpu_usd_per_sec,
            self.cpus,
            self.memory_gib,
            self.source
        )
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn a_price_says_where_it_comes_from() {
        let listed = Price::default();
        // About 0.67 USD an hour for the GPU alone, as the pages say.
        assert!((listed.gpu_usd_per_sec * 3600.0 - 0.672).abs() < 0.001);
        assert!(listed.to_string().contains("April 2026"), "{listed}");
        let given = Price::with_gpu(0.0003).unwrap();
        assert!((given.usd_per_sec() - listed.usd_per_sec() - 0.000_113_3).abs() < 1e-9);
        assert!(given.to_string().contains("as given"), "{given}");
        for wrong in [-1.0, f64::NAN, 2.0] {
            assert!(Price::with_gpu(wrong).is_err());
        }
    }
}
