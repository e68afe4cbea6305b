//! What a pull or push tells while it runs: counts, bytes and speed.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// How far a pull or push is.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Progress {
    /// Objects finished (arrived, sent or found unchanged).
    pub objects_done: usize,
    /// Objects in all.
    pub objects_total: usize,
    /// Bytes finished.
    pub bytes_done: u64,
    /// Bytes in all.
    pub bytes_total: u64,
    /// Speed over the last few seconds; 0 before anything has moved.
    pub bytes_per_sec: f64,
}

impl Progress {
    /// Seconds left at the present speed; `None` while there is no speed.
    pub fn secs_left(&self) -> Option<f64> {
        let left = self.bytes_total.saturating_sub(self.bytes_done) as f64;
        (self.bytes_per_sec > 0.0).then(|| left / self.bytes_per_sec)
    }
}

/// Counts bytes and measures their speed over a sliding window.
#[derive(Debug)]
pub struct Meter {
    inner: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    progress: Progress,
    recent: VecDeque<(Instant, u64)>,
    started: Instant,
}

const WINDOW: Duration = Duration::from_secs(3);

impl Meter {
    /// Starts with what lies ahead.
    pub fn new(objects_total: usize, bytes_total: u64) -> Self {
        let progress = Progress {
            objects_total,
            bytes_total,
            ..Progress::default()
        };
        let inner = Inner {
            progress,
            recent: VecDeque::new(),
            started: Instant::now(),
        };
        Self {
            inner: Mutex::new(inner),
        }
    }

    /// Bytes that have just moved.
    pub fn moved(&self, bytes: u64) {
        let mut inner = self.lock();
        inner.progress.bytes_done += bytes;
        let now = Instant::now();
        match inner.recent.back_mut() {
            Some((at, sum)) if now - *at < WINDOW / 20 => *sum += bytes,
            _ => inner.recent.push_back((now, bytes)),
        }
        while inner
            .recent
            .front()
            .is_some_and(|(at, _)| now - *at > WINDOW)
        {
            inner.recent.pop_front();
        }
    }

    /// Bytes that turned out not to count (a transfer that has to be repeated).
    pub fn taken_back(&self, bytes: u64) {
        let mut inner = self.lock();
        inner.progress.bytes_done = inner.progress.bytes_done.saturating_sub(bytes);
    }

    /// One more object is finished.
    pub fn object_done(&self) {
        self.lock().progress.objects_done += 1;
    }

    /// More objects have appeared.
    pub fn more(&self, objects: usize, bytes: u64) {
        let mut inner = self.lock();
        inner.progress.objects_total += objects;
        inner.progress.bytes_total += bytes;
    }

    /// How far it is now.
    pub fn now(&self) -> Progress {
        let inner = self.lock();
        let now = Instant::now();
        let recent = inner.recent.iter().filter(|(at, _)| now - *at <= WINDOW);
        let bytes: u64 = recent.map(|(_, bytes)| bytes).sum();
        let span = (now - inner.started).min(WINDOW).as_secs_f64().max(0.05);
        Progress {
            bytes_per_sec: bytes as f64 / span,
            ..inner.progress
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        // Nothing that holds this lock can panic; if it did, the counts would still be usable.
        self.inner
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_speed_follow_the_bytes() {
        let meter = Meter::new(2, 300);
        assert_eq!(meter.now().secs_left(), None);
        meter.moved(100);
        meter.moved(50);
        meter.taken_back(50);
        meter.object_done();
        let now = meter.now();
        assert_eq!((now.objects_done, now.bytes_done), (1, 100));
        assert!(now.bytes_per_sec > 0.0 && now.secs_left().is_some());
    }
}
