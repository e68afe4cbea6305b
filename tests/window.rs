//! The window, driven by accessible names: no X server, no display.

mod window {
    mod approving;
    mod axes;
    mod bucket;
    mod bucket_store;
    mod composing;
    mod crash;
    mod grid;
    pub mod harness;
    mod hostile;
    mod judging;
    mod judging_pictures;
    mod judging_rules;
    mod lab_controls;
    mod lab_files;
    mod lab_gates;
    mod lab_pictures;
    mod lab_placement;
    mod lab_recipe;
    mod lab_runs;
    mod mask_lab;
    mod mask_lab_run;
    mod named_session;
    mod remote;
    mod remote_job;
    mod run_masks;
    mod run_page;
    pub mod seeing;
    mod seeing_pictures;
    mod two_runs;
    mod values;
    mod wiping;
}
