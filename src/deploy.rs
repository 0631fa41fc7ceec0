//! Mandatory baselines: what an endpoint must have and lacks becomes a task. `step(task, observation, now) -> task, change`; pure.
//!
//! Done is not what the agent says but what the next scan shows. INVARIANT: an endpoint has at most one open task an item.

use serde::{Deserialize, Serialize};

use crate::judge::Verdict;
use crate::rule::{Fix, FixState};

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TaskState {
    /// Waits for the endpoint to fetch and carry it out.
    Queued,
    /// The endpoint says that it did; the next scan decides.
    Reported,
    /// The endpoint says that it failed; it is queued again by the next scan, until the attempts are spent.
    Failed,
    /// A scan showed it done.
    Confirmed,
    /// Nobody requires it any more.
    Withdrawn,
}

impl TaskState {
    pub const ALL: [TaskState; 5] = [TaskState::Queued, TaskState::Reported, TaskState::Failed, TaskState::Confirmed, TaskState::Withdrawn];

    pub fn name(self) -> &'static str {
        match self {
            TaskState::Queued => "queued",
            TaskState::Reported => "reported",
            TaskState::Failed => "failed",
            TaskState::Confirmed => "confirmed",
            TaskState::Withdrawn => "withdrawn",
        }
    }

    pub fn is_open(self) -> bool {
        matches!(self, TaskState::Queued | TaskState::Reported | TaskState::Failed)
    }
}

/// What keeps an open task from being carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Blocked {
    RetryExhausted,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub id: String,
    /// The rule or requirement that the endpoint must satisfy.
    pub item: String,
    /// The baselines that require it.
    pub baselines: Vec<String>,
    pub action: Action,
    pub state: TaskState,
    pub blocked: Option<Blocked>,
    /// Times that it was reported done or failed and the scan did not show it.
    pub attempts: u32,
    pub created_ms: i64,
    pub changed_ms: i64,
    /// What the endpoint said last.
    pub message: Option<String>,
}

impl Task {
    /// As people and other programs see it, in the API and in events.
    pub fn shown(&self) -> serde_json::Value {
        let time = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap_or_default();
        serde_json::json!({
            "id": self.id,
            "item": self.item,
            "baselines": self.baselines,
            "action": self.action,
            "state": self.state,
            "blocked": self.blocked,
            "attempts": self.attempts,
            "created_at": time(self.created_ms),
            "changed_at": time(self.changed_ms),
            "message": self.message,
        })
    }
}

/// What an endpoint is asked to do.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Action {
    pub package: String,
    pub state: FixState,
    /// At least this version, in the order of the scheme.
    pub minimum: Option<String>,
    pub scheme: Option<crate::version::Scheme>,
    /// A patch in the place of a package, whose name is empty then.
    #[serde(default)]
    pub patch: Option<PatchAction>,
}

/// What a patch comes to at one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PatchAction {
    pub id: String,
    /// Installed packages to upgrade.
    pub packages: Vec<PatchPackage>,
    /// Windows updates to install.
    pub kbs: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PatchPackage {
    pub name: String,
    /// At least this version has the fix: of the package, or of the source package that the vendor names.
    pub minimum: Option<String>,
    pub scheme: Option<crate::version::Scheme>,
}

impl Action {
    pub fn of_patch(patch: PatchAction) -> Action {
        Action { package: String::new(), state: FixState::Installed, minimum: None, scheme: None, patch: Some(patch) }
    }
}

impl From<&Fix> for Action {
    fn from(fix: &Fix) -> Action {
        Action { package: fix.package.clone(), state: fix.state, minimum: None, scheme: None, patch: None }
    }
}

#[derive(Clone, Debug)]
pub enum Observation<'o> {
    /// A scan was judged: the verdict of the item.
    Scan { verdict: Verdict },
    /// The endpoint posted a result.
    Report { ok: bool, message: &'o str },
    /// The item left the endpoint's baselines.
    NotRequired,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    Queued,
    Reported,
    Confirmed,
    Reopened,
    Withdrawn,
}

impl Change {
    pub fn event(self) -> &'static str {
        match self {
            Change::Queued => "task.queued",
            Change::Reported => "task.reported",
            Change::Confirmed => "task.confirmed",
            Change::Reopened => "task.reopened",
            Change::Withdrawn => "task.withdrawn",
        }
    }
}

/// Attempts after which a person must look.
pub const ATTEMPTS_MAX: u32 = 5;

