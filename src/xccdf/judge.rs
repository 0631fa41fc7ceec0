//! Rule results: platforms, checks and roles over OVAL results.
