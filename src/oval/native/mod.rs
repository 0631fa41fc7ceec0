//! Objects resolved against the tables of a native scan.

pub mod asks;
