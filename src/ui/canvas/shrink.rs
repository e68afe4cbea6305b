//! Smaller pictures: averages of areas in linear light, weighted by alpha.
//!
//! Knows bytes only. Plain indices and tables, so that it is also fast where the program is built
//! without optimisation.

use std::sync::LazyLock;

/// A picture at a smaller size as RGBA: every pixel is the average of the area it covers.
///
/// `source` holds rows of `CHANNELS` bytes a pixel, sRGB-encoded: 3 without alpha, or 4 with straight
/// alpha. `from` and `to` are width and height in pixels, at least 1 and `to` at most `from`; what
/// `source` lacks counts as nothing.
pub(super) fn shrunk<const CHANNELS: usize>(
    source: &[u8],
    from: [u32; 2],
    to: [u32; 2],
) -> Vec<u8> {
    if CHANNELS == 3 && from[0].is_multiple_of(to[0]) && from[1].is_multiple_of(to[1]) {
        let side = [from[0] / to[0], from[1] / to[1]];
        // Above it the sums of whole numbers would not fit.
        if u64::from(side[0]) * u64::from(side[1]) <= 1 << 16 {
            return boxed(source, to, side.map(|px| px as usize));
        }
    }
    let (columns, rows) = (spans(from[0], to[0]), spans(from[1], to[1]));
    let stride = from[0] as usize * CHANNELS;
    let mut rgba8 = Vec::with_capacity(columns.len() * rows.len() * 4);
    // One target row: red, green, blue times alpha, and alpha, which is 1 where there is none.
    let mut sums = vec![[0.0_f32; 4]; columns.len()];
    for row in &rows {
        sums.fill([0.0; 4]);
        for y in row.first..=row.last {
            if let Some(source) = source.get(y * stride..(y + 1) * stride) {
                add_row::<CHANNELS>(&mut sums, source, &columns, row.weight(y));
            }
        }
        for sum in &sums {
            rgba8.extend_from_slice(&averaged::<CHANNELS>(*sum));
        }
    }
    rgba8
}

/// [`shrunk`] of RGB pixels where every target pixel covers whole source pixels, `side` wide and high: most
/// pictures, and all in whole numbers.
fn boxed(source: &[u8], to: [u32; 2], side: [usize; 2]) -> Vec<u8> {
    let width = to[0] as usize;
    let stride = width * side[0] * 3;
    let encoded: &[u8] = &ENCODED;
    let count = (side[0] * side[1]) as u32;
    let mut rgba8 = Vec::with_capacity(width * to[1] as usize * 4);
    let mut sums = vec![[0_u32; 3]; width];
    for rows in source.chunks_exact(stride * side[1]) {
        sums.fill([0; 3]);
        for row in rows.chunks_exact(stride) {
            // The size of a megapixel, and of its halves and doubles, without a loop for each pixel.
            match side[0] {
                2 => add_whole(&mut sums, row.as_chunks::<6>().0),
                4 => add_whole(&mut sums, row.as_chunks::<12>().0),
                8 => add_whole(&mut sums, row.as_chunks::<24>().0),
                side => {
                    let pixels = row
                        .chunks_exact(side * 3)
                        .map(|pixels| pixels.as_chunks().0);
                    for (sum, pixels) in sums.iter_mut().zip(pixels) {
                        for pixel in pixels {
                            add_whole::<3>(std::slice::from_mut(sum), std::slice::from_ref(pixel));
                        }
                    }
                }
            }
        }
        for sum in &sums {
            let color = |c: u32| encoded[((c + count / 2) / count) as usize];
            rgba8.extend_from_slice(&[color(sum[0]), color(sum[1]), color(sum[2]), 255]);
        }
    }
    rgba8
}

/// Adds whole pixels, `BYTES / 3` to each sum.
fn add_whole<const BYTES: usize>(sums: &mut [[u32; 3]], pixels: &[[u8; BYTES]]) {
    let linear: &[u16; 256] = &LINEAR;
    for (sum, pixels) in sums.iter_mut().zip(pixels) {
        let mut i = 0;
        while i < BYTES {
            sum[i % 3] += u32::from(linear[pixels[i] as usize]);
            i += 1;
        }
    }
}

