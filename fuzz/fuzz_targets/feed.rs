//! Any bytes as every feed: advisories and problems, never a panic. The first byte chooses the reader.
#![no_main]

use libfuzzer_sys::fuzz_target;
use muster::feed::{Batch, csaf, cvss, debian, epss, kev, msrc, openvex, osv, oval, supersede};
use muster::limits::Limits;

fuzz_target!(|bytes: &[u8]| {
    let Some((choice, bytes)) = bytes.split_first() else { return };
    // Small limits are reached, and bombs stay cheap.
    let limits = Limits { feed_bytes: 4 << 20, feed_document_bytes: 1 << 20, feed_documents: 64, ..Limits::default() };
    let mut batch = Batch::new(&limits);
    let sink = &mut batch;
    match choice % 11 {
        0 => osv::read("f", bytes, &limits, sink),
        1 => csaf::read("f", bytes, &limits, sink),
        2 => openvex::read("f", bytes, &limits, sink),
        3 => debian::read_tracker("f", bytes, &limits, sink),
        4 => debian::read_list("f", bytes, &limits, sink),
        5 => msrc::read_cvrf("f", bytes, &limits, sink),
        6 => msrc::read_wesng("f", bytes, &limits, sink),
        7 => drop(kev::read("f", bytes, &limits, sink)),
        8 => drop(epss::read("f", bytes, &limits, sink)),
        9 => oval::read("f", bytes, &limits, sink),
        _ => {
            if let Ok(vector) = cvss::Vector::parse(&String::from_utf8_lossy(bytes)) {
                assert!(vector.base().max(vector.temporal()).max(vector.environmental()).0 <= 100);
            }
        }
    }
    let mut graph = supersede::Graph::default();
    for advisory in &batch.advisories {
        graph.learn(advisory);
        for affected in &advisory.affected {
            affected.versions.contains("1.0");
        }
    }
    graph.closure(&limits).expect("small");
});
