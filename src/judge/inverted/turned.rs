//! Two answers over one fleet: which endpoints would turn, from which verdict to which.

use std::collections::BTreeMap;

use roaring::{MultiOps, RoaringBitmap};

use super::Answer;
use crate::fleet::index::{ClusterId, Index};
use crate::judge::Verdict;

/// From, to. `None`: there is no such rule on that side.
pub type Turn = (Option<Verdict>, Option<Verdict>);

/// One side: an answer, or no rule.
#[derive(Clone, Copy)]
struct Side<'a>(Option<&'a Answer>);

impl Side<'_> {
    /// The verdict of a cluster. `None` if its endpoints have verdicts one by one.
    fn base(&self, cluster: ClusterId) -> Option<Option<Verdict>> {
        match self.0 {
            None => Some(None),
            Some(answer) => answer.base(cluster).map(Some),
        }
    }

    fn others(&self) -> impl Iterator<Item = u32> + '_ {
        self.0.into_iter().flat_map(|a| a.others().iter().map(|(at, _)| *at))
    }

    fn verdict_of(&self, index: &Index, at: u32) -> Option<Verdict> {
        self.0.and_then(|a| a.verdict_of(index, at))
    }
}

/// The endpoints of those turns that are wanted; those with none left out. Both answers are of the fleet as it is, and of these endpoints.
pub fn turned(
    index: &Index,
    old: Option<&Answer>,
    new: Option<&Answer>,
    among: Option<&RoaringBitmap>,
    wanted: impl Fn(Turn) -> bool,
) -> BTreeMap<Turn, RoaringBitmap> {
    let (old, new) = (Side(old), Side(new));
    let base = |cluster: ClusterId| Some((old.base(cluster)?, new.base(cluster)?)).filter(|turn| wanted(*turn));
    let mut clusters: BTreeMap<Turn, Vec<&RoaringBitmap>> = BTreeMap::new();
    for (id, cluster) in index.clusters() {
        if let Some(turn) = base(id) {
            clusters.entry(turn).or_default().push(&cluster.endpoints);
        }
    }
    let mut out: BTreeMap<Turn, RoaringBitmap> = BTreeMap::new();
    for (turn, endpoints) in clusters {
        let mut endpoints: RoaringBitmap = endpoints.into_iter().union();
        if let Some(among) = among {
            endpoints &= among;
        }
        out.insert(turn, endpoints);
    }
    let mut others: Vec<u32> = old.others().chain(new.others()).collect();
    others.sort_unstable();
    others.dedup();
    for at in others {
        if let Some(endpoints) = base(index.cluster_of(at)).and_then(|turn| out.get_mut(&turn)) {
            endpoints.remove(at);
        }
        let turn = (old.verdict_of(index, at), new.verdict_of(index, at));
        if wanted(turn) {
            out.entry(turn).or_default().insert(at);
        }
    }
    out.retain(|_, endpoints| !endpoints.is_empty());
    out
}
