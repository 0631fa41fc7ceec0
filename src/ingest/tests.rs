use super::*;
use crate::deploy::TaskState;
use crate::history::trend::Step;
use crate::pack::{Pack, Requirement, compile};
use crate::policy::{Baseline, Policy};
use crate::question::QuestionError;
use crate::question::trends::{Question, trends};
use crate::state::memory::MemoryStore;

const SCAN: &[u8] = br#"{"format":"muster.scan/1","tables":{"sysctl":[{"key":"a","value":"1"}]}}"#;

fn enrolled() -> Shard {
    let empty = Arc::new(Pack::from_bytes(compile(&[], &[])).expect("pack"));
    let mut shard = Shard::load(&mut MemoryStore::default(), Limits::default(), "t", |_| None, empty).expect("load");
    let enroll = Input::Enroll { id: "e".into(), hostname: "e".into(), labels: Default::default(), key_hash: [0; 32] };
    shard.apply(vec![enroll], 1);
    shard
}

#[test]
fn a_body_is_not_recognised_before_it_is_durable() {
    let mut shard = enrolled();
    let hash = BodyHash::of(SCAN);
    let prepared = prepare(&shard, "e", SCAN, hash).expect("prepare");
    let applied = shard.apply(vec![Input::Upload { endpoint: "e".into(), prepared: Box::new(prepared) }], 2);
    let at = shard.fleet.find("e").expect("enrolled");
    assert!(shard.recognise(at, &hash, applied.number - 1, 3).is_none(), "its batch is still being written");
    assert!(shard.recognise(at, &hash, applied.number, 3).is_some_and(|u| !u.changed && u.sequence == 1));
}

#[test]
fn a_failed_write_is_answered_by_nothing_and_ends_the_writer() {
    let store = MemoryStore::default();
    let faults = store.faults.clone();
    let disk = store.reopen();
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let (ingest, writer) = pipeline(enrolled(), Box::new(store), metrics, Arc::default());
    let ingest = Arc::new(ingest);
    let writing = std::thread::spawn(move || writer.run(|| 5));
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let upload = |body: &'static [u8]| runtime.block_on(ingest.upload("e", Encoding::Identity, Bytes::from_static(body), 5));
    faults.lock().expect("faults").full = true;
    assert!(matches!(upload(SCAN), Err(IngestError::Full(_))));
    assert!(ingest.read().fleet.iter().all(|(_, e)| e.held.is_none()), "a refusal changes nothing");
    *faults.lock().expect("faults") = crate::state::memory::Faults { fail_commit_in: Some(1), full: false };
    assert!(upload(SCAN).is_ok_and(|u| u.changed));
    let other = br#"{"format":"muster.scan/1","tables":{"sysctl":[{"key":"a","value":"2"}]}}"#;
    assert!(matches!(upload(other), Err(IngestError::Poisoned)));
    assert!(ingest.is_poisoned());
    assert!(matches!(writing.join().expect("writer"), Err(StoreError::Poisoned(_))));
    assert!(matches!(upload(SCAN), Err(IngestError::Poisoned)), "nothing is answered from memory that is ahead of the disk");
    let mut stored = 0;
    let count = &mut |_: &[u8], _: &[u8]| {
        stored += 1;
        Ok(())
    };
    disk.each(Space::Endpoints, count).expect("read");
    assert_eq!(stored, 1, "what was answered is there");
}

#[test]
fn a_new_pack_is_judged_while_every_thread_waits_for_the_state() {
    let mut shard = enrolled();
    for id in ["f", "g", "h"] {
        let enroll = Input::Enroll { id: id.into(), hostname: id.into(), labels: Default::default(), key_hash: [0; 32] };
        shard.apply(vec![enroll], 1);
        let prepared = prepare(&shard, id, SCAN, BodyHash::of(SCAN)).expect("prepare");
        shard.apply(vec![Input::Upload { endpoint: id.into(), prepared: Box::new(prepared) }], 2);
    }
    let (ingest, writer) = pipeline(shard, Box::new(MemoryStore::default()), Arc::new(Metrics::new().expect("metrics")), Arc::default());
    let ingest = Arc::new(ingest);
    let writing = std::thread::spawn(move || writer.run(|| 5));
    let requirement = crate::pack::Requirement { package: "x".into(), minimum: None };
    let pack = Arc::new(Pack::from_bytes(compile(&[], &[requirement])).expect("pack"));
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let held = ingest.read();
    let swapping = ingest.clone();
    let swapped = runtime.spawn(async move { swapping.submit(Input::Swap { pack, policy: Box::default() }).await });
    let pause = std::time::Duration::from_millis(100);
    std::thread::sleep(pause);
    for _ in 0..rayon::current_num_threads() {
        let waiting = ingest.clone();
        rayon::spawn(move || drop(waiting.read()));
    }
    std::thread::sleep(pause);
    drop(held);
    let swapped = runtime.block_on(async { tokio::time::timeout(std::time::Duration::from_secs(20), swapped).await });
    assert!(matches!(swapped, Ok(Ok(Ok(Reply::Swapped)))), "{swapped:?}");
    drop(ingest);
    writing.join().expect("writer").expect("written");
}

#[test]
fn the_stored_verdicts_are_gone_on_with_only_under_their_pack_and_policy() {
    let mut shard = enrolled();
    let pack = shard.pack.clone();
    assert!(shard.resume(&pack, Policy::default()).is_some(), "nothing was judged yet");
    shard.apply(vec![Input::Swap { pack: pack.clone(), policy: Box::default() }], 2);
    assert!(shard.resume(&pack, Policy::default()).is_none());
    let other = Policy { refuse_again: true, ..Policy::default() };
    assert!(shard.resume(&pack, other.clone()).is_some());
    shard.apply(vec![Input::Swap { pack, policy: Box::new(other) }], 2);
    let again = Input::Enroll { id: "e".into(), hostname: "e".into(), labels: Default::default(), key_hash: [0; 32] };
    let replies = shard.apply(vec![again], 3).replies;
    assert_eq!(replies[0].as_ref().err(), Some(&Refusal::AlreadyEnrolled("e".into())));
}

