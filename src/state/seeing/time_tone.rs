//! Cells toned by the time that they took. A time, and no judgement: one hue, darker for longer.

use crate::model::cell::CellKey;
use crate::model::run::Run;
use crate::state::compose::duration_label;

/// Which time the cells are toned by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeTone {
    /// None.
    #[default]
    Off,
    /// Wall-clock seconds.
    Wall,
    /// GPU milliseconds.
    Gpu,
}

impl TimeTone {
    /// All choices in the order of the key.
    pub const ALL: [Self; 3] = [Self::Off, Self::Wall, Self::Gpu];

    /// The name that is shown.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Off => "no tone",
            Self::Wall => "wall time",
            Self::Gpu => "GPU time",
        }
    }

    /// Seconds that a cell took; `None` where they are unknown, or nothing is toned.
    pub fn secs_of(self, run: &Run, key: &CellKey) -> Option<f64> {
        let timing = run.timing_of(key)?;
        match self {
            Self::Off => None,
            Self::Wall => timing.wall_secs,
            Self::Gpu => timing.gpu_millis.map(|millis| millis / 1000.0),
        }
    }

    /// The least and the most seconds of the run's cells; `None` if no time is known.
    pub fn range(self, run: &Run) -> Option<TimeRange> {
        if self == Self::Off {
            return None;
        }
        let mut times = run.cells.keys().filter_map(|key| self.secs_of(run, key));
        let first = times.next()?;
        let (least, most) = times.fold((first, first), |(least, most), secs| {
            (least.min(secs), most.max(secs))
        });
        Some(TimeRange { least, most })
    }
}

/// The least and the most seconds among cells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TimeRange {
    /// Seconds.
    pub least: f64,
    /// Seconds.
    pub most: f64,
}

impl TimeRange {
    /// Where some seconds lie between the least (0) and the most (1); in the middle if all are equal.
    pub fn fraction(&self, secs: f64) -> f32 {
        let width = self.most - self.least;
        if width > 0.0 {
            ((secs - self.least) / width).clamp(0.0, 1.0) as f32
        } else {
            0.5
        }
    }
}

/// `44.1 s`, `2 min 5 s`.
pub fn secs_label(secs: f64) -> String {
    if secs < 10.0 {
        format!("{secs:.2} s")
    } else if secs < 100.0 {
        format!("{secs:.1} s")
    } else {
        duration_label(secs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_lie_between_the_least_and_the_most() {
        let range = TimeRange {
            least: 40.0,
            most: 60.0,
        };
        assert_eq!([range.fraction(40.0), range.fraction(50.0)], [0.0, 0.5]);
        assert_eq!(range.fraction(75.0), 1.0);
        let equal = TimeRange {
            least: 3.0,
            most: 3.0,
        };
        assert_eq!(equal.fraction(3.0), 0.5);
    }

    #[test]
    fn seconds_are_for_people() {
        assert_eq!(secs_label(1.234), "1.23 s");
        assert_eq!(secs_label(44.12), "44.1 s");
    }
}
