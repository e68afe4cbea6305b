//! What a device says of itself, in a line.

use crate::model::run::Environment;
use crate::remote::wire::{GpuAnswer, gpu_warning};
use crate::state::remote::DeviceWords;

/// A device of this machine.
pub(super) fn of_environment(environment: &Environment) -> DeviceWords {
    DeviceWords {
        label: label(environment),
        warning: gpu_warning(environment),
    }
}

/// A worker's.
pub(super) fn of_gpu(gpu: &GpuAnswer) -> DeviceWords {
    let environment = Environment {
        device: gpu.name.clone(),
        compute_capability: gpu.compute_capability.clone(),
        memory_bytes: gpu.memory_bytes,
        driver: gpu.driver.clone(),
        program: gpu.program.clone(),
    };
    DeviceWords {
        label: label(&environment),
        warning: gpu.warning.clone(),
    }
}

/// `NVIDIA L4 (sm_89), 22.5 GiB, driver 535.129.03`.
fn label(environment: &Environment) -> String {
    let mut text = environment.label();
    if let Some(bytes) = environment.memory_bytes {
        text.push_str(&format!(", {:.1} GiB", bytes as f64 / f64::from(1 << 30)));
    }
    if let Some(driver) = &environment.driver {
        text.push_str(&format!(", driver {driver}"));
    }
    text
}
