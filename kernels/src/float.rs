//! The innermost loops in float32: some rows of decoded weights by one panel of activations.

use crate::activations::WIDTH;
use crate::instructions::Set;

/// Adds to `sums` (`[row][WIDTH]`) the products of `rows` rows of weights (`weights`, `stride` values apart)
/// and a panel's part (`panel`, `[column][WIDTH]`).
pub fn add_products(
    set: Set,
    weights: &[f32],
    stride: usize,
    rows: usize,
    panel: &[f32],
    sums: &mut [f32],
) {
    let columns = panel.len() / WIDTH;
    assert!(rows == 0 || (rows - 1) * stride + columns <= weights.len());
    assert!(rows * WIDTH <= sums.len());
    match set {
        Set::Portable => portable(weights, stride, rows, panel, sums),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: such a set is only made on a processor that has it, and the lengths were looked at above.
        #[expect(unsafe_code, reason = "vector instructions")]
        Set::Avx2 => unsafe { x86::avx2(weights, stride, rows, columns, panel, sums) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        #[expect(unsafe_code, reason = "vector instructions")]
        Set::Avx512 | Set::Vnni => unsafe {
            x86::avx512(weights, stride, rows, columns, panel, sums);
        },
    }
}

fn portable(weights: &[f32], stride: usize, rows: usize, panel: &[f32], sums: &mut [f32]) {
    for (row, sums) in sums.chunks_exact_mut(WIDTH).take(rows).enumerate() {
        let weights = &weights[row * stride..];
        for (weight, values) in weights.iter().zip(panel.chunks_exact(WIDTH)) {
            for (sum, value) in sums.iter_mut().zip(values) {
                *sum += weight * value;
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
    use super::WIDTH;
    use std::arch::x86_64::{
        _mm256_fmadd_ps, _mm256_loadu_ps, _mm256_set1_ps, _mm256_setzero_ps, _mm256_storeu_ps,
        _mm512_fmadd_ps, _mm512_loadu_ps, _mm512_set1_ps, _mm512_setzero_ps, _mm512_storeu_ps,
    };

    /// Runs a tile over rows, the most that fit into the registers at a time.
    macro_rules! over_rows {
        ($rows:expr, $tile:ident, [$($most:literal),+], $row:ident => $arguments:tt) => {{
            let mut $row = 0;
            while $row < $rows {
                let left = $rows - $row;
                $(
                    if left >= $most {
                        $tile::<$most> $arguments;
                        $row += $most;
                        continue;
                    }
                )+
            }
        }};
    }
    pub(crate) use over_rows;

    /// # Safety
    /// The processor has AVX-512 F; the slices are as long as `add_products` asks.
    #[target_feature(enable = "avx512f")]
    pub unsafe fn avx512(
        weights: &[f32],
        stride: usize,
        rows: usize,
        columns: usize,
        panel: &[f32],
        sums: &mut [f32],
    ) {
        let (weights, panel, sums) = (weights.as_ptr(), panel.as_ptr(), sums.as_mut_ptr());
        // SAFETY: row by row within what was checked.
        unsafe {
            over_rows!(rows, tile512, [6, 4, 2, 1], row => (
                weights.add(row * stride), stride, columns, panel, sums.add(row * WIDTH)
            ));
        }
    }

    #[target_feature(enable = "avx512f")]
    unsafe fn tile512<const ROWS: usize>(
        weights: *const f32,
        stride: usize,
        columns: usize,
        panel: *const f32,
        sums: *mut f32,
    ) {
        let mut acc = [[_mm512_setzero_ps(); 4]; ROWS];
        // SAFETY: the caller's.
        unsafe {
            for row in 0..ROWS {
                for part in 0..4 {
                    acc[row][part] = _mm512_loadu_ps(sums.add(row * WIDTH + 16 * part));
                }
            }
            for column in 0..columns {
                let values = panel.add(column * WIDTH);
                let values = [0, 16, 32, 48].map(|at| _mm512_loadu_ps(values.add(at)));
                for row in 0..ROWS {
                    let weight = _mm512_set1_ps(*weights.add(row * stride + column));
                    for part in 0..4 {
                        acc[row][part] = _mm512_fmadd_ps(values[part], weight, acc[row][part]);
                    }
                }
            }
            for row in 0..ROWS {
                for part in 0..4 {
                    _mm512_storeu_ps(sums.add(row * WIDTH + 16 * part), acc[row][part]);
                }
            }
        }
    }

    /// # Safety
    /// The processor has AVX2 and FMA; the slices are as long as `add_products` asks.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn avx2(
        weights: &[f32],
        stride: usize,
        rows: usize,
        columns: usize,
        panel: &[f32],
        sums: &mut [f32],
    ) {
        let (weights, panel, sums) = (weights.as_ptr(), panel.as_ptr(), sums.as_mut_ptr());
        // Strips of 16 of the panel's rows: six rows of weights then fit into sixteen registers.
        for strip in (0..WIDTH).step_by(16) {
            // SAFETY: row by row within what was checked.
            unsafe {
                let (panel, sums) = (panel.add(strip), sums.add(strip));
                over_rows!(rows, tile256, [6, 4, 2, 1], row => (
                    weights.add(row * stride), stride, columns, panel, sums.add(row * WIDTH)
                ));
            }
        }
    }

    #[target_feature(enable = "avx2,fma")]
    unsafe fn tile256<const ROWS: usize>(
        weights: *const f32,
        stride: usize,
        columns: usize,
        panel: *const f32,
        sums: *mut f32,
    ) {
        let mut acc = [[_mm256_setzero_ps(); 2]; ROWS];
        // SAFETY: the caller's.
        unsafe {
            for row in 0..ROWS {
                for part in 0..2 {
                    acc[row][part] = _mm256_loadu_ps(sums.add(row * WIDTH + 8 * part));
                }
            }
            for column in 0..columns {
                let values = panel.add(column * WIDTH);
                let values = [0, 8].map(|at| _mm256_loadu_ps(values.add(at)));
                for row in 0..ROWS {
                    let weight = _mm256_set1_ps(*weights.add(row * stride + column));
                    for part in 0..2 {
                        acc[row][part] = _mm256_fmadd_ps(values[part], weight, acc[row][part]);
                    }
                }
            }
            for row in 0..ROWS {
                for part in 0..2 {
                    _mm256_storeu_ps(sums.add(row * WIDTH + 8 * part), acc[row][part]);
                }
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(crate) use x86::over_rows;
