//! The ways in which weights are stored in a file, and how each becomes float32.
//!
//! Block layouts follow `ggml-quants.c` of <https://github.com/ggml-org/ggml>. A quantized value is
//! `scale * (q - zero) + min`, where `q` is a small integer: one function per type finds those numbers, and
//! both decoding and products of integers go on from there. The arithmetic is in ggml's order, so the values
//! are its own to the last bit.

#![expect(
    clippy::inline_always,
    reason = "what is inlined is compiled for the vectors of the function that it is inlined into"
)]

use crate::instructions::Instructions;
use half::{bf16, f16};

/// How a tensor's values are encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StoredType {
    /// float32.
    F32,
    /// float16.
    F16,
    /// bfloat16.
    Bf16,
    /// 4 bits, a scale for 32 values.
    Q4_0,
    /// 4 bits, scale and minimum for 32 values.
    Q4_1,
    /// 5 bits, a scale for 32 values.
    Q5_0,
    /// 5 bits, scale and minimum for 32 values.
    Q5_1,
    /// 8 bits, a scale for 32 values.
    Q8_0,
    /// 2 bits, scale and minimum for 16 values of 256.
    Q2K,
    /// 3 bits, a scale for 16 values of 256.
    Q3K,
    /// 4 bits, scale and minimum for 32 values of 256.
    Q4K,
    /// 5 bits, scale and minimum for 32 values of 256.
    Q5K,
    /// 6 bits, a scale for 16 values of 256.
    Q6K,
}

