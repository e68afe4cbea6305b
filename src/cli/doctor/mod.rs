//! `fill-audit doctor`: what this machine computes with, and what stands between it and the bucket, one
//! line each with its remedy.

mod machine;
mod measure;

use std::io::Write as _;

use super::bucket::{self, BucketArgs};
use crate::storage::doctor::{Verdict, examine};
use crate::storage::gcs::{Environment, Limits};

/// Check devices and weights, then credentials, bucket, permissions and clock
#[derive(Debug, Clone, clap::Args)]
pub struct DoctorArgs {
    /// The bucket
    #[command(flatten)]
    pub bucket: BucketArgs,
    /// What is measured
    #[command(flatten)]
    pub measure: measure::MeasureArgs,
}

/// Runs the command.
///
/// # Errors
/// A settings file that cannot be used, or that a check failed.
pub fn run(args: DoctorArgs) -> anyhow::Result<()> {
    if args.measure.measure {
        return measure::run(&args.measure, &mut std::io::stdout().lock());
    }
    machine::write_machine(&mut std::io::stdout().lock())?;
    bucket::runtime()?.block_on(async move {
        let config = args.bucket.config()?;
        let checks = examine(&config, &Environment::from_process(), Limits::default()).await;
        let mut out = std::io::stdout().lock();
        for check in &checks {
            writeln!(out, "{}", check.line())?;
        }
        let failed = checks
            .iter()
            .filter(|c| c.verdict == Verdict::Failed)
            .count();
        if failed > 0 {
            anyhow::bail!("{failed} of {} checks failed", checks.len());
        }
        Ok(())
    })
}
