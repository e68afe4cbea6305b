//! 8-connected white components, found from runs of white; knows no recipe.

use super::binary::{BinaryMask, PixelBox, WORD};

/// A horizontal run of white pixels.
#[derive(Clone, Copy, Debug)]
struct Run {
    y: u32,
    first_x: u32,
    last_x: u32,
    /// Index of a run of the same component that was found earlier; itself for the first one.
    parent: u32,
}

/// One component: white pixels that touch each other, corners included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Component {
    /// White pixels.
    pub area_px: u64,
    /// The smallest box around them.
    pub bounds: PixelBox,
}

/// The 8-connected white components of a mask, in the order in which a reader meets them.
#[derive(Debug)]
pub struct Components {
    runs: Vec<Run>,
    /// For each run, the index of its component.
    component_of_run: Vec<u32>,
    found: Vec<Component>,
}

impl Components {
    /// Finds the components of a mask.
    pub fn of(mask: &BinaryMask) -> Self {
        let mut runs = Vec::new();
        let mut previous_row = 0..0;
        for y in 0..mask.height() {
            let row_start = runs.len();
            push_runs(&mut runs, y, mask.row(y as usize));
            join_rows(&mut runs, previous_row, row_start);
            previous_row = row_start..runs.len();
        }
        let mut component_of_run = vec![0_u32; runs.len()];
        let mut components: Vec<Component> = Vec::new();
        for index in 0..runs.len() {
            let root = root_of(&mut runs, index as u32) as usize;
            let run = runs[index];
            // A root is never later than its runs, so its component is already there.
            let component = if root == index {
                components.push(Component {
                    area_px: 0,
                    bounds: PixelBox {
                        x: run.first_x,
                        y: run.y,
                        width: run.last_x - run.first_x + 1,
                        height: 1,
                    },
                });
                components.len() as u32 - 1
            } else {
                component_of_run[root]
            };
            component_of_run[index] = component;
            let Component { area_px, bounds } = &mut components[component as usize];
            *area_px += u64::from(run.last_x - run.first_x + 1);
            let left = bounds.x.min(run.first_x);
            let right = bounds.right().max(run.last_x + 1);
            *bounds = PixelBox {
                x: left,
                width: right - left,
                height: run.y - bounds.y + 1,
                ..*bounds
            };
        }
        Self {
            runs,
            component_of_run,
            found: components,
        }
    }

    /// The components.
    pub fn list(&self) -> &[Component] {
        &self.found
    }

    /// How many there are.
    pub fn count(&self) -> usize {
        self.found.len()
    }

    /// Pixels of the largest, 0 without any.
    pub fn largest_px(&self) -> u64 {
        self.found
            .iter()
            .map(|component| component.area_px)
            .max()
            .unwrap_or(0)
    }

    /// The mask without its components of fewer than `smallest_px` pixels. `mask` is the one whose
    /// components these are.
    fn drop_small(&self, mask: &BinaryMask, smallest_px: u32) -> BinaryMask {
        let mut kept = mask.clone();
        let words_per_row = kept.words_per_row();
        let words = kept.words_mut();
        for (run, &component) in self.runs.iter().zip(&self.component_of_run) {
            if self.found[component as usize].area_px < u64::from(smallest_px) {
                let row = run.y as usize * words_per_row;
                clear_bits(
                    &mut words[row..row + words_per_row],
                    run.first_x,
                    run.last_x,
                );
            }
        }
        kept
    }
}

/// The mask without its 8-connected white components of fewer than `smallest_px` pixels.
#[must_use]
pub fn despeck(mask: &BinaryMask, smallest_px: u32) -> BinaryMask {
    if smallest_px <= 1 {
        return mask.clone();
    }
    Components::of(mask).drop_small(mask, smallest_px)
}

/// The same, for a mask whose components are already known.
pub(super) fn despeck_known(
    mask: &BinaryMask,
    components: &Components,
    smallest_px: u32,
) -> BinaryMask {
    components.drop_small(mask, smallest_px)
}

