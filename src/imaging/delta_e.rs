//! CIE Lab and the CIEDE2000 colour difference; one pair of colours at a time.

use std::sync::LazyLock;

/// L\*, a\* and b\* under D65: L\* from 0 to 100.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Lab {
    /// Lightness, 0 to 100.
    pub l: f64,
    /// Green to red.
    pub a: f64,
    /// Blue to yellow.
    pub b: f64,
}

/// 25⁷.
const POW_25_7: f64 = 6_103_515_625.0;

/// Linear light of each 8-bit sRGB level.
static LINEAR: LazyLock<[f64; 256]> = LazyLock::new(|| {
    std::array::from_fn(|level| {
        let encoded = level as f64 / 255.0;
        if encoded <= 0.04045 {
            encoded / 12.92
        } else {
            ((encoded + 0.055) / 1.055).powf(2.4)
        }
    })
});

impl Lab {
    /// From 8-bit sRGB, by the matrix of IEC 61966-2-1 (primaries of Rec. 709, D65); white is
    /// (0.95047, 1, 1.08883).
    pub fn from_srgb(rgb: [u8; 3]) -> Self {
        let [r, g, b] = rgb.map(|level| LINEAR[usize::from(level)]);
        let x = (0.412_456_4 * r + 0.357_576_1 * g + 0.180_437_5 * b) / 0.950_47;
        let y = 0.212_672_9 * r + 0.715_152_2 * g + 0.072_175_0 * b;
        let z = (0.019_333_9 * r + 0.119_192_0 * g + 0.950_304_1 * b) / 1.088_83;
        let f = |t: f64| {
            if t <= 216.0 / 24389.0 {
                t * (841.0 / 108.0) + 4.0 / 29.0
            } else {
                t.cbrt()
            }
        };
        let (fx, fy, fz) = (f(x), f(y), f(z));
        Self {
            l: 116.0 * fy - 16.0,
            a: 500.0 * (fx - fy),
            b: 200.0 * (fy - fz),
        }
    }
}

/// ΔE2000 of two 8-bit sRGB colours; 0 for equal ones without any arithmetic.
pub fn delta_e_2000_of_srgb(one: [u8; 3], two: [u8; 3]) -> f64 {
    if one == two {
        0.0
    } else {
        delta_e_2000(Lab::from_srgb(one), Lab::from_srgb(two))
    }
}

/// ΔE2000 with all weights 1, after Sharma, Wu and Dalal, "The CIEDE2000 Color-Difference Formula:
/// Implementation Notes, Supplementary Test Data, and Mathematical Observations" (2005). About 1 is
/// just noticeable side by side.
pub fn delta_e_2000(one: Lab, two: Lab) -> f64 {
    let weight = |chroma: f64| {
        let squared = chroma * chroma;
        let seventh = squared * squared * squared * chroma;
        (seventh / (seventh + POW_25_7)).sqrt()
    };
    let chroma_mean = f64::midpoint(length(one.a, one.b), length(two.a, two.b));
    let stretch = 1.0 + 0.5 * (1.0 - weight(chroma_mean));
    let (a1, a2) = (stretch * one.a, stretch * two.a);
    let (c1, c2) = (length(a1, one.b), length(a2, two.b));
    let (h1, h2) = (hue_degrees(a1, one.b), hue_degrees(a2, two.b));
    let is_grey = c1 * c2 == 0.0;

    let dl = two.l - one.l;
    let dc = c2 - c1;
    let dh_degrees = match h2 - h1 {
        _ if is_grey => 0.0,
        turn if turn > 180.0 => turn - 360.0,
        turn if turn < -180.0 => turn + 360.0,
        turn => turn,
    };
    let dh = 2.0 * (c1 * c2).sqrt() * (0.5 * dh_degrees).to_radians().sin();

    let l_mean = f64::midpoint(one.l, two.l);
    let c_mean = f64::midpoint(c1, c2);
    let h_sum = h1 + h2;
    let h_mean = if is_grey {
        h_sum
    } else if (h1 - h2).abs() <= 180.0 {
        0.5 * h_sum
    } else if h_sum < 360.0 {
        0.5 * (h_sum + 360.0)
    } else {
        0.5 * (h_sum - 360.0)
    };
    let cos = |degrees: f64| degrees.to_radians().cos();
    let t =
        1.0 - 0.17 * cos(h_mean - 30.0) + 0.24 * cos(2.0 * h_mean) + 0.32 * cos(3.0 * h_mean + 6.0)
            - 0.20 * cos(4.0 * h_mean - 63.0);
    let theta = 30.0 * (-((h_mean - 275.0) / 25.0).powi(2)).exp();
    let l_50 = (l_mean - 50.0).powi(2);
    let s_l = 1.0 + 0.015 * l_50 / (20.0 + l_50).sqrt();
    let s_c = 1.0 + 0.045 * c_mean;
    let s_h = 1.0 + 0.015 * c_mean * t;
    let r_t = -(2.0 * theta).to_radians().sin() * 2.0 * weight(c_mean);
    let (l, c, h) = (dl / s_l, dc / s_c, dh / s_h);
    (l * l + c * c + h * h + r_t * c * h).max(0.0).sqrt()
}

