//! `fill-audit doctor`: what stands between this machine and the bucket, one line each with its remedy.

use std::io::Write as _;

use super::bucket::{self, BucketArgs};
use crate::storage::doctor::{Verdict, examine};
use crate::storage::gcs::{Environment, Limits};

/// Check credentials, bucket, permissions and clock
#[derive(Debug, Clone, clap::Args)]
pub struct DoctorArgs {
    /// The bucket
    #[command(flatten)]
    pub bucket: BucketArgs,
}

/// Runs the command.
///
/// # Errors
/// A settings file that cannot be used, or that a check failed.
pub fn run(args: DoctorArgs) -> anyhow::Result<()> {
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