/// The task after an observation and what changed, or `None` when nothing did. `new` makes the task that an endpoint without an
/// open one gets.
pub fn step(task: Option<&Task>, seen: &Observation<'_>, now_ms: i64, new: impl FnOnce() -> Task) -> Option<(Task, Change)> {
    let open = task.filter(|t| t.state.is_open());
    let changed = |t: &Task, state| Task { state, changed_ms: now_ms, blocked: None, ..t.clone() };
    match (open, seen) {
        (None, Observation::Scan { verdict: Verdict::Fail }) => Some((new(), Change::Queued)),
        (None, _) => None,
        (Some(t), Observation::Scan { verdict: Verdict::Fail }) => {
            if t.state == TaskState::Queued || t.blocked.is_some() {
                return None;
            }
            let attempts = t.attempts + 1;
            if attempts >= ATTEMPTS_MAX {
                let spent = Task { attempts, blocked: Some(Blocked::RetryExhausted), ..changed(t, TaskState::Failed) };
                return Some((spent, Change::Reported));
            }
            Some((Task { attempts, ..changed(t, TaskState::Queued) }, Change::Reopened))
        }
        (Some(t), Observation::Scan { verdict: Verdict::Pass }) => Some((changed(t, TaskState::Confirmed), Change::Confirmed)),
        (Some(t), Observation::Scan { verdict: Verdict::NotApplicable } | Observation::NotRequired) => {
            Some((changed(t, TaskState::Withdrawn), Change::Withdrawn))
        }
        // Not collected is not done.
        (Some(_), Observation::Scan { .. }) => None,
        (Some(t), Observation::Report { ok, message }) => {
            let state = if *ok { TaskState::Reported } else { TaskState::Failed };
            if t.state == state && t.message.as_deref() == Some(*message) {
                return None;
            }
            let blocked = t.blocked;
            Some((Task { message: Some((*message).to_owned()), blocked, ..changed(t, state) }, Change::Reported))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn new() -> Task {
        Task {
            id: "t1".into(),
            item: "package:chrony".into(),
            baselines: vec!["base".into()],
            action: Action { package: "chrony".into(), state: FixState::Installed, minimum: None, scheme: None, patch: None },
            state: TaskState::Queued,
            blocked: None,
            attempts: 0,
            created_ms: 1,
            changed_ms: 1,
            message: None,
        }
    }

    fn scan(verdict: Verdict) -> Observation<'static> {
        Observation::Scan { verdict }
    }

    #[test]
    fn a_task_is_confirmed_or_reopened_by_a_scan_and_never_doubled() {
        let (t, change) = step(None, &scan(Verdict::Fail), 1, new).expect("queued");
        assert_eq!(change, Change::Queued);
        assert!(step(Some(&t), &scan(Verdict::Fail), 2, new).is_none());
        assert!(step(Some(&t), &scan(Verdict::NotChecked), 2, new).is_none());
        let (t, change) = step(Some(&t), &Observation::Report { ok: true, message: "done" }, 3, new).expect("reported");
        assert_eq!((change, t.state), (Change::Reported, TaskState::Reported));
        let (t, change) = step(Some(&t), &scan(Verdict::Fail), 4, new).expect("reopened");
        assert_eq!((change, t.state, t.attempts, t.id.as_str()), (Change::Reopened, TaskState::Queued, 1, "t1"));
        let (t, change) = step(Some(&t), &scan(Verdict::Pass), 5, new).expect("confirmed");
        assert_eq!((change, t.state), (Change::Confirmed, TaskState::Confirmed));
        assert!(step(Some(&t), &scan(Verdict::Pass), 6, new).is_none());
        assert!(step(Some(&t), &Observation::NotRequired, 6, new).is_none());
        assert!(step(Some(&t), &scan(Verdict::Fail), 7, new).is_some());
    }

    #[test]
    fn attempts_end() {
        let mut t = new();
        for attempt in 1..ATTEMPTS_MAX {
            (t, _) = step(Some(&t), &Observation::Report { ok: false, message: "no" }, 1, new).expect("report");
            (t, _) = step(Some(&t), &scan(Verdict::Fail), 1, new).expect("again");
            assert_eq!((t.state, t.attempts), (TaskState::Queued, attempt));
        }
        (t, _) = step(Some(&t), &Observation::Report { ok: false, message: "no" }, 1, new).expect("report");
        (t, _) = step(Some(&t), &scan(Verdict::Fail), 1, new).expect("spent");
        assert_eq!((t.state, t.blocked), (TaskState::Failed, Some(Blocked::RetryExhausted)));
        assert!(step(Some(&t), &scan(Verdict::Fail), 2, new).is_none());
        assert!(step(Some(&t), &scan(Verdict::Pass), 2, new).is_some());
    }
}
