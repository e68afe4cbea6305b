//! Bucket, prefixes, credentials' file and cache limit, in `storage.toml` of the configuration folder.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::name::{check_run_id, component_fault};
use super::{Result, StorageError, files};

const NOT_OVERWRITTEN: &str = "mend or move the file away; it is not overwritten";

/// The settings of storage. Unknown keys are refused, so that a typing error does not go unnoticed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StorageConfig {
    /// The bucket, without `gs://`; empty for none.
    pub bucket: String,
    /// Where a run lives in the bucket: must contain `{run_id}` and end in `/`. Default `audit/{run_id}/`.
    pub run_prefix: String,
    /// Where a session's `image.png` and `mask.png` live: `{user_id}` and `{session_id}`.
    pub session_prefix: String,
    /// A service account's JSON file, used when `FIREBASE_CREDENTIALS` is not set.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub credentials: Option<PathBuf>,
    /// How much the cache may hold, in megabytes (10⁶ bytes). Default 5,000.
    pub cache_limit_mb: u64,
}

impl Default for StorageConfig {
    fn default() -> Self {
        Self {
            bucket: String::new(),
            run_prefix: "audit/{run_id}/".into(),
            session_prefix: "users/{user_id}/sessions/{session_id}/".into(),
            credentials: None,
            cache_limit_mb: 5000,
        }
    }
}

impl StorageConfig {
    /// Where the file is: `storage.toml` in `fill-audit` of the user's configuration folder.
    pub fn default_path() -> Option<PathBuf> {
        Some(dirs::config_dir()?.join("fill-audit").join("storage.toml"))
    }

    /// Reads the file; one that does not exist gives the defaults.
    ///
    /// # Errors
    /// [`StorageError::Config`] with the line, or with the value that cannot be used.
    pub fn load(path: &Path) -> Result<Self> {
        match std::fs::read_to_string(path) {
            Ok(text) => Self::parse(&text, &path.display().to_string()),
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(Self::default()),
            Err(e) => Err(StorageError::io("reading", path)(e)),
        }
    }

