//! `y = x Wᵀ` with weights as they are stored.
//!
//! The outputs are shared out in pieces of `PIECE`, and each piece goes over the inputs in chunks: a chunk
//! of its rows is decoded into the cache, and multiplied by every panel of activations before the next is
//! decoded. So a weight is read once from memory and decoded once, and activations come from the cache.

use crate::activations::{Bytes, Floats, WIDTH, panel_count};
use crate::aligned::Aligned;
use crate::instructions::{Instructions, Set};
use crate::stored::StoredType;
use crate::{few, float, integer};
use rayon::prelude::*;
use std::ops::Range;

/// Outputs that one task computes; a multiple of what the innermost loops take at once.
const PIECE: usize = 96;
/// Inputs that are decoded at once: a multiple of every type's block, and little enough that a piece's rows
/// and a panel stay in the cache of a core.
const CHUNK: usize = 256;

/// A matrix as it is stored, row after row.
#[derive(Debug, Clone, Copy)]
pub struct Matrix<'a> {
    stored_type: StoredType,
    bytes: &'a [u8],
    outputs: usize,
    inputs: usize,
}

impl<'a> Matrix<'a> {
    /// A matrix of `outputs` rows of `inputs` values; `None` if the bytes are not just that.
    pub fn new(
        stored_type: StoredType,
        bytes: &'a [u8],
        outputs: usize,
        inputs: usize,
    ) -> Option<Self> {
        let is_whole = stored_type.size_bytes(&[outputs, inputs]) == Some(bytes.len() as u64);
        is_whole.then_some(Self {
            stored_type,
            bytes,
            outputs,
            inputs,
        })
    }

    /// The bytes of columns `from..to` of a row, whole blocks.
    fn part(&self, row: usize, from: usize, to: usize) -> &'a [u8] {
        let (values, size) = self.stored_type.block();
        let start = row * self.inputs;
        &self.bytes[(start + from) / values * size..(start + to) / values * size]
    }

    /// Columns `from..to` of a row, whole blocks, in float32.
    fn decode(&self, row: usize, from: usize, to: usize, rounds_to_bf16: bool, out: &mut [f32]) {
        self.stored_type.decode(self.part(row, from, to), out);
        if rounds_to_bf16 {
            for value in out {
                *value = half::bf16::from_f32(*value).to_f32();
            }
        }
    }
}

/// Fewer rows of activations than this are not laid out in panels, and never quantized.
pub const FEW_ROWS: usize = 16;

/// How products are computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Arithmetic {
    /// By the decoded weights in float32; with `rounds_to_bf16` by their nearest bfloat16 numbers.
    Exact {
        /// As a pipeline in bfloat16 would hold them.
        rounds_to_bf16: bool,
    },
    /// Weights and activations as integers: faster, and off by what it takes to give 32 activations bytes
    /// of a common scale, about a hundredth. Weights that are not quantized, and fewer rows than
    /// [`FEW_ROWS`], are multiplied exactly.
    Integer,
}

/// `y` (rows, outputs) of `x` (rows, inputs), both row after row. What is left of `x` after its whole rows
/// is ignored.
pub fn multiply(
    x: &[f32],
    matrix: &Matrix<'_>,
    arithmetic: Arithmetic,
    instructions: Instructions,
) -> Vec<f32> {
    let inputs = matrix.inputs;
    let rows = x.len().checked_div(inputs).unwrap_or(0);
    let x = &x[..rows * inputs];
    let set = instructions.0;
    if rows < FEW_ROWS {
        let rounds_to_bf16 = arithmetic
            == Arithmetic::Exact {
                rounds_to_bf16: true,
            };
        return few_rows(set, x, rows, matrix, rounds_to_bf16);
    }
    match (arithmetic, matrix.stored_type.group()) {
        (Arithmetic::Integer, Some(group)) => {
            let bytes = Bytes::new(x, inputs, group);
            in_pieces(rows, matrix.outputs, |piece, sums| {
                integer_piece(set, matrix, group, &bytes, piece, sums);
            })
        }
        (Arithmetic::Integer, None) => exact(set, x, rows, matrix, false),
        (Arithmetic::Exact { rounds_to_bf16 }, _) => exact(set, x, rows, matrix, rounds_to_bf16),
    }
}

