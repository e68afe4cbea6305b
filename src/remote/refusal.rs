//! What is answered when something is not done: a status and one sentence that says what and why.

use super::respond::Json;
use super::wire::ErrorAnswer;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

/// How long a client should wait before it asks again for what there was no room for, in seconds.
pub const RETRY_AFTER_SECS: u32 = 60;

/// A request that is not fulfilled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The request is no JSON, or an address cannot be understood.
    #[error("{0}")]
    Malformed(String),
    /// No token, or another one.
    #[error("this worker wants its token: send the header Authorization: Bearer TOKEN")]
    Unauthorized,
    /// A page of a browser reached a worker that asks for no token.
    #[error(
        "this worker has no token and answers only to addresses of this machine; start it with a token \
         to reach it under another name"
    )]
    ForeignHost,
    /// There is no such thing.
    #[error("{0}")]
    NotFound(String),
    /// The address is known, the method is not.
    #[error("this address does not know that method")]
    WrongMethod,
    /// The body did not arrive in time.
    #[error("the request's body did not arrive within {0} s")]
    TooSlow(u64),
    /// It contradicts what is there.
    #[error("{0}")]
    Conflict(String),
    /// The body is too large.
    #[error("a request has at most {0} bytes")]
    TooLarge(usize),
    /// The body is not said to be JSON.
    #[error("a request's Content-Type must be application/json")]
    NotJson,
    /// It can be read, but not done; the message names the value.
    #[error("{0}")]
    Invalid(String),
    /// One run is made at a time, and as many wait as may.
    #[error("one run is made at a time and {waiting} wait already; ask again later")]
    Full {
        /// How many wait.
        waiting: usize,
    },
    /// The worker failed.
    #[error("{0}")]
    Internal(String),
    /// The worker's bucket cannot be reached.
    #[error("{0}")]
    Unavailable(String),
    /// The worker is on its way out.
    #[error("the worker is stopping; what waits goes on when it is started again")]
    Draining,
    /// There are as many readers of events as may be.
    #[error("{0} readers of events are connected already; read the status instead")]
    TooManyReaders(usize),
    /// The answer took too long.
    #[error("the answer took longer than {0} s")]
    NoAnswer(u64),
}

impl Refusal {
    /// The status that it is answered with.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed(_) => StatusCode::BAD_REQUEST,
            Self::Unauthorized => StatusCode::UNAUTHORIZED,
            Self::ForeignHost => StatusCode::FORBIDDEN,
            Self::NotFound(_) => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooSlow(_) => StatusCode::REQUEST_TIMEOUT,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotJson => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Invalid(_) => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Full { .. } => StatusCode::TOO_MANY_REQUESTS,
            Self::Internal(_) => StatusCode::INTERNAL_SERVER_ERROR,
            Self::Draining | Self::Unavailable(_) | Self::TooManyReaders(_) | Self::NoAnswer(_) => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// There is no run of that name.
    pub fn no_run(run_id: &crate::model::ids::RunId) -> Self {
        Self::NotFound(format!("this worker knows no run {run_id}"))
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let status = self.status();
        if status.is_server_error() {
            tracing::warn!("answered {status}: {self}");
        }
        let error = self.to_string();
        let mut response = (status, Json(ErrorAnswer { error })).into_response();
        let headers = response.headers_mut();
        if self == Self::Unauthorized {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if matches!(
            self,
            Self::Full { .. } | Self::Draining | Self::Unavailable(_) | Self::TooManyReaders(_)
        ) {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_SECS));
        }
        response
    }
}
