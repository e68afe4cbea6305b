//! The calls of Cloud Run's REST API. Each ends in a bounded time; what may pass is tried again, with the
//! pauses that the server asks for. Starting an execution is tried again only by [`super::control`], which can
//! tell whether the first attempt counted.

use super::wire::{
    ContainerOverride, ErrorBody, Execution, Executions, Operation, Overrides, RunBody,
};
use super::{JobError, JobPlace};
use crate::storage::StorageError;
use crate::storage::error::redact;
use crate::storage::gcs::Identity;
use reqwest::Method;
use serde::de::DeserializeOwned;
use std::time::{Duration, Instant};

/// Where Google's own service answers.
pub const ENDPOINT: &str = "https://run.googleapis.com";
/// The variable by which gcloud, too, is told another address.
pub const ENDPOINT_VARIABLE: &str = "CLOUDSDK_API_ENDPOINT_OVERRIDES_RUN";
/// Longest answer that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 8 << 20;

/// How long calls may take. The defaults are for the program; tests give shorter ones.
#[derive(Debug, Clone)]
pub struct Limits {
    /// To connect. Default 10 s.
    pub connect: Duration,
    /// For an answer. Default 30 s.
    pub answer: Duration,
    /// Attempts of one call. Default 6.
    pub attempts: u32,
    /// Before the second attempt; doubled each time, to half a minute. Default 1 s.
    pub backoff: Duration,
    /// For all attempts of one call. Default 3 min.
    pub total: Duration,
    /// Between two looks at an operation. Default 2 s.
    pub poll: Duration,
    /// For an operation to say what it is about, or to end. Default 2 min.
    pub operation: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            attempts: 6,
            backoff: Duration::from_secs(1),
            total: Duration::from_secs(180),
            poll: Duration::from_secs(2),
            operation: Duration::from_secs(120),
        }
    }
}

impl Limits {
    /// Short ones, for tests against a server on loopback.
    pub fn for_tests() -> Self {
        Self {
            connect: Duration::from_secs(2),
            answer: Duration::from_secs(2),
            attempts: 4,
            backoff: Duration::from_millis(20),
            total: Duration::from_secs(10),
            poll: Duration::from_millis(20),
            operation: Duration::from_secs(5),
        }
    }
}

/// Cloud Run, as one account sees it.
#[derive(Debug, Clone)]
pub struct CloudRun {
    http: reqwest::Client,
    endpoint: String,
    identity: Identity,
    /// How long calls may take.
    pub limits: Limits,
}

