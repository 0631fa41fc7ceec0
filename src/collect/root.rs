//! Files below a root folder, the way a process would see them that had been chrooted into it: symbolic links do not leave it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs::{self, File, Metadata};
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};

/// Bytes of a file that is read whole for a table of ours. Package databases are the largest.
pub(super) const FILE_BYTES: usize = 128 << 20;
/// Symbolic links followed for one path, as in the kernel.
const LINKS: usize = 40;
/// Paths that one pattern may match.
const MATCHES: usize = 4096;
/// Names of one folder.
const NAMES: usize = 200_000;

/// The folder that stands for `/`.
#[derive(Clone, Debug)]
pub struct Root(PathBuf);

/// What a pattern matches, in order of name, and what kept us from seeing all of it.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Matches {
    pub(super) paths: Vec<String>,
    pub(super) problem: Option<String>,
}

impl Root {
    pub fn new(path: impl Into<PathBuf>) -> Root {
        Root(path.into())
    }

    /// Whether this is the running system's own root: what only the kernel knows (uname, cgroups) is asked only then.
    pub fn is_live(&self) -> bool {
        self.0 == Path::new("/")
    }

    /// Where an absolute path of the system really is, symbolic links followed within the root.
    pub(super) fn resolve(&self, path: &str) -> io::Result<PathBuf> {
        if self.is_live() {
            return Ok(PathBuf::from(path));
        }
        let mut todo: VecDeque<OsString> = names(Path::new(path)).collect();
        let mut done: Vec<OsString> = Vec::new();
        let mut links = 0;
        while let Some(name) = todo.pop_front() {
            if name == ".." {
                done.pop();
                continue;
            }
            done.push(name);
            let here = self.place(&done);
            if !fs::symlink_metadata(&here)?.is_symlink() {
                continue;
            }
            links += 1;
            if links > LINKS {
                return Err(io::Error::other("too many levels of symbolic links"));
            }
            let target = fs::read_link(&here)?;
            if target.is_absolute() {
                done.clear();
            } else {
                done.pop();
            }
            for name in names(&target).collect::<Vec<_>>().into_iter().rev() {
                todo.push_front(name);
            }
        }
        Ok(self.place(&done))
    }

    /// The absolute path of the system that a path ends at, all links followed.
    pub(super) fn canonical(&self, path: &str) -> io::Result<String> {
        let real = if self.is_live() { fs::canonicalize(path)? } else { self.resolve(path)? };
        let real = real.strip_prefix(&self.0).map_err(io::Error::other)?;
        Ok(format!("/{}", real.to_string_lossy()))
    }

    fn place(&self, names: &[OsString]) -> PathBuf {
        let mut place = self.0.clone();
        place.extend(names);
        place
    }

    /// The real place and the metadata of a path, its last part not followed.
    pub(super) fn lstat(&self, path: &str) -> io::Result<(PathBuf, Metadata)> {
        let (folder, name) = path.trim_end_matches('/').rsplit_once('/').unwrap_or(("", ""));
        let real = self.resolve(if folder.is_empty() { "/" } else { folder })?.join(name);
        let meta = fs::symlink_metadata(&real)?;
        Ok((real, meta))
    }

    /// Whether something is there, the last part of the path followed.
    pub(super) fn exists(&self, path: &str) -> bool {
        self.resolve(path).is_ok_and(|real| real.exists())
    }

    /// A regular file, whole.
    pub(super) fn read(&self, path: &str, max: usize) -> io::Result<Vec<u8>> {
        read_file(&self.resolve(path)?, max)
    }

    /// A file as text; none where it is not there. The error names the path.
    pub(super) fn text(&self, path: &str) -> Result<Option<String>, String> {
        match self.read(path, FILE_BYTES) {
            Ok(bytes) => Ok(Some(lossy(bytes))),
            Err(e) if is_absent(&e) => Ok(None),
            Err(e) => Err(format!("{path}: {}", why(&e))),
        }
    }

    /// The names in a folder, sorted; none where it is not there. The error names the path.
    pub(super) fn names(&self, path: &str) -> Result<Vec<String>, String> {
        match self.entries(path) {
            Ok(names) => Ok(names),
            Err(e) if is_absent(&e) => Ok(Vec::new()),
            Err(e) => Err(format!("{path}: {}", why(&e))),
        }
    }

