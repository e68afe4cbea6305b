//! Pure documents and rules: what a session, a run, a cell, a verdict and an approval are.
