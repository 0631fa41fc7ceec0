//! Episodes as they lie in memory: `endpoint, rule -> the episode`, and which are to be told when.
//!
//! A fleet writes down one whenever a verdict turns, and keeps it for as long as it may open again: at a million endpoints there are some hundred thousand. What they have alike is kept once:
//! rules' names, and the evidence, which is mostly a row that many endpoints have.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Bound, Range};
use std::sync::Arc;

use crate::drift::{Cause, Episode};
use crate::fleet::EndpointId;
use crate::shard::ids::{Id, Prefix};
use crate::shard::pool::Pool;
use crate::shard::{Kept, Of};

#[derive(Debug)]
pub(in crate::shard) struct Episodes {
    ids: Prefix,
    all: BTreeMap<Of, Small>,
    /// Open ones that sinks have not heard of, by when they shall. INVARIANT: those of `all` that have a time.
    to_tell: BTreeSet<(i64, Of)>,
    rules: Pool<str>,
    evidence: Pool<[String]>,
}

#[derive(Debug)]
struct Small {
    id: Id,
    evidence: Arc<[String]>,
    opened_ms: i64,
    changed_ms: i64,
    reopened: u32,
    cause: Cause,
    open: bool,
    told: bool,
    to_tell: Option<Box<ToTell>>,
}

/// When sinks shall hear of it, and of which event.
#[derive(Debug)]
struct ToTell {
    due_ms: i64,
    event: (u64, i64),
}

/// Takes one that is stored.
pub(in crate::shard) type Take<'t> = dyn FnMut(EndpointId, &str, &Kept) + 't;

impl Episodes {
    pub(in crate::shard) fn new(store_id: &str) -> Episodes {
        let ids = Prefix::new("ep", store_id);
        Episodes { ids, all: BTreeMap::new(), to_tell: BTreeSet::new(), rules: Pool::default(), evidence: Pool::default() }
    }

    /// The id of one that an event begins.
    pub(in crate::shard) fn id(&self, event: u64) -> String {
        self.ids.begun_by(event)
    }

    fn place(&self, at: EndpointId, rule: &str) -> Option<Of> {
        Some((at, self.rules.get(rule)?.clone()))
    }

    pub(in crate::shard) fn get(&self, at: EndpointId, rule: &str) -> Option<Kept> {
        self.all.get(&self.place(at, rule)?).map(|small| self.whole(small))
    }

    pub(in crate::shard) fn is_open(&self, at: EndpointId, rule: &str) -> bool {
        self.place(at, rule).and_then(|of| self.all.get(&of)).is_some_and(|small| small.open)
    }

    pub(in crate::shard) fn put(&mut self, at: EndpointId, rule: &str, kept: &Kept) {
        self.remove(at, rule);
        let (of, small) = ((at, self.rules.share(rule)), self.small(kept));
        self.to_tell.extend(kept.episode.tell_ms.map(|due| (due, of.clone())));
        self.all.insert(of, small);
    }

