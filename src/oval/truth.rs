//! Truth tables of OVAL.

use serde::{Deserialize, Serialize};

/// Whose answers are wanted where the specification and the common evaluator differ.
#[derive(Clone, Copy, Default, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Compat {
    #[default]
    Specification,
    OpenScap,
}
