//! Which address answers what. Handlers translate between the wire and the queue and decide nothing;
//! what touches the disk is done beside the network's threads.

use super::auth::{self, Token};
use super::events::{EventId, EventLog, Next};
use super::files as run_files;
use super::pictures::{self, Picture};
use super::queue::Queue;
use super::refusal::Refusal;
use super::respond::Json;
use super::server::Limits;
use super::wire::{
    self, Accepted, CellAnswer, GpuAnswer, Health, RunAnswer, RunEvent, RunFiles, Status, urls,
};
use crate::audit::run_folder::{self, Verification};
use crate::model::ids::RunId;
use crate::model::run::files;
use crate::report::json::{ShownCell, ShownRun};
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::middleware::{self, Next as Inner};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use futures::StreamExt as _;
use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::io::ReaderStream;
use tokio_util::sync::CancellationToken;

/// A comment on a quiet stream of events, so that nothing in between takes it for dead.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a reader whose stream broke should wait before it comes back.
const RETRY: Duration = Duration::from_secs(1);

/// What the handlers share.
pub(super) struct Worker {
    pub(super) queue: Queue,
    pub(super) token: Option<Token>,
    pub(super) gpu: GpuAnswer,
    pub(super) limits: Limits,
    /// One place for each reader of events.
    pub(super) readers: Arc<Semaphore>,
    /// Ends streams that would go on for ever.
    pub(super) stop: CancellationToken,
}

type Shared = State<Arc<Worker>>;

/// Every address with what it answers; `assets/deploy/openapi.json` describes the same.
fn table() -> Vec<(&'static str, MethodRouter<Arc<Worker>>)> {
    vec![
        ("/healthz", get(health)),
        ("/gpu", get(gpu)),
        ("/audit", post(submit)),
        ("/audit/{run_id}", get(run).delete(cancel)),
        ("/audit/{run_id}/status", get(status)),
        ("/audit/{run_id}/events", get(events)),
        ("/audit/{run_id}/REPORT.md", get(report)),
        ("/audit/{run_id}/cells/{file}", get(picture)),
        ("/audit/{run_id}/files", get(run_files_list)),
        ("/audit/{run_id}/files/{file}", get(run_file)),
    ]
}

/// Every address, with its parameters in braces.
pub fn paths() -> Vec<&'static str> {
    table().into_iter().map(|(path, _)| path).collect()
}

/// The service of a worker.
pub(super) fn router(worker: Arc<Worker>) -> Router {
    let mut router = Router::new();
    for (path, answer) in table() {
        router = router.route(path, answer);
    }
    router
        .fallback(nothing_here)
        .method_not_allowed_fallback(wrong_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&worker), guard))
        .with_state(worker)
}

async fn nothing_here() -> Refusal {
    Refusal::NotFound("there is nothing at this address".to_owned())
}

async fn wrong_method() -> Refusal {
    Refusal::WrongMethod
}

/// In front of every address: who may ask, and how long an answer may take.
async fn guard(State(worker): Shared, request: Request, inner: Inner) -> Response {
    let is_open = request.uri().path() == "/healthz";
    let allowed = if is_open {
        Ok(())
    } else {
        auth::check_request(worker.token.as_ref(), request.headers())
    };
    let mut response = match allowed {
        Err(refusal) => refusal.into_response(),
        Ok(()) => match tokio::time::timeout(worker.limits.answer, inner.run(request)).await {
            Ok(response) => response,
            Err(_elapsed) => Refusal::NoAnswer(worker.limits.answer.as_secs()).into_response(),
        },
    };
    let headers = response.headers_mut();
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers
        .entry(header::CACHE_CONTROL)
        .or_insert(HeaderValue::from_static("no-store"));
    response
}

/// Does what may wait for the disk, beside the network's threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(Refusal::Internal(format!("the answer broke off: {error}"))),
    }
}

/// The run's id in an address.
fn run_id(text: &str) -> Result<RunId, Refusal> {
    RunId::new(text).map_err(|error| {
        Refusal::Malformed(if text.len() > 200 {
            format!("a run id has at most 64 characters, not {}", text.len())
        } else {
            error.to_string()
        })
    })
}

fn parameter<T>(path: Result<Path<T>, PathRejection>) -> Result<T, Refusal> {
    match path {
        Ok(Path(value)) => Ok(value),
        Err(rejection) => Err(Refusal::Malformed(rejection.body_text())),
    }
}

type RunPath = Result<Path<String>, PathRejection>;

async fn health(State(worker): Shared) -> impl IntoResponse {
    let (code, status) = if worker.queue.is_draining() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        (StatusCode::OK, "ok")
    };
    let status = status.to_owned();
    (code, Json(Health { status }))
}

async fn gpu(State(worker): Shared) -> Json<GpuAnswer> {
    Json(worker.gpu.clone())
}

async fn submit(State(worker): Shared, request: Request) -> Result<Response, Refusal> {
    let body = body(request, &worker.limits).await?;
    let request = wire::parse_request(&body)?;
    let status = blocking(move || worker.queue.submit(request)).await?;
    let accepted = Accepted {
        status_url: urls::status(&status.run_id),
        events_url: status.events_url,
        run_url: status.run_url,
        run_id: status.run_id,
    };
    let mut response = (StatusCode::ACCEPTED, Json(&accepted)).into_response();
    if let Ok(location) = HeaderValue::from_str(&accepted.status_url) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    Ok(response)
}

