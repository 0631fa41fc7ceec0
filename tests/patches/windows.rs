//! Windows: what WES-NG says of real hosts held against ours, and what Microsoft's documents mean for hosts of our own.

mod cvrf;
mod wesng;
