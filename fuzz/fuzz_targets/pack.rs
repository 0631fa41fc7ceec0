//! Damaged compiled packs whose checksum was mended: refused when opened, or safe to judge with. Of written rules and of SCAP content.
#![no_main]

#[path = "../../tests/content.rs"]
mod content;
#[path = "../../tests/generate.rs"]
#[allow(dead_code)]
mod generate;

use libfuzzer_sys::fuzz_target;
use muster::judge::forward;
use muster::pack::{Pack, compile};

fuzz_target!(|bytes: &[u8]| {
    let mut choices = generate::Bytes::new(bytes);
    let scap = choices.below(2) == 0;
    let (mut file, scan) = if scap {
        let file = content::file(&mut choices);
        let pack = Pack::from_bytes(file.clone()).expect("what was compiled opens");
        let scan = content::scan(&mut choices, &pack);
        (file, scan)
    } else {
        (compile(&[choices.pack(3)], &[]), choices.scan())
    };
    for _ in 0..choices.below(4) + 1 {
        let at = (choices.below(256) << 8 | choices.below(256)) % file.len();
        let with = u8::try_from(choices.below(256)).unwrap_or(0);
        // Most of SCAP is JSON, of which little but other numbers can still be read.
        let at = if scap { (at.max(64)..file.len()).find(|i| file[*i].is_ascii_digit()).unwrap_or(at) } else { at };
        if at >= 64 {
            file[at] = if scap && file[at].is_ascii_digit() { b'0' + with % 10 } else { with };
        }
    }
    let sum = blake3::hash(&file[64..]);
    file[32..64].copy_from_slice(sum.as_bytes());
    if let Ok(pack) = Pack::from_bytes(file) {
        forward::judge_scan(&pack, &scan, 0);
        pack.rules().for_each(|rule| drop(pack.explain(rule, &scan, 0)));
    }
});
