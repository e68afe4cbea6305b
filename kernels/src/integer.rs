//! The innermost loops in integers: bytes of weights by bytes of activations, summed exactly within a group
//! and scaled once for each.
//!
//! A weight is `scale * q + offset`, an activation `a * b` with a byte `b`. Over a group of columns that is
//! `scale * a * sum(q * b) + offset * a * sum(b)`: the first sum is of integers, the second is known.

use crate::activations::{BytesPart, WIDTH};
use crate::instructions::Set;

/// Rows of weights taken apart: `q` of the columns of a part, scale and offset of every group.
pub struct WeightsPart<'a> {
    /// `[row][column]`, `stride` apart. Signed bytes if `is_signed`.
    pub q: &'a [u8],
    /// Values between two rows of `q`.
    pub stride: usize,
    /// `[row][group]`, `groups_stride` apart.
    pub scales: &'a [f32],
    /// `[row][group]`, `groups_stride` apart.
    pub offsets: &'a [f32],
    /// Values between two rows of the scales.
    pub groups_stride: usize,
    /// Rows that are there.
    pub rows: usize,
    /// Columns that share a scale, 16 or 32.
    pub group: usize,
    /// Whether the bytes are signed; see [`wants_signed`].
    pub is_signed: bool,
}

/// Whether this set multiplies large bytes only where they are signed: AVX2 adds two products of bytes in 16
/// bits, which `255 * 127 * 2` does not fit.
pub fn wants_signed(set: Set, zero: u8) -> bool {
    #[cfg(target_arch = "x86_64")]
    let is_by_avx2 = matches!(set, Set::Avx2 | Set::Avx512);
    #[cfg(not(target_arch = "x86_64"))]
    let is_by_avx2 = set != Set::Portable;
    is_by_avx2 && zero == 128
}

/// Adds to `sums` (`[row][WIDTH]`) the products of a part of the weights and the same columns of a panel.
pub fn add_products(set: Set, weights: &WeightsPart<'_>, panel: &BytesPart<'_>, sums: &mut [f32]) {
    let WeightsPart { rows, group, .. } = *weights;
    let columns = panel.values.len() / WIDTH;
    let groups = columns / group;
    assert!((group == 16 || group == 32) && columns.is_multiple_of(group));
    let last = rows.saturating_sub(1);
    assert!(rows == 0 || last * weights.stride + columns <= weights.q.len());
    assert!(rows == 0 || last * weights.groups_stride + groups <= weights.scales.len());
    assert!(weights.offsets.len() == weights.scales.len());
    assert!(panel.scales.len() == groups * WIDTH && panel.sums.len() == groups * WIDTH);
    assert!(rows * WIDTH <= sums.len());
    match set {
        Set::Portable => portable(weights, panel, sums),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: such a set is only made on a processor that has it, and the lengths were looked at above.
        #[expect(unsafe_code, reason = "vector instructions")]
        Set::Avx2 | Set::Avx512 => unsafe { x86::avx2(weights, groups, panel, sums) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "vector instructions")]
        Set::Vnni => unsafe { x86::vnni(weights, groups, panel, sums) },
    }
}

fn portable(weights: &WeightsPart<'_>, panel: &BytesPart<'_>, sums: &mut [f32]) {
    let group = weights.group;
    for (row, sums) in sums.chunks_exact_mut(WIDTH).take(weights.rows).enumerate() {
        let scaled = panel.scales.chunks_exact(WIDTH);
        let scaled = scaled.zip(panel.sums.chunks_exact(WIDTH));
        let bytes = panel.values.chunks_exact(group * WIDTH);
        for (at, (bytes, (scales, of_bytes))) in bytes.zip(scaled).enumerate() {
            let q = &weights.q[row * weights.stride + at * group..][..group];
            let mut dots = [0_i32; WIDTH];
            for (q, bytes) in q.chunks_exact(4).zip(bytes.chunks_exact(4 * WIDTH)) {
                for (dot, bytes) in dots.iter_mut().zip(bytes.chunks_exact(4)) {
                    for (q, byte) in q.iter().zip(bytes) {
                        *dot += i32::from(*q) * i32::from(*byte);
                    }
                }
            }
            let scale = weights.scales[row * weights.groups_stride + at];
            let offset = weights.offsets[row * weights.groups_stride + at];
            let inputs = dots.iter().zip(scales).zip(of_bytes);
            for (sum, ((dot, own), of_bytes)) in sums.iter_mut().zip(inputs) {
                *sum += *dot as f32 * (own * scale) + offset * of_bytes;
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "vector instructions")]
#[expect(
    clippy::needless_range_loop,
    reason = "loops over registers, which the compiler unrolls"
)]
mod x86 {
    use super::{BytesPart, WIDTH, WeightsPart};
    use crate::float::over_rows;
    use std::arch::x86_64::{
        __m256i, _mm256_abs_epi8, _mm256_add_epi32, _mm256_cvtepi32_ps, _mm256_fmadd_ps,
        _mm256_loadu_ps, _mm256_loadu_si256, _mm256_madd_epi16, _mm256_maddubs_epi16,
        _mm256_mul_ps, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_ps, _mm256_setzero_ps,
        _mm256_setzero_si256, _mm256_sign_epi8, _mm256_storeu_ps, _mm512_cvtepi32_ps,
        _mm512_dpbusd_epi32, _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_loadu_si512, _mm512_mul_ps,
        _mm512_set1_epi32, _mm512_set1_ps, _mm512_setzero_ps, _mm512_setzero_si512,
        _mm512_storeu_ps,
    };

