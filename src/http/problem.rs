//! What went wrong, as RFC 9457 problems. The only place that knows a status for an error.
//!
//! `error -> Problem -> application/problem+json`. The `type` of a problem is `/problems/<slug>` and never changes its meaning; docs/API.md
//! lists them.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{ACCEPT_ENCODING, ALLOW, CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value, json};

use super::body::BodyError;
use crate::access::{AccessError, Denied};
use crate::compute::Panicked;
use crate::ingest::IngestError;
use crate::ingest::admission::TurnedAway;
use crate::judge::inverted::TooManyJoins;
use crate::question::QuestionError;
use crate::scan::inflate::InflateError;
use crate::scan::native::DecodeError;
use crate::scan::scap::ScapError;
use crate::shard::Refusal;
use crate::state::StoreError;
use crate::subscription::FeedError;

macro_rules! kinds {
    ($($kind:ident $slug:literal $status:literal $title:literal;)*) => {
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Kind { $($kind),* }

        impl Kind {
            pub const ALL: &[Kind] = &[$(Kind::$kind),*];

            fn row(self) -> (&'static str, u16, &'static str) {
                match self { $(Kind::$kind => ($slug, $status, $title)),* }
            }
        }
    };
}

kinds! {
    BadRequest "bad-request" 400 "the request cannot be understood";
    BadFilter "bad-filter" 400 "the filter cannot be understood";
    BadBody "bad-body" 400 "the body did not arrive whole";
    BadEncoding "bad-encoding" 400 "the body is not what its Content-Encoding says";
    NotAScan "not-a-scan" 400 "the body is not a scan";
    Unauthorized "unauthorized" 401 "a token is needed";
    Forbidden "forbidden" 403 "the token is not allowed to do this";
    NotFound "not-found" 404 "there is no such address";
    UnknownEndpoint "unknown-endpoint" 404 "no such endpoint";
    UnknownRule "unknown-rule" 404 "no such rule";
    UnknownTask "unknown-task" 404 "no such task for this endpoint";
    UnknownSink "unknown-sink" 404 "no such sink";
    UnknownPatch "unknown-patch" 404 "no such patch";
    UnknownList "unknown-list" 404 "no such list of patches";
    UnknownExemption "unknown-exemption" 404 "no such exemption";
    UnknownFeed "unknown-feed" 404 "no such feed";
    NoDictionary "no-dictionary" 404 "there is no dictionary for this endpoint";
    NoScan "no-scan" 404 "the endpoint has sent no scan yet";
    MethodNotAllowed "method-not-allowed" 405 "the address does not take this method";
    BodyTimeout "body-timeout" 408 "the body came too slowly";
    BaseMismatch "base-mismatch" 409 "the scan changes another scan than the last one";
    AlreadyEnrolled "already-enrolled" 409 "the endpoint is enrolled already";
    ListConflict "list-conflict" 409 "the list has been changed since";
    FeedBusy "feed-busy" 409 "the feed is being worked on";
    BodyTooLarge "body-too-large" 413 "the body is too large";
    InflatedTooLarge "inflated-too-large" 413 "the body is too large when decompressed";
    InflatedTooDense "inflated-too-dense" 413 "the body grows too much when decompressed";
    UnknownDictionary "unknown-dictionary" 415 "the body was compressed with a dictionary that is not known here";
    UnsupportedEncoding "unsupported-encoding" 415 "the Content-Encoding is not supported";
    Invalid "invalid" 422 "a value in the body is not acceptable";
    BadQuestion "bad-question" 422 "the question cannot be answered as it is asked";
    InvalidScan "invalid-scan" 422 "the scan has something in it that is not acceptable";
    OverLimit "over-limit" 422 "it is over a limit";
    EndpointMismatch "endpoint-mismatch" 422 "the scan is about another endpoint";
    ReloadRefused "reload-refused" 422 "the configuration or the packs have problems; the present ones stay";
    FeedRefused "feed-refused" 422 "the feed's content is not taken; what was there stays in use";
    EndpointLimited "endpoint-limited" 429 "the endpoint sends more than one may";
    Internal "internal" 500 "something failed inside";
    Busy "busy" 503 "more to do than there is room for now";
    StorageFull "storage-full" 503 "the disk is full";
    FleetFull "fleet-full" 503 "the fleet holds as much as it may";
    NotReady "not-ready" 503 "the server is still starting";
    Stopping "stopping" 503 "the server is stopping";
    StoreFailed "store-failed" 503 "the store failed; the server is about to start again";
}