/// Refuses a body that is not said to be JSON or is announced as too large, before any of it is read.
fn check_head(headers: &HeaderMap, limits: &Limits) -> Result<(), Refusal> {
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let kind = text(header::CONTENT_TYPE).and_then(|kind| kind.split(';').next());
    if !kind.is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json")) {
        return Err(Refusal::NotJson);
    }
    let announced = text(header::CONTENT_LENGTH).and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limits.body_bytes as u64) {
        return Err(Refusal::TooLarge(limits.body_bytes));
    }
    Ok(())
}

/// A request's body, if it is small and there in time.
async fn body(request: Request, limits: &Limits) -> Result<Vec<u8>, Refusal> {
    check_head(request.headers(), limits)?;
    let mut pieces = request.into_body().into_data_stream();
    let read = async {
        let mut bytes = Vec::new();
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|error| {
                Refusal::Malformed(format!("the request's body broke off: {error}"))
            })?;
            if bytes.len() + piece.len() > limits.body_bytes {
                return Err(Refusal::TooLarge(limits.body_bytes));
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    };
    match tokio::time::timeout(limits.body, read).await {
        Ok(result) => result,
        Err(_elapsed) => Err(Refusal::TooSlow(limits.body.as_secs())),
    }
}

async fn status(State(worker): Shared, path: RunPath) -> Result<Json<Status>, Refusal> {
    let run_id = run_id(&parameter(path)?)?;
    let status = worker.queue.status(&run_id);
    status.map(Json).ok_or_else(|| Refusal::no_run(&run_id))
}

async fn cancel(State(worker): Shared, path: RunPath) -> Result<Response, Refusal> {
    let run_id = run_id(&parameter(path)?)?;
    let status = blocking(move || worker.queue.cancel(&run_id)).await?;
    let code = if status.state.has_ended() {
        StatusCode::OK
    } else {
        StatusCode::ACCEPTED
    };
    Ok((code, Json(status)).into_response())
}

async fn run(State(worker): Shared, path: RunPath) -> Result<Json<RunAnswer>, Refusal> {
    let run_id = run_id(&parameter(path)?)?;
    let no_run = || Refusal::no_run(&run_id);
    let status = worker.queue.status(&run_id).ok_or_else(no_run)?;
    let folder = worker.queue.folder(&run_id).ok_or_else(no_run)?;
    blocking(move || {
        if !folder.join(files::RUN).is_file() {
            return Err(Refusal::Conflict(format!(
                "run {} has no cells yet; its status says how far it is",
                status.run_id
            )));
        }
        let run = run_folder::open(&folder, Verification::Quick)
            .map_err(|error| Refusal::Internal(error.to_string()))?;
        Ok(Json(run_answer(status, ShownRun::of(&run))))
    })
    .await
}

fn run_answer(status: Status, shown: ShownRun) -> RunAnswer {
    let environment = shown.environment;
    RunAnswer {
        state: status.state,
        session: shown.session,
        gpu_warning: environment.as_ref().and_then(wire::gpu_warning),
        environment,
        warnings: shown.warnings,
        report_url: status.report_url,
        cells: shown
            .cells
            .into_iter()
            .map(|cell| cell_answer(&status.run_id, cell))
            .collect(),
        run_id: status.run_id,
    }
}

fn cell_answer(run_id: &RunId, cell: ShownCell) -> CellAnswer {
    let name = (cell.state == "done")
        .then(|| cell.file.strip_suffix(".png"))
        .flatten();
    CellAnswer {
        image_url: name.map(|name| urls::picture(run_id, &files::composite(name))),
        fill_url: name.map(|name| urls::picture(run_id, &files::fill(name))),
        cell,
    }
}

async fn report(State(worker): Shared, path: RunPath) -> Result<Response, Refusal> {
    let run_id = run_id(&parameter(path)?)?;
    let folder = worker.queue.folder(&run_id);
    let folder = folder.ok_or_else(|| Refusal::no_run(&run_id))?;
    let text = blocking(move || {
        std::fs::read(folder.join(files::REPORT)).map_err(|error| match error.kind() {
            std::io::ErrorKind::NotFound => {
                Refusal::NotFound(format!("run {run_id} has no report yet"))
            }
            _ => Refusal::Internal(format!("the report cannot be read: {error}")),
        })
    })
    .await?;
    let kind = (header::CONTENT_TYPE, "text/markdown; charset=utf-8");
    Ok(([kind], text).into_response())
}

async fn picture(
    State(worker): Shared,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (run, file) = parameter(path)?;
    let run_id = run_id(&run)?;
    let folder = worker.queue.folder(&run_id);
    let folder = folder.ok_or_else(|| Refusal::no_run(&run_id))?;
    let picture = blocking(move || pictures::open(&folder, &file)).await?;
    sent(picture, "image/png", &headers)
}

