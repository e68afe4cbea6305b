//! The window, driven by accessible names: no X server, no display.

mod window {
    mod approving;
    mod composing;
    pub mod harness;
    mod judging;
    mod run_page;
}
