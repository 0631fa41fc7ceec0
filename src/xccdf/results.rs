//! XCCDF TestResult documents.
