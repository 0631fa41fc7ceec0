//! `kernel_module`: the modules that are loaded, and those that modprobe.d(5) speaks of.

use std::collections::{BTreeMap, BTreeSet};

use super::root::Root;
use super::{Gathered, Host, row};
use crate::scan::Row;

/// In the order of precedence: of two files with one name the first counts.
const FOLDERS: [&str; 5] = ["/etc/modprobe.d", "/run/modprobe.d", "/usr/local/lib/modprobe.d", "/usr/lib/modprobe.d", "/lib/modprobe.d"];

#[derive(Debug, Default, PartialEq, Eq)]
struct Module {
    loaded: bool,
    disabled: bool,
    blacklisted: bool,
}

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    let mut modules = BTreeMap::new();
    for path in files(host.root)? {
        if let Some(text) = host.root.text(&path)? {
            configure(&text, &mut modules);
        }
    }
    let loaded = host.root.text("/proc/modules")?;
    // A kernel that was built without modules has no such file.
    let known = loaded.is_some() || host.root.exists("/proc/sys/kernel");
    for name in loaded.iter().flat_map(|t| t.lines()).filter_map(|l| l.split(' ').next()) {
        module(&mut modules, name).loaded = true;
    }
    Ok(modules.into_iter().map(|(name, module)| to_row(&name, &module, known)).collect())
}

fn to_row(name: &str, module: &Module, known: bool) -> Row {
    let row = row("kernel_module").with("name", name).with("disabled", module.disabled).with("blacklisted", module.blacklisted);
    if known { row.with("loaded", module.loaded) } else { row.with_error("/proc/modules: not there") }
}

fn module<'m>(modules: &'m mut BTreeMap<String, Module>, name: &str) -> &'m mut Module {
    modules.entry(name.replace('-', "_")).or_default()
}

fn files(root: &Root) -> Result<Vec<String>, String> {
    let mut seen = BTreeSet::new();
    let mut files = Vec::new();
    for folder in FOLDERS {
        for name in root.names(folder)?.into_iter().filter(|n| n.ends_with(".conf")) {
            let path = format!("{folder}/{name}");
            if seen.insert(name) {
                files.push(path);
            }
        }
    }
    Ok(files)
}

fn configure(text: &str, modules: &mut BTreeMap<String, Module>) {
    for line in text.replace("\\\n", " ").lines() {
        let mut words = line.split_whitespace();
        match (words.next(), words.next(), words.next()) {
            (Some("blacklist"), Some(name), _) => module(modules, name).blacklisted = true,
            (Some("install"), Some(name), Some(command)) if is_nothing(command) => module(modules, name).disabled = true,
            // So that the table shows that it was looked at.
            (Some("install"), Some(name), Some(_)) => module(modules, name).disabled |= false,
            _ => {}
        }
    }
}

fn is_nothing(command: &str) -> bool {
    matches!(command.rsplit('/').next(), Some("true" | "false"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::tests::Tree;

    #[test]
    fn modprobe_and_what_is_loaded() {
        let tree = Tree::new(&[
            ("etc/modprobe.d/a.conf", "# c\ninstall usb-storage /bin/false\nblacklist usb-storage\ninstall x \\\n /usr/bin/true\n"),
            ("usr/lib/modprobe.d/a.conf", "blacklist hidden\n"),
            ("usr/lib/modprobe.d/b.conf", "install y /sbin/modprobe --ignore-install y\n"),
            ("proc/modules", "nf_tables 1 2 - Live 0x0\n"),
        ]);
        let rows = tree.with_host(|host| collect(host).unwrap());
        let got: Vec<_> = rows.iter().map(ToString::to_string).collect();
        assert_eq!(
            got,
            [
                r#"kernel_module{"name":"nf_tables","loaded":true,"disabled":false,"blacklisted":false}"#,
                r#"kernel_module{"name":"usb_storage","loaded":false,"disabled":true,"blacklisted":true}"#,
                r#"kernel_module{"name":"x","loaded":false,"disabled":true,"blacklisted":false}"#,
                r#"kernel_module{"name":"y","loaded":false,"disabled":false,"blacklisted":false}"#,
            ]
        );
    }
}
