//! Where the pipeline computes, and what that machine calls itself.

use super::error::{PipelineError, Result};
use candle_core::{DType, Device};
use std::fmt;
use std::str::FromStr;

/// A device by name: `cpu`, `cuda`, `cuda:1`, `metal`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ComputeDevice {
    /// All cores of this machine.
    Cpu,
    /// An NVIDIA GPU by index; needs the feature `cuda`.
    Cuda(usize),
    /// An Apple GPU by index; needs the feature `metal`.
    Metal(usize),
}

/// Type of the activations. Weights are dequantized to it exactly, then rounded to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Precision {
    /// float32: the default on the CPU, and what the references are held in.
    F32,
    /// bfloat16: what production computes in; the noise is drawn in bfloat16 too.
    Bf16,
}

/// How quantized weights are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum MatmulPath {
    /// Dequantized exactly, then multiplied, as production does: the default of an audit.
    Exact,
    /// candle's integer kernels, which quantize the activations too: to be stamped on the cell.
    Integer,
}

/// What a device says of itself; `None` is unknown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeviceIdentity {
    /// The device's name, such as `NVIDIA L4` or the processor's model name.
    pub name: String,
    /// CUDA compute capability, such as `8.9`.
    pub compute_capability: Option<String>,
    /// The memory that the device computes in, in bytes.
    pub memory_bytes: Option<u64>,
    /// The driver's version.
    pub driver: Option<String>,
    /// Threads that the CPU path uses.
    pub threads: Option<usize>,
    /// Instruction sets that the CPU path can use, the widest last, such as `avx2 avx512f`.
    pub instructions: Option<String>,
}

/// What a CUDA context and its modules take of a GPU's memory.
const DRIVER_BYTES: u64 = 600 << 20;

impl fmt::Display for ComputeDevice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => write!(f, "cpu"),
            Self::Cuda(0) => write!(f, "cuda"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Metal(0) => write!(f, "metal"),
            Self::Metal(index) => write!(f, "metal:{index}"),
        }
    }
}

impl FromStr for ComputeDevice {
    type Err = PipelineError;

    fn from_str(text: &str) -> Result<Self> {
        let (kind, index) = match text.split_once(':') {
            Some((kind, index)) => (kind, index.parse().ok()),
            None => (text, Some(0)),
        };
        match (kind, index) {
            ("cpu", Some(0)) => Ok(Self::Cpu),
            ("cuda", Some(index)) => Ok(Self::Cuda(index)),
            ("metal", Some(index)) => Ok(Self::Metal(index)),
            _ => Err(PipelineError::NoDevice {
                device: text.to_owned(),
                detail: "expected cpu, cuda, cuda:N or metal".to_owned(),
            }),
        }
    }
}

impl Precision {
    pub(super) fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::Bf16 => DType::BF16,
        }
    }
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "float32",
            Self::Bf16 => "bfloat16",
        })
    }
}

impl fmt::Display for MatmulPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Exact => "exact",
            Self::Integer => "integer",
        })
    }
}

impl ComputeDevice {
    /// float32 on the CPU, bfloat16 on a GPU.
    pub fn default_precision(self) -> Precision {
        match self {
            Self::Cpu => Precision::F32,
            Self::Cuda(_) | Self::Metal(_) => Precision::Bf16,
        }
    }

    /// The first device of each kind that this program was built with.
    pub fn built_in() -> Vec<Self> {
        let cuda = cfg!(feature = "cuda").then_some(Self::Cuda(0));
        let metal = cfg!(feature = "metal").then_some(Self::Metal(0));
        [Some(Self::Cpu), cuda, metal]
            .into_iter()
            .flatten()
            .collect()
    }

    /// Whether the device can be used.
    ///
    /// # Errors
    /// If the program was built without it, or it is not there.
    pub fn check(self) -> Result<()> {
        self.open().map(|_| ())
    }

    /// Opens the device.
    ///
    /// # Errors
    /// If the program was built without it, or it is not there.
    pub(super) fn open(self) -> Result<Device> {
        let failed = |detail: String| PipelineError::NoDevice {
            device: self.to_string(),
            detail,
        };
        let missing = |feature: &str| {
            failed(format!(
                "this program was built without the feature {feature}"
            ))
        };
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(_) if !cfg!(feature = "cuda") => Err(missing("cuda")),
            Self::Metal(_) if !cfg!(feature = "metal") => Err(missing("metal")),
            Self::Cuda(index) => Device::new_cuda(index).map_err(|e| failed(e.to_string())),
            Self::Metal(index) => Device::new_metal(index).map_err(|e| failed(e.to_string())),
        }
    }

    /// Memory that a run could use now, in bytes, where the system tells: without swapping on the
    /// CPU; on a GPU all of it but what the driver keeps.
    pub fn available_bytes(self) -> Option<u64> {
        match self {
            Self::Cpu => proc_value("/proc/meminfo", "MemAvailable")
                .as_deref()
                .and_then(kilobytes),
            Self::Cuda(_) => self
                .describe()
                .memory_bytes
                .map(|total| total.saturating_sub(DRIVER_BYTES)),
            Self::Metal(_) => None,
        }
    }

    /// What the device says of itself. Reads `/proc` or asks `nvidia-smi`; may take a second.
    pub fn describe(self) -> DeviceIdentity {
        match self {
            Self::Cpu => describe_cpu(),
            Self::Cuda(index) => describe_cuda(index),
            Self::Metal(_) => DeviceIdentity {
                name: "Apple GPU".to_owned(),
                ..unknown()
            },
        }
    }
}

