//! Writes a staged approval: the settings file with the former one kept, and the report's section. The
//! journal's event is [`super::journal`]'s. What may be written is decided by `model::approved`.

use super::{AuditError, atomic};
use crate::model::approved::{ApprovedSettings, StagedApproval, recommended_section};
use crate::model::run::files;
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// The heading under which the report keeps the recommendation.
const HEADING: &str = "Recommended Settings for Phase 1";

/// A settings file that was not written. The former one, if any, stands where it stood.
#[derive(Debug, thiserror::Error)]
pub enum ApprovalError {
    /// Someone changed it since it was compared.
    #[error(
        "the settings file has changed since the difference was shown; look at it again: {path}"
    )]
    Changed {
        /// The settings file.
        path: String,
    },
    /// It does not read back as it was written.
    #[error("the settings file does not read back as it was written ({problem}): {path}")]
    ReadBack {
        /// What differs.
        problem: String,
        /// The settings file.
        path: String,
    },
    /// The file system refused it.
    #[error("{problem} ({source}): {path}")]
    File {
        /// What was tried.
        problem: &'static str,
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
}

fn file_error(problem: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ApprovalError {
    let path = path.display().to_string();
    move |source| ApprovalError::File {
        problem,
        path,
        source,
    }
}

/// Reads the current settings file; `None` if there is none.
///
/// # Errors
/// [`ApprovalError::File`] for anything but its absence.
pub fn read_current(path: &Path) -> Result<Option<String>, ApprovalError> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file_error("the settings file cannot be read", path)(error)),
    }
}

/// Writes the settings file whole or not at all, keeps the former one beside it as
/// `{name}.{when it was approved}.toml`, reads it back and compares. Returns the former one's new place.
///
/// # Errors
/// [`ApprovalError`]; before the new file is in place nothing has changed.
pub fn write_settings(
    path: &Path,
    staged: &StagedApproval,
) -> Result<Option<PathBuf>, ApprovalError> {
    // A link stays a link: what it points to is replaced.
    let target = match std::fs::canonicalize(path) {
        Ok(target) => target,
        Err(_) => path.to_owned(),
    };
    if read_current(&target)?.as_deref() != staged.current() {
        return Err(ApprovalError::Changed {
            path: path.display().to_string(),
        });
    }
    let kept = match staged.current() {
        Some(current) => Some(keep(&target, current, staged)?),
        None => None,
    };
    let written = match staged.current() {
        Some(_) => atomic::write(&target, staged.text().as_bytes()),
        None => write_new(&target, staged.text().as_bytes()),
    };
    match written {
        // It came to be since it was looked for.
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(ApprovalError::Changed {
                path: path.display().to_string(),
            });
        }
        written => written.map_err(file_error("the settings file cannot be written", path))?,
    }
    read_back(&target, staged)?;
    Ok(kept)
}

/// As [`atomic::write`], and refused if there is a file of that name.
fn write_new(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let folder = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    builder.prefix(atomic::PREFIX);
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        // What any other new file gets; the process' mask takes its part away.
        builder.permissions(std::fs::Permissions::from_mode(0o666));
    }
    let mut file = builder.tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    file.persist_noclobber(path).map_err(|error| error.error)?;
    #[cfg(unix)]
    std::fs::File::open(folder)?.sync_all()?;
    Ok(())
}

fn read_back(path: &Path, staged: &StagedApproval) -> Result<(), ApprovalError> {
    let shown = path.display().to_string();
    let differs = |problem: String| ApprovalError::ReadBack {
        problem,
        path: shown.clone(),
    };
    let text = std::fs::read_to_string(path).map_err(|error| differs(error.to_string()))?;
    if text != staged.text() {
        return Err(differs("its bytes differ".to_owned()));
    }
    let settings =
        ApprovedSettings::parse(&text, &shown).map_err(|error| differs(error.to_string()))?;
    if settings == *staged.settings() {
        Ok(())
    } else {
        Err(differs("its values differ".to_owned()))
    }
}

