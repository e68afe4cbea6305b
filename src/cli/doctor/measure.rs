//! `fill-audit doctor --measure`: one denoising step with and without each acceleration.

use crate::cli::assets;
use crate::pipeline::{
    ComputeDevice, MeasureRequest, Measured, MeasuredOutcome, ModelFolder, measure, repository_of,
};
use anyhow::{Context as _, bail};
use std::io::Write;
use std::ops::ControlFlow;
use std::path::PathBuf;

/// What is measured.
#[derive(Debug, Clone, clap::Args)]
#[command(next_help_heading = "Measuring")]
pub struct MeasureArgs {
    /// Time one denoising step with and without each acceleration of this machine, and print what it
    /// gains and how far it changes the output; nothing else is checked then.
    #[arg(long)]
    pub measure: bool,
    /// The model [default: the embedded one, whose gains say little of the real one's].
    #[arg(long, value_name = "DIR", requires = "measure")]
    pub models: Option<PathBuf>,
    /// The transformer.
    #[arg(long, value_name = "Q", default_value = "Q4_0", requires = "measure")]
    pub quant: String,
    /// cpu, cuda, cuda:1 or metal.
    #[arg(
        long,
        value_name = "DEVICE",
        default_value = "cpu",
        requires = "measure"
    )]
    pub device: String,
    /// Side of the square picture in pixels, a multiple of 16.
    #[arg(long, value_name = "PX", default_value_t = 256, requires = "measure")]
    pub size: u32,
    /// Steps that are timed; one more before them warms up.
    #[arg(long, value_name = "N", default_value_t = 3, requires = "measure")]
    pub repeats: usize,
}

/// Measures and prints.
///
/// # Errors
/// If the model or the device cannot be used.
pub(super) fn run(args: &MeasureArgs, out: &mut dyn Write) -> anyhow::Result<()> {
    let device: ComputeDevice = args.device.parse()?;
    if args.size == 0 || !args.size.is_multiple_of(16) || args.repeats == 0 {
        bail!("--size must be a multiple of 16 and --repeats at least 1");
    }
    let dir = match &args.models {
        Some(dir) => dir.clone(),
        None => assets::embedded_model()
            .context("the embedded model is not beside the program; name one with --models DIR")?,
    };
    let folder = ModelFolder::open(&dir)?;
    let quant_file = folder.transformer(&args.quant)?;
    let request = MeasureRequest {
        folder: &folder,
        quant_file: &quant_file,
        device,
        side_px: args.size,
        repeats: args.repeats,
    };
    writeln!(
        out,
        "measured: one step at {0} x {0} px with {1} of {2} on {3} ({4}), median of {5} after one to \
         warm up; another picture or a busier machine gives other figures",
        args.size,
        args.quant,
        repository_of(folder.root()),
        device,
        device.describe().name,
        args.repeats
    )?;
    let measured = measure(&request, &mut |_| ControlFlow::Continue(()))?;
    for one in &measured {
        writeln!(out, "{}", words(one))?;
    }
    Ok(())
}

fn words(measured: &Measured) -> String {
    let Measured {
        name,
        against,
        outcome,
    } = measured;
    match outcome {
        MeasuredOutcome::Step {
            with_secs,
            without_secs,
            max_difference,
            max_value,
        } => format!(
            "{name}: {with_secs:.4} s, and {without_secs:.4} s with {against}: {:.2} times as fast; \
             largest difference of the output {max_difference:.1e} where its largest value is \
             {max_value:.2}",
            without_secs / with_secs.max(1e-9)
        ),
        MeasuredOutcome::DidNotRun => {
            format!("{name}: asked for, and did not run: these weights have nothing for it")
        }
        MeasuredOutcome::NotTried(why) => format!("{name}: not measured: {why}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gain_is_the_time_without_over_the_time_with() {
        let measured = Measured {
            name: "integer kernels",
            against: "float",
            outcome: MeasuredOutcome::Step {
                with_secs: 0.5,
                without_secs: 1.0,
                max_difference: 0.02,
                max_value: 4.0,
            },
        };
        let text = words(&measured);
        assert!(
            text.contains("2.00 times as fast") && text.contains("2.0e-2"),
            "{text}"
        );
    }
}
