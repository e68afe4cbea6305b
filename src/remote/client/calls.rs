//! One typed call for each of a worker's addresses. A call tries once; who may try again is decided by
//! [`ClientError::may_pass`].

use super::sse::{Parser, SentEvent};
use super::token::TokenSource;
use super::{ClientError, WorkerAddress};
use crate::audit::hash;
use crate::model::ids::RunId;
use crate::remote::id_token::{self, IdTokenError, IdTokens};
use crate::remote::wire::{
    Accepted, AuditRequest, ErrorAnswer, GpuAnswer, RunAnswer, RunEvent, RunFile, RunFiles, Status,
    urls,
};
use crate::storage::StorageError;
use futures::StreamExt as _;
use futures::stream::BoxStream;
use reqwest::header::{self, HeaderValue};
use reqwest::{Method, RequestBuilder, Response, StatusCode};
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;

/// The longest answer in JSON: a run of thousands of cells.
const MAX_JSON_BYTES: u64 = 64 << 20;
/// The longest file: a picture of 100 megapixels.
const MAX_FILE_BYTES: u64 = 512 << 20;

/// How long things may take. The defaults are for the program; tests give shorter ones.
#[derive(Debug, Clone)]
pub struct ClientOptions {
    /// For a connection to be there. Default 10 s.
    pub connect: Duration,
    /// Without a byte of an answer or a stream; a worker sends one every 15 s. Default 45 s.
    pub idle: Duration,
    /// The first wait after something failed. Default half a second.
    pub first_wait: Duration,
    /// The longest wait. Default 30 s.
    pub longest_wait: Duration,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(45),
            first_wait: Duration::from_millis(500),
            longest_wait: Duration::from_secs(30),
        }
    }
}

/// One who asks a worker.
#[derive(Debug, Clone)]
pub struct WorkerClient {
    pub(super) http: reqwest::Client,
    pub(super) address: WorkerAddress,
    pub(super) token: Arc<dyn TokenSource>,
    pub(super) options: ClientOptions,
    pub(super) identity: Option<IdTokens>,
}

impl WorkerClient {
    /// A client of the worker at an address.
    ///
    /// # Errors
    /// [`ClientError::Offline`] if the system's certificates cannot be used.
    pub fn new(
        address: WorkerAddress,
        token: Arc<dyn TokenSource>,
        options: ClientOptions,
    ) -> Result<Self, ClientError> {
        crate::storage::gcs::choose_tls();
        let mut builder = reqwest::Client::builder()
            .connect_timeout(options.connect)
            .read_timeout(options.idle)
            // A token goes to the worker that it is for and to nobody else.
            .redirect(reqwest::redirect::Policy::none());
        if address.is_this_machine() {
            builder = builder.no_proxy();
        }
        let http = builder.build().map_err(|error| ClientError::Offline {
            worker: address.to_string(),
            problem: root_of(&error),
        })?;
        Ok(Self {
            http,
            address,
            token,
            options,
            identity: None,
        })
    }

    /// The same, showing a private service of Cloud Run who asks. The worker's own token goes beside it.
    #[must_use]
    pub fn with_identity(mut self, identity: IdTokens) -> Self {
        self.identity = Some(identity);
        self
    }

    /// The worker.
    pub fn address(&self) -> &WorkerAddress {
        &self.address
    }

