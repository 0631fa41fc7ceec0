//! Feeds fetched from a server that misbehaves, and brought as files.
