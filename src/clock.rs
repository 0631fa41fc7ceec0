//! The clock. The pure core takes `now` as an argument; this is where it comes from.

/// This moment.
#[expect(clippy::disallowed_methods, reason = "the one place that reads the clock")]
pub fn now() -> jiff::Timestamp {
    jiff::Timestamp::now()
}

/// This moment in milliseconds since 1970.
pub fn now_ms() -> i64 {
    now().as_millisecond()
}
