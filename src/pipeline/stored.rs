//! The ways in which weights are stored in a file, and how each becomes float32.
//!
//! Block layouts follow `ggml-quants.c` of <https://github.com/ggml-org/ggml>; the arithmetic is
//! in its order, so the values are ggml's to the last bit.

use half::{bf16, f16};
use std::ops::Range;

/// How a tensor's values are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoredType {
    F32,
    F16,
    Bf16,
    Q4_0,
    Q4_1,
    Q5_0,
    Q5_1,
    Q8_0,
    Q2K,
    Q3K,
    Q4K,
    Q5K,
    Q6K,
}

/// A tensor in a file: its type, its shape (slowest dimension first) and its bytes' place.
#[derive(Debug, Clone)]
pub struct StoredTensor {
    /// The encoding.
    pub stored_type: StoredType,
    /// Rows first: `[out, in]` of a linear layer.
    pub shape: Vec<usize>,
    /// Bytes in the file; always inside it, and of the length that type and shape require.
    pub range: Range<usize>,
}

impl StoredType {
    /// The type that GGUF numbers so.
    pub fn from_gguf(kind: u32) -> Option<Self> {
        Some(match kind {
            0 => Self::F32,
            1 => Self::F16,
            2 => Self::Q4_0,
            3 => Self::Q4_1,
            6 => Self::Q5_0,
            7 => Self::Q5_1,
            8 => Self::Q8_0,
            10 => Self::Q2K,
            11 => Self::Q3K,
            12 => Self::Q4K,
            13 => Self::Q5K,
            14 => Self::Q6K,
            30 => Self::Bf16,
            _ => return None,
        })
    }

    /// The name that GGUF tools print.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "F32",
            Self::F16 => "F16",
            Self::Bf16 => "BF16",
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q2K => "Q2_K",
            Self::Q3K => "Q3_K",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
        }
    }

    /// Values in a block, and bytes that it takes.
    pub fn block(self) -> (usize, usize) {
        match self {
            Self::F32 => (1, 4),
            Self::F16 | Self::Bf16 => (1, 2),
            Self::Q4_0 => (32, 18),
            Self::Q4_1 => (32, 20),
            Self::Q5_0 => (32, 22),
            Self::Q5_1 => (32, 24),
            Self::Q8_0 => (32, 34),
            Self::Q2K => (256, 84),
            Self::Q3K => (256, 110),
            Self::Q4K => (256, 144),
            Self::Q5K => (256, 176),
            Self::Q6K => (256, 210),
        }
    }

    /// Whether several values share a block.
    pub fn is_quantized(self) -> bool {
        self.block().0 > 1
    }

    /// Bytes that a tensor of this shape takes; `None` if it overflows or rows are no whole blocks.
    pub fn size_bytes(self, shape: &[usize]) -> Option<u64> {
        let (values, bytes) = self.block();
        if !shape.last()?.is_multiple_of(values) {
            return None;
        }
        let count = shape
            .iter()
            .try_fold(1_u64, |product, &dim| product.checked_mul(dim as u64))?;
        (count / values as u64).checked_mul(bytes as u64)
    }

    /// Decodes whole blocks. `out` must have as many values as `bytes` holds; what does not fit on
    /// either side is left alone.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        let (values, size) = self.block();
        let blocks = bytes.chunks_exact(size).zip(out.chunks_exact_mut(values));
        match self {
            Self::F32 => {
                blocks.for_each(|(b, y)| y[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
            }
            Self::F16 => blocks.for_each(|(b, y)| y[0] = half_at(b, 0)),
            Self::Bf16 => {
                blocks.for_each(|(b, y)| y[0] = bf16::from_le_bytes([b[0], b[1]]).to_f32());
            }
            Self::Q4_0 => blocks.for_each(|(b, y)| q4_0(b, y)),
            Self::Q4_1 => blocks.for_each(|(b, y)| q4_1(b, y)),
            Self::Q5_0 => blocks.for_each(|(b, y)| q5_0(b, y)),
            Self::Q5_1 => blocks.for_each(|(b, y)| q5_1(b, y)),
            Self::Q8_0 => blocks.for_each(|(b, y)| q8_0(b, y)),
            Self::Q2K => blocks.for_each(|(b, y)| q2_k(b, y)),
            Self::Q3K => blocks.for_each(|(b, y)| q3_k(b, y)),
            Self::Q4K => blocks.for_each(|(b, y)| q4_k(b, y)),
            Self::Q5K => blocks.for_each(|(b, y)| q5_k(b, y)),
            Self::Q6K => blocks.for_each(|(b, y)| q6_k(b, y)),
        }
    }
}

fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn q4_0(block: &[u8], y: &mut [f32]) {
    let d = half_at(block, 0);
    let (low, high) = y.split_at_mut(16);
    for ((q, a), b) in block[2..18].iter().zip(low).zip(high) {
        *a = d * (i32::from(q & 15) - 8) as f32;
        *b = d * (i32::from(q >> 4) - 8) as f32;
    }
}

fn q4_1(block: &[u8], y: &mut [f32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let (low, high) = y.split_at_mut(16);
    for ((q, a), b) in block[4..20].iter().zip(low).zip(high) {
        *a = d * f32::from(q & 15) + m;
        *b = d * f32::from(q >> 4) + m;
    }
}

/// The fifth bits of the values `i` and `i + 16`, each in place.
fn fifth_bits(qh: u32, i: usize) -> (u8, u8) {
    ((((qh >> i) << 4) & 16) as u8, ((qh >> (i + 12)) & 16) as u8)
}

fn q5_0(block: &[u8], y: &mut [f32]) {
    let d = half_at(block, 0);
    let qh = u32::from_le_bytes([block[2], block[3], block[4], block[5]]);
    let (low, high) = y.split_at_mut(16);
    for (i, ((q, a), b)) in block[6..22].iter().zip(low).zip(high).enumerate() {
        let (h0, h1) = fifth_bits(qh, i);
        *a = d * (i32::from((q & 15) | h0) - 16) as f32;
        *b = d * (i32::from((q >> 4) | h1) - 16) as f32;
    }
}

fn q5_1(block: &[u8], y: &mut [f32]) {
    let (d, m) = (half_at(block, 0), half_at(block, 2));
    let qh = u32::from_le_bytes([block[4], block[5], block[6], block[7]]);
    let (low, high) = y.split_at_mut(16);
    for (i, ((q, a), b)) in block[8..24].iter().zip(low).zip(high).enumerate() {
        let (h0, h1) = fifth_bits(qh, i);
        *a = d * f32::from((q & 15) | h0) + m;
        *b = d * f32::from((q >> 4) | h1) + m;
    }
}

fn q8_0(block: &[u8], y: &mut [f32]) {
    let d = half_at(block, 0);
    for (q, y) in block[2..34].iter().zip(y) {
        *y = d * f32::from(q.cast_signed());
    }
}

fn q2_k(block: &[u8], y: &mut [f32]) {
    let (scales, qs) = (&block[..16], &block[16..80]);
    let (d, min) = (half_at(block, 80), half_at(block, 82));
    for (i, group) in y.chunks_exact_mut(16).enumerate() {
        let scale = scales[i];
        let (dl, ml) = (d * f32::from(scale & 15), min * f32::from(scale >> 4));
        // Eight groups of 16 share 32 bytes; each pair of groups has its own two bits.
        let (half, pair, side) = (i / 8, (i % 8) / 2, i % 2);
        let q = &qs[32 * half + 16 * side..][..16];
        for (q, y) in q.iter().zip(group) {
            *y = dl * f32::from((q >> (2 * pair)) & 3) - ml;
        }
    }
}

/// The sixteen 6-bit scales of a `Q3_K` block, from 12 bytes.
fn q3_k_scale(scales: &[u8], i: usize) -> f32 {
    let low = if i < 8 {
        scales[i] & 15
    } else {
        scales[i - 8] >> 4
    };
    let high = (scales[8 + i % 4] >> (2 * (i / 4))) & 3;
    f32::from(low | (high << 4)) - 32.0
}

fn q3_k(block: &[u8], y: &mut [f32]) {
    let (hmask, qs, scales) = (&block[..32], &block[32..96], &block[96..108]);
    let d = half_at(block, 108);
    for (i, group) in y.chunks_exact_mut(16).enumerate() {
        let dl = d * q3_k_scale(scales, i);
        let (half, pair, side) = (i / 8, (i % 8) / 2, i % 2);
        let q = &qs[32 * half + 16 * side..][..16];
        let h = &hmask[16 * side..][..16];
        for ((q, h), y) in q.iter().zip(h).zip(group) {
            let low = i32::from((q >> (2 * pair)) & 3);
            let minus = if h & (1 << (4 * half + pair)) == 0 {
                4
            } else {
                0
            };
            *y = dl * (low - minus) as f32;
        }
    }
}

/// Scale and minimum of the sub-block `j` of a `Q4_K` or `Q5_K` block, 6 bits each.
fn scale_min(j: usize, q: &[u8]) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (q[j] & 63, q[j + 4] & 63)
    } else {
        (
            (q[j + 4] & 15) | ((q[j - 4] >> 6) << 4),
            (q[j + 4] >> 4) | ((q[j] >> 6) << 4),
        )
    };
    (f32::from(scale), f32::from(min))
}

