//! How a patch stands at an endpoint: the notes of its rows, added up and taken away again as rows come and go.

use super::{Note, Says, State};

/// Notes of one patch, counted. Counts stand so that a row that goes can be taken off a sum without looking at the others.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum {
    /// By [`Says`]: those that no later patch brings along.
    top: [u16; 8],
    /// By [`Says`]: those that one does.
    under: [u16; 8],
}

impl Sum {
    fn count(&mut self, note: Note) -> &mut u16 {
        let counts = if note.superseded() { &mut self.under } else { &mut self.top };
        &mut counts[usize::from(note.says() as u8)]
    }

    /// Saturates: from 65,535 rows of one patch at one endpoint on the sum is only looked at for whether there are any.
    pub fn add(&mut self, note: Note) {
        let count = self.count(note);
        *count = count.saturating_add(1);
    }

    /// INVARIANT: the note was added before.
    pub fn take(&mut self, note: Note) {
        let count = self.count(note);
        *count = count.saturating_sub(1);
    }

    fn top(&self, says: Says) -> bool {
        self.top[usize::from(says as u8)] > 0
    }

    fn any(&self, says: Says) -> bool {
        self.top(says) || self.under[usize::from(says as u8)] > 0
    }

    /// The state before what people decided. Without any note it is not applicable, or installed by rows that are silent.
    pub fn state(&self) -> State {
        let has = self.any(Says::Has);
        let wanted = self.any(Says::Wants) || self.any(Says::Old);
        if self.any(Says::Lacks) || (wanted && !has) {
            let top = self.top(Says::Lacks) || (!has && (self.top(Says::Wants) || self.top(Says::Old)));
            return if top { State::Missing } else { State::Superseded };
        }
        if has && self.any(Says::Old) {
            return State::PendingReboot;
        }
        if self.any(Says::NoFix) {
            return State::NoFix;
        }
        if self.any(Says::WillNotFix) {
            return State::WillNotFix;
        }
        if self.any(Says::Investigating) {
            return State::UnderInvestigation;
        }
        if has && wanted { State::Installed } else { State::NotApplicable }
    }

    /// A row is affected whatever else there is.
    pub fn lacks(&self) -> bool {
        self.any(Says::Lacks)
    }

    /// Of a patch that is needed here: whether a repository of the endpoint offers it. Only where the endpoint told what its repositories offer.
    pub fn offered(&self) -> bool {
        self.any(Says::Offers)
    }
}

/// Sums of all patches that some of these notes speak of, by patch. The notes may come in any order.
pub fn sums(notes: impl IntoIterator<Item = Note>) -> Vec<(super::PatchId, Sum)> {
    let mut notes: Vec<Note> = notes.into_iter().collect();
    notes.sort_unstable();
    let mut out: Vec<(super::PatchId, Sum)> = Vec::new();
    for note in notes {
        match out.last_mut() {
            Some((patch, sum)) if *patch == note.patch() => sum.add(note),
            _ => {
                let mut sum = Sum::default();
                sum.add(note);
                out.push((note.patch(), sum));
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(notes: &[(Says, bool)]) -> State {
        sums(notes.iter().map(|(says, superseded)| Note::new(7, *says, *superseded)))
            .first()
            .map_or(State::NotApplicable, |(_, s)| s.state())
    }

    #[test]
    fn states_of_sums() {
        use Says::*;
        for (notes, expected) in [
            (&[][..], State::NotApplicable),
            (&[(Lacks, false)], State::Missing),
            (&[(Lacks, true)], State::Superseded),
            (&[(Lacks, true), (Lacks, false)], State::Missing),
            (&[(Lacks, false), (Has, false)], State::Missing),
            (&[(Wants, false)], State::Missing),
            (&[(Wants, true)], State::Superseded),
            (&[(Wants, false), (Has, false)], State::Installed),
            (&[(Old, false)], State::Missing),
            (&[(Old, false), (Has, false)], State::PendingReboot),
            (&[(Has, false)], State::NotApplicable),
            (&[(NoFix, false)], State::NoFix),
            (&[(NoFix, false), (Lacks, false)], State::Missing),
            (&[(WillNotFix, false), (Investigating, false)], State::WillNotFix),
            (&[(Offers, false)], State::NotApplicable),
        ] {
            assert_eq!(state(notes), expected, "{notes:?}");
        }
    }

    #[test]
    fn what_is_taken_was_never_there() {
        let mut sum = Sum::default();
        let note = Note::new(1, Says::Lacks, true);
        sum.add(note);
        assert_ne!(sum, Sum::default());
        sum.take(note);
        assert_eq!(sum, Sum::default());
    }
}