    /// What the worker computes on.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn gpu(&self) -> Result<GpuAnswer, ClientError> {
        self.json(Method::GET, "/gpu").await
    }

    /// Asks for a run. A request under a name that the worker knows, with the same settings, is the same
    /// run; so it may be sent again where an answer was lost.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn start(&self, request: &AuditRequest) -> Result<Accepted, ClientError> {
        let body = serde_json::to_vec(request).map_err(|error| ClientError::Refused {
            worker: self.address.to_string(),
            status: 0,
            problem: format!("the request cannot be written as JSON: {error}"),
        })?;
        let call = self
            .call(Method::POST, "/audit")
            .await?
            .header(header::CONTENT_TYPE, "application/json")
            .body(body);
        self.read(self.send(call).await?).await
    }

    /// How far a run is.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn status(&self, run_id: &RunId) -> Result<Status, ClientError> {
        self.json(Method::GET, &urls::status(run_id)).await
    }

    /// The run with its cells and timings.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn run(&self, run_id: &RunId) -> Result<RunAnswer, ClientError> {
        self.json(Method::GET, &urls::run(run_id)).await
    }

    /// Asks a run to stop.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Refused`] with 409 if it has ended by itself.
    pub async fn cancel(&self, run_id: &RunId) -> Result<Status, ClientError> {
        self.json(Method::DELETE, &urls::run(run_id)).await
    }

    /// The files of a run that are whole.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn files(&self, run_id: &RunId) -> Result<RunFiles, ClientError> {
        self.json(Method::GET, &urls::files(run_id)).await
    }

    /// One of a run's files, whole and with the hash that the worker says. It may be a newer one than the
    /// list had: its hash is then another.
    ///
    /// # Errors
    /// [`ClientError`]; [`ClientError::Damaged`] if the bytes are not those of the hash.
    pub async fn file(
        &self,
        run_id: &RunId,
        file: &RunFile,
    ) -> Result<(Vec<u8>, String), ClientError> {
        let url = urls::file(run_id, &file.name);
        let answer = self.send(self.call(Method::GET, &url).await?).await?;
        let tag = answer.headers().get(header::ETAG);
        let tag = tag.and_then(|tag| tag.to_str().ok()).unwrap_or_default();
        let sha256 = tag.trim_matches('"').to_owned();
        let bytes = self.bytes(answer, MAX_FILE_BYTES).await?;
        if hash::sha256(&bytes) != sha256 {
            return Err(ClientError::Damaged {
                worker: self.address.to_string(),
                file: file.name.clone(),
            });
        }
        Ok((bytes, sha256))
    }

    /// Follows a run's events from after the one that was seen last. `None` where there will be no more.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn events(
        &self,
        run_id: &RunId,
        seen: Option<&str>,
    ) -> Result<Option<EventStream>, ClientError> {
        let mut call = self
            .call(Method::GET, &urls::events(run_id))
            .await?
            .header(header::ACCEPT, "text/event-stream");
        if let Some(seen) = seen {
            call = call.header("Last-Event-ID", seen);
        }
        let answer = self.send(call).await?;
        if answer.status() == StatusCode::NO_CONTENT {
            return Ok(None);
        }
        let kind = answer.headers().get(header::CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if !kind.starts_with("text/event-stream") {
            return Err(self.not_a_worker(&format!("its events are {kind:?}")));
        }
        Ok(Some(EventStream {
            worker: self.address.to_string(),
            pieces: answer.bytes_stream().boxed(),
            parser: Parser::default(),
        }))
    }

    pub(super) async fn call(
        &self,
        method: Method,
        path: &str,
    ) -> Result<RequestBuilder, ClientError> {
        let mut call = self.http.request(method, self.address.join(path));
        if let Some(identity) = &self.identity {
            call = call.header(id_token::HEADER, self.shown(identity).await?);
        }
        Ok(match self.token.token().await? {
            Some(token) => call.bearer_auth(token),
            None => call,
        })
    }

    /// What shows a private service who asks.
    async fn shown(&self, identity: &IdTokens) -> Result<HeaderValue, ClientError> {
        let shown = identity.header_value().await;
        let shown = shown.map_err(|error| token_trouble(self.address.to_string(), error))?;
        let mut shown = HeaderValue::from_str(&shown).map_err(|_odd_characters| {
            ClientError::Token("the ID token has characters that no header can carry".to_owned())
        })?;
        shown.set_sensitive(true);
        Ok(shown)
    }

    /// Sends a call, and once more with a new ID token where the one that was kept is not taken any more.
    pub(super) async fn send(&self, call: RequestBuilder) -> Result<Response, ClientError> {
        let again = call.try_clone();
        let mut answer = call.send().await.map_err(|error| self.offline(&error))?;
        if let (Some(identity), Some(again)) = (&self.identity, again)
            && matches!(
                answer.status(),
                StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN
            )
        {
            identity.forget().await;
            let shown = self.shown(identity).await?;
            let mut request = again.build().map_err(|error| self.offline(&error))?;
            request.headers_mut().insert(id_token::HEADER, shown);
            let answered = self.http.execute(request).await;
            answer = answered.map_err(|error| self.offline(&error))?;
        }
        if answer.status().is_success() {
            Ok(answer)
        } else {
            Err(self.refusal(answer).await)
        }
    }

    async fn json<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
    ) -> Result<T, ClientError> {
        let answer = self.send(self.call(method, path).await?).await?;
        self.read(answer).await
    }

    async fn read<T: DeserializeOwned>(&self, answer: Response) -> Result<T, ClientError> {
        let bytes = self.bytes(answer, MAX_JSON_BYTES).await?;
        serde_json::from_slice(&bytes).map_err(|error| self.not_a_worker(&error.to_string()))
    }

    /// All of an answer, if it is no longer than it may be.
    pub(super) async fn bytes(&self, answer: Response, limit: u64) -> Result<Vec<u8>, ClientError> {
        let announced = answer.content_length();
        if announced.is_some_and(|length| length > limit) {
            return Err(self.not_a_worker("an answer is longer than any can be"));
        }
        let mut bytes = Vec::new();
        let mut pieces = answer.bytes_stream();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| self.offline(&error))?;
            if (bytes.len() + piece.len()) as u64 > limit {
                return Err(self.not_a_worker("an answer is longer than any can be"));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    }

    fn offline(&self, error: &reqwest::Error) -> ClientError {
        ClientError::Offline {
            worker: self.address.to_string(),
            problem: root_of(error),
        }
    }

    fn not_a_worker(&self, problem: &str) -> ClientError {
        ClientError::NotAWorker {
            worker: self.address.to_string(),
            problem: problem.to_owned(),
        }
    }

    /// What an answer above 299 means.
    async fn refusal(&self, answer: Response) -> ClientError {
        let status = answer.status();
        let retry_after = answer
            .headers()
            .get(header::RETRY_AFTER)
            .and_then(|value| value.to_str().ok()?.parse().ok())
            .map(|secs: u64| Duration::from_secs(secs.min(600)));
        let sentence = self
            .bytes(answer, 64 << 10)
            .await
            .ok()
            .and_then(|bytes| serde_json::from_slice::<ErrorAnswer>(&bytes).ok())
            .map(|answer| answer.error);
        let is_ours = sentence.is_some();
        let problem = sentence.unwrap_or_else(|| status.to_string());
        let worker = self.address.to_string();
        match status {
            // Cloud Run's own answer is no JSON: it does not know the account.
            StatusCode::UNAUTHORIZED if !is_ours => ClientError::Forbidden { worker, problem },
            StatusCode::UNAUTHORIZED => ClientError::Unauthorized { worker },
            StatusCode::FORBIDDEN => ClientError::Forbidden { worker, problem },
            StatusCode::NOT_FOUND if is_ours => ClientError::NotFound { worker, problem },
            StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED => {
                ClientError::NotAWorker { worker, problem }
            }
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::REQUEST_TIMEOUT => ClientError::NoRoom {
                worker,
                problem,
                retry_after,
            },
            StatusCode::BAD_GATEWAY | StatusCode::GATEWAY_TIMEOUT => {
                ClientError::Offline { worker, problem }
            }
            _ if status.is_redirection() => ClientError::NotAWorker { worker, problem },
            _ => {
                let status = status.as_u16();
                if status >= 500 {
                    ClientError::Failed {
                        worker,
                        status,
                        problem,
                    }
                } else {
                    ClientError::Refused {
                        worker,
                        status,
                        problem,
                    }
                }
            }
        }
    }
}

