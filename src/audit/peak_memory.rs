//! The most memory that this process held, as Linux counts it.

/// Begins to count anew, where the system allows it; elsewhere the count goes on from the process's start.
pub(super) fn begin() {
    #[cfg(target_os = "linux")]
    if let Err(error) = std::fs::write("/proc/self/clear_refs", "5") {
        tracing::debug!("peak memory is counted from the start of the process: {error}");
    }
}

/// The most resident memory since [`begin`] in bytes, mapped files included; `None` where the system
/// does not say.
pub(super) fn read() -> Option<u64> {
    parse(&std::fs::read_to_string("/proc/self/status").ok()?)
}

fn parse(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kilobytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kilobytes * 1024)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;

    #[test]
    fn the_high_water_mark_is_found_among_the_rest() {
        let status = "Name:\tx\nVmPeak:\t  900 kB\nVmHWM:\t  20 kB\nVmRSS:\t 10 kB\n";
        assert_eq!(parse(status), Some(20 * 1024));
        assert_eq!(parse("Name:\tx\n"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn what_was_allocated_and_written_is_counted() {
        let held = vec![1_u8; 200 << 20];
        assert!(read().unwrap() >= 200 << 20, "{:?} {}", read(), held.len());
    }
}
