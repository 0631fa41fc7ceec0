//! Swaps in a lane of their own: `another pack, policy or catalog -> a lane beside the writer -> one input that switches`.
//!
//! The lane is one thread. It looks at the state for a few milliseconds at a time and computes between, so that uploads have the other processors, and the lock, meanwhile;
//! where some come, it pauses as long as it worked. One swap goes on at a time; who comes with another one waits.

use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use super::{Ingest, IngestError};
use crate::compute::{Panicked, aside};
use crate::pack::Pack;
use crate::patch::catalog::Catalog;
use crate::policy::Policy;
use crate::shard::{CatalogLane, FeedNews, Input, Lane, Progress, Refusal, Reply, Spent, Watching};

/// Touched endpoints that are left to be judged at the moment of the switch, while nothing else goes on.
const LEFT: usize = 64;
/// The same after so many rounds.
const LEFT_AT_MOST: usize = 8192;
const ROUNDS: usize = 4096;
/// No pause is longer. A step that asks many rows takes a tenth of a second, beside the state.
const PAUSE: Duration = Duration::from_millis(200);

/// What comes.
#[derive(Clone)]
enum Swap {
    Pack(Arc<Pack>, Policy),
    Catalog(Arc<Catalog>, Vec<FeedNews>),
}

/// What is on its way.
enum Driven {
    Pack(Box<Lane>),
    Catalog(Box<CatalogLane>),
}

impl Swap {
    fn begin(self, look: &Ingest, watching: Watching) -> Driven {
        match self {
            Swap::Pack(pack, policy) => Driven::Pack(Box::new(Lane::begin(look, watching, pack, policy))),
            Swap::Catalog(catalog, news) => Driven::Catalog(Box::new(CatalogLane::begin(look, Some(watching), catalog, news))),
        }
    }
}

impl Driven {
    fn step(&mut self, look: &Ingest) -> Progress {
        match self {
            Driven::Pack(lane) => lane.step(look),
            Driven::Catalog(lane) => lane.step(look),
        }
    }

    fn ready(self) -> Input {
        match self {
            Driven::Pack(lane) => Input::Finish(lane),
            Driven::Catalog(lane) => Input::FinishCatalog(lane),
        }
    }
}

/// How a lane came to its end.
enum Ended {
    Ready(Input),
    /// The state has gone on without it.
    Lost,
    /// Nobody is there any more whom it could give anything.
    Stopped,
}

impl Ingest {
    /// Judges the fleet by another pack or policy. When it returns, that is durable, and what the baselines require by it is queued.
    pub async fn swap(self: &Arc<Self>, pack: Arc<Pack>, policy: Policy) -> Result<(), IngestError> {
        let _one_at_a_time = self.swapping.lock().await;
        let digest = pack.digest().to_owned();
        self.go("pack", &digest, &Swap::Pack(pack, policy)).await
    }

    /// Holds the fleet against another catalog of patches, and tells what became of the feeds that it is of. When it returns, that is durable.
    pub async fn swap_catalog(self: &Arc<Self>, catalog: Arc<Catalog>, news: Vec<FeedNews>) -> Result<(), IngestError> {
        let _one_at_a_time = self.swapping.lock().await;
        let digest = catalog.digest();
        // Nothing turns: there is only news to be told.
        let of = digest.clone();
        if self.look(|shard| shard.catalog_digest() == of).await {
            return self.submit(Input::Catalog { catalog, news }).await.map(drop);
        }
        self.go("catalog", &digest, &Swap::Catalog(catalog, news)).await
    }

    /// The whole of a swap, counted and told.
    async fn go(self: &Arc<Self>, of: &str, digest: &str, to: &Swap) -> Result<(), IngestError> {
        let begun = Instant::now();
        tracing::info!(of, digest, "a swap begins");
        if let Err(error) = self.switch(to).await {
            tracing::warn!(of, digest, %error, "the swap did not come to its end; what was there stays");
            return Err(error);
        }
        self.settle().await?;
        let took = begun.elapsed();
        self.metrics.swap_seconds.observe(took.as_secs_f64());
        tracing::info!(of, digest, ?took, "the swap is durable");
        Ok(())
    }

    async fn switch(self: &Arc<Self>, to: &Swap) -> Result<(), IngestError> {
        let switched = self.try_switch(to).await;
        self.metrics.swap_progress.set(1.0);
        if switched.is_err() {
            // What is noted for nobody is in the way of everything else.
            drop(self.submit(Input::Unwatch).await);
        }
        switched
    }

    async fn try_switch(self: &Arc<Self>, to: &Swap) -> Result<(), IngestError> {
        loop {
            let Reply::Watching(watching) = self.submit(Input::Watch).await? else { return Err(IngestError::Stopping) };
            let (ingest, to) = (Arc::downgrade(self), to.clone());
            let lane = tokio::task::spawn_blocking(move || drive(&ingest, watching, to));
            let ready = match lane.await.map_err(Panicked::from)? {
                Ended::Ready(ready) => ready,
                Ended::Lost => continue,
                Ended::Stopped => return Err(IngestError::Stopping),
            };
            match self.submit(ready).await {
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
        while self.settle_some().await? {}
        Ok(())
    }

    /// The same beside everything else, as long as somebody is there: after a start, for the process may have ended before all of it was done.
    pub fn settle_later(self: &Arc<Self>) {
        let ingest = Arc::downgrade(self);
        let settle = async move {
            while let Some(here) = ingest.upgrade() {
                if !matches!(here.settle_some().await, Ok(true)) {
                    return;
                }
            }
        };
        drop(tokio::spawn(settle));
    }

    /// One small batch of it, and a pause where uploads come. Whether there is more.
    async fn settle_some(&self) -> Result<bool, IngestError> {
        let begun = Instant::now();
        let Reply::Settled { left: 1.. } = self.submit(Input::Settle).await? else { return Ok(false) };
        if self.admission.are_coming() {
            tokio::time::sleep(begun.elapsed().min(PAUSE)).await;
        }
        Ok(true)
    }
}

/// It is large, and to give it back takes time.
fn drop_aside(spent: Box<Spent>) {
    drop(tokio::task::spawn_blocking(move || aside(|| drop(spent))));
}

/// Goes on as long as there is an [`Ingest`]: it must not be this thread that keeps the writer from ending.
fn drive(ingest: &Weak<Ingest>, watching: Watching, to: Swap) -> Ended {
    let Some(here) = ingest.upgrade() else { return Ended::Stopped };
    let mut lane = to.begin(&here, watching);
    drop(here);
    let mut rounds = 0;
    loop {
        let Some(here) = ingest.upgrade().filter(|i| !i.is_poisoned()) else { return Ended::Stopped };
        let begun = Instant::now();
        match lane.step(&here) {
            Progress::Working(share) => here.metrics.swap_progress.set(share),
            Progress::Lost => return Ended::Lost,
            Progress::Caught(left) => {
                rounds += 1;
                // Where uploads come as fast as they are judged, more are left to the moment of the switch.
                if left <= LEFT || (rounds > ROUNDS && left <= LEFT_AT_MOST) {
                    return Ended::Ready(lane.ready());
                }
            }
        }
        let uploads_come = here.admission.are_coming();
        drop(here);
        // Uploads have the state for half of the time at least, and all but a quarter of two processors.
        if uploads_come {
            std::thread::sleep(begun.elapsed().min(PAUSE));
        } else {
            std::thread::yield_now();
        }
    }
}
