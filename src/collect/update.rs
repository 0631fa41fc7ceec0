//! `update`: what the package manager would install now, by what it knows of its repositories already. Nothing here asks the network or changes the system.
//!
//! What a package manager never learned is not told as nothing: without lists of packages the table has failed.

use std::collections::BTreeMap;
use std::time::Duration;

use super::command::{self, Silence};
use super::package::Package;
use super::{Gap, Gathered, Host, apk, dpkg, os, row, rpm};
use crate::limits::Limits;
use crate::scan::Row;
use crate::xml;

/// Working out an upgrade of some thousand packages takes seconds.
const PATIENCE: Duration = Duration::from_secs(120);
/// New packages whose sources are asked for.
const NEW: usize = 200;
/// A simulation needs no lock, nor the right to take one.
const APT: [&str; 6] = ["-s", "-q", "-o", "Debug::NoLocking=1", "-o", "APT::Get::Show-User-Simulation-Note=0"];
const DNF: [&str; 6] = [
    "-q",
    "-C",
    "repoquery",
    "--upgrades",
    "--latest-limit=1",
    "--queryformat=%{name}\\t%{epoch}\\t%{version}-%{release}\\t%{arch}\\t%{sourcerpm}\\t%{repoid}\\n",
];

/// A program with arguments, or another that speaks as it does.
type Run<'a> = &'a dyn Fn(&str, &[&str]) -> Result<String, Silence>;

/// One package that would be installed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Update {
    name: String,
    version: String,
    arch: Option<String>,
    source: Option<String>,
    repository: Option<String>,
}

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    // Package managers speak of the running system, whatever the root.
    if !host.root.is_live() {
        return Err(Gap::NotAsked);
    }
    offered(host, &|program, arguments| command::ask(program, arguments, PATIENCE))
}

fn offered(host: &Host<'_>, run: Run<'_>) -> Gathered {
    let (updates, installed) = if let Some(installed) = dpkg::read(host)? {
        (apt(host, run)?, installed)
    } else if let Some(installed) = rpm::read(host)? {
        (rpms(run, host.limits)?, installed)
    } else if let Some(installed) = apk::read(host)? {
        (alpine(host, run, &installed)?, installed)
    } else {
        return Err(Gap::NotAsked);
    };
    let sources: BTreeMap<&str, &Package> = installed.iter().map(|p| (p.name.as_str(), p)).collect();
    let release = os::release(&host.release);
    let to_row = |update: Update| -> Row {
        let source = update.source.or_else(|| sources.get(update.name.as_str()).and_then(|p| p.source.clone()));
        row("update")
            .with("name", update.name)
            .with("version", update.version)
            .with("arch", update.arch)
            .with("source", source)
            .with("release", release.as_deref())
            .with("repository", update.repository)
    };
    Ok(updates.into_iter().map(to_row).collect())
}

/// Leaves the table out where the program is not there.
fn told(program: &'static str, answer: Result<String, Silence>) -> Result<String, Gap> {
    answer.map_err(|silence| match silence {
        Silence::NotThere => Gap::NotAsked,
        Silence::Failed(why) => Gap::Failed(if why.is_empty() { format!("{program}: failed") } else { why }),
    })
}

/// A full upgrade: new kernels are packages of new names.
fn apt(host: &Host<'_>, run: Run<'_>) -> Result<Vec<Update>, Gap> {
    let answer = told("apt-get", run("apt-get", &[APT.as_slice(), &["dist-upgrade"]].concat()))?;
    if !host.root.names("/var/lib/apt/lists")?.iter().any(|n| n.contains("_Packages")) {
        return Err(Gap::Failed("/var/lib/apt/lists: no package lists; `apt-get update` brings them".to_owned()));
    }
    let (mut updates, new) = installs(&answer);
    let asked: Vec<&str> = new.iter().take(NEW).map(String::as_str).collect();
    if !asked.is_empty() {
        // Without an answer the sources stay unknown.
        let shown = run("apt-cache", &[&["show", "--no-all-versions"], asked.as_slice()].concat()).unwrap_or_default();
        let known: BTreeMap<String, Option<String>> =
            dpkg::parse(&shown).unwrap_or_default().into_iter().map(|p| (p.name, p.source)).collect();
        for update in &mut updates {
            if let Some(source) = known.get(&update.name) {
                update.source.clone_from(source);
            }
        }
    }
    Ok(updates)
}

