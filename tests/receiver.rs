//! A webhook receiver as a customer would write one: checks the signature, keeps what came by its id.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use muster::notify::webhook::{Secret, verify};
use serde_json::Value;

pub(crate) const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

#[derive(Default)]
struct Seen {
    by_id: BTreeMap<String, Value>,
    count: usize,
}

pub(crate) struct Receiver {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Receiver {
    pub(crate) async fn start() -> Receiver {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = seen.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let seen = shared.clone();
                tokio::spawn(async move {
                    let service = service_fn(move |request| take(request, seen.clone()));
                    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                    // A daemon that is killed breaks its connections.
                    drop(connection.await);
                });
            }
        });
        Receiver { address, seen }
    }

    /// How many requests came, the repeated ones too.
    pub(crate) fn count(&self) -> usize {
        self.seen.lock().unwrap().count
    }

    pub(crate) fn delivered(&self) -> BTreeMap<String, Value> {
        self.seen.lock().unwrap().by_id.clone()
    }
}

async fn take(request: Request<hyper::body::Incoming>, seen: Arc<Mutex<Seen>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    #[expect(clippy::disallowed_methods, reason = "a bounded body of a test")]
    let body = Limited::new(body, 1 << 20).collect().await.map(|b| b.to_bytes()).unwrap_or_default();
    let secret: Secret = SECRET.parse().unwrap();
    let now_s = muster::clock::now().as_second();
    let status = match verify(&[secret], &head.headers, &body, now_s) {
        Ok(()) => {
            let id = head.headers["webhook-id"].to_str().unwrap().to_owned();
            let value: Value = serde_json::from_slice(&body).unwrap();
            let mut seen = seen.lock().unwrap();
            seen.count += 1;
            if let Some(before) = seen.by_id.insert(id.clone(), value.clone()) {
                assert_eq!(before, value, "{id} came again with another body");
            }
            StatusCode::OK
        }
        Err(_) => StatusCode::UNAUTHORIZED,
    };
    Ok(Response::builder().status(status).body(Full::default()).unwrap())
}
