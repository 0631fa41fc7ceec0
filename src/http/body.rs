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

/// A body as it comes, within a limit of bytes and of time. What is not taken of it is read and forgotten.
pub struct Pieces {
    body: Option<Incoming>,
    limit: usize,
    /// What the client says that it will be.
    said: usize,
    so_far: usize,
    seconds: u64,
    deadline: tokio::time::Instant,
}

impl Pieces {
    /// A body whose `Content-Length` is over the limit is refused before any of it is read.
    pub fn new(body: Incoming, headers: &HeaderMap, limit: usize, seconds: u64) -> Result<Pieces, BodyError> {
        let said = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse::<u64>().ok());
        let said = said.map(|n| usize::try_from(n).unwrap_or(usize::MAX)).unwrap_or(0);
        let deadline = tokio::time::Instant::now() + Duration::from_secs(seconds);
        let pieces = Pieces { body: Some(body), limit, said, so_far: 0, seconds, deadline };
        if said > limit { Err(BodyError::TooLarge { limit }) } else { Ok(pieces) }
    }

    pub async fn next(&mut self) -> Result<Option<Bytes>, BodyError> {
        while let Some(body) = &mut self.body {
            let Ok(frame) = tokio::time::timeout_at(self.deadline, body.frame()).await else {
                self.body = None;
                return Err(BodyError::TimedOut { seconds: self.seconds });
            };
            let data = match frame {
                None => break,
                Some(Ok(frame)) => frame.into_data(),
                Some(Err(e)) => {
                    self.body = None;
                    return Err(BodyError::Broken(e));
                }
            };
            let Ok(data) = data else { continue };
            self.so_far = self.so_far.saturating_add(data.len());
            return if self.so_far > self.limit { Err(BodyError::TooLarge { limit: self.limit }) } else { Ok(Some(data)) };
        }
        self.body = None;
        Ok(None)
    }

    /// Whether all of it has come, as far as is known.
    pub fn is_end(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    /// The whole of it, of which `first` has come. Most bodies come in one piece and need no copy.
    pub async fn whole(mut self, first: Option<Bytes>) -> Result<Bytes, BodyError> {
        let Some(first) = first else { return Ok(Bytes::new()) };
        let Some(second) = self.next().await? else { return Ok(first) };
        let mut whole = BytesMut::with_capacity(self.said.min(self.limit).max((first.len() + second.len()).min(FIRST)));
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&second);
        drop((first, second));
        while let Some(piece) = self.next().await? {
            whole.extend_from_slice(&piece);
        }
        Ok(whole.freeze())
    }
}

impl Drop for Pieces {
    fn drop(&mut self) {
        if let Some(body) = self.body.take() {
            linger(body);
        }
    }
}

/// The whole body.
pub async fn read(body: Incoming, headers: &HeaderMap, limit: usize, seconds: u64) -> Result<Bytes, BodyError> {
    let mut pieces = Pieces::new(body, headers, limit, seconds)?;
    let first = pieces.next().await?;
    pieces.whole(first).await
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