async fn run_files_list(State(worker): Shared, path: RunPath) -> Result<Json<RunFiles>, Refusal> {
    let run_id = run_id(&parameter(path)?)?;
    let no_run = || Refusal::no_run(&run_id);
    // Before the list: what ended before it was asked for is in it.
    let status = worker.queue.status(&run_id).ok_or_else(no_run)?;
    let folder = worker.queue.folder(&run_id).ok_or_else(no_run)?;
    let files = blocking(move || run_files::list(&folder)).await?;
    Ok(Json(RunFiles {
        run_id,
        state: status.state,
        files,
    }))
}

async fn run_file(
    State(worker): Shared,
    path: Result<Path<(String, String)>, PathRejection>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let (run, file) = parameter(path)?;
    let run_id = run_id(&run)?;
    let folder = worker.queue.folder(&run_id);
    let folder = folder.ok_or_else(|| Refusal::no_run(&run_id))?;
    let kind = run_files::content_type(&file);
    let opened = blocking(move || run_files::open(&folder, &file)).await?;
    sent(opened, kind, &headers)
}

/// A file with its hash as its tag; nothing of it if the client has it.
fn sent(opened: Picture, kind: &'static str, headers: &HeaderMap) -> Result<Response, Refusal> {
    let tag = format!("\"{}\"", opened.sha256);
    let response = Response::builder()
        .header(header::ETAG, &tag)
        // Asked about each time: a cell that failed can be made again.
        .header(header::CACHE_CONTROL, "no-cache");
    let known = headers.get(header::IF_NONE_MATCH);
    let is_known = known.is_some_and(|known| known.as_bytes() == tag.as_bytes());
    let response = if is_known {
        response
            .status(StatusCode::NOT_MODIFIED)
            .body(Body::empty())
    } else {
        let stream = ReaderStream::new(tokio::fs::File::from_std(opened.file));
        response
            .header(header::CONTENT_TYPE, kind)
            .header(header::CONTENT_LENGTH, opened.size_bytes)
            .body(Body::from_stream(stream))
    };
    response.map_err(|error| Refusal::Internal(error.to_string()))
}

async fn events(
    State(worker): Shared,
    path: RunPath,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let run_id = run_id(&parameter(path)?)?;
    let log = worker.queue.events(&run_id);
    let log = log.ok_or_else(|| Refusal::no_run(&run_id))?;
    let seen = headers
        .get("last-event-id")
        .and_then(|id| id.to_str().ok())
        .and_then(EventId::parse);
    let seen = log.position(seen);
    if seen.is_some() && log.after(seen) == Next::Ended {
        // This is what tells a browser not to come back.
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let Ok(place) = Arc::clone(&worker.readers).try_acquire_owned() else {
        return Err(Refusal::TooManyReaders(worker.limits.readers));
    };
    let reader = Reader {
        changed: log.subscribe(),
        worker,
        run_id,
        log,
        seen,
        pending: VecDeque::new(),
        is_first: true,
        _place: place,
    };
    let stream = futures::stream::unfold(reader, Reader::next);
    let keep_alive = KeepAlive::new().interval(KEEP_ALIVE);
    Ok(Sse::new(stream).keep_alive(keep_alive).into_response())
}

/// One who follows a run's events.
struct Reader {
    worker: Arc<Worker>,
    run_id: RunId,
    log: Arc<EventLog>,
    changed: watch::Receiver<u64>,
    /// The number of the last event that was sent; `None` before the first.
    seen: Option<u64>,
    pending: VecDeque<(u64, Arc<RunEvent>)>,
    is_first: bool,
    _place: OwnedSemaphorePermit,
}

impl Reader {
    /// The next event; `None` when the run has ended or the worker stops.
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        loop {
            if let Some((number, event)) = self.pending.pop_front() {
                self.seen = Some(number);
                return Some((Ok(self.event(number, &event)), self));
            }
            // Seen before the log is read, so that nothing is added in between unnoticed.
            self.changed.mark_unchanged();
            match self.log.after(self.seen) {
                Next::Events(events) => self.pending.extend(events),
                Next::Missed(number) => {
                    let status = self.worker.queue.status(&self.run_id)?;
                    self.seen = Some(number);
                    let snapshot = RunEvent::Snapshot(Box::new(status));
                    return Some((Ok(self.event(number, &snapshot)), self));
                }
                Next::Ended => return None,
                Next::Nothing => {
                    let stop = self.worker.stop.clone();
                    let is_alive = tokio::select! {
                        () = stop.cancelled() => false,
                        changed = self.changed.changed() => changed.is_ok(),
                    };
                    if !is_alive {
                        return None;
                    }
                }
            }
        }
    }

    fn event(&mut self, number: u64, event: &RunEvent) -> Event {
        let mut sent = Event::default()
            .event(event.name())
            .id(self.log.id(number).to_string());
        if std::mem::take(&mut self.is_first) {
            sent = sent.retry(RETRY);
        }
        match serde_json::to_string(event) {
            Ok(json) => sent.data(json),
            Err(error) => {
                tracing::error!("an event cannot be written as JSON: {error}");
                sent
            }
        }
    }
}
