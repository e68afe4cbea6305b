//! From storage's types to the window's, and back.

use crate::state::bucket::choices::{Choice, Choices, ConflictRow};
use crate::state::bucket::form::{CheckLine, CheckVerdict, StorageForm};
use crate::state::bucket::transfer::TransferProgress;
use crate::storage::conflict::{Conflict, Resolution, Resolutions};
use crate::storage::doctor::{Check, Verdict};
use crate::storage::gcs::Environment;
use crate::storage::progress::Progress;
use crate::storage::{StorageConfig, StorageError};
use std::path::PathBuf;

pub(super) fn form_of(config: &StorageConfig) -> StorageForm {
    StorageForm {
        bucket: config.bucket.clone(),
        run_prefix: config.run_prefix.clone(),
        session_prefix: config.session_prefix.clone(),
        credentials: config
            .credentials
            .as_ref()
            .map(|path| path.display().to_string())
            .unwrap_or_default(),
        cache_limit_mb: config.cache_limit_mb,
    }
}

pub(super) fn config_of(form: &StorageForm) -> StorageConfig {
    let credentials = form.credentials.trim();
    let bucket = form.bucket.trim();
    StorageConfig {
        bucket: bucket
            .strip_prefix("gs://")
            .unwrap_or(bucket)
            .trim_end_matches('/')
            .to_owned(),
        run_prefix: form.run_prefix.trim().to_owned(),
        session_prefix: form.session_prefix.trim().to_owned(),
        credentials: (!credentials.is_empty()).then(|| PathBuf::from(credentials)),
        cache_limit_mb: form.cache_limit_mb,
    }
}

/// Which credentials would be used, in the order in which storage looks for them. By kind and path; what
/// stands in them is never shown.
pub(super) fn credentials(config: &StorageConfig, environment: &Environment) -> String {
    let mut words = match (&environment.firebase_credentials, &config.credentials) {
        (Some(value), _) if value.trim_start().starts_with('{') => {
            "the variable FIREBASE_CREDENTIALS, which holds JSON".to_owned()
        }
        (Some(value), _) => format!(
            "the file that the variable FIREBASE_CREDENTIALS names: {}",
            value.trim()
        ),
        (None, Some(path)) => format!("the file that these settings name: {}", path.display()),
        (None, None) => match &environment.default_credentials {
            Some(path) => format!("Application Default Credentials: {}", path.display()),
            None if environment.on_google => "this machine's service account".to_owned(),
            None => "none; set FIREBASE_CREDENTIALS, name a file here, or run `gcloud auth \
                     application-default login`"
                .to_owned(),
        },
    };
    if let Some(host) = &environment.emulator_host {
        words.push_str(&format!(
            " (not needed: the emulator at {host} asks for none)"
        ));
    }
    words
}

pub(super) fn check_line(check: Check) -> CheckLine {
    CheckLine {
        what: check.what.to_owned(),
        verdict: match check.verdict {
            Verdict::Ok => CheckVerdict::Ok,
            Verdict::Warning => CheckVerdict::Warning,
            Verdict::Failed => CheckVerdict::Failed,
            Verdict::Skipped => CheckVerdict::Skipped,
        },
        words: check.words,
    }
}

pub(super) fn refused_settings(error: &StorageError) -> CheckLine {
    CheckLine {
        what: "settings".to_owned(),
        verdict: CheckVerdict::Failed,
        words: error.to_string(),
    }
}

pub(super) fn progress(progress: Progress) -> TransferProgress {
    TransferProgress {
        files_done: progress.objects_done,
        files_total: progress.objects_total,
        bytes_done: progress.bytes_done,
        bytes_total: progress.bytes_total,
        bytes_per_sec: progress.bytes_per_sec,
    }
}

pub(super) fn conflict(conflict: &Conflict) -> ConflictRow {
    ConflictRow {
        file: conflict.file.clone(),
        my_bytes: conflict.mine_bytes,
        my_secs: conflict.mine_updated_secs,
        their_bytes: conflict.theirs.size_bytes,
        their_secs: conflict.theirs.updated_secs,
        their_generation: conflict.theirs.generation,
        choice: None,
    }
}

pub(super) fn resolutions(choices: &Choices) -> Resolutions {
    let mut decided = Resolutions::default();
    for (file, (choice, generation)) in choices {
        let resolution = match choice {
            Choice::Mine => Resolution::KeepMine,
            Choice::Theirs => Resolution::TakeTheirs,
            Choice::Both => Resolution::KeepBoth,
        };
        decided.by_file.insert(file.clone(), resolution);
        decided.shown.insert(file.clone(), *generation);
    }
    decided
}

pub(super) fn reasons(failed: &[(String, StorageError)]) -> Vec<(String, String)> {
    failed
        .iter()
        .map(|(file, error)| (file.clone(), error.to_string()))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_told_by_kind_and_never_shown() {
        let mut environment = Environment::default();
        let mut config = StorageConfig::default();
        assert!(credentials(&config, &environment).starts_with("none"));
        config.credentials = Some("/keys/a.json".into());
        assert!(credentials(&config, &environment).contains("/keys/a.json"));
        environment.firebase_credentials = Some("{\"private_key\": \"SECRET\"}".to_owned());
        let words = credentials(&config, &environment);
        assert!(
            words.contains("FIREBASE_CREDENTIALS") && !words.contains("SECRET"),
            "{words}"
        );
    }

    #[test]
    fn a_form_gives_the_settings_that_it_was_made_of() {
        let config = StorageConfig {
            bucket: "demo.firebasestorage.app".into(),
            credentials: Some("/keys/a.json".into()),
            ..StorageConfig::default()
        };
        let mut form = form_of(&config);
        assert_eq!(config_of(&form), config);
        form.bucket = " gs://demo.firebasestorage.app/ ".to_owned();
        assert_eq!(config_of(&form), config, "as it is pasted");
    }
}
