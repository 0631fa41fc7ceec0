//! The generic webhook after Standard Webhooks 1.0: an event's body in, a signed POST out, and an [`Outcome`] back.
//!
//! The body is the caller's: `{"type":..,"timestamp":..,"data":{..}}`. [`verify`] is the receiver's side, for the demo and for tests.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, InvalidHeaderValue, RETRY_AFTER, USER_AGENT};
use hyper::{Method, StatusCode};
use jiff::Timestamp;
use sha2::Sha256;
use thiserror::Error;

use super::{Outcome, classify};
use crate::client::{AGENT, Client, ClientError};

pub const ID: HeaderName = HeaderName::from_static("webhook-id");
pub const TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
pub const SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");

const PREFIX: &str = "whsec_";
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// How far a message's time may be from ours, either way.
pub const TOLERANCE_SECONDS: u64 = 5 * 60;
/// Nothing is read from a response's body; a short one lets the connection be used again.
const RESPONSE_MAX: usize = 64 << 10;

/// A key that signs. Shows itself nowhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

/// Never quotes the text, for most of it may be the secret.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum SecretError {
    #[error("a webhook secret begins with `whsec_`")]
    Prefix,
    #[error("what follows `whsec_` in a webhook secret must be base64 with its padding")]
    Base64,
    #[error("a webhook secret has 24 to 64 bytes, this one has {0}; make one with `echo whsec_$(openssl rand -base64 32)`")]
    Length(usize),
}

impl FromStr for Secret {
    type Err = SecretError;

