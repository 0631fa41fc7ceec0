//! `service`: systemd units and init scripts, from the files that decide about them.
//!
//! The start state is what `systemctl is-enabled` computes from the same folders. Whether a unit runs is told only for the
//! running system under systemd: a service runs where its control group has processes or systemd keeps its state file
//! (which covers services that stay active without a process), a mount where it is mounted; sockets and timers are not told.

use std::collections::{BTreeMap, BTreeSet};

use super::root::{Root, is_absent, lossy, why};
use super::{Gathered, Host, config, mount, row};
use crate::scan::Row;

/// Folders of units in their precedence, and whether a generator wrote them.
const FOLDERS: [(&str, bool); 9] = [
    ("/etc/systemd/system.control", false),
    ("/run/systemd/generator.early", true),
    ("/etc/systemd/system", false),
    ("/run/systemd/system", false),
    ("/run/systemd/generator", true),
    ("/usr/local/lib/systemd/system", false),
    ("/usr/lib/systemd/system", false),
    ("/lib/systemd/system", false),
    ("/run/systemd/generator.late", true),
];
/// Where links enable units.
const ENABLING: [&str; 2] = ["/etc/systemd/system", "/run/systemd/system"];
const KINDS: [&str; 4] = [".service", ".socket", ".timer", ".mount"];
const UNIT_BYTES: usize = 1 << 20;

/// What a unit's name stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Masked,
    Alias(String),
    /// A unit file with its drop-ins, as section and key.
    Unit {
        settings: Vec<(String, String)>,
        generated: bool,
    },
    Broken(String),
}

/// All units, as their folders show them.
#[derive(Debug, Default)]
struct Tree {
    units: BTreeMap<String, Form>,
    /// Names below `*.wants` and the like of [`ENABLING`].
    wanted: BTreeSet<String>,
    /// Units that a link of another name in [`ENABLING`] points at.
    aliased: BTreeSet<String>,
    /// `name.d` -> files, by name.
    drop_ins: BTreeMap<String, BTreeMap<String, String>>,
}

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    let tree = Tree::read(host.root)?;
    let running = running(host.root);
    let mut rows = tree.rows(running.as_ref());
    rows.extend(scripts(host.root, &tree)?);
    Ok(rows)
}

impl Tree {
    fn read(root: &Root) -> Result<Tree, String> {
        let mut tree = Tree::default();
        let mut files = Vec::new();
        for (folder, generated) in FOLDERS {
            let enabling = ENABLING.contains(&folder);
            for name in root.names(folder)? {
                let path = format!("{folder}/{name}");
                if KINDS.iter().any(|k| name.ends_with(k)) {
                    files.push((name, path, generated, enabling));
                } else if name.ends_with(".d") {
                    let files = root.names(&path)?.into_iter().filter(|n| n.ends_with(".conf"));
                    let known = tree.drop_ins.entry(name).or_default();
                    for file in files {
                        let place = format!("{path}/{file}");
                        known.entry(file).or_insert(place);
                    }
                } else if enabling && [".wants", ".requires", ".upholds"].iter().any(|end| name.ends_with(end)) {
                    tree.wanted.extend(root.names(&path)?);
                }
            }
        }
        for (name, path, generated, enabling) in files {
            let form = tree.form(root, &name, &path, generated);
            if let (Form::Alias(of), true) = (&form, enabling) {
                tree.aliased.insert(of.clone());
            }
            tree.units.entry(name).or_insert(form);
        }
        Ok(tree)
    }

    fn form(&self, root: &Root, name: &str, path: &str, generated: bool) -> Form {
        let found = root.lstat(path).and_then(|(real, meta)| {
            let link = if meta.is_symlink() { Some(std::fs::read_link(&real)?) } else { None };
            Ok((link.map(|l| l.to_string_lossy().into_owned()), meta.len()))
        });
        match found {
            Ok((Some(target), _)) if target == "/dev/null" || target.ends_with("../dev/null") => return Form::Masked,
            Ok((Some(target), _)) => {
                let of = target.rsplit('/').next().unwrap_or_default();
                if of != name && KINDS.iter().any(|k| of.ends_with(k)) {
                    return Form::Alias(of.to_owned());
                }
            }
            Ok((None, 0)) => return Form::Masked,
            Ok((None, _)) => {}
            Err(e) => return Form::Broken(format!("{path}: {}", why(&e))),
        }
        let mut settings = Vec::new();
        let drop_ins = self.drop_ins.get(&format!("{name}.d")).into_iter().flat_map(BTreeMap::values);
        for file in [path].into_iter().chain(drop_ins.map(String::as_str)) {
            match root.read(file, UNIT_BYTES) {
                Ok(bytes) => settings.extend(config::parse(&lossy(bytes))),
                // A drop-in that is a link to nothing is no drop-in.
                Err(e) if is_absent(&e) && file != path => {}
                Err(e) => return Form::Broken(format!("{file}: {}", why(&e))),
            }
        }
        Form::Unit { settings, generated }
    }

