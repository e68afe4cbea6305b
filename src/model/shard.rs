//! How a run's cells are shared out among tasks that know nothing of each other: each computes the same
//! shares from the same plan.

use super::cell::{CellKey, Quant};
use std::str::FromStr;

/// The largest number of tasks of one run, as Cloud Run has it.
pub const MAX_SHARDS: usize = 10_000;

/// A share that cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ShardError {
    /// It is not of the form.
    #[error("a shard is written as 1/3, the first of three, but this is {0:?}")]
    Form(String),
    /// There is no such share.
    #[error("there is no shard {number} of {count}: give 1 to {count}, of at most {MAX_SHARDS}")]
    Range {
        /// The number, from 1.
        number: usize,
        /// How many there are.
        count: usize,
    },
}

/// One of a number of shares.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// The share at `index`, counted from 0, of `count`.
    ///
    /// # Errors
    /// [`ShardError::Range`] if there is no such share.
    pub fn new(index: usize, count: usize) -> Result<Self, ShardError> {
        if index < count && count <= MAX_SHARDS {
            Ok(Self { index, count })
        } else {
            Err(ShardError::Range {
                number: index.saturating_add(1),
                count,
            })
        }
    }

    /// Its place, counted from 0.
    pub fn index(self) -> usize {
        self.index
    }

    /// How many there are.
    pub fn count(self) -> usize {
        self.count
    }

    /// Its cells out of all that are planned.
    pub fn of(self, planned: &[CellKey]) -> Vec<CellKey> {
        split(planned, self.count)
            .into_iter()
            .nth(self.index)
            .unwrap_or_default()
    }
}

impl std::fmt::Display for Shard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.index + 1, self.count)
    }
}

impl FromStr for Shard {
    type Err = ShardError;

    /// Reads `1/3`, the first of three.
    fn from_str(text: &str) -> Result<Self, ShardError> {
        let form = || ShardError::Form(text.to_owned());
        let (number, count) = text.split_once('/').ok_or_else(form)?;
        let number: usize = number.parse().map_err(|_not_a_number| form())?;
        let count: usize = count.parse().map_err(|_not_a_number| form())?;
        match number.checked_sub(1) {
            Some(index) => Self::new(index, count),
            None => Err(ShardError::Range { number, count }),
        }
    }
}

/// Shares out cells: whole quants, since loading one is what costs, as evenly in denoising steps as that
/// allows; a quant is divided only where there are more shares than quants. The order within a share is that
/// of `planned`; shares beyond the number of cells are empty.
pub fn split(planned: &[CellKey], count: usize) -> Vec<Vec<CellKey>> {
    let mut quants: Vec<(&Quant, Vec<&CellKey>)> = Vec::new();
    for key in planned {
        match quants.iter_mut().find(|(quant, _)| *quant == &key.quant) {
            Some((_, cells)) => cells.push(key),
            None => quants.push((&key.quant, vec![key])),
        }
    }
    let groups: Vec<Vec<&CellKey>> = quants.into_iter().map(|(_, cells)| cells).collect();
    if count <= groups.len() {
        return deal(&groups, |cells| work(cells), count)
            .into_iter()
            .map(|share| share.into_iter().flatten().copied().cloned().collect())
            .collect();
    }
    let parts = parts_of(&groups, count);
    let mut shares: Vec<Vec<CellKey>> = Vec::with_capacity(count);
    for (cells, parts) in groups.iter().zip(parts) {
        let dealt = deal(cells, |key| u64::from(key.steps.value()), parts);
        shares.extend(
            dealt
                .into_iter()
                .map(|share| share.into_iter().copied().cloned().collect()),
        );
    }
    shares.resize(count, Vec::new());
    shares
}

fn work(cells: &[&CellKey]) -> u64 {
    cells.iter().map(|key| u64::from(key.steps.value())).sum()
}

