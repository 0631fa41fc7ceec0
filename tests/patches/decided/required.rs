//! Patches that mandatory baselines require become tasks, and scans confirm them.

use muster::deploy::{PatchPackage, Task, TaskState};
use muster::policy::Baseline;

use super::*;

fn home(patches: &[&str], lists: &[&str]) -> Home {
    let named = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    let baseline = Baseline { name: "base".into(), patches: named(patches), lists: named(lists), ..Baseline::default() };
    let policy = Policy { baselines: vec![baseline], ..policy() };
    let advisories = vec![
        says("DSA-1", "high", false, &[("openssl", Ok("2")), ("libssl3", Ok("2"))]),
        says("DSA-2", "high", false, &[("bash", Ok("5"))]),
        says("DSA-3", "high", false, &[("linux-image-6.1.0-13-amd64", Ok("6.1.20"))]),
    ];
    let mut home = Home::new(policy, advisories);
    home.enroll("a", &[]);
    home
}

fn tasks(home: &Home) -> Vec<Task> {
    home.daemon.shard.tasks_of(home.daemon.shard.fleet.find("a").unwrap()).collect()
}

fn states(home: &Home) -> Vec<(String, TaskState)> {
    tasks(home).into_iter().map(|t| (t.item, t.state)).collect()
}

fn item(id: &str, state: TaskState) -> (String, TaskState) {
    (format!("patch:{id}"), state)
}

#[test]
fn a_missing_patch_is_a_task_that_names_the_packages_and_a_scan_confirms_it() {
    let mut home = home(&["DSA-1", "DSA-9"], &[]);
    let machine = Machine::linux(&[("openssl", "1"), ("libssl3", "1"), ("bash", "4")]);
    home.upload("a", &machine);
    let task = tasks(&home).remove(0);
    let package = |name: &str| PatchPackage { name: name.into(), minimum: Some("2".into()), scheme: Some(Scheme::Dpkg) };
    let action = task.action.patch.clone().unwrap();
    assert_eq!((action.id.as_str(), action.packages, action.kbs.len()), ("DSA-1", vec![package("libssl3"), package("openssl")], 0));
    assert_eq!((task.state, task.baselines), (TaskState::Queued, vec!["base".to_owned()]));
    home.restart();
    assert_eq!(states(&home), [item("DSA-1", TaskState::Queued)]);
    home.attempt(Input::Report { task: task.id, endpoint: "a".into(), ok: true, message: "done".into() }).unwrap();
    home.upload("a", &machine.clone().with("openssl", "2"));
    assert_eq!(states(&home), [item("DSA-1", TaskState::Queued)], "half of it is not done");
    home.upload("a", &machine.with("openssl", "2").with("libssl3", "2"));
    assert_eq!(states(&home), [item("DSA-1", TaskState::Confirmed)]);
}

#[test]
fn a_task_for_what_is_gone_is_withdrawn_and_not_confirmed() {
    let mut home = home(&["DSA-1"], &[]);
    home.upload("a", &Machine::linux(&[("openssl", "1")]));
    home.upload("a", &Machine::default());
    assert_eq!(states(&home), [item("DSA-1", TaskState::Queued)], "not collected is not done");
    home.upload("a", &Machine::linux(&[("bash", "4")]));
    assert_eq!(states(&home), [item("DSA-1", TaskState::Withdrawn)]);
}

#[test]
fn an_edited_list_changes_at_once_what_is_required() {
    let mut home = home(&[], &["october"]);
    home.upload("a", &Machine::linux(&[("openssl", "1"), ("bash", "4")]));
    assert!(tasks(&home).is_empty(), "there is no such list yet");
    home.attempt(Input::KeepList(list("october", 1, &["DSA-1"]))).unwrap();
    assert_eq!(states(&home), [item("DSA-1", TaskState::Queued)]);
    home.attempt(Input::KeepList(list("october", 2, &["DSA-2"]))).unwrap();
    assert_eq!(states(&home), [item("DSA-1", TaskState::Withdrawn), item("DSA-2", TaskState::Queued)]);
    home.restart();
    home.attempt(Input::KeepList(list("october", 3, &[]))).unwrap();
    assert_eq!(states(&home)[1], item("DSA-2", TaskState::Withdrawn));
}

#[test]
fn an_exemption_and_a_withdrawn_advisory_withdraw_the_task() {
    let mut home = home(&["DSA-1", "DSA-2"], &[]);
    home.upload("a", &Machine::linux(&[("openssl", "1"), ("bash", "4")]));
    let e = home.exempt(Scope::Everywhere, &["DSA-2"], None);
    assert_eq!(states(&home)[1], item("DSA-2", TaskState::Withdrawn));
    home.attempt(Input::EndExemption { id: e.id, by: "me".into() }).unwrap();
    assert_eq!(states(&home)[1], item("DSA-2", TaskState::Queued));
    home.swap(vec![says("DSA-2", "high", false, &[("bash", Ok("5"))])], news(&[], &[], &["DSA-1"]));
    assert_eq!(states(&home), [item("DSA-1", TaskState::Withdrawn), item("DSA-2", TaskState::Queued)]);
}

#[test]
fn a_new_kernel_is_brought_by_the_package_that_follows_kernels() {
    let mut home = home(&["DSA-3"], &[]);
    home.upload("a", &Machine::linux(&[("linux-image-6.1.0-13-amd64", "6.1.10"), ("linux-image-amd64", "6.1.10")]));
    let action = tasks(&home).remove(0).action.patch.unwrap();
    assert_eq!(action.packages, [PatchPackage { name: "linux-image-amd64".into(), minimum: None, scheme: None }]);
}

#[test]
fn an_update_of_windows_is_named_by_its_number() {
    let mut home = home(&["KB5000001"], &[]);
    home.swap(vec![update_of_windows("kb5000001", "Windows Server 2022")], news(&["KB5000001"], &[], &[]));
    let mut windows = Machine { windows: true, hotfixes: Some(BTreeSet::new()), ..Machine::default() };
    home.upload("a", &windows);
    assert_eq!(tasks(&home).remove(0).action.patch.unwrap().kbs, ["KB5000001"]);
    windows.hotfixes = Some(BTreeSet::from(["kb5000001".to_owned()]));
    home.upload("a", &windows);
    assert_eq!(states(&home), [item("KB5000001", TaskState::Confirmed)]);
}
