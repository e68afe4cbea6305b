//! Fetches weights from the Hugging Face hub into the user's cache: what a repository has and under
//! which licence, then file by file, resumable, each held against the hash that the hub announces.
//!
//! The only place that names the hub's client. Nothing here runs during a run: `models pull` alone
//! calls it.

use super::error::{PipelineError, Result};
use super::hashes::HashCache;
use super::search::{home_folder, hub_folder};
use hf_hub::api::Progress;
use hf_hub::api::sync::{Api, ApiBuilder, ApiError};
use hf_hub::{Cache, CacheRepo, Repo};
use serde::Deserialize;
use std::ffi::OsString;
use std::io::ErrorKind;
use std::ops::ControlFlow;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// Where the hub is unless `HF_ENDPOINT` says otherwise.
const ENDPOINT: &str = "https://huggingface.co";
/// How often a file is asked for before a broken connection is an error.
const TRIES: u32 = 5;
/// What a file that is being fetched is called, beside the blob that it becomes.
const PART: &str = "part";

/// How to reach the hub, by the variables that all Hugging Face tools know.
pub struct HubAccess {
    endpoint: String,
    /// Sent with every request; never shown.
    token: Option<String>,
    hub_dir: PathBuf,
}

impl HubAccess {
    /// `HF_ENDPOINT`; the token of `HF_TOKEN` or of the file that logging in writes; the user's cache.
    ///
    /// # Errors
    /// If there is neither a home folder nor a variable that names the cache.
    pub fn from_env() -> Result<Self> {
        Self::from(|name| std::env::var_os(name), dirs::home_dir().as_deref())
    }

    fn from(variable: impl Fn(&str) -> Option<OsString>, home: Option<&Path>) -> Result<Self> {
        let text = |name: &str| {
            let value = variable(name)?.into_string().ok()?.trim().to_owned();
            (!value.is_empty()).then_some(value)
        };
        let hub_dir = hub_folder(&variable, home).ok_or_else(|| PipelineError::Fetch {
            what: "a model".to_owned(),
            detail: "there is no home folder to keep it in".to_owned(),
            remedy: "set HF_HOME to a folder with room".to_owned(),
        })?;
        let token_file = text("HF_TOKEN_PATH")
            .map(PathBuf::from)
            .or_else(|| Some(home_folder(&variable, home)?.join("token")));
        let from_file = || {
            let kept = std::fs::read_to_string(token_file?).ok()?;
            let kept = kept.trim();
            (!kept.is_empty()).then(|| kept.to_owned())
        };
        Ok(Self {
            endpoint: text("HF_ENDPOINT").map_or_else(
                || ENDPOINT.to_owned(),
                |url| url.trim_end_matches('/').to_owned(),
            ),
            token: text("HF_TOKEN")
                .or_else(|| text("HUGGING_FACE_HUB_TOKEN"))
                .or_else(from_file),
            hub_dir,
        })
    }
}

/// What a repository has, as the hub says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubListing {
    /// `owner/name`.
    pub repository: String,
    /// The commit that `main` is at.
    pub revision: String,
    /// The licence's name and address, as far as the repository states them.
    pub licence: Option<String>,
    /// Whether the licence has to be accepted on the hub before files are handed out.
    pub is_gated: bool,
    /// All files, in the hub's order.
    pub files: Vec<HubFile>,
}

/// A file of a repository.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HubFile {
    /// Path in the repository.
    pub name: String,
    /// Its size.
    pub size_bytes: u64,
    /// SHA-256 of a large file; small ones are known by another hash and held against their size.
    pub sha256: Option<String>,
    /// What its blob in the cache is called.
    etag: String,
}

/// How far a file is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchEvent {
    /// So many bytes of it are on disk.
    Bytes(u64),
    /// It is read back and held against its hash.
    Verifying,
    /// The connection broke; it is asked for again from where it stopped.
    Again,
}

/// A file that is in the cache now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fetched {
    /// Where it is.
    pub path: PathBuf,
    /// Whether it was there before.
    pub was_there: bool,
}

/// A connection to the hub.
pub struct Hub {
    api: Api,
    cache: Cache,
    endpoint: String,
    has_token: bool,
}