    fn from_str(text: &str) -> Result<Secret, SecretError> {
        let encoded = text.trim().strip_prefix(PREFIX).ok_or(SecretError::Prefix)?;
        // The decoder's own error would quote a byte of the secret.
        let key = STANDARD.decode(encoded).map_err(|_| SecretError::Base64)?;
        if KEY_BYTES.contains(&key.len()) { Ok(Secret(key)) } else { Err(SecretError::Length(key.len())) }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl Secret {
    fn mac(&self, id: &str, timestamp_s: i64, body: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of every length");
        mac.update(id.as_bytes());
        mac.update(format!(".{timestamp_s}.").as_bytes());
        mac.update(body);
        mac
    }
}

/// The value of `webhook-signature`: one signature a secret, so that an old secret can be phased out.
pub fn sign(secrets: &[Secret], id: &str, timestamp_s: i64, body: &[u8]) -> String {
    let one = |secret: &Secret| format!("v1,{}", STANDARD.encode(secret.mac(id, timestamp_s, body).finalize().into_bytes()));
    secrets.iter().map(one).collect::<Vec<_>>().join(" ")
}

#[derive(Debug, Error)]
pub enum IdError {
    /// The id is signed before a full stop; one within it would let two messages have the same signature.
    #[error("the event id `{0}` has a full stop or is empty")]
    FullStop(String),
    #[error("the event id is no header value: {0}")]
    Header(#[from] InvalidHeaderValue),
}

/// The headers of one attempt. The id stays the same over all attempts, the time is the attempt's.
pub fn request_headers(secrets: &[Secret], id: &str, timestamp_s: i64, body: &[u8]) -> Result<HeaderMap, IdError> {
    if id.is_empty() || id.contains('.') {
        return Err(IdError::FullStop(id.to_owned()));
    }
    let mut headers = HeaderMap::with_capacity(5);
    headers.insert(ID, HeaderValue::from_str(id)?);
    headers.insert(TIMESTAMP, HeaderValue::from(timestamp_s));
    headers.insert(SIGNATURE, HeaderValue::from_str(&sign(secrets, id, timestamp_s, body))?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(USER_AGENT, HeaderValue::from_static(AGENT));
    Ok(headers)
}

#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum VerifyError {
    #[error("the header `{0}` is missing or no text")]
    Missing(HeaderName),
    #[error("the header `webhook-timestamp` is no number of seconds")]
    Timestamp,
    #[error("the message is {0} s old, more than {TOLERANCE_SECONDS}; check the clocks")]
    TooOld(u64),
    #[error("the message is {0} s in the future, more than {TOLERANCE_SECONDS}; check the clocks")]
    TooNew(u64),
    #[error("no signature of the message is by a known secret")]
    Signature,
}

/// Whether a message was signed with one of the secrets within five minutes of `now_s`.
/// Against replay within that time, receivers remember the ids that they have seen.
pub fn verify(secrets: &[Secret], headers: &HeaderMap, body: &[u8], now_s: i64) -> Result<(), VerifyError> {
    let text = |name: HeaderName| headers.get(&name).and_then(|v| v.to_str().ok()).ok_or(VerifyError::Missing(name));
    let id = text(ID)?;
    let timestamp_s: i64 = text(TIMESTAMP)?.parse().map_err(|_| VerifyError::Timestamp)?;
    let apart = now_s.abs_diff(timestamp_s);
    if apart > TOLERANCE_SECONDS {
        return Err(if timestamp_s < now_s { VerifyError::TooOld(apart) } else { VerifyError::TooNew(apart) });
    }
    let ours = |signature: &str| {
        let Some(signature) = signature.strip_prefix("v1,").and_then(|s| STANDARD.decode(s).ok()) else { return false };
        // verify_slice compares in constant time.
        secrets.iter().any(|secret| secret.mac(id, timestamp_s, body).verify_slice(&signature).is_ok())
    };
    if text(SIGNATURE)?.split(' ').any(ours) { Ok(()) } else { Err(VerifyError::Signature) }
}

/// A webhook as it is configured.
#[derive(Clone, Debug)]
pub struct Webhook {
    pub url: String,
    /// The current one, and while it is changed the one before.
    pub secrets: Vec<Secret>,
    /// For a whole attempt. The specification suggests 15 to 30 s.
    pub timeout: Duration,
}

impl Webhook {
    /// One attempt. `now` is the attempt's time, which is signed.
    pub async fn deliver(&self, client: &Client, id: &str, body: Bytes, now: Timestamp) -> Outcome {
        let headers = match request_headers(&self.secrets, id, now.as_second(), &body) {
            Ok(headers) => headers,
            Err(error) => return Outcome::Dead { error: error.to_string() },
        };
        match client.send(Method::POST, &self.url, headers, body, self.timeout, RESPONSE_MAX).await {
            Ok(response) => {
                let retry_after = response.headers.get(RETRY_AFTER).and_then(|v| v.to_str().ok());
                classify(response.status.as_u16(), retry_after, now)
            }
            // The status has come, and it is all that counts.
            Err(ClientError::TooLarge { status, .. }) => classify(StatusCode::as_u16(&status), None, now),
            Err(error @ ClientError::BadUrl { .. }) => Outcome::Dead { error: error.to_string() },
            Err(error) => Outcome::Retry { after: None, error: error.to_string() },
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;
    use crate::client::Options;

    const VECTOR: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const NOW: i64 = 1_614_265_330;

    fn secret(fill: u8) -> Secret {
        format!("whsec_{}", STANDARD.encode([fill; 32])).parse().unwrap()
    }

    fn signed(secrets: &[Secret]) -> HeaderMap {
        request_headers(secrets, "msg_1", NOW, b"{}").unwrap()
    }

    /// The specification's vector; the signature is what Python's hmac gives for it.
    #[test]
    fn the_vector_of_the_specification() {
        let signature = sign(&[VECTOR.parse().unwrap()], "msg_p5jXN8AQM9LWM0D4loKWxJek", NOW, br#"{"test": 2432232314}"#);
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn secrets_parse_or_say_why_and_never_show() {
        let secret: Secret = VECTOR.parse().unwrap();
        assert_eq!(format!("{secret:?}"), "Secret(..)");
        let of = |bytes: usize| format!("whsec_{}", STANDARD.encode(vec![1; bytes])).parse::<Secret>();
        assert!(of(24).is_ok() && of(64).is_ok());
        assert_eq!(of(23), Err(SecretError::Length(23)));
        assert_eq!(of(65), Err(SecretError::Length(65)));
        assert_eq!("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw".parse::<Secret>(), Err(SecretError::Prefix));
        assert_eq!("whsec_geheim!".parse::<Secret>(), Err(SecretError::Base64));
        assert_eq!("whsec_".parse::<Secret>(), Err(SecretError::Length(0)));
    }

    #[test]
    fn what_is_signed_verifies_and_what_is_changed_does_not() {
        let headers = signed(&[secret(1)]);
        assert_eq!(verify(&[secret(1)], &headers, b"{}", NOW), Ok(()));
        assert_eq!(verify(&[secret(1)], &headers, b"{ }", NOW), Err(VerifyError::Signature));
        assert_eq!(verify(&[secret(2)], &headers, b"{}", NOW), Err(VerifyError::Signature));
        assert_eq!(verify(&[], &headers, b"{}", NOW), Err(VerifyError::Signature));
        for (name, value) in [(ID, "msg_2"), (TIMESTAMP, "1614265331"), (SIGNATURE, "v1,AAAA"), (SIGNATURE, "v1a,x v2,y"), (SIGNATURE, "")]
        {
            let mut changed = headers.clone();
            changed.insert(name.clone(), HeaderValue::from_str(value).unwrap());
            assert_eq!(verify(&[secret(1)], &changed, b"{}", NOW), Err(VerifyError::Signature), "{name}: {value}");
        }
        for name in [ID, TIMESTAMP, SIGNATURE] {
            let mut fewer = headers.clone();
            fewer.remove(&name);
            assert_eq!(verify(&[secret(1)], &fewer, b"{}", NOW), Err(VerifyError::Missing(name)));
        }
    }

    #[test]
    fn a_secret_is_changed_without_a_gap() {
        let both = signed(&[secret(1), secret(2)]);
        assert_eq!(both[SIGNATURE].to_str().unwrap().split(' ').count(), 2);
        for receiver in [1, 2] {
            assert_eq!(verify(&[secret(receiver)], &both, b"{}", NOW), Ok(()));
        }
    }

    #[test]
    fn five_minutes_either_way() {
        let check = |now_s| verify(&[secret(1)], &signed(&[secret(1)]), b"{}", now_s);
        assert_eq!((check(NOW + 300), check(NOW - 300)), (Ok(()), Ok(())));
        assert_eq!((check(NOW + 301), check(NOW - 301)), (Err(VerifyError::TooOld(301)), Err(VerifyError::TooNew(301))));
        let mut headers = signed(&[secret(1)]);
        headers.insert(TIMESTAMP, HeaderValue::from(i64::MIN));
        assert!(matches!(verify(&[secret(1)], &headers, b"{}", i64::MAX), Err(VerifyError::TooOld(_))));
        headers.insert(TIMESTAMP, HeaderValue::from_static("now"));
        assert_eq!(verify(&[secret(1)], &headers, b"{}", NOW), Err(VerifyError::Timestamp));
    }

    #[test]
    fn ids_that_cannot_be_signed() {
        for id in ["", "a.b", "a\nb"] {
            assert!(request_headers(&[secret(1)], id, NOW, b"").is_err(), "{id:?}");
        }
    }

    /// Delivers to a server that answers once with `response`; gives the outcome and the request.
    async fn deliver(response: String) -> (Outcome, String) {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"{\"a\":1}") {
                assert_ne!(stream.read_buf(&mut request).await.unwrap(), 0);
            }
            // The client may hang up over a long body.
            drop(stream.write_all(response.as_bytes()).await);
            String::from_utf8(request).unwrap()
        });
        let webhook = Webhook { url, secrets: vec![secret(1)], timeout: Duration::from_secs(10) };
        let client = Client::new(&Options::default()).unwrap();
        let now = Timestamp::from_second(NOW).unwrap();
        let outcome = webhook.deliver(&client, "msg_1", Bytes::from_static(b"{\"a\":1}"), now).await;
        (outcome, server.await.unwrap())
    }

    #[tokio::test]
    async fn delivers() {
        let (outcome, request) = deliver("HTTP/1.1 204 No Content\r\n\r\n".into()).await;
        assert_eq!(outcome, Outcome::Delivered { status: 204 });
        assert!(request.starts_with("POST /hook HTTP/1.1\r\n"), "{request}");
        let signature = sign(&[secret(1)], "msg_1", NOW, b"{\"a\":1}");
        for line in [
            "webhook-id: msg_1",
            "webhook-timestamp: 1614265330",
            &format!("webhook-signature: {signature}"),
            "content-type: application/json",
            &format!("user-agent: {AGENT}"),
        ] {
            assert!(request.contains(&format!("{line}\r\n")), "{line} in {request}");
        }
    }

    #[tokio::test]
    async fn what_is_not_delivered() {
        let (outcome, _) = deliver("HTTP/1.1 503 Busy\r\nretry-after: 9\r\ncontent-length: 0\r\n\r\n".into()).await;
        assert!(matches!(outcome, Outcome::Retry { after: Some(wait), .. } if wait == Duration::from_secs(9)), "{outcome:?}");
        let (outcome, _) = deliver("HTTP/1.1 410 Gone\r\ncontent-length: 0\r\n\r\n".into()).await;
        assert!(matches!(outcome, Outcome::Gone { .. }), "{outcome:?}");
        let (outcome, _) = deliver(format!("HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n{}", "x".repeat(200_000))).await;
        assert_eq!(outcome, Outcome::Delivered { status: 200 });
        let (outcome, _) = deliver("nonsense\r\n\r\n".into()).await;
        assert!(matches!(outcome, Outcome::Retry { after: None, .. }), "{outcome:?}");
    }

    #[tokio::test]
    async fn a_bad_url_is_dead_at_once() {
        let webhook = Webhook { url: "nowhere".into(), secrets: vec![secret(1)], timeout: Duration::from_secs(10) };
        let client = Client::new(&Options::default()).unwrap();
        let outcome = webhook.deliver(&client, "msg_1", Bytes::new(), Timestamp::UNIX_EPOCH).await;
        assert!(matches!(outcome, Outcome::Dead { .. }), "{outcome:?}");
    }
}
