//! Where runs and sessions are kept: a local folder or a Google Cloud Storage bucket.
