//! Ids that a store gives out to episodes and tasks: `kind, store, number of the event that began it -> text`, and kept as that number.

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Id {
    Number(u64),
    /// One that was given out otherwise.
    Text(Box<str>),
}

/// How the ids of a kind begin.
#[derive(Debug)]
pub(super) struct Prefix(String);

impl Prefix {
    pub(super) fn new(kind: &str, store_id: &str) -> Prefix {
        Prefix(format!("{kind}_{store_id}_"))
    }

    /// The id of what an event begins.
    pub(super) fn begun_by(&self, event: u64) -> String {
        format!("{}{event}", self.0)
    }

    pub(super) fn read(&self, id: &str) -> Id {
        let number = id.strip_prefix(&self.0).and_then(|n| n.parse().ok());
        number.filter(|n| self.begun_by(*n) == id).map_or_else(|| Id::Text(id.into()), Id::Number)
    }

    pub(super) fn text(&self, id: &Id) -> String {
        match id {
            Id::Number(event) => self.begun_by(*event),
            Id::Text(text) => text.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_comes_back_as_it_was() {
        let prefix = Prefix::new("ep", "s");
        assert_eq!(prefix.read("ep_s_17"), Id::Number(17));
        for id in [
            "ep_s_17",
            "ep_s_0",
            "ep_s_017",
            "ep_s_+17",
            "ep_s_",
            "ep_other_4",
            "ep_s_18446744073709551615",
            "ep_s_18446744073709551616",
            "",
        ] {
            assert_eq!(prefix.text(&prefix.read(id)), id);
        }
    }
}