fn unknown() -> DeviceIdentity {
    DeviceIdentity {
        name: "unknown".to_owned(),
        compute_capability: None,
        memory_bytes: None,
        driver: None,
        threads: None,
        instructions: None,
    }
}

/// The value of `key` in a file of `key : value` lines.
fn proc_value(file: &str, key: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.trim() == key)
        .map(|(_, value)| value.trim().to_owned())
}

/// `12345 kB` in bytes.
fn kilobytes(text: &str) -> Option<u64> {
    Some(text.split_whitespace().next()?.parse::<u64>().ok()? * 1024)
}

fn describe_cpu() -> DeviceIdentity {
    DeviceIdentity {
        name: proc_value("/proc/cpuinfo", "model name")
            .unwrap_or_else(|| format!("{} processor", std::env::consts::ARCH)),
        memory_bytes: proc_value("/proc/meminfo", "MemTotal")
            .as_deref()
            .and_then(kilobytes),
        threads: Some(rayon::current_num_threads()),
        instructions: Some(instructions()),
        ..unknown()
    }
}

/// The vector instructions that the matrix kernels choose from at run time.
#[cfg(target_arch = "x86_64")]
fn instructions() -> String {
    let found = [
        ("avx2", std::arch::is_x86_feature_detected!("avx2")),
        ("fma", std::arch::is_x86_feature_detected!("fma")),
        ("avx512f", std::arch::is_x86_feature_detected!("avx512f")),
        (
            "avx512vnni",
            std::arch::is_x86_feature_detected!("avx512vnni"),
        ),
    ];
    let names: Vec<&str> = found.iter().filter(|f| f.1).map(|f| f.0).collect();
    names.join(" ")
}

/// The vector instructions that every processor of this kind has.
#[cfg(not(target_arch = "x86_64"))]
fn instructions() -> String {
    std::env::consts::ARCH.to_owned()
}

fn describe_cuda(index: usize) -> DeviceIdentity {
    let query = std::process::Command::new("nvidia-smi")
        .args([
            &format!("--id={index}"),
            "--query-gpu=name,compute_cap,memory.total,driver_version",
            "--format=csv,noheader,nounits",
        ])
        .output();
    match query {
        Ok(output) if output.status.success() => {
            parse_smi(&String::from_utf8_lossy(&output.stdout)).unwrap_or_else(unknown)
        }
        _ => unknown(),
    }
}

/// One line `name, capability, MiB, driver`.
fn parse_smi(text: &str) -> Option<DeviceIdentity> {
    let fields: Vec<&str> = text.lines().next()?.split(',').map(str::trim).collect();
    let [name, capability, mebibytes, driver] = fields.as_slice() else {
        return None;
    };
    Some(DeviceIdentity {
        name: (*name).to_owned(),
        compute_capability: Some((*capability).to_owned()),
        memory_bytes: mebibytes.parse::<u64>().ok().map(|m| m * 1024 * 1024),
        driver: Some((*driver).to_owned()),
        ..unknown()
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;

    #[test]
    fn names_of_devices_read_back() {
        for name in ["cpu", "cuda", "cuda:1", "metal"] {
            let device: ComputeDevice = name.parse().unwrap();
            assert_eq!(device.to_string(), name);
        }
        for name in ["", "gpu", "cuda:x", "cpu:1", "cuda:-1"] {
            let error = name.parse::<ComputeDevice>().unwrap_err();
            assert!(error.to_string().contains("expected cpu"), "{error}");
        }
    }

    #[test]
    fn an_l4_is_recognised_from_what_nvidia_smi_prints() {
        let l4 = parse_smi("NVIDIA L4, 8.9, 23034, 535.129.03\n").unwrap();
        assert_eq!(l4.name, "NVIDIA L4");
        assert_eq!(l4.compute_capability.as_deref(), Some("8.9"));
        assert_eq!(l4.memory_bytes, Some(23_034 * 1024 * 1024));
        assert!(parse_smi("No devices were found").is_none());
    }

    #[test]
    fn this_processor_has_a_name_and_threads() {
        let cpu = ComputeDevice::Cpu.describe();
        assert!(!cpu.name.is_empty());
        assert!(cpu.threads.unwrap() >= 1);
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_device_that_was_not_built_in_is_refused_by_name() {
        let error = ComputeDevice::Cuda(0).open().unwrap_err();
        assert!(error.to_string().contains("feature cuda"), "{error}");
    }
}
