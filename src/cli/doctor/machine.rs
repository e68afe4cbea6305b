//! What this machine can compute with: its devices, their accelerations, and the weights that are found.

use crate::cli::models::named_folders;
use crate::pipeline::{
    ComputeDevice, MatmulCounts, ModelFolder, PipelineOptions, accelerations, find_models,
    repository_of,
};
use std::io::Write;

/// Prints a line for each device with its accelerations, and one for each model.
///
/// # Errors
/// If nothing can be printed.
pub(super) fn write_machine(out: &mut dyn Write) -> std::io::Result<()> {
    for device in ComputeDevice::built_in() {
        write_device(out, device)?;
    }
    let found = find_models(&named_folders());
    if found.is_empty() {
        line(
            out,
            "warning",
            "weights",
            "no model was found; `fill-audit models pull` fetches one",
        )?;
    }
    for folder in &found {
        line(out, "ok", "weights", &words(folder))?;
    }
    Ok(())
}

fn write_device(out: &mut dyn Write, device: ComputeDevice) -> std::io::Result<()> {
    let name = device.to_string();
    if let Err(error) = device.check() {
        return line(out, "warning", &name, &error.to_string());
    }
    let identity = device.describe();
    let mut words = identity.name;
    if let Some(threads) = identity.threads {
        words.push_str(&format!(", {threads} threads"));
    }
    if let Some(instructions) = identity.instructions {
        words.push_str(&format!(", {instructions}"));
    }
    if let Some(capability) = identity.compute_capability {
        words.push_str(&format!(", sm_{}", capability.replace('.', "")));
    }
    if let Some(bytes) = identity.memory_bytes {
        words.push_str(&format!(", {:.1} GB", bytes as f64 / 1e9));
    }
    line(out, "ok", &name, &words)?;
    // No fill has run: what is asked for is all that can be said beside what there is.
    let options = PipelineOptions::for_device(device);
    for one in accelerations(device, &options, MatmulCounts::default()) {
        let there = if one.available { "there" } else { "absent" };
        line(out, "", there, &format!("{}: {}", one.name, one.remark))?;
    }
    Ok(())
}

fn words(folder: &ModelFolder) -> String {
    let quants = folder.quants();
    let quants = if quants.is_empty() {
        "no transformer".to_owned()
    } else {
        quants.join(", ")
    };
    format!(
        "{}: {quants} in {}",
        repository_of(folder.root()),
        folder.root().display()
    )
}

/// In the columns of the checks of storage.
fn line(out: &mut dyn Write, verdict: &str, what: &str, words: &str) -> std::io::Result<()> {
    writeln!(out, "{verdict:<8} {what:<12} {words}")
}
