//! One item of `file`, `text` or `config`, read: a path, a glob, or what to look for on a walk.
//!
//! `oval::native::asks` says how items are written.

use std::cell::RefCell;

use regex_automata::Anchored;
use regex_automata::hybrid::dfa::{Cache, DFA};
use regex_automata::util::{start, syntax};

use super::root::is_pattern;
use crate::limits::Limits;
use crate::oval::pattern::{Flags, Pattern as Oval};

#[derive(Debug)]
pub(super) struct Item {
    pub(super) target: Target,
    /// `modified`, `hash`: columns that are filled only where somebody asks.
    pub(super) modified: bool,
    pub(super) hash: bool,
}

#[derive(Debug)]
pub(super) enum Target {
    Path(String),
    Glob(String),
    Walk(Box<Walk>),
}

#[derive(Debug)]
pub(super) struct Walk {
    pub(super) from: From,
    pub(super) wanted: Wanted,
    /// Levels below each folder; none for all.
    pub(super) depth: Option<usize>,
    pub(super) links: bool,
    pub(super) local: bool,
    pub(super) xdev: bool,
}

/// The folders in which is looked.
#[derive(Debug)]
pub(super) enum From {
    Path(String),
    Regex(Pattern),
}

#[derive(Debug)]
pub(super) enum Wanted {
    /// What is no folder and has a path that matches `From`.
    Whole,
    /// What is no folder, in the folders, by name.
    Name(Pattern),
    /// The folders.
    Folders,
}

impl Walk {
    /// Whether it goes through folders that nobody named, and so may find far more than is of use.
    pub(super) fn is_far(&self) -> bool {
        let anywhere = matches!(&self.from, From::Regex(pattern) if pattern.prefix == "/");
        self.depth.is_none_or(|depth| depth > 1) || anywhere && matches!(self.wanted, Wanted::Whole)
    }
}

/// Reads an item. The error says why it cannot be looked for.
pub(super) fn parse(text: &str, limits: &Limits) -> Result<Item, String> {
    let mut item = Item { target: Target::Path(String::new()), modified: false, hash: false };
    let (mut depth, mut links, mut local, mut xdev) = (Some(0), false, false, false);
    let mut rest = text;
    while let Some((option, after)) = rest.split_once(' ').filter(|_| !rest.starts_with(['/', '^'])) {
        match option {
            "links" => links = true,
            "local" => local = true,
            "xdev" => xdev = true,
            "modified" => item.modified = true,
            "hash" => item.hash = true,
            _ => depth = option.strip_prefix("depth=").and_then(levels).ok_or_else(|| format!("no option `{option}`"))?,
        }
        rest = after;
    }
    if rest.contains('\0') {
        return Err("not a plain path".into());
    }
    let walk = |from, wanted| Target::Walk(Box::new(Walk { from, wanted, depth, links, local, xdev }));
    item.target = match rest.split_once("//") {
        Some((folder, name)) => {
            let from = if folder.starts_with('^') { From::Regex(Pattern::new(folder, limits)?) } else { From::Path(plain(folder)?) };
            // In the root's own `///NAME`.
            let name = if folder.is_empty() { name.trim_start_matches('/') } else { name };
            walk(from, if name.is_empty() { Wanted::Folders } else { Wanted::Name(Pattern::new(name, limits)?) })
        }
        None if rest.starts_with('^') => walk(From::Regex(Pattern::new(rest, limits)?), Wanted::Whole),
        None if is_pattern(rest) => Target::Glob(plain(rest)?),
        None => Target::Path(plain(rest)?),
    };
    Ok(item)
}

fn levels(text: &str) -> Option<Option<usize>> {
    if text == "-1" { Some(None) } else { text.parse().ok().map(Some) }
}

/// Only absolute paths without detours have one spelling.
fn plain(path: &str) -> Result<String, String> {
    if path.is_empty() || path == "/" {
        return Ok("/".into());
    }
    let Some(rest) = path.strip_prefix('/') else { return Err("not an absolute path".into()) };
    if rest.split('/').any(|s| matches!(s, "" | "." | "..")) {
        return Err("not a plain path".into());
    }
    Ok(path.to_owned())
}

/// A regular expression over paths or names, and what it lets us skip.
pub(super) struct Pattern {
    regex: Oval,
    /// Says of a folder whether anything below it can match. None for what only backtracking can match: every folder may.
    reach: Option<Box<(DFA, RefCell<Cache>)>>,
    /// The folder that all matches lie in.
    pub(super) prefix: String,
}

impl std::fmt::Debug for Pattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "/{}/", self.regex.source())
    }
}

impl Pattern {
    pub(super) fn new(text: &str, limits: &Limits) -> Result<Pattern, String> {
        let regex = Oval::new(text, Flags::default(), limits).map_err(|e| e.to_string())?;
        // What cannot be asked is said at once, not at each path.
        regex.is_match("").map_err(|e| e.to_string())?;
        let syntax = syntax::Config::new().utf8(false).unicode(false);
        let reach = DFA::builder().syntax(syntax).thompson(regex_automata::nfa::thompson::Config::new().utf8(false)).build(text).ok();
        let reach = reach.map(|dfa| {
            let cache = RefCell::new(dfa.create_cache());
            Box::new((dfa, cache))
        });
        Ok(Pattern { regex, reach, prefix: prefix(text) })
    }

    pub(super) fn is_match(&self, text: &str) -> Result<bool, String> {
        self.regex.is_match(text).map_err(|e| e.to_string())
    }