fn exact(set: Set, x: &[f32], rows: usize, matrix: &Matrix<'_>, rounds_to_bf16: bool) -> Vec<f32> {
    let floats = Floats::new(x, matrix.inputs);
    in_pieces(rows, matrix.outputs, |piece, sums| {
        let mut decoded = Aligned::<f32>::zeros(PIECE * CHUNK);
        for from in (0..matrix.inputs).step_by(CHUNK) {
            let to = matrix.inputs.min(from + CHUNK);
            for (row, decoded) in piece.clone().zip(decoded.chunks_exact_mut(CHUNK)) {
                let decoded = &mut decoded[..to - from];
                matrix.decode(row, from, to, rounds_to_bf16, decoded);
            }
            for (panel, sums) in sums.chunks_exact_mut(PIECE * WIDTH).enumerate() {
                let panel = floats.part(panel, from, to);
                float::add_products(set, &decoded, CHUNK, piece.len(), panel, sums);
            }
        }
    })
}

fn few_rows(
    set: Set,
    x: &[f32],
    rows: usize,
    matrix: &Matrix<'_>,
    rounds_to_bf16: bool,
) -> Vec<f32> {
    /// A multiple of every type's block.
    const PART: usize = 8 * CHUNK;
    in_pieces(rows, matrix.outputs, |piece, sums| {
        let mut decoded = Aligned::<f32>::zeros(PART);
        for (output, sums) in piece.zip(sums.chunks_exact_mut(WIDTH)) {
            for from in (0..matrix.inputs).step_by(PART) {
                let to = matrix.inputs.min(from + PART);
                let decoded = &mut decoded[..to - from];
                matrix.decode(output, from, to, rounds_to_bf16, decoded);
                for (row, sum) in x.chunks_exact(matrix.inputs).zip(&mut *sums) {
                    *sum += few::dot(set, &row[from..to], decoded);
                }
            }
        }
    })
}

fn integer_piece(
    set: Set,
    matrix: &Matrix<'_>,
    group: usize,
    bytes: &Bytes,
    piece: Range<usize>,
    sums: &mut [f32],
) {
    let groups = CHUNK / group;
    let zero = matrix.stored_type.zero();
    let is_signed = integer::wants_signed(set, zero);
    let mut q = Aligned::<u8>::zeros(PIECE * CHUNK);
    let mut scales = vec![0.0; PIECE * groups];
    let mut offsets = vec![0.0; PIECE * groups];
    for from in (0..matrix.inputs).step_by(CHUNK) {
        let to = matrix.inputs.min(from + CHUNK);
        let outputs = q
            .chunks_exact_mut(CHUNK)
            .zip(scales.chunks_exact_mut(groups))
            .zip(offsets.chunks_exact_mut(groups));
        for (row, ((q, scales), offsets)) in piece.clone().zip(outputs) {
            let q = &mut q[..to - from];
            let (scales, offsets) = (
                &mut scales[..(to - from) / group],
                &mut offsets[..(to - from) / group],
            );
            let stored = matrix.part(row, from, to);
            matrix.stored_type.unpack(stored, q, scales, offsets);
            if is_signed {
                // What is taken from the bytes need not be taken from the sum.
                for q in q.iter_mut() {
                    *q ^= 128;
                }
            } else {
                for (offset, scale) in offsets.iter_mut().zip(&*scales) {
                    *offset -= f32::from(zero) * scale;
                }
            }
        }
        let weights = integer::WeightsPart {
            q: &q,
            stride: CHUNK,
            scales: &scales,
            offsets: &offsets,
            groups_stride: groups,
            rows: piece.len(),
            group,
            is_signed,
        };
        for (panel, sums) in sums.chunks_exact_mut(PIECE * WIDTH).enumerate() {
            let panel = bytes.part(panel, from, to);
            integer::add_products(set, &weights, &panel, sums);
        }
    }
}

/// Where pieces write their columns of the result.
struct Columns {
    values: *mut f32,
}

// SAFETY: pieces write to different places, and nobody reads before all are done.
#[expect(
    unsafe_code,
    reason = "columns of one matrix are written by several threads"
)]
unsafe impl Sync for Columns {}

impl Columns {
    /// # Safety
    /// `at` is inside the result and no other piece's.
    #[expect(
        unsafe_code,
        reason = "columns of one matrix are written by several threads"
    )]
    unsafe fn write(&self, at: usize, value: f32) {
        // SAFETY: the caller's.
        unsafe { *self.values.add(at) = value }
    }
}

