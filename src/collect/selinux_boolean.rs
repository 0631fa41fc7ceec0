//! `selinux_boolean`: the booleans of the SELinux policy that is loaded.

use super::root::{is_absent, why};
use super::{Gap, Gathered, Host, row};

const FOLDER: &str = "/sys/fs/selinux/booleans";

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    // A kernel without SELinux has no booleans; a folder that is no running system says nothing of them.
    if !host.root.exists("/sys/kernel") {
        return Err(Gap::NotHere("/sys"));
    }
    let mut rows = Vec::new();
    for name in host.root.names(FOLDER)? {
        let path = format!("{FOLDER}/{name}");
        rows.push(match host.root.read(&path, 64) {
            Ok(bytes) => match parse(&String::from_utf8_lossy(&bytes)) {
                Some((current, pending)) => row("selinux_boolean").with("name", name).with("current", current).with("pending", pending),
                None => row("selinux_boolean").with("name", name).with_error("not two numbers"),
            },
            // A policy may be loaded while we look.
            Err(e) if is_absent(&e) => continue,
            Err(e) => row("selinux_boolean").with("name", name).with_error(why(&e)),
        });
    }
    Ok(rows)
}

/// `1 0`: in force, and after the next commit.
fn parse(text: &str) -> Option<(bool, bool)> {
    let mut values = text.split_ascii_whitespace().map(|n| match n {
        "0" => Some(false),
        "1" => Some(true),
        _ => None,
    });
    Some((values.next()??, values.next()??))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::tests::Tree;

    #[test]
    fn booleans() {
        let tree = Tree::new(&[
            ("sys/kernel/x", ""),
            ("sys/fs/selinux/booleans/a", "1 0"),
            ("sys/fs/selinux/booleans/b", "0 0\n"),
            ("sys/fs/selinux/booleans/c", "?"),
        ]);
        let rows = tree.with_host(|host| collect(host).unwrap());
        assert_eq!(
            rows.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                r#"selinux_boolean{"name":"a","current":true,"pending":false}"#,
                r#"selinux_boolean{"name":"b","current":false,"pending":false}"#,
                r#"selinux_boolean{"name":"c","error":"not two numbers"}"#,
            ]
        );
        let none = Tree::new(&[("sys/kernel/x", "")]);
        assert_eq!(none.with_host(|host| collect(host).unwrap()), []);
        assert!(matches!(Tree::new(&[]).with_host(collect_err), Gap::NotHere("/sys")));
    }

    fn collect_err(host: &Host<'_>) -> Gap {
        collect(host).unwrap_err()
    }
}