#[derive(Deserialize)]
struct Info {
    sha: String,
    #[serde(default)]
    gated: serde_json::Value,
    #[serde(default, rename = "cardData")]
    card: Option<Card>,
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Card {
    license: Option<serde_json::Value>,
    license_name: Option<String>,
    license_link: Option<String>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob_id: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: String,
    size: u64,
}

impl Hub {
    /// Sets up the client; asks nothing yet.
    ///
    /// # Errors
    /// If the client cannot be made.
    pub fn open(access: HubAccess) -> Result<Self> {
        let cache = Cache::new(access.hub_dir);
        let has_token = access.token.is_some();
        let api = ApiBuilder::from_cache(cache.clone())
            .with_progress(false)
            .with_endpoint(access.endpoint.clone())
            .with_token(access.token)
            .with_user_agent("fill-audit", env!("CARGO_PKG_VERSION"))
            .build()
            .map_err(|error| PipelineError::Fetch {
                what: "anything".to_owned(),
                detail: error.to_string(),
                remedy: "check HF_ENDPOINT and the system's certificates".to_owned(),
            })?;
        Ok(Self {
            api,
            cache,
            endpoint: access.endpoint,
            has_token,
        })
    }

    /// The folder that files are fetched into.
    pub fn folder(&self) -> &Path {
        self.cache.path()
    }

    /// What a repository has at `main`, with sizes, hashes and licence.
    ///
    /// # Errors
    /// [`PipelineError::Fetch`] if the hub cannot be reached, refuses, or answers in another way than it
    /// should.
    pub fn list(&self, repository: &str) -> Result<HubListing> {
        let request = self.api.model(repository.to_owned()).info_request();
        let mut response = request
            .query("blobs", "true")
            .call()
            .map_err(|error| self.explain_request(repository, repository, &error))?;
        let info: Info = response
            .body_mut()
            .read_json()
            .map_err(|error| PipelineError::Fetch {
                what: repository.to_owned(),
                detail: format!("the hub's answer cannot be understood ({error})"),
                remedy: "check HF_ENDPOINT".to_owned(),
            })?;
        let files = info.siblings.into_iter().filter_map(|sibling| {
            let (size_bytes, sha256, etag) = match sibling.lfs {
                Some(lfs) => (lfs.size, Some(lfs.sha256.clone()), lfs.sha256),
                None => (sibling.size?, None, sibling.blob_id?),
            };
            Some(HubFile {
                name: sibling.rfilename,
                size_bytes,
                sha256,
                etag,
            })
        });
        Ok(HubListing {
            repository: repository.to_owned(),
            revision: info.sha,
            licence: info.card.and_then(licence),
            is_gated: !matches!(
                info.gated,
                serde_json::Value::Null | serde_json::Value::Bool(false)
            ),
            files: files.collect(),
        })
    }

    /// Whether a file is in the cache with its full size, and so need not be fetched.
    pub fn has(&self, listing: &HubListing, file: &HubFile) -> bool {
        let repo = self.cached(listing);
        let places = [
            repo.pointer_path(&listing.revision).join(&file.name),
            repo.blob_path(&file.etag),
        ];
        places.iter().any(|path| size_of(path) == file.size_bytes)
    }

    /// Bytes of a file that an earlier fetch left behind when it was stopped.
    pub fn begun_bytes(&self, listing: &HubListing, file: &HubFile) -> u64 {
        let blob = self.cached(listing).blob_path(&file.etag);
        size_of(&blob.with_extension(PART))
    }

    fn cached(&self, listing: &HubListing) -> CacheRepo {
        self.cache.repo(Repo::model(listing.repository.clone()))
    }

    /// Brings a file into the cache, going on with what an earlier call left behind, and holds it
    /// against its hash.
    ///
    /// # Errors
    /// [`PipelineError::Fetch`] if the hub refuses or the connection breaks several times, if the disk
    /// is full, or if what came is not what the hub announced.
    pub fn fetch(
        &self,
        listing: &HubListing,
        file: &HubFile,
        hashes: &mut HashCache,
        tell: &mut dyn FnMut(FetchEvent),
    ) -> Result<Fetched> {
        let what = format!("{} of {}", file.name, listing.repository);
        check_names(&what, file)?;
        let repo = self.cached(listing);
        let pointer = repo.pointer_path(&listing.revision).join(&file.name);
        let blob = repo.blob_path(&file.etag);
        let part = blob.with_extension(PART);
        let io = |error: std::io::Error| self.explain_io(&what, &error);
        if size_of(&part) >= file.size_bytes {
            // It was whole, or too long, when it was stopped.
            std::fs::rename(&part, &blob).map_err(io)?;
        }
        for path in [&pointer, &blob] {
            if path.is_file() && is_whole(path, file, hashes, tell)? {
                place(&blob, &pointer, &file.name).map_err(io)?;
                repo.create_ref(&listing.revision).map_err(io)?;
                return Ok(Fetched {
                    path: pointer.clone(),
                    was_there: true,
                });
            }
            // Also a link that leads nowhere.
            let _ = std::fs::remove_file(path);
        }
        let path = self.download(listing, file, &what, tell)?;
        if path != pointer {
            return Err(PipelineError::Fetch {
                what,
                detail: "the repository changed in the meantime".to_owned(),
                remedy: "run the same command again".to_owned(),
            });
        }
        if is_whole(&path, file, hashes, tell)? {
            return Ok(Fetched {
                path,
                was_there: false,
            });
        }
        let size_bytes = size_of(&path);
        let _ = std::fs::remove_file(&path);
        let _ = std::fs::remove_file(&blob);
        Err(PipelineError::Fetch {
            detail: match &file.sha256 {
                Some(sha256) if size_bytes == file.size_bytes => {
                    format!("what came does not have the SHA-256 {sha256} that the hub announces")
                }
                _ => format!(
                    "{size_bytes} bytes came and the hub announces {}",
                    file.size_bytes
                ),
            },
            what,
            remedy: "it was removed; run the same command again".to_owned(),
        })
    }

