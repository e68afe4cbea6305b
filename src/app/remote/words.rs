//! What a device says of itself, in a line.

use crate::model::run::Environment;
use crate::remote::wire::{GpuAnswer, gpu_warning};
use crate::state::remote::DeviceWords;

/// A device of this machine.
pub(super) fn of_environment(environment: &Environment) -> DeviceWords {
    DeviceWords {
        label: environment.description(),
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
        label: environment.description(),
        warning: gpu.warning.clone(),
    }
}
