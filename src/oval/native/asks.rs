//! What must be collected for an object, as items of the tables that hold only what was asked.
//!
//! This comment is the one place that says how items are written; collectors (`collect::asked`) and this module hold to it. An item is
//! also the key of its row in `scope`, compared byte for byte.
//!
//! ```text
//! file, text:   [option " "]... target
//!   target:     /path            that path, as today
//!               /pa?h/*.conf     a glob, as today
//!               ^regex           files whose whole absolute path matches: what is not a folder once links are followed
//!               DIR//NAME        what is in folders DIR and is no folder itself (a link to one counts), by name
//!               DIR//            the folders DIR themselves
//!     DIR:      /path or ^regex. A path is followed through links. A regex is matched against the whole path of every folder.
//!               In the root itself: ///NAME
//!     NAME:     a regex, searched in the name
//!   options:    in this order, each once
//!     depth=N   DIR//...: also the folders up to N levels below each DIR; -1: all levels. Links to folders are not entered
//!     links     with depth: links to folders are entered too
//!     local     folders on network file systems (by type: nfs, cifs, ...) are not entered
//!     xdev      other file systems than DIR's are not entered
//!     modified  `file`: fill the column `modified`
//!     hash      `file`: fill the column `sha256`
//! systemd:      PROPERTY " " UNIT, where UNIT is a unit's name or ^regex over the names of all units that systemd has loaded or that
//!               have a unit file. A unit that is not there gives no row, and scope `absent`
//! environment:  NAME or ^regex
//! registry:     a path in lower case (hive abbreviated) for all values of the key, or ^regex over such paths
//! ```
//!
//! Regexes are those of OVAL (`super::super::pattern`), unanchored but for the `^` they begin with; a NAME has no `^` of its own unless the
//! content has it. Walks for a regex begin at its literal prefix and enter links to folders too, each real folder once on a way
//! (no cycles); a path below such a link is reported as walked, and its row says in `real` where its folder really is. In a DIR
//! regex `//` is written `/(?:)/`, so the first `//` always ends DIR.
//!
//! Rows of `file`: `canonical` of a link to a folder ends with `/`. `text` reads regular files through links and passes over anything
//! else. A walk that could not see everything it should have (a folder that may not be read, too many matches) is `error` in scope.

use super::super::model::Operation;
use super::want::Want;
use crate::rule::Collect;

/// Items for an entity that names keys of a table: names, or regexes over them.
pub(super) fn keys(want: &Want) -> Vec<String> {
    match want.operation {
        Operation::Equals => want.values.iter().filter(|v| !v.is_empty()).map(|v| v.to_string()).collect(),
        Operation::PatternMatch => {
            want.values.iter().map(|p| if p.starts_with('^') { p.to_string() } else { format!("^.*(?:{p})") }).collect()
        }
        Operation::CaseInsensitiveEquals => want.values.iter().map(|v| format!("^(?i:{})$", regex::escape(v))).collect(),
        _ => vec!["^".to_owned()],
    }
}

/// Whether an item goes through every folder of the system.
pub fn is_whole_disk(item: &str) -> bool {
    const OPTIONS: [&str; 5] = ["links", "local", "xdev", "modified", "hash"];
    let (mut rest, mut deep) = (item, false);
    while let Some((word, tail)) = rest.split_once(' ')
        && (word.starts_with("depth=") || OPTIONS.contains(&word))
    {
        deep |= word.starts_with("depth=");
        rest = tail;
    }
    deep && rest.starts_with("///")
}

/// Sorted, each item once.
pub(super) fn tidy(asks: &mut Collect) {
    for items in asks.values_mut() {
        items.sort();
        items.dedup();
    }
}

#[cfg(test)]
mod tests {
    use super::is_whole_disk;

    #[test]
    fn walks_from_the_root_are_told_from_others() {
        for item in ["depth=-1 local ///", "depth=-1 xdev ///.", "depth=3 links modified ///x y"] {
            assert!(is_whole_disk(item), "{item}");
        }
        for item in ["/etc/passwd", "///x", "depth=-1 local /etc//", "^/.*", "depth=-1", "ActiveState ///"] {
            assert!(!is_whole_disk(item), "{item}");
        }
    }
}