/// Not `hypot`: its care about overflow costs more than the rest of the formula.
fn length(a: f64, b: f64) -> f64 {
    (a * a + b * b).sqrt()
}

/// The hue angle, 0 to 360; 0 for grey.
fn hue_degrees(a: f64, b: f64) -> f64 {
    if a == 0.0 && b == 0.0 {
        0.0
    } else {
        b.atan2(a).to_degrees().rem_euclid(360.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The 34 pairs of the paper's table 1: L, a, b of either colour, and ΔE2000.
    const PAIRS: [[f64; 7]; 34] = [
        [50.0, 2.6772, -79.7751, 50.0, 0.0, -82.7485, 2.0425],
        [50.0, 3.1571, -77.2803, 50.0, 0.0, -82.7485, 2.8615],
        [50.0, 2.8361, -74.0200, 50.0, 0.0, -82.7485, 3.4412],
        [50.0, -1.3802, -84.2814, 50.0, 0.0, -82.7485, 1.0],
        [50.0, -1.1848, -84.8006, 50.0, 0.0, -82.7485, 1.0],
        [50.0, -0.9009, -85.5211, 50.0, 0.0, -82.7485, 1.0],
        [50.0, 0.0, 0.0, 50.0, -1.0, 2.0, 2.3669],
        [50.0, -1.0, 2.0, 50.0, 0.0, 0.0, 2.3669],
        [50.0, 2.4900, -0.0010, 50.0, -2.4900, 0.0009, 7.1792],
        [50.0, 2.4900, -0.0010, 50.0, -2.4900, 0.0010, 7.1792],
        [50.0, 2.4900, -0.0010, 50.0, -2.4900, 0.0011, 7.2195],
        [50.0, 2.4900, -0.0010, 50.0, -2.4900, 0.0012, 7.2195],
        [50.0, -0.0010, 2.4900, 50.0, 0.0009, -2.4900, 4.8045],
        [50.0, -0.0010, 2.4900, 50.0, 0.0010, -2.4900, 4.8045],
        [50.0, -0.0010, 2.4900, 50.0, 0.0011, -2.4900, 4.7461],
        [50.0, 2.5, 0.0, 50.0, 0.0, -2.5, 4.3065],
        [50.0, 2.5, 0.0, 73.0, 25.0, -18.0, 27.1492],
        [50.0, 2.5, 0.0, 61.0, -5.0, 29.0, 22.8977],
        [50.0, 2.5, 0.0, 56.0, -27.0, -3.0, 31.9030],
        [50.0, 2.5, 0.0, 58.0, 24.0, 15.0, 19.4535],
        [50.0, 2.5, 0.0, 50.0, 3.1736, 0.5854, 1.0],
        [50.0, 2.5, 0.0, 50.0, 3.2972, 0.0, 1.0],
        [50.0, 2.5, 0.0, 50.0, 1.8634, 0.5757, 1.0],
        [50.0, 2.5, 0.0, 50.0, 3.2592, 0.3350, 1.0],
        [
            60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644,
        ],
        [
            63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630,
        ],
        [61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731],
        [35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645],
        [
            22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373,
        ],
        [36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146],
        [90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441],
        [90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381],
        [6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377],
        [2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082],
    ];

    #[test]
    fn all_published_pairs_agree_to_the_last_printed_digit() {
        for [l1, a1, b1, l2, a2, b2, expected] in PAIRS {
            let one = Lab {
                l: l1,
                a: a1,
                b: b1,
            };
            let two = Lab {
                l: l2,
                a: a2,
                b: b2,
            };
            for found in [delta_e_2000(one, two), delta_e_2000(two, one)] {
                assert!(
                    (found - expected).abs() <= 0.000_05,
                    "{one:?} {two:?}: {found}"
                );
            }
        }
    }

    #[test]
    fn white_black_and_red_have_their_known_lab() {
        for (rgb, l, a, b) in [
            ([255, 255, 255], 100.0, 0.0, 0.0),
            ([0, 0, 0], 0.0, 0.0, 0.0),
            ([255, 0, 0], 53.24, 80.09, 67.20),
        ] {
            let lab = Lab::from_srgb(rgb);
            let off = (lab.l - l)
                .abs()
                .max((lab.a - a).abs())
                .max((lab.b - b).abs());
            assert!(off < 0.02, "{rgb:?}: {lab:?}");
        }
    }
}
