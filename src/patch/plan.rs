//! In which order an endpoint's missing patches are installed: the minimum standard first, then by rank.
