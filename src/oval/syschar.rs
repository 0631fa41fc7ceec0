//! OVAL system characteristics, streamed: collected objects and items as facts.