fn push_runs(runs: &mut Vec<Run>, y: u32, row: &[u64]) {
    let row_start = runs.len();
    for (index, &word) in row.iter().enumerate() {
        let (mut rest, base) = (word, (index * WORD) as u32);
        while rest != 0 {
            let from = rest.trailing_zeros();
            let length = (!(rest >> from)).trailing_zeros();
            let (first_x, last_x) = (base + from, base + from + length - 1);
            rest = if from + length < u64::BITS {
                rest & (u64::MAX << (from + length))
            } else {
                0
            };
            let parent = runs.len() as u32;
            match runs.last_mut() {
                // A run that reached the end of the last word goes on in this one.
                Some(last) if parent as usize > row_start && last.last_x + 1 == first_x => {
                    last.last_x = last_x;
                }
                _ => runs.push(Run {
                    y,
                    first_x,
                    last_x,
                    parent,
                }),
            }
        }
    }
}

/// Joins the runs from `row_start` on with those of the row above that touch them, corners included.
fn join_rows(runs: &mut [Run], above: std::ops::Range<usize>, row_start: usize) {
    let mut first_above = above.start;
    for here in row_start..runs.len() {
        let (first_x, last_x) = (runs[here].first_x, runs[here].last_x);
        while first_above < above.end && runs[first_above].last_x + 1 < first_x {
            first_above += 1;
        }
        let mut touching = first_above;
        while touching < above.end && runs[touching].first_x <= last_x + 1 {
            let (a, b) = (root_of(runs, here as u32), root_of(runs, touching as u32));
            runs[a.max(b) as usize].parent = a.min(b);
            touching += 1;
        }
    }
}

/// The earliest run of a run's component so far, shortening the way for the next call.
fn root_of(runs: &mut [Run], index: u32) -> u32 {
    let mut at = index;
    while runs[at as usize].parent != at {
        let grandparent = runs[runs[at as usize].parent as usize].parent;
        runs[at as usize].parent = grandparent;
        at = grandparent;
    }
    at
}

fn clear_bits(row: &mut [u64], first_x: u32, last_x: u32) {
    for (index, word) in row.iter_mut().enumerate() {
        let base = (index * WORD) as u32;
        if base > last_x || base + 63 < first_x {
            continue;
        }
        let from = first_x.saturating_sub(base);
        let to = (last_x - base).min(63);
        *word &= !(u64::MAX << from & u64::MAX >> (63 - to));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(rows: &[&str]) -> BinaryMask {
        let width = rows.first().map_or(0, |row| row.len());
        BinaryMask::from_fn(width as u32, rows.len() as u32, |x, y| {
            rows[y as usize].as_bytes()[x as usize] == b'#'
        })
    }

    #[test]
    fn corners_connect_and_shapes_that_meet_late_are_one() {
        let mask = drawn(&[
            "#...#", "#...#", ".#.#.", "..#..", ".....", "#....", ".#..#",
        ]);
        let components = Components::of(&mask);
        let areas: Vec<u64> = components.list().iter().map(|c| c.area_px).collect();
        assert_eq!(areas, [7, 2, 1]);
        assert_eq!(
            components.list()[0].bounds,
            PixelBox {
                x: 0,
                y: 0,
                width: 5,
                height: 4
            }
        );
        assert_eq!(components.largest_px(), 7);
    }

    #[test]
    fn runs_across_words_are_one_run() {
        let mask = BinaryMask::from_fn(200, 2, |x, y| y == 0 && (60..=140).contains(&x));
        let components = Components::of(&mask);
        assert_eq!(components.count(), 1);
        assert_eq!(components.largest_px(), 81);
    }

    #[test]
    fn despeck_keeps_what_has_exactly_the_size() {
        let mask = BinaryMask::from_fn(130, 3, |x, y| y == 1 && (x < 5 || (62..=67).contains(&x)));
        assert_eq!(despeck(&mask, 5), mask);
        assert_eq!(despeck(&mask, 6).white_px(), 6);
        assert!(despeck(&mask, 7).is_empty());
        assert_eq!(despeck(&mask, 0), mask);
    }
}
