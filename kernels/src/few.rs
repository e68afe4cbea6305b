//! Products of so few rows of activations that reading and decoding the weights is all that takes time: each
//! row of weights is decoded once and multiplied by every row of activations.

use crate::instructions::Set;

/// The sum of the products of two slices of the same length.
pub fn dot(set: Set, a: &[f32], b: &[f32]) -> f32 {
    match set {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: such a set is only made on a processor that has it.
        #[expect(unsafe_code, reason = "the same loop, compiled for wider vectors")]
        Set::Avx2 | Set::Avx512 | Set::Vnni => unsafe { dot_avx2(a, b) },
        Set::Portable => dot_here(a, b, |x, y, sum| sum + x * y),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn dot_avx2(a: &[f32], b: &[f32]) -> f32 {
    dot_here(a, b, f32::mul_add)
}

#[inline(always)]
fn dot_here(a: &[f32], b: &[f32], add: impl Fn(f32, f32, f32) -> f32) -> f32 {
    // As many sums as it takes to keep the multipliers busy.
    const LANES: usize = 32;
    let mut sums = [0.0; LANES];
    let (a_parts, b_parts) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let rest = a_parts.remainder().iter().zip(b_parts.remainder());
    let rest = rest.fold(0.0, |sum, (x, y)| add(*x, *y, sum));
    for (a, b) in a_parts.zip(b_parts) {
        for ((sum, x), y) in sums.iter_mut().zip(a).zip(b) {
            *sum = add(*x, *y, *sum);
        }
    }
    sums.iter().sum::<f32>() + rest
}
