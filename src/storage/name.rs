//! Object names, and how one becomes a path that cannot leave its folder. Knows nothing of stores.

use std::fmt;
use std::path::PathBuf;

use super::{Result, StorageError};
use crate::model::ids::RunId;

/// Longest object name in bytes (Cloud Storage's own limit).
pub const MAX_NAME_BYTES: usize = 1024;
/// Longest file name in bytes on the file systems that matter.
const MAX_COMPONENT_BYTES: usize = 255;
/// Longest relative path in bytes that is written to disk, so that whole paths stay under 4,096.
const MAX_PATH_BYTES: usize = 1024;

/// The name of an object: 1 to 1,024 bytes of UTF-8 without NUL, CR or LF, and not `.`/`..`.
///
/// It may still be unfit as a path; [`ObjectName::relative_path`] decides that.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
#[serde(try_from = "String", into = "String")]
pub struct ObjectName(String);

impl ObjectName {
    /// Checks a name.
    ///
    /// # Errors
    /// [`StorageError::BadName`] with the reason.
    pub fn new(name: impl Into<String>) -> Result<Self> {
        let name = name.into();
        let reason = if name.is_empty() {
            Some("the name is empty")
        } else if name.len() > MAX_NAME_BYTES {
            Some("the name is longer than 1,024 bytes")
        } else if name.contains(['\0', '\r', '\n']) {
            Some("the name contains NUL or a line break")
        } else if name == "." || name == ".." || name.starts_with(".well-known/acme-challenge/") {
            Some("the name is reserved")
        } else {
            None
        };
        match reason {
            Some(reason) => Err(bad(&name, reason)),
            None => Ok(Self(name)),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The part after the last `/`.
    pub fn file_name(&self) -> &str {
        self.0.rsplit('/').next().unwrap_or(&self.0)
    }

    /// Whether a console made this zero-byte "folder" (the name ends in `/`).
    pub fn is_folder_marker(&self) -> bool {
        self.0.ends_with('/')
    }

    /// The name below `prefix` as a relative path that stays inside its folder on every system.
    ///
    /// # Errors
    /// [`StorageError::BadName`] if the name is not below `prefix`, climbs, is absolute, or has a part that
    /// some file system does not take (device names, `\ : * ? " < > |`, control characters, trailing dot or
    /// space, over 255 bytes) or that would be hidden (a leading dot).
    pub fn relative_path(&self, prefix: &str) -> Result<PathBuf> {
        let rest = self
            .0
            .strip_prefix(prefix)
            .ok_or_else(|| bad(&self.0, "the name does not start with the run's prefix"))?;
        if rest.is_empty() || rest.len() > MAX_PATH_BYTES {
            return Err(bad(
                &self.0,
                "the name has no file part or is too long for a path",
            ));
        }
        let mut path = PathBuf::new();
        for part in rest.split('/') {
            if let Some(reason) = component_fault(part) {
                return Err(bad(&self.0, reason));
            }
            path.push(part);
        }
        Ok(path)
    }
}

/// Why `part` cannot be one component of a path on every system, or `None`.
pub fn component_fault(part: &str) -> Option<&'static str> {
    const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];
    if part.is_empty() {
        return Some("the name is absolute or has an empty part");
    }
    if part == "." || part == ".." {
        return Some("the name climbs out of its folder");
    }
    if part.starts_with('.') {
        return Some("a part of the name is hidden (starts with a dot)");
    }
    if part.len() > MAX_COMPONENT_BYTES {
        return Some("a part of the name is longer than 255 bytes");
    }
    if part
        .chars()
        .any(|c| c.is_control() || "\\:*?\"<>|".contains(c))
    {
        return Some("a part of the name has a character that a file name cannot have");
    }
    if part.ends_with(['.', ' ']) {
        return Some("a part of the name ends in a dot or a space");
    }
    let stem = part
        .split('.')
        .next()
        .unwrap_or(part)
        .trim_end()
        .to_lowercase();
    let numbered = |device: &str| {
        stem.strip_prefix(device).is_some_and(|rest| {
            let mut digits = rest.chars();
            matches!(digits.next(), Some('0'..='9' | '¹' | '²' | '³')) && digits.next().is_none()
        })
    };
    if DEVICES.contains(&stem.as_str()) || numbered("com") || numbered("lpt") {
        return Some("a part of the name is a device on Windows");
    }
    None
}

/// Checks a run id, which names a folder on every system as well as in a bucket.
///
/// # Errors
/// [`StorageError::BadName`].
pub fn check_run_id(id: &str) -> Result<RunId> {
    match component_fault(id) {
        Some(reason) => Err(bad(id, reason)),
        None => RunId::new(id).map_err(|_said_here| {
            bad(
                id,
                "a run id has 1 to 64 letters, digits, '-', '_' or '.', and no dot at its start",
            )
        }),
    }
}

fn bad(name: &str, reason: &'static str) -> StorageError {
    StorageError::BadName {
        name: name.chars().take(120).collect(),
        reason,
    }
}

impl fmt::Display for ObjectName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ObjectName {
    type Error = StorageError;

    fn try_from(name: String) -> Result<Self> {
        Self::new(name)
    }
}

impl From<ObjectName> for String {
    fn from(name: ObjectName) -> Self {
        name.0
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    fn relative(name: &str) -> Result<PathBuf> {
        ObjectName::new(name)?.relative_path("audit/x/")
    }

    #[test]
    fn odd_but_harmless_names_keep_their_spelling() {
        for name in [
            "a b.png",
            "a#b.png",
            "100%.png",
            "a+b.png",
            "图像.png",
            "sub/ü~(1).png",
        ] {
            assert_eq!(
                relative(&format!("audit/x/{name}")).unwrap(),
                Path::new(name)
            );
        }
    }

    #[test]
    fn climbing_absolute_device_and_long_names_are_refused() {
        let long = format!("audit/x/{}", "a".repeat(256));
        let longest = "a".repeat(1025);
        for name in [
            "audit/x/../../y",
            "audit/x//etc/passwd",
            "/etc/passwd",
            "audit/x/a\0b",
            "audit/x/NUL",
            "audit/x/nul.png",
            "audit/x/COM1.txt",
            "audit/x/LPT¹",
            "audit/x/C:evil",
            "audit/x/a\\..\\b",
            "audit/x/dot.",
            "audit/x/.sync.ron",
            "audit/x/",
            "audit/y/a.png",
            &long,
            &longest,
        ] {
            assert!(relative(name).is_err(), "{name:?} was taken");
        }
    }

    #[test]
    fn run_ids_are_narrow() {
        for good in ["20261121-0900", "a", "x_1.b"] {
            assert!(check_run_id(good).is_ok(), "{good}");
        }
        for wrong in [
            "",
            ".",
            "..",
            ".a",
            "a/b",
            "a b",
            "ä",
            "con",
            &"x".repeat(65),
        ] {
            assert!(check_run_id(wrong).is_err(), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_name_leaves_its_folder(rest in "(\\PC|[./\\\\:\u{0}a]){0,40}") {
            if let Ok(path) = relative(&format!("audit/x/{rest}")) {
                prop_assert!(path.components().all(|c| matches!(c, Component::Normal(_))));
                prop_assert!(path.is_relative());
            }
        }
    }
}
