//! A matrix on another machine: HTTP worker, its client, Cloud Run jobs.