impl CloudRun {
    /// A client; nothing is sent yet. `endpoint` is [`ENDPOINT`] or another address of it.
    ///
    /// # Errors
    /// [`JobError::Offline`] if the system gives no client.
    pub fn new(endpoint: &str, identity: Identity, limits: Limits) -> Result<Self, JobError> {
        crate::storage::gcs::choose_tls();
        let http = reqwest::Client::builder()
            .connect_timeout(limits.connect)
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| from_reqwest(&error, endpoint))?;
        Ok(Self {
            http,
            endpoint: endpoint.trim_end_matches('/').to_owned(),
            identity,
            limits,
        })
    }

    /// Starts an execution. One attempt: after a failure that is not [`JobError::is_certain`] it may run all the
    /// same.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn run_once(
        &self,
        place: &JobPlace,
        args: &[String],
        tasks: usize,
        timeout_secs: u32,
    ) -> Result<Operation, JobError> {
        let body = RunBody {
            overrides: Overrides {
                container_overrides: vec![ContainerOverride {
                    args: args.to_vec(),
                }],
                task_count: tasks,
                timeout: format!("{timeout_secs}s"),
            },
        };
        let what = format!("job {}", place.name());
        let malformed = |error: serde_json::Error| JobError::Malformed {
            what: what.clone(),
            detail: error.to_string(),
        };
        let body = serde_json::to_vec(&body).map_err(malformed)?;
        let path = format!("{}:run", place.name());
        self.once(Method::POST, &path, Some(body), &what).await
    }

    /// The newest executions of a job, at most a hundred.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn executions(&self, place: &JobPlace) -> Result<Vec<Execution>, JobError> {
        let what = format!("job {}", place.name());
        let path = format!("{}/executions?pageSize=100", place.name());
        let found: Executions = self.get(&path, &what).await?;
        Ok(found.executions)
    }

    /// An execution, by its whole name.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn execution(&self, name: &str) -> Result<Execution, JobError> {
        self.get(name, &format!("execution {name}")).await
    }

    /// An operation, by its whole name.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn operation(&self, name: &str) -> Result<Operation, JobError> {
        self.get(name, &format!("operation {name}")).await
    }

    /// Asks an execution to stop; a second time does no harm.
    ///
    /// # Errors
    /// [`JobError`].
    pub async fn cancel(&self, execution: &str) -> Result<Operation, JobError> {
        let what = format!("execution {execution}");
        let path = format!("{execution}:cancel");
        self.retry(|| self.once(Method::POST, &path, Some(b"{}".to_vec()), &what))
            .await
    }

    /// Looks at an operation until `is_enough` says so, or it is over.
    ///
    /// # Errors
    /// [`JobError`], also if that takes too long or the operation failed.
    pub async fn follow(
        &self,
        mut operation: Operation,
        is_enough: impl Fn(&Operation) -> bool,
    ) -> Result<Operation, JobError> {
        let what = format!("operation {}", operation.name);
        let started = Instant::now();
        loop {
            if let Some(error) = &operation.error {
                return Err(from_operation(error, &what));
            }
            if operation.done || is_enough(&operation) {
                return Ok(operation);
            }
            if started.elapsed() > self.limits.operation {
                return Err(JobError::Transient {
                    what,
                    detail: format!("not over after {:?}", self.limits.operation),
                    attempts: 1,
                    retry_after: None,
                    was_refused: false,
                });
            }
            tokio::time::sleep(self.limits.poll).await;
            operation = self.operation(&operation.name).await?;
        }
    }

    async fn get<T: DeserializeOwned>(&self, path: &str, what: &str) -> Result<T, JobError> {
        self.retry(|| self.once(Method::GET, path, None, what))
            .await
    }

    async fn retry<T, F>(&self, call: impl Fn() -> F) -> Result<T, JobError>
    where
        F: Future<Output = Result<T, JobError>>,
    {
        let started = Instant::now();
        let mut attempt = 1;
        loop {
            let error = match call().await {
                Ok(value) => return Ok(value),
                Err(error) if !error.is_retryable() => return Err(error),
                Err(error) => error,
            };
            let pause = self.pause(attempt, &error);
            if attempt >= self.limits.attempts || started.elapsed() + pause > self.limits.total {
                return Err(error.after(attempt));
            }
            tokio::time::sleep(pause).await;
            attempt += 1;
        }
    }

    /// How long to wait after failed attempt number `attempt`: longer each time, as long as the server asks, and
    /// not all clients at the same moment.
    pub(super) fn pause(&self, attempt: u32, error: &JobError) -> Duration {
        let doubled = self.limits.backoff * (1 << attempt.saturating_sub(1).min(5));
        let mut random = [0_u8; 1];
        // Without randomness it waits just as well.
        let _ = getrandom::fill(&mut random);
        let jitter = 0.75 + f64::from(random[0]) / 510.0;
        doubled
            .mul_f64(jitter)
            .max(error.retry_after().unwrap_or_default())
    }

    async fn once<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<Vec<u8>>,
        what: &str,
    ) -> Result<T, JobError> {
        let headers = self.identity.headers(what).await.map_err(not_sent)?;
        let url = format!("{}/v2/{path}", self.endpoint);
        let mut request = self.http.request(method, url).headers(headers);
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body);
        }
        let answer = tokio::time::timeout(self.limits.answer, async {
            let answer = request.send().await?;
            let status = answer.status().as_u16();
            let headers = answer.headers().clone();
            Ok((status, headers, answer.bytes().await?))
        });
        let (status, headers, bytes) = match answer.await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return Err(from_reqwest(&error, what)),
            Err(_elapsed) => return Err(transient(what, "no answer in time", false)),
        };
        if !(200..300).contains(&status) {
            let wait = headers.get("retry-after").and_then(|v| v.to_str().ok());
            return Err(from_status(status, &bytes, wait, what));
        }
        if bytes.len() > MAX_ANSWER_BYTES {
            return Err(JobError::Malformed {
                what: what.to_owned(),
                detail: format!("{} bytes", bytes.len()),
            });
        }
        serde_json::from_slice(&bytes).map_err(|error| JobError::Malformed {
            what: what.to_owned(),
            detail: error.to_string(),
        })
    }
}