    /// Takes those of a store into an empty place: at once, as a tree that grows has room for as many again.
    pub(in crate::shard) fn restore<E>(&mut self, each: impl FnOnce(&mut Take<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut all = Vec::new();
        each(&mut |at, rule, kept| all.push(((at, self.rules.share(rule)), self.small(kept))))?;
        self.all = all.into_iter().collect();
        let due = self.all.iter().filter_map(|(of, small)| Some((small.to_tell.as_ref()?.due_ms, of.clone())));
        self.to_tell = due.collect();
        Ok(())
    }

    pub(in crate::shard) fn remove(&mut self, at: EndpointId, rule: &str) {
        let Some(of) = self.place(at, rule) else { return };
        if let Some(to_tell) = self.all.remove(&of).and_then(|small| small.to_tell) {
            self.to_tell.remove(&(to_tell.due_ms, of));
        }
    }

    /// Those of some endpoints, by endpoint and rule.
    fn among(&self, endpoints: Range<u32>) -> impl Iterator<Item = (&Of, &Small)> {
        let of = |at: u32| (EndpointId(at), Arc::default());
        self.all.range(of(endpoints.start)..of(endpoints.end))
    }

    /// Those of one endpoint, by rule.
    pub(in crate::shard) fn of(&self, at: EndpointId) -> impl Iterator<Item = (&str, Kept)> {
        self.among(at.0..at.0.saturating_add(1)).map(|((_, rule), small)| (&**rule, self.whole(small)))
    }

    /// The open ones of some endpoints, by endpoint and rule, and when they opened.
    pub(in crate::shard) fn open_of(&self, endpoints: Range<u32>) -> impl Iterator<Item = (EndpointId, &str, i64)> {
        self.among(endpoints).filter(|(_, small)| small.open).map(|((at, rule), small)| (*at, &**rule, small.opened_ms))
    }

    /// The next one that sinks have not heard of in time.
    pub(in crate::shard) fn due(&self, now_ms: i64) -> Option<Of> {
        self.to_tell.first().filter(|(due, _)| *due <= now_ms).map(|(_, of)| of.clone())
    }

    /// Those that ended before an instant, of so many from a place on; and where to go on, if there are more.
    pub(in crate::shard) fn ended_before(&self, ms: i64, from: Option<&Of>, most: usize) -> (Vec<Of>, Option<Of>) {
        let mut left = most;
        let (mut old, mut last) = (Vec::new(), None);
        let from = from.map_or(Bound::Unbounded, Bound::Excluded);
        for (of, small) in self.all.range::<Of, _>((from, Bound::Unbounded)).take(most) {
            (last, left) = (Some(of), left - 1);
            if !small.open && small.changed_ms < ms {
                old.push(of.clone());
            }
        }
        (old, last.filter(|_| left == 0).cloned())
    }

    fn small(&mut self, kept: &Kept) -> Small {
        let Kept { episode, event } = kept;
        let to_tell = episode.tell_ms.map(|due_ms| Box::new(ToTell { due_ms, event: *event }));
        Small {
            id: self.ids.read(&episode.id),
            evidence: self.evidence.share(&episode.evidence),
            opened_ms: episode.opened_ms,
            changed_ms: episode.changed_ms,
            reopened: episode.reopened,
            cause: episode.cause,
            open: episode.open,
            told: episode.told,
            to_tell,
        }
    }

    fn whole(&self, small: &Small) -> Kept {
        let episode = Episode {
            id: self.ids.text(&small.id),
            open: small.open,
            cause: small.cause,
            opened_ms: small.opened_ms,
            changed_ms: small.changed_ms,
            reopened: small.reopened,
            evidence: small.evidence.to_vec(),
            tell_ms: small.to_tell.as_ref().map(|t| t.due_ms),
            told: small.told,
        };
        Kept { episode, event: small.to_tell.as_ref().map_or((0, 0), |t| t.event) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kept(id: &str, open: bool, changed_ms: i64, tell_ms: Option<i64>) -> Kept {
        let evidence = vec!["sysctl{\"key\":\"a\",\"value\":\"1\"}".to_owned(), "and 3 others".to_owned()];
        let told = open && tell_ms.is_none();
        let episode = Episode {
            id: id.to_owned(),
            open,
            cause: Cause::EndpointChanged,
            opened_ms: 5,
            changed_ms,
            reopened: 2,
            evidence,
            tell_ms,
            told,
        };
        Kept { episode, event: tell_ms.map_or((0, 0), |_| (7, 9)) }
    }

    fn given() -> Vec<(u32, &'static str, Kept)> {
        // Ids as this store gives them out, nearly so, and otherwise.
        vec![
            (3, "b", kept("ep_s_17", true, 100, None)),
            (3, "a", kept("ep_s_017", true, 100, Some(160))),
            (1, "b", kept("ep_other_4", false, 50, None)),
            (2, "a", kept("ep_s_18446744073709551616", false, 70, None)),
            (2, "c", kept("", true, 80, Some(120))),
        ]
    }

    #[test]
    fn what_is_put_in_comes_out_whole_and_by_rule() {
        let mut episodes = Episodes::new("s");
        given().iter().for_each(|(at, rule, kept)| episodes.put(EndpointId(*at), rule, kept));
        let mut restored = Episodes::new("s");
        let stored = |take: &mut Take<'_>| {
            given().iter().for_each(|(at, rule, kept)| take(EndpointId(*at), rule, kept));
            Ok::<_, ()>(())
        };
        assert_eq!(restored.restore(stored), Ok(()));
        assert_eq!(restored.to_tell, episodes.to_tell);
        for episodes in [&episodes, &restored] {
            for (at, rule, kept) in given() {
                assert_eq!(episodes.get(EndpointId(at), rule), Some(kept.clone()));
                assert_eq!(episodes.is_open(EndpointId(at), rule), kept.episode.open);
            }
            assert_eq!(episodes.of(EndpointId(3)).map(|(rule, _)| rule).collect::<Vec<_>>(), ["a", "b"]);
            assert_eq!(episodes.open_of(2..4).map(|(at, rule, _)| (at.0, rule)).collect::<Vec<_>>(), [(2, "c"), (3, "a"), (3, "b")]);
            assert_eq!(episodes.get(EndpointId(4), "a"), None);
            assert_eq!(episodes.evidence.get(&given()[0].2.episode.evidence).map(Arc::strong_count), Some(6), "kept once");
        }
        assert_eq!(episodes.id(17), "ep_s_17");
    }

    #[test]
    fn those_to_be_told_come_by_time_and_not_after_they_were_told_or_gone() {
        let mut episodes = Episodes::new("s");
        given().iter().for_each(|(at, rule, kept)| episodes.put(EndpointId(*at), rule, kept));
        let due = |episodes: &Episodes, now_ms| episodes.due(now_ms).map(|(at, rule)| (at.0, rule.to_string()));
        assert_eq!(due(&episodes, 119), None);
        assert_eq!(due(&episodes, 200), Some((2, "c".to_owned())));
        episodes.put(EndpointId(2), "c", &kept("ep_s_1", true, 80, None));
        assert_eq!(due(&episodes, 200), Some((3, "a".to_owned())));
        episodes.remove(EndpointId(3), "a");
        assert_eq!((due(&episodes, 200), episodes.get(EndpointId(3), "a")), (None, None));
        assert!(episodes.to_tell.is_empty());
    }

    #[test]
    fn ended_ones_are_found_piece_by_piece() {
        let mut episodes = Episodes::new("s");
        given().iter().for_each(|(at, rule, kept)| episodes.put(EndpointId(*at), rule, kept));
        let (mut old, mut from, mut pieces) = (Vec::new(), None, 0);
        loop {
            let (some, next) = episodes.ended_before(70, from.as_ref(), 2);
            old.extend(some.iter().map(|(at, rule)| (at.0, rule.to_string())));
            pieces += 1;
            match next {
                Some(next) => from = Some(next),
                None => break,
            }
        }
        assert_eq!((old, pieces), (vec![(1, "b".to_owned())], 3));
    }
}
