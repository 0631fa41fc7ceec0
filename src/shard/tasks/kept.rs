//! Tasks as they lie in memory: `endpoint, item -> the task`, `id -> endpoint`.
//!
//! A baseline that a million endpoints lack something of makes a million of them. What they have alike is kept once: what is to be done, for which baselines, what agents say of it.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use crate::deploy::{Action, Blocked, Task, TaskState};
use crate::fleet::EndpointId;
use crate::shard::Of;
use crate::shard::ids::{Id, Prefix};
use crate::shard::pool::Pool;

#[derive(Debug)]
pub(in crate::shard) struct Tasks {
    ids: Prefix,
    all: BTreeMap<Of, Small>,
    /// INVARIANT: the ids of `all`, and whose they are.
    by_id: BTreeMap<Id, EndpointId>,
    /// INVARIANT: how many of `all` are in each state.
    counts: [u64; TaskState::ALL.len()],
    items: Pool<str>,
    wanted: Pool<Wanted>,
    said: Pool<str>,
}

#[derive(Debug)]
struct Small {
    id: Id,
    wanted: Arc<Wanted>,
    message: Option<Arc<str>>,
    created_ms: i64,
    changed_ms: i64,
    attempts: u32,
    state: TaskState,
    blocked: Option<Blocked>,
}

/// What is to be done, and for which baselines.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Wanted {
    action: Action,
    baselines: Vec<String>,
}

/// Takes one that is stored.
pub(in crate::shard) type Take<'t> = dyn FnMut(EndpointId, &Task) + 't;

impl Tasks {
    pub(in crate::shard) fn new(store_id: &str) -> Tasks {
        let (items, wanted, said) = (Pool::default(), Pool::default(), Pool::default());
        Tasks {
            ids: Prefix::new("tsk", store_id),
            all: BTreeMap::new(),
            by_id: BTreeMap::new(),
            counts: Default::default(),
            items,
            wanted,
            said,
        }
    }

    /// The id of one that an event begins.
    pub(in crate::shard) fn id(&self, event: u64) -> String {
        self.ids.begun_by(event)
    }

    fn place(&self, at: EndpointId, item: &str) -> Option<Of> {
        Some((at, self.items.get(item)?.clone()))
    }

    fn small(&self, at: EndpointId, item: &str) -> Option<&Small> {
        self.all.get(&self.place(at, item)?)
    }

    /// The open one of an item: what ended is not stepped any more.
    pub(in crate::shard) fn open(&self, at: EndpointId, item: &str) -> Option<Task> {
        self.small(at, item).filter(|small| small.state.is_open()).map(|small| self.whole(item, small))
    }

    pub(in crate::shard) fn is_open(&self, at: EndpointId, item: &str) -> bool {
        self.small(at, item).is_some_and(|small| small.state.is_open())
    }

    pub(in crate::shard) fn find(&self, id: &str) -> Option<(EndpointId, Task)> {
        let id = self.ids.read(id);
        let at = *self.by_id.get(&id)?;
        let (item, small) = self.of_one(at).find(|(_, small)| small.id == id)?;
        Some((at, self.whole(item, small)))
    }

    pub(in crate::shard) fn put(&mut self, at: EndpointId, task: &Task) {
        self.remove(at, &task.item);
        let (of, small) = self.entry(at, task);
        self.by_id.insert(self.ids.read(&task.id), at);
        self.all.insert(of, small);
    }

