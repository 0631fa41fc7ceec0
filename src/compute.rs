//! Tokio waits, rayon computes; this is the one bridge between them. Only uploads that take less time than crossing it are decoded where they were received (`ingest::read`).

use std::panic::{AssertUnwindSafe, catch_unwind};

use tokio::sync::oneshot;

/// The work panicked. The daemon goes on; the request that it was for gets an internal error.
#[derive(Debug, thiserror::Error)]
#[error("a computation failed inside: {0}")]
pub struct Panicked(String);

impl From<tokio::task::JoinError> for Panicked {
    fn from(error: tokio::task::JoinError) -> Panicked {
        Panicked(error.to_string())
    }
}

/// Runs CPU work on the rayon pool. It is skipped if the caller has gone by the time that its turn comes.
pub async fn compute<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Panicked> {
    let (done, result) = oneshot::channel();
    let span = tracing::Span::current();
    rayon::spawn(move || {
        if done.is_closed() {
            return;
        }
        let _entered = span.enter();
        let outcome = catch_unwind(AssertUnwindSafe(work)).map_err(|panic| {
            let text = panic.downcast_ref::<&str>().map(|s| (*s).to_owned()).or_else(|| panic.downcast_ref::<String>().cloned());
            Panicked(text.unwrap_or_else(|| "no message".to_owned()))
        });
        // The caller may have gone meanwhile; then nobody wants the result.
        drop(done.send(outcome));
    });
    result.await.unwrap_or_else(|_| Err(Panicked("it was dropped".to_owned())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn results_and_panics_come_back() {
        assert_eq!(compute(|| 1 + 1).await.expect("two"), 2);
        let error = compute(|| -> u32 { panic!("no good") }).await.expect_err("panicked");
        assert_eq!(error.to_string(), "a computation failed inside: no good");
    }
}
