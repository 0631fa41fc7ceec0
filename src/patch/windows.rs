//! What Microsoft calls a system: an `os` row in, the product name of its advisories out; and of which system a product name is.

use crate::scan::Row;

/// `Windows 10 Version 1809 for x64-based Systems` for an `os` row; `None` for what is not Windows or cannot be told.
pub fn product(os: &Row) -> Option<String> {
    let _ = os;
    None
}

/// The system that a product is, or runs on and comes with: `Internet Explorer 11 on Windows 10 Version 1809 for x64-based Systems` and
/// `Windows 10 Version 1809 for x64-based Systems` are of the same. `None` for what is installed by itself (Office, SQL Server).
pub fn system_of(product: &str) -> Option<&str> {
    let _ = product;
    None
}
