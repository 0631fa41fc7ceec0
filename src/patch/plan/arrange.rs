//! Which patches are one step, which come along with another, and in what order the steps are taken. Knows nothing of rows.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::super::define::Kind;
use super::super::report::Name;
use super::What;

/// A patch that is needed.
#[derive(Clone, Debug)]
pub(super) struct Need {
    pub(super) name: Name,
    pub(super) kind: Kind,
    pub(super) priority: u8,
    /// KEV's date.
    pub(super) due: Option<Box<str>>,
    /// Names and architectures of what it upgrades.
    pub(super) packages: BTreeSet<(String, String)>,
    /// Those that bring it along.
    pub(super) brought_by: Vec<Name>,
    pub(super) exempt: bool,
}

/// A step, by places: of needs, and of other drafts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Draft {
    pub(super) what: What,
    pub(super) priority: u8,
    pub(super) due: Option<Box<str>>,
    pub(super) needs: Vec<usize>,
    pub(super) covers: Vec<usize>,
    pub(super) also_brings: Vec<usize>,
    /// Drafts that come first.
    pub(super) after: Vec<usize>,
    /// It is not to be installed, or what must come first is not.
    pub(super) blocked: bool,
}

fn what(kind: Kind) -> What {
    match kind {
        Kind::ServicePack => What::ServicePack,
        Kind::ServicingStack => What::ServicingStack,
        Kind::Update | Kind::Vulnerability => What::Update,
    }
}

/// The steps in their order. The same needs in any order give the same steps.
pub(super) fn arrange(needs: &[Need]) -> Vec<Draft> {
    let by_name: BTreeMap<&Name, usize> = needs.iter().enumerate().map(|(at, n)| (&n.name, at)).collect();
    // What nobody here brings along is a step of its own, whatever its row says.
    let bringers = |need: &Need| -> Vec<usize> {
        let there = need.brought_by.iter().filter_map(|name| by_name.get(name).copied());
        there.filter(|at| needs.get(*at).is_some_and(|n| n.brought_by.is_empty())).collect()
    };
    let covered: Vec<Vec<usize>> = needs.iter().map(bringers).collect();
    let is_own = |at: usize| covered.get(at).is_none_or(Vec::is_empty);
    let mut drafts: Vec<Draft> = Vec::new();
    for members in joined(needs, &is_own) {
        let own = || members.iter().filter_map(|at| needs.get(*at));
        let covers: Vec<usize> =
            covered.iter().enumerate().filter(|(_, by)| by.iter().any(|b| members.contains(b))).map(|(at, _)| at).collect();
        let lent = covers.iter().filter_map(|at| needs.get(*at));
        let packages: BTreeSet<_> = own().flat_map(|n| &n.packages).collect();
        let exempt = own().any(|n| n.exempt);
        let brings = |n: &Need| n.exempt && n.packages.iter().any(|p| packages.contains(p));
        drafts.push(Draft {
            what: own().map(|n| what(n.kind)).min().unwrap_or(What::Update),
            priority: own().chain(lent.clone()).map(|n| n.priority).max().unwrap_or(0),
            due: own().chain(lent.clone()).filter_map(|n| n.due.clone()).min(),
            also_brings: if exempt { Vec::new() } else { (0..needs.len()).filter(|at| needs.get(*at).is_some_and(brings)).collect() },
            covers,
            after: Vec::new(),
            blocked: exempt,
            needs: members,
        });
    }
    // Packages come from elsewhere than what the minimum standard is about.
    let waits = |d: &Draft| d.needs.iter().all(|at| needs.get(*at).is_some_and(|n| n.packages.is_empty()));
    let barred: Vec<What> = drafts.iter().filter(|d| d.blocked && d.what < What::Update).map(|d| d.what).collect();
    for draft in &mut drafts {
        draft.blocked |= waits(draft) && barred.iter().any(|b| *b < draft.what);
    }
    let name = |draft: &Draft| draft.needs.iter().filter_map(|at| needs.get(*at)).map(|n| &n.name).min();
    drafts.sort_by(|a, b| {
        let key = |d: &Draft| (d.blocked, d.what, Reverse(d.priority), d.due.is_none(), d.due.clone());
        key(a).cmp(&key(b)).then_with(|| name(a).cmp(&name(b)))
    });
    let standard: Vec<(usize, What)> =
        drafts.iter().enumerate().filter(|(_, d)| d.what < What::Update).map(|(at, d)| (at, d.what)).collect();
    for draft in &mut drafts {
        if waits(draft) {
            draft.after = standard.iter().filter(|(_, what)| *what < draft.what).map(|(at, _)| *at).collect();
        }
    }
    drafts
}

