//! A bucket as a store. This folder is the only place in `storage` that names HTTP or the client crate.
//!
//! Reads and writes go through `google-cloud-storage`; list, metadata and delete are JSON over `reqwest`
//! with the same credentials, since the crate has them over gRPC only. The crate's own retries are off
//! except inside resumable uploads: one loop of ours (`retry`) honours `Retry-After`, and
//! every wait has an end.

pub mod credentials;
mod errors;
pub mod id_tokens;
mod json;
mod limits;
mod read;
mod retry;
pub mod sign;
mod write;

use std::time::{Duration, SystemTime};

use bytes::Bytes;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use google_cloud_gax::retry_policy::RetryPolicyExt as _;
use google_cloud_storage::client::Storage;
use google_cloud_storage::read_resume_policy::NeverResume;
use google_cloud_storage::retry_policy::RetryableErrors;

use super::store::{Link, LinkKind, ListPage, ListQuery, OnBytes};
use super::{ObjectMeta, ObjectName, Precondition, Result, StorageError, Store};
pub use credentials::{Environment, Identity};
pub use limits::Limits;

/// Where Google's own service answers.
pub const GOOGLE_ENDPOINT: &str = "https://storage.googleapis.com";
/// Longest life of a link signed with an account's own key, as the audit's reports promise it.
pub const OWN_KEY_LIFETIME: Duration = Duration::from_hours(72);
/// Longest life of a link signed through `signBlob` (the key that Google uses is rotated).
pub const SIGN_BLOB_LIFETIME: Duration = Duration::from_hours(12);

/// Chooses who encrypts. Two providers are compiled in (another dependency brings its own), so that one must be
/// chosen or the first TLS connection panics. Twice is once.
pub fn choose_tls() {
    // An error only says that someone has chosen already.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
}

/// A Google Cloud Storage bucket.
#[derive(Debug)]
pub struct Gcs {
    bucket: String,
    endpoint: String,
    storage: Storage,
    http: reqwest::Client,
    identity: Identity,
    limits: Limits,
    clock: fn() -> SystemTime,
    /// Why signing was refused in this process; it is not asked again for each picture.
    signing_refused: std::sync::OnceLock<String>,
}

impl Gcs {
    /// Connects to `bucket` with `identity`; nothing is sent yet.
    ///
    /// `endpoint` is [`GOOGLE_ENDPOINT`] or an emulator's address.
    ///
    /// # Errors
    /// [`StorageError::Config`] for a bucket name that cannot be one, [`StorageError::Auth`] if the client
    /// refuses the credentials.
    pub async fn new(
        bucket: &str,
        endpoint: &str,
        identity: Identity,
        limits: Limits,
    ) -> Result<Self> {
        let bucket = check_bucket(bucket)?;
        choose_tls();
        let storage = Storage::builder()
            .with_endpoint(endpoint)
            .with_credentials(identity.credentials.clone())
            .with_retry_policy(
                RetryableErrors
                    .with_time_limit(limits.total)
                    .with_attempt_limit(limits.attempts),
            )
            .with_read_resume_policy(NeverResume)
            .build()
            .await
            .map_err(|e| StorageError::Auth {
                detail: super::error::redact(&e.to_string()),
                remedy: credentials::REMEDY.into(),
            })?;
        let http = reqwest::Client::builder()
            .connect_timeout(limits.connect)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|e| errors::from_reqwest(&e, endpoint))?;
        Ok(Self {
            bucket,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            storage,
            http,
            identity,
            limits,
            clock: SystemTime::now,
            signing_refused: std::sync::OnceLock::new(),
        })
    }

    /// Finds credentials and endpoint in `environment` (and `config`), and connects.
    ///
    /// # Errors
    /// [`StorageError::Auth`] with what to do if there are no credentials; see [`Gcs::new`].
    pub async fn open(
        bucket: &str,
        credentials_path: Option<&std::path::Path>,
        environment: &Environment,
        limits: Limits,
    ) -> Result<Self> {
        let identity = credentials::find(credentials_path, environment, &limits).await?;
        let endpoint = environment.endpoint()?;
        Self::new(bucket, &endpoint, identity, limits).await
    }

    /// The same bucket with another clock, for tests of signed links.
    #[must_use]
    pub fn with_clock(mut self, clock: fn() -> SystemTime) -> Self {
        self.clock = clock;
        self
    }

    /// The bucket's name.
    pub fn bucket(&self) -> &str {
        &self.bucket
    }

    /// Who the requests are made as, in words.
    pub fn identity_words(&self) -> &str {
        &self.identity.words
    }

    fn bucket_path(&self) -> String {
        format!("projects/_/buckets/{}", self.bucket)
    }

    fn place_of(&self, name: &ObjectName) -> String {
        format!("gs://{}/{name}", self.bucket)
    }

    async fn signed_link(&self, name: &ObjectName, lifetime: Duration) -> Result<Link> {
        let Some((signer, kind)) = &self.identity.signer else {
            return Err(StorageError::Forbidden {
                place: self.place(),
                detail: format!("{} cannot sign links", self.identity.words),
                remedy: sign::REMEDY.into(),
            });
        };
        let longest = if *kind == LinkKind::OwnKey {
            OWN_KEY_LIFETIME
        } else {
            SIGN_BLOB_LIFETIME
        };
        let lifetime = lifetime.min(longest);
        let now = (self.clock)();
        let request = sign::Request {
            method: "GET",
            endpoint: &self.endpoint,
            bucket: &self.bucket,
            name: name.as_str(),
            lifetime,
            now,
            query: &[],
        };
        let work = sign::v4_url(signer, &request);
        let url = tokio::time::timeout(self.limits.idle, work)
            .await
            .unwrap_or_else(|_elapsed| {
                Err(StorageError::Transient {
                    place: "signing".into(),
                    detail: format!("no answer within {:?}", self.limits.idle),
                    attempts: 1,
                    retry_after: None,
                })
            })?;
        Ok(Link {
            url,
            kind: *kind,
            expires_at: Some(now + lifetime),
        })
    }

    async fn link_by_first_way(&self, name: &ObjectName, lifetime: Duration) -> Result<Link> {
        let refused = match self.signing_refused.get() {
            Some(why) => why.clone(),
            None => match self.signed_link(name, lifetime).await {
                Ok(link) => return Ok(link),
                Err(error) => {
                    tracing::warn!(%error, "links cannot be signed; trying public ones");
                    let why = error.to_string();
                    if !error.is_retryable() {
                        // A second thread may have stored the same reason: either will do.
                        let _ = self.signing_refused.set(why.clone());
                    }
                    why
                }
            },
        };
        let url = sign::plain_url(&self.endpoint, &self.bucket, name.as_str());
        if self.is_public(&url).await? {
            return Ok(Link {
                url,
                kind: LinkKind::Public,
                expires_at: None,
            });
        }
        Err(StorageError::Forbidden {
            place: self.place_of(name),
            detail: format!("no link can be made: it is not public, and {refused}"),
            remedy: sign::REMEDY.into(),
        })
    }
}

