//! Who we are to Google: `FIREBASE_CREDENTIALS`, then Application Default Credentials, or an emulator's
//! nobody. Missing credentials are found here, before a request fails as something else.

use std::path::{Path, PathBuf};

use google_cloud_auth::credentials::{
    Builder as DefaultBuilder, CacheableResource, Credentials, anonymous, external_account,
    impersonated, service_account, user_account,
};
use google_cloud_auth::signer::Signer;
use serde_json::Value;

use super::super::store::LinkKind;
use super::super::{Result, StorageError};
use super::{GOOGLE_ENDPOINT, Limits, errors};

/// What to do without credentials.
pub const REMEDY: &str = "set FIREBASE_CREDENTIALS to a service account's JSON or its path, or run \
                          `gcloud auth application-default login`";
const SCOPE: &str = "https://www.googleapis.com/auth/devstorage.read_write";
/// What Google's other services want; what an account may do there is decided by its roles.
pub const CLOUD_SCOPE: &str = "https://www.googleapis.com/auth/cloud-platform";

/// Where Google's machines ask who they are.
const METADATA_SERVER: ([u8; 4], u16) = ([169, 254, 169, 254], 80);

/// Credentials, and what can be signed with them. `Debug` shows only the words.
#[derive(Clone)]
pub struct Identity {
    /// For requests.
    pub credentials: Credentials,
    /// For links, if there is one, with the kind of link that it makes.
    pub signer: Option<(Signer, LinkKind)>,
    /// Where they come from and whose they are, for people.
    pub words: String,
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Identity")
            .field("words", &self.words)
            .finish_non_exhaustive()
    }
}

impl Identity {
    /// Nobody, for emulators and public buckets.
    pub fn anonymous() -> Self {
        Self {
            credentials: anonymous::Builder::new().build(),
            signer: None,
            words: "no credentials (emulator)".into(),
        }
    }

    /// The headers that show who asks, for a request that is not made by the client crate.
    ///
    /// # Errors
    /// [`StorageError::Auth`] if no token is given; failures of the network.
    pub async fn headers(&self, place: &str) -> Result<reqwest::header::HeaderMap> {
        match self.credentials.headers(empty()).await {
            Ok(CacheableResource::New { data, .. }) => Ok(data),
            Ok(CacheableResource::NotModified) => Ok(reqwest::header::HeaderMap::new()),
            Err(error) => Err(errors::from_crate(&error, place)),
        }
    }
}

/// The client crate wants an `http::Extensions` and does not export the type.
fn empty<T: Default>() -> T {
    T::default()
}

/// The variables and files that decide, as found at the start; tests give their own.
#[derive(Clone, Default)]
pub struct Environment {
    /// `FIREBASE_CREDENTIALS`: a service account's JSON, or the path of a file with it.
    pub firebase_credentials: Option<String>,
    /// `GOOGLE_APPLICATION_CREDENTIALS`, or the file that `gcloud` writes if it exists.
    pub default_credentials: Option<PathBuf>,
    /// `STORAGE_EMULATOR_HOST`: `host`, `host:port` or a whole address.
    pub emulator_host: Option<String>,
    /// Whether Google's metadata server may be asked: on Cloud Run or Compute Engine.
    pub on_google: bool,
}

impl std::fmt::Debug for Environment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Environment")
            .field(
                "firebase_credentials",
                &self.firebase_credentials.as_ref().map(|_| "set"),
            )
            .field("default_credentials", &self.default_credentials)
            .field("emulator_host", &self.emulator_host)
            .field("on_google", &self.on_google)
            .finish()
    }
}

impl Environment {
    /// Reads the process's variables.
    pub fn from_process() -> Self {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    /// Reads variables by their name, as [`Environment::from_process`] does the process's.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Self {
        let var = |name: &str| variable(name).filter(|value| !value.trim().is_empty());
        let gcloud = well_known_path(var).filter(|path| path.exists());
        let on_google = ["K_SERVICE", "CLOUD_RUN_JOB", "GCE_METADATA_HOST"]
            .iter()
            .any(|name| var(name).is_some());
        Self {
            firebase_credentials: var("FIREBASE_CREDENTIALS"),
            default_credentials: var("GOOGLE_APPLICATION_CREDENTIALS")
                .map(PathBuf::from)
                .or(gcloud),
            emulator_host: var("STORAGE_EMULATOR_HOST"),
            on_google,
        }
    }

