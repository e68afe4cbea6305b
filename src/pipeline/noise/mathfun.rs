//! One lane of `log256_ps` and `sincos256_ps` of `ATen/native/cpu/avx_mathfun.h`.
//!
//! The Cephes polynomials differ from a correctly rounded logarithm, sine or cosine in the last
//! digits, so noise that is to be `PyTorch`'s bit for bit has to be made with exactly these, in this
//! order of operations. The original is written with separate multiplications and additions; the
//! compiler that makes `PyTorch` fuses them, so they are fused here where it does (found by holding
//! both against what `PyTorch` draws: unfused, some numbers differ in their last bit).
#![expect(
    clippy::excessive_precision,
    clippy::unreadable_literal,
    reason = "the constants stand as in the original"
)]

const LOG: [f32; 9] = [
    7.0376836292e-2,
    -1.1514610310e-1,
    1.1676998740e-1,
    -1.2420140846e-1,
    1.4249322787e-1,
    -1.6668057665e-1,
    2.0000714765e-1,
    -2.4999993993e-1,
    3.3333331174e-1,
];

/// Natural logarithm of a positive number.
pub fn log(x: f32) -> f32 {
    let x = x.max(f32::MIN_POSITIVE);
    let bits = x.to_bits();
    let mut e = ((bits >> 23) as i32 - 0x7f) as f32 + 1.0;
    // The mantissa in [0.5, 1).
    let mut x = f32::from_bits((bits & !0x7f80_0000) | 0.5_f32.to_bits());
    let tmp = if x < std::f32::consts::FRAC_1_SQRT_2 {
        x
    } else {
        0.0
    };
    e -= if x < std::f32::consts::FRAC_1_SQRT_2 {
        1.0
    } else {
        0.0
    };
    x -= 1.0;
    x += tmp;
    let z = x * x;
    let mut y = LOG[0];
    for p in &LOG[1..] {
        y = y.mul_add(x, *p);
    }
    y *= x;
    y = y.mul_add(z, e * -2.12194440e-4);
    y = z.mul_add(-0.5, y);
    x += y;
    e.mul_add(0.693359375, x)
}

/// Sine and cosine of an angle in [0, 8192).
pub fn sincos(x: f32) -> (f32, f32) {
    let j = ((x * 1.27323954473516) as i32 + 1) & !1;
    let y = j as f32;
    let mut x = x;
    x = y.mul_add(-0.78515625, x);
    x = y.mul_add(-2.4187564849853515625e-4, x);
    x = y.mul_add(-3.77489497744594108e-8, x);
    let z = x * x;

    let mut c = 2.443315711809948e-005_f32;
    c = c.mul_add(z, -1.388731625493765e-003);
    c = c.mul_add(z, 4.166664568298827e-002);
    c *= z;
    c = c.mul_add(z, -(z * 0.5));
    c += 1.0;

    let mut s = -1.9515295891e-4_f32;
    s = s.mul_add(z, 8.3321608736e-3);
    s = s.mul_add(z, -1.6666654611e-1);
    s *= z;
    s = s.mul_add(x, x);

    let (sin, cos) = if j & 2 == 0 { (s, c) } else { (c, s) };
    let sin_sign = (j & 4) != 0;
    let cos_sign = (!(j - 2) & 4) != 0;
    (
        if sin_sign { -sin } else { sin },
        if cos_sign { -cos } else { cos },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_polynomials_agree_with_the_real_functions() {
        for i in 1..=1000_u16 {
            let x = f32::from(i) / 1000.0;
            assert!((log(x) - x.ln()).abs() < 1e-6, "log {x}");
            let angle = x * std::f32::consts::TAU;
            let (sin, cos) = sincos(angle);
            assert!((sin - angle.sin()).abs() < 1e-6, "sin {angle}");
            assert!((cos - angle.cos()).abs() < 1e-6, "cos {angle}");
        }
    }
}
