//! Tokens for a private service, from a fake of those who give them.

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use base64::Engine as _;
use fill_audit::remote::id_token::{IdTokenError, IdTokens};
use fill_audit::storage::gcs::id_tokens::{IdTokenWay, id_token_way};
use fill_audit::storage::gcs::{Environment, Identity};
use serde_json::{Value, json};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

const SERVICE: &str = "https://worker-1.a.run.app";
const BASE64: base64::engine::GeneralPurpose = base64::engine::general_purpose::URL_SAFE_NO_PAD;

#[derive(Clone, Default)]
struct Giver {
    seen: Arc<Mutex<Vec<(String, HeaderMap, String)>>>,
    /// Status and body in place of a token.
    refusal: Arc<Mutex<Option<(u16, String)>>>,
}

/// Five minutes past the hour that the tests begin at.
fn later() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000 + 3600)
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_800_000_000)
}

/// The nth token: it ends an hour after `now`.
fn token(number: usize) -> String {
    let claims = json!({"aud": SERVICE, "exp": 1_800_003_600_u64, "n": number});
    format!(
        "{}.{}.c2ln",
        BASE64.encode("{}"),
        BASE64.encode(claims.to_string())
    )
}

async fn give(
    State(giver): State<Giver>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let body = String::from_utf8_lossy(&body).into_owned();
    let number = {
        let mut seen = giver.seen.lock().unwrap();
        seen.push((format!("{method} {uri}"), headers, body));
        seen.len()
    };
    if let Some((status, text)) = giver.refusal.lock().unwrap().clone() {
        return Response::builder()
            .status(status)
            .body(Body::from(text))
            .unwrap();
    }
    let text = match uri.path() {
        "/token" => json!({"id_token": token(number)}).to_string(),
        path if path.ends_with(":generateIdToken") => json!({"token": token(number)}).to_string(),
        _ => token(number),
    };
    Response::new(Body::from(text))
}

async fn start() -> (Giver, String) {
    let giver = Giver::default();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let router = Router::new().fallback(give).with_state(giver.clone());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(router.clone());
            tokio::spawn(async move {
                let io = hyper_util::rt::TokioIo::new(stream);
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(io, service)
                    .await;
            });
        }
    });
    (giver, address)
}

#[tokio::test]
async fn the_metadata_server_gives_one_for_the_service_and_it_is_kept() {
    let (giver, address) = start().await;
    let service = format!("{SERVICE}/audit/r1/events");
    let tokens = IdTokens::new(&service, IdTokenWay::Metadata, &address).unwrap();
    let early = tokens.clone().with_clock(now);
    let first = early.header_value().await.unwrap();
    assert_eq!(first, format!("Bearer {}", token(1)));
    assert_eq!(
        early.header_value().await.unwrap(),
        first,
        "asked for twice"
    );
    let late = tokens.clone().with_clock(later);
    assert_eq!(
        late.header_value().await.unwrap(),
        format!("Bearer {}", token(2))
    );
    early.forget().await;
    assert_eq!(
        early.header_value().await.unwrap(),
        format!("Bearer {}", token(3))
    );
    let seen = giver.seen.lock().unwrap();
    let (line, headers, _) = &seen[0];
    assert_eq!(
        line,
        "GET /computeMetadata/v1/instance/service-accounts/default/identity\
         ?audience=https%3A%2F%2Fworker-1.a.run.app&format=full"
    );
    assert_eq!(headers["metadata-flavor"], "Google");
    assert!(!format!("{tokens:?}").contains("ey"), "{tokens:?}");
}