    /// Asks for a file until it is there, going on where a broken connection stopped.
    fn download(
        &self,
        listing: &HubListing,
        file: &HubFile,
        what: &str,
        tell: &mut dyn FnMut(FetchEvent),
    ) -> Result<PathBuf> {
        let repo = self.api.model(listing.repository.clone());
        let mut tries = 1;
        loop {
            let progress = Told {
                done_bytes: 0,
                tell: &mut *tell,
            };
            match repo.download_with_progress(&file.name, progress) {
                Ok(path) => return Ok(path),
                Err(error) if tries < TRIES && is_passing(&error) => {
                    tracing::info!("{what} is asked for again: {error}");
                    tell(FetchEvent::Again);
                    std::thread::sleep(Duration::from_millis(200) * tries * tries);
                    tries += 1;
                }
                Err(error) => return Err(self.explain(&listing.repository, what, &error)),
            }
        }
    }

    fn explain(&self, repository: &str, what: &str, error: &ApiError) -> PipelineError {
        match error {
            ApiError::RequestError(error) => self.explain_request(repository, what, error),
            ApiError::IoError(error) => self.explain_io(what, error),
            ApiError::LockAcquisition(path) => PipelineError::Fetch {
                what: what.to_owned(),
                detail: "another process fetches it".to_owned(),
                remedy: format!("wait for it; its lock is {}", path.display()),
            },
            other => PipelineError::Fetch {
                what: what.to_owned(),
                detail: other.to_string(),
                remedy: "run the same command again, or check HF_ENDPOINT".to_owned(),
            },
        }
    }

    fn explain_request(&self, repository: &str, what: &str, error: &ureq::Error) -> PipelineError {
        let page = format!("{}/{repository}", self.endpoint);
        let (detail, remedy) = match error {
            ureq::Error::StatusCode(code) => explain_status(*code, &page, self.has_token),
            ureq::Error::Io(error) if is_final(error.kind()) => {
                return self.explain_io(what, error);
            }
            other => (
                format!("{} cannot be reached ({other})", self.endpoint),
                "check the network and HF_ENDPOINT; the same command goes on where it stopped"
                    .to_owned(),
            ),
        };
        PipelineError::Fetch {
            what: what.to_owned(),
            detail,
            remedy,
        }
    }

    fn explain_io(&self, what: &str, error: &std::io::Error) -> PipelineError {
        let folder = self.folder().display();
        let (detail, remedy) = match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => (
                format!("the disk is full ({folder})"),
                "free some room, or set HF_HUB_CACHE to a folder that has it; what was fetched is kept, \
                 and the same command goes on"
                    .to_owned(),
            ),
            kind if is_final(kind) => (
                format!("it cannot be written ({error})"),
                format!("make {folder} writable, or set HF_HUB_CACHE to another folder"),
            ),
            _ => (
                format!("the connection broke {TRIES} times ({error})"),
                "run the same command again; it goes on where it stopped".to_owned(),
            ),
        };
        PipelineError::Fetch {
            what: what.to_owned(),
            detail,
            remedy,
        }
    }
}

