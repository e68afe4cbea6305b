//! How long the bucket may take before it is called slow, gone or overloaded.

use std::time::Duration;

/// The limits of one client. The defaults are for the program; tests give shorter ones.
#[derive(Debug, Clone)]
pub struct Limits {
    /// To connect. Default 10 s.
    pub connect: Duration,
    /// Without a byte or an answer. Default 20 s.
    pub idle: Duration,
    /// For all attempts of one call, the time that bytes need aside. Default 30 s.
    pub total: Duration,
    /// Attempts of one call, and attempts in a row of a read that bring nothing. Default 5.
    pub attempts: u32,
    /// Before the second attempt; doubled each time. Default 500 ms.
    pub backoff: Duration,
    /// Over which a transfer's speed is judged. Default 30 s.
    pub speed_window: Duration,
    /// Slowest transfer that is still worth waiting for, in bytes per second. Default 1,024.
    pub slowest_bytes_per_sec: u64,
    /// Slowest upload that is waited for, in bytes per second: with `idle` it gives one attempt's time.
    /// Default 32 KiB.
    pub slowest_upload_bytes_per_sec: u64,
    /// From this size on, an upload goes in pieces that resume. Default 8 MiB.
    pub resumable_bytes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(20),
            total: Duration::from_secs(30),
            attempts: 5,
            backoff: Duration::from_millis(500),
            speed_window: Duration::from_secs(30),
            slowest_bytes_per_sec: 1024,
            slowest_upload_bytes_per_sec: 32 * 1024,
            resumable_bytes: 8 << 20,
        }
    }
}

impl Limits {
    /// Short ones, for tests against a faulty server on loopback; long enough for a busy machine.
    pub fn for_tests() -> Self {
        Self {
            connect: Duration::from_secs(2),
            idle: Duration::from_millis(1500),
            total: Duration::from_secs(8),
            attempts: 4,
            backoff: Duration::from_millis(50),
            speed_window: Duration::from_millis(1500),
            slowest_bytes_per_sec: 8000,
            slowest_upload_bytes_per_sec: 1_000_000,
            resumable_bytes: 8 << 20,
        }
    }
}
