//! Telling others what changed: events wait in the outbox of the store, a worker hands each to its sinks. One file a sink.
//!
//! A sink takes one event and gives an [`Outcome`]; what the outcome means for the next attempt is decided here,
//! after Standard Webhooks 1.0. Nothing here reads a clock or a random source: `now` and seeds are arguments.

pub mod dispatch;
pub mod webhook;

use std::time::Duration;

use jiff::Timestamp;

use crate::shard::Attempt;

/// What became of one attempt to deliver one event to one sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    Delivered {
        status: u16,
    },
    /// Try again after [`backoff`], and not before `after`, which the receiver asked for.
    Retry {
        after: Option<Duration>,
        error: String,
    },
    /// No attempt can succeed; the event goes to the dead letters.
    Dead {
        error: String,
    },
    /// The receiver wants no more: the sink is disabled until it is configured anew.
    Gone {
        error: String,
    },
}

/// Seconds before each attempt: the schedule of Standard Webhooks.
const SCHEDULE: [u64; 10] = [0, 5, 5 * 60, 30 * 60, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR];
const HOUR: u64 = 3600;

/// What a receiver may ask for at most.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(24 * HOUR);

/// How long to wait before the next attempt when `attempt` were made: 0 before the first, `None` when all are spent.
///
/// The wait is up to a fifth shorter or longer by the seed (the event's and the sink's number, say),
/// so that events which failed together do not return together. The same seed gives the same wait after a restart.
pub fn backoff(attempt: u32, seed: u64) -> Option<Duration> {
    let seconds = SCHEDULE.get(usize::try_from(attempt).ok()?)?;
    let permille = 800 + mix(seed ^ mix(u64::from(attempt))) % 401;
    Some(Duration::from_millis(seconds * permille))
}

/// What an outcome means for an entry of the outbox of which `made` attempts were made before, at this time.
pub fn attempt(outcome: &Outcome, made: u32, seed: u64, now_ms: i64) -> Attempt {
    let made = made.saturating_add(1);
    let again = |after: Option<Duration>, error: &str| match backoff(made, seed) {
        Some(wait) => {
            let wait_ms = i64::try_from(wait.max(after.unwrap_or_default()).as_millis()).unwrap_or(i64::MAX / 2);
            Attempt::Failed { next_ms: now_ms.saturating_add(wait_ms), error: error.to_owned() }
        }
        None => Attempt::Dead { error: format!("given up after {made} attempts: {error}") },
    };
    match outcome {
        Outcome::Delivered { .. } => Attempt::Delivered,
        Outcome::Retry { after, error } => again(*after, error),
        Outcome::Dead { error } => Attempt::Dead { error: error.clone() },
        Outcome::Gone { error } => again(None, error),
    }
}

/// splitmix64: neighbouring seeds give unrelated numbers.
fn mix(seed: u64) -> u64 {
    let x = seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// What the status of a response means. `retry_after` is the header of that name, `now` is for its form as a date.
pub fn classify(status: u16, retry_after: Option<&str>, now: Timestamp) -> Outcome {
    let after = retry_after.and_then(|text| retry_after_header(text, now));
    let retry = |why: &str| Outcome::Retry { after, error: format!("status {status}: {why}") };
    match status {
        200..=299 => Outcome::Delivered { status },
        300..=399 => retry("redirects are not followed; configure the URL that it points to"),
        401 | 403 => retry("the receiver denies access; check the secret and the URL"),
        404 => retry("the receiver knows no such URL; check it"),
        410 => Outcome::Gone {
            error: "status 410: the receiver wants no more events; the sink is disabled until it is configured anew".into(),
        },
        429 => retry("the receiver asks for fewer requests"),
        500..=599 => retry("the receiver has a fault or is overloaded"),
        _ => retry("the receiver refuses the event"),
    }
}

/// Seconds or an HTTP date, never more than a day. What is neither is as if it were absent.
fn retry_after_header(text: &str, now: Timestamp) -> Option<Duration> {
    let text = text.trim();
    let wait = if !text.is_empty() && text.bytes().all(|c| c.is_ascii_digit()) {
        // A number that is too big for the type is too big for the limit.
        Duration::from_secs(text.parse().unwrap_or(u64::MAX))
    } else {
        let date = jiff::fmt::rfc2822::parse(text).ok()?.timestamp();
        // A date that has passed asks for nothing.
        Duration::try_from(date.duration_since(now)).unwrap_or_default()
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_schedule_ends_after_ten_attempts() {
        assert_eq!(backoff(0, 7), Some(Duration::ZERO));
        assert_eq!(backoff(10, 7), None);
        assert_eq!(backoff(u32::MAX, 7), None);
        let longest: u64 = SCHEDULE.iter().sum();
        assert_eq!(longest, 75 * HOUR + 35 * 60 + 5);
    }

    #[test]
    fn seeds_spread_the_waits() {
        let waits: std::collections::BTreeSet<_> = (0..100).map(|seed| backoff(9, seed)).collect();
        assert!(waits.len() > 60, "{}", waits.len());
    }

    proptest! {
        #[test]
        fn a_wait_stays_within_a_fifth(attempt in 0u32..10, seed: u64) {
            let seconds = SCHEDULE[attempt as usize];
            let wait = backoff(attempt, seed).unwrap();
            prop_assert!(wait >= Duration::from_millis(seconds * 800) && wait <= Duration::from_millis(seconds * 1200));
            prop_assert_eq!(backoff(attempt, seed), Some(wait));
        }

        #[test]
        fn no_header_breaks_us(text in "\\PC*", second in 0i64..4_000_000_000) {
            let wait = retry_after_header(&text, Timestamp::from_second(second).unwrap());
            prop_assert!(wait.is_none_or(|w| w <= RETRY_AFTER_MAX));
        }
    }

    #[test]
    fn statuses() {
        let now = Timestamp::UNIX_EPOCH;
        for status in [200, 202, 204, 299] {
            assert_eq!(classify(status, None, now), Outcome::Delivered { status });
        }
        assert!(matches!(classify(410, Some("5"), now), Outcome::Gone { .. }));
        for status in [0, 101, 301, 302, 308, 400, 401, 404, 409, 422, 429, 500, 503, 504, 600] {
            assert!(matches!(classify(status, None, now), Outcome::Retry { after: None, .. }), "{status}");
            let Outcome::Retry { after, error } = classify(status, Some("7"), now) else { panic!("{status}") };
            assert_eq!(after, Some(Duration::from_secs(7)));
            assert!(error.starts_with(&format!("status {status}: ")), "{error}");
        }
    }

    #[test]
    fn retry_after() {
        let now: Timestamp = "1994-11-06T08:49:07Z".parse().unwrap();
        let wait = |text| retry_after_header(text, now).map(|d| d.as_secs());
        assert_eq!(wait("120"), Some(120));
        assert_eq!(wait(" 0 "), Some(0));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:37 GMT"), Some(30));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:06 GMT"), Some(0));
        assert_eq!(wait("Sun, 06 Nov 2094 08:49:37 GMT"), None, "the wrong day of the week");
        assert_eq!(wait("Sat, 06 Nov 2094 08:49:37 GMT"), Some(86_400));
        assert_eq!(wait("86401"), Some(86_400));
        assert_eq!(wait("99999999999999999999999999"), Some(86_400));
        for neither in ["", "soon", "-5", "1.5", "\u{0663}"] {
            assert_eq!(wait(neither), None, "{neither}");
        }
    }
}