    fn rows(&self, running: Option<&BTreeSet<String>>) -> Vec<Row> {
        // Names that differ only in case are one key.
        let mut rows = BTreeMap::new();
        for name in self.units.keys().chain(self.instances()) {
            rows.entry(name.to_lowercase()).or_insert_with(|| self.row(name, running));
        }
        rows.into_values().collect()
    }

    /// Instances of templates that are enabled: `getty@tty1.service`.
    fn instances(&self) -> impl Iterator<Item = &String> {
        self.wanted.iter().filter(|n| !self.units.contains_key(*n) && template(n).is_some_and(|t| self.units.contains_key(&t)))
    }

    fn row(&self, name: &str, running: Option<&BTreeSet<String>>) -> Row {
        let form = self.units.get(name).or_else(|| self.units.get(&template(name)?));
        let unit = row("service").with("name", name);
        let unit = match form {
            Some(Form::Broken(why)) => return unit.with_error(why.as_str()),
            Some(form) => unit.with("start", self.start(name, form)),
            None => unit,
        };
        // What an alias says of running and user is what its unit says.
        let real = self.real(name);
        let told = name.ends_with(".service") || name.ends_with(".mount");
        let state = running.filter(|_| told).map(|r| if r.contains(real) { "running" } else { "stopped" });
        unit.with("state", state).with("user", self.user(real))
    }

    fn real<'n>(&'n self, name: &'n str) -> &'n str {
        let mut real = name;
        for _ in 0..8 {
            match self.units.get(real) {
                Some(Form::Alias(of)) => real = of,
                _ => break,
            }
        }
        real
    }

    fn start(&self, name: &str, form: &Form) -> Option<&'static str> {
        let Form::Unit { settings, generated } = form else {
            return match form {
                Form::Masked => Some("masked"),
                _ => Some("alias"),
            };
        };
        let wanted = self.wanted.contains(name) || self.wanted.iter().any(|w| template(w).is_some_and(|t| t == name));
        let has = |keys: &[&str]| settings.iter().any(|(k, v)| keys.contains(&k.as_str()) && !v.is_empty());
        Some(match () {
            () if *generated => "generated",
            () if wanted || self.aliased.contains(name) => "enabled",
            () if has(&["Install.WantedBy", "Install.RequiredBy", "Install.UpheldBy", "Install.Alias"]) => "disabled",
            () if has(&["Install.Also", "Install.DefaultInstance"]) => "indirect",
            () => "static",
        })
    }

    /// The account of a service; none where systemd makes one up (`DynamicUser`).
    fn user(&self, name: &str) -> Option<String> {
        let form = self.units.get(name).or_else(|| self.units.get(&template(name)?));
        let Some(Form::Unit { settings, .. }) = form.filter(|_| name.ends_with(".service")) else { return None };
        let last = |key: &str| settings.iter().rev().find(|(k, _)| k == key).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty());
        let made_up = last("Service.DynamicUser").is_some_and(|v| matches!(v.to_ascii_lowercase().as_str(), "yes" | "true" | "on" | "1"));
        match last("Service.User") {
            Some(user) => Some(user.to_owned()),
            None => (!made_up).then(|| "root".to_owned()),
        }
    }
}

/// `getty@.service` of `getty@tty1.service`.
fn template(instance: &str) -> Option<String> {
    let (prefix, rest) = instance.split_once('@')?;
    let (name, kind) = rest.rsplit_once('.')?;
    (!name.is_empty()).then(|| format!("{prefix}@.{kind}"))
}

/// The units that run; none where systemd does not.
fn running(root: &Root) -> Option<BTreeSet<String>> {
    if !root.is_live() || !root.exists("/run/systemd/system") {
        return None;
    }
    let mut running: BTreeSet<String> = mount::points(root).iter().map(|p| mount_unit(p)).collect();
    let states = root.names("/run/systemd/units").unwrap_or_default();
    running.extend(states.iter().filter_map(|n| n.strip_prefix("invocation:")).filter(|n| n.ends_with(".service")).map(str::to_owned));
    for tree in ["/sys/fs/cgroup", "/sys/fs/cgroup/unified", "/sys/fs/cgroup/systemd"] {
        populated(root, tree, 0, &mut running);
    }
    Some(running)
}

/// Services below the slices of a control group tree that have processes.
fn populated(root: &Root, folder: &str, depth: usize, running: &mut BTreeSet<String>) {
    for name in root.names(folder).unwrap_or_default() {
        let path = format!("{folder}/{name}");
        // What runs below user.slice belongs to the users' own managers.
        if name.ends_with(".slice") && name != "user.slice" && depth < 6 {
            populated(root, &path, depth + 1, running);
        } else if name.ends_with(".service") {
            let read = |file: &str| root.text(&format!("{path}/{file}")).ok().flatten().unwrap_or_default();
            if read("cgroup.events").lines().any(|l| l == "populated 1") || !read("cgroup.procs").trim().is_empty() {
                running.insert(name);
            }
        }
    }
}

