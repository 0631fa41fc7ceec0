//! Deployment tasks of endpoints: one an item, stepped by [`crate::deploy::step`].

use std::sync::Arc;

use serde_json::json;

use super::{Applied, Of, Refusal, Reply, Shard};
use crate::deploy::{self, Action, Change, Observation, Task, TaskState};
use crate::fleet::EndpointId;
use crate::state::{Space, pair_key};

impl Shard {
    /// All tasks, by endpoint and item.
    pub fn tasks(&self) -> impl Iterator<Item = (EndpointId, &Task)> {
        self.tasks.iter().map(|((e, _), t)| (*e, t))
    }

    /// Tasks of one endpoint, by item.
    pub fn tasks_of(&self, at: EndpointId) -> impl Iterator<Item = &Task> {
        let from = (at, Arc::default());
        self.tasks.range(from..).take_while(move |((e, _), _)| *e == at).map(|(_, t)| t)
    }

    pub fn open_tasks(&self, at: EndpointId) -> impl Iterator<Item = &Task> {
        self.tasks_of(at).filter(|t| t.state.is_open())
    }

    pub(super) fn has_open_task(&self, at: EndpointId, item: &str) -> bool {
        self.tasks.get(&(at, item.into())).is_some_and(|task| task.state.is_open())
    }

    /// Open tasks of some endpoints, by endpoint and item.
    pub fn open_tasks_of(&self, endpoints: std::ops::Range<u32>) -> impl Iterator<Item = (EndpointId, &Task)> {
        let of = |at: u32| (EndpointId(at), Arc::default());
        let range = self.tasks.range(of(endpoints.start)..of(endpoints.end));
        range.filter(|(_, task)| task.state.is_open()).map(|((at, _), task)| (*at, task))
    }

    /// Whether the endpoint posted a result that a scan must confirm or reopen, also one that shows nothing new.
    pub(super) fn awaits_scan(&self, at: EndpointId) -> bool {
        self.open_tasks(at).any(|t| t.state != TaskState::Queued && t.blocked.is_none())
    }

    pub fn task(&self, id: &str) -> Option<(EndpointId, &Task)> {
        let of = self.task_ids.get(id)?;
        Some((of.0, self.tasks.get(of)?))
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
        let (of, before) = self.task(task).filter(|(of, _)| *of == at).map(|(of, t)| (of, t.clone())).ok_or_else(unknown)?;
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
        let before = self.tasks.get(&(at, item.into()));
        let new = || Task {
            id: format!("tsk_{}_{}", self.store_id, self.next_seq),
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
        if let Some((task, change)) = deploy::step(before, seen, now_ms, new) {
            self.keep_task(at, id, task, change, now_ms, out);
        }
    }

    /// Withdraws the open tasks of an endpoint for items that are not wanted any more.
    pub(super) fn withdraw(&mut self, at: EndpointId, id: &str, wanted: impl Fn(&str) -> bool, now_ms: i64, out: &mut Applied) {
        let gone: Vec<Task> = self.open_tasks(at).filter(|t| !wanted(&t.item)).cloned().collect();
        for before in gone {
            if let Some((task, change)) = deploy::step(Some(&before), &Observation::NotRequired, now_ms, || before.clone()) {
                self.keep_task(at, id, task, change, now_ms, out);
            }
        }
    }

    /// The endpoint is going: its tasks are withdrawn and forgotten.
    pub(super) fn withdraw_all(&mut self, at: EndpointId, id: &str, now_ms: i64, out: &mut Applied) {
        self.withdraw(at, id, |_| false, now_ms, out);
        let all: Vec<Task> = self.tasks_of(at).cloned().collect();
        for task in all {
            self.task_ids.remove(&task.id);
            self.tasks.remove(&(at, task.item.as_str().into()));
            out.batch.delete(Space::Tasks, pair_key(id, task.item.as_bytes()));
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
        self.restore_task(at, task);
    }

    pub(super) fn restore_task(&mut self, at: EndpointId, task: Task) {
        let of: Of = (at, task.item.as_str().into());
        self.task_ids.insert(task.id.clone(), of.clone());
        if let Some(replaced) = self.tasks.insert(of, task.clone())
            && replaced.id != task.id
        {
            self.task_ids.remove(&replaced.id);
        }
    }
}
