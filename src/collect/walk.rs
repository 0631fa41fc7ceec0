//! Walks: what lies below folders and matches, in order of name, without leaving the root and in bounded time.

use std::collections::BTreeSet;
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::item::{From, Walk, Wanted};
use super::root::{Matches, Root, is_absent, why};

/// Names that all walks of a table look at.
const LOOKED_AT: usize = 5_000_000;
/// Paths that one walk may match.
const MATCHES: usize = 1_000_000;
/// Folders within folders.
const DEPTH: usize = 200;
/// Where the kernel shows itself: endless, and never what content means by "all files".
const KERNEL: [&str; 2] = ["/proc", "/sys"];
/// File systems whose files lie on another host.
const NETWORK: [&str; 20] = [
    "9p",
    "afs",
    "auristorfs",
    "autofs",
    "ceph",
    "cifs",
    "coda",
    "davfs",
    "gfs",
    "gfs2",
    "glusterfs",
    "lustre",
    "ncp",
    "ncpfs",
    "nfs",
    "nfs4",
    "ocfs2",
    "smb3",
    "smbfs",
    "sshfs",
];

/// What walks of one root share.
pub(super) struct Walker<'a> {
    root: &'a Root,
    /// Mount points of other hosts' files.
    remote: BTreeSet<String>,
    /// Device numbers of the kernel's own file systems.
    kernel: Vec<u64>,
    left: usize,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Folder,
    Link,
    Other,
}

/// What a name on the way is, links followed.
enum Step {
    Folder(Here),
    NoFolder,
    /// A folder that is not entered.
    Closed,
}

/// A folder on the way.
struct Here {
    path: String,
    real: PathBuf,
    device: u64,
    inode: u64,
}

struct Run<'w> {
    walk: &'w Walk,
    found: Matches,
    /// The real folders above, so that links do not lead round.
    above: Vec<(u64, u64)>,
    /// Folders that a regular expression led to twice.
    seen: BTreeSet<String>,
}