    /// Where a tile reads: pointers to the first row's and strip's values.
    #[derive(Clone, Copy)]
    struct At {
        q: *const u8,
        stride: usize,
        scales: *const f32,
        offsets: *const f32,
        groups_stride: usize,
        group: usize,
        groups: usize,
        bytes: *const i8,
        byte_scales: *const f32,
        byte_sums: *const f32,
        sums: *mut f32,
    }

    impl At {
        fn new(
            weights: &WeightsPart<'_>,
            groups: usize,
            panel: &BytesPart<'_>,
            sums: &mut [f32],
        ) -> Self {
            Self {
                q: weights.q.as_ptr(),
                stride: weights.stride,
                scales: weights.scales.as_ptr(),
                offsets: weights.offsets.as_ptr(),
                groups_stride: weights.groups_stride,
                group: weights.group,
                groups,
                bytes: panel.values.as_ptr(),
                byte_scales: panel.scales.as_ptr(),
                byte_sums: panel.sums.as_ptr(),
                sums: sums.as_mut_ptr(),
            }
        }

        /// From `row` of the weights on.
        ///
        /// # Safety
        /// There is such a row.
        unsafe fn row(self, row: usize) -> Self {
            // SAFETY: the caller's.
            unsafe {
                Self {
                    q: self.q.add(row * self.stride),
                    scales: self.scales.add(row * self.groups_stride),
                    offsets: self.offsets.add(row * self.groups_stride),
                    sums: self.sums.add(row * WIDTH),
                    ..self
                }
            }
        }

        /// From `strip` of the panel's rows on.
        ///
        /// # Safety
        /// `strip` is less than [`WIDTH`].
        unsafe fn strip(self, strip: usize) -> Self {
            // SAFETY: the caller's.
            unsafe {
                Self {
                    bytes: self.bytes.add(4 * strip),
                    byte_scales: self.byte_scales.add(strip),
                    byte_sums: self.byte_sums.add(strip),
                    sums: self.sums.add(strip),
                    ..self
                }
            }
        }

        /// Four bytes of a row's weights.
        ///
        /// # Safety
        /// They are there.
        unsafe fn four(&self, row: usize, four: usize) -> i32 {
            // SAFETY: the caller's.
            unsafe {
                let at = self.q.add(row * self.stride + 4 * four);
                at.cast::<i32>().read_unaligned()
            }
        }
    }