/// Most values of a block.
const MAX_BLOCK: usize = 256;
/// Most groups of a block.
const MAX_GROUPS: usize = 16;

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

    /// How many values share a scale, 16 or 32; `None` where there is none.
    pub fn group(self) -> Option<usize> {
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => None,
            Self::Q2K | Self::Q3K | Self::Q6K => Some(16),
            _ => Some(32),
        }
    }

    /// What is taken from `q` before it is scaled.
    pub(crate) fn zero(self) -> u8 {
        match self {
            Self::Q4_0 => 8,
            Self::Q5_0 => 16,
            Self::Q8_0 => 128,
            Self::Q3K => 4,
            Self::Q6K => 32,
            _ => 0,
        }
    }

    /// Takes whole quantized blocks apart: `q` of every value, scale and minimum of every group. Nothing
    /// is done for a type that is not quantized.
    pub(crate) fn unpack(self, bytes: &[u8], q: &mut [u8], scales: &mut [f32], mins: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if Instructions::best().has_avx2() {
            // SAFETY: the processor has it.
            #[expect(unsafe_code, reason = "the same loop, compiled for wider vectors")]
            unsafe {
                unpack_avx2(self, bytes, q, scales, mins);
            }
            return;
        }
        self.unpack_here(bytes, q, scales, mins);
    }

    #[inline(always)]
    fn unpack_here(self, bytes: &[u8], q: &mut [u8], scales: &mut [f32], mins: &mut [f32]) {
        let Some(group) = self.group() else { return };
        let (values, size) = self.block();
        let groups = values / group;
        let blocks = bytes
            .chunks_exact(size)
            .zip(q.chunks_exact_mut(values))
            .zip(scales.chunks_exact_mut(groups))
            .zip(mins.chunks_exact_mut(groups));
        // The choice outside the loop over blocks, so that each loop is its own.
        macro_rules! each {
            ($unpack:ident) => {
                blocks.for_each(|(((b, q), s), m)| $unpack(b, q, s, m))
            };
        }
        match self {
            Self::F32 | Self::F16 | Self::Bf16 => {}
            Self::Q4_0 => each!(q4_0),
            Self::Q4_1 => each!(q4_1),
            Self::Q5_0 => each!(q5_0),
            Self::Q5_1 => each!(q5_1),
            Self::Q8_0 => each!(q8_0),
            Self::Q2K => each!(q2_k),
            Self::Q3K => each!(q3_k),
            Self::Q4K => each!(q4_k),
            Self::Q5K => each!(q5_k),
            Self::Q6K => each!(q6_k),
        }
    }

    /// Decodes whole blocks. `out` must have as many values as `bytes` holds; what does not fit on
    /// either side is left alone.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        #[cfg(target_arch = "x86_64")]
        if Instructions::best().has_avx2() {
            // SAFETY: the processor has it.
            #[expect(unsafe_code, reason = "the same loop, compiled for wider vectors")]
            unsafe {
                decode_avx2(self, bytes, out);
            }
            return;
        }
        self.decode_here(bytes, out);
    }

    #[inline(always)]
    fn decode_here(self, bytes: &[u8], out: &mut [f32]) {
        let (values, size) = self.block();
        let blocks = bytes.chunks_exact(size).zip(out.chunks_exact_mut(values));
        let Some(group) = self.group() else {
            match self {
                Self::F16 => blocks.for_each(|(b, y)| y[0] = half_at(b, 0)),
                Self::Bf16 => {
                    blocks.for_each(|(b, y)| y[0] = bf16::from_le_bytes([b[0], b[1]]).to_f32());
                }
                _ => {
                    blocks.for_each(|(b, y)| y[0] = f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
                }
            }
            return;
        };
        let (mut q, mut scales) = ([0; MAX_BLOCK], [0.0; MAX_GROUPS]);
        let mut mins = [0.0; MAX_GROUPS];
        let (q, scales) = (&mut q[..values], &mut scales[..values / group]);
        let mins = &mut mins[..values / group];
        let zero = i32::from(self.zero());
        for (bytes, y) in blocks {
            self.unpack_here(bytes, q, scales, mins);
            let groups = q.chunks_exact(group).zip(y.chunks_exact_mut(group));
            for (((q, y), scale), min) in groups.zip(&*scales).zip(&*mins) {
                for (q, y) in q.iter().zip(y) {
                    *y = scale * (i32::from(*q) - zero) as f32 + min;
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn unpack_avx2(
    stored_type: StoredType,
    bytes: &[u8],
    q: &mut [u8],
    scales: &mut [f32],
    mins: &mut [f32],
) {
    stored_type.unpack_here(bytes, q, scales, mins);
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn decode_avx2(stored_type: StoredType, bytes: &[u8], out: &mut [f32]) {
    stored_type.decode_here(bytes, out);
}

#[inline(always)]
fn half_at(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

/// The low nibbles, then the high ones.
#[inline(always)]
fn nibbles(bytes: &[u8], q: &mut [u8]) {
    let (low, high) = q.split_at_mut(bytes.len());
    for ((byte, a), b) in bytes.iter().zip(low).zip(high) {
        *a = byte & 15;
        *b = byte >> 4;
    }
}

/// Adds a fifth bit to each of 32 values.
#[inline(always)]
fn fifth_bits(bytes: &[u8], q: &mut [u8]) {
    let bits = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
    for (i, q) in q.iter_mut().enumerate() {
        *q |= (((bits >> i) & 1) << 4) as u8;
    }
}

#[inline(always)]
fn q4_0(block: &[u8], q: &mut [u8], scales: &mut [f32], mins: &mut [f32]) {
    (scales[0], mins[0]) = (half_at(block, 0), 0.0);
    nibbles(&block[2..18], q);
}

#[inline(always)]
fn q4_1(block: &[u8], q: &mut [u8], scales: &mut [f32], mins: &mut [f32]) {
    (scales[0], mins[0]) = (half_at(block, 0), half_at(block, 2));
    nibbles(&block[4..20], q);
}

#[inline(always)]
fn q5_0(block: &[u8], q: &mut [u8], scales: &mut [f32], mins: &mut [f32]) {
    (scales[0], mins[0]) = (half_at(block, 0), 0.0);
    nibbles(&block[6..22], q);
    fifth_bits(&block[2..6], q);
}

#[inline(always)]
fn q5_1(block: &[u8], q: &mut [u8], scales: &mut [f32], mins: &mut [f32]) {
    (scales[0], mins[0]) = (half_at(block, 0), half_at(block, 2));
    nibbles(&block[8..24], q);
    fifth_bits(&block[4..8], q);
}

#[inline(always)]
fn q8_0(block: &[u8], q: &mut [u8], scales: &mut [f32], mins: &mut [f32]) {
    (scales[0], mins[0]) = (half_at(block, 0), 0.0);
    for (byte, q) in block[2..34].iter().zip(q) {
        *q = byte ^ 128;
    }
}

#[inline(always)]
fn q2_k(block: &[u8], q: &mut [u8], scales: &mut [f32], mins: &mut [f32]) {
    let qs = &block[16..80];
    let (d, min) = (half_at(block, 80), half_at(block, 82));
    for (i, q) in q.chunks_exact_mut(16).enumerate() {
        let both = block[i];
        (scales[i], mins[i]) = (d * f32::from(both & 15), -(min * f32::from(both >> 4)));
        // Eight groups of 16 share 32 bytes; each pair of groups has its own two bits.
        let (half, pair, side) = (i / 8, (i % 8) / 2, i % 2);
        for (byte, q) in qs[32 * half + 16 * side..][..16].iter().zip(q) {
            *q = (byte >> (2 * pair)) & 3;
        }
    }
}

/// The sixteen 6-bit scales of a `Q3_K` block, from 12 bytes.
#[inline(always)]
fn q3_k_scale(scales: &[u8], i: usize) -> f32 {
    let low = if i < 8 {
        scales[i] & 15
    } else {
        scales[i - 8] >> 4
    };
    let high = (scales[8 + i % 4] >> (2 * (i / 4))) & 3;
    f32::from(low | (high << 4)) - 32.0
}

#[inline(always)]
fn q3_k(block: &[u8], q: &mut [u8], scales: &mut [f32], mins: &mut [f32]) {
    let (hmask, qs) = (&block[..32], &block[32..96]);
    let d = half_at(block, 108);
    for (i, q) in q.chunks_exact_mut(16).enumerate() {
        (scales[i], mins[i]) = (d * q3_k_scale(&block[96..108], i), 0.0);
        let (half, pair, side) = (i / 8, (i % 8) / 2, i % 2);
        let low = qs[32 * half + 16 * side..][..16].iter();
        for ((low, high), q) in low.zip(&hmask[16 * side..][..16]).zip(q) {
            *q = ((low >> (2 * pair)) & 3) | (((high >> (4 * half + pair)) & 1) << 2);
        }
    }
}

/// Scale and minimum of the sub-block `j` of a `Q4_K` or `Q5_K` block, 6 bits each.
#[inline(always)]
fn scale_min(j: usize, packed: &[u8]) -> (f32, f32) {
    let (scale, min) = if j < 4 {
        (packed[j] & 63, packed[j + 4] & 63)
    } else {
        (
            (packed[j + 4] & 15) | ((packed[j - 4] >> 6) << 4),
            (packed[j + 4] >> 4) | ((packed[j] >> 6) << 4),
        )
    };
    (f32::from(scale), f32::from(min))
}

/// All scales and minima of a `Q4_K` or `Q5_K` block.
#[inline(always)]
fn scales_mins(block: &[u8], scales: &mut [f32], mins: &mut [f32]) {
    let (d, min) = (half_at(block, 0), half_at(block, 2));
    for (j, (scale, m)) in scales.iter_mut().zip(mins).enumerate() {
        let (s, own) = scale_min(j, &block[4..16]);
        (*scale, *m) = (d * s, -(min * own));
    }
}

#[inline(always)]
fn q4_k(block: &[u8], q: &mut [u8], scales: &mut [f32], mins: &mut [f32]) {
    scales_mins(block, scales, mins);
    let parts = block[16..144].chunks_exact(32);
    for (bytes, q) in parts.zip(q.chunks_exact_mut(64)) {
        nibbles(bytes, q);
    }
}

#[inline(always)]
fn q5_k(block: &[u8], q: &mut [u8], scales: &mut [f32], mins: &mut [f32]) {
    scales_mins(block, scales, mins);
    let high = &block[16..48];
    let parts = block[48..176].chunks_exact(32);
    for (j, (bytes, q)) in parts.zip(q.chunks_exact_mut(64)).enumerate() {
        nibbles(bytes, q);
        let (first, second) = q.split_at_mut(32);
        for ((high, a), b) in high.iter().zip(first).zip(second) {
            let bits = high >> (2 * j);
            *a |= (bits & 1) << 4;
            *b |= (bits & 2) << 3;
        }
    }
}

#[inline(always)]
fn q6_k(block: &[u8], q: &mut [u8], scales: &mut [f32], mins: &mut [f32]) {
    let (ql, qh, packed) = (&block[..128], &block[128..192], &block[192..208]);
    let d = half_at(block, 208);
    mins.fill(0.0);
    for (scale, byte) in scales.iter_mut().zip(packed) {
        *scale = d * f32::from(byte.cast_signed());
    }
    for (half, q) in q.chunks_exact_mut(128).enumerate() {
        let (ql, qh) = (&ql[64 * half..][..64], &qh[32 * half..][..32]);
        for (i, group) in q.chunks_exact_mut(16).enumerate() {
            // 32 values a quarter: nibbles of the first or second 32 bytes, low then high.
            let (quarter, side) = (i / 2, i % 2);
            let low = &ql[32 * (quarter % 2) + 16 * side..][..16];
            let high = &qh[16 * side..][..16];
            for ((l, h), q) in low.iter().zip(high).zip(group) {
                let nibble = if quarter < 2 { l & 15 } else { l >> 4 };
                *q = nibble | (((h >> (2 * quarter)) & 3) << 4);
            }
        }
    }
}