/// Needs that are steps of their own, together where they upgrade the same package. What is exempt is alone.
fn joined(needs: &[Need], is_own: &dyn Fn(usize) -> bool) -> Vec<Vec<usize>> {
    let mut leader: Vec<usize> = (0..needs.len()).collect();
    let mut first: BTreeMap<&(String, String), usize> = BTreeMap::new();
    for (at, need) in needs.iter().enumerate().filter(|(at, n)| is_own(*at) && !n.exempt) {
        for package in &need.packages {
            let other = *first.entry(package).or_insert(at);
            let (a, b) = (find(&mut leader, at), find(&mut leader, other));
            if let Some(slot) = leader.get_mut(a.max(b)) {
                *slot = a.min(b);
            }
        }
    }
    let mut sets: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for at in (0..needs.len()).filter(|at| is_own(*at)) {
        sets.entry(find(&mut leader, at)).or_default().push(at);
    }
    sets.into_values().collect()
}

fn find(leader: &mut [usize], at: usize) -> usize {
    let mut root = at;
    while let Some(next) = leader.get(root).copied().filter(|n| *n != root) {
        root = next;
    }
    // Shortens the way for the next one.
    if let Some(slot) = leader.get_mut(at) {
        *slot = root;
    }
    root
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(id: &str) -> Name {
        Name { id: id.into(), feed: "f".into() }
    }

    fn need(id: &str, kind: Kind, priority: u8, packages: &[&str]) -> Need {
        let packages = packages.iter().map(|p| ((*p).to_owned(), String::new())).collect();
        Need { name: name(id), kind, priority, due: None, packages, brought_by: Vec::new(), exempt: false }
    }

    fn ids(needs: &[Need], drafts: &[Draft]) -> Vec<String> {
        let of = |at: &[usize]| at.iter().map(|n| needs[*n].name.id.to_string()).collect::<Vec<_>>().join("+");
        drafts.iter().map(|d| format!("{}{}{}", of(&d.needs), if d.covers.is_empty() { "" } else { ">" }, of(&d.covers))).collect()
    }

    #[test]
    fn the_minimum_standard_comes_first_and_packages_once() {
        let mut needs = vec![
            need("KB3", Kind::Update, 90, &[]),
            need("KB1", Kind::ServicingStack, 10, &[]),
            need("KB2", Kind::ServicePack, 5, &[]),
            need("DSA-1", Kind::Update, 40, &["a", "b"]),
            need("DSA-2", Kind::Update, 60, &["b", "c"]),
            need("DSA-3", Kind::Update, 60, &["d"]),
            need("DSA-0", Kind::Update, 99, &["d"]),
        ];
        needs[6].brought_by = vec![name("DSA-3")];
        let drafts = arrange(&needs);
        assert_eq!(ids(&needs, &drafts), ["KB2", "KB1", "DSA-3>DSA-0", "KB3", "DSA-1+DSA-2"]);
        assert_eq!((drafts[2].priority, &drafts[3].after, &drafts[1].after, drafts[4].after.len()), (99, &vec![0, 1], &vec![0], 0));
        // Who does not want the servicing stack cannot have what comes after it.
        needs[1].exempt = true;
        let drafts = arrange(&needs);
        assert_eq!(ids(&needs, &drafts), ["KB2", "DSA-3>DSA-0", "DSA-1+DSA-2", "KB1", "KB3"]);
        assert!(drafts[3].blocked && drafts[4].blocked && !drafts[0].blocked);
    }

    #[test]
    fn what_is_exempt_is_alone_and_told_where_it_comes_along() {
        let mut needs = vec![need("A", Kind::Update, 50, &["x", "y"]), need("B", Kind::Update, 70, &["y"])];
        needs[1].exempt = true;
        let drafts = arrange(&needs);
        assert_eq!(ids(&needs, &drafts), ["A", "B"]);
        assert_eq!((&drafts[0].also_brings, drafts[1].blocked), (&vec![1], true));
        // Nobody here brings it along.
        needs[0].brought_by = vec![name("gone")];
        assert_eq!(arrange(&needs).len(), 2);
    }

    fn needs() -> impl Strategy<Value = Vec<Need>> {
        let kinds =
            proptest::sample::select(vec![Kind::Update, Kind::Update, Kind::ServicePack, Kind::ServicingStack, Kind::Vulnerability]);
        let one = (kinds, 0u8..4, proptest::collection::btree_set(0u8..12, 0..4), proptest::collection::vec(0usize..14, 0..3), 0u8..8);
        proptest::collection::vec(one, 0..14).prop_map(|all| {
            type Drawn = (Kind, u8, BTreeSet<u8>, Vec<usize>, u8);
            let make = |(at, (kind, priority, packages, by, exempt)): (usize, Drawn)| Need {
                name: name(&format!("P{at:02}")),
                kind,
                priority,
                due: (priority == 2).then(|| format!("2026-11-{:02}", at + 1).into()),
                packages: packages.into_iter().map(|p| (format!("p{p}"), String::new())).collect(),
                brought_by: if exempt < 3 { by.into_iter().map(|b| name(&format!("P{b:02}"))).collect() } else { Vec::new() },
                exempt: exempt == 7,
            };
            all.into_iter().enumerate().map(make).collect()
        })
    }

    proptest! {
        #[test]
        fn every_need_has_its_place_and_prerequisites_come_first(needs in needs(), turn in 0usize..14) {
            let drafts = arrange(&needs);
            for at in 0..needs.len() {
                let steps = drafts.iter().filter(|d| d.needs.contains(&at)).count();
                let covered = drafts.iter().filter(|d| d.covers.contains(&at)).count();
                prop_assert!((steps == 1 && covered == 0) || (steps == 0 && covered >= 1), "{at}: {steps} steps, covered {covered} times");
            }
            let mut upgraded = BTreeSet::new();
            for (at, draft) in drafts.iter().enumerate() {
                prop_assert!(draft.after.iter().all(|a| *a < at), "{draft:?} is before what it waits for");
                prop_assert!(draft.needs.iter().chain(&draft.covers).all(|n| needs[*n].priority <= draft.priority));
                prop_assert!(draft.blocked || draft.after.iter().all(|a| !drafts[*a].blocked), "waits for what is never done");
                if draft.needs.iter().all(|n| !needs[*n].exempt) {
                    let packages: BTreeSet<_> = draft.needs.iter().flat_map(|n| &needs[*n].packages).collect();
                    prop_assert!(packages.into_iter().all(|p| upgraded.insert(p)), "a package is upgraded twice");
                }
                if let Some(next) = drafts.get(at + 1) {
                    let key = |d: &Draft| (d.blocked, d.what, Reverse(d.priority));
                    prop_assert!(key(draft) <= key(next));
                }
            }
            // In whatever order they are found.
            let mut turned = needs.clone();
            turned.rotate_left(if needs.is_empty() { 0 } else { turn % needs.len() });
            let sorted = |needs: &[Need], drafts: &[Draft]| {
                let of = |at: &[usize]| at.iter().map(|n| needs[*n].name.clone()).collect::<BTreeSet<_>>();
                drafts.iter().map(|d| (of(&d.needs), of(&d.covers), d.priority)).collect::<Vec<_>>()
            };
            prop_assert_eq!(sorted(&turned, &arrange(&turned)), sorted(&needs, &drafts));
        }
    }
}