/// What the hub means by a status, and what helps.
fn explain_status(code: u16, page: &str, has_token: bool) -> (String, String) {
    let (detail, remedy) = match (code, has_token) {
        (401, false) => (
            "the hub asks who you are (401), and there is no token".to_owned(),
            format!(
                "accept the licence on {page}, make a token that may read, and set HF_TOKEN or run \
                 `hf auth login`"
            ),
        ),
        (401, true) => (
            "the hub does not know the token (401)".to_owned(),
            "set HF_TOKEN to a token that may read, or run `hf auth login` again".to_owned(),
        ),
        (403, _) => (
            "the token's account has no access (403)".to_owned(),
            format!("accept the licence on {page} with that account"),
        ),
        (404, _) => (
            "the hub has no such repository or file (404)".to_owned(),
            "check the name; a private repository also needs a token".to_owned(),
        ),
        (429, _) => (
            "the hub asks to wait (429)".to_owned(),
            "try again in some minutes; what was fetched is kept".to_owned(),
        ),
        (code, _) => (
            format!("the hub answers with status {code}"),
            "try again later; what was fetched is kept".to_owned(),
        ),
    };
    (detail, remedy)
}

/// `name, address`, as far as a repository's card says them.
fn licence(card: Card) -> Option<String> {
    let named = card.license.and_then(|value| match value {
        serde_json::Value::String(name) => Some(name),
        serde_json::Value::Array(names) => {
            let names: Vec<String> = names
                .into_iter()
                .filter_map(|name| Some(name.as_str()?.to_owned()))
                .collect();
            (!names.is_empty()).then(|| names.join(", "))
        }
        _ => None,
    });
    let name = card.license_name.or(named)?;
    Some(match card.license_link {
        Some(link) => format!("{name}, {link}"),
        None => name,
    })
}

/// Whether asking again may help.
fn is_passing(error: &ApiError) -> bool {
    match error {
        ApiError::RequestError(error) => match error.as_ref() {
            ureq::Error::StatusCode(code) => *code >= 500,
            ureq::Error::Io(error) => !is_final(error.kind()),
            ureq::Error::Timeout(_) | ureq::Error::ConnectionFailed => true,
            _ => false,
        },
        ApiError::IoError(error) => !is_final(error.kind()),
        _ => false,
    }
}

/// Failures of this machine's disk, which asking again does not mend.
fn is_final(kind: ErrorKind) -> bool {
    matches!(
        kind,
        ErrorKind::StorageFull
            | ErrorKind::QuotaExceeded
            | ErrorKind::PermissionDenied
            | ErrorKind::ReadOnlyFilesystem
            | ErrorKind::NotADirectory
            | ErrorKind::NotFound
    )
}

/// A repository's file must stay inside the repository's folder, whatever the hub says.
fn check_names(what: &str, file: &HubFile) -> Result<()> {
    let inside = |name: &str| {
        let mut parts = Path::new(name).components().peekable();
        parts.peek().is_some() && parts.all(|part| matches!(part, Component::Normal(_)))
    };
    let is_digits = file.etag.len() >= 32 && file.etag.bytes().all(|b| b.is_ascii_hexdigit());
    if inside(&file.name) && !file.name.contains('\\') && is_digits {
        return Ok(());
    }
    Err(PipelineError::Fetch {
        what: what.to_owned(),
        detail: format!("{:?} (hash {:?}) is no plain name", file.name, file.etag),
        remedy: "check HF_ENDPOINT".to_owned(),
    })
}

fn size_of(path: &Path) -> u64 {
    path.metadata().map_or(0, |metadata| metadata.len())
}

/// Whether a file is what the hub announces: its size, and its SHA-256 where the hub says one.
fn is_whole(
    path: &Path,
    file: &HubFile,
    hashes: &mut HashCache,
    tell: &mut dyn FnMut(FetchEvent),
) -> Result<bool> {
    if size_of(path) != file.size_bytes {
        return Ok(false);
    }
    let Some(expected) = &file.sha256 else {
        return Ok(true);
    };
    tell(FetchEvent::Verifying);
    let found = hashes.sha256(path, &mut |_| ControlFlow::Continue(()))?;
    Ok(found.eq_ignore_ascii_case(expected))
}

/// Makes a snapshot's entry lead to a blob, as the Hugging Face tools lay it out.
fn place(blob: &Path, pointer: &Path, name: &str) -> std::io::Result<()> {
    if pointer.exists() {
        return Ok(());
    }
    if let Some(parent) = pointer.parent() {
        std::fs::create_dir_all(parent)?;
    }
    link(blob, pointer, name)
}

#[cfg(unix)]
fn link(blob: &Path, pointer: &Path, name: &str) -> std::io::Result<()> {
    // Relative, so that the cache may be moved: up from snapshots/REVISION and the name's own folders.
    let mut target: PathBuf =
        std::iter::repeat_n("..", 1 + Path::new(name).components().count()).collect();
    target.push("blobs");
    target.push(blob.file_name().unwrap_or_default());
    std::os::unix::fs::symlink(target, pointer)
}