    pub(super) fn entries(&self, path: &str) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(self.resolve(path)?)? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
            if names.len() > NAMES {
                return Err(io::Error::other(format!("more than {NAMES} names")));
            }
        }
        names.sort();
        Ok(names)
    }

    /// The paths that a pattern matches; `*` and `?` stand within a name.
    pub(super) fn expand(&self, pattern: &str) -> Matches {
        let mut found = Matches::default();
        let mut paths = vec![String::new()];
        for segment in pattern.split('/').skip(1) {
            if is_pattern(segment) {
                paths = self.children(&paths, segment, &mut found.problem);
            } else {
                paths.iter_mut().for_each(|p| p.extend(["/", segment]));
            }
        }
        for path in paths {
            match self.lstat(&path) {
                Ok(_) => found.paths.push(path),
                Err(e) if is_absent(&e) => {}
                Err(e) => found.problem = Some(format!("{path}: {}", why(&e))),
            }
        }
        found
    }

    fn children(&self, folders: &[String], segment: &str, problem: &mut Option<String>) -> Vec<String> {
        let mut paths = Vec::new();
        for folder in folders {
            let at = if folder.is_empty() { "/" } else { folder };
            let names = match self.names(at) {
                Ok(names) => names,
                Err(why) => {
                    *problem = Some(why);
                    continue;
                }
            };
            for name in names.into_iter().filter(|n| matches(segment, n)) {
                if paths.len() == MATCHES {
                    *problem = Some(format!("more than {MATCHES} matches"));
                    return paths;
                }
                if name.contains(char::REPLACEMENT_CHARACTER) {
                    *problem = Some(format!("{at}: a name is not UTF-8"));
                }
                paths.push(format!("{folder}/{name}"));
            }
        }
        paths
    }
}

/// The parts of a path, without `/` and `.`.
fn names(path: &Path) -> impl Iterator<Item = OsString> + '_ {
    path.components().filter_map(|c| match c {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        Component::RootDir | Component::CurDir | Component::Prefix(_) => None,
    })
}

/// A regular file at its real place. Others are not opened: a pipe would never answer, a device may act.
pub(super) fn read_file(real: &Path, max: usize) -> io::Result<Vec<u8>> {
    if !fs::metadata(real)?.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    let mut bytes = Vec::new();
    File::open(real)?.take(u64::try_from(max).unwrap_or(u64::MAX).saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() > max {
        return Err(io::Error::other(format!("over the limit of {max} bytes")));
    }
    Ok(bytes)
}

pub(super) fn lossy(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

pub(super) fn is_absent(e: &io::Error) -> bool {
    matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

/// An error in a few words, without the number.
pub(super) fn why(e: &io::Error) -> String {
    match e.kind() {
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::NotFound => "not found".into(),
        io::ErrorKind::IsADirectory => "is a directory".into(),
        _ => e.to_string(),
    }
}

pub(super) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?'])
}

/// Whether a name matches a pattern of `*` and `?`. A star takes a leading dot too: hidden files count.
pub(super) fn matches(pattern: &str, name: &str) -> bool {
    let (p, n): (Vec<char>, Vec<char>) = (pattern.chars().collect(), name.chars().collect());
    let (mut i, mut j) = (0, 0);
    // Where to go on when a later part does not fit: the last star, and how far it has reached.
    let mut retry: Option<(usize, usize)> = None;
    while j < n.len() {
        match p.get(i) {
            Some('*') => {
                retry = Some((i + 1, j));
                i += 1;
            }
            Some(c) if *c == '?' || *c == n[j] => (i, j) = (i + 1, j + 1),
            _ => match retry {
                Some((after, reached)) => {
                    retry = Some((after, reached + 1));
                    (i, j) = (after, reached + 1);
                }
                None => return false,
            },
        }
    }
    p.iter().skip(i).all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn stars_and_question_marks() {
        for (pattern, name, yes) in [
            ("*", "", true),
            ("*.conf", "a.conf", true),
            ("*.conf", ".conf", true),
            ("*.conf", "a.conf.bak", false),
            ("a*b*c", "aXbYbc", true),
            ("a*b*c", "aXbY", false),
            ("?", "ä", true),
            ("?", "", false),
            ("cron.*", "cron.daily", true),
            ("[a]", "a", false),
        ] {
            assert_eq!(matches(pattern, name), yes, "{pattern} {name}");
        }
    }

    #[test]
    fn links_stay_inside_and_patterns_expand() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        fs::create_dir_all(dir.path().join("etc/a.d")).unwrap();
        fs::create_dir_all(dir.path().join("etc/b.d")).unwrap();
        fs::write(dir.path().join("etc/a.d/1.conf"), "one").unwrap();
        fs::write(dir.path().join("etc/b.d/2.conf"), "two").unwrap();
        symlink("/etc/a.d/1.conf", dir.path().join("etc/absolute")).unwrap();
        symlink("../../../../etc/b.d/2.conf", dir.path().join("etc/upwards")).unwrap();
        symlink("loop", dir.path().join("etc/loop")).unwrap();
        assert_eq!(root.text("/etc/absolute"), Ok(Some("one".into())));
        assert_eq!(root.text("/etc/upwards"), Ok(Some("two".into())));
        assert_eq!(root.text("/etc/none"), Ok(None));
        assert_eq!(root.text("/etc/loop"), Err("/etc/loop: too many levels of symbolic links".into()));
        assert_eq!(root.text("/etc/a.d"), Err("/etc/a.d: not a regular file".into()));
        assert_eq!(root.expand("/etc/?.d/*.conf").paths, ["/etc/a.d/1.conf", "/etc/b.d/2.conf"]);
        assert_eq!(root.expand("/etc/*.d/1.conf").paths, ["/etc/a.d/1.conf"]);
        assert_eq!(root.expand("/none/*"), Matches::default());
        assert_eq!(root.read("/etc/absolute", 2).unwrap_err().to_string(), "over the limit of 2 bytes");
    }
}
