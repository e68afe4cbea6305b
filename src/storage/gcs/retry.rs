//! One retry loop for every call: bounded in attempts and in time, honouring `Retry-After`.

use std::time::{Duration, Instant};

use super::super::{Result, StorageError};
use super::Limits;

/// Runs `call` until it succeeds, fails for good, or the limits are reached. `call` is given the number of
/// the attempt, from 1.
pub async fn retry<T, F>(limits: &Limits, mut call: impl FnMut(u32) -> F) -> Result<T>
where
    F: Future<Output = Result<T>>,
{
    let started = Instant::now();
    let mut attempt = 1;
    loop {
        let error = match call(attempt).await {
            Ok(value) => return Ok(value),
            Err(error) if !error.is_retryable() => return Err(error),
            Err(error) => error,
        };
        // A machine without a network should say so at once: one more try, not five.
        let most = if error.is_offline() {
            limits.attempts.min(2)
        } else {
            limits.attempts
        };
        let wait = pause(limits, attempt, &error);
        if attempt >= most || started.elapsed() + wait > limits.total {
            return Err(with_attempts(error, attempt));
        }
        tracing::debug!(
            attempt,
            kind = error.kind(),
            wait_millis = wait.as_millis() as u64,
            "trying again"
        );
        tokio::time::sleep(wait).await;
        attempt += 1;
    }
}

/// How long to wait after failed attempt number `attempt`.
pub fn pause(limits: &Limits, attempt: u32, error: &StorageError) -> Duration {
    let backoff = limits
        .backoff
        .saturating_mul(1 << (attempt.saturating_sub(1)).min(6));
    match error {
        StorageError::Transient {
            retry_after: Some(asked),
            ..
        } => backoff.max(*asked),
        _ => backoff,
    }
}

/// The same error with the number of attempts that were made.
pub fn with_attempts(error: StorageError, made: u32) -> StorageError {
    match error {
        StorageError::Transient {
            place,
            detail,
            retry_after,
            ..
        } => StorageError::Transient {
            place,
            detail,
            attempts: made,
            retry_after,
        },
        other => other,
    }
}