    /// Reads the text of a file; `place` names it in errors.
    ///
    /// # Errors
    /// See [`StorageConfig::load`].
    pub fn parse(text: &str, place: &str) -> Result<Self> {
        let config: Self = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| {
                text.get(..span.start)
                    .map_or(1, |before| before.matches('\n').count() + 1)
            });
            StorageError::Config {
                problem: e.message().to_owned(),
                place: format!("{place}, line {line}"),
                remedy:
                    "the keys are bucket, run_prefix, session_prefix, credentials, cache_limit_mb"
                        .into(),
            }
        })?;
        config.check(place)?;
        Ok(config)
    }

    /// Checks the values against each other.
    ///
    /// # Errors
    /// [`StorageError::Config`] with the key, its value and what it should look like.
    pub fn check(&self, place: &str) -> Result<()> {
        check_template("run_prefix", &self.run_prefix, &["{run_id}"], place)?;
        if self.run_prefix.matches("{run_id}").count() != 1
            || !self.run_prefix.ends_with("{run_id}/")
        {
            return Err(template_error(
                "run_prefix",
                &self.run_prefix,
                "must end in {run_id}/",
                place,
            ));
        }
        let fields = ["{user_id}", "{session_id}"];
        check_template("session_prefix", &self.session_prefix, &fields, place)?;
        if self.cache_limit_mb == 0 {
            return Err(StorageError::Config {
                problem: "cache_limit_mb is 0".into(),
                place: place.to_owned(),
                remedy: "give the cache at least 1 MB; the default is 5000".into(),
            });
        }
        Ok(())
    }

    /// Writes the file, keeping the comments and the order of one that is there. A file that cannot be read
    /// is left as it is.
    ///
    /// # Errors
    /// [`StorageError::Config`] if the values or the file that is there cannot be used;
    /// [`StorageError::Io`].
    pub fn save(&self, path: &Path) -> Result<()> {
        let place = path.display().to_string();
        self.check(&place)?;
        let old = match std::fs::read_to_string(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(e) if e.kind() == std::io::ErrorKind::InvalidData => {
                return Err(StorageError::Config {
                    problem: "it is not text (UTF-8)".into(),
                    place,
                    remedy: NOT_OVERWRITTEN.into(),
                });
            }
            other => other.map_err(StorageError::io("reading", path))?,
        };
        Self::parse(&old, &place)?;
        let mut document: toml_edit::DocumentMut =
            old.parse()
                .map_err(|e: toml_edit::TomlError| StorageError::Config {
                    problem: e.message().to_owned(),
                    place: place.clone(),
                    remedy: NOT_OVERWRITTEN.into(),
                })?;
        let mut set = |key: &str, mut value: toml_edit::Value| match document.get_mut(key) {
            // In place: the comments above and behind belong to the key and to the old value.
            Some(item) => {
                if let Some(old) = item.as_value() {
                    *value.decor_mut() = old.decor().clone();
                }
                *item = toml_edit::Item::Value(value);
            }
            None => {
                document.insert(key, toml_edit::Item::Value(value));
            }
        };
        set("bucket", self.bucket.as_str().into());
        set("run_prefix", self.run_prefix.as_str().into());
        set("session_prefix", self.session_prefix.as_str().into());
        set("cache_limit_mb", (self.cache_limit_mb as i64).into());
        match &self.credentials {
            Some(file) => set("credentials", file.display().to_string().into()),
            None => {
                document.remove("credentials");
            }
        }
        files::write_atomic(path, document.to_string().as_bytes())
    }

    /// Where the run `run_id` lives, ending in `/`.
    ///
    /// # Errors
    /// [`StorageError::BadName`] for a run id that is none.
    pub fn prefix_of_run(&self, run_id: &str) -> Result<String> {
        check_run_id(run_id)?;
        Ok(self.run_prefix.replace("{run_id}", run_id))
    }

    /// Where all runs live: the template up to the run's id.
    pub fn runs_root(&self) -> &str {
        self.run_prefix.split("{run_id}").next().unwrap_or_default()
    }

    /// The run that the object or folder `name` belongs to, if it lies where runs live.
    pub fn run_of<'a>(&self, name: &'a str) -> Option<&'a str> {
        let rest = name.strip_prefix(self.runs_root())?;
        let id = rest.split('/').next()?;
        check_run_id(id).is_ok().then_some(id)
    }

    /// Where a session's pictures live, ending in `/`.
    ///
    /// # Errors
    /// [`StorageError::BadName`] for an id that cannot be part of a name.
    pub fn prefix_of_session(&self, user_id: &str, session_id: &str) -> Result<String> {
        for id in [user_id, session_id] {
            let fault = component_fault(id);
            let fault = fault.or(id.contains('/').then_some("an id contains '/'"));
            if let Some(reason) = fault {
                return Err(StorageError::BadName {
                    name: id.chars().take(120).collect(),
                    reason,
                });
            }
        }
        Ok(self
            .session_prefix
            .replace("{user_id}", user_id)
            .replace("{session_id}", session_id))
    }

    /// User and session that the object or folder `name` belongs to, if it lies where sessions live.
    pub fn session_of<'a>(&self, name: &'a str) -> Option<(&'a str, &'a str)> {
        let (mut user, mut session) = (None, None);
        let mut parts = name.split('/');
        for wanted in self.session_prefix.trim_end_matches('/').split('/') {
            let found = parts.next().filter(|part| !part.is_empty())?;
            match wanted {
                "{user_id}" => user = Some(found),
                "{session_id}" => session = Some(found),
                fixed if fixed == found => {}
                // A field inside a longer part is not taken apart.
                _ => return None,
            }
        }
        let session = session.filter(|id| check_run_id(id).is_ok())?;
        Some((user.unwrap_or_default(), session))
    }
}

