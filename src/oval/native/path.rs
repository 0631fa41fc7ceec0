//! Where an object looks in a file system: `filepath`, or `path` and `filename` with behaviors. From that, what to ask a collector for
//! and which rows are meant.

use super::super::model::Operation;
use super::want::{Accepts, Want};

/// `recurse`: what is entered on the way down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Enter {
    Folders,
    Links,
    Both,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum FileSystem {
    #[default]
    All,
    Local,
    Defined,
}

#[derive(Debug)]
pub(super) enum Place {
    File(Box<Want>),
    In {
        folder: Box<Want>,
        /// None: the folders themselves (`filename` is nil).
        name: Option<Box<Want>>,
        /// Levels below; none: all.
        depth: Option<u32>,
        enter: Enter,
        /// With `recurse_direction="up"`, the folders that are meant.
        up: Option<Vec<String>>,
        file_system: FileSystem,
    },
}

/// What a row says of its path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<'r> {
    pub(super) path: &'r str,
    /// It is a folder itself.
    pub(super) folder: bool,
    /// It is a link to a folder.
    pub(super) to_folder: bool,
    /// It is a link to a folder that it lies in: a walk does not enter it, only an object that names it.
    pub(super) turns: bool,
    /// Where it really is, if its folders have links among them.
    pub(super) real: Option<&'r str>,
}

impl Place {
    /// Takes the entities that say where, out of `wants`.
    pub(super) fn take(wants: &mut Vec<Want>, behaviors: &[(Box<str>, Box<str>)]) -> Result<Place, String> {
        if let Some(mut path) = remove(wants, "filepath") {
            anchor(&mut path);
            return Ok(Place::File(Box::new(path)));
        }
        let mut folder = remove(wants, "path").ok_or("it has neither filepath nor path")?;
        anchor(&mut folder);
        let name = remove(wants, "filename").ok_or("it has a path without filename")?;
        let get = |name: &str| behaviors.iter().find(|(n, _)| &**n == name).map(|(_, v)| v.trim());
        let file_system = match get("recurse_file_system") {
            None | Some("all") => FileSystem::All,
            Some("local") => FileSystem::Local,
            Some("defined") => FileSystem::Defined,
            Some(other) => return Err(format!("recurse_file_system=\"{other}\" is not known")),
        };
        let enter = match get("recurse") {
            None | Some("symlinks and directories") => Enter::Both,
            Some("directories") => Enter::Folders,
            Some("symlinks") => Enter::Links,
            Some(other) => return Err(format!("recurse=\"{other}\" is not known")),
        };
        let levels = match get("max_depth").map(str::parse::<i64>) {
            None | Some(Ok(-1)) => None,
            Some(Ok(n)) => Some(u32::try_from(n).map_err(|_| format!("max_depth=\"{n}\" is not a depth"))?),
            Some(Err(e)) => return Err(format!("max_depth: {e}")),
        };
        let (depth, up) = match get("recurse_direction") {
            None | Some("none") => (Some(0), None),
            Some("down") => (levels, None),
            Some("up") => (Some(0), Some(upwards(&folder, levels)?)),
            Some(other) => return Err(format!("recurse_direction=\"{other}\" is not known")),
        };
        let name = if name.nil { None } else { Some(Box::new(name)) };
        Ok(Place::In { folder: Box::new(folder), name, depth, enter, up, file_system })
    }

    /// The paths that alone can be meant, where they can be named.
    pub(super) fn exact(&self) -> Option<Vec<Box<str>>> {
        match self {
            Place::File(path) => Some(path.exact()?.iter().map(|p| plain(p).into()).collect()),
            Place::In { folder, name, depth: Some(0), up: None, .. } => {
                let folders = folder.exact()?.iter().map(|p| plain(p));
                let Some(name) = name else { return Some(folders.map(Into::into).collect()) };
                let names = name.exact()?;
                Some(folders.flat_map(|f| names.iter().map(move |n| join(f, n).into())).collect())
            }
            Place::In { .. } => None,
        }
    }