/// What keeps an ID token from being had: told apart by whether it may pass.
fn token_trouble(worker: String, error: IdTokenError) -> ClientError {
    let no_room = |problem: String, retry_after| ClientError::NoRoom {
        worker: worker.clone(),
        problem,
        retry_after,
    };
    match error {
        IdTokenError::Offline { place, detail, .. } => ClientError::Offline {
            problem: format!("{place}: {detail}"),
            worker,
        },
        IdTokenError::Credentials(StorageError::Offline { place, detail }) => {
            ClientError::Offline {
                problem: format!("{place}: {detail}"),
                worker,
            }
        }
        IdTokenError::Credentials(error) if error.is_retryable() => {
            let wait = match &error {
                StorageError::Transient { retry_after, .. } => *retry_after,
                _ => None,
            };
            no_room(error.to_string(), wait)
        }
        error @ IdTokenError::Refused {
            status: 408 | 429 | 500..,
            ..
        } => no_room(error.to_string(), None),
        other => ClientError::Token(other.to_string()),
    }
}

/// The innermost reason, which says most; without the address, which may be long.
fn root_of(error: &reqwest::Error) -> String {
    if error.is_timeout() {
        return "no answer in time".to_owned();
    }
    let mut root: &dyn std::error::Error = error;
    while let Some(source) = root.source() {
        root = source;
    }
    root.to_string()
}