impl<'a> Walker<'a> {
    pub(super) fn new(root: &'a Root) -> Walker<'a> {
        let mounts = root.text("/proc/self/mounts").ok().flatten().unwrap_or_default();
        let root_device = root.resolve("/").and_then(fs::metadata).ok().map(|m| m.dev());
        let device = |path: &&str| root.resolve(path).and_then(fs::metadata).ok().map(|m| m.dev());
        let kernel = KERNEL.iter().filter_map(device).filter(|d| Some(*d) != root_device).collect();
        Walker { root, remote: remote(&mounts), kernel, left: LOOKED_AT }
    }

    pub(super) fn run(&mut self, walk: &Walk) -> Matches {
        let mut run = Run { walk, found: Matches::default(), above: Vec::new(), seen: BTreeSet::new() };
        let start = match &walk.from {
            From::Path(path) => path,
            From::Regex(pattern) => &pattern.prefix,
        };
        if let Some(here) = self.open(start, &mut run.found) {
            match &walk.from {
                From::Path(_) => self.below(&here, here.device, 0, &mut run),
                From::Regex(_) => self.search(&here, &mut run),
            }
        }
        if run.found.paths.len() > MATCHES {
            run.found.paths.truncate(MATCHES);
            run.found.problem = Some(format!("more than {MATCHES} matches"));
        }
        if self.left == 0 {
            run.found.problem = Some(format!("more than {LOOKED_AT} names to look at"));
        }
        run.found
    }

    /// A folder, links followed.
    fn open(&self, path: &str, found: &mut Matches) -> Option<Here> {
        let real = self.root.resolve(path);
        match real.and_then(|real| fs::metadata(&real).map(|meta| (real, meta))) {
            Ok((real, meta)) if meta.is_dir() => Some(here(path.to_owned(), real, &meta)),
            Ok(_) => None,
            Err(e) if is_absent(&e) || is_loop(&e) => None,
            Err(e) => {
                found.problem = Some(format!("{path}: {}", why(&e)));
                None
            }
        }
    }

    /// The folders, or the files, whose whole path matches. Links to folders are entered.
    fn search(&mut self, at: &Here, run: &mut Run<'_>) {
        let From::Regex(pattern) = &run.walk.from else { return };
        // A folder that lies in itself is nowhere.
        if run.above.contains(&(at.device, at.inode)) {
            return;
        }
        let whole = matches!(run.walk.wanted, Wanted::Whole);
        if !whole && holds(pattern.is_match(&at.path), run) && run.seen.insert(at.path.clone()) {
            let above = std::mem::take(&mut run.above);
            self.below(at, at.device, 0, run);
            run.above = above;
        }
        if run.above.len() >= DEPTH || !pattern.reaches(&at.path) {
            return;
        }
        run.above.push((at.device, at.inode));
        for (name, kind) in self.names(at, run) {
            let path = join(&at.path, &name);
            match self.step(at, &path, &name, kind, run.walk) {
                // Only what lies below a folder that matches has a file system to stay on.
                Step::Folder(next) if self.may_enter(&next, at, next.device, run.walk) => self.search(&next, run),
                Step::NoFolder if whole && holds(pattern.is_match(&path), run) => run.found.paths.push(path),
                Step::Folder(_) | Step::NoFolder | Step::Closed => {}
            }
            if self.left == 0 || run.found.paths.len() > MATCHES {
                break;
            }
        }
        run.above.pop();
    }

    /// What is wanted of a folder and, as deep as was asked, of the folders in it.
    fn below(&mut self, at: &Here, device: u64, level: usize, run: &mut Run<'_>) {
        if run.above.contains(&(at.device, at.inode)) {
            return;
        }
        if matches!(run.walk.wanted, Wanted::Folders) {
            run.found.paths.push(at.path.clone());
        }
        let deeper = run.walk.depth.is_none_or(|depth| level < depth) && run.above.len() < DEPTH;
        if !deeper && matches!(run.walk.wanted, Wanted::Folders) {
            return;
        }
        run.above.push((at.device, at.inode));
        for (name, kind) in self.names(at, run) {
            let path = join(&at.path, &name);
            match (&run.walk.wanted, kind) {
                // A link to a folder is no folder here.
                (Wanted::Name(pattern), Kind::Link | Kind::Other) if holds(pattern.is_match(&name), run) => {
                    run.found.paths.push(path.clone())
                }
                _ => {}
            }
            let enters = kind == Kind::Folder || kind == Kind::Link && run.walk.links;
            if deeper && enters {
                match self.step(at, &path, &name, kind, run.walk) {
                    Step::Folder(next) if self.may_enter(&next, at, device, run.walk) => self.below(&next, device, level + 1, run),
                    Step::Folder(_) | Step::NoFolder | Step::Closed => {}
                }
            }
            if self.left == 0 || run.found.paths.len() > MATCHES {
                break;
            }
        }
        run.above.pop();
    }

    fn step(&self, at: &Here, path: &str, name: &str, kind: Kind, walk: &Walk) -> Step {
        if kind == Kind::Other {
            return Step::NoFolder;
        }
        // What lies on a host that does not answer is not even looked at.
        if walk.local && self.remote.contains(path) {
            return Step::Closed;
        }
        if kind == Kind::Link {
            return self.open(path, &mut Matches::default()).map_or(Step::NoFolder, Step::Folder);
        }
        let real = at.real.join(name);
        match fs::symlink_metadata(&real) {
            Ok(meta) => Step::Folder(here(path.to_owned(), real, &meta)),
            // Folders come and go.
            Err(_) => Step::Closed,
        }
    }

    fn may_enter(&self, next: &Here, at: &Here, device: u64, walk: &Walk) -> bool {
        let inside = |path: &str| KERNEL.iter().any(|k| path.strip_prefix(k).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')));
        let is_kernel = |here: &Here| inside(&here.path) || self.kernel.contains(&here.device);
        if is_kernel(next) && !is_kernel(at) {
            return false;
        }
        !(walk.xdev && next.device != device)
    }

    fn names(&mut self, at: &Here, run: &mut Run<'_>) -> Vec<(String, Kind)> {
        match read(&at.real, self.left) {
            Ok((names, odd)) => {
                self.left = self.left.saturating_sub(names.len().max(1));
                if odd {
                    run.found.problem = Some(format!("{}: a name is not UTF-8", at.path));
                }
                names
            }
            Err(e) => {
                // Folders come and go.
                if !is_absent(&e) {
                    run.found.problem = Some(format!("{}: {}", at.path, why(&e)));
                }
                Vec::new()
            }
        }
    }
}

fn here(path: String, real: PathBuf, meta: &Metadata) -> Here {
    Here { path, real, device: meta.dev(), inode: meta.ino() }
}

fn join(folder: &str, name: &str) -> String {
    format!("{}/{name}", folder.trim_end_matches('/'))
}

/// An expression that gave up is said once.
fn holds(answer: Result<bool, String>, run: &mut Run<'_>) -> bool {
    answer.unwrap_or_else(|why| {
        run.found.problem = Some(why);
        false
    })
}

fn is_loop(e: &io::Error) -> bool {
    e.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error())
}

/// Names with their kinds, sorted, and whether one was left out that is not UTF-8.
fn read(folder: &Path, max: usize) -> io::Result<(Vec<(String, Kind)>, bool)> {
    let mut names = Vec::new();
    let mut odd = false;
    for entry in fs::read_dir(folder)?.take(max) {
        let entry = entry?;
        let Ok(name) = entry.file_name().into_string() else {
            odd = true;
            continue;
        };
        let kind = match entry.file_type()? {
            kind if kind.is_dir() => Kind::Folder,
            kind if kind.is_symlink() => Kind::Link,
            _ => Kind::Other,
        };
        names.push((name, kind));
    }
    names.sort_unstable_by(|a, b| a.0.cmp(&b.0));
    Ok((names, odd))
}

/// Mount points of network file systems in the text of `/proc/self/mounts`.
fn remote(mounts: &str) -> BTreeSet<String> {
    let fields = mounts.lines().map(|l| l.split(' ').collect::<Vec<_>>());
    let remote = fields.filter_map(|f| match f.get(..3)? {
        [_, path, kind] if NETWORK.contains(&kind.trim_start_matches("fuse.")) => Some(super::mount::unescape(path)),
        _ => None,
    });
    remote.collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::collect::item::{Target, parse};
    use crate::collect::tests::Tree;

    fn tree() -> Tree {
        let tree = Tree::new(&[
            ("etc/a.conf", ""),
            ("etc/a.d/1.conf", ""),
            ("etc/a.d/b/2.conf", ""),
            ("etc/a.d/b/c/3.conf", ""),
            ("etc/other/4.conf", ""),
            ("usr/bin/sh", ""),
            ("proc/1/status", ""),
            ("net/far/5.conf", ""),
            ("proc/self/mounts", "srv:/x /net/far nfs4 rw 0 0\n"),
        ]);
        symlink("usr/bin", tree.path().join("bin")).unwrap();
        symlink("/etc/a.d", tree.path().join("etc/a.d/b/round")).unwrap();
        symlink("/etc/other/4.conf", tree.path().join("etc/a.d/link.conf")).unwrap();
        symlink("nowhere", tree.path().join("etc/a.d/lost.conf")).unwrap();
        symlink("/etc/other", tree.path().join("etc/a.d/folder.conf")).unwrap();
        tree
    }

    fn run(tree: &Tree, item: &str) -> Matches {
        let root = Root::new(tree.path());
        let Target::Walk(walk) = parse(item, &Default::default()).unwrap().target else { panic!("{item} is no walk") };
        let mut found = Walker::new(&root).run(&walk);
        found.paths.sort();
        found.paths.dedup();
        found
    }

    #[test]
    fn what_walks_find() {
        let tree = tree();
        for (item, paths) in [
            ("^/etc/a(\\.d/[^/]*)?\\.conf$", &["/etc/a.conf", "/etc/a.d/1.conf", "/etc/a.d/link.conf", "/etc/a.d/lost.conf"][..]),
            ("^/bin/sh$", &["/bin/sh"]),
            ("^/etc/a\\.d/folder.conf/", &["/etc/a.d/folder.conf/4.conf"]),
            // Round once, and no further.
            ("^/etc/a\\.d/.*/2\\.conf$", &["/etc/a.d/b/2.conf"]),
            ("/etc/a.d//^.*\\.conf$", &["/etc/a.d/1.conf", "/etc/a.d/folder.conf", "/etc/a.d/link.conf", "/etc/a.d/lost.conf"]),
            ("depth=1 /etc/a.d//^\\d", &["/etc/a.d/1.conf", "/etc/a.d/b/2.conf"]),
            ("depth=-1 /etc/a.d//^\\d", &["/etc/a.d/1.conf", "/etc/a.d/b/2.conf", "/etc/a.d/b/c/3.conf"]),
            ("depth=1 links /etc/a.d//^4", &["/etc/a.d/folder.conf/4.conf"]),
            ("/bin//^s", &["/bin/sh"]),
            ("/etc/a.d//", &["/etc/a.d"]),
            ("depth=-1 /etc/a.d//", &["/etc/a.d", "/etc/a.d/b", "/etc/a.d/b/c"]),
            (
                "^/etc/(a\\.d|other)$//\\.conf$",
                &["/etc/a.d/1.conf", "/etc/a.d/folder.conf", "/etc/a.d/link.conf", "/etc/a.d/lost.conf", "/etc/other/4.conf"],
            ),
            ("depth=-1 ///^(sh|status|5)", &["/net/far/5.conf", "/usr/bin/sh"]),
            ("depth=-1 local ///^(sh|status|5)", &["/usr/bin/sh"]),
            ("depth=-1 /proc//^status$", &["/proc/1/status"]),
            ("^/proc/\\d+/status$", &["/proc/1/status"]),
            ("^/none/.*$", &[]),
            ("/none//a", &[]),
        ] {
            let found = run(&tree, item);
            assert_eq!((found.paths, found.problem), (paths.iter().map(|p| (*p).to_owned()).collect(), None), "{item}");
        }
    }

    #[test]
    fn folders_that_may_not_be_read_are_said() {
        if rustix::process::geteuid().is_root() {
            return crate::collect::tests::not_here("root may read every folder");
        }
        use std::os::unix::fs::PermissionsExt;
        let tree = tree();
        let closed = tree.path().join("etc/a.d/b");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
        let found = run(&tree, "depth=-1 /etc//^\\d");
        fs::set_permissions(&closed, fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(found.problem.as_deref(), Some("/etc/a.d/b: permission denied"));
        assert_eq!(found.paths, ["/etc/a.d/1.conf", "/etc/other/4.conf"]);
    }

    #[test]
    fn names_are_bounded() {
        let tree = tree();
        let root = Root::new(tree.path());
        let Target::Walk(walk) = parse("depth=-1 ///.*", &Default::default()).unwrap().target else { panic!() };
        let mut walker = Walker::new(&root);
        walker.left = 4;
        let found = walker.run(&walk);
        assert!(found.problem.as_deref().is_some_and(|p| p.starts_with("more than")), "{found:?}");
    }
}