#[tokio::test]
async fn a_service_accounts_key_asks_for_one_at_its_token_address() {
    let (giver, address) = start().await;
    let key = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/signing/key.json");
    let mut key: Value = serde_json::from_str(&std::fs::read_to_string(key).unwrap()).unwrap();
    key["token_uri"] = json!(format!("{address}/token"));
    let environment = Environment {
        firebase_credentials: Some(key.to_string()),
        ..Environment::default()
    };
    let tokens = IdTokens::find(SERVICE, None, &environment).await.unwrap();
    let value = tokens.with_clock(now).header_value().await.unwrap();
    assert_eq!(value, format!("Bearer {}", token(1)));
    let seen = giver.seen.lock().unwrap();
    let (line, headers, body) = &seen[0];
    assert_eq!(line, "POST /token");
    assert_eq!(headers["content-type"], "application/x-www-form-urlencoded");
    let (grant, assertion) = body.split_once("&assertion=").unwrap();
    assert_eq!(
        grant,
        "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer"
    );
    let parts: Vec<&str> = assertion.split('.').collect();
    assert_eq!(parts.len(), 3);
    let read =
        |part: &str| -> Value { serde_json::from_slice(&BASE64.decode(part).unwrap()).unwrap() };
    assert_eq!(
        read(parts[0]),
        json!({"alg": "RS256", "kid": key["private_key_id"], "typ": "JWT"})
    );
    assert_eq!(
        read(parts[1]),
        json!({
            "aud": format!("{address}/token"), "exp": 1_800_003_600_u64, "iat": 1_800_000_000_u64,
            "iss": key["client_email"], "target_audience": SERVICE,
        })
    );
    assert_eq!(
        BASE64.decode(parts[2]).unwrap().len(),
        256,
        "an RSA signature"
    );
}

#[tokio::test]
async fn an_account_that_is_acted_for_gives_one_through_iam() {
    let (giver, address) = start().await;
    let way = IdTokenWay::Impersonated {
        source: Identity::anonymous(),
        url: format!("{address}/v1/projects/-/serviceAccounts/a@b.c:generateIdToken"),
    };
    let tokens = IdTokens::new(SERVICE, way, "http://127.0.0.1:9").unwrap();
    tokens.with_clock(now).header_value().await.unwrap();
    let (line, _, body) = giver.seen.lock().unwrap()[0].clone();
    assert_eq!(
        line,
        "POST /v1/projects/-/serviceAccounts/a@b.c:generateIdToken"
    );
    assert_eq!(
        body,
        r#"{"audience":"https://worker-1.a.run.app","includeEmail":true}"#
    );

    // As gcloud leaves such a login.
    let json = json!({
        "type": "impersonated_service_account",
        "service_account_impersonation_url":
            "https://iamcredentials.googleapis.com/v1/projects/-/serviceAccounts/a@b.c:generateAccessToken",
        "source_credentials": {
            "type": "authorized_user", "client_id": "i", "client_secret": "s", "refresh_token": "r"
        }
    });
    let environment = |json: &Value| Environment {
        firebase_credentials: Some(json.to_string()),
        ..Environment::default()
    };
    let way = id_token_way(None, &environment(&json)).await.unwrap();
    let IdTokenWay::Impersonated { url, .. } = way else {
        panic!("{way:?}");
    };
    assert!(
        url.ends_with("/serviceAccounts/a@b.c:generateIdToken"),
        "{url}"
    );
    // A user's own login gives none for a service: it says what does.
    let user = id_token_way(None, &environment(&json["source_credentials"])).await;
    let error = user.unwrap_err().to_string();
    assert!(error.contains("--impersonate-service-account"), "{error}");
    let nobody = id_token_way(None, &Environment::default()).await;
    assert!(nobody.unwrap_err().to_string().contains("there are none"));
}

#[tokio::test]
async fn refusals_are_told_and_what_is_no_token_is_not_taken() {
    let (giver, address) = start().await;
    let tokens = IdTokens::new(SERVICE, IdTokenWay::Metadata, &address).unwrap();
    let refuse = |status: u16, text: &str| {
        *giver.refusal.lock().unwrap() = Some((status, text.to_owned()));
    };
    refuse(
        403,
        r#"{"error": {"message": "missing iam.serviceAccounts.getOpenIdToken"}}"#,
    );
    let error = tokens.header_value().await.unwrap_err().to_string();
    assert!(
        error.contains("HTTP 403") && error.contains("getOpenIdToken"),
        "{error}"
    );
    for text in [
        "",
        "<html>",
        "a.b.c",
        &format!("{}\r\nX-Other: 1", token(1)),
    ] {
        refuse(200, text);
        let error = tokens.header_value().await.unwrap_err();
        assert!(
            matches!(error, IdTokenError::Malformed { .. }),
            "{text}: {error}"
        );
    }
    let away = IdTokens::new(SERVICE, IdTokenWay::Metadata, "http://127.0.0.1:9").unwrap();
    let error = away.header_value().await.unwrap_err();
    assert!(matches!(error, IdTokenError::Offline { .. }), "{error}");
    let wrong = IdTokens::new("http://worker-1.a.run.app", IdTokenWay::Metadata, &address);
    assert!(matches!(wrong, Err(IdTokenError::Audience(_))));
}