/// The result (rows, outputs), computed piece by piece: `compute` adds to sums in the order `[panel][output
/// of the piece][row of the panel]`.
fn in_pieces(
    rows: usize,
    outputs: usize,
    compute: impl Fn(Range<usize>, &mut [f32]) + Sync,
) -> Vec<f32> {
    let mut result = vec![0.0; rows * outputs];
    let columns = Columns {
        values: result.as_mut_ptr(),
    };
    let columns = &columns;
    (0..outputs.div_ceil(PIECE))
        .into_par_iter()
        .for_each(|piece| {
            let piece = piece * PIECE..outputs.min((piece + 1) * PIECE);
            let mut sums = Aligned::<f32>::zeros(panel_count(rows) * PIECE * WIDTH);
            compute(piece.clone(), &mut sums);
            for row in 0..rows {
                let of_row = &sums[row / WIDTH * PIECE * WIDTH + row % WIDTH..];
                let of_row = of_row.iter().step_by(WIDTH);
                for (output, sum) in piece.clone().zip(of_row) {
                    // SAFETY: `row` and `output` are inside the result, and no other piece has the output.
                    #[expect(
                        unsafe_code,
                        reason = "columns of one matrix are written by several threads"
                    )]
                    unsafe {
                        columns.write(row * outputs + output, *sum);
                    }
                }
            }
        });
    result
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;

    const ALL: [StoredType; 13] = [
        StoredType::F32,
        StoredType::F16,
        StoredType::Bf16,
        StoredType::Q4_0,
        StoredType::Q4_1,
        StoredType::Q5_0,
        StoredType::Q5_1,
        StoredType::Q8_0,
        StoredType::Q2K,
        StoredType::Q3K,
        StoredType::Q4K,
        StoredType::Q5K,
        StoredType::Q6K,
    ];

    /// Blocks of noise: every bit pattern of the integers, scales from a hundredth to a tenth.
    fn stored(stored_type: StoredType, outputs: usize, inputs: usize) -> Vec<u8> {
        let mut state = 12_345_u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        let len = stored_type.size_bytes(&[outputs, inputs]).unwrap_or(0);
        let mut bytes: Vec<u8> = (0..len).map(|_| byte()).collect();
        let half = |byte: u8| half::f16::from_f32(0.01 + f32::from(byte) / 3000.0).to_le_bytes();
        for block in bytes.chunks_exact_mut(stored_type.block().1) {
            let halves: &[usize] = match stored_type {
                StoredType::Q2K => &[80, 82],
                StoredType::Q3K => &[108],
                StoredType::Q6K => &[208],
                StoredType::Q4_1 | StoredType::Q5_1 | StoredType::Q4K | StoredType::Q5K => &[0, 2],
                StoredType::F16 | StoredType::Q4_0 | StoredType::Q5_0 | StoredType::Q8_0 => &[0],
                StoredType::F32 => {
                    let value = f32::from(block[0]) / 200.0 - 0.5;
                    block.copy_from_slice(&value.to_le_bytes());
                    &[]
                }
                StoredType::Bf16 => {
                    let value = half::bf16::from_f32(f32::from(block[0]) / 200.0 - 0.5);
                    block.copy_from_slice(&value.to_le_bytes());
                    &[]
                }
            };
            for at in halves {
                let value = half(block[*at]);
                block[*at..at + 2].copy_from_slice(&value);
            }
        }
        bytes
    }

    fn wave(len: usize) -> Vec<f32> {
        (0..len)
            .map(|i| (i as f32 * 0.377).sin() * (1.0 + (i % 7) as f32))
            .collect()
    }

    /// Products in float64 by the decoded weights, and the sum of their absolute values.
    fn expected(x: &[f32], matrix: &Matrix<'_>) -> Vec<(f64, f64)> {
        let (outputs, inputs) = (matrix.outputs, matrix.inputs);
        let mut decoded = vec![0.0; outputs * inputs];
        matrix.stored_type.decode(matrix.bytes, &mut decoded);
        let products = |row: &[f32], weights: &[f32]| {
            row.iter()
                .zip(weights)
                .fold((0.0, 0.0), |(sum, size), (x, w)| {
                    let product = f64::from(*x) * f64::from(*w);
                    (sum + product, size + product.abs())
                })
        };
        x.chunks_exact(inputs)
            .flat_map(|row| decoded.chunks_exact(inputs).map(move |w| products(row, w)))
            .collect()
    }

    #[test]
    fn every_type_multiplies_right_with_every_set_of_instructions() {
        // More than a piece and no multiple of anything; one panel and a part of a second, and few rows;
        // chunks and a rest.
        let outputs = 107;
        let matrix_of = |stored_type: StoredType| match stored_type.block().0 {
            256 => 768,
            32 => 608,
            _ => 301,
        };
        for stored_type in ALL {
            let inputs = matrix_of(stored_type);
            let bytes = stored(stored_type, outputs, inputs);
            let matrix = Matrix::new(stored_type, &bytes, outputs, inputs).unwrap();
            let x = wave(70 * inputs);
            let expected = expected(&x, &matrix);
            let exact = Arithmetic::Exact {
                rounds_to_bf16: false,
            };
            let cases = [
                (exact, 70, 1e-6),
                (exact, 3, 1e-6),
                (Arithmetic::Integer, 70, 4e-3),
                (Arithmetic::Integer, 3, 1e-6),
            ];
            for instructions in Instructions::available() {
                for (arithmetic, rows, tolerance) in cases {
                    let x = &x[..rows * inputs];
                    let y = multiply(x, &matrix, arithmetic, instructions);
                    assert_eq!(y.len(), rows * outputs);
                    for (y, (sum, size)) in y.iter().zip(&expected) {
                        let off = (f64::from(*y) - sum).abs();
                        assert!(
                            off <= tolerance * size,
                            "{} {} {arithmetic:?}: {y} is not {sum}",
                            stored_type.name(),
                            instructions.name(),
                        );
                    }
                }
            }
        }
    }

    #[test]
    fn integers_give_the_same_with_every_set_of_instructions() {
        for stored_type in ALL.into_iter().filter(|it| it.is_quantized()) {
            let (rows, outputs, inputs) = (65, 97, 512);
            let bytes = stored(stored_type, outputs, inputs);
            let matrix = Matrix::new(stored_type, &bytes, outputs, inputs).unwrap();
            let x = wave(rows * inputs);
            let all: Vec<Vec<f32>> = Instructions::available()
                .into_iter()
                .map(|set| multiply(&x, &matrix, Arithmetic::Integer, set))
                .collect();
            let largest = all[0].iter().fold(0.0_f32, |max, y| max.max(y.abs()));
            for other in &all[1..] {
                for (a, b) in all[0].iter().zip(other) {
                    // Sums of a group are exact; only the order of adding groups differs.
                    assert!(
                        (a - b).abs() <= 2e-6 * largest,
                        "{}: {a} {b}",
                        stored_type.name()
                    );
                }
            }
        }
    }

    #[test]
    fn bytes_at_their_limits_do_not_overflow() {
        // All weights and activations as large as they can be, of either sign.
        for (weight, value) in [(127_i8, 1.0_f32), (-128, 1.0), (-128, -1.0), (127, -1.0)] {
            let (outputs, inputs) = (7, 64);
            let mut bytes = Vec::new();
            for _ in 0..outputs * inputs / 32 {
                bytes.extend(half::f16::from_f32(1.0).to_le_bytes());
                bytes.extend([weight.cast_unsigned(); 32]);
            }
            let matrix = Matrix::new(StoredType::Q8_0, &bytes, outputs, inputs).unwrap();
            let x = vec![value; FEW_ROWS * inputs];
            let expected = f32::from(weight) * value * inputs as f32;
            for instructions in Instructions::available() {
                let y = multiply(&x, &matrix, Arithmetic::Integer, instructions);
                for y in y {
                    assert!((y - expected).abs() < 0.01, "{}: {y}", instructions.name());
                }
            }
        }
    }

    #[test]
    fn what_is_not_finite_stays_so() {
        let bytes = stored(StoredType::Q4_0, 5, 64);
        let matrix = Matrix::new(StoredType::Q4_0, &bytes, 5, 64).unwrap();
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            let mut x = wave(FEW_ROWS * 64);
            x[70] = bad;
            for instructions in Instructions::available() {
                for arithmetic in [
                    Arithmetic::Integer,
                    Arithmetic::Exact {
                        rounds_to_bf16: true,
                    },
                ] {
                    let y = multiply(&x, &matrix, arithmetic, instructions);
                    assert!(y[..5].iter().all(|y| y.is_finite()), "{y:?}");
                    assert!(
                        y[5..10].iter().all(|y| !y.is_finite()),
                        "{arithmetic:?} {y:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn bfloat16_weights_are_the_nearest() {
        let bytes: Vec<u8> = [1.003_f32, -2.011]
            .iter()
            .flat_map(|w| w.to_le_bytes())
            .collect();
        let matrix = Matrix::new(StoredType::F32, &bytes, 2, 1).unwrap();
        let rounded = Arithmetic::Exact {
            rounds_to_bf16: true,
        };
        let y = multiply(&[1.0], &matrix, rounded, Instructions::best());
        assert_eq!(y, [1.0, -2.015_625]);
    }

    #[test]
    fn a_matrix_is_refused_whose_bytes_do_not_fit() {
        assert!(Matrix::new(StoredType::Q4_0, &[0; 18], 1, 32).is_some());
        assert!(Matrix::new(StoredType::Q4_0, &[0; 17], 1, 32).is_none());
        assert!(Matrix::new(StoredType::Q4_0, &[0; 18], 1, 33).is_none());
        let nothing = Matrix::new(StoredType::F32, &[], 0, 4).unwrap();
        let exact = Arithmetic::Exact {
            rounds_to_bf16: false,
        };
        assert!(multiply(&[1.0; 8], &nothing, exact, Instructions::best()).is_empty());
    }
}
