//! A big believable fleet: golden images at patch levels, machines that lag behind them, deviate and drift on, patch waves, stragglers, restarts.
//!
//! `options + number of a machine + step -> its facts`, without any other machine and without the steps between. A step is one change of a
//! machine: who wants uploads that bring nothing new sends the same step again.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use super::packages::{extra, table};
use super::profile::{Image, Line, Lines, Profile};
use super::{below, mix, permille, settings};
use crate::scan::digest::Digest;
use crate::scan::table::TableId;

/// What kind of fleet.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    pub seed: u64,
    /// Golden images; the first ones have the most machines.
    pub images: usize,
    /// Patch levels that machines are at when time begins.
    pub levels: u32,
    /// By how many rows a machine deviates from its image at its level, on average: those that it has beside it and those that it lacks.
    pub deviation: f64,
    /// How many of a hundred machines have a row that no other one has.
    pub own: u64,
    /// Steps from one patch wave to the next.
    pub wave: u32,
}

impl Default for Options {
    fn default() -> Options {
        Options { seed: 1, images: 24, levels: 25, deviation: 10.0, own: 10, wave: 24 }
    }
}

/// Rows that one deviation is, on average.
const ROWS_A_DEVIATION: f64 = 1.6;
/// A machine gets one more deviation every so many steps, and at most so many times those that it began with.
const DRIFT_STEPS: u32 = 16;
const DRIFT_MAX: u32 = 3;
/// Machines of a thousand that take one wave in three, and those whose agent may not see who listens.
const STRAGGLERS: u64 = 30;
const BLIND: u64 = 10;

/// The fleet, with what its machines share kept once made.
#[derive(Debug)]
pub struct Fleet {
    options: Options,
    lines: Lines,
    images: Vec<OnceLock<Arc<Image>>>,
    profiles: RwLock<HashMap<(usize, u32), Arc<Profile>>>,
    /// How many machines of a million the images up to each have.
    shares: Vec<u64>,
}

/// A machine at a step, before its rows are looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    pub image: usize,
    /// The patch level of what is installed, and of the kernel that runs.
    pub level: u32,
    pub running: u32,
}

/// What a machine has at a step: what its image has at its level, and how it deviates.
#[derive(Clone, Debug)]
pub struct Facts {
    pub(super) profile: Arc<Profile>,
    /// Places of the profile whose rows it has not, sorted.
    pub(super) gone: Vec<u32>,
    /// Rows that it has beside, sorted.
    pub(super) more: Vec<Arc<Line>>,
    /// A table that could not be collected.
    pub(super) failed: Option<TableId>,
    pub(super) number: u32,
    pub(super) step: u32,
}

impl Fleet {
    pub fn new(options: Options) -> Fleet {
        let options = Options { images: options.images.max(1), levels: options.levels.max(1), wave: options.wave.max(1), ..options };
        let whole: f64 = (1..=options.images).map(weight).sum();
        let mut sum = 0.0;
        let share = |n| {
            sum += weight(n) / whole;
            millionths(sum)
        };
        let shares = (1..=options.images).map(share).collect();
        let images = (0..options.images).map(|_| OnceLock::new()).collect();
        Fleet { options, lines: Lines::new(options.seed), images, profiles: RwLock::default(), shares }
    }

    pub fn options(&self) -> &Options {
        &self.options
    }

    fn draw(&self, what: u64, number: u32, more: u64) -> u64 {
        mix(&[self.options.seed, what, u64::from(number), more])
    }

    fn image(&self, image: usize) -> Arc<Image> {
        let make = || Arc::new(Image::new(self.options.seed, image, &self.lines.spots));
        self.images.get(image).map_or_else(make, |kept| kept.get_or_init(make).clone())
    }

    fn profile(&self, image: usize, level: u32) -> Arc<Profile> {
        if let Some(known) = self.profiles.read().unwrap_or_else(PoisonError::into_inner).get(&(image, level)) {
            return known.clone();
        }
        let made = Arc::new(self.lines.profile(&self.image(image), level));
        self.profiles.write().unwrap_or_else(PoisonError::into_inner).entry((image, level)).or_insert(made).clone()
    }

    /// Where a machine stands at a step.
    pub fn standing(&self, number: u32, step: u32) -> Standing {
        let share = self.draw(0x13a6e, number, 0) % 1_000_000;
        let image = self.shares.partition_point(|upto| *upto <= share).min(self.options.images - 1);
        let level = self.level(number, step);
        let every = 5 + u32::try_from(below(self.draw(0x4eb007, number, 0), 40)).unwrap_or(0);
        let since = (step + u32::try_from(below(self.draw(0x4eb007, number, 1), 45)).unwrap_or(0)) % every;
        Standing { image, level, running: self.level(number, step.saturating_sub(since)) }
    }

