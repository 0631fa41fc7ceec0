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

/// How much later the threads of [`aside`] get their turn: where both processors are wanted by others, about a third of what one of those gets.
const LATER: i32 = 5;

/// Runs long CPU work that nobody waits for, and what of it is parallel, on one thread that others go before. To be called where waiting is allowed.
/// INVARIANT: such work takes no lock that an upload may need, or an upload would wait as long as it.
pub fn aside<T: Send>(work: impl FnOnce() -> T + Send) -> T {
    // Linux has it by thread.
    let later = |_| {
        if let Err(error) = rustix::process::nice(LATER) {
            tracing::debug!(%error, "work that can wait has the priority of all other work");
        }
    };
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).thread_name(|_| "aside".to_owned()).start_handler(later).build();
    match pool {
        Ok(pool) => pool.install(work),
        Err(_) => work(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn results_and_panics_come_back() {
        assert_eq!(compute(|| 1 + 1).await.expect("two"), 2);
        // Nothing is printed, which would look like a failure of this test.
        let panic = || -> u32 { std::panic::resume_unwind(Box::new("no good")) };
        let error = compute(panic).await.expect_err("panicked");
        assert_eq!(error.to_string(), "a computation failed inside: no good");
    }

    #[test]
    fn what_can_wait_has_one_thread_that_others_go_before() {
        let priority = || rustix::process::getpriority_process(None);
        let before = priority().expect("this thread's");
        let (threads, there) = aside(|| (rayon::current_num_threads(), priority()));
        assert_eq!((threads, there.expect("that thread's")), (1, (before + LATER).min(19)));
        assert_eq!(priority().expect("this thread's"), before, "others stay what they are");
    }
}
