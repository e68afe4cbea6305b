//! The comparison canvas as it is drawn: shader against `imaging`, budget, tiles, bad pictures.
#![expect(
    clippy::unwrap_used,
    clippy::panic,
    reason = "a test that cannot go on fails"
)]

#[path = "canvas/differences.rs"]
mod differences;
#[path = "canvas/formulas.rs"]
mod formulas;
#[path = "canvas/input.rs"]
mod input;
#[path = "canvas/mask_styles.rs"]
mod mask_styles;
#[path = "canvas/masks.rs"]
mod masks;
#[path = "canvas/overlays.rs"]
mod overlays;
#[path = "canvas/page.rs"]
mod page;
#[path = "canvas/pictures.rs"]
mod pictures;
#[path = "canvas/shader.rs"]
mod shader;
#[path = "canvas/store.rs"]
mod store;
