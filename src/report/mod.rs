//! Run and review to `REPORT.md` and contact sheet; a `REPORT.md` of the Python service to a run.
