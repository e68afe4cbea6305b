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
use futures::StreamExt as _;
use futures::stream::BoxStream;
use reqwest::{Method, RequestBuilder, Response, StatusCode, header};
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
            let shown = identity.header_value().await;
            let shown = shown.map_err(|error| match error {
                IdTokenError::Offline { place, detail, .. } => ClientError::Offline {
                    worker: self.address.to_string(),
                    problem: format!("{place}: {detail}"),
                },
                other => ClientError::Token(other.to_string()),
            })?;
            call = call.header(id_token::HEADER, shown);
        }
        Ok(match self.token.token().await? {
            Some(token) => call.bearer_auth(token),
            None => call,
        })
    }

    pub(super) async fn send(&self, call: RequestBuilder) -> Result<Response, ClientError> {
        let answer = call.send().await.map_err(|error| self.offline(&error))?;
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
        if let Some(identity) = &self.identity
            && matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
        {
            identity.forget().await;
        }
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
