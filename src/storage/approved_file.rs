//! The approved settings that go up with the run that they were approved from.

use std::path::{Path, PathBuf};

use crate::model::approved::ApprovedSettings;

/// The name under which approved settings lie in their run's folder and in the bucket.
pub const FILE_NAME: &str = "phase1.toml";

/// The settings file at `path`, if it was approved from the run in `dir`, and the run's folder holds none that
/// were approved later. What cannot be read is none.
pub fn of_run(dir: &Path, path: &Path) -> Option<PathBuf> {
    let folder = std::path::absolute(dir).ok()?;
    let settings = read(path)?;
    let is_its = settings.approval.run.as_str() == folder.file_name()?.to_str()?;
    let is_older = read(&dir.join(FILE_NAME))
        .is_some_and(|there| there.approval.approved_at > settings.approval.approved_at);
    (is_its && !is_older).then(|| path.to_owned())
}

fn read(path: &Path) -> Option<ApprovedSettings> {
    let text = std::fs::read_to_string(path).ok()?;
    ApprovedSettings::parse(&text, &path.display().to_string()).ok()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    const EXAMPLE: &str = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/tests/fixtures/review/example.toml"
    ));

    #[test]
    fn only_settings_of_this_run_that_are_not_older_go_with_it() {
        let home = tempfile::tempdir().unwrap();
        let settings = ApprovedSettings::parse(EXAMPLE, "example.toml").unwrap();
        let run = home.path().join(settings.approval.run.as_str());
        let other = home.path().join("other");
        std::fs::create_dir_all(&run).unwrap();
        std::fs::create_dir_all(&other).unwrap();
        let path = home.path().join("phase1.toml");
        assert_eq!(of_run(&run, &path), None);
        std::fs::write(&path, EXAMPLE).unwrap();
        assert_eq!(of_run(&run, &path), Some(path.clone()));
        assert_eq!(of_run(&other, &path), None);
        // The run's own: the same ones, then ones that a colleague approved later.
        std::fs::write(run.join(FILE_NAME), EXAMPLE).unwrap();
        assert_eq!(of_run(&run, &path), Some(path.clone()));
        let year = settings.approval.approved_at.to_string();
        let year = year.get(..4).unwrap();
        let later = EXAMPLE.replace(&format!("approved_at = {year}"), "approved_at = 2999");
        assert_ne!(later, EXAMPLE);
        std::fs::write(run.join(FILE_NAME), later).unwrap();
        assert_eq!(of_run(&run, &path), None);
    }
}
