//! Request bodies: bounded in bytes and in time. `Incoming -> Bytes`, or a file.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_LENGTH, HeaderMap};
use tokio::io::AsyncWriteExt;

#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    #[error("the body is over the limit of {limit} bytes")]
    TooLarge { limit: usize },
    #[error("the body did not arrive within {seconds} s (limits.request_seconds)")]
    TimedOut { seconds: u64 },
    #[error("the body broke off: {0}")]
    Broken(hyper::Error),
    #[error("the body cannot be kept: {0}")]
    Disk(std::io::Error),
}

/// Memory that is taken for a body before any of it has come.
const FIRST: usize = 64 << 10;

/// The whole body. One whose `Content-Length` is over the limit is refused before any of it is read.
pub async fn read(body: Incoming, headers: &HeaderMap, limit: usize, seconds: u64) -> Result<Bytes, BodyError> {
    let said = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    let said = said.map(|n| usize::try_from(n).unwrap_or(usize::MAX)).unwrap_or(0);
    if said > limit {
        linger(body);
        return Err(BodyError::TooLarge { limit });
    }
    let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
    let mut body = body;
    let mut first: Option<Bytes> = None;
    let mut whole = BytesMut::new();
    loop {
        let frame = tokio::time::timeout_at(deadline, body.frame()).await.map_err(|_| BodyError::TimedOut { seconds })?;
        let Some(frame) = frame else { break };
        let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else { continue };
        let so_far = first.as_ref().map_or(whole.len(), Bytes::len);
        if data.len() > limit.saturating_sub(so_far) {
            linger(body);
            return Err(BodyError::TooLarge { limit });
        }
        // Most bodies come in one piece and need no copy.
        match first.take() {
            None if whole.is_empty() => first = Some(data),
            None => whole.extend_from_slice(&data),
            Some(piece) => {
                whole.reserve(said.min(limit).max((piece.len() + data.len()).min(FIRST)));
                whole.extend_from_slice(&piece);
                whole.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| whole.freeze()))
}

/// The whole body into a file, each piece of it within `seconds` of the one before.
pub async fn pour(mut body: Incoming, headers: &HeaderMap, file: &mut tokio::fs::File, limit: u64, seconds: u64) -> Result<u64, BodyError> {
    let too_large = || BodyError::TooLarge { limit: usize::try_from(limit).unwrap_or(usize::MAX) };
    let said = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
    if said.is_some_and(|n| n > limit) {
        linger(body);
        return Err(too_large());
    }
    let mut length = 0u64;
    loop {
        let frame = tokio::time::timeout(Duration::from_secs(seconds), body.frame()).await;
        let Some(frame) = frame.map_err(|_| BodyError::TimedOut { seconds })? else { break };
        let Ok(data) = frame.map_err(BodyError::Broken)?.into_data() else { continue };
        length = length.saturating_add(u64::try_from(data.len()).unwrap_or(u64::MAX));
        if length > limit {
            linger(body);
            return Err(too_large());
        }
        file.write_all(&data).await.map_err(BodyError::Disk)?;
    }
    file.flush().await.map_err(BodyError::Disk)?;
    Ok(length)
}

/// What is read of a body that nobody wants, so that the client reads the answer instead of a reset connection.
const LINGER_BYTES: usize = 32 << 20;
const LINGER: Duration = Duration::from_secs(2);

/// Reads on for a moment and forgets it.
pub fn linger(mut body: Incoming) {
    if body.is_end_stream() {
        return;
    }
    tokio::spawn(tokio::time::timeout(LINGER, async move {
        let mut left = LINGER_BYTES;
        while let Some(Ok(frame)) = body.frame().await {
            let len = frame.data_ref().map_or(0, Bytes::len);
            if len > left {
                break;
            }
            left -= len;
        }
    }));
}