/// Into how many parts each group is divided, so that there are `count` in all, as far as there are cells.
fn parts_of(groups: &[Vec<&CellKey>], count: usize) -> Vec<usize> {
    let mut parts = vec![1_usize; groups.len()];
    for _ in groups.len()..count {
        // The group whose parts are largest; of equal ones the first.
        let mut largest: Option<(usize, f64)> = None;
        for (index, (cells, parts)) in groups.iter().zip(&parts).enumerate() {
            let size = work(cells) as f64 / *parts as f64;
            if *parts < cells.len() && largest.is_none_or(|(_, known)| size > known) {
                largest = Some((index, size));
            }
        }
        match largest.and_then(|(index, _)| parts.get_mut(index)) {
            Some(parts) => *parts += 1,
            None => break,
        }
    }
    parts
}

/// Deals items out, the largest first and each to whoever has least; what each has is in its former order.
fn deal<T>(items: &[T], size: impl Fn(&T) -> u64, count: usize) -> Vec<Vec<&T>> {
    let mut order: Vec<(usize, &T)> = items.iter().enumerate().collect();
    order.sort_by_key(|(index, item)| (std::cmp::Reverse(size(item)), *index));
    let mut shares: Vec<(u64, Vec<(usize, &T)>)> = (0..count).map(|_| (0, Vec::new())).collect();
    for (index, item) in order {
        let least = shares.iter_mut().min_by_key(|(held, _)| *held);
        if let Some((held, share)) = least {
            *held += size(item);
            share.push((index, item));
        }
    }
    shares
        .into_iter()
        .map(|(_, mut share)| {
            share.sort_by_key(|(index, _)| *index);
            share.into_iter().map(|(_, item)| item).collect()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a failed unwrap is a failed test")]
    use super::*;
    use crate::model::cell::{CellDefaults, RadiusPx, Steps};
    use crate::model::matrix::Matrix;

    fn audit() -> Vec<CellKey> {
        Matrix::audit(RadiusPx::new(10.0).unwrap()).cells(None)
    }

    fn sizes(planned: &[CellKey], count: usize) -> Vec<usize> {
        split(planned, count).iter().map(Vec::len).collect()
    }

    #[test]
    fn whole_quants_are_shared_out_and_divided_only_when_there_are_more_tasks() {
        let cells = audit();
        assert_eq!(sizes(&cells, 1), [15]);
        assert_eq!(sizes(&cells, 2), [10, 5]);
        assert_eq!(sizes(&cells, 3), [5, 5, 5]);
        assert_eq!(sizes(&cells, 4), [3, 2, 5, 5]);
        assert_eq!(sizes(&cells, 15), [1; 15]);
        for share in split(&cells, 3) {
            assert!(share.iter().all(|key| key.quant == share[0].quant));
        }
    }

    #[test]
    fn every_cell_is_in_exactly_one_share_whatever_their_number() {
        let mut cells = audit();
        for steps in [20, 50] {
            let further: Vec<CellKey> = cells[..3]
                .iter()
                .map(|key| CellKey {
                    steps: Steps::new(steps).unwrap(),
                    ..key.clone()
                })
                .collect();
            cells.extend(further);
        }
        for count in 1..30 {
            let shares = split(&cells, count);
            assert_eq!(shares.len(), count);
            let mut found: Vec<CellKey> = shares.into_iter().flatten().collect();
            let mut wanted = cells.clone();
            found.sort();
            wanted.sort();
            assert_eq!(found, wanted, "{count} shares");
        }
    }

    #[test]
    fn work_is_counted_in_steps() {
        let defaults = CellDefaults::of_service_run();
        let cells: Vec<CellKey> = ["Q4_0_gs2_s50", "Q4_0_gs4_s20", "Q4_0_gs10_s20"]
            .iter()
            .map(|name| CellKey::parse(name, &defaults).unwrap())
            .collect();
        assert_eq!(
            split(&cells, 2),
            [vec![cells[0].clone()], cells[1..].to_vec()]
        );
    }

    #[test]
    fn a_shard_is_written_from_one_and_kept_from_zero() {
        let shard: Shard = "2/3".parse().unwrap();
        assert_eq!((shard.index(), shard.count()), (1, 3));
        assert_eq!(shard.to_string(), "2/3");
        assert_eq!(shard, Shard::new(1, 3).unwrap());
        for wrong in [
            "", "2", "0/3", "4/3", "-1/3", "1/0", "1/99999", "1/3/3", "a/b",
        ] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
