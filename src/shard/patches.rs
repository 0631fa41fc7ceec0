//! Patches at endpoints: which stand how, what turned, what was decided about them.
