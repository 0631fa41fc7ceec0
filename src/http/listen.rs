//! Connections: accepted while there are few enough, HTTP/1.1 or HTTP/2 by their first bytes, drained at the end.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, oneshot, watch};
use tokio::task::JoinSet;

use super::{App, answer};

/// The first bytes of HTTP/2 without TLS.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// How long answers may take after the stop.
pub const DRAIN: Duration = Duration::from_secs(10);
const STREAMS: u32 = 128;
const HEAD_MAX: u32 = 32 << 10;
/// Also what is read of a body at once.
const HTTP1_BUFFER: usize = 128 << 10;

/// Serves until `stop` is told or gone, then lets what is being answered finish.
pub async fn serve(app: Arc<App>, listener: TcpListener, mut stop: oneshot::Receiver<()>) {
    let limits = app.config.load().limits.clone();
    let places = Arc::new(Semaphore::new(limits.connections));
    let patience = Duration::from_secs(limits.request_seconds);
    let builder = builder(patience);
    let graceful = GracefulShutdown::new();
    let mut open = JoinSet::new();
    let (stopping, stopped) = watch::channel(());
    loop {
        // Whoever finds no place waits in the kernel's queue.
        let place = tokio::select! {
            _ = &mut stop => break,
            place = places.clone().acquire_owned() => place,
        };
        let accepted = tokio::select! {
            _ = &mut stop => break,
            accepted = listener.accept() => accepted,
            Some(_) = open.join_next() => continue,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of file descriptors, say: waiting is all that can help.
                tracing::warn!(%error, "cannot accept a connection");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let (app, builder, watcher, mut stopped) = (app.clone(), builder.clone(), graceful.watcher(), stopped.clone());
        open.spawn(async move {
            let _place = place;
            let begun = tokio::select! {
                begun = tokio::time::timeout(patience, begun(&stream)) => matches!(begun, Ok(Ok(()))),
                _ = stopped.changed() => false,
            };
            if begun && let Err(error) = connection(app, builder, watcher, stream).await {
                tracing::debug!(%error, "a connection ended");
            }
        });
    }
    drop(listener);
    drop(stopping);
    if tokio::time::timeout(DRAIN, graceful.shutdown()).await.is_err() {
        tracing::warn!(seconds = DRAIN.as_secs(), "some requests were not finished in time");
    }
    open.shutdown().await;
}

fn builder(patience: Duration) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience).max_buf_size(HTTP1_BUFFER);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_MAX)
        .keep_alive_interval(patience)
        .keep_alive_timeout(patience);
    builder
}

type Failed = Box<dyn std::error::Error + Send + Sync>;

async fn connection(
    app: Arc<App>,
    builder: auto::Builder<TokioExecutor>,
    watcher: hyper_util::server::graceful::Watcher,
    stream: TcpStream,
) -> Result<(), Failed> {
    stream.set_nodelay(true)?;
    let service = service_fn(move |request| {
        let app = app.clone();
        async move { Ok::<_, Infallible>(answer(app, request).await) }
    });
    watcher.watch(builder.serve_connection(TokioIo::new(stream), service).into_owned()).await
}

/// Waits until the first bytes tell one protocol from the other: hyper-util would wait for them for ever.
async fn begun(stream: &TcpStream) -> io::Result<()> {
    let mut first = [0; PREFACE.len()];
    loop {
        let n = stream.peek(&mut first).await?;
        if n == 0 || n == PREFACE.len() || first.get(..n) != PREFACE.get(..n) {
            return Ok(());
        }
        // What has come stays readable, so there is nothing to wait for but time.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