    /// Where the store answers.
    ///
    /// # Errors
    /// [`StorageError::Config`] for an emulator's address that cannot be one.
    pub fn endpoint(&self) -> Result<String> {
        let Some(host) = &self.emulator_host else {
            return Ok(GOOGLE_ENDPOINT.to_owned());
        };
        let host = host.trim().trim_end_matches('/');
        let full = if host.contains("://") {
            host.to_owned()
        } else {
            format!("http://{host}")
        };
        let usable = url::Url::parse(&full)
            .is_ok_and(|u| matches!(u.scheme(), "http" | "https") && u.host().is_some());
        if usable {
            return Ok(full);
        }
        Err(StorageError::Config {
            problem: format!("{host:?} is not an address"),
            place: "variable STORAGE_EMULATOR_HOST".into(),
            remedy: "write host, host:port or http://host:port".into(),
        })
    }
}

/// Where `gcloud auth application-default login` leaves a user's login (<https://google.aip.dev/auth/4113>): the
/// same on every system but Windows, whatever the user's configuration folder is otherwise.
fn well_known_path(variable: impl Fn(&str) -> Option<String>) -> Option<PathBuf> {
    let folder = if cfg!(windows) {
        PathBuf::from(variable("APPDATA")?)
    } else {
        PathBuf::from(variable("HOME")?).join(".config")
    };
    Some(folder.join("gcloud/application_default_credentials.json"))
}

/// Finds credentials in the order: emulator, `FIREBASE_CREDENTIALS`, the configured file, Application
/// Default Credentials, Google's metadata server.
///
/// # Errors
/// [`StorageError::Auth`] that says what is wrong with which of them, or that there are none.
pub async fn find(
    configured: Option<&Path>,
    environment: &Environment,
    limits: &Limits,
) -> Result<Identity> {
    find_beside(METADATA_SERVER, configured, environment, limits, SCOPE).await
}

/// As [`find`], for Google's other services. An emulator of the bucket does not count here.
///
/// # Errors
/// See [`find`].
pub async fn find_for_cloud(
    configured: Option<&Path>,
    environment: &Environment,
    limits: &Limits,
) -> Result<Identity> {
    let environment = Environment {
        emulator_host: None,
        ..environment.clone()
    };
    find_beside(
        METADATA_SERVER,
        configured,
        &environment,
        limits,
        CLOUD_SCOPE,
    )
    .await
}

/// As [`find`], with Google's metadata server at another address.
async fn find_beside(
    metadata_server: ([u8; 4], u16),
    configured: Option<&Path>,
    environment: &Environment,
    limits: &Limits,
    scope: &str,
) -> Result<Identity> {
    let explicit = match (&environment.firebase_credentials, configured) {
        (Some(value), _) => Some(from_variable(value)?),
        (None, Some(path)) => Some((read_json(path)?, path.display().to_string())),
        (None, None) => None,
    };
    if environment.emulator_host.is_some() {
        let mut nobody = Identity::anonymous();
        if let Some((json, place)) = explicit {
            nobody.signer = own_identity(&json, &place).await?.signer;
        }
        return Ok(nobody);
    }
    if let Some((json, place)) = explicit {
        return from_json(&json, &place, scope).await;
    }
    if let Some(path) = &environment.default_credentials {
        return from_json(&read_json(path)?, &path.display().to_string(), scope).await;
    }
    if environment.on_google || metadata_server_answers(metadata_server, limits).await {
        let words = "this machine's service account (metadata server)";
        let credentials = DefaultBuilder::default()
            .with_scopes([scope])
            .build()
            .map_err(|_unsaid| auth(words, "the client refuses it"))?;
        let signer = DefaultBuilder::default().build_signer().ok();
        let signer = signer.map(|s| (s, LinkKind::SignBlob));
        return Ok(Identity {
            credentials,
            signer,
            words: words.into(),
        });
    }
    Err(StorageError::Auth {
        detail: "there are none".into(),
        remedy: REMEDY.into(),
    })
}

pub(super) fn from_variable(value: &str) -> Result<(Value, String)> {
    let place = "variable FIREBASE_CREDENTIALS";
    if value.trim_start().starts_with('{') {
        return Ok((parse_json(value.as_bytes(), place)?, place.to_owned()));
    }
    let path = Path::new(value.trim());
    Ok((read_json(path)?, path.display().to_string()))
}

pub(super) fn read_json(path: &Path) -> Result<Value> {
    let place = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|e| auth(&place, &format!("cannot be read: {e}")))?;
    parse_json(&bytes, &place)
}

