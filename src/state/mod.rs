//! What the window shows and what may happen to it: state, messages, effects. No egui here.
