//! The mask lab: a session's mask and the recipe that is being tuned on it. No pixels of the screen here.

pub mod mask_field;