fn check_bucket(bucket: &str) -> Result<String> {
    let bare = bucket
        .trim()
        .trim_start_matches("gs://")
        .trim_end_matches('/');
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if (3..=222).contains(&bare.len()) && bare.chars().all(legal) && !bare.contains("..") {
        Ok(bare.to_owned())
    } else {
        Err(StorageError::Config {
            problem: format!("{bare:?} is not a bucket's name"),
            place: "setting `bucket`".into(),
            remedy: "write PROJECT.firebasestorage.app, or PROJECT.appspot.com for projects from \
                     before 30 October 2024"
                .into(),
        })
    }
}

impl Store for Gcs {
    fn place(&self) -> String {
        format!("gs://{}", self.bucket)
    }

    fn cache_key(&self) -> String {
        if self.endpoint == GOOGLE_ENDPOINT {
            self.bucket.clone()
        } else {
            format!("{}@{}", self.bucket, self.endpoint)
        }
    }

    fn list<'a>(&'a self, query: &'a ListQuery) -> BoxFuture<'a, Result<ListPage>> {
        self.list_page(query).boxed()
    }

    fn stat<'a>(&'a self, name: &'a ObjectName) -> BoxFuture<'a, Result<ObjectMeta>> {
        self.object_meta(name).boxed()
    }

    fn fetch<'a>(
        &'a self,
        meta: &'a ObjectMeta,
        part: &'a std::path::Path,
        on_bytes: OnBytes<'a>,
    ) -> BoxFuture<'a, Result<()>> {
        self.fetch_verified(meta, part, on_bytes).boxed()
    }

    fn read_range<'a>(
        &'a self,
        name: &'a ObjectName,
        offset: u64,
        len: u64,
    ) -> BoxFuture<'a, Result<Bytes>> {
        self.read_segment(name, offset, len).boxed()
    }

    fn write<'a>(
        &'a self,
        name: &'a ObjectName,
        content: Bytes,
        condition: Precondition,
    ) -> BoxFuture<'a, Result<ObjectMeta>> {
        self.write_whole(name, content, condition).boxed()
    }

    fn delete<'a>(
        &'a self,
        name: &'a ObjectName,
        condition: Precondition,
    ) -> BoxFuture<'a, Result<()>> {
        self.delete_object(name, condition).boxed()
    }

    fn link<'a>(&'a self, name: &'a ObjectName, lifetime: Duration) -> BoxFuture<'a, Result<Link>> {
        self.link_by_first_way(name, lifetime).boxed()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bucket_names_lose_their_scheme_and_wrong_ones_are_named() {
        assert_eq!(
            check_bucket("gs://demo.firebasestorage.app/")
                .ok()
                .as_deref(),
            Some("demo.firebasestorage.app")
        );
        for wrong in ["", "a", "UPPER.case", "a b c", "../../x"] {
            assert!(check_bucket(wrong).is_err(), "{wrong}");
        }
    }
}
