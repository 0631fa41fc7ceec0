//! Feeds that are kept: fetched or brought as files, compiled into segments, with a history of what came of it. The I/O around [`crate::feed`], which only reads.
