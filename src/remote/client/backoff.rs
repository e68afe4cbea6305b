//! How long to wait before the next try: longer each time, and never the same for two clients, so that a
//! worker that comes back is not met by all of them at once.

use std::time::Duration;

/// Waits that double from `first` to `longest`, each shortened by up to a half at random.
#[derive(Debug, Clone)]
pub struct Backoff {
    first: Duration,
    longest: Duration,
    tries: u32,
    random: u64,
}

impl Backoff {
    /// None has been waited yet. `seed` is any number; [`Backoff::seed`] gives one.
    pub fn new(first: Duration, longest: Duration, seed: u64) -> Self {
        Self {
            first,
            longest,
            tries: 0,
            // The generator stays at 0 for ever.
            random: seed | 1,
        }
    }

    /// A number that other clients do not have.
    pub fn seed() -> u64 {
        getrandom::u64().unwrap_or_else(|_| u64::from(std::process::id()))
    }

    /// The next wait; at least `asked`, if the worker asks for a time.
    pub fn next(&mut self, asked: Option<Duration>) -> Duration {
        let doubled = self.first.saturating_mul(1 << self.tries.min(16));
        self.tries = self.tries.saturating_add(1);
        let whole = doubled.min(self.longest);
        let wait = whole / 2 + (whole / 2).mul_f64(self.fraction());
        // Who is told a time waits a little longer than that, each their own.
        asked.map_or(wait, |asked| asked + wait.min(asked / 4))
    }

    /// Something worked: the next wait is short again.
    pub fn reset(&mut self) {
        self.tries = 0;
    }

    /// 0 to 1, by xorshift64*.
    fn fraction(&mut self) -> f64 {
        self.random ^= self.random >> 12;
        self.random ^= self.random << 25;
        self.random ^= self.random >> 27;
        let mixed = self.random.wrapping_mul(0x2545_F491_4F6C_DD1D);
        (mixed >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(seed: u64) -> Vec<Duration> {
        let mut backoff = Backoff::new(Duration::from_millis(500), Duration::from_secs(30), seed);
        (0..12).map(|_| backoff.next(None)).collect()
    }

    #[test]
    fn waits_grow_to_a_limit_and_two_clients_differ() {
        let one = waits(1);
        for (n, wait) in one.iter().enumerate() {
            let whole = (0.5 * f64::powi(2.0, n as i32)).min(30.0);
            let secs = wait.as_secs_f64();
            assert!((whole / 2.0..=whole).contains(&secs), "wait {n}: {secs} s");
        }
        assert_ne!(one, waits(2));
        assert_eq!(one, waits(1));
    }

    #[test]
    fn what_works_makes_the_next_wait_short_and_a_worker_is_not_asked_too_soon() {
        let mut backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(30), 7);
        for _ in 0..8 {
            backoff.next(None);
        }
        backoff.reset();
        assert!(backoff.next(None) <= Duration::from_secs(1));
        let asked = Duration::from_secs(60);
        let wait = backoff.next(Some(asked));
        assert!(wait >= asked && wait <= asked * 5 / 4, "{wait:?}");
    }
}
