//! `oval_definitions` XML to the model, names resolved, every problem with its place.