/// Adds a row of pixels to the sums of the columns that they lie in.
fn add_row<const CHANNELS: usize>(
    sums: &mut [[f32; 4]],
    source: &[u8],
    columns: &[Span],
    row_weight: f32,
) {
    let linear: &[u16; 256] = &LINEAR;
    for (sum, column) in sums.iter_mut().zip(columns) {
        // Pixels that are wholly inside are added in whole numbers; the two at the ends are weighted.
        let mut inside = [0_u64; 4];
        let mut x = column.first + 1;
        while x < column.last {
            let at = x * CHANNELS;
            if CHANNELS == 4 {
                let alpha = u64::from(source[at + 3]);
                inside[0] += alpha * u64::from(linear[source[at] as usize]);
                inside[1] += alpha * u64::from(linear[source[at + 1] as usize]);
                inside[2] += alpha * u64::from(linear[source[at + 2] as usize]);
                inside[3] += alpha;
            } else {
                inside[0] += u64::from(linear[source[at] as usize]);
                inside[1] += u64::from(linear[source[at + 1] as usize]);
                inside[2] += u64::from(linear[source[at + 2] as usize]);
                inside[3] += 1;
            }
            x += 1;
        }
        let mut end = |x: usize, weight: f32| {
            let at = x * CHANNELS;
            let alpha = if CHANNELS == 4 {
                weight * f32::from(source[at + 3])
            } else {
                weight
            };
            sum[0] += alpha * f32::from(linear[source[at] as usize]);
            sum[1] += alpha * f32::from(linear[source[at + 1] as usize]);
            sum[2] += alpha * f32::from(linear[source[at + 2] as usize]);
            sum[3] += alpha;
        };
        end(column.first, row_weight * column.first_weight);
        if column.last > column.first {
            end(column.last, row_weight * column.last_weight);
        }
        let weight = row_weight * column.inner_weight;
        sum[0] += weight * inside[0] as f32;
        sum[1] += weight * inside[1] as f32;
        sum[2] += weight * inside[2] as f32;
        sum[3] += weight * inside[3] as f32;
    }
}

/// A pixel from sums of linear light times alpha, and of alpha.
fn averaged<const CHANNELS: usize>(sum: [f32; 4]) -> [u8; 4] {
    if sum[3] <= 0.0 {
        return [0; 4];
    }
    let color = |c: f32| ENCODED[((c / sum[3] + 0.5) as usize).min(65_535)];
    let alpha = if CHANNELS == 4 {
        (sum[3] + 0.5) as u8
    } else {
        255
    };
    [color(sum[0]), color(sum[1]), color(sum[2]), alpha]
}

/// Averages of two by two RGBA pixels; `width` is that of the result.
///
/// The work of every mip chain.
pub(super) fn halved_even(source: &[u8], width: usize) -> Vec<u8> {
    let linear: &[u16; 256] = &LINEAR;
    let encoded: &[u8] = &ENCODED;
    let stride = width * 8;
    let mut target = vec![0_u8; source.len() / 4];
    for (row, pair) in target
        .chunks_exact_mut(width * 4)
        .zip(source.chunks_exact(stride * 2))
    {
        let (top, bottom) = pair.split_at(stride);
        let mut x = 0;
        while x < width {
            let (to, from) = (x * 4, x * 8);
            let alpha = [
                top[from + 3],
                top[from + 7],
                bottom[from + 3],
                bottom[from + 7],
            ];
            let mut channel = 0;
            if alpha == [255; 4] {
                while channel < 3 {
                    let sum = u32::from(linear[top[from + channel] as usize])
                        + u32::from(linear[top[from + 4 + channel] as usize])
                        + u32::from(linear[bottom[from + channel] as usize])
                        + u32::from(linear[bottom[from + 4 + channel] as usize]);
                    row[to + channel] = encoded[((sum + 2) >> 2) as usize];
                    channel += 1;
                }
                row[to + 3] = 255;
            } else {
                let weights = alpha.map(u64::from);
                let total: u64 = weights.iter().sum();
                while channel < 3 && total > 0 {
                    let sum = weights[0] * u64::from(linear[top[from + channel] as usize])
                        + weights[1] * u64::from(linear[top[from + 4 + channel] as usize])
                        + weights[2] * u64::from(linear[bottom[from + channel] as usize])
                        + weights[3] * u64::from(linear[bottom[from + 4 + channel] as usize]);
                    row[to + channel] = encoded[((sum + total / 2) / total) as usize];
                    channel += 1;
                }
                row[to + 3] = ((total + 2) / 4) as u8;
            }
            x += 1;
        }
    }
    target
}

/// The source pixels that one target pixel covers along one axis; weights add up to 1.
struct Span {
    first: usize,
    /// The same as `first` where one source pixel is covered only.
    last: usize,
    first_weight: f32,
    inner_weight: f32,
    last_weight: f32,
}

impl Span {
    fn weight(&self, at: usize) -> f32 {
        if at == self.first {
            self.first_weight
        } else if at == self.last {
            self.last_weight
        } else {
            self.inner_weight
        }
    }
}

fn spans(source: u32, target: u32) -> Vec<Span> {
    let step = f64::from(source) / f64::from(target);
    (0..target)
        .map(|i| {
            let from = f64::from(i) * step;
            let to = (f64::from(i + 1) * step).min(f64::from(source));
            let first = from.floor() as usize;
            let last = ((to - 1e-9).ceil() as usize).max(first + 1) - 1;
            let covered = |x: usize| {
                let share = (to.min(x as f64 + 1.0) - from.max(x as f64)).max(0.0);
                (share / (to - from)) as f32
            };
            Span {
                first,
                last,
                first_weight: covered(first),
                inner_weight: (1.0 / (to - from)) as f32,
                last_weight: covered(last),
            }
        })
        .collect()
}

