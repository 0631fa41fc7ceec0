//! The endpoint's side against a small server.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response as HttpResponse};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

use super::*;
use crate::client::Options;
use crate::deploy::{self, TaskState};
use crate::rule::FixState;

/// As the server keeps it; what it sends is another form.
fn task() -> deploy::Task {
    deploy::Task {
        id: "tsk_1".to_owned(),
        item: "package:chrony>=4.3:dpkg".to_owned(),
        baselines: vec!["must".to_owned()],
        action: Action {
            package: "chrony".to_owned(),
            state: FixState::Installed,
            minimum: Some("4.3".to_owned()),
            scheme: None,
            patch: None,
        },
        state: TaskState::Queued,
        blocked: None,
        attempts: 1,
        created_ms: 1,
        changed_ms: 2,
        message: None,
    }
}

fn answer(request: &Request<Incoming>, seen: usize) -> HttpResponse<Full<Bytes>> {
    let header = |name: &str| request.headers().get(name).and_then(|v| v.to_str().ok()).unwrap_or_default();
    let mut retry = None;
    let (status, body) = match (request.method().as_str(), request.uri().path()) {
        ("POST", "/v1/enroll") => (201, json!({"endpoint": "web-1", "key": "k1"})),
        _ if header("authorization") != "Bearer k1" => (401, json!({"title": "not known", "detail": "the key is wrong"})),
        ("GET", "/v1/collect") => (
            200,
            json!({"asks": {"file": ["/etc/shadow", "depth=-1 xdev ///."], "systemd": ["ActiveState ^(a|b)\\.service$"], "process": [], "future": ["x"]}, "pack": "p"}),
        ),
        ("PUT", "/v1/endpoints/web%2F1/scan") if seen < 3 => {
            retry = Some("0");
            (503, json!({"title": "busy", "detail": "try later"}))
        }
        ("PUT", "/v1/endpoints/web%2F1/scan") if header("content-encoding") == "zstd" => {
            (200, json!({"scan": "d", "sequence": 3, "changed": true, "verdicts": {"pass": 2}, "tasks": 1}))
        }
        ("PUT", "/v1/endpoints/busy/scan") => (429, json!({"title": "too many", "detail": "slow down"})),
        ("GET", "/v1/endpoints/web-1/tasks") => (200, json!({"items": [task().shown()]})),
        ("POST", "/v1/tasks/t1/result") => (204, json!(null)),
        _ => (404, json!("no problem document")),
    };
    let mut response = HttpResponse::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    if let Some(seconds) = retry {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static(seconds));
    }
    response
}

/// A server on a port of its own, and how many requests it has seen.
async fn start() -> (Server, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let count = Arc::new(AtomicUsize::new(0));
    let counter = count.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let counter = counter.clone();
            let service = service_fn(move |request: Request<Incoming>| {
                let seen = counter.fetch_add(1, Ordering::SeqCst);
                async move { Ok::<_, Infallible>(answer(&request, seen)) }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    let mut server = Server::new(Client::new(&Options::default()).unwrap(), &url, None).unwrap();
    server.patience = Patience { first: Duration::from_millis(1), ..Patience::default() };
    (server, count)
}

#[tokio::test]
async fn the_whole_way() {
    let (mut server, count) = start().await;
    let error = server.fetch_asks().await.unwrap_err();
    assert_eq!((error.to_string().as_str(), error.status()), ("not known: the key is wrong", Some(StatusCode::UNAUTHORIZED)));
    let enrolled = server.enroll("secret", "web-1", Some("web-1")).await.unwrap();
    assert_eq!(enrolled.key, "k1");
    let asks = server.fetch_asks().await.unwrap();
    assert_eq!((asks.asks.len(), asks.pack.as_str()), (3, "p"));
    // Items are the collector's to read; what the table is unknown of is left out.
    let of = |name: &str| asks.asks[&TableId::by_name(name).unwrap()].clone();
    assert_eq!(of("file"), ["/etc/shadow", "depth=-1 xdev ///."]);
    assert_eq!(of("systemd"), [r"ActiveState ^(a|b)\.service$"]);
    assert_eq!(of("process"), [""; 0]);
    count.store(0, Ordering::SeqCst);
    let uploaded = server.upload("web/1", b"{}", Encoding::Zstd).await.unwrap();
    assert_eq!((uploaded.sequence, uploaded.changed, uploaded.tasks), (3, true, 1));
    assert_eq!(count.load(Ordering::SeqCst), 4, "three refusals, then taken");
    let deploy::Task { id, item, action, state, .. } = task();
    assert_eq!(server.fetch_tasks("web-1").await.unwrap(), [Task { id, item, action, state }]);
    server.report_result("t1", true, "done").await.unwrap();
}

#[tokio::test]
async fn patience_ends_and_strangers_are_named() {
    let (mut server, count) = start().await;
    server.enroll("secret", "web-1", None).await.unwrap();
    count.store(0, Ordering::SeqCst);
    let error = server.upload("busy", b"{}", Encoding::Identity).await.unwrap_err();
    assert_eq!(error.to_string(), "too many: slow down");
    assert_eq!(count.load(Ordering::SeqCst), 5);
    let error = server.upload("other", b"{}", Encoding::Gzip).await.unwrap_err().to_string();
    assert!(error.contains("is this the right URL?"), "{error}");
    assert!(Server::new(Client::new(&Options::default()).unwrap(), "web-1:8080", None).is_err());
}

#[test]
fn waits_are_bounded() {
    let (second, longest) = (Duration::from_secs(1), Duration::from_secs(60));
    for _ in 0..100 {
        let wait = jittered(second, longest);
        assert!(wait >= second && wait <= second * 3 / 2);
    }
    assert_eq!(jittered(Duration::from_secs(86_400), longest), longest);
}