/// A run's events as they come.
pub struct EventStream {
    worker: String,
    pieces: BoxStream<'static, reqwest::Result<bytes::Bytes>>,
    parser: Parser,
}

impl EventStream {
    /// The next event with its id; `None` where the stream ends.
    ///
    /// # Errors
    /// [`ClientError::Offline`] if it breaks off, [`ClientError::NotAWorker`] if it cannot be understood.
    pub async fn next(&mut self) -> Result<Option<(Option<String>, RunEvent)>, ClientError> {
        loop {
            if let Some(event) = self.parser.next() {
                return self.understand(&event).map(Some);
            }
            let Some(piece) = self.pieces.next().await else {
                return Ok(None);
            };
            let piece = piece.map_err(|error| ClientError::Offline {
                worker: self.worker.clone(),
                problem: root_of(&error),
            })?;
            if self.parser.push(&piece).is_err() {
                return Err(self.odd("an event is longer than any can be"));
            }
        }
    }

    fn understand(&self, event: &SentEvent) -> Result<(Option<String>, RunEvent), ClientError> {
        let read = serde_json::from_str(&event.data);
        let read = read.map_err(|error| self.odd(&format!("an event cannot be read: {error}")))?;
        Ok((event.id.clone(), read))
    }

    fn odd(&self, problem: &str) -> ClientError {
        ClientError::NotAWorker {
            worker: self.worker.clone(),
            problem: problem.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_that_cannot_be_had_for_a_while_is_told_apart_from_one_that_is_refused() {
        let told = |error| token_trouble("https://w".to_owned(), error);
        let refused = |status| IdTokenError::Refused {
            audience: "https://w".to_owned(),
            place: "the metadata server".to_owned(),
            status,
            detail: "no reason".to_owned(),
        };
        for status in [408, 429, 500, 503] {
            assert!(told(refused(status)).may_pass(), "{status}");
        }
        for status in [400, 401, 403, 404] {
            assert!(!told(refused(status)).may_pass(), "{status}");
        }
        let wait = Duration::from_secs(7);
        let transient = told(IdTokenError::Credentials(StorageError::Transient {
            place: "oauth2".to_owned(),
            detail: "503".to_owned(),
            attempts: 3,
            retry_after: Some(wait),
        }));
        assert!(transient.may_pass(), "{transient}");
        assert_eq!(transient.retry_after(), Some(wait));
        let offline = told(IdTokenError::Credentials(StorageError::Offline {
            place: "oauth2".to_owned(),
            detail: "no route".to_owned(),
        }));
        assert!(offline.may_pass(), "{offline}");
        let none = StorageError::Auth {
            detail: "none".to_owned(),
            remedy: "log in".to_owned(),
        };
        let none = told(IdTokenError::Credentials(none));
        assert!(!none.may_pass(), "{none}");
    }
}
