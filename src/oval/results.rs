//! OVAL results documents.
