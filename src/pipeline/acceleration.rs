//! Which accelerations there are, which were asked for, and which were seen to run.
//!
//! "Seen" is counted by the code paths themselves while a fill ran. What was asked for and not
//! seen is a fallback, and a warning.

use super::device::{ComputeDevice, MatmulPath, Precision};
use super::linear::MatmulCounts;
use super::request::PipelineOptions;

/// One acceleration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceleration {
    /// Its name, as a report shows it.
    pub name: &'static str,
    /// Whether this program on this device has it.
    pub available: bool,
    /// Whether the options asked for it.
    pub asked: bool,
    /// How often it ran in the fill that is reported on.
    pub seen: u64,
    /// What a reader should know.
    pub remark: String,
}

impl Acceleration {
    /// Whether it was asked for and did not run.
    pub fn fell_back(&self) -> bool {
        self.asked && self.seen == 0
    }
}

/// What ran in a fill, from the counts that it returned.
pub fn accelerations(
    device: ComputeDevice,
    options: &PipelineOptions,
    counts: MatmulCounts,
) -> Vec<Acceleration> {
    let gpu = device != ComputeDevice::Cpu;
    let exact = options.matmul == MatmulPath::Exact;
    let identity = if gpu {
        None
    } else {
        device.describe().instructions
    };
    let instructions = identity.unwrap_or_default();
    let bf16 = options.precision == Precision::Bf16;
    vec![
        Acceleration {
            name: "weights dequantized at load",
            available: true,
            asked: exact && options.dense_budget_bytes > 0 && counts.tiled + counts.device == 0,
            seen: if exact { counts.dense } else { 0 },
            remark: "exact; needs the room of the whole transformer".to_owned(),
        },
        Acceleration {
            name: "weights dequantized tile by tile",
            available: !gpu,
            asked: exact && !gpu && counts.dense == 0,
            seen: counts.tiled,
            remark: format!("exact; CPU: {instructions}"),
        },
        Acceleration {
            name: "integer kernels",
            available: true,
            asked: !exact,
            seen: counts.integer,
            remark: if gpu {
                "not exact: activations are quantized too".to_owned()
            } else {
                let kernels = fill_audit_kernels::Instructions::best().name();
                format!("not exact: activations are quantized too; CPU: {kernels}")
            },
        },
        Acceleration {
            name: "bfloat16",
            available: gpu,
            asked: bf16,
            seen: if gpu && bf16 { counts.total() } else { 0 },
            remark: if gpu {
                "activations and products".to_owned()
            } else {
                "on the CPU values are rounded to bfloat16 and multiplied in float32".to_owned()
            },
        },
        Acceleration {
            name: "attention in chunks of queries",
            available: true,
            asked: true,
            seen: counts.attention_chunks,
            remark: "never holds the whole score matrix; saves memory, not time".to_owned(),
        },
        Acceleration {
            name: "flash attention",
            available: false,
            asked: false,
            seen: 0,
            remark: "no kernel is built in".to_owned(),
        },
        Acceleration {
            name: "CUDA graphs",
            available: false,
            asked: false,
            seen: 0,
            remark: "not implemented".to_owned(),
        },
    ]
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;

    fn find(list: &[Acceleration], name: &str) -> Acceleration {
        list.iter().find(|a| a.name == name).unwrap().clone()
    }

    #[test]
    fn what_was_asked_for_and_did_not_run_is_a_fallback() {
        let mut options = PipelineOptions::for_device(ComputeDevice::Cpu);
        options.matmul = MatmulPath::Integer;
        let dense_only = MatmulCounts {
            dense: 40,
            ..MatmulCounts::default()
        };
        let report = accelerations(ComputeDevice::Cpu, &options, dense_only);
        assert!(find(&report, "integer kernels").fell_back());
        let ran = MatmulCounts {
            integer: 30,
            ..dense_only
        };
        let report = accelerations(ComputeDevice::Cpu, &options, ran);
        assert!(!find(&report, "integer kernels").fell_back());
        assert_eq!(find(&report, "integer kernels").seen, 30);
    }

    #[test]
    fn bfloat16_on_a_cpu_is_no_acceleration() {
        let mut options = PipelineOptions::for_device(ComputeDevice::Cpu);
        options.precision = Precision::Bf16;
        let counts = MatmulCounts {
            dense: 40,
            ..MatmulCounts::default()
        };
        let bf16 = find(
            &accelerations(ComputeDevice::Cpu, &options, counts),
            "bfloat16",
        );
        assert!(!bf16.available && bf16.fell_back(), "{bf16:?}");
    }
}