/// The name of the unit for a mount point (systemd-escape --path).
fn mount_unit(path: &str) -> String {
    let path = path.trim_matches('/');
    let mut name = String::new();
    for (byte, n) in path.bytes().zip(0usize..) {
        match byte {
            b'/' => name.push('-'),
            b'.' if n == 0 => name.push_str("\\x2e"),
            b'.' | b':' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => name.push(char::from(byte)),
            other => name.push_str(&format!("\\x{other:02x}")),
        }
    }
    if name.is_empty() { "-.mount".into() } else { name + ".mount" }
}

/// Init scripts without a unit of their own, of System V init (`rc?.d`) or OpenRC (`runlevels`).
fn scripts(root: &Root, tree: &Tree) -> Result<Vec<Row>, String> {
    const NO_SERVICES: [&str; 6] = ["README", "functions", "functions.sh", "rc", "rcS", "skeleton"];
    let mut started = BTreeSet::new();
    for path in root.expand("/etc/rc?.d/S*").paths {
        started.extend(path.rsplit_once("/S").map(|(_, n)| n.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned()));
    }
    for path in root.expand("/etc/runlevels/*/*").paths {
        started.extend(path.rsplit('/').next().map(str::to_owned));
    }
    let units: BTreeSet<String> = tree.units.keys().map(|n| n.to_lowercase()).collect();
    let mut rows = BTreeMap::new();
    for name in root.names("/etc/init.d")? {
        let service = format!("{name}.service").to_lowercase();
        let script = root.resolve(&format!("/etc/init.d/{name}")).is_ok_and(|p| p.is_file());
        let left_over = name.starts_with('.') || name.ends_with(".sh") || name.contains(".dpkg-") || name.contains(".rpm");
        if !script || left_over || NO_SERVICES.contains(&name.as_str()) || units.contains(&service) {
            continue;
        }
        let start = if started.contains(&name) { "enabled" } else { "disabled" };
        rows.insert(service.clone(), row("service").with("name", service).with("start", start));
    }
    Ok(rows.into_values().collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::collect::tests::Tree as Files;

    const WANTED: &str = "[Unit]\n[Service]\nUser=a\n[Install]\nWantedBy=multi-user.target\n";

    #[test]
    fn start_states() {
        let files = Files::new(&[
            ("usr/lib/systemd/system/on.service", WANTED),
            ("usr/lib/systemd/system/off.service", WANTED),
            ("usr/lib/systemd/system/gone.service", WANTED),
            ("usr/lib/systemd/system/plain.service", "[Service]\nExecStart=x\n"),
            ("usr/lib/systemd/system/getty@.service", "[Service]\n[Install]\nWantedBy=getty.target\n"),
            ("usr/lib/systemd/system/also.socket", "[Install]\nAlso=on.service\n"),
            ("usr/lib/systemd/system/empty.timer", ""),
            ("etc/systemd/system/off.service.d/user.conf", "[Service]\nUser=b\n"),
            ("run/systemd/generator/data.mount", "[Mount]\n"),
            ("etc/systemd/system/multi-user.target.wants/.keep", ""),
            ("etc/init.d/on", "#!/bin/sh\n"),
            ("etc/init.d/old", "#!/bin/sh\n"),
            ("etc/rc2.d/S01old", ""),
        ]);
        let etc = files.path().join("etc/systemd/system");
        symlink("/usr/lib/systemd/system/on.service", etc.join("multi-user.target.wants/on.service")).unwrap();
        symlink("/usr/lib/systemd/system/getty@.service", etc.join("multi-user.target.wants/getty@tty1.service")).unwrap();
        symlink("/dev/null", etc.join("gone.service")).unwrap();
        symlink("/usr/lib/systemd/system/plain.service", etc.join("other.service")).unwrap();
        symlink("/nowhere/lost.service", etc.join("lost.service")).unwrap();
        let rows = files.with_host(|host| collect(host).unwrap());
        let got: Vec<_> =
            rows.iter().map(|r| [r.get("name"), r.get("start"), r.get("user")].map(|v| v.as_str().unwrap_or("-")).join(" ")).collect();
        assert_eq!(
            got,
            [
                "also.socket indirect -",
                "data.mount generated -",
                "empty.timer masked -",
                "getty@.service enabled root",
                "getty@tty1.service enabled root",
                "gone.service masked -",
                "lost.service - -",
                "off.service disabled b",
                "on.service enabled a",
                "other.service alias root",
                "plain.service enabled root",
                "old.service enabled -",
            ]
        );
        assert_eq!(rows[6].error.as_deref(), Some("/etc/systemd/system/lost.service: not found"));
    }

    #[test]
    fn names_of_mounts_and_templates() {
        assert_eq!(mount_unit("/"), "-.mount");
        assert_eq!(mount_unit("/var/my-data"), "var-my\\x2ddata.mount");
        assert_eq!(template("a@b.service").as_deref(), Some("a@.service"));
        assert_eq!(template("a@.service"), None);
        assert_eq!(template("a.service"), None);
    }
}
