//! When which machine sends what. Pure: `load + seed -> sends in the order of their times`, the same every time.

use std::collections::BTreeMap;
use std::time::Duration;

use muster::simulate::Random;

/// What load.
#[derive(Clone, Debug)]
pub(super) struct Load {
    /// Machines, from the first number on.
    pub(super) first: u32,
    pub(super) endpoints: u32,
    /// Sends a second.
    pub(super) rate: f64,
    pub(super) duration: Duration,
    pub(super) seed: u64,
    /// Of a thousand uploads, how many bring something new; and of those, how many only the tables that changed.
    pub(super) changed: u32,
    pub(super) delta: u32,
    /// When nobody can send: what was due meanwhile comes at its end.
    pub(super) outage: Option<(Duration, Duration)>,
    /// Machines have sent their first scan already.
    pub(super) warm: bool,
}

/// What a machine sends of the scan of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Whole,
    /// The whole scan of the step that it sent before.
    Again,
    /// The tables that changed since a step.
    Delta {
        since: u32,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Due {
    /// Since the beginning.
    pub(super) at: Duration,
    pub(super) number: u32,
    pub(super) step: u32,
    pub(super) what: What,
    /// It was due in the outage.
    pub(super) herd: bool,
}

/// The sends of a load.
pub(super) struct Plan {
    load: Load,
    random: Random,
    at: f64,
    /// Regular sends so far.
    sent: u64,
    /// Machines that could not send, with the first round that they missed and the last.
    missed: BTreeMap<u32, (u32, u32)>,
    outage: Option<(Duration, Duration)>,
    /// The herd in its order, and the send that comes after it.
    herd: Vec<Due>,
    next: Option<Due>,
}

/// Steps through machines in an order that seems random and meets each once: a step that shares no factor with their number.
fn stride(endpoints: u64) -> u64 {
    let coprime = |n: u64| {
        let (mut a, mut b) = (n, endpoints);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a == 1
    };
    let from = endpoints * 618 / 1000;
    (from.max(1)..).find(|n| coprime(*n)).unwrap_or(1)
}

impl Plan {
    pub(super) fn new(load: Load) -> Plan {
        let random = Random::new(load.seed ^ 0x10ad);
        let outage = load.outage.map(|(at, length)| (at, at + length));
        Plan { load, random, at: 0.0, sent: 0, missed: BTreeMap::new(), outage, herd: Vec::new(), next: None }
    }

    /// The step that a machine is at in a round: as many changes as its share of the rounds.
    fn step(&self, number: u32, round: u32) -> u32 {
        let phase = Random::new(self.load.seed ^ u64::from(number) << 8).draw() % 1000;
        let step = (u64::from(round) * u64::from(self.load.changed) + phase) / 1000;
        u32::try_from(step).unwrap_or(u32::MAX)
    }

    fn due(&self, at: Duration, number: u32, (before, round): (Option<u32>, u32), herd: bool) -> Due {
        let step = self.step(number, round);
        let what = match before.map(|round| self.step(number, round)) {
            None => What::Whole,
            Some(since) if since == step => What::Again,
            Some(since) => {
                let mixed = Random::new(self.load.seed ^ 0xde17a ^ u64::from(number) << 24 ^ u64::from(step)).draw();
                if mixed % 1000 < u64::from(self.load.delta) { What::Delta { since } } else { What::Whole }
            }
        };
        Due { at, number, step, what, herd }
    }

    /// The next time that some machine would send: after an exponential gap, as when many send by their own clocks.
    fn regular(&mut self) -> Option<(Duration, u32, u32)> {
        let uniform = f64::from(u32::try_from(self.random.draw() >> 32).unwrap_or(0)) / (f64::from(u32::MAX) + 1.0);
        self.at -= (1.0 - uniform).ln() / self.load.rate;
        let at = Duration::try_from_secs_f64(self.at).ok().filter(|at| *at < self.load.duration)?;
        let endpoints = u64::from(self.load.endpoints).max(1);
        let place = (self.sent % endpoints) * stride(endpoints) % endpoints;
        let round = u32::try_from(self.sent / endpoints).unwrap_or(u32::MAX) + u32::from(self.load.warm);
        self.sent += 1;
        Some((at, self.load.first + u32::try_from(place).unwrap_or(0), round))
    }

    /// Everybody who could not send comes as soon as they can.
    fn end_outage(&mut self) {
        let Some((_, end)) = self.outage.take() else { return };
        let missed = std::mem::take(&mut self.missed);
        let due = |(number, (first, last)): (u32, (u32, u32))| self.due(end, number, (first.checked_sub(1), last), true);
        let mut herd: Vec<Due> = missed.into_iter().map(due).collect();
        // Not in the order of their numbers; taken from the end.
        herd.sort_by_key(|d| (Random::new(self.load.seed ^ 0x4e4d ^ u64::from(d.number)).draw(), d.number));
        self.herd = herd;
    }
}

impl Iterator for Plan {
    type Item = Due;

    fn next(&mut self) -> Option<Due> {
        loop {
            if let Some(due) = self.herd.pop().or_else(|| self.next.take()) {
                return Some(due);
            }
            let Some((at, number, round)) = self.regular() else {
                // An outage that outlasts the load ends with it.
                self.end_outage();
                return self.herd.pop();
            };
            match self.outage {
                Some((from, to)) if at >= from && at < to => {
                    self.missed.entry(number).or_insert((round, round)).1 = round;
                    continue;
                }
                Some((_, to)) if at >= to => self.end_outage(),
                _ => {}
            }
            self.next = Some(self.due(at, number, (round.checked_sub(1), round), false));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load() -> Load {
        Load {
            first: 0,
            endpoints: 50,
            rate: 100.0,
            duration: Duration::from_secs(20),
            seed: 3,
            changed: 300,
            delta: 500,
            outage: None,
            warm: false,
        }
    }

    #[test]
    fn everybody_sends_as_often_as_asked_and_changes_as_much() {
        let dues: Vec<Due> = Plan::new(load()).collect();
        assert_eq!(dues, Plan::new(load()).collect::<Vec<_>>());
        assert!((1800..2200).contains(&dues.len()), "{}", dues.len());
        assert!(dues.is_sorted_by_key(|d| d.at));
        let mut last: BTreeMap<u32, u32> = BTreeMap::new();
        let (mut changed, mut delta, mut again) = (0, 0, 0);
        for due in &dues {
            match due.what {
                What::Again => {
                    again += 1;
                    assert_eq!(last.get(&due.number), Some(&due.step));
                }
                What::Delta { since } => {
                    delta += 1;
                    changed += 1;
                    assert_eq!(last.get(&due.number), Some(&since));
                }
                What::Whole => changed += u32::from(last.contains_key(&due.number)),
            }
            last.insert(due.number, due.step);
        }
        assert_eq!(last.len(), 50);
        assert!((250..350).contains(&(changed * 1000 / (changed + again))), "{changed} {again}");
        assert!((400..600).contains(&(delta * 1000 / changed)), "{delta} {changed}");
    }

    #[test]
    fn an_outage_is_followed_by_everybody_at_once() {
        let outage = Some((Duration::from_secs(5), Duration::from_secs(3)));
        let dues: Vec<Due> = Plan::new(Load { outage, ..load() }).collect();
        assert!(dues.is_sorted_by_key(|d| d.at));
        assert!(!dues.iter().any(|d| d.at >= Duration::from_secs(5) && d.at < Duration::from_secs(8)));
        let herd: Vec<&Due> = dues.iter().filter(|d| d.herd).collect();
        assert_eq!(herd.len(), 50, "each once");
        assert!(herd.iter().all(|d| d.at == Duration::from_secs(8)));
        let mut last: BTreeMap<u32, u32> = BTreeMap::new();
        for due in &dues {
            if let What::Delta { since } = due.what {
                assert_eq!(last.get(&due.number), Some(&since), "what it changes was sent");
            }
            last.insert(due.number, due.step);
        }
        let whole = Plan::new(Load { outage: Some((Duration::from_secs(15), Duration::from_secs(60))), ..load() });
        assert!(whole.last().is_some_and(|d| d.herd && d.at == Duration::from_secs(75)));
    }
}