#[test]
fn a_scan_that_shows_nothing_new_still_answers_a_reported_task() {
    let mut shard = enrolled();
    let requirement = Requirement { package: "chrony".into(), minimum: None };
    let baseline = Baseline { name: "b".into(), group: None, packages: vec![requirement], ..Baseline::default() };
    let policy = Policy { baselines: vec![baseline], ..Policy::default() };
    let pack = Arc::new(Pack::from_bytes(compile(&[], &policy.requirements())).expect("pack"));
    shard.apply(vec![Input::Swap { pack, policy: Box::new(policy) }], 2);
    let scan = br#"{"format":"muster.scan/1","tables":{"os":[{"family":"linux"}],"package":[{"name":"bash","version":"5"}]}}"#;
    let upload = |shard: &mut Shard| {
        let prepared = prepare(shard, "e", scan, BodyHash::of(scan)).expect("prepare");
        let applied = shard.apply(vec![Input::Upload { endpoint: "e".into(), prepared: Box::new(prepared) }], 3);
        applied.replies.into_iter().next().expect("a reply").expect("taken")
    };
    upload(&mut shard);
    let at = shard.fleet.find("e").expect("enrolled");
    let task = shard.tasks_of(at).next().expect("a task").id.clone();
    let report = Input::Report { task: task.clone(), endpoint: "e".into(), ok: false, message: "no network".into() };
    let number = shard.apply(vec![report], 4).number;
    assert!(shard.recognise(at, &BodyHash::of(scan), number, 5).is_none(), "the task waits for the scan");
    assert!(matches!(upload(&mut shard), Reply::Uploaded(u) if !u.changed));
    let (_, after) = shard.task(&task).expect("the task");
    assert_eq!((after.state, after.attempts), (TaskState::Queued, 1));
    assert!(shard.recognise(at, &BodyHash::of(scan), u64::MAX, 6).is_some());
}

#[test]
fn what_meets_the_writer_waits_and_holds_up_no_thread() {
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let (ingest, writer) = pipeline(enrolled(), Box::new(MemoryStore::default()), metrics, Arc::default());
    let ingest = Arc::new(ingest);
    // One thread for everything.
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
    let told = Tell(&writer.applied);
    let applying = writer.shard.write().expect("nobody else has it");
    let of = ingest.clone();
    let looking = runtime.spawn(async move { of.look(|shard| shard.fleet.len()).await });
    runtime.block_on(async {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
    });
    assert!(!looking.is_finished(), "the batch is being applied");
    drop(applying);
    drop(told);
    assert_eq!(runtime.block_on(looking).expect("it looked"), 1);
}

#[test]
fn a_batch_waits_for_uploads_that_are_on_their_way_and_for_nothing_else() {
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let (ingest, mut writer) = pipeline(enrolled(), Box::new(MemoryStore::default()), metrics, Arc::default());
    let job = || Job { input: Input::Tick, answer: oneshot::channel().0 };
    let first = ingest.admit("e", Some(1), 5).expect("a place");
    assert!(ingest.jobs.try_send(job()).is_ok());
    let mut gathered = vec![job()];
    writer.gather_more(&mut gathered);
    assert_eq!(gathered.len(), 1, "the only upload is here, and what else is queued can come with the next batch");
    let second = ingest.admit("f", Some(1), 5).expect("a place");
    writer.gather_more(&mut gathered);
    assert_eq!(gathered.len(), 2);
    drop((first, second));
    assert_eq!(writer.in_flight.load(Ordering::Relaxed), 0);
}

#[test]
fn a_count_of_trends_that_nobody_settles_is_ended_in_moments_in_which_nothing_else_waits() {
    let empty = Arc::new(Pack::from_bytes(compile(&[], &[])).expect("pack"));
    let limits = Limits { trend_counted: 1, ..Limits::default() };
    let mut shard = Shard::load(&mut MemoryStore::default(), limits, "t", |_| None, empty).expect("load");
    for id in ["a", "b", "c"] {
        shard.apply(vec![Input::Enroll { id: id.into(), hostname: id.into(), labels: Default::default(), key_hash: [0; 32] }], 1);
    }
    let metrics = Arc::new(Metrics::new().expect("metrics"));
    let (ingest, writer) = pipeline(shard, Box::new(MemoryStore::default()), metrics, Arc::default());
    let writing = std::thread::spawn(move || writer.run(|| 5));
    let runtime = tokio::runtime::Runtime::new().expect("runtime");
    let hour = Question { group: None, step: Step::Hour, from_ms: None, to_ms: None };
    let told = || trends(&*ingest.read(), &*MemoryStore::default().reader(), &hour, 5).map(|told| told.items.first().map(|i| i.endpoints));
    assert!(matches!(told(), Err(QuestionError::Counting)), "what was not counted is not none");
    assert_eq!(ingest.read().trend_gauges(), None);
    let steps = (0..).take_while(|_| runtime.block_on(ingest.tidy()).expect("a step")).count();
    assert_eq!((steps, ingest.read().trends_are_exact()), (3, true));
    assert!(matches!(told(), Ok(Some(3))));
    assert_eq!(ingest.read().trend_gauges().map(|g| g.endpoints), Some(3));
    drop(ingest);
    writing.join().expect("writer").expect("its end");
}
