//! The JSON calls that the client crate has over gRPC only: list, metadata, delete; and the server's clock.

use std::time::SystemTime;

use base64::Engine as _;
use reqwest::Method;
use serde::Deserialize;

use super::super::store::{ListPage, ListQuery};
use super::super::{ObjectMeta, ObjectName, Precondition, Result, StorageError};
use super::{Gcs, errors, retry, sign};

const OBJECT_FIELDS: &str = "name,size,generation,crc32c,updated";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireList {
    #[serde(default)]
    items: Vec<WireObject>,
    #[serde(default)]
    prefixes: Vec<String>,
    next_page_token: Option<String>,
}

#[derive(Deserialize)]
struct WireObject {
    name: String,
    size: String,
    generation: String,
    crc32c: Option<String>,
    updated: Option<String>,
}

impl Gcs {
    pub(super) async fn list_page(&self, query: &ListQuery) -> Result<ListPage> {
        let mut params = vec![
            ("prefix", query.prefix.clone()),
            (
                "fields",
                format!("items({OBJECT_FIELDS}),prefixes,nextPageToken"),
            ),
        ];
        if query.by_folder {
            params.push(("delimiter", "/".to_owned()));
        }
        if query.page_size > 0 {
            params.push(("maxResults", query.page_size.to_string()));
        }
        if let Some(token) = &query.page_token {
            params.push(("pageToken", token.clone()));
        }
        let url = format!("{}/storage/v1/b/{}/o", self.endpoint, self.bucket);
        let place = format!("the list of gs://{}/{}", self.bucket, query.prefix);
        let body = self.call(Method::GET, &url, &params, &place).await?;
        let wire: WireList = parse(&body, &place)?;
        let mut page = ListPage {
            prefixes: wire.prefixes,
            next_page: wire.next_page_token.filter(|t| !t.is_empty()),
            objects: Vec::with_capacity(wire.items.len()),
        };
        for item in wire.items {
            match ObjectName::new(item.name.clone()) {
                Ok(name) => page.objects.push(item.into_meta(name, &place)?),
                Err(error) => tracing::warn!(%error, "an object is left out of the list"),
            }
        }
        Ok(page)
    }

    pub(super) async fn object_meta(&self, name: &ObjectName) -> Result<ObjectMeta> {
        let place = self.place_of(name);
        let params = [("fields", OBJECT_FIELDS.to_owned())];
        let body = self
            .call(Method::GET, &self.object_url(name), &params, &place)
            .await?;
        let wire: WireObject = parse(&body, &place)?;
        if wire.name != name.as_str() {
            return Err(StorageError::Corrupt {
                place,
                detail: "the server answered about another object".into(),
            });
        }
        wire.into_meta(name.clone(), &place)
    }

    pub(super) async fn delete_object(
        &self,
        name: &ObjectName,
        condition: Precondition,
    ) -> Result<()> {
        let params = match condition {
            Precondition::None => Vec::new(),
            Precondition::Absent => vec![("ifGenerationMatch", "0".to_owned())],
            Precondition::Generation(g) => vec![("ifGenerationMatch", g.to_string())],
        };
        let place = self.place_of(name);
        self.call(Method::DELETE, &self.object_url(name), &params, &place)
            .await?;
        Ok(())
    }

    /// What the server's clock shows, to the second. It is asked without credentials and any answer tells it:
    /// a wrong clock here is what makes a server refuse them.
    ///
    /// # Errors
    /// Failures of the network; [`StorageError::Corrupt`] if the answer has no readable `Date`.
    pub async fn server_time(&self) -> Result<SystemTime> {
        let place = format!("the clock of {}", self.endpoint);
        let date = retry::retry(&self.limits, |_attempt| async {
            let answer =
                tokio::time::timeout(self.limits.idle, self.http.get(&self.endpoint).send())
                    .await
                    .map_err(|_elapsed| errors::transient(&place, "no answer in time"))?
                    .map_err(|e| errors::from_reqwest(&e, &place))?;
            let date = answer.headers().get("date").and_then(|v| v.to_str().ok());
            Ok(date.unwrap_or_default().to_owned())
        })
        .await?;
        jiff::fmt::rfc2822::parse(&date)
            .map(|zoned| zoned.timestamp().into())
            .map_err(|_unreadable| StorageError::Corrupt {
                place,
                detail: format!("unreadable Date header {date:?}"),
            })
    }

    /// Whether the bucket itself is there.
    ///
    /// # Errors
    /// [`StorageError::NotFound`] if not; what any call returns.
    pub async fn check_bucket_exists(&self) -> Result<()> {
        let url = format!("{}/storage/v1/b/{}", self.endpoint, self.bucket);
        let place = format!("bucket gs://{}", self.bucket);
        let params = [("fields", "name".to_owned())];
        self.call(Method::GET, &url, &params, &place)
            .await
            .map(|_| ())
    }

