//! Who needs whom: circles, and an order in which the needed come first. Iterative, so that a long chain costs no stack.

/// For each node what it needs, and how deep in its own nesting.
pub(super) type Edges = Vec<Vec<(usize, usize)>>;

/// Nodes in an order where what a node needs comes before it. Nodes of circles, and what needs them, are left out.
pub(super) fn leaves_first(edges: &Edges) -> Vec<usize> {
    let every = vec![true; edges.len()];
    peel(edges, &every, false)
}

/// The nodes that reach themselves, and those on a way between two such: what is left when the leaves and then the roots are peeled off.
pub(super) fn circular(edges: &Edges) -> Vec<usize> {
    let mut left = vec![true; edges.len()];
    for reversed in [false, true] {
        for at in peel(edges, &left, reversed) {
            if let Some(slot) = left.get_mut(at) {
                *slot = false;
            }
        }
    }
    left.iter().enumerate().filter(|(_, left)| **left).map(|(at, _)| at).collect()
}

/// Takes off nodes (of those with `among`) that point at nothing any more, until none is left or all are in circles.
fn peel(edges: &Edges, among: &[bool], reversed: bool) -> Vec<usize> {
    let count = edges.len();
    let held = |at: usize| among.get(at).copied().unwrap_or(false);
    let mut waits = vec![0usize; count];
    let mut back: Vec<Vec<usize>> = vec![Vec::new(); count];
    for (from, needs) in edges.iter().enumerate().filter(|(from, _)| held(*from)) {
        for (to, _) in needs.iter().filter(|(to, _)| held(*to)) {
            let (waiting, on) = if reversed { (*to, from) } else { (from, *to) };
            if let (Some(w), Some(b)) = (waits.get_mut(waiting), back.get_mut(on)) {
                *w += 1;
                b.push(waiting);
            }
        }
    }
    let mut order: Vec<usize> = (0..count).filter(|at| held(*at) && waits.get(*at) == Some(&0)).collect();
    let mut next = 0;
    while let Some(at) = order.get(next).copied() {
        next += 1;
        for waiting in back.get(at).into_iter().flatten() {
            if let Some(w) = waits.get_mut(*waiting) {
                *w -= 1;
                if *w == 0 {
                    order.push(*waiting);
                }
            }
        }
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn circles_are_found_and_what_leads_to_them_is_not() {
        // 0 -> 1 -> 2 -> 1, 2 -> 3, 4 -> 4
        let edges = vec![vec![(1, 1)], vec![(2, 1)], vec![(1, 1), (3, 1)], vec![], vec![(4, 1)]];
        assert_eq!(circular(&edges), [1, 2, 4]);
        assert_eq!(leaves_first(&edges), [3]);
        assert_eq!(leaves_first(&vec![vec![(1, 1), (1, 2)], vec![]]), [1, 0]);
    }
}