/// The parser's own message is not shown: it can quote the key.
fn parse_json(bytes: &[u8], place: &str) -> Result<Value> {
    serde_json::from_slice(bytes).map_err(|e| {
        auth(
            place,
            &format!("is not JSON (line {}, column {})", e.line(), e.column()),
        )
    })
}

pub(super) async fn from_json(json: &Value, place: &str, scope: &str) -> Result<Identity> {
    let kind = json.get("type").and_then(Value::as_str).unwrap_or_default();
    let refused = |_| auth(place, &format!("the client refuses this {kind:?} file"));
    let scopes = [scope];
    match kind {
        "service_account" => own_identity(json, place).await,
        "authorized_user" => Ok(Identity {
            credentials: user_account::Builder::new(json.clone())
                .build()
                .map_err(refused)?,
            signer: None,
            words: format!("a user's login ({place})"),
        }),
        "impersonated_service_account" => {
            let builder = || impersonated::Builder::new(json.clone());
            Ok(Identity {
                credentials: builder().with_scopes(scopes).build().map_err(refused)?,
                signer: builder()
                    .build_signer()
                    .ok()
                    .map(|s| (s, LinkKind::SignBlob)),
                words: format!("an impersonated service account ({place})"),
            })
        }
        "external_account" => Ok(Identity {
            credentials: external_account::Builder::new(json.clone())
                .with_scopes(scopes)
                .build()
                .map_err(refused)?,
            signer: None,
            words: format!("workload identity ({place})"),
        }),
        other => Err(auth(
            place,
            &format!("has the type {other:?}, which is not known"),
        )),
    }
}

/// A service account with its own key, tried by signing something: a key that is none fails only then.
pub(super) async fn own_identity(json: &Value, place: &str) -> Result<Identity> {
    for field in [
        "client_email",
        "private_key",
        "private_key_id",
        "project_id",
    ] {
        if json
            .get(field)
            .and_then(Value::as_str)
            .is_none_or(str::is_empty)
        {
            return Err(auth(place, &format!("has no {field:?}")));
        }
    }
    let unusable = |_| auth(place, "its private key cannot be used");
    let builder = || service_account::Builder::new(json.clone());
    let signer = builder().build_signer().map_err(unusable)?;
    signer
        .sign("fill-audit")
        .await
        .map_err(|_unsaid| auth(place, "its private key cannot sign"))?;
    let credentials = builder()
        .build()
        .map_err(|_unsaid| auth(place, "the client refuses it"))?;
    let email = json
        .get("client_email")
        .and_then(Value::as_str)
        .unwrap_or_default();
    Ok(Identity {
        credentials,
        signer: Some((signer, LinkKind::OwnKey)),
        words: format!("{email} ({place})"),
    })
}

async fn metadata_server_answers(address: ([u8; 4], u16), limits: &Limits) -> bool {
    let wait = limits.connect.min(std::time::Duration::from_millis(700));
    let connect = tokio::net::TcpStream::connect(std::net::SocketAddr::from(address));
    matches!(tokio::time::timeout(wait, connect).await, Ok(Ok(_)))
}

