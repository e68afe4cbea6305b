//! Where a worker's token is kept: a file for each worker that nobody else can read. The token itself is
//! never in settings, notes or logs.

use crate::audit::hash;
use crate::remote::client::{ClientError, StaticToken, TokenSource, WorkerAddress};
use crate::remote::{Token, auth};
use std::io::{ErrorKind, Write as _};
use std::path::PathBuf;
use std::sync::Arc;

/// The tokens of this user.
#[derive(Debug, Clone, Default)]
pub struct TokenStore {
    /// The folder of the files; without one, nothing is kept.
    pub folder: Option<PathBuf>,
}

impl TokenStore {
    /// The user's own.
    pub fn of_user() -> Self {
        Self {
            folder: dirs::config_dir().map(|dir| dir.join("fill-audit").join("tokens")),
        }
    }

    /// The file of a worker's token. An address can hold what a file's name cannot.
    fn path(&self, worker: &str) -> Result<Option<PathBuf>, String> {
        let address: WorkerAddress = worker.parse().map_err(|e: ClientError| e.to_string())?;
        let mut name = hash::sha256(address.to_string().as_bytes());
        name.truncate(32);
        Ok(self.folder.as_ref().map(|folder| folder.join(name)))
    }

    /// Where a worker's token is kept, in words; `None` if there is none.
    ///
    /// # Errors
    /// If the address is none, or others could read the file.
    pub fn place_of(&self, worker: &str) -> Result<Option<String>, String> {
        Ok(self.read(worker)?.map(|(path, _)| in_words(&path)))
    }

    /// Keeps a worker's token; where, in words.
    ///
    /// # Errors
    /// If it cannot be a worker's token, or the file cannot be written.
    pub fn keep(&self, worker: &str, token: &str) -> Result<String, String> {
        // What no worker takes is refused here, where it can be mended.
        Token::new(token, "the token that was entered").map_err(|error| error.to_string())?;
        let path = self.path(worker)?;
        let path =
            path.ok_or_else(|| "no folder for settings is known for this user".to_owned())?;
        write_private(&path, token.trim())
            .map_err(|error| format!("the token cannot be kept ({error}): {}", path.display()))?;
        Ok(in_words(&path))
    }

    /// Forgets a worker's token.
    ///
    /// # Errors
    /// If the file cannot be removed.
    pub fn forget(&self, worker: &str) -> Result<(), String> {
        let Some(path) = self.path(worker)? else {
            return Ok(());
        };
        match std::fs::remove_file(&path) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(format!(
                "the token cannot be removed ({error}): {}",
                path.display()
            )),
            _ => Ok(()),
        }
    }

    /// What a request to a worker carries.
    ///
    /// # Errors
    /// [`ClientError::Token`] if what is kept cannot be used.
    pub fn source_of(&self, worker: &str) -> Result<Arc<dyn TokenSource>, ClientError> {
        let kept = self.read(worker).map_err(ClientError::Token)?;
        let text = kept.map(|(_, text)| text).unwrap_or_default();
        Ok(Arc::new(StaticToken::new(&text)?))
    }

    fn read(&self, worker: &str) -> Result<Option<(PathBuf, String)>, String> {
        let Some(path) = self.path(worker)? else {
            return Ok(None);
        };
        if !path.exists() {
            return Ok(None);
        }
        let text = auth::read_private(&path).map_err(|error| error.to_string())?;
        Ok(Some((path, text)))
    }
}

fn in_words(path: &std::path::Path) -> String {
    format!("a file readable by you only: {}", path.display())
}

/// Writes a file that nobody else can read at any moment, whole or not at all.
fn write_private(path: &std::path::Path, text: &str) -> std::io::Result<()> {
    let folder = path.parent().unwrap_or_else(|| std::path::Path::new("."));
    std::fs::create_dir_all(folder)?;
    // A temporary file is made with mode 600 wherever there are modes.
    let mut file = tempfile::Builder::new()
        .prefix(".writing-")
        .tempfile_in(folder)?;
    file.write_all(text.as_bytes())?;
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    const WORKER: &str = "http://127.0.0.1:8080";
    const TOKEN: &str = "correct-horse-battery";

    #[tokio::test]
    async fn a_token_is_kept_for_its_worker_only_and_can_be_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let store = TokenStore {
            folder: Some(dir.path().join("tokens")),
        };
        assert_eq!(store.place_of(WORKER).unwrap(), None);
        let place = store.keep(WORKER, &format!(" {TOKEN}\n")).unwrap();
        assert!(!place.contains(TOKEN));
        // However the address is written.
        let same = store.source_of(" http://127.0.0.1:8080/ ").unwrap();
        assert_eq!(same.token().await.unwrap().as_deref(), Some(TOKEN));
        let other = store.source_of("http://127.0.0.1:8081").unwrap();
        assert_eq!(other.token().await.unwrap(), None);
        store.forget(WORKER).unwrap();
        store.forget(WORKER).unwrap();
        assert_eq!(store.place_of(WORKER).unwrap(), None);
    }

    #[cfg(unix)]
    #[test]
    fn nobody_else_can_read_it_and_one_that_others_read_is_refused() {
        use std::os::unix::fs::PermissionsExt as _;
        let dir = tempfile::tempdir().unwrap();
        let store = TokenStore {
            folder: Some(dir.path().to_owned()),
        };
        store.keep(WORKER, TOKEN).unwrap();
        let path = store.path(WORKER).unwrap().unwrap();
        let mode = path.metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        let error = store.place_of(WORKER).unwrap_err();
        assert!(error.contains("chmod 600"), "{error}");
        assert!(!error.contains(TOKEN), "{error}");
    }

    #[test]
    fn what_no_worker_takes_is_refused_at_once() {
        let store = TokenStore::default();
        for (token, expected) in [
            ("short", "16 to 4096"),
            ("with a space in the middle", "visible ASCII"),
            (TOKEN, "no folder for settings"),
        ] {
            let error = store.keep(WORKER, token).unwrap_err();
            assert!(error.contains(expected), "{error}");
            assert!(!error.contains(token), "{error}");
        }
    }
}
