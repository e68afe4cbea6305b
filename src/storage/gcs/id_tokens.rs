//! By which of our credentials a token for one private service can be had. Whoever calls the service asks for
//! it; see `remote::id_token`.

use std::path::Path;

use base64::Engine as _;
use google_cloud_auth::signer::Signer;
use serde_json::Value;

use super::super::{Result, StorageError};
use super::credentials::{
    CLOUD_SCOPE, Environment, Identity, REMEDY, auth, from_json, from_variable, own_identity,
    read_json,
};

/// Where a service account's key is exchanged for a token, unless its file says otherwise.
const TOKEN_URI: &str = "https://oauth2.googleapis.com/token";

/// How a token that says who we are to one service can be had.
#[derive(Debug, Clone)]
pub enum IdTokenWay {
    /// Google's metadata server gives it, on Google's own machines.
    Metadata,
    /// A service account's key signs a request for it.
    Key(ServiceKey),
    /// A service account that this login may act for.
    Impersonated {
        /// Who asks.
        source: Identity,
        /// The address that gives the token.
        url: String,
    },
}

/// A service account's own key.
#[derive(Clone)]
pub struct ServiceKey {
    signer: Signer,
    key_id: String,
    /// The account.
    pub email: String,
    /// Where signed requests go.
    pub token_uri: String,
}

impl std::fmt::Debug for ServiceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServiceKey")
            .field("email", &self.email)
            .finish_non_exhaustive()
    }
}

impl ServiceKey {
    /// Claims as a signed JSON Web Token (RS256).
    ///
    /// # Errors
    /// [`StorageError::Auth`] if the key cannot sign.
    pub async fn signed(&self, claims: &Value) -> Result<String> {
        let header = serde_json::json!({"alg": "RS256", "kid": self.key_id, "typ": "JWT"});
        let encode = |bytes: &[u8]| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes);
        let text = format!(
            "{}.{}",
            encode(header.to_string().as_bytes()),
            encode(claims.to_string().as_bytes())
        );
        let signature = self
            .signer
            .sign(text.as_bytes())
            .await
            .map_err(|_unsaid| auth(&self.email, "its private key cannot sign"))?;
        Ok(format!("{text}.{}", encode(&signature)))
    }
}

/// How a token for one service can be had with the credentials that [`super::credentials::find`] finds.
///
/// # Errors
/// [`StorageError::Auth`] if there are none, or they are of a kind that gives no such token; it says what to
/// do.
pub async fn id_token_way(
    configured: Option<&Path>,
    environment: &Environment,
) -> Result<IdTokenWay> {
    let explicit = match (
        &environment.firebase_credentials,
        configured,
        environment.default_credentials.as_deref(),
    ) {
        (Some(value), _, _) => Some(from_variable(value)?),
        (None, Some(path), _) | (None, None, Some(path)) => {
            Some((read_json(path)?, path.display().to_string()))
        }
        (None, None, None) => None,
    };
    let Some((json, place)) = explicit else {
        if environment.on_google {
            return Ok(IdTokenWay::Metadata);
        }
        return Err(StorageError::Auth {
            detail: "there are none".into(),
            remedy: REMEDY.into(),
        });
    };
    let text = |field: &str| json.get(field).and_then(Value::as_str);
    match text("type").unwrap_or_default() {
        "service_account" => {
            let identity = own_identity(&json, &place).await?;
            let Some((signer, _)) = identity.signer else {
                return Err(auth(&place, "its private key cannot sign"));
            };
            let owned = |field: &str| text(field).unwrap_or_default().to_owned();
            Ok(IdTokenWay::Key(ServiceKey {
                signer,
                key_id: owned("private_key_id"),
                email: owned("client_email"),
                token_uri: text("token_uri").unwrap_or(TOKEN_URI).to_owned(),
            }))
        }
        "impersonated_service_account" => {
            let url = text("service_account_impersonation_url").unwrap_or_default();
            let url = url
                .strip_suffix(":generateAccessToken")
                .ok_or_else(|| auth(&place, "names no account to act for"))?;
            let source = json
                .get("source_credentials")
                .ok_or_else(|| auth(&place, "has no \"source_credentials\""))?;
            Ok(IdTokenWay::Impersonated {
                source: from_json(source, &place, CLOUD_SCOPE).await?,
                url: format!("{url}:generateIdToken"),
            })
        }
        kind => Err(StorageError::Auth {
            detail: format!(
                "{place} is a login of the type {kind:?}, which gives no token for one service"
            ),
            remedy:
                "act for a service account that may call it: gcloud auth application-default login \
                     --impersonate-service-account=ACCOUNT; or set FIREBASE_CREDENTIALS to its JSON"
                    .into(),
        }),
    }
}
