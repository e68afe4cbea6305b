//! Encoding and linear light in plain f64: what exposure and mips are held against. Everything else is held
//! against `imaging`.

/// Bytes to 0..1.
pub fn unit(color: [u8; 4]) -> [f64; 3] {
    [0, 1, 2].map(|i| f64::from(color[i]) / 255.0)
}

/// 0..1 to bytes, with clamping.
pub fn bytes(color: [f64; 3]) -> [u8; 3] {
    color.map(|c| (c.clamp(0.0, 1.0) * 255.0).round() as u8)
}

pub fn linear(c: f64) -> f64 {
    if c <= 0.04045 {
        c / 12.92
    } else {
        ((c + 0.055) / 1.055).powf(2.4)
    }
}

pub fn encoded(c: f64) -> f64 {
    if c <= 0.003_130_8 {
        c * 12.92
    } else {
        1.055 * c.powf(1.0 / 2.4) - 0.055
    }
}