fn q4_k(block: &[u8], y: &mut [f32]) {
    let (d, min) = (half_at(block, 0), half_at(block, 2));
    let scales = &block[4..16];
    for (j, (q, y)) in block[16..144]
        .chunks_exact(32)
        .zip(y.chunks_exact_mut(64))
        .enumerate()
    {
        let (s1, m1) = scale_min(2 * j, scales);
        let (s2, m2) = scale_min(2 * j + 1, scales);
        let (d1, m1, d2, m2) = (d * s1, min * m1, d * s2, min * m2);
        let (low, high) = y.split_at_mut(32);
        for ((q, a), b) in q.iter().zip(low).zip(high) {
            *a = d1 * f32::from(q & 15) - m1;
            *b = d2 * f32::from(q >> 4) - m2;
        }
    }
}

fn q5_k(block: &[u8], y: &mut [f32]) {
    let (d, min) = (half_at(block, 0), half_at(block, 2));
    let (scales, qh) = (&block[4..16], &block[16..48]);
    for (j, (q, y)) in block[48..176]
        .chunks_exact(32)
        .zip(y.chunks_exact_mut(64))
        .enumerate()
    {
        let (s1, m1) = scale_min(2 * j, scales);
        let (s2, m2) = scale_min(2 * j + 1, scales);
        let (d1, m1, d2, m2) = (d * s1, min * m1, d * s2, min * m2);
        let (low, high) = y.split_at_mut(32);
        for (((q, h), a), b) in q.iter().zip(qh).zip(low).zip(high) {
            let h = h >> (2 * j);
            *a = d1 * f32::from((q & 15) | ((h & 1) << 4)) - m1;
            *b = d2 * f32::from((q >> 4) | ((h & 2) << 3)) - m2;
        }
    }
}