/// Copies the former file to a name that is free, or that already holds exactly this.
fn keep(path: &Path, current: &str, staged: &StagedApproval) -> Result<PathBuf, ApprovalError> {
    let stem = path
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let time = staged
        .current_from()
        .map_or_else(String::new, |at| format!(".{}", at.compact()));
    for n in 1..1000 {
        let again = if n == 1 {
            String::new()
        } else {
            format!("-{n}")
        };
        let kept = path.with_file_name(format!("{stem}{time}{again}.toml"));
        match read_current(&kept)? {
            Some(text) if text == current => return Ok(kept),
            Some(_) => {}
            None => {
                atomic::write(&kept, current.as_bytes())
                    .map_err(file_error("the former settings file cannot be kept", &kept))?;
                return Ok(kept);
            }
        }
    }
    Err(file_error("the former settings file cannot be kept", path)(
        std::io::Error::other("a thousand former files are there already"),
    ))
}

/// Puts the approved settings under the report's heading and leaves every other line as it is. `false`
/// if the run has no report yet.
///
/// # Errors
/// [`AuditError::File`] if it cannot be read as text or written.
pub fn fill_report(run_dir: &Path, settings: &ApprovedSettings) -> Result<bool, AuditError> {
    let path = run_dir.join(files::REPORT);
    let report = match std::fs::read_to_string(&path) {
        Ok(report) => report,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(AuditError::file("the report cannot be read", &path, error)),
    };
    let filled = with_section(&report, &recommended_section(settings));
    if filled != report {
        atomic::write(&path, filled.as_bytes())
            .map_err(|error| AuditError::file("the report cannot be written", &path, error))?;
    }
    Ok(true)
}

/// The report with `body` under the heading, which is added at the end if it is not there.
fn with_section(report: &str, body: &str) -> String {
    let mut before = String::new();
    let mut after = String::new();
    let mut depth_found = None;
    let mut is_past = false;
    let mut is_code = false;
    for line in report.split_inclusive('\n') {
        is_code ^= line.trim_start().starts_with("```");
        let depth = if is_code {
            0
        } else {
            line.bytes().take_while(|b| *b == b'#').count()
        };
        match depth_found {
            None => {
                before.push_str(line);
                if depth > 0
                    && line
                        .to_ascii_lowercase()
                        .contains(&HEADING.to_ascii_lowercase())
                {
                    depth_found = Some(depth);
                }
            }
            Some(found) => {
                is_past |= (1..=found).contains(&depth);
                if is_past {
                    after.push_str(line);
                }
            }
        }
    }
    if !before.is_empty() && !before.ends_with('\n') {
        before.push('\n');
    }
    if depth_found.is_none() {
        before.push_str("\n## ");
        before.push_str(HEADING);
        before.push('\n');
    }
    let gap = if after.is_empty() { "" } else { "\n" };
    format!("{before}\n{body}{gap}{after}")
}

#[cfg(test)]
mod tests {
    use super::with_section;

    #[test]
    fn only_the_section_changes() {
        let report = "# Report\n\nx\n\n## Recommended Settings for Phase 1\n[User fills this in]\n### sub\ny\n## After\nz";
        assert_eq!(
            with_section(report, "body\n"),
            "# Report\n\nx\n\n## Recommended Settings for Phase 1\n\nbody\n\n## After\nz"
        );
    }

    #[test]
    fn filling_in_twice_is_filling_in_once() {
        let once = with_section(
            "# R\n## Recommended Settings for Phase 1\nold\n\n## B\n",
            "new\n",
        );
        assert_eq!(with_section(&once, "new\n"), once);
    }

    #[test]
    fn a_report_without_the_heading_gets_one_and_code_is_no_heading() {
        let report = "# R\n```\n## Recommended Settings for Phase 1\n```";
        assert_eq!(
            with_section(report, "body\n"),
            format!("{report}\n\n## Recommended Settings for Phase 1\n\nbody\n")
        );
    }
}
