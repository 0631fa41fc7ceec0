//! What endpoints send: enrolment and scans; and what they are asked to collect.

use std::collections::BTreeMap;

use hyper::StatusCode;
use hyper::header::{CONTENT_ENCODING, CONTENT_LENGTH, HeaderValue};
use serde::Deserialize;
use serde_json::json;

use super::super::problem::{Kind, Problem};
use super::super::{Answer, Call, bytes, json, ok};
use crate::access::{self, Who};
use crate::clock;
use crate::compute::compute;
use crate::dictionary::Source;
use crate::scan::digest::Digest;
use crate::scan::inflate::Encoding;
use crate::shard::{Input, Reply};

const ID_MAX: usize = 128;
const HOSTNAME_MAX: usize = 255;
const LABELS_MAX: usize = 64;
const LABEL_MAX: usize = 256;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Enroll {
    secret: String,
    endpoint: NewEndpoint,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewEndpoint {
    id: String,
    hostname: String,
    #[serde(default)]
    labels: BTreeMap<String, String>,
}

impl NewEndpoint {
    fn check(&self) -> Result<(), String> {
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | ':' | '-');
        if self.id.is_empty() || self.id.len() > ID_MAX || !self.id.chars().all(fits) || self.id.chars().all(|c| c == '.') {
            return Err(format!(
                "`endpoint.id` is 1 to {ID_MAX} of A-Z a-z 0-9 . _ : -, and not only full stops; this is `{}`",
                self.id.escape_debug()
            ));
        }
        let plain = |text: &str, max: usize| !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control);
        if !plain(&self.hostname, HOSTNAME_MAX) {
            return Err(format!("`endpoint.hostname` is 1 to {HOSTNAME_MAX} bytes without control characters"));
        }
        if self.labels.len() > LABELS_MAX {
            return Err(format!("`endpoint.labels` has {} labels, at most {LABELS_MAX} are kept", self.labels.len()));
        }
        let wrong = self.labels.iter().find(|(k, v)| !plain(k, LABEL_MAX) || (!v.is_empty() && !plain(v, LABEL_MAX)));
        match wrong {
            Some((k, _)) => Err(format!("the label `{}` is over {LABEL_MAX} bytes or has control characters", k.escape_debug())),
            None => Ok(()),
        }
    }
}

/// `POST /v1/enroll`: the enrolment secret for a key of the endpoint's own.
pub async fn enroll(call: Call) -> Answer {
    let core = call.core()?;
    let asked: Enroll = call.json().await?;
    if !core.access.may_enroll(&asked.secret) {
        return Err(Problem::wrong_secret());
    }
    asked.endpoint.check().map_err(|why| Problem::new(Kind::Invalid, why))?;
    let NewEndpoint { id, hostname, labels } = asked.endpoint;
    let (key, key_hash) = access::endpoint_key(&id)?;
    let reply = core.ingest.submit(Input::Enroll { id: id.clone(), hostname, labels, key_hash }).await?;
    tracing::info!(endpoint = id, again = matches!(reply, Reply::Enrolled { again: true }), "enrolled");
    json(StatusCode::CREATED, &json!({"endpoint": id, "key": key}))
}

/// `PUT /v1/endpoints/{id}/scan`: a scan, and what it comes to, once it is durable.
pub async fn scan(call: Call) -> Answer {
    let core = call.core()?;
    call.query(&[])?;
    let mut encodings = call.headers.get_all(CONTENT_ENCODING).iter();
    let name = encodings.next().map_or("identity", |v| v.to_str().unwrap_or("?"));
    let encoding = Encoding::by_name(name).filter(|_| encodings.next().is_none()).ok_or_else(|| Problem::unsupported_encoding(name))?;
    // Held until the answer: who is not admitted is told before the body is read.
    let length = call.headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok());
    let mut admitted = core.ingest.admit(call.param(0), length, clock::now_ms())?;
    let ingest = &core.ingest;
    let Some(mut pieces) = call.pieces(ingest.limits().body_bytes)? else {
        return Err(Problem::new(Kind::BadBody, "the body was read already"));
    };
    let first = pieces.next().await?;
    // Most bodies have come whole by now, or must be whole to be inflated. Others are read as they come.
    let arriving = match &first {
        Some(first) if encoding == Encoding::Identity && !pieces.is_end() => {
            ingest.arrive(&admitted, call.param(0), first, clock::now_ms()).await
        }
        _ => None,
    };
    let Some(mut arriving) = arriving else {
        let body = pieces.whole(first).await?;
        return ok(&ingest.upload_admitted(admitted, call.param(0), encoding, body, clock::now_ms()).await?);
    };
    let mut piece = first;
    while let Some(bytes) = piece {
        arriving = ingest.take_piece(arriving, bytes).await?;
        piece = pieces.next().await?;
    }
    ok(&ingest.arrived(&mut admitted, arriving, clock::now_ms()).await?)
}

/// `POST /v1/endpoints/{id}/checkin?scan=<digest>`: the last scan is still this one. No body.
pub async fn check_in(call: Call) -> Answer {
    let core = call.core()?;
    let query = call.query(&["scan"])?;
    let given = query.get("scan").unwrap_or_default();
    let Some(digest) = Digest::parse(given) else {
        return Err(Problem::new(Kind::BadFilter, "`?scan=` is the digest of the last scan, as the answer to it said"));
    };
    let checked = core.ingest.check_in(call.param(0), digest, clock::now_ms()).await?;
    ok(&checked)
}

/// `GET /v1/dictionary`: what the endpoint's uploads may be compressed with.
pub async fn dictionary(call: Call) -> Answer {
    call.query(&[])?;
    let Who::Endpoint(id) = call.who.clone() else { return Err(Problem::new(Kind::Forbidden, "this is for endpoints")) };
    let (ingest, now_ms) = (call.core()?.ingest.clone(), clock::now_ms());
    let offered = compute(move || {
        let source = Source::of(&ingest.read(), &id)?;
        ingest.dictionaries.offer(source, ingest.limits(), now_ms)
    });
    let none = || Problem::new(Kind::NoDictionary, "too few endpoints are like this one, or it has sent no scan yet");
    let offered = offered.await?.ok_or_else(none)?;
    let mut response = bytes(offered.zipped.clone(), "application/octet-stream");
    response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("zstd"));
    response.headers_mut().insert("use-as-dictionary", HeaderValue::from_static("match=\"/v1/endpoints/*/scan\""));
    Ok(response)
}

/// `GET /v1/collect`: what the rules need to have collected, for `muster scan` and the agent.
pub async fn collect(call: Call) -> Answer {
    call.query(&[])?;
    let (pack, asks) = call.fleet(|shard| (shard.pack.digest().to_owned(), shard.pack.asks())).await?;
    let asks: BTreeMap<&str, Vec<String>> = asks.into_iter().map(|(table, items)| (table.name(), items)).collect();
    ok(&json!({"pack": pack, "asks": asks}))
}
