//! Damaged compiled packs whose checksum was mended: refused when opened, or safe to judge with.
#![no_main]

#[path = "../../tests/generate.rs"]
#[allow(dead_code)]
mod generate;

use libfuzzer_sys::fuzz_target;
use muster::judge::forward;
use muster::pack::{Pack, compile};

fuzz_target!(|bytes: &[u8]| {
    let mut choices = generate::Bytes::new(bytes);
    let mut file = compile(&[choices.pack(3)], &[]);
    let scan = choices.scan();
    for _ in 0..choices.below(4) + 1 {
        let at = (choices.below(256) << 8 | choices.below(256)) % file.len();
        let with = choices.below(256);
        if at >= 64 {
            file[at] = u8::try_from(with).unwrap_or(0);
        }
    }
    let sum = blake3::hash(&file[64..]);
    file[32..64].copy_from_slice(sum.as_bytes());
    if let Ok(pack) = Pack::from_bytes(file) {
        forward::judge_scan(&pack, &scan, 0);
    }
});