    /// Takes those of a store into an empty place: at once, as a tree that grows has room for as many again.
    pub(in crate::shard) fn restore<E>(&mut self, each: impl FnOnce(&mut Take<'_>) -> Result<(), E>) -> Result<(), E> {
        let (mut all, mut ids) = (Vec::new(), Vec::new());
        each(&mut |at, task| {
            ids.push((self.ids.read(&task.id), at));
            all.push(self.entry(at, task));
        })?;
        self.all = all.into_iter().collect();
        self.by_id = ids.into_iter().collect();
        Ok(())
    }

    /// One that will be kept.
    fn entry(&mut self, at: EndpointId, task: &Task) -> (Of, Small) {
        let wanted = Wanted { action: task.action.clone(), baselines: task.baselines.clone() };
        let small = Small {
            id: self.ids.read(&task.id),
            wanted: self.wanted.share(&wanted),
            message: task.message.as_deref().map(|message| self.said.share(message)),
            created_ms: task.created_ms,
            changed_ms: task.changed_ms,
            attempts: task.attempts,
            state: task.state,
            blocked: task.blocked,
        };
        self.counts[task.state as usize] += 1;
        ((at, self.items.share(&task.item)), small)
    }

    pub(in crate::shard) fn remove(&mut self, at: EndpointId, item: &str) {
        if let Some(small) = self.place(at, item).and_then(|of| self.all.remove(&of)) {
            self.counts[small.state as usize] -= 1;
            self.by_id.remove(&small.id);
        }
    }

    /// How many are in each state, in the order of [`TaskState::ALL`].
    pub(in crate::shard) fn counts(&self) -> [u64; TaskState::ALL.len()] {
        self.counts
    }

    /// Those of some endpoints, by endpoint and item.
    fn among(&self, endpoints: Range<u32>) -> impl Iterator<Item = (EndpointId, &str, &Small)> {
        let of = |at: u32| (EndpointId(at), Arc::default());
        self.all.range(of(endpoints.start)..of(endpoints.end)).map(|((at, item), small)| (*at, &**item, small))
    }

    fn of_one(&self, at: EndpointId) -> impl Iterator<Item = (&str, &Small)> {
        self.among(at.0..at.0.saturating_add(1)).map(|(_, item, small)| (item, small))
    }

    pub(in crate::shard) fn iter(&self) -> impl Iterator<Item = (EndpointId, Task)> {
        self.all.iter().map(|((at, item), small)| (*at, self.whole(item, small)))
    }

    /// Those of one endpoint, by item.
    pub(in crate::shard) fn of(&self, at: EndpointId) -> impl Iterator<Item = Task> {
        self.of_one(at).map(|(item, small)| self.whole(item, small))
    }

    /// The items of the open ones of some endpoints, by endpoint and item.
    pub(in crate::shard) fn open_of(&self, endpoints: Range<u32>) -> impl Iterator<Item = (EndpointId, &str)> {
        self.among(endpoints).filter(|(.., small)| small.state.is_open()).map(|(at, item, _)| (at, item))
    }

    /// Whether the endpoint posted a result that a scan must confirm or reopen, also one that shows nothing new.
    pub(in crate::shard) fn await_scan(&self, at: EndpointId) -> bool {
        self.of_one(at).any(|(_, small)| small.state.is_open() && small.state != TaskState::Queued && small.blocked.is_none())
    }

    fn whole(&self, item: &str, small: &Small) -> Task {
        Task {
            id: self.ids.text(&small.id),
            item: item.to_owned(),
            baselines: small.wanted.baselines.clone(),
            action: small.wanted.action.clone(),
            state: small.state,
            blocked: small.blocked,
            attempts: small.attempts,
            created_ms: small.created_ms,
            changed_ms: small.changed_ms,
            message: small.message.as_deref().map(str::to_owned),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rule::FixState;

    fn task(id: &str, item: &str, state: TaskState) -> Task {
        let action =
            Action { package: "chrony".into(), state: FixState::Installed, minimum: Some("4.0".into()), scheme: None, patch: None };
        let (baselines, message) = (vec!["base".to_owned()], (state == TaskState::Failed).then(|| "no room".to_owned()));
        let blocked = (state == TaskState::Failed).then_some(Blocked::RetryExhausted);
        Task { id: id.into(), item: item.into(), baselines, action, state, blocked, attempts: 3, created_ms: 1, changed_ms: 2, message }
    }

    fn given() -> [(u32, Task); 5] {
        [
            (2, task("tsk_s_9", "b", TaskState::Queued)),
            (2, task("tsk_s_11", "a", TaskState::Failed)),
            (1, task("tsk_other_4", "b", TaskState::Confirmed)),
            (3, task("tsk_s_12", "b", TaskState::Reported)),
            (2, task("tsk_s_5", "c", TaskState::Withdrawn)),
        ]
    }

    fn counted(tasks: &Tasks) -> [u64; 5] {
        let mut counts = [0; 5];
        tasks.iter().for_each(|(_, task)| counts[task.state as usize] += 1);
        counts
    }

    #[test]
    fn what_is_put_in_comes_out_whole_by_item_and_by_id() {
        let mut tasks = Tasks::new("s");
        given().iter().for_each(|(at, task)| tasks.put(EndpointId(*at), task));
        let mut restored = Tasks::new("s");
        let stored = |take: &mut Take<'_>| {
            given().iter().for_each(|(at, task)| take(EndpointId(*at), task));
            Ok::<_, ()>(())
        };
        assert_eq!(restored.restore(stored), Ok(()));
        for tasks in [&tasks, &restored] {
            for (at, task) in given() {
                assert_eq!(tasks.open(EndpointId(at), &task.item), task.state.is_open().then(|| task.clone()));
                assert_eq!(tasks.is_open(EndpointId(at), &task.item), task.state.is_open());
                assert_eq!(tasks.find(&task.id), Some((EndpointId(at), task)));
            }
            assert_eq!(tasks.of(EndpointId(2)).map(|t| t.item).collect::<Vec<_>>(), ["a", "b", "c"]);
            assert_eq!(tasks.open_of(2..4).collect::<Vec<_>>(), [(EndpointId(2), "a"), (EndpointId(2), "b"), (EndpointId(3), "b")]);
            assert_eq!([1, 2, 3].map(|at| tasks.await_scan(EndpointId(at))), [false, false, true], "one that is spent awaits a person");
            assert_eq!((tasks.find("tsk_s_09"), tasks.open(EndpointId(3), "a"), tasks.open(EndpointId(2), "d")), (None, None, None));
            assert_eq!(tasks.counts(), counted(tasks));
        }
    }

    #[test]
    fn one_that_another_replaces_is_found_no_more() {
        let mut tasks = Tasks::new("s");
        given().iter().for_each(|(at, task)| tasks.put(EndpointId(*at), task));
        let next = task("tsk_s_20", "b", TaskState::Queued);
        tasks.put(EndpointId(1), &next);
        assert_eq!((tasks.find("tsk_other_4"), tasks.find("tsk_s_20")), (None, Some((EndpointId(1), next))));
        assert_eq!((tasks.counts(), tasks.counts()[TaskState::Queued as usize]), (counted(&tasks), 2));
        given().iter().for_each(|(at, task)| tasks.remove(EndpointId(*at), &task.item));
        assert_eq!((tasks.counts(), tasks.all.len(), tasks.by_id.len()), ([0; 5], 0, 0));
    }
}
