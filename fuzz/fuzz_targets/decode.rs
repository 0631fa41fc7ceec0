//! Any bytes as an upload: refused or read, and what was read is read again the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster::limits::Limits;
use muster::scan::digest::Digest;
use muster::scan::inflate::{Encoding, inflate};
use muster::scan::native::{decode_scan, encode};

fuzz_target!(|bytes: &[u8]| {
    let limits = Limits { inflated_bytes: 1 << 20, ..Limits::default() };
    let mut text = Vec::new();
    for encoding in [Encoding::Gzip, Encoding::Zstd] {
        let _ = inflate(encoding, bytes, &limits, &mut text);
    }
    if let Ok((_, scan)) = decode_scan(bytes, &limits) {
        let again = encode(&scan, None, |_| true);
        let (_, read) = decode_scan(&again, &limits).expect("what was written is read");
        assert_eq!(read, scan);
        assert_eq!(Digest::of_scan(&read), Digest::of_scan(&scan));
    }
});
