//! Swaps beside the writer, driven as the daemon drives them: a step at a time, with everything else between.

use std::sync::Arc;

use muster::ingest::{Ingest, IngestError};
use muster::pack::Pack;
use muster::patch::catalog::Catalog;
use muster::policy::Policy;
use muster::shard::{CatalogLane, Input, Lane, Progress, Refusal, Reply, Watching};

use super::play::{Play, What};
use crate::patches::decided::random::news_between;

/// What is to be.
#[derive(Clone)]
pub(super) enum To {
    Pack(Arc<Pack>, Policy),
    Catalog(Arc<Catalog>),
}

enum Beside {
    Pack(Box<Lane>),
    Catalog(Box<CatalogLane>),
}

enum Stage {
    /// The writer is asked to note what changes.
    Asked,
    Working(Beside),
    /// The writer is asked to switch.
    Ready,
    /// What the switch left to be done is done.
    Settling,
}

/// A swap on its way. It is gone when the process dies.
pub(super) struct Driven {
    to: To,
    stage: Stage,
}

impl Beside {
    fn begin(look: &Ingest, watching: Watching, to: To) -> Beside {
        match to {
            To::Pack(pack, policy) => Beside::Pack(Box::new(Lane::begin(look, watching, pack, policy))),
            To::Catalog(catalog) => {
                let news = news_between(&look.read().catalog, &catalog);
                Beside::Catalog(Box::new(CatalogLane::begin(look, Some(watching), catalog, vec![news])))
            }
        }
    }

    fn step(&mut self, look: &Ingest) -> Progress {
        match self {
            Beside::Pack(lane) => lane.step(look),
            Beside::Catalog(lane) => lane.step(look),
        }
    }

    fn ready(self) -> Input {
        match self {
            Beside::Pack(lane) => Input::Finish(lane),
            Beside::Catalog(lane) => Input::FinishCatalog(lane),
        }
    }
}

impl Play {
    pub(super) fn begin_lane(&mut self, to: To) {
        self.lane = Some(Driven { to, stage: Stage::Asked });
        self.submit(What::Watch, Input::Watch);
    }

    /// Some steps of the lane, if there is one at work.
    pub(super) fn drive(&mut self, most: usize) {
        let ingest = self.life.ingest.clone();
        for _ in 0..self.random.below(most + 1) {
            let Some(Driven { to, stage: Stage::Working(mut lane) }) = self.lane.take_if(|l| matches!(l.stage, Stage::Working(_))) else {
                return;
            };
            match lane.step(&ingest) {
                Progress::Working(share) => assert!((0.0..1.0).contains(&share)),
                Progress::Lost => {
                    self.counts.overtaken += 1;
                    return self.begin_lane(to);
                }
                // More of them are left to the moment of the switch than the daemon leaves in so small a fleet.
                Progress::Caught(left) if left == 0 || self.random.percent(30) => {
                    self.lane = Some(Driven { to, stage: Stage::Ready });
                    return self.submit(What::Switch, lane.ready());
                }
                Progress::Caught(_) => {}
            }
            self.lane = Some(Driven { to, stage: Stage::Working(lane) });
        }
    }

    /// What the writer says to a step of a swap.
    pub(super) fn driven(&mut self, what: &What, reply: Result<Reply, IngestError>) {
        let lane = self.lane.take();
        match (what, reply, lane) {
            (What::Watch, Ok(Reply::Watching(watching)), Some(Driven { to, stage: Stage::Asked })) => {
                let lane = Beside::begin(&self.life.ingest, watching, to.clone());
                self.lane = Some(Driven { to, stage: Stage::Working(lane) });
            }
            (What::Switch, Ok(Reply::Switched(_)), Some(Driven { to, stage: Stage::Ready })) => {
                let count = if matches!(to, To::Pack(..)) { &mut self.counts.lanes } else { &mut self.counts.catalog_lanes };
                *count += 1;
                self.lane = Some(Driven { to, stage: Stage::Settling });
                self.subscribe();
                self.submit(What::Settle, Input::Settle);
            }
            (What::Switch, Err(IngestError::Refused(Refusal::Stale)), Some(Driven { to, stage: Stage::Ready })) => {
                self.counts.overtaken += 1;
                self.begin_lane(to);
            }
            // It is given up, and what is noted for it is in the way of everything else.
            (What::Watch | What::Switch, Err(IngestError::Full(_)), Some(_)) => self.submit(What::Other, Input::Unwatch),
            // What a start or a swap left; another one may be under way.
            (What::Settle, Ok(Reply::Settled { left }), lane) => {
                self.lane = lane.filter(|l| left > 0 || !matches!(l.stage, Stage::Settling));
                if left > 0 {
                    self.submit(What::Settle, Input::Settle);
                }
            }
            (What::Settle, Err(IngestError::Full(_)), lane) => self.lane = lane.filter(|l| !matches!(l.stage, Stage::Settling)),
            (what, reply, _) => panic!("{what:?}: {reply:?}"),
        }
    }
}