    /// Most machines are at the newest level or a few behind, and take a wave within its time; stragglers take one in three.
    fn level(&self, number: u32, step: u32) -> u32 {
        let Options { levels, wave, .. } = self.options;
        let straggler = permille(self.draw(0x1a6, number, 0), STRAGGLERS);
        let behind = if straggler {
            u32::try_from(below(self.draw(0x1a6, number, 1), levels as usize)).unwrap_or(0)
        } else {
            (0..levels - 1).take_while(|n| permille(self.draw(0x1a6, number, 2 + u64::from(*n)), 550)).count().try_into().unwrap_or(0)
        };
        let waves = step / wave;
        // The pilots at once, the most in the first half of the time, the last ones at its end.
        let delay = match self.draw(0xde1a7, number, u64::from(waves)) % 100 {
            0..8 => 0,
            late @ 8..85 => wave * u32::try_from(late).unwrap_or(0) / 200,
            late => wave * u32::try_from(late).unwrap_or(0) / 100,
        };
        let taken = waves - u32::from(waves > 0 && step % wave < delay);
        levels - 1 - behind.min(levels - 1) + if straggler { taken / 3 } else { taken }
    }

    /// Everything that a machine has at a step.
    pub fn facts(&self, number: u32, step: u32) -> Facts {
        let standing = self.standing(number, step);
        let (image, profile) = (self.image(standing.image), self.profile(standing.image, standing.level));
        let mut own = Deviations { profile: &profile, gone: BTreeMap::new(), more: Vec::new() };
        own.more.push(Arc::new(Line::of(&settings::os(image.release, standing.running, standing.level))));
        if self.draw(0x0e4, number, 0) % 100 < self.options.own {
            own.more.push(Arc::new(Line::of(&settings::own(number))));
        }
        for slot in 0..self.slots(number, step) {
            self.deviate(number, slot, step, (&image, standing.level), &mut own);
        }
        let (gone, more) = own.finish();
        let failed = permille(self.draw(0xb11d, number, 0), BLIND).then(|| table("listening"));
        Facts { profile, gone, more, failed, number, step }
    }

    /// How many deviations a machine has: few mostly, many at times, and more as time goes.
    fn slots(&self, number: u32, step: u32) -> u32 {
        const SPREAD: [f64; 10] = [0.1, 0.3, 0.5, 0.7, 0.8, 1.0, 1.1, 1.3, 1.6, 2.0];
        let spread = match self.draw(0x5107, number, 0) % 100 {
            // Somebody's workbench.
            0..2 => 4.0,
            n => SPREAD[usize::try_from(n % 10).unwrap_or(0)],
        };
        let mean = self.options.deviation / ROWS_A_DEVIATION * spread + fraction(self.draw(0x5107, number, 1));
        let first = u32::try_from(millionths(mean) / 1_000_000).unwrap_or(0);
        first + (step / DRIFT_STEPS).min((DRIFT_MAX - 1) * first.max(2))
    }

    /// One deviation. Every step makes one of them anew: in turn those that the machine began with.
    fn deviate(&self, number: u32, slot: u32, step: u32, at: (&Image, u32), own: &mut Deviations) {
        let (image, level) = at;
        let turns = self.slots(number, 0).max(1);
        let times = if slot < turns { (step + turns - 1 - slot) / turns } else { 0 };
        let h = self.draw(0xde71a7e, number, u64::from(slot) << 32 | u64::from(times));
        let chosen = mix(&[h, 1]);
        match h % 100 {
            0..40 => {
                // Popular packages are held back or run ahead often.
                let Some((place, binary)) = own.package(image, chosen) else { return };
                let other = (level + 1 + u32::try_from(chosen >> 40).unwrap_or(0) % level.max(4)) % (level + 2);
                let line = self.lines.package(binary, image.release, Some(other));
                own.replace(place, if own.is_as(place, &line) { self.lines.package(binary, image.release, None) } else { line });
            }
            40..65 => own.more.push(self.lines.package(extra(chosen), image.release, Some(level))),
            65..75 => {
                if let Some((place, _)) = own.package(image, chosen) {
                    own.gone.insert(place, None);
                }
            }
            75..95 => {
                let n = skewed(chosen, image.spots.len());
                if let (Some(place), Some((spot, way))) = (own.profile.spots.get(n), image.spots.get(n))
                    && let Some(line) = self.lines.way(*spot, usize::from(*way) + 1 + below(mix(&[h, 2]), 3))
                {
                    own.replace(*place, line.clone());
                }
            }
            _ => own.more.push(Arc::new(Line::of(&settings::extra(chosen)))),
        }
    }
}

/// A number below `n`, small ones more often.
fn skewed(mixed: u64, n: usize) -> usize {
    let share = (mixed >> 8) % 1000 * ((mixed >> 24) % 1000);
    usize::try_from(u64::try_from(n).unwrap_or(0) * share / 1_000_000).unwrap_or(0)
}