fn q6_k(block: &[u8], y: &mut [f32]) {
    let (ql, qh, scales) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half_at(block, 208);
    for (half, y) in y.chunks_exact_mut(128).enumerate() {
        let (ql, qh) = (&ql[64 * half..][..64], &qh[32 * half..][..32]);
        for (i, group) in y.chunks_exact_mut(16).enumerate() {
            let scale = d * f32::from(scales[8 * half + i].cast_signed());
            // 32 values a quarter: nibbles of the first or second 32 bytes, low then high.
            let (quarter, side) = (i / 2, i % 2);
            let low = &ql[32 * (quarter % 2) + 16 * side..][..16];
            let high = &qh[16 * side..][..16];
            for ((l, h), y) in low.iter().zip(high).zip(group) {
                let nibble = if quarter < 2 { l & 15 } else { l >> 4 };
                let q = nibble | (((h >> (2 * quarter)) & 3) << 4);
                *y = scale * (i32::from(q) - 32) as f32;
            }
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test that fails should say where")]
mod tests {
    use super::*;
    use candle_core::quantized::{GgmlDType, QStorage, QTensor};
    use candle_core::{Device, Tensor};

    pub(super) const ALL: [(StoredType, GgmlDType); 13] = [
        (StoredType::F32, GgmlDType::F32),
        (StoredType::F16, GgmlDType::F16),
        (StoredType::Bf16, GgmlDType::BF16),
        (StoredType::Q4_0, GgmlDType::Q4_0),
        (StoredType::Q4_1, GgmlDType::Q4_1),
        (StoredType::Q5_0, GgmlDType::Q5_0),
        (StoredType::Q5_1, GgmlDType::Q5_1),
        (StoredType::Q8_0, GgmlDType::Q8_0),
        (StoredType::Q2K, GgmlDType::Q2K),
        (StoredType::Q3K, GgmlDType::Q3K),
        (StoredType::Q4K, GgmlDType::Q4K),
        (StoredType::Q5K, GgmlDType::Q5K),
        (StoredType::Q6K, GgmlDType::Q6K),
    ];

    #[test]
    fn every_type_decodes_as_candle_does_to_the_last_bit() {
        let values: Vec<f32> = (0..2048)
            .map(|i| ((i * 37 % 101) as f32 - 50.0) * 0.013 * (1.0 + i as f32 / 700.0))
            .collect();
        let dense = Tensor::from_vec(values, (4, 512), &Device::Cpu).unwrap();
        for (ours, theirs) in ALL {
            let quantized = QTensor::quantize(&dense, theirs).unwrap();
            let expected = quantized.dequantize(&Device::Cpu).unwrap();
            let expected = expected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let bytes = quantized.data().unwrap();
            assert_eq!(ours.size_bytes(&[4, 512]), Some(bytes.len() as u64));
            let mut decoded = vec![f32::NAN; 2048];
            ours.decode(&bytes, &mut decoded);
            assert_eq!(decoded, expected, "{}", ours.name());
        }
    }

    #[test]
    fn every_bit_pattern_of_a_block_decodes_as_candle_does() {
        // Blocks of noise reach bits that a quantizer seldom sets; the scales are made finite.
        let mut state = 12_345_u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for (ours, theirs) in ALL {
            let (values, size) = ours.block();
            let mut bytes: Vec<u8> = (0..size * 64).map(|_| byte()).collect();
            let scales: &[usize] = match ours {
                StoredType::Q2K => &[80, 82],
                StoredType::Q3K => &[108],
                StoredType::Q6K => &[208],
                StoredType::F32 => &[2],
                StoredType::Q4_1 | StoredType::Q5_1 | StoredType::Q4K | StoredType::Q5K => &[0, 2],
                _ => &[0],
            };
            for block in bytes.chunks_exact_mut(size) {
                for &at in scales {
                    block[at + 1] &= 0x3f;
                }
            }
            let storage = QStorage::from_data(bytes.clone().into(), &Device::Cpu, theirs).unwrap();
            let expected = QTensor::new(storage, (64, values)).unwrap();
            let expected = expected.dequantize(&Device::Cpu).unwrap();
            let expected = expected.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            let mut decoded = vec![f32::NAN; 64 * values];
            ours.decode(&bytes, &mut decoded);
            assert_eq!(decoded, expected, "{}", ours.name());
        }
    }

    #[test]
    fn sizes_that_overflow_or_split_a_block_are_refused() {
        assert_eq!(StoredType::Q4_0.size_bytes(&[3, 33]), None);
        assert_eq!(StoredType::F32.size_bytes(&[usize::MAX, usize::MAX]), None);
        assert_eq!(StoredType::F32.size_bytes(&[]), None);
        assert_eq!(StoredType::Q8_0.size_bytes(&[2, 64]), Some(2 * 2 * 34));
    }
}
