//! Random rules over random scans: the compiled engine gives the definition's verdicts.
#![no_main]

#[path = "../../tests/generate.rs"]
mod generate;

use libfuzzer_sys::fuzz_target;
use muster::judge::forward;
use muster::pack::{Pack, compile};

fuzz_target!(|bytes: &[u8]| {
    let mut choices = generate::Bytes::new(bytes);
    let pack = Pack::from_bytes(compile(&[choices.pack(4)], &[])).expect("a compiled pack opens");
    let scan = choices.scan();
    let forward = forward::judge_scan(&pack, &scan, 0);
    for (rule, got) in pack.rules().zip(forward) {
        let defined = pack.explain(rule, &scan, 0).verdict;
        assert_eq!(got, defined, "rule {:?}\nscan {:?}", pack.meta(rule), scan);
    }
});