#[cfg(not(unix))]
fn link(blob: &Path, pointer: &Path, _name: &str) -> std::io::Result<()> {
    std::fs::hard_link(blob, pointer)
}

/// Hands the client's progress on.
struct Told<'a> {
    done_bytes: u64,
    tell: &'a mut dyn FnMut(FetchEvent),
}

impl Progress for Told<'_> {
    fn init(&mut self, _size: usize, _filename: &str) {
        self.done_bytes = 0;
    }

    fn update(&mut self, size: usize) {
        self.done_bytes += size as u64;
        (self.tell)(FetchEvent::Bytes(self.done_bytes));
    }

    fn finish(&mut self) {}
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;

    fn access(set: &[(&str, &str)], home: &Path) -> HubAccess {
        let variable = |name: &str| {
            let found = set.iter().find(|(key, _)| *key == name);
            found.map(|(_, value)| OsString::from(value))
        };
        HubAccess::from(variable, Some(home)).unwrap()
    }

    #[test]
    fn the_token_comes_from_its_usual_places() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(access(&[], home.path()).token, None);
        let kept = home.path().join(".cache/huggingface");
        std::fs::create_dir_all(&kept).unwrap();
        std::fs::write(kept.join("token"), "hf_kept\n").unwrap();
        let token = |set: &[(&str, &str)]| access(set, home.path()).token.unwrap();
        assert_eq!(token(&[]), "hf_kept");
        assert_eq!(token(&[("HF_TOKEN", " hf_set ")]), "hf_set");
        assert_eq!(token(&[("HF_TOKEN", "")]), "hf_kept");
        let other = home.path().join("other");
        std::fs::write(&other, "hf_other").unwrap();
        assert_eq!(
            token(&[("HF_TOKEN_PATH", other.to_str().unwrap())]),
            "hf_other"
        );
        let elsewhere = [("HF_HOME", home.path().to_str().unwrap())];
        assert_eq!(access(&elsewhere, home.path()).token, None);
    }

    #[test]
    fn the_endpoint_can_be_another_one() {
        let home = Path::new("/home/me");
        assert_eq!(access(&[], home).endpoint, ENDPOINT);
        let set = [("HF_ENDPOINT", "http://mirror:8080/")];
        assert_eq!(access(&set, home).endpoint, "http://mirror:8080");
    }

    #[test]
    fn names_that_lead_out_of_the_repository_are_refused() {
        let file = |name: &str, etag: &str| HubFile {
            name: name.to_owned(),
            size_bytes: 1,
            sha256: None,
            etag: etag.to_owned(),
        };
        let digits = "0123456789abcdef0123456789abcdef";
        check_names("x", &file("tokenizer/vocab.json", digits)).unwrap();
        for (name, etag) in [
            ("../../etc/passwd", digits),
            ("/etc/passwd", digits),
            ("a\\b", digits),
            ("", digits),
            ("a", "../../x"),
            ("a", ""),
        ] {
            check_names("x", &file(name, etag)).unwrap_err();
        }
    }

    #[test]
    fn a_full_disk_is_named_with_what_helps_and_not_tried_again() {
        let dir = tempfile::tempdir().unwrap();
        let hub = Hub::open(access(&[], dir.path())).unwrap();
        let full = || std::io::Error::from(ErrorKind::StorageFull);
        assert!(!is_passing(&ApiError::IoError(full())));
        let text = hub.explain_io("x of a/b", &full()).to_string();
        for part in ["x of a/b", "disk is full", "HF_HUB_CACHE", "goes on"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let cut = std::io::Error::from(ErrorKind::UnexpectedEof);
        assert!(is_passing(&ApiError::IoError(cut)));
    }

    #[test]
    fn each_refusal_has_its_own_remedy() {
        let text = |code, has_token| explain_status(code, "https://hub/a/b", has_token);
        assert!(text(401, false).1.contains("HF_TOKEN"));
        assert!(text(401, true).1.contains("again"));
        assert!(text(403, true).1.contains("https://hub/a/b"));
        assert!(text(404, true).0.contains("no such"));
    }

    #[test]
    fn a_licence_is_named_as_the_repository_names_it() {
        let read = |json: &str| licence(serde_json::from_str(json).unwrap());
        assert_eq!(read("{}"), None);
        assert_eq!(read(r#"{"license": "mit"}"#).unwrap(), "mit");
        let own = r#"{"license": "other", "license_name": "own", "license_link": "LICENSE.md"}"#;
        assert_eq!(read(own).unwrap(), "own, LICENSE.md");
    }
}