impl Kind {
    pub fn slug(self) -> &'static str {
        self.row().0
    }

    pub fn status(self) -> StatusCode {
        StatusCode::from_u16(self.row().1).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }
}

/// One problem, on its way to the client. Boxed, for it is carried through every `Result`.
#[derive(Debug)]
pub struct Problem(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: Kind,
    detail: String,
    members: Map<String, Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
}

impl Problem {
    pub fn new(kind: Kind, detail: impl Into<String>) -> Problem {
        Problem(Box::new(Inner { kind, detail: detail.into(), members: Map::new(), headers: Vec::new() }))
    }

    /// A member beside the standard ones.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Problem {
        self.0.members.insert(name.to_owned(), value.into());
        self
    }

    fn header(mut self, name: HeaderName, value: &str) -> Problem {
        if let Ok(value) = HeaderValue::from_str(value) {
            self.0.headers.push((name, value));
        }
        self
    }

    fn retry_after(self, seconds: u32) -> Problem {
        self.header(RETRY_AFTER, &seconds.to_string())
    }

    pub fn method_not_allowed(method: &str, allowed: &str) -> Problem {
        Problem::new(Kind::MethodNotAllowed, format!("`{method}` is not for this address; it takes {allowed}")).header(ALLOW, allowed)
    }

    pub fn unsupported_encoding(found: &str) -> Problem {
        Problem::new(Kind::UnsupportedEncoding, format!("`{found}` is not supported; send identity, gzip, bzip2, zstd or dcz"))
            .header(ACCEPT_ENCODING, "identity, gzip, zstd, dcz")
    }

    pub fn not_ready() -> Problem {
        Problem::new(Kind::NotReady, "the fleet is being loaded; come again").retry_after(2)
    }

    pub fn wrong_secret() -> Problem {
        Problem::new(Kind::Unauthorized, "the enrolment secret is not known here").header(WWW_AUTHENTICATE, "Bearer")
    }

    pub fn kind(&self) -> Kind {
        self.0.kind
    }

    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    pub fn into_response(self) -> Response<Full<Bytes>> {
        let (slug, status, title) = self.0.kind.row();
        let mut body = json!({"type": format!("/problems/{slug}"), "title": title, "status": status, "detail": self.0.detail});
        if let Some(object) = body.as_object_mut() {
            object.extend(self.0.members);
        }
        let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
        *response.status_mut() = self.0.kind.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        response.headers_mut().extend(self.0.headers);
        response
    }
}

/// 1 to 5 seconds, so that those who were refused together do not return together.
fn jitter() -> u32 {
    let mut byte = [0];
    // Without randomness all come back after a second, which is no worse than no jitter.
    if getrandom::fill(&mut byte).is_err() {
        return 1;
    }
    1 + u32::from(byte[0] % 5)
}

impl From<IngestError> for Problem {
    fn from(error: IngestError) -> Problem {
        let detail = error.to_string();
        match error {
            IngestError::Turned(TurnedAway::Busy { name, limit, after_s }) => {
                Problem::new(Kind::Busy, detail).with("limit", limit).with("name", name).retry_after(after_s)
            }
            IngestError::Turned(TurnedAway::Limited { name, limit, after_s }) => {
                Problem::new(Kind::EndpointLimited, detail).with("limit", limit).with("name", name).retry_after(after_s)
            }
            IngestError::Inflate(e) => e.into(),
            IngestError::Decode(e) => e.into(),
            IngestError::Scap(ScapError::Rows { limit, .. }) => {
                Problem::new(Kind::OverLimit, detail).with("limit", limit).with("name", "rows")
            }
            IngestError::Scap(ScapError::Nothing) => Problem::new(Kind::InvalidScan, detail),
            IngestError::Scap(_) => Problem::new(Kind::NotAScan, detail),
            IngestError::Refused(e) => e.into(),
            IngestError::Full(_) => Problem::new(Kind::StorageFull, detail).retry_after(30),
            IngestError::Poisoned => Problem::new(Kind::StoreFailed, detail).retry_after(5),
            IngestError::Stopping => Problem::new(Kind::Stopping, detail).retry_after(5),
            IngestError::Inside(e) => e.into(),
        }
    }
}

