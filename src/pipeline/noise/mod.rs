//! Noise as `torch.randn` draws it from `torch.Generator("cpu")`, number for number.
//!
//! Follows `ATen/native/cpu/DistributionTemplates.h` and `ATen/core/DistributionsHelper.h` of
//! `PyTorch` 2: tensors of 16 and more values are filled with uniform numbers first and turned into
//! normal ones in groups of 16, in float32 with the AVX2 polynomials of `avx_mathfun.h`; smaller
//! ones are drawn one by one in float64. Knows nothing of latents.

mod mathfun;
mod mt19937;

use half::bf16;
use mt19937::Mt19937;

/// `PyTorch`'s CPU generator after `manual_seed(seed)`.
#[derive(Debug, Clone)]
pub struct TorchGenerator {
    engine: Mt19937,
    /// The second number of a pair, kept for the next single draw.
    spare: Option<f64>,
}

impl TorchGenerator {
    /// The state after `torch.Generator("cpu").manual_seed(seed)`; only the low 32 bits matter, as
    /// in `PyTorch`.
    pub fn new(seed: u64) -> Self {
        Self {
            engine: Mt19937::new(seed as u32),
            spare: None,
        }
    }

    /// What `torch.randn(len, generator=self, dtype=torch.float32)` draws.
    pub fn randn_f32(&mut self, len: usize) -> Vec<f32> {
        if len < 16 {
            return (0..len).map(|_| self.normal() as f32).collect();
        }
        let mut values: Vec<f32> = (0..len).map(|_| self.uniform_f32()).collect();
        for group in values.chunks_exact_mut(16) {
            box_muller(group);
        }
        if !len.is_multiple_of(16) {
            // The last 16 values are drawn anew, over what was there.
            let tail = &mut values[len - 16..];
            tail.fill_with(|| self.uniform_f32());
            box_muller(tail);
        }
        values
    }

    /// What `torch.randn(len, generator=self, dtype=torch.bfloat16)` draws.
    ///
    /// Unlike float32, values beyond the last whole 16 are not drawn before the last 16 are drawn
    /// anew, so the two differ in their tails. This is what `PyTorch` 2.15
    /// draws; 2.7 draws other numbers in bfloat16.
    pub fn randn_bf16(&mut self, len: usize) -> Vec<bf16> {
        if len < 16 {
            return (0..len)
                .map(|_| bf16::from_f32(self.normal() as f32))
                .collect();
        }
        let mut values = vec![bf16::ZERO; len];
        for group in values.chunks_exact_mut(16) {
            self.fill_bf16(group);
        }
        if !len.is_multiple_of(16) {
            self.fill_bf16(&mut values[len - 16..]);
        }
        values
    }

    /// 16 normal numbers, made in float32.
    fn fill_bf16(&mut self, group: &mut [bf16]) {
        let mut drawn: [f32; 16] = std::array::from_fn(|_| self.uniform_f32());
        box_muller(&mut drawn);
        for (value, drawn) in group.iter_mut().zip(drawn) {
            *value = bf16::from_f32(drawn);
        }
    }

    /// 24 random bits in [0, 1).
    fn uniform_f32(&mut self) -> f32 {
        (self.engine.next_u32() & 0x00ff_ffff) as f32 / (1 << 24) as f32
    }

    /// 53 random bits in [0, 1).
    fn uniform_f64(&mut self) -> f64 {
        let high = u64::from(self.engine.next_u32());
        let low = u64::from(self.engine.next_u32());
        let bits = (high << 32 | low) & ((1 << 53) - 1);
        bits as f64 / (1_u64 << 53) as f64
    }

    /// One normal number in float64, as small tensors get them.
    fn normal(&mut self) -> f64 {
        if let Some(spare) = self.spare.take() {
            return spare;
        }
        let u1 = self.uniform_f64();
        let u2 = self.uniform_f64();
        let radius = (-2.0 * (-u2).ln_1p()).sqrt();
        let theta = 2.0 * std::f64::consts::PI * u1;
        self.spare = Some(radius * theta.sin());
        radius * theta.cos()
    }
}

/// Turns 16 uniform numbers into normal ones: the first eight give radii, the others angles.
fn box_muller(group: &mut [f32]) {
    let (radii, angles) = group.split_at_mut(8);
    for (a, b) in radii.iter_mut().zip(angles) {
        let radius = (-2.0 * mathfun::log(1.0 - *a)).sqrt();
        let (sin, cos) = mathfun::sincos(std::f32::consts::TAU * *b);
        *a = radius * cos;
        *b = radius * sin;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let draw = || TorchGenerator::new(42).randn_f32(100);
        assert_eq!(draw(), draw());
    }

    #[test]
    fn a_draw_goes_on_where_the_former_ended() {
        let mut generator = TorchGenerator::new(7);
        let both = [generator.randn_f32(32), generator.randn_f32(32)].concat();
        assert_eq!(both, TorchGenerator::new(7).randn_f32(64));
    }

    #[test]
    fn seed_42_begins_as_everyone_who_used_pytorch_has_seen_it() {
        // torch.manual_seed(42); torch.randn(16)
        let drawn = TorchGenerator::new(42).randn_f32(16);
        for (got, expected) in drawn.iter().zip([1.9269_f32, 1.4873, 0.9007, -2.1055]) {
            assert!((got - expected).abs() < 1e-4, "{got} {expected}");
        }
    }
}
