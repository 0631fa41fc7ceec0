//! One endpoint sends rows that nobody has shown, hundreds of thousands of them, again and again, while others go about their work: it is refused and named, they are not.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use hyper::header::{HeaderMap, RETRY_AFTER};
use serde_json::json;

use super::harness::{Home, Server, document, scan};

const LIMITS: &str = "[limits]\nnew_rows = 5000\nendpoint_new_rows = 3600\nown_rows = 6000\nfleet_rows = 40000\n";

/// Rows that differ from those of every other round and spelling.
fn flood(round: usize, rows: usize, spaced: bool) -> String {
    let mut text = String::from("{\"format\":\"muster.scan/1\",\"tables\":{\"sysctl\":[");
    for n in 0..rows {
        let blank = if spaced { " " } else { "" };
        let comma = if n > 0 { "," } else { "" };
        write!(text, "{comma}{{\"key\":{blank}\"h.{round}.{n}\",\"value\":\"{n}\"}}").unwrap();
    }
    text.push_str("]}}");
    text
}

async fn metric(server: &Server, name: &str) -> u64 {
    let text = server.send("GET", "/metrics", "", HeaderMap::new(), "").await.body;
    let line = text.as_str().unwrap().lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ').map(str::to_owned));
    line.unwrap_or_else(|| panic!("no metric {name}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_floods_is_refused_and_named_and_nobody_else_is_concerned() {
    let home = Home::new(LIMITS);
    let server = home.start().await;
    let hostile = server.enroll("hostile").await;
    let mut honest = Vec::new();
    for n in 0..4 {
        let id = format!("web-{n}");
        let key = server.enroll(&id).await;
        server.upload(&id, &key, scan("1", &["openssl", "bash"])).await;
        honest.push((id, key));
    }
    let taken = server.upload("hostile", &hostile, flood(0, 5000, false)).await;
    assert_eq!(taken["changed"], true, "a first scan may be of rows that nobody has");
    let (mut refused, mut slowest, mut sequence) = (0, Duration::ZERO, 1);
    for round in 1..=8 {
        // What anybody may send is over a limit; what was used up is over a budget.
        let rows = if round == 1 { 200_000 } else { 50_000 };
        let got = server.put("hostile", &hostile, "", flood(round, rows, round % 2 == 0)).await;
        assert_eq!((got.status, got.problem()), (429, "endpoint-limited"), "{got:?}");
        assert_eq!((got.body["name"].as_str(), got.body["limit"].as_u64()), (Some("endpoint_new_rows"), Some(3600)));
        let wait: u64 = got.headers[RETRY_AFTER].to_str().unwrap().parse().unwrap();
        assert!((1..=3600).contains(&wait), "{wait}");
        refused += 1;
        sequence += 1;
        for (n, (id, key)) in honest.iter().enumerate() {
            let begun = Instant::now();
            let changed = server.upload(id, key, scan(&format!("{round}"), &["openssl", &format!("own-{n}-{round}")])).await;
            slowest = slowest.max(begun.elapsed());
            assert_eq!((changed["changed"].as_bool(), changed["sequence"].as_u64()), (Some(true), Some(sequence)));
            let again = server.put(id, key, "", scan(&format!("{round}"), &["openssl", &format!("own-{n}-{round}")])).await;
            assert_eq!((again.status, again.body["changed"].as_bool()), (200, Some(false)));
        }
    }
    assert!(slowest < Duration::from_secs(10), "{slowest:?}");
    assert!(metric(&server, "muster_rows").await < 5_200, "what it brought within its budget, and what the others have");
    assert!(metric(&server, "muster_row_bytes").await < 1 << 20);
    assert_eq!(metric(&server, "muster_uploads_refused_total{reason=\"endpoint_new_rows\"}").await, refused);
    assert_eq!(metric(&server, "muster_endpoints_limited").await, 1);
    let named = server.until("/v1/events?type=endpoint.limited", |e| !e["items"].as_array().unwrap().is_empty()).await;
    let named = named["items"].as_array().unwrap();
    assert_eq!(named.len(), 1, "once an hour: {named:?}");
    assert_eq!((named[0]["endpoint"].as_str(), named[0]["data"]["limit"].as_str()), (Some("hostile"), Some("endpoint_new_rows")));
    for (id, _) in &honest {
        let shown = server.get(&format!("/v1/endpoints/{id}")).await;
        assert_eq!((shown["scan"]["sequence"].as_u64(), shown["freshness"].as_str()), (Some(sequence), Some("fresh")));
    }
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_endpoint_alone_has_is_bounded_table_by_table() {
    let home = Home::new("[limits]\nown_rows = 3000\n");
    let server = home.start().await;
    let key = server.enroll("web-1").await;
    let whole = server.upload("web-1", &key, flood(0, 2000, false)).await;
    let packages: Vec<_> = (0..2000).map(|n| json!({"name": format!("p{n}"), "version": "1", "format": "deb"})).collect();
    let text = document(&json!({"package": packages}));
    let base = format!("\"base\":{},\"tables\"", whole["scan"]);
    let change = text.replacen("\"tables\"", &base, 1);
    let got = server.put("web-1", &key, "", change).await;
    assert_eq!((got.status, got.problem(), got.body["name"].as_str()), (422, "over-limit", Some("own_rows")), "{got:?}");
    // In the place of what it has they are not too many; and what others have too is not its own.
    assert_eq!(server.upload("web-1", &key, text.clone()).await["changed"], true);
    let other = server.enroll("web-2").await;
    server.upload("web-2", &other, text).await;
    let shown = server.upload("web-1", &key, flood(0, 2000, false)).await;
    assert_eq!(shown["sequence"], 3);
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_room_is_for_those_who_bring_little() {
    let home = Home::new("[limits]\nfleet_rows = 2000\n");
    let server = home.start().await;
    let (many, few) = (server.enroll("many").await, server.enroll("few").await);
    server.upload("many", &many, flood(0, 1600, false)).await;
    let got = server.put("few", &few, "", flood(1, 300, false)).await;
    assert_eq!((got.status, got.problem(), got.body["name"].as_str()), (503, "fleet-full", Some("fleet_rows")), "{got:?}");
    assert_eq!(server.upload("few", &few, flood(1, 40, false)).await["changed"], true);
    // What nobody has any more makes room, soon.
    server.upload("many", &many, flood(2, 30, false)).await;
    let mut status = 0;
    for _ in 0..100 {
        status = server.put("few", &few, "", flood(3, 300, false)).await.status;
        if status == 200 {
            break;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(status, 200);
    server.stop().await;
}
