//! Endpoints that were touched while something was computed beside them: `what the fleet noted -> each once, however often it was touched`.

use std::collections::BTreeSet;

use crate::fleet::EndpointId;

#[derive(Debug, Default)]
pub(super) struct Behind {
    /// How many of the touches that the fleet noted are taken up.
    seen: usize,
    waiting: BTreeSet<EndpointId>,
}

impl Behind {
    /// Takes up what was noted since, of all that was. How many endpoints wait.
    pub(super) fn note(&mut self, touched: &[EndpointId]) -> usize {
        self.waiting.extend(touched.get(self.seen..).unwrap_or_default());
        self.seen = touched.len();
        self.waiting.len()
    }

    /// So many of those that wait. INVARIANT: they are looked at as they are now, which all that touched them until now has made them.
    pub(super) fn take(&mut self, most: usize) -> Vec<EndpointId> {
        std::iter::from_fn(|| self.waiting.pop_first()).take(most).collect()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_touched_often_waits_once_and_again_when_touched_later() {
        let touched = [3, 1, 3, 2, 1].map(EndpointId);
        let mut behind = Behind::default();
        assert_eq!(behind.note(&touched[..3]), 2);
        assert_eq!(behind.take(1), [EndpointId(1)]);
        assert_eq!(behind.note(&touched), 3);
        assert_eq!(behind.take(2), [EndpointId(1), EndpointId(2)]);
        assert_eq!((behind.len(), behind.note(&touched)), (1, 1));
        assert_eq!(behind.take(usize::MAX), [EndpointId(3)]);
        assert!(behind.take(1).is_empty());
    }
}