/// `Inst bash [5.2-1] (5.2-2 Debian:12.5/stable [amd64])`; without the version in brackets for a package that is new. And the names of those.
fn installs(text: &str) -> (Vec<Update>, Vec<String>) {
    let (mut updates, mut new) = (Vec::new(), Vec::new());
    for line in text.lines() {
        let Some((name, rest)) = line.strip_prefix("Inst ").and_then(|l| l.split_once(' ')) else { continue };
        let Some((before, inside)) = rest.split_once('(') else { continue };
        let inside = inside.rsplit_once(')').map_or(inside, |(inside, _)| inside);
        let (version, origin) = inside.split_once(' ').unwrap_or((inside, ""));
        let (origin, arch) = match origin.rsplit_once('[') {
            Some((origin, arch)) => (origin.trim(), arch.strip_suffix(']')),
            None => (origin.trim(), None),
        };
        let name = name.split_once(':').map_or(name, |(name, _)| name).to_owned();
        if !before.contains('[') {
            new.push(name.clone());
        }
        let some = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty());
        updates.push(Update { name, version: version.to_owned(), arch: arch.and_then(some), source: None, repository: some(origin) });
    }
    (updates, new)
}

fn rpms(run: Run<'_>, limits: &Limits) -> Result<Vec<Update>, Gap> {
    match run("dnf", &DNF) {
        Ok(answer) => return Ok(queried(&answer)),
        Err(Silence::Failed(why)) => return Err(Gap::Failed(why)),
        Err(Silence::NotThere) => {}
    }
    match run("zypper", &["--non-interactive", "--no-refresh", "--xmlout", "list-updates"]) {
        Ok(answer) => return listed_as_xml(&answer, limits).map_err(Gap::Failed),
        Err(Silence::Failed(why)) => return Err(Gap::Failed(why)),
        Err(Silence::NotThere) => {}
    }
    let answer = told("yum", run("yum", &["-q", "-C", "list", "updates"]))?;
    Ok(listed(&answer))
}

/// Lines of [`DNF`]'s format.
fn queried(text: &str) -> Vec<Update> {
    let mut out = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.trim().split('\t').collect();
        let &[name, epoch, version, arch, source, repository] = fields.as_slice() else { continue };
        let version = if epoch.is_empty() || epoch == "0" || epoch == "(none)" { version.to_owned() } else { format!("{epoch}:{version}") };
        let some = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty() && t != "(none)");
        let source = rpm::source_of(source).map(|(name, _)| name.to_owned());
        out.push(Update { name: name.to_owned(), version, arch: some(arch), source, repository: some(repository) });
    }
    out
}

/// `bash.x86_64   4.2.46-35.el7_9   updates`; long names push the rest to the next line.
fn listed(text: &str) -> Vec<Update> {
    let body = text.split_once("Updated Packages").map_or("", |(_, body)| body);
    let body = body.split_once("Obsoleting Packages").map_or(body, |(body, _)| body);
    let words: Vec<&str> = body.split_whitespace().collect();
    let update = |words: &[&str]| {
        let &[name, version, repository] = words else { return None };
        let (name, arch) = name.rsplit_once('.')?;
        let (arch, repository) = (Some(arch.to_owned()), Some(repository.to_owned()));
        Some(Update { name: name.to_owned(), version: version.to_owned(), arch, source: None, repository })
    };
    words.chunks(3).filter_map(update).collect()
}