    pub(super) fn meant(&self, seen: Seen<'_>) -> Accepts {
        match self {
            Place::File(_) if seen.folder || seen.to_folder => Accepts::No,
            Place::File(path) => path.accepts(seen.path),
            Place::In { name: Some(_), .. } if seen.folder => Accepts::No,
            Place::In { name: Some(name), .. } => {
                let (folder, file) = split(seen.path);
                match name.accepts(file) {
                    Accepts::Yes => self.below(folder, seen.real.map(|r| split(r).0)),
                    other => other,
                }
            }
            Place::In { name: None, .. } if !seen.folder && !seen.to_folder => Accepts::No,
            Place::In { name: None, folder, .. } if seen.turns && folder.operation != Operation::Equals => Accepts::No,
            Place::In { name: None, enter, .. } => {
                // A link to a folder is that folder where the object names it, and below only where links are entered.
                match self.folder(seen.path) {
                    Accepts::No if seen.to_folder && *enter == Enter::Folders || seen.turns => Accepts::No,
                    Accepts::No if seen.path != "/" => self.below(seen.path, seen.real),
                    other => other,
                }
            }
        }
    }

    /// Whether this very folder is meant.
    fn folder(&self, path: &str) -> Accepts {
        match self {
            Place::In { up: Some(folders), .. } => {
                if folders.iter().any(|f| f == path) {
                    Accepts::Yes
                } else {
                    Accepts::No
                }
            }
            // A final slash does not make another folder.
            Place::In { folder, .. } if path != "/" && folder.operation == Operation::Equals => match folder.accepts(path) {
                Accepts::No => folder.accepts(&format!("{path}/")),
                other => other,
            },
            Place::In { folder, .. } => folder.accepts(path),
            Place::File(_) => Accepts::No,
        }
    }

    /// Whether a folder is meant, or lies below one that is, not deeper than it may.
    fn below(&self, path: &str, real: Option<&str>) -> Accepts {
        let Place::In { depth, enter, .. } = self else { return Accepts::No };
        let mut at = path;
        let mut level = 0u32;
        loop {
            match self.folder(at) {
                Accepts::No => {}
                Accepts::Yes if level > 0 && !entered(*enter, at, path, real) => {}
                other => return other,
            }
            if at == "/" || depth.is_some_and(|d| level >= d) {
                return Accepts::No;
            }
            at = split(at).0;
            level = level.saturating_add(1);
        }
    }

    /// Items for a collector, as `asks` says.
    pub(super) fn asks(&self, more: &str) -> Vec<String> {
        match self {
            Place::File(path) => match path.exact() {
                Some(paths) => paths.iter().filter(|p| p.starts_with('/')).map(|p| format!("{more}{}", literal(plain(p)))).collect(),
                None => patterns(path).into_iter().map(|p| format!("{more}{p}")).collect(),
            },
            Place::In { folder, name, depth, enter, up, file_system } => {
                let mut options = String::new();
                match depth {
                    Some(0) => {}
                    Some(n) => options.push_str(&format!("depth={n} ")),
                    None => options.push_str("depth=-1 "),
                }
                if *depth != Some(0) && *enter != Enter::Folders {
                    options.push_str("links ");
                }
                match file_system {
                    FileSystem::All => {}
                    FileSystem::Local => options.push_str("local "),
                    FileSystem::Defined => options.push_str("xdev "),
                }
                options.push_str(more);
                let folders = match (up, folder.exact()) {
                    (Some(folders), _) => folders.clone(),
                    (None, Some(paths)) => paths.iter().filter(|p| p.starts_with('/')).map(|p| plain(p).to_owned()).collect(),
                    (None, None) => patterns(folder).into_iter().map(|p| p.replace("//", "/(?:)/")).collect(),
                };
                // `/x` says less than `/x//`, and more collectors know it.
                let exact = *depth == Some(0) && (up.is_some() || folder.exact().is_some());
                let mut asks = Vec::new();
                for folder in &folders {
                    match name {
                        None if exact => asks.push(format!("{options}{}", literal(folder))),
                        None => asks.push(format!("{options}{folder}//")),
                        Some(name) => match name.exact() {
                            Some(names) if exact => asks.extend(names.iter().map(|n| format!("{options}{}", literal(&join(folder, n))))),
                            Some(names) => asks.extend(names.iter().map(|n| format!("{options}{folder}//^{}$", escape(n)))),
                            None => asks.extend(names_of(name).into_iter().map(|n| format!("{options}{folder}//{n}"))),
                        },
                    }
                }
                asks
            }
        }
    }
}