impl From<InflateError> for Problem {
    fn from(error: InflateError) -> Problem {
        let detail = error.to_string();
        match error {
            InflateError::Damaged(..) => Problem::new(Kind::BadEncoding, detail),
            InflateError::UnknownDictionary => {
                Problem::new(Kind::UnknownDictionary, detail).header(ACCEPT_ENCODING, "identity, gzip, zstd")
            }
            InflateError::TooLarge { limit } => Problem::new(Kind::InflatedTooLarge, detail).with("limit", limit),
            InflateError::TooDense { limit } => Problem::new(Kind::InflatedTooDense, detail).with("limit", limit),
        }
    }
}

impl From<DecodeError> for Problem {
    fn from(error: DecodeError) -> Problem {
        let detail = error.to_string();
        match error {
            DecodeError::NotUtf8(at) | DecodeError::Truncated(at) | DecodeError::Syntax { at, .. } => {
                Problem::new(Kind::NotAScan, detail).with("at", at)
            }
            DecodeError::TooManyNew(limit) => Problem::new(Kind::OverLimit, detail).with("limit", limit).with("name", "new_rows"),
            DecodeError::Limit { limit, name, .. } => Problem::new(Kind::OverLimit, detail).with("limit", limit).with("name", name),
            DecodeError::Row { table, row, at, .. } => {
                Problem::new(Kind::InvalidScan, detail).with("table", table).with("row", row).with("at", at)
            }
            DecodeError::Field { at, .. } | DecodeError::Twice { at, .. } | DecodeError::Table { at, .. } => {
                Problem::new(Kind::InvalidScan, detail).with("at", at)
            }
            DecodeError::Format(_) => Problem::new(Kind::InvalidScan, detail),
        }
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Problem {
        let detail = refusal.to_string();
        match refusal {
            Refusal::UnknownEndpoint(_) => Problem::new(Kind::UnknownEndpoint, detail),
            Refusal::WrongEndpoint { .. } => Problem::new(Kind::EndpointMismatch, detail),
            Refusal::BaseMismatch { have, .. } => {
                Problem::new(Kind::BaseMismatch, detail).with("have", have.map_or(Value::Null, |d| d.to_string().into()))
            }
            Refusal::FleetFull { name, limit } => {
                Problem::new(Kind::FleetFull, detail).with("limit", limit).with("name", name).retry_after(60 + jitter())
            }
            Refusal::TooManyOwn { name, limit } => Problem::new(Kind::OverLimit, detail).with("limit", limit).with("name", name),
            Refusal::EndpointsFull(limit) => Problem::new(Kind::FleetFull, detail).with("limit", limit).retry_after(60),
            Refusal::UnknownTask(_) => Problem::new(Kind::UnknownTask, detail),
            Refusal::AlreadyEnrolled(_) => Problem::new(Kind::AlreadyEnrolled, detail),
            Refusal::ListVersion { expected, .. } => Problem::new(Kind::ListConflict, detail).with("expected", expected),
            Refusal::TooMany { name, limit, .. } => Problem::new(Kind::OverLimit, detail).with("limit", limit).with("name", name),
            Refusal::BadDecision(_) => Problem::new(Kind::Invalid, detail),
            Refusal::UnknownExemption(_) => Problem::new(Kind::UnknownExemption, detail),
            Refusal::Stale => Problem::new(Kind::Busy, detail).retry_after(jitter()),
        }
    }
}

impl From<QuestionError> for Problem {
    fn from(error: QuestionError) -> Problem {
        let detail = error.to_string();
        match error {
            QuestionError::Unread(_) => internal(&error),
            QuestionError::Problems { problems } => {
                Problem::new(Kind::BadQuestion, detail).with("problems", crate::question::problems_json(&problems))
            }
            QuestionError::Bad(_) => Problem::new(Kind::BadQuestion, detail),
            QuestionError::TooManyJoins(TooManyJoins { limit }) => {
                Problem::new(Kind::BadQuestion, detail).with("limit", limit).with("name", "question_joins")
            }
            QuestionError::UnknownRule(_) => Problem::new(Kind::UnknownRule, detail),
            QuestionError::UnknownPatch(_) => Problem::new(Kind::UnknownPatch, detail),
            QuestionError::TooEarly { reach } => Problem::new(Kind::BadQuestion, detail).with("reach", reach.to_string()),
            QuestionError::Swapped | QuestionError::Counting => Problem::new(Kind::Busy, detail).retry_after(jitter()),
        }
    }
}

impl From<BodyError> for Problem {
    fn from(error: BodyError) -> Problem {
        let detail = error.to_string();
        match error {
            BodyError::TooLarge { limit } => Problem::new(Kind::BodyTooLarge, detail).with("limit", limit),
            BodyError::TimedOut { seconds } => Problem::new(Kind::BodyTimeout, detail).with("limit", seconds),
            BodyError::Broken(_) => Problem::new(Kind::BadBody, detail),
            BodyError::Disk(e) if e.kind() == std::io::ErrorKind::StorageFull => Problem::new(Kind::StorageFull, detail).retry_after(30),
            BodyError::Disk(e) => internal(&e),
        }
    }
}

impl From<FeedError> for Problem {
    fn from(error: FeedError) -> Problem {
        let detail = error.to_string();
        match error {
            FeedError::Unknown(..) => Problem::new(Kind::UnknownFeed, detail),
            FeedError::Busy(_) => Problem::new(Kind::FeedBusy, detail).retry_after(5),
            FeedError::Suspicious { before, now } => Problem::new(Kind::FeedRefused, detail).with("before", before).with("now", now),
            FeedError::Disk(e) if e.source.kind() == std::io::ErrorKind::StorageFull => {
                Problem::new(Kind::StorageFull, detail).retry_after(30)
            }
            FeedError::Inside(_) | FeedError::Disk(_) | FeedError::State(_) => internal(&error),
            _ => Problem::new(Kind::FeedRefused, detail),
        }
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Problem {
        let detail = denied.to_string();
        match denied {
            Denied::Missing => Problem::new(Kind::Unauthorized, detail).header(WWW_AUTHENTICATE, "Bearer"),
            Denied::Unknown => Problem::new(Kind::Unauthorized, detail).header(WWW_AUTHENTICATE, "Bearer error=\"invalid_token\""),
            Denied::Forbidden(_) => Problem::new(Kind::Forbidden, detail),
        }
    }
}

/// What failed inside is for the log, not for the client.
fn internal(error: &dyn std::error::Error) -> Problem {
    tracing::error!(%error, "a request failed inside");
    Problem::new(Kind::Internal, "it is in the server's log under this request's id")
}

impl From<Panicked> for Problem {
    fn from(error: Panicked) -> Problem {
        internal(&error)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Problem {
        internal(&error)
    }
}

impl From<AccessError> for Problem {
    fn from(error: AccessError) -> Problem {
        internal(&error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slugs_are_unique_and_documented() {
        let text = include_str!("../../docs/API.md");
        let mut slugs: Vec<_> = Kind::ALL.iter().map(|k| k.slug()).collect();
        for kind in Kind::ALL {
            assert_ne!(kind.status(), StatusCode::OK);
            let row = format!("| `{}` | {} |", kind.slug(), kind.status().as_u16());
            assert!(text.contains(&row), "docs/API.md lacks {row}");
        }
        slugs.sort_unstable();
        slugs.dedup();
        assert_eq!(slugs.len(), Kind::ALL.len());
    }
}
