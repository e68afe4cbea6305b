//! Activations laid out for the innermost loops: panels of [`WIDTH`] rows, column by column.

use crate::aligned::Aligned;
use rayon::prelude::*;

/// Rows of activations that are multiplied together; the last panel is filled up with zeros.
pub const WIDTH: usize = 64;

/// Values that share a scale where activations are quantized.
const QUANT: usize = 32;

/// Panels of how many there are for so many rows.
pub fn panel_count(rows: usize) -> usize {
    rows.div_ceil(WIDTH)
}

/// Float activations: `[panel][column][row of the panel]`.
pub struct Floats {
    values: Aligned<f32>,
    columns: usize,
}

impl Floats {
    /// Lays out `x`, rows of `columns` values.
    pub fn new(x: &[f32], columns: usize) -> Self {
        let panels = panel_count(x.len() / columns.max(1));
        let mut values = Aligned::zeros(panels * columns * WIDTH);
        values
            .par_chunks_mut((columns * WIDTH).max(1))
            .zip(x.par_chunks((columns * WIDTH).max(1)))
            .for_each(|(panel, rows)| {
                // Sixteen columns of all rows at a time: a block that stays in the nearest cache.
                for start in (0..columns).step_by(16) {
                    let end = columns.min(start + 16);
                    for (at, row) in rows.chunks_exact(columns).enumerate() {
                        for column in start..end {
                            panel[column * WIDTH + at] = row[column];
                        }
                    }
                }
            });
        Self { values, columns }
    }

    /// Columns `from..to` of a panel.
    pub fn part(&self, panel: usize, from: usize, to: usize) -> &[f32] {
        let start = panel * self.columns * WIDTH;
        &self.values[start + from * WIDTH..start + to * WIDTH]
    }
}

/// Activations as signed bytes, four columns of a row together: `[panel][column / 4][row][4]`. Every 32
/// columns of a row have a scale of their own.
pub struct Bytes {
    values: Aligned<i8>,
    /// `[panel][group][row]`: what a byte is worth.
    scales: Aligned<f32>,
    /// `[panel][group][row]`: the sum of the group's values.
    sums: Aligned<f32>,
    columns: usize,
    group: usize,
}

/// A part of one panel.
pub struct BytesPart<'a> {
    /// `[column / 4][row][4]`.
    pub values: &'a [i8],
    /// `[group][row]`.
    pub scales: &'a [f32],
    /// `[group][row]`.
    pub sums: &'a [f32],
}

impl Bytes {
    /// Quantizes `x`, rows of `columns` values, a multiple of 32. Scales and sums are told for every
    /// `group` columns, 16 or 32, as the weights have theirs. Where a value is not finite, so is its
    /// scale, and all that comes of it.
    pub fn new(x: &[f32], columns: usize, group: usize) -> Self {
        let panels = panel_count(x.len() / columns.max(1));
        let groups = columns / group;
        let mut values = Aligned::zeros(panels * columns * WIDTH);
        let mut scales = Aligned::zeros(panels * groups * WIDTH);
        let mut sums = Aligned::zeros(panels * groups * WIDTH);
        values
            .par_chunks_mut((columns * WIDTH).max(1))
            .zip(scales.par_chunks_mut((groups * WIDTH).max(1)))
            .zip(sums.par_chunks_mut((groups * WIDTH).max(1)))
            .zip(x.par_chunks((columns * WIDTH).max(1)))
            .for_each(|(((values, scales), sums), rows)| {
                for (at, row) in rows.chunks_exact(columns).enumerate() {
                    for (index, block) in row.chunks_exact(QUANT).enumerate() {
                        let (bytes, scale) = quantized(block);
                        for (four, bytes) in bytes.chunks_exact(4).enumerate() {
                            let to = (index * QUANT / 4 + four) * 4 * WIDTH + at * 4;
                            values[to..to + 4].copy_from_slice(bytes);
                        }
                        for (part, bytes) in bytes.chunks_exact(group).enumerate() {
                            let sum: i32 = bytes.iter().map(|byte| i32::from(*byte)).sum();
                            let to = (index * (QUANT / group) + part) * WIDTH + at;
                            scales[to] = scale;
                            sums[to] = scale * sum as f32;
                        }
                    }
                }
            });
        Self {
            values,
            scales,
            sums,
            columns,
            group,
        }
    }

    /// Columns `from..to` of a panel, multiples of the group.
    pub fn part(&self, panel: usize, from: usize, to: usize) -> BytesPart<'_> {
        let of = |per: usize| {
            let start = panel * self.columns / per * WIDTH;
            start + from / per * WIDTH..start + to / per * WIDTH
        };
        BytesPart {
            values: &self.values[of(1)],
            scales: &self.scales[of(self.group)],
            sums: &self.sums[of(self.group)],
        }
    }
}

/// Bytes from -127 to 127 and what each is worth.
fn quantized(block: &[f32]) -> ([i8; QUANT], f32) {
    let mut bytes = [0; QUANT];
    if !block.iter().all(|value| value.is_finite()) {
        return (bytes, f32::NAN);
    }
    let largest = block
        .iter()
        .fold(0.0_f32, |max, value| max.max(value.abs()));
    let scale = largest / 127.0;
    let inverse = if scale > 0.0 { 1.0 / scale } else { 0.0 };
    for (byte, value) in bytes.iter_mut().zip(block) {
        *byte = (value * inverse).round_ties_even() as i8;
    }
    (bytes, scale)
}