/// The n-th image's part of the fleet: Zipf.
fn weight(n: usize) -> f64 {
    1.0 / f64::from(u32::try_from(n).unwrap_or(u32::MAX))
}

fn fraction(mixed: u64) -> f64 {
    f64::from(u32::try_from(mixed >> 32).unwrap_or(0)) / f64::from(u32::MAX)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small number that is not negative")]
fn millionths(share: f64) -> u64 {
    (share.max(0.0) * 1_000_000.0).round() as u64
}

/// Deviations as they are gathered: by place of the profile, what is there instead.
struct Deviations<'p> {
    profile: &'p Profile,
    gone: BTreeMap<u32, Option<Arc<Line>>>,
    more: Vec<Arc<Line>>,
}

impl Deviations<'_> {
    fn package(&self, image: &Image, mixed: u64) -> Option<(u32, super::packages::Binary)> {
        let n = below(mixed, image.packages.len());
        Some((*self.profile.packages.get(n)?, *image.packages.get(n)?))
    }

    fn is_as(&self, place: u32, line: &Line) -> bool {
        self.profile.lines.get(place as usize).is_some_and(|present| present.text == line.text)
    }

    fn replace(&mut self, place: u32, line: Arc<Line>) {
        if !self.is_as(place, &line) {
            self.gone.insert(place, Some(line));
        }
    }

    /// Sorted, each once, and nothing beside the profile that it has.
    fn finish(self) -> (Vec<u32>, Vec<Arc<Line>>) {
        let Deviations { profile, gone, mut more } = self;
        let has = |line: &Line| {
            let at = profile.lines.binary_search_by(|l| (l.table, &*l.text).cmp(&(line.table, &*line.text)));
            at.is_ok_and(|at| u32::try_from(at).is_ok_and(|at| !gone.contains_key(&at)))
        };
        more.retain(|line| !has(line));
        let places = gone.keys().copied().collect();
        more.extend(gone.into_values().flatten());
        more.sort_by(|a, b| (a.table, &a.text).cmp(&(b.table, &b.text)));
        more.dedup_by(|a, b| a.table == b.table && a.text == b.text);
        (places, more)
    }
}

impl Facts {
    /// Rows that it has beside its image at its level, and rows of that which it lacks.
    pub fn deviation(&self) -> usize {
        self.gone.len() + self.more.len()
    }

    /// How many rows its scan has.
    pub fn rows(&self) -> usize {
        self.tables().into_iter().map(|table| self.lines(table).count()).sum()
    }

    /// The tables that its scan has, in order.
    pub(super) fn tables(&self) -> Vec<TableId> {
        let mut out: Vec<TableId> = self.profile.tables.iter().map(|(t, ..)| *t).chain(self.more.iter().map(|l| l.table)).collect();
        out.push(table("selinux_boolean"));
        out.sort_unstable();
        out.dedup();
        out
    }

    /// The rows of a table, in order.
    pub(super) fn lines(&self, table: TableId) -> impl Iterator<Item = &Line> {
        let part = self.profile.tables.iter().find(|(t, ..)| *t == table).map_or(0..0, |(_, part, _)| part.clone());
        let part = if self.failed == Some(table) { 0..0 } else { part };
        let from = u32::try_from(part.start).unwrap_or(u32::MAX);
        let mut gone = self.gone.iter().skip_while(move |g| **g < from).peekable();
        let kept = (from..).zip(self.profile.lines.get(part).unwrap_or_default());
        let mut kept = kept.filter(move |(at, _)| gone.next_if_eq(&at).is_none()).map(|(_, line)| &**line).peekable();
        let failed = self.failed;
        let mut more = self.more.iter().filter(move |l| l.table == table && failed != Some(table)).map(|l| &**l).peekable();
        std::iter::from_fn(move || match (kept.peek(), more.peek()) {
            (Some(a), Some(b)) if b.text < a.text => more.next(),
            (Some(_), _) => kept.next(),
            (None, _) => more.next(),
        })
    }

    /// The digest of the scan, as the server computes it: without writing the scan.
    pub fn digest(&self) -> Digest {
        let mut sum = Digest::default();
        let failed = |t: TableId| self.failed == Some(t);
        for table in self.tables() {
            match self.profile.tables.iter().find(|(t, ..)| *t == table) {
                _ if failed(table) => sum.add(&Digest::of_table(table, Some(super::document::REFUSED))),
                Some((_, _, digest)) => sum.add(digest),
                None => sum.add(&Digest::of_table(table, None)),
            }
        }
        let gone = self.gone.iter().filter_map(|at| self.profile.lines.get(*at as usize));
        gone.filter(|line| !failed(line.table)).for_each(|line| sum.subtract(line.digest()));
        self.more.iter().filter(|line| !failed(line.table)).for_each(|line| sum.add(line.digest()));
        sum
    }
}
