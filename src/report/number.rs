//! Numbers as people and scripts write them in tables: `10`, `10.0`, `45.2s`, `44,100`, `22.5 GB`.

/// A number without a unit: digits, one point, groups of thousands between commas, or one decimal comma.
/// Never negative, never infinite.
pub fn plain(text: &str) -> Option<f64> {
    let text = text.trim();
    if text.is_empty() || !text.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    let allowed =
        |c: char| c.is_ascii_digit() || matches!(c, '.' | ',' | '_' | ' ' | '\u{a0}' | '\'');
    if !text.chars().all(allowed) {
        return None;
    }
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let groups: Vec<&str> = whole.split([',', '_', ' ', '\u{a0}', '\'']).collect();
    let grouped = groups.len() > 1
        && groups.first().is_some_and(|g| (1..=3).contains(&g.len()))
        && groups.iter().skip(1).all(|g| g.len() == 3);
    let digits = if groups.len() == 1 || grouped {
        format!("{}.{fraction}", groups.concat())
    } else if let ([a, b], false) = (groups.as_slice(), text.contains('.')) {
        // A decimal comma: `45,2`.
        if !whole.contains(',') {
            return None;
        }
        format!("{a}.{b}")
    } else {
        return None;
    };
    let digits = digits.trim_end_matches('.');
    let number: f64 = digits.parse().ok()?;
    number.is_finite().then_some(number)
}

/// A duration in milliseconds. Without a unit the number counts `millis_per_unit`.
pub fn millis(text: &str, millis_per_unit: f64) -> Option<f64> {
    let text = text
        .trim()
        .trim_matches(|c| matches!(c, '*' | '`' | '~' | '≈'))
        .trim();
    // `1m 12.5s`
    if let Some((minutes, seconds)) = text.split_once('m').filter(|(_, rest)| {
        let rest = rest.trim_start_matches("in").trim();
        rest.ends_with('s') && rest.starts_with(|c: char| c.is_ascii_digit())
    }) {
        let seconds = seconds
            .trim_start_matches("in")
            .trim()
            .trim_end_matches('s');
        return Some(plain(minutes)? * 60_000.0 + plain(seconds)? * 1000.0);
    }
    let unit_at = text.find(|c: char| c.is_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at_checked(unit_at)?;
    let factor = match unit
        .trim()
        .trim_end_matches('.')
        .to_ascii_lowercase()
        .as_str()
    {
        "" => millis_per_unit,
        "ms" | "msec" | "millis" | "milliseconds" => 1.0,
        "s" | "sec" | "secs" | "second" | "seconds" => 1000.0,
        "m" | "min" | "mins" | "minutes" => 60_000.0,
        _ => return None,
    };
    Some(plain(number)? * factor)
}

/// A size of memory in bytes. An L4 has 23,034 MiB and the service writes `22.5 GB`: its GB are GiB.
pub fn memory_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_alphabetic())?;
    let (number, unit) = text.split_at_checked(unit_at)?;
    let power = match unit.trim().to_ascii_lowercase().as_str() {
        "gb" | "gib" => 30,
        "mb" | "mib" => 20,
        _ => return None,
    };
    Some((plain(number)? * (1u64 << power) as f64) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_they_are_written() {
        for (text, value) in [
            ("10", 10.0),
            ("10.0", 10.0),
            ("44,100", 44_100.0),
            ("1,044,100.5", 1_044_100.5),
            ("45,2", 45.2),
            ("44 100", 44_100.0),
            ("2.", 2.0),
        ] {
            assert_eq!(plain(text), Some(value), "{text}");
        }
        for bad in [
            "", "-1", "inf", "NaN", "1e9", "4,5,6", "ten", "1.2.3", ",", ".",
        ] {
            assert_eq!(plain(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_unit_in_the_cell_wins_over_the_header() {
        assert_eq!(millis("45.2", 1000.0), Some(45_200.0));
        assert_eq!(millis("45.2s", 1000.0), Some(45_200.0));
        assert_eq!(millis("45.2 s", 1.0), Some(45_200.0));
        assert_eq!(millis("44,100", 1.0), Some(44_100.0));
        assert_eq!(millis("44,100 ms", 1000.0), Some(44_100.0));
        assert_eq!(millis("1m 12.5s", 1000.0), Some(72_500.0));
        assert_eq!(millis("1.5 min", 1000.0), Some(90_000.0));
        assert_eq!(millis("FAILED", 1000.0), None);
        assert_eq!(millis("45 parsecs", 1000.0), None);
    }

    #[test]
    fn memory_is_read_in_the_services_units() {
        assert_eq!(memory_bytes("22.5 GB"), Some(24_159_191_040));
        assert_eq!(memory_bytes("23034 MiB"), Some(24_152_899_584));
        assert_eq!(memory_bytes("plenty"), None);
    }
}
