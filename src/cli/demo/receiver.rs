//! The demo's webhook receiver: a process of its own, as a customer's would be, so that it can be killed to see deliveries fail.

use std::convert::Infallible;
use std::io::Write as _;
use std::process::Stdio;

use anyhow::Context;
use bytes::Bytes;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use muster::notify::webhook::{Secret, verify};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;

use super::SECRET;
use crate::cli::{Outcome, output};

/// The receiver beside the demo; it ends with it.
pub(super) struct Child {
    pub(super) url: String,
    pub(super) pid: Option<u32>,
    _process: Option<tokio::process::Child>,
}

impl Child {
    /// A receiver that nobody started: its port answers nobody.
    pub(super) fn absent() -> Child {
        Child { url: "http://127.0.0.1:9/hook".to_owned(), pid: None, _process: None }
    }

    pub(super) async fn start() -> anyhow::Result<Child> {
        let program = std::env::current_exe().context("where this program is")?;
        let mut process = Command::new(program)
            .args(["demo", "--receive"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .context("the webhook receiver does not start")?;
        let stdout = process.stdout.take().context("the webhook receiver's output")?;
        let mut line = String::new();
        BufReader::new(stdout).read_line(&mut line).await?;
        let url = line.trim().to_owned();
        anyhow::ensure!(url.starts_with("http://"), "the webhook receiver did not say where it listens");
        Ok(Child { url, pid: process.id(), _process: Some(process) })
    }
}

/// Listens, says where on standard output, and takes webhooks until its standard input ends: with the demo, however that ends.
pub(super) async fn serve() -> anyhow::Result<Outcome> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let url = format!("http://{}/hook", listener.local_addr()?);
    {
        let mut out = output::stdout();
        writeln!(out, "{url}")?;
        out.flush()?;
    }
    let (ended, mut parent_ended) = tokio::sync::oneshot::channel::<()>();
    std::thread::spawn(move || {
        // The demo never writes; a read ends when the demo does.
        drop(std::io::copy(&mut std::io::stdin(), &mut std::io::sink()));
        drop(ended);
    });
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let (stream, _) = accepted?;
                tokio::spawn(async move {
                    let connection = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(take));
                    // A sender that goes away is its own business.
                    drop(connection.await);
                });
            }
            _ = &mut parent_ended => return Ok(Outcome::Fine),
        }
    }
}

/// Takes a message whose signature fits.
async fn take(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    #[expect(clippy::disallowed_methods, reason = "capped at 1 MiB")]
    let body = Limited::new(body, 1 << 20).collect().await;
    let genuine = body.is_ok_and(|body| {
        let secret = SECRET.parse::<Secret>();
        secret.is_ok_and(|s| verify(&[s], &head.headers, &body.to_bytes(), muster::clock::now().as_second()).is_ok())
    });
    let status = if genuine { StatusCode::NO_CONTENT } else { StatusCode::UNAUTHORIZED };
    let mut response = Response::new(Full::default());
    *response.status_mut() = status;
    Ok(response)
}