    /// Whether anyone may read `url` without credentials. Any other answer than 200 is a no.
    pub(super) async fn is_public(&self, url: &str) -> Result<bool> {
        let place = "public access";
        let answer = tokio::time::timeout(self.limits.idle, self.http.head(url).send())
            .await
            .map_err(|_elapsed| errors::transient(place, "no answer in time"))?
            .map_err(|e| errors::from_reqwest(&e, place))?;
        Ok(answer.status().as_u16() == 200)
    }

    /// Whether a signed link is accepted: asks for its first byte.
    ///
    /// # Errors
    /// What the server says to it, without the link itself.
    pub async fn try_link(&self, url: &str) -> Result<()> {
        let place = "a freshly signed link";
        let request = self.http.get(url).header("range", "bytes=0-0").send();
        let answer = tokio::time::timeout(self.limits.idle, request)
            .await
            .map_err(|_elapsed| errors::transient(place, "no answer in time"))?
            .map_err(|e| errors::from_reqwest(&e, place))?;
        let status = answer.status().as_u16();
        if matches!(status, 200 | 206 | 416) {
            return Ok(());
        }
        Err(errors::from_status(status, b"", None, place))
    }

    fn object_url(&self, name: &ObjectName) -> String {
        let encoded = sign::encode_all(name.as_str());
        format!("{}/storage/v1/b/{}/o/{encoded}", self.endpoint, self.bucket)
    }

    /// One JSON call with retries; every attempt ends within [`super::Limits::idle`].
    async fn call(
        &self,
        method: Method,
        url: &str,
        params: &[(&str, String)],
        place: &str,
    ) -> Result<Vec<u8>> {
        retry::retry(&self.limits, |attempt| {
            let method = method.clone();
            async move {
                let once = self.call_once(method.clone(), url, params, place);
                let result = tokio::time::timeout(self.limits.idle, once)
                    .await
                    .unwrap_or_else(|_elapsed| Err(errors::transient(place, "no answer in time")));
                match result {
                    // The first attempt may have deleted it before its answer was lost.
                    Err(StorageError::NotFound { .. })
                        if attempt > 1 && method == Method::DELETE =>
                    {
                        Ok(Vec::new())
                    }
                    other => other,
                }
            }
        })
        .await
    }

    async fn call_once(
        &self,
        method: Method,
        url: &str,
        params: &[(&str, String)],
        place: &str,
    ) -> Result<Vec<u8>> {
        let wrong_url = |e: url::ParseError| StorageError::Config {
            problem: format!("the address cannot be used: {e}"),
            place: self.endpoint.clone(),
            remedy: "check STORAGE_EMULATOR_HOST".into(),
        };
        let url = if params.is_empty() {
            reqwest::Url::parse(url)
        } else {
            reqwest::Url::parse_with_params(url, params)
        }
        .map_err(wrong_url)?;
        let headers = self.identity.headers(place).await?;
        let answer = self
            .http
            .request(method, url)
            .headers(headers)
            .send()
            .await
            .map_err(|e| errors::from_reqwest(&e, place))?;
        let status = answer.status();
        let headers = answer.headers().clone();
        let body = answer
            .bytes()
            .await
            .map_err(|e| errors::from_reqwest(&e, place))?;
        if status.is_success() {
            return Ok(body.to_vec());
        }
        let wait = headers.get("retry-after").and_then(|v| v.to_str().ok());
        Err(errors::from_status(status.as_u16(), &body, wait, place))
    }
}

impl WireObject {
    fn into_meta(self, name: ObjectName, place: &str) -> Result<ObjectMeta> {
        let wrong = |what: &str, value: &str| StorageError::Corrupt {
            place: place.to_owned(),
            detail: format!("{what} of {name} is unreadable: {value:?}"),
        };
        let crc32c = match &self.crc32c {
            None => None,
            Some(text) => Some(decode_crc(text).ok_or_else(|| wrong("crc32c", text))?),
        };
        let updated_secs = self
            .updated
            .as_deref()
            .and_then(|t| t.parse::<jiff::Timestamp>().ok())
            .map_or(0, jiff::Timestamp::as_second);
        Ok(ObjectMeta {
            size_bytes: self
                .size
                .parse()
                .map_err(|_unreadable| wrong("size", &self.size))?,
            generation: self
                .generation
                .parse()
                .ok()
                .filter(|g| *g > 0)
                .ok_or_else(|| wrong("generation", &self.generation))?,
            crc32c,
            updated_secs,
            name,
        })
    }
}

fn decode_crc(text: &str) -> Option<u32> {
    let bytes = base64::prelude::BASE64_STANDARD.decode(text).ok()?;
    Some(u32::from_be_bytes(bytes.try_into().ok()?))
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8], place: &str) -> Result<T> {
    serde_json::from_slice(body).map_err(|e| StorageError::Corrupt {
        place: place.to_owned(),
        detail: format!(
            "the answer is not the JSON that was expected (line {}, column {})",
            e.line(),
            e.column()
        ),
    })
}
