//! Picture files: decoded to 8-bit sRGB with their colour profile and orientation honoured, encoded
//! as PNG, written atomically, hashed.

pub mod colour;
mod decode;
mod png_chunks;
mod write;

pub use colour::ColourSource;
pub use decode::{
    Decoded, MAX_PIXELS, Pixels, decode, decode_bytes, decode_mask, decode_mask_bytes, dimensions,
};
pub use write::{
    encode_grey_png, encode_rgb_png, encode_rgba_png, sha256_of_bytes, sha256_of_file,
    write_atomically, write_grey_png, write_rgb_png,
};

#[cfg(test)]
mod tests;