/// Linear light for each sRGB-encoded byte, 0 to 65,535.
pub(super) static LINEAR: LazyLock<[u16; 256]> = LazyLock::new(|| {
    std::array::from_fn(|i| {
        let c = i as f64 / 255.0;
        let linear = if c <= 0.040_45 {
            c / 12.92
        } else {
            ((c + 0.055) / 1.055).powf(2.4)
        };
        (linear * 65_535.0).round() as u16
    })
});

/// The sRGB-encoded byte for each step of linear light from 0 to 65,535.
pub(super) static ENCODED: LazyLock<Vec<u8>> = LazyLock::new(|| {
    (0..=65_535_u32)
        .map(|i| {
            let c = f64::from(i) / 65_535.0;
            let encoded = if c <= 0.003_130_8 {
                c * 12.92
            } else {
                1.055 * c.powf(1.0 / 2.4) - 0.055
            };
            (encoded * 255.0).round() as u8
        })
        .collect()
});

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(count: u32) -> Vec<u8> {
        (0..count)
            .map(|i| (i.wrapping_mul(2_654_435_761) >> 13) as u8)
            .collect()
    }

    /// The plain definition: for every target pixel, all source pixels by the area they share.
    fn by_area(source: &[u8], from: [u32; 2], to: [u32; 2]) -> Vec<u8> {
        let shared = |i: u32, x: u32, axis: usize| {
            let step = f64::from(from[axis]) / f64::from(to[axis]);
            let (start, end) = (f64::from(i) * step, f64::from(i + 1) * step);
            (end.min(f64::from(x + 1)) - start.max(f64::from(x))).max(0.0)
        };
        let mut target = Vec::new();
        for row in 0..to[1] {
            for column in 0..to[0] {
                let (mut sum, mut area) = ([0.0; 4], 0.0);
                for y in 0..from[1] {
                    for x in 0..from[0] {
                        let share = shared(row, y, 1) * shared(column, x, 0);
                        let at = (y * from[0] + x) as usize * 4;
                        let alpha = share * f64::from(source[at + 3]);
                        for channel in 0..3 {
                            sum[channel] +=
                                alpha * f64::from(LINEAR[source[at + channel] as usize]);
                        }
                        sum[3] += alpha;
                        area += share;
                    }
                }
                for channel in 0..3 {
                    target.push(ENCODED[(sum[channel] / sum[3] + 0.5) as usize]);
                }
                target.push((sum[3] / area + 0.5) as u8);
            }
        }
        target
    }

    fn furthest(a: &[u8], b: &[u8]) -> u8 {
        assert_eq!(a.len(), b.len());
        a.iter()
            .zip(b)
            .map(|(a, b)| a.abs_diff(*b))
            .max()
            .unwrap_or(0)
    }

    #[test]
    fn areas_are_shared_as_defined_at_any_ratio() {
        for (from, to) in [
            ([48, 20], [12, 5]),
            ([47, 21], [13, 8]),
            ([17, 9], [16, 9]),
            ([31, 5], [1, 1]),
            ([7, 7], [7, 3]),
        ] {
            let mut rgba8 = bytes(from[0] * from[1] * 4);
            rgba8
                .iter_mut()
                .skip(3)
                .step_by(4)
                .for_each(|a| *a = (*a).max(1));
            let found = shrunk::<4>(&rgba8, from, to);
            assert!(furthest(&found, &by_area(&rgba8, from, to)) <= 1);
        }
    }

    #[test]
    fn pixels_without_alpha_are_pixels_of_full_alpha() {
        for (from, to) in [
            ([47, 21], [13, 8]),
            ([48, 20], [12, 5]),
            ([48, 21], [16, 3]),
            // By whole pixels: each width that has a way of its own.
            ([48, 20], [24, 10]),
            ([48, 40], [6, 5]),
            ([600, 600], [2, 2]),
        ] {
            let rgb8 = bytes(from[0] * from[1] * 3);
            let rgba8: Vec<u8> = rgb8
                .chunks_exact(3)
                .flat_map(|p| [p[0], p[1], p[2], 255])
                .collect();
            let with_alpha = shrunk::<4>(&rgba8, from, to);
            assert!(furthest(&shrunk::<3>(&rgb8, from, to), &with_alpha) <= 1);
        }
    }

    #[test]
    fn both_ways_to_halve_agree() {
        let rgba8 = bytes(48 * 20 * 4);
        let fast = halved_even(&rgba8, 24);
        assert!(furthest(&fast, &shrunk::<4>(&rgba8, [48, 20], [24, 10])) <= 1);
    }

    #[test]
    fn every_encoded_byte_survives_the_way_through_linear_light() {
        for byte in 0..=255_u8 {
            assert_eq!(ENCODED[LINEAR[byte as usize] as usize], byte);
        }
    }
}