/// `<update kind="package" name="bash" edition="4.4-150400.27.3.2" arch="x86_64"><source alias="..."/></update>`
fn listed_as_xml(text: &str, limits: &Limits) -> Result<Vec<Update>, String> {
    let document = xml::tree(text, limits).map_err(|e| format!("zypper: {e}"))?;
    let updates = document.descendants().filter(|n| n.has_tag_name("update") && n.attribute("kind").is_none_or(|k| k == "package"));
    let read = |node: roxmltree::Node<'_, '_>| {
        let text = |name: &str| node.attribute(name).map(str::to_owned);
        let repository = node.children().find(|n| n.has_tag_name("source")).and_then(|n| n.attribute("alias")).map(str::to_owned);
        Some(Update { name: text("name")?, version: text("edition")?, arch: text("arch"), source: None, repository })
    };
    Ok(updates.filter_map(read).collect())
}

/// `musl-1.2.4-r0 < 1.2.5-r0`; which part is the name is known from what is installed.
fn alpine(host: &Host<'_>, run: Run<'_>, installed: &[Package]) -> Result<Vec<Update>, Gap> {
    let answer = told("apk", run("apk", &["version", "--no-network", "-l", "<"]))?;
    let is_index = |folder: &str| host.root.names(folder).is_ok_and(|names| names.iter().any(|n| n.starts_with("APKINDEX.")));
    if !["/var/cache/apk", "/etc/apk/cache"].into_iter().any(is_index) {
        return Err(Gap::Failed("/var/cache/apk: no index of packages; `apk update` brings it".to_owned()));
    }
    let known: BTreeMap<String, &Package> = installed.iter().map(|p| (format!("{}-{}", p.name, p.version), p)).collect();
    let update = |line: &str| {
        let (before, after) = line.split_once('<')?;
        let package = known.get(before.trim())?;
        let mut after = after.split_whitespace();
        let version = after.next()?.to_owned();
        let repository = after.next().map(|r| r.trim_start_matches('@').to_owned());
        Some(Update { name: package.name.clone(), version, arch: package.arch.clone(), source: package.source.clone(), repository })
    };
    Ok(answer.lines().filter_map(update).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::tests::Tree;

    const DEBIAN: &str = "ID=debian\nVERSION_ID=\"12\"\n";
    const STATUS: &str = "Package: libxz5\nStatus: install ok installed\nArchitecture: amd64\nVersion: 5.4-1\nSource: xz-utils\n\n\
        Package: kept\nStatus: install ok installed\nVersion: 1\n";
    const SIMULATED: &str = "Reading package lists...\nInst libxz5 [5.4-1] (5.4-1+deb12u1 Debian:12.5/stable, Debian-Security:12/stable-security [amd64]) []\n\
        Inst linux-image-6.1.0-30-amd64 (6.1.124-1 Debian-Security:12/stable-security [amd64])\nInst odd\n\
        Conf libxz5 (5.4-1+deb12u1 Debian:12.5/stable [amd64])\n";

    fn texts(rows: Gathered) -> Vec<String> {
        rows.unwrap_or_else(|e| panic!("{e:?}")).iter().map(ToString::to_string).collect()
    }

    fn why(rows: Gathered) -> String {
        match rows {
            Err(Gap::Failed(why)) => why,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn apt_says_what_a_full_upgrade_would_install() {
        let tree = Tree::new(&[
            ("etc/os-release", DEBIAN),
            ("var/lib/dpkg/status", STATUS),
            ("var/lib/apt/lists/deb.example_dists_bookworm_main_binary-amd64_Packages.lz4", ""),
        ]);
        let fake = |program: &str, arguments: &[&str]| match (program, arguments.last()) {
            ("apt-get", Some(&"dist-upgrade")) => Ok(SIMULATED.to_owned()),
            ("apt-cache", Some(&"linux-image-6.1.0-30-amd64")) => {
                Ok("Package: linux-image-6.1.0-30-amd64\nSource: linux-signed-amd64 (6.1.124+1)\nVersion: 6.1.124-1\n\n".to_owned())
            }
            other => panic!("{other:?}"),
        };
        tree.with_host(|host| {
            assert_eq!(
                texts(offered(host, &fake)),
                [
                    r#"update{"name":"libxz5","version":"5.4-1+deb12u1","arch":"amd64","source":"xz-utils","release":"debian:12","repository":"Debian:12.5/stable, Debian-Security:12/stable-security"}"#,
                    r#"update{"name":"linux-image-6.1.0-30-amd64","version":"6.1.124-1","arch":"amd64","source":"linux-signed-amd64","release":"debian:12","repository":"Debian-Security:12/stable-security"}"#,
                ]
            );
            assert_eq!(why(offered(host, &|_, _| Err(Silence::Failed("apt-get: E: broken".into())))), "apt-get: E: broken");
            assert!(matches!(offered(host, &|_, _| Err(Silence::NotThere)), Err(Gap::NotAsked)), "dpkg without apt");
        });
        let tree = Tree::new(&[("var/lib/dpkg/status", STATUS), ("var/lib/apt/lists/lock", "")]);
        assert!(
            tree.with_host(|host| why(offered(host, &|_, _| Ok(String::new())))).contains("no package lists"),
            "never learned is not nothing"
        );
        assert!(matches!(Tree::new(&[]).with_host(|host| offered(host, &|_, _| Ok(String::new()))), Err(Gap::NotAsked)));
        // Of another root the running package manager knows nothing.
        assert!(matches!(Tree::new(&[]).with_host(collect), Err(Gap::NotAsked)));
    }

    #[test]
    fn what_the_managers_of_rpm_say() {
        let dnf = "bind-libs\t32\t9.16.23-18.el9_4\tx86_64\tbind-9.16.23-18.el9_4.src.rpm\tappstream\n\nbash\t0\t5.1.8-9.el9\tx86_64\tbash-5.1.8-9.el9.src.rpm\tbaseos\nnonsense\n";
        let got = queried(dnf);
        assert_eq!(
            got.iter().map(|u| (&*u.name, &*u.version)).collect::<Vec<_>>(),
            [("bind-libs", "32:9.16.23-18.el9_4"), ("bash", "5.1.8-9.el9")]
        );
        assert_eq!((got[0].source.as_deref(), got[0].repository.as_deref()), (Some("bind"), Some("appstream")));

        let yum = "Updated Packages\nbash.x86_64     4.2.46-35.el7_9     updates\na-very-long-name.noarch\n                1:2.0-1.el7   base\nObsoleting Packages\nx.noarch 1 y\n";
        let got = listed(yum);
        assert_eq!(
            got.iter().map(|u| (&*u.name, &*u.version)).collect::<Vec<_>>(),
            [("bash", "4.2.46-35.el7_9"), ("a-very-long-name", "1:2.0-1.el7")]
        );

        let zypper = r#"<?xml version='1.0'?><stream><message type="info">Loading</message><update-status version="0.6"><update-list>
            <update kind="package" name="bash" edition="4.4-150400.27.3.2" edition-old="4.4-1" arch="x86_64"><summary>s</summary><source url="http://x" alias="sle-update"/></update>
            <update kind="patch" name="p" edition="1"/></update-list></update-status></stream>"#;
        let got = listed_as_xml(zypper, &Limits::default()).unwrap();
        assert_eq!((got.len(), &*got[0].version, got[0].repository.as_deref()), (1, "4.4-150400.27.3.2", Some("sle-update")));
        assert!(listed_as_xml("<stream>", &Limits::default()).is_err());
    }

    #[test]
    fn apk_is_read_by_what_is_installed() {
        let installed = "P:py3-x-y\nV:1.2.4-r0\nA:x86_64\no:x-y\n\n";
        let fake = |_: &str, _: &[&str]| Ok("Installed:          Available:\npy3-x-y-1.2.4-r0   < 1.2.5-r0\nunknown-1 < 2\n".to_owned());
        let tree = Tree::new(&[("lib/apk/db/installed", installed), ("var/cache/apk/APKINDEX.0a.tar.gz", "")]);
        let rows = tree.with_host(|host| texts(offered(host, &fake)));
        assert_eq!(rows, [r#"update{"name":"py3-x-y","version":"1.2.5-r0","arch":"x86_64","source":"x-y"}"#]);
        let tree = Tree::new(&[("lib/apk/db/installed", installed)]);
        assert!(tree.with_host(|host| why(offered(host, &fake))).contains("apk update"));
    }
}
