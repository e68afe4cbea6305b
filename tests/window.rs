//! The window, driven by accessible names: no X server, no display.


mod window {
    pub mod harness;
    mod approving;
    mod composing;
    mod judging;
    mod run_page;
}
