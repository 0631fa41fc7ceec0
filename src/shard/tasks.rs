//! Deployment tasks of endpoints: one an item, stepped by [`crate::deploy::step`].

pub(super) mod kept;

use serde_json::json;

use super::{Applied, Refusal, Reply, Shard};
use crate::deploy::{self, Action, Change, Observation, Task, TaskState};
use crate::fleet::EndpointId;
use crate::state::{Space, pair_key};

impl Shard {
    /// All tasks, by endpoint and item.
    pub fn tasks(&self) -> impl Iterator<Item = (EndpointId, Task)> {
        self.tasks.iter()
    }

    /// How many are in each state, in the order of [`TaskState::ALL`].
    pub fn task_counts(&self) -> [u64; TaskState::ALL.len()] {
        self.tasks.counts()
    }

    /// Tasks of one endpoint, by item.
    pub fn tasks_of(&self, at: EndpointId) -> impl Iterator<Item = Task> {
        self.tasks.of(at)
    }

    /// The items of the open tasks of one endpoint, in their order.
    pub fn open_tasks(&self, at: EndpointId) -> impl Iterator<Item = &str> {
        self.open_tasks_of(at.0..at.0.saturating_add(1)).map(|(_, item)| item)
    }

    /// Those of some endpoints, by endpoint and item.
    pub fn open_tasks_of(&self, endpoints: std::ops::Range<u32>) -> impl Iterator<Item = (EndpointId, &str)> {
        self.tasks.open_of(endpoints)
    }

    pub fn task(&self, id: &str) -> Option<(EndpointId, Task)> {
        self.tasks.find(id)
    }

    pub(super) fn report(
        &mut self,
        task: &str,
        endpoint: &str,
        ok: bool,
        message: &str,
        now_ms: i64,
        out: &mut Applied,
    ) -> Result<Reply, Refusal> {
        let unknown = || Refusal::UnknownTask(task.to_owned());
        let at = self.fleet.find(endpoint).ok_or_else(|| Refusal::UnknownEndpoint(endpoint.to_owned()))?;
        let (of, before) = self.task(task).filter(|(of, _)| *of == at).ok_or_else(unknown)?;
        let seen = Observation::Report { ok, message };
        let Some((after, change)) = deploy::step(Some(&before), &seen, now_ms, || before.clone()) else {
            return Ok(Reply::Reported(Box::new(before)));
        };
        self.keep_task(of, endpoint, after.clone(), change, now_ms, out);
        Ok(Reply::Reported(Box::new(after)))
    }

    #[expect(clippy::too_many_arguments, reason = "what is required, what was seen, and where the changes go")]
    pub(super) fn step_task(
        &mut self,
        at: EndpointId,
        id: &str,
        item: &str,
        action: impl FnOnce(&Shard) -> Action,
        baselines: &[String],
        seen: &Observation<'_>,
        now_ms: i64,
        out: &mut Applied,
    ) {
        let before = self.tasks.open(at, item);
        let new = || Task {
            id: self.tasks.id(self.next_seq),
            item: item.to_owned(),
            baselines: baselines.to_vec(),
            action: action(self),
            state: TaskState::Queued,
            blocked: None,
            attempts: 0,
            created_ms: now_ms,
            changed_ms: now_ms,
            message: None,
        };
        if let Some((task, change)) = deploy::step(before.as_ref(), seen, now_ms, new) {
            self.keep_task(at, id, task, change, now_ms, out);
        }
    }

    /// Withdraws the open tasks of an endpoint for items that are not wanted any more.
    pub(super) fn withdraw(&mut self, at: EndpointId, id: &str, wanted: impl Fn(&str) -> bool, now_ms: i64, out: &mut Applied) {
        let gone: Vec<Task> = self.open_tasks(at).filter(|item| !wanted(item)).filter_map(|item| self.tasks.open(at, item)).collect();
        for before in gone {
            if let Some((task, change)) = deploy::step(Some(&before), &Observation::NotRequired, now_ms, || before.clone()) {
                self.keep_task(at, id, task, change, now_ms, out);
            }
        }
    }

    /// The endpoint is going: its tasks are withdrawn and forgotten.
    pub(super) fn withdraw_all(&mut self, at: EndpointId, id: &str, now_ms: i64, out: &mut Applied) {
        self.withdraw(at, id, |_| false, now_ms, out);
        let all: Vec<String> = self.tasks_of(at).map(|task| task.item).collect();
        for item in all {
            self.tasks.remove(at, &item);
            out.batch.delete(Space::Tasks, pair_key(id, item.as_bytes()));
        }
    }

    fn keep_task(&mut self, at: EndpointId, id: &str, task: Task, change: Change, now_ms: i64, out: &mut Applied) {
        match change {
            Change::Queued => self.totals.tasks_queued += 1,
            Change::Confirmed => self.totals.tasks_confirmed += 1,
            Change::Reported | Change::Reopened | Change::Withdrawn => {}
        }
        self.event(change.event(), Some(id), json!({"task": task.shown()}), now_ms, true, out);
        out.batch.put_record(Space::Tasks, pair_key(id, task.item.as_bytes()), &task);
        self.tasks.put(at, &task);
    }
}