pub(super) fn auth(place: &str, detail: &str) -> StorageError {
    StorageError::Auth {
        detail: format!("{place} {detail}"),
        remedy: REMEDY.into(),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]
    use super::*;

    fn variable(value: &str) -> Environment {
        Environment {
            firebase_credentials: Some(value.into()),
            ..Environment::default()
        }
    }

    async fn refusal(value: &str) -> String {
        let environment = variable(value);
        find(None, &environment, &Limits::for_tests())
            .await
            .unwrap_err()
            .to_string()
    }

    #[tokio::test]
    async fn wrong_credentials_are_named_without_being_quoted() {
        assert!(
            refusal("/no/such/file.json")
                .await
                .contains("/no/such/file.json")
        );
        let cut = refusal("{\"private_key\": \"SECRET").await;
        assert!(
            cut.contains("FIREBASE_CREDENTIALS") && !cut.contains("SECRET"),
            "{cut}"
        );
        let bogus = r#"{"type":"service_account","client_email":"a@b","private_key_id":"1",
            "private_key":"SECRET","project_id":"p"}"#;
        let said = refusal(bogus).await;
        assert!(
            said.contains("private key") && !said.contains("SECRET"),
            "{said}"
        );
        let lacking = refusal(r#"{"type":"service_account","client_email":"a@b"}"#).await;
        assert!(lacking.contains("private_key"), "{lacking}");
        assert!(refusal(r#"{"type":"other"}"#).await.contains("\"other\""));
    }

    const NOBODY: ([u8; 4], u16) = ([127, 0, 0, 1], 9);

    #[tokio::test]
    async fn without_any_credentials_it_says_what_to_do() {
        let environment = Environment::default();
        let error = find_beside(NOBODY, None, &environment, &Limits::for_tests(), SCOPE)
            .await
            .unwrap_err();
        assert!(matches!(error, StorageError::Auth { .. }), "{error}");
        let said = error.to_string();
        for word in ["there are none", "FIREBASE_CREDENTIALS", "gcloud auth"] {
            assert!(said.contains(word), "{said}");
        }
    }

    #[tokio::test]
    async fn application_default_credentials_are_told_apart_by_what_they_sign() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("application_default_credentials.json");
        let login = r#"{"type": "authorized_user", "client_id": "1.apps", "client_secret": "SECRET",
            "refresh_token": "SECRET"}"#;
        let impersonated = format!(
            r#"{{"type": "impersonated_service_account", "source_credentials": {login},
            "service_account_impersonation_url": "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/audit@p.iam.gserviceaccount.com:generateAccessToken"}}"#
        );
        let environment = Environment {
            default_credentials: Some(path.clone()),
            ..Environment::default()
        };
        let found = async |text: &str| {
            std::fs::write(&path, text).unwrap();
            find_beside(NOBODY, None, &environment, &Limits::for_tests(), SCOPE).await
        };
        let user = found(login).await.unwrap();
        assert!(user.words.starts_with("a user's login ("), "{user:?}");
        assert!(user.signer.is_none(), "a login has nothing to sign with");
        let account = found(&impersonated).await.unwrap();
        assert!(account.words.contains("impersonated"), "{account:?}");
        let (signer, kind) = account.signer.clone().unwrap();
        assert_eq!(kind, LinkKind::SignBlob);
        let email = signer.client_email().await.unwrap();
        assert_eq!(email, "audit@p.iam.gserviceaccount.com");
        for identity in [&user, &account] {
            let shown = format!("{identity:?}");
            assert!(shown.contains("application_default") && !shown.contains("SECRET"));
        }
        // The variable goes before them; a file that lacks what it needs is refused without being quoted.
        let key = concat!(
            env!("CARGO_MANIFEST_DIR"),
            "/tests/fixtures/signing/key.json"
        );
        let both = Environment {
            firebase_credentials: Some(key.into()),
            ..environment.clone()
        };
        let own = find_beside(NOBODY, None, &both, &Limits::for_tests(), SCOPE).await;
        assert_eq!(own.unwrap().signer.unwrap().1, LinkKind::OwnKey);
        let lacking = found(r#"{"type": "authorized_user", "client_secret": "SECRET"}"#).await;
        let said = lacking.unwrap_err().to_string();
        assert!(
            said.contains("authorized_user") && !said.contains("SECRET"),
            "{said}"
        );
    }

    #[cfg(not(windows))]
    #[test]
    fn a_login_is_found_where_gcloud_leaves_it() {
        let home = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let text = |path: &Path| Some(path.display().to_string());
        let found = || {
            Environment::from_variables(|name| match name {
                "HOME" => text(home.path()),
                "XDG_CONFIG_HOME" => text(elsewhere.path()),
                _ => None,
            })
            .default_credentials
        };
        let put = |folder: PathBuf| {
            std::fs::create_dir_all(&folder).unwrap();
            let path = folder.join("application_default_credentials.json");
            std::fs::write(&path, "{}").unwrap();
            path
        };
        put(elsewhere.path().join("gcloud"));
        assert_eq!(found(), None, "gcloud does not write there");
        let path = put(home.path().join(".config/gcloud"));
        assert_eq!(found(), Some(path));
    }

    #[test]
    fn emulator_addresses_are_taken_in_every_usual_form() {
        let endpoint = |host: &str| {
            Environment {
                emulator_host: Some(host.into()),
                ..Environment::default()
            }
            .endpoint()
        };
        assert_eq!(endpoint("127.0.0.4").unwrap(), "http://127.0.0.4");
        assert_eq!(endpoint("127.0.0.4:80").unwrap(), "http://127.0.0.4:80");
        assert_eq!(endpoint("http://127.0.0.4/").unwrap(), "http://127.0.0.4");
        assert!(endpoint("ftp://x").is_err());
        assert_eq!(Environment::default().endpoint().unwrap(), GOOGLE_ENDPOINT);
    }
}
