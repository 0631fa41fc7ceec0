//! Swaps in a lane of their own: `another pack or policy -> a lane beside the writer -> one input that switches`.
//!
//! The lane is one thread. It looks at the state for a few milliseconds at a time and computes between, so that uploads have the other processors, and the lock, meanwhile. One
//! swap goes on at a time; who comes with another one waits.

use std::sync::{Arc, Weak};
use std::time::Instant;

use super::{Ingest, IngestError};
use crate::compute::Panicked;
use crate::pack::Pack;
use crate::policy::Policy;
use crate::shard::{Input, Lane, Progress, Refusal, Reply, Spent, Watching};

/// Touched endpoints that are left to be judged at the moment of the switch, while nothing else goes on.
const LEFT: usize = 64;
/// The same after so many rounds.
const LEFT_AT_MOST: usize = 8192;
const ROUNDS: usize = 4096;

/// How a lane came to its end.
enum Ended {
    Ready(Box<Lane>),
    /// The state has gone on without it.
    Lost,
    /// Nobody is there any more whom it could give anything.
    Stopped,
}

impl Ingest {
    /// Judges the fleet by another pack or policy. When it returns, that is durable, and what the baselines require by it is queued.
    pub async fn swap(self: &Arc<Self>, pack: Arc<Pack>, policy: Policy) -> Result<(), IngestError> {
        let _one_at_a_time = self.swapping.lock().await;
        let begun = Instant::now();
        tracing::info!(pack = pack.digest(), "a swap begins");
        let switched = self.switch(&pack, &policy).await;
        self.metrics.swap_progress.set(1.0);
        if let Err(error) = switched {
            // What is noted for nobody is in the way of everything else.
            drop(self.submit(Input::Unwatch).await);
            tracing::warn!(pack = pack.digest(), %error, "the swap did not come to its end; the present rules stay");
            return Err(error);
        }
        self.settle().await?;
        let took = begun.elapsed();
        self.metrics.swap_seconds.observe(took.as_secs_f64());
        tracing::info!(pack = pack.digest(), ?took, "the fleet is judged by it");
        Ok(())
    }

    async fn switch(self: &Arc<Self>, pack: &Arc<Pack>, policy: &Policy) -> Result<(), IngestError> {
        loop {
            let Reply::Watching(watching) = self.submit(Input::Watch).await? else { return Err(IngestError::Stopping) };
            let (ingest, pack, policy) = (Arc::downgrade(self), pack.clone(), policy.clone());
            let lane = tokio::task::spawn_blocking(move || drive(&ingest, watching, pack, policy));
            let lane = match lane.await.map_err(Panicked::from)? {
                Ended::Ready(lane) => lane,
                Ended::Lost => continue,
                Ended::Stopped => return Err(IngestError::Stopping),
            };
            match self.submit(Input::Finish(lane)).await {
                Ok(Reply::Switched(spent)) => {
                    drop_aside(spent);
                    return Ok(());
                }
                Err(IngestError::Refused(Refusal::Stale)) => {}
                Ok(_) => return Err(IngestError::Stopping),
                Err(error) => return Err(error),
            }
        }
    }

    /// Goes on with what a swap left to be done in small batches, until nothing is left.
    pub async fn settle(&self) -> Result<(), IngestError> {
        while let Reply::Settled { left: 1.. } = self.submit(Input::Settle).await? {}
        Ok(())
    }

    /// The same beside everything else, as long as somebody is there: after a start, for the process may have ended before all of it was done.
    pub fn settle_later(self: &Arc<Self>) {
        let ingest = Arc::downgrade(self);
        let settle = async move {
            while let Some(here) = ingest.upgrade() {
                if !matches!(here.submit(Input::Settle).await, Ok(Reply::Settled { left: 1.. })) {
                    return;
                }
            }
        };
        drop(tokio::spawn(settle));
    }
}

/// It is large, and to give it back takes time.
fn drop_aside(spent: Box<Spent>) {
    drop(tokio::task::spawn_blocking(move || drop(spent)));
}

/// Goes on as long as there is an [`Ingest`]: it must not be this thread that keeps the writer from ending.
fn drive(ingest: &Weak<Ingest>, watching: Watching, pack: Arc<Pack>, policy: Policy) -> Ended {
    let Some(here) = ingest.upgrade() else { return Ended::Stopped };
    let mut lane = Box::new(Lane::begin(&*here, watching, pack, policy));
    drop(here);
    let mut rounds = 0;
    loop {
        let Some(here) = ingest.upgrade().filter(|i| !i.is_poisoned()) else { return Ended::Stopped };
        match lane.step(&*here) {
            Progress::Working(share) => here.metrics.swap_progress.set(share),
            Progress::Lost => return Ended::Lost,
            Progress::Caught(left) => {
                rounds += 1;
                // Where uploads come as fast as they are judged, more are left to the moment of the switch.
                if left <= LEFT || (rounds > ROUNDS && left <= LEFT_AT_MOST) {
                    return Ended::Ready(lane);
                }
            }
        }
        drop(here);
        std::thread::yield_now();
    }
}
