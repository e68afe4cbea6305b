//! The colour chunks of a PNG, read straight from the file: `image` does not hand them out.

/// What a PNG says about its colours before its first pixel.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct PngColour {
    /// Colour primaries, transfer function, matrix and range, as in ITU-T H.273.
    pub cicp: Option<[u8; 4]>,
    /// Whether an `iCCP` chunk is there.
    pub has_icc: bool,
    /// Whether an `sRGB` chunk is there.
    pub is_srgb: bool,
    /// The encoding exponent in 100,000ths, 45,455 for 1/2.2.
    pub gamma: Option<u32>,
    /// White, red, green and blue as x and y in 100,000ths.
    pub chromaticities: Option<[u32; 8]>,
}

const SIGNATURE: [u8; 8] = [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a];

/// The colour chunks before the first pixel; `None` for what is not a PNG. A file that ends early is
/// read as far as it goes: the decoder is the one to complain.
pub fn read(bytes: &[u8]) -> Option<PngColour> {
    let mut rest = bytes.strip_prefix(&SIGNATURE)?;
    let mut colour = PngColour::default();
    while let Some((head, after)) = rest.split_first_chunk::<8>() {
        let [a, b, c, d, kind @ ..] = *head;
        let length = u32::from_be_bytes([a, b, c, d]) as usize;
        let Some(content) = after.get(..length) else {
            break;
        };
        match &kind {
            b"IDAT" | b"IEND" => break,
            b"cICP" => colour.cicp = content.try_into().ok(),
            b"iCCP" => colour.has_icc = true,
            b"sRGB" => colour.is_srgb = true,
            b"gAMA" => colour.gamma = numbers::<1>(content).map(|[gamma]| gamma),
            b"cHRM" => colour.chromaticities = numbers(content),
            _ => {}
        }
        // Four bytes of checksum follow.
        let Some(next) = after.get(length + 4..) else {
            break;
        };
        rest = next;
    }
    Some(colour)
}

fn numbers<const N: usize>(content: &[u8]) -> Option<[u32; N]> {
    let (fours, []) = content.as_chunks::<4>() else {
        return None;
    };
    let fours: &[[u8; 4]; N] = fours.try_into().ok()?;
    Some(fours.map(u32::from_be_bytes))
}