/// The folders that lie above those named, and they.
fn upwards(folder: &Want, levels: Option<u32>) -> Result<Vec<String>, String> {
    let named = folder.exact().ok_or("recurse_direction=\"up\" from a path that is not stated")?;
    let mut folders = Vec::new();
    for path in named.iter().filter(|p| p.starts_with('/')) {
        let mut at = plain(path);
        let mut level = 0u32;
        loop {
            folders.push(at.to_owned());
            if at == "/" || levels.is_some_and(|n| level >= n) {
                break;
            }
            at = split(at).0;
            level = level.saturating_add(1);
        }
    }
    folders.sort();
    folders.dedup();
    Ok(folders)
}

/// Whether a walk from `from` comes to the folder `path`: the names between are folders, or links, as it enters them.
fn entered(enter: Enter, from: &str, path: &str, real: Option<&str>) -> bool {
    let rest = path.strip_prefix(from.trim_end_matches('/')).unwrap_or(path);
    let linked = real.is_some_and(|r| !r.ends_with(rest));
    match enter {
        Enter::Both => true,
        Enter::Folders => !linked,
        Enter::Links => linked,
    }
}

fn remove(wants: &mut Vec<Want>, name: &str) -> Option<Want> {
    let at = wants.iter().position(|w| &*w.name == name)?;
    Some(wants.remove(at))
}

/// `/` for the root, no final slash for others.
fn plain(path: &str) -> &str {
    match path.trim_end_matches('/') {
        "" if path.starts_with('/') => "/",
        other => other,
    }
}

/// Folder and name.
pub(super) fn split(path: &str) -> (&str, &str) {
    match path.rsplit_once('/') {
        Some(("", name)) => ("/", name),
        Some((folder, name)) => (folder, name),
        None => ("", path),
    }
}

fn join(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

/// A path as an item: one with stars in its name would be read as a glob.
fn literal(path: &str) -> String {
    if path.contains(['*', '?']) { format!("^{}$", escape(path)) } else { path.to_owned() }
}

fn escape(text: &str) -> String {
    regex::escape(text)
}

/// A pattern over paths that begins with a slash means the root: nobody looks for `/etc/fstab` below other folders, and OpenSCAP's walk
/// does not either. Others may match anywhere.
fn anchor(want: &mut Want) {
    if want.operation != Operation::PatternMatch {
        return;
    }
    for pattern in want.values.iter_mut().filter(|p| !p.starts_with('^')) {
        let first = pattern.trim_start_matches("(?:").trim_start_matches('(').trim_start_matches('\\');
        let open = if first.starts_with('/') { "^" } else { "^.*" };
        *pattern = format!("{open}(?:{pattern})").into();
    }
}

/// Regexes over whole paths, each beginning with `^`.
fn patterns(want: &Want) -> Vec<String> {
    match want.operation {
        Operation::PatternMatch => want.values.iter().map(|p| p.to_string()).collect(),
        Operation::CaseInsensitiveEquals => want.values.iter().map(|p| format!("^(?i:{})$", escape(p))).collect(),
        _ => vec!["^/".to_owned()],
    }
}

/// Regexes that are searched in names; an empty one would stand for the folder.
fn names_of(want: &Want) -> Vec<String> {
    match want.operation {
        Operation::PatternMatch => want.values.iter().map(|p| if p.is_empty() { ".".to_owned() } else { p.to_string() }).collect(),
        Operation::CaseInsensitiveEquals => want.values.iter().map(|p| format!("^(?i:{})$", escape(p))).collect(),
        _ => vec![".".to_owned()],
    }
}
