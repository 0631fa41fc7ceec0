//! Any text as a rule file and as an expression: problems or a rule, never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster::limits::Limits;
use muster::pack::{Pack, compile};
use muster::rule::{Collect, Source, SourceFile, check, read_pack};

fuzz_target!(|text: &str| {
    let _ = check::check(text, &Collect::new());
    let pack = SourceFile { path: "p/pack.yaml".into(), text: "id: p\ntitle: t\nversion: 1.0.0\ndescription: d\n".into() };
    let rule = SourceFile { path: "p/r.yaml".into(), text: text.to_owned() };
    if let (Some(read), _) = read_pack(&Source { pack, rules: vec![rule] }, &Limits::default()) {
        Pack::from_bytes(compile(&[read], &[])).expect("what compiles opens");
    }
});
