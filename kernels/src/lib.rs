//! Weights as GGUF files store them, and products with them on the CPU.
//!
//! | file | job |
//! |---|---|
//! | [`stored`] | the ways in which weights are stored, and how each becomes float32 |
//! | [`instructions`] | which vector instructions this processor has, found out at run time |
//! | `aligned` | memory that vectors are read from without crossing cache lines |
//! | [`product`] | `y = x Wᵀ`: who computes which part of it, and in which order |
//! | `float` | the innermost loops in float32 |
//! | `integer` | the innermost loops in integers |
//! | `few` | the same for so few rows that laying them out does not pay |
//! | `activations` | activations laid out, or quantized, for those loops |
//!
//! A weight is decoded where it is multiplied by, a few rows and columns at a time, into memory that stays
//! in the processor's cache: no second copy of the weights is ever held. A crate of its own, so that it is
//! optimised also where the rest of the program is not.

mod activations;
mod aligned;
mod few;
mod float;
pub mod instructions;
mod integer;
pub mod product;
pub mod stored;

pub use instructions::Instructions;
pub use product::{Arithmetic, Matrix, multiply};
pub use stored::StoredType;