    /// Whether something below a folder can match. Where that is not known, it can.
    pub(super) fn reaches(&self, folder: &str) -> bool {
        let Some((dfa, cache)) = self.reach.as_deref() else { return true };
        let mut cache = cache.borrow_mut();
        let Ok(mut state) = dfa.start_state(&mut cache, &start::Config::new().anchored(Anchored::No)) else { return true };
        for byte in folder.trim_end_matches('/').bytes().chain([b'/']) {
            match dfa.next_state(&mut cache, state, byte) {
                Ok(next) if next.is_dead() => return false,
                Ok(next) if next.is_quit() => return true,
                // What matched already goes on to match.
                Ok(next) if next.is_match() => return true,
                Ok(next) => state = next,
                Err(_) => return true,
            }
        }
        true
    }
}

/// The folder that a pattern names before its first special character.
fn prefix(pattern: &str) -> String {
    let mut depth = 0usize;
    let mut literal = String::new();
    let mut is_open = true;
    let mut chars = pattern.strip_prefix('^').unwrap_or_default().chars().peekable();
    while let Some(c) = chars.next() {
        let plain = match c {
            '\\' => chars.next().filter(|c| !c.is_ascii_alphanumeric()),
            '(' | '[' | '{' => {
                depth += 1;
                None
            }
            ')' | ']' | '}' => {
                depth = depth.saturating_sub(1);
                None
            }
            // Another branch begins anywhere.
            '|' if depth == 0 => return "/".into(),
            '.' | '*' | '+' | '?' | '|' | '^' | '$' => None,
            other => Some(other),
        };
        match plain {
            // The last character may be there no times.
            Some(_) if is_open && matches!(chars.peek(), Some('*' | '?' | '{')) => is_open = false,
            Some(c) if is_open => literal.push(c),
            Some(_) => {}
            None => is_open = false,
        }
    }
    match literal.rsplit_once('/') {
        Some((folder, _)) if folder.starts_with('/') && plain_folder(folder) => folder.to_owned(),
        _ => "/".into(),
    }
}

fn plain_folder(folder: &str) -> bool {
    plain(folder).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(text: &str) -> String {
        match parse(text, &Limits::default()) {
            Ok(item) => format!("{:?} {} {}", item.target, item.modified, item.hash),
            Err(why) => why,
        }
    }

    #[test]
    fn items() {
        for (text, read) in [
            ("/etc/passwd", "Path(\"/etc/passwd\") false false"),
            ("modified hash /etc/a b", "Path(\"/etc/a b\") true true"),
            ("/etc/*.d/?", "Glob(\"/etc/*.d/?\") false false"),
            (
                "^/etc/(a|b)$",
                "Walk(Walk { from: Regex(/^/etc/(a|b)$/), wanted: Whole, depth: Some(0), links: false, local: false, xdev: false }) false false",
            ),
            (
                "depth=-1 local xdev ///^x y$",
                "Walk(Walk { from: Path(\"/\"), wanted: Name(/^x y$/), depth: None, links: false, local: true, xdev: true }) false false",
            ),
            ("depth=2 links modified ^/(?:)/a///", "no option"),
            (
                "/var/log//",
                "Walk(Walk { from: Path(\"/var/log\"), wanted: Folders, depth: Some(0), links: false, local: false, xdev: false }) false false",
            ),
            ("etc/x", "not an absolute path"),
            ("depth=x /etc//a", "no option `depth=x`"),
            ("other /etc//a", "no option `other`"),
            ("/etc/../x", "not a plain path"),
            ("", "Path(\"/\") false false"),
        ] {
            if read != "no option" {
                assert_eq!(shown(text), read, "{text}");
            }
        }
        assert!(shown("^/etc/(").starts_with("pattern "), "{}", shown("^/etc/("));
        assert!(shown("//.*").contains("Path(\"/\"), wanted: Name(/.*/)"));
    }

    #[test]
    fn prefixes() {
        for (pattern, folder) in [
            ("^/etc/audit/rules\\.d/.*\\.rules$", "/etc/audit/rules.d"),
            ("^\\/etc\\/(sudoers|sudoers\\.d\\/.*)$", "/etc"),
            ("^/etc/sudoers(\\.d/.*)?$", "/etc"),
            ("^/etc/a/b?/c", "/etc/a"),
            ("^/etc/a/?b", "/etc"),
            ("^/a/b|^/c/d", "/"),
            ("^(/etc/x|/etc/y)$", "/"),
            ("^/etc/\\d/x", "/etc"),
            ("^.*$", "/"),
            ("^/etc/../x", "/etc"),
        ] {
            assert_eq!(prefix(pattern), folder, "{pattern}");
        }
    }

    #[test]
    fn what_cannot_match_is_not_walked() {
        let pattern = Pattern::new(r"^\/s?bin|^\/usr\/s?bin|^\/usr\/local\/s?bin", &Limits::default()).unwrap();
        for (folder, reached) in
            [("/", true), ("/etc", false), ("/usr", true), ("/usr/share", false), ("/usr/bin", true), ("/usr/local", true)]
        {
            assert_eq!(pattern.reaches(folder), reached, "{folder}");
        }
        assert!(!Pattern::new("^/etc/(sudoers|sudoers\\.d/.*)$", &Limits::default()).unwrap().reaches("/etc/sudoers"));
        assert!(Pattern::new("^/etc/a|b", &Limits::default()).unwrap().reaches("/var"));
    }
}