fn check_template(key: &str, value: &str, fields: &[&str], place: &str) -> Result<()> {
    let mut bare = value.to_owned();
    for field in fields {
        bare = bare.replace(field, "x");
    }
    let fault = if !value.ends_with('/') {
        Some("must end in /")
    } else if bare.contains(['{', '}']) {
        Some("has a field that is not known")
    } else if bare
        .trim_end_matches('/')
        .split('/')
        .any(|part| component_fault(part).is_some())
    {
        Some("is not a usable path")
    } else {
        None
    };
    fault.map_or(Ok(()), |fault| {
        Err(template_error(key, value, fault, place))
    })
}

fn template_error(key: &str, value: &str, fault: &str, place: &str) -> StorageError {
    let remedy = match key {
        "run_prefix" => "for example \"audit/{run_id}/\"",
        _ => "for example \"users/{user_id}/sessions/{session_id}/\"",
    };
    StorageError::Config {
        problem: format!("{key} {fault}: {value:?}"),
        place: place.to_owned(),
        remedy: remedy.into(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    #[test]
    fn wrong_files_are_refused_with_line_and_remedy() {
        let refusal = |text: &str| {
            StorageConfig::parse(text, "storage.toml")
                .unwrap_err()
                .to_string()
        };
        assert!(
            refusal("bucket = \"b\"\nbukket = 1").contains("line 2"),
            "{}",
            refusal("bukket=1")
        );
        assert!(refusal("run_prefix = \"audit/\"").contains("{run_id}"));
        assert!(refusal("run_prefix = \"audit/{run}/{run_id}/\"").contains("not known"));
        assert!(refusal("run_prefix = \"../{run_id}/\"").contains("usable path"));
        assert!(refusal("cache_limit_mb = 0").contains("cache_limit_mb"));
        assert!(refusal("cache_limit_mb = \"x\"").contains("line 1"));
    }

    #[test]
    fn saving_keeps_comments_and_reads_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("storage.toml");
        std::fs::write(&path, "# ours\nbucket = \"old\" # here\n").unwrap();
        let mut config = StorageConfig::load(&path).unwrap();
        config.bucket = "new-bucket".into();
        config.credentials = Some("/keys/a.json".into());
        config.save(&path).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("# ours") && text.contains("# here"), "{text}");
        assert_eq!(StorageConfig::load(&path).unwrap(), config);
    }

    #[test]
    fn a_file_that_cannot_be_read_is_not_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("storage.toml");
        let latin: &[u8] = b"bucket = \"b\" # caf\xe9\n";
        for (old, said) in [
            (latin, "not overwritten"),
            (b"bucket = \n", "line 1"),
            (b"bucket = \"b\"\nbukket = \"c\"\n", "line 2"),
            (b"cache_limit_mb = 0\n", "cache_limit_mb"),
        ] {
            std::fs::write(&path, old).unwrap();
            let refusal = StorageConfig::default().save(&path).unwrap_err();
            assert!(refusal.to_string().contains(said), "{refusal}");
            assert!(refusal.to_string().contains("storage.toml"), "{refusal}");
            assert_eq!(std::fs::read(&path).unwrap(), old);
        }
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        let refusal = StorageConfig::default().save(&path).unwrap_err();
        assert!(refusal.to_string().contains("reading"), "{refusal}");
    }

    #[test]
    fn templates_give_prefixes_and_back() {
        let config = StorageConfig::default();
        assert_eq!(config.prefix_of_run("r1").unwrap(), "audit/r1/");
        assert_eq!(config.run_of("audit/r1/a.png"), Some("r1"));
        assert_eq!(config.run_of("other/r1/a.png"), None);
        assert_eq!(
            config.prefix_of_session("u", "s").unwrap(),
            "users/u/sessions/s/"
        );
        let found = config.session_of("users/u/sessions/s/image.png");
        assert_eq!(found, Some(("u", "s")));
        assert_eq!(config.session_of("users/u/sessions/s"), found);
        for other in ["users/u/sessions/", "audit/r1/", "users/u/sessions/..", "x"] {
            assert_eq!(config.session_of(other), None, "{other}");
        }
        assert!(config.prefix_of_session("../u", "s").is_err());
        assert!(config.prefix_of_run("../x").is_err());
    }
}