fn transient(what: &str, detail: &str, was_refused: bool) -> JobError {
    JobError::Transient {
        what: what.to_owned(),
        detail: detail.to_owned(),
        attempts: 1,
        retry_after: None,
        was_refused,
    }
}

/// Credentials that could not be had: nothing was sent.
fn not_sent(error: StorageError) -> JobError {
    match error {
        StorageError::Auth { detail, .. } => JobError::Auth { detail },
        StorageError::Offline { place, detail } => JobError::Offline {
            what: place,
            detail,
        },
        other => transient("the credentials' server", &other.to_string(), true),
    }
}

fn from_reqwest(error: &reqwest::Error, what: &str) -> JobError {
    let mut cause: &dyn std::error::Error = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let detail = redact(&cause.to_string());
    if error.is_connect() {
        return JobError::Offline {
            what: what.to_owned(),
            detail,
        };
    }
    transient(what, &detail, false)
}

fn from_status(status: u16, body: &[u8], retry_after: Option<&str>, what: &str) -> JobError {
    let error = match serde_json::from_slice::<ErrorBody>(body) {
        Ok(body) => body.error,
        Err(_no_json) => super::wire::Status {
            message: format!("HTTP {status}"),
            ..super::wire::Status::default()
        },
    };
    let detail = redact(&error.message);
    let asked = error
        .details
        .iter()
        .find_map(|one| one.retry_delay.as_deref());
    let retry_after = retry_after
        .or(asked)
        .and_then(|text| text.trim_end_matches('s').parse::<f64>().ok())
        .filter(|secs| (0.0..=600.0).contains(secs))
        .map(Duration::from_secs_f64);
    let what = what.to_owned();
    let is_quota = status == 429 || error.status == "RESOURCE_EXHAUSTED";
    match status {
        _ if is_quota => JobError::Quota {
            detail,
            attempts: 1,
            retry_after,
        },
        401 => JobError::Auth { detail },
        403 => JobError::Forbidden {
            remedy: if detail.contains("runWithOverrides") || what.starts_with("job ") {
                "the role Cloud Run Jobs Executor With Overrides (run.jobs.runWithOverrides) and Cloud Run \
                 Viewer"
            } else {
                "the role Cloud Run Developer"
            },
            what,
            detail,
        },
        404 => JobError::NotFound {
            what,
            remedy: "check --project, --region and --job; `fill-audit job deploy --print` shows how a job is \
                     made",
        },
        408 | 500..=599 => JobError::Transient {
            what,
            detail,
            attempts: 1,
            retry_after,
            // Also a 503 may come from a gateway that gave up on what counted behind it.
            was_refused: false,
        },
        _ => JobError::Refused {
            what,
            status,
            detail,
        },
    }
}

/// An operation's failure: gRPC's numbers.
fn from_operation(error: &super::wire::Status, what: &str) -> JobError {
    let detail = redact(&error.message);
    match error.code {
        8 => JobError::Quota {
            detail,
            attempts: 1,
            retry_after: None,
        },
        code => JobError::Refused {
            what: what.to_owned(),
            status: u16::try_from(code).unwrap_or_default(),
            detail,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_told_apart_by_what_has_to_be_done() {
        let quota = br#"{"error": {"code": 429, "message": "Quota exceeded", "status":
            "RESOURCE_EXHAUSTED", "details": [{"@type": "type.googleapis.com/google.rpc.RetryInfo",
            "retryDelay": "2.5s"}]}}"#;
        let error = from_status(429, quota, None, "job x");
        assert_eq!(error.retry_after(), Some(Duration::from_millis(2500)));
        assert!(error.is_retryable() && error.is_certain(), "{error}");
        let error = from_status(429, b"", Some("7"), "job x");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        for status in [408, 500, 502, 503, 504] {
            let error = from_status(status, b"<html>", None, "job x");
            assert!(error.is_retryable() && !error.is_certain(), "{error}");
        }
        for (status, words) in [
            (400, "HTTP 400"),
            (401, "no valid credentials"),
            (403, "runWithOverrides"),
            (404, "job deploy --print"),
        ] {
            let error = from_status(status, b"{}", None, "job x");
            assert!(!error.is_retryable(), "{error}");
            assert!(error.to_string().contains(words), "{error}");
        }
    }
}
