//! fill-audit: settle how a photo service should run FLUX.1-Fill-dev.
