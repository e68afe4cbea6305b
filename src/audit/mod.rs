//! Runs a matrix: groups by quant, resumes, records, and never loses a finished cell.