    /// # Safety
    /// The processor has AVX-512 VNNI; the slices are as long as `add_products` asks.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    pub unsafe fn vnni(
        weights: &WeightsPart<'_>,
        groups: usize,
        panel: &BytesPart<'_>,
        sums: &mut [f32],
    ) {
        let at = At::new(weights, groups, panel, sums);
        // SAFETY: strips and rows within what was checked.
        unsafe {
            for strip in (0..WIDTH).step_by(32) {
                let at = at.strip(strip);
                over_rows!(weights.rows, tile512, [6, 4, 2, 1], row => (at.row(row)));
            }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni")]
    unsafe fn tile512<const ROWS: usize>(at: At) {
        let mut acc = [[_mm512_setzero_ps(); 2]; ROWS];
        let fours = at.group / 4;
        // SAFETY: the caller's.
        unsafe {
            for row in 0..ROWS {
                for part in 0..2 {
                    acc[row][part] = _mm512_loadu_ps(at.sums.add(row * WIDTH + 16 * part));
                }
            }
            for group in 0..at.groups {
                let mut dots = [[_mm512_setzero_si512(); 2]; ROWS];
                for four in group * fours..(group + 1) * fours {
                    let bytes = at.bytes.add(four * 4 * WIDTH);
                    let bytes = [0, 64].map(|at| _mm512_loadu_si512(bytes.add(at).cast()));
                    for row in 0..ROWS {
                        let q = _mm512_set1_epi32(at.four(row, four));
                        for part in 0..2 {
                            dots[row][part] = _mm512_dpbusd_epi32(dots[row][part], q, bytes[part]);
                        }
                    }
                }
                let place = group * WIDTH;
                let parts = [place, place + 16];
                let own = parts.map(|place| _mm512_loadu_ps(at.byte_scales.add(place)));
                let of_bytes = parts.map(|place| _mm512_loadu_ps(at.byte_sums.add(place)));
                for row in 0..ROWS {
                    let place = row * at.groups_stride + group;
                    let scale = _mm512_set1_ps(*at.scales.add(place));
                    let offset = _mm512_set1_ps(*at.offsets.add(place));
                    for part in 0..2 {
                        let dot = _mm512_cvtepi32_ps(dots[row][part]);
                        let worth = _mm512_mul_ps(own[part], scale);
                        let sum = _mm512_fmadd_ps(dot, worth, acc[row][part]);
                        acc[row][part] = _mm512_fmadd_ps(of_bytes[part], offset, sum);
                    }
                }
            }
            for row in 0..ROWS {
                for part in 0..2 {
                    _mm512_storeu_ps(at.sums.add(row * WIDTH + 16 * part), acc[row][part]);
                }
            }
        }
    }

    /// # Safety
    /// The processor has AVX2 and FMA; the slices are as long as `add_products` asks.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2(
        weights: &WeightsPart<'_>,
        groups: usize,
        panel: &BytesPart<'_>,
        sums: &mut [f32],
    ) {
        let at = At::new(weights, groups, panel, sums);
        // SAFETY: strips and rows within what was checked.
        unsafe {
            for strip in (0..WIDTH).step_by(16) {
                let at = at.strip(strip);
                if weights.is_signed {
                    over_rows!(weights.rows, signed256, [2, 1], row => (at.row(row)));
                } else {
                    over_rows!(weights.rows, unsigned256, [2, 1], row => (at.row(row)));
                }
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn signed256<const ROWS: usize>(at: At) {
        // SAFETY: the caller's.
        unsafe { tile256::<ROWS, true>(at) }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn unsigned256<const ROWS: usize>(at: At) {
        // SAFETY: the caller's.
        unsafe { tile256::<ROWS, false>(at) }
    }

    /// Four products of bytes to each of eight sums.
    #[target_feature(enable = "avx2")]
    fn add_dots<const SIGNED: bool>(sums: __m256i, q: __m256i, bytes: __m256i) -> __m256i {
        let pairs = if SIGNED {
            _mm256_maddubs_epi16(_mm256_abs_epi8(q), _mm256_sign_epi8(bytes, q))
        } else {
            _mm256_maddubs_epi16(q, bytes)
        };
        _mm256_add_epi32(sums, _mm256_madd_epi16(pairs, _mm256_set1_epi16(1)))
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile256<const ROWS: usize, const SIGNED: bool>(at: At) {
        let mut acc = [[_mm256_setzero_ps(); 2]; ROWS];
        let fours = at.group / 4;
        // SAFETY: the caller's.
        unsafe {
            for row in 0..ROWS {
                for part in 0..2 {
                    acc[row][part] = _mm256_loadu_ps(at.sums.add(row * WIDTH + 8 * part));
                }
            }
            for group in 0..at.groups {
                let mut dots = [[_mm256_setzero_si256(); 2]; ROWS];
                for four in group * fours..(group + 1) * fours {
                    let bytes = at.bytes.add(four * 4 * WIDTH);
                    let bytes = [0, 32].map(|at| _mm256_loadu_si256(bytes.add(at).cast()));
                    for row in 0..ROWS {
                        let q = _mm256_set1_epi32(at.four(row, four));
                        for part in 0..2 {
                            dots[row][part] = add_dots::<SIGNED>(dots[row][part], q, bytes[part]);
                        }
                    }
                }
                let place = group * WIDTH;
                let parts = [place, place + 8];
                let own = parts.map(|place| _mm256_loadu_ps(at.byte_scales.add(place)));
                let of_bytes = parts.map(|place| _mm256_loadu_ps(at.byte_sums.add(place)));
                for row in 0..ROWS {
                    let place = row * at.groups_stride + group;
                    let scale = _mm256_set1_ps(*at.scales.add(place));
                    let offset = _mm256_set1_ps(*at.offsets.add(place));
                    for part in 0..2 {
                        let dot = _mm256_cvtepi32_ps(dots[row][part]);
                        let worth = _mm256_mul_ps(own[part], scale);
                        let sum = _mm256_fmadd_ps(dot, worth, acc[row][part]);
                        acc[row][part] = _mm256_fmadd_ps(of_bytes[part], offset, sum);
                    }
                }
            }
            for row in 0..ROWS {
                for part in 0..2 {
                    _mm256_storeu_ps(at.sums.add(row * WIDTH + 8 * part), acc[row][part]);
                }
            }
        }
    }
}
