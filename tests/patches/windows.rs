//! Windows: what WES-NG says of real hosts, held against ours.
