//! The window, driven by accessible names: no X server, no display.

mod window {
    pub mod harness;
    mod run_page;
}
