//! Damaged compiled catalogs whose header was mended: refused when opened, or safe to ask. And undamaged ones say what the definition says.
#![no_main]

#[path = "../../tests/advisories.rs"]
mod advisories;
#[path = "../../tests/generate.rs"]
#[allow(dead_code)]
mod generate;

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use muster::patch::catalog::{Catalog, Part, Segment, compile};
use muster::patch::explain;

fuzz_target!(|bytes: &[u8]| {
    let mut choices = generate::Bytes::new(bytes);
    let rows: Vec<_> = (0..3).map(|_| advisories::row(&mut choices)).collect();
    let definitions = advisories::definitions(advisories::feed(&mut choices, 10));
    let mut file = compile(&definitions, &[]).bytes;
    let flips = choices.below(4);
    for _ in 0..flips {
        let at = (choices.below(256) << 8 | choices.below(256)) % file.len();
        let with = u8::try_from(choices.below(256)).unwrap_or(0);
        // The header's own parts lead to a refusal sooner than to anything else; the section table is worth trying.
        if at >= 144 {
            file[at] = with;
        }
    }
    let mut sum = blake3::Hasher::new();
    sum.update(&file[..104]).update(&file[144..384]);
    let sum = *sum.finalize().as_bytes();
    file[104..136].copy_from_slice(&sum);
    let Ok(segment) = Segment::from_bytes("fuzz", file) else { return };
    let catalog = Catalog::new(vec![Part { feed: "fuzz".into(), segments: vec![Arc::new(segment)] }], Arc::default());
    for row in &rows {
        let notes = catalog.ask(row);
        if flips == 0 {
            let said: Vec<_> = notes.iter().map(|n| (n.patch() as usize, n.says(), n.superseded())).collect();
            assert_eq!(said, explain::notes(&definitions, row, false), "{row}");
        }
        catalog.ask_fully(row);
    }
    for patch in catalog.patches().take(100) {
        drop((catalog.id(patch), catalog.definition(patch)));
    }
});
