//! SCAP data streams: components and how they refer to each other.
