//! The collector as a whole: on made-up roots, and on the machine that runs the tests.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::*;

/// A root of a few files.
pub(super) struct Tree(tempfile::TempDir);

impl Tree {
    pub(super) fn new(files: &[(&str, &str)]) -> Tree {
        let dir = tempfile::tempdir().unwrap();
        for (path, content) in files {
            let path = dir.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        Tree(dir)
    }

    pub(super) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(super) fn with_host<T>(&self, test: impl FnOnce(&Host<'_>) -> T) -> T {
        let root = Root::new(self.path());
        let (asks, limits) = (Collect::new(), Limits::default());
        test(&Host {
            root: &root,
            asks: &asks,
            limits: &limits,
            release: os::read_release(&root),
            names: Names::read(&root),
            keep: &|_| true,
        })
    }

    pub(super) fn with_asks<T>(&self, items: &[(&str, &[&str])], test: impl FnOnce(&Host<'_>) -> T) -> T {
        let asks = asks(items);
        self.with_host(|host| test(&Host { asks: &asks, release: BTreeMap::new(), names: Names::default(), ..*host }))
    }

    fn collect(&self, asks: &Collect) -> Scan {
        collect(&Root::new(self.path()), asks, &Limits::default())
    }
}

#[expect(clippy::print_stdout, reason = "says what a test could not do here")]
pub(super) fn skipped(why: &str) {
    println!("skipped: {why}");
}

/// What no package could bring: a test of a system that boots with systemd, of a user who is not root.
#[expect(clippy::print_stdout, reason = "says what a test could not do here")]
pub(super) fn not_here(why: &str) {
    println!("not on this machine: {why}");
}

fn asks(items: &[(&str, &[&str])]) -> Collect {
    items.iter().map(|(name, items)| (table(name), items.iter().map(|i| (*i).to_owned()).collect())).collect()
}

fn canonical(scan: &Scan) -> Vec<String> {
    let mut out = Vec::new();
    for (id, data) in &scan.tables {
        match data {
            TableData::Rows(rows) => out.extend(rows.iter().map(ToString::to_string)),
            TableData::Failed(why) => out.push(format!("{} failed: {why}", id.name())),
        }
    }
    out
}

fn texts(scan: &Scan, name: &str) -> Vec<String> {
    scan.rows(table(name)).iter().map(ToString::to_string).collect()
}

#[test]
fn an_empty_root_says_what_is_not_there() {
    let scan = Tree::new(&[]).collect(&asks(&[("file", &["/etc/shadow"])]));
    assert_eq!(
        canonical(&scan),
        [
            r#"os{"family":"linux","error":"/etc/os-release and /usr/lib/os-release: no os-release could be read"}"#,
            "package failed: no package database found (dpkg, rpm, apk)",
            "user failed: /etc/passwd: not found",
            "group failed: /etc/group: not found",
            r#"scope{"table":"file","item":"/etc/shadow","state":"absent"}"#,
        ]
    );
    // What only a running system has was not collected, which is not the same as nothing.
    for name in ["sysctl", "mount", "listening", "process", "hotfix", "registry"] {
        assert!(!scan.tables.contains_key(&table(name)), "{name}");
    }
    assert_eq!(scan.rows(table("service")), []);
}

#[test]
fn what_was_asked_and_what_came_of_it() {
    let tree = Tree::new(&[
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
        ("etc/a/1.rules", "one\n"),
        ("etc/a/2.rules", "two \0\n"),
        ("etc/login.defs", "UMASK\t027\n"),
        ("etc/login.defs.d/x.conf", "UMASK 077\n"),
        ("etc/systemd/journald.conf", "[Journal]\nStorage=auto\nCompress=yes\n"),
        ("usr/lib/systemd/journald.conf.d/10-v.conf", "[Journal]\nStorage=none\n"),
        ("etc/systemd/journald.conf.d/10-v.conf", "[Journal]\nStorage=persistent\n"),
    ]);
    fs::create_dir(tree.path().join("etc/a/dir.rules")).unwrap();
    std::os::unix::fs::symlink("1.rules", tree.path().join("etc/a/link")).unwrap();
    let scan = tree.collect(&asks(&[
        ("text", &["/etc/a/*.rules", "/etc/a/1.rules", "/etc/a", "/etc/none"]),
        ("file", &["/etc/a/link", "/etc/a/?.rules", "/etc/a/1.rules", "etc/x", "/etc/../x"]),
        ("config", &["/etc/login.defs", "/etc/systemd/journald.conf", "/etc/none.conf"]),
    ]));
    assert_eq!(
        texts(&scan, "scope"),
        [
            r#"scope{"table":"config","item":"/etc/login.defs","state":"present"}"#,
            r#"scope{"table":"config","item":"/etc/none.conf","state":"absent"}"#,
            r#"scope{"table":"config","item":"/etc/systemd/journald.conf","state":"present"}"#,
            r#"scope{"table":"file","item":"/etc/../x","state":"error","message":"not a plain path"}"#,
            r#"scope{"table":"file","item":"/etc/a/1.rules","state":"present"}"#,
            r#"scope{"table":"file","item":"/etc/a/?.rules","state":"present"}"#,
            r#"scope{"table":"file","item":"/etc/a/link","state":"present"}"#,
            r#"scope{"table":"file","item":"etc/x","state":"error","message":"not an absolute path"}"#,
            r#"scope{"table":"text","item":"/etc/a","state":"absent"}"#,
            r#"scope{"table":"text","item":"/etc/a/*.rules","state":"present"}"#,
            r#"scope{"table":"text","item":"/etc/a/1.rules","state":"present"}"#,
            r#"scope{"table":"text","item":"/etc/none","state":"absent"}"#,
        ]
    );
    assert_eq!(
        texts(&scan, "config"),
        [
            r#"config{"path":"/etc/login.defs","key":"UMASK","value":"077"}"#,
            r#"config{"path":"/etc/systemd/journald.conf","key":"Journal.Compress","value":"yes"}"#,
            r#"config{"path":"/etc/systemd/journald.conf","key":"Journal.Storage","value":"persistent"}"#,
        ]
    );
    let text = scan.rows(table("text"));
    assert_eq!(text.len(), 2);
    assert_eq!(text[1].get("content").as_str(), Some("two \u{fffd}\n"));
    let file = scan.rows(table("file"));
    assert_eq!(file.len(), 3);
    // Asked by name it has a hash, by pattern it has none.
    assert!(file[0].get("sha256").as_str().is_some() && file[1].get("sha256").as_str().is_none());
    assert_eq!((file[2].get("type").as_str(), file[2].get("target").as_str()), (Some("symlink"), Some("1.rules")));
}

#[test]
fn texts_over_the_limit_are_said_to_be() {
    let tree = Tree::new(&[("etc/big", &"x".repeat(300 << 10)), ("etc/control", &"\u{1}".repeat(200 << 10))]);
    let scan = tree.collect(&asks(&[("text", &["/etc/*"])]));
    let rows = scan.rows(table("text"));
    assert_eq!(rows[0].error.as_deref(), Some("over the limit of 262144 bytes"));
    // Six bytes of JSON each: the row would be over its own limit.
    assert!(rows[1].error.is_some() && rows[1].get("content").as_str().is_none());
    assert!(rows[1].canonical().len() < 1000);
}

#[test]
fn patterns_and_options() {
    let tree = Tree::new(&[
        ("etc/passwd", "root:x:0:0::/root:/bin/sh\n"),
        ("usr/lib/a.so", "a"),
        ("usr/lib/sub/b.so", "b"),
        ("usr/lib/sub/c", "c"),
        ("var/log/x.log", "log"),
    ]);
    std::os::unix::fs::symlink("usr/lib", tree.path().join("lib")).unwrap();
    std::os::unix::fs::symlink("a.so", tree.path().join("usr/lib/link.so")).unwrap();
    std::os::unix::fs::symlink("nowhere", tree.path().join("usr/lib/lost.so")).unwrap();
    let scan = tree.collect(&asks(&[(
        "file",
        &[
            "/lib//^a",
            "modified /usr/lib//\\.so$",
            "depth=-1 /usr/lib//\\.so$",
            "hash ^/usr/lib/sub/.*$",
            "/lib",
            "modified /usr/lib/sub/c",
            "/none//x",
            "wrong /usr//x",
        ],
    )]));
    let shown: Vec<String> = scan
        .rows(table("file"))
        .iter()
        .map(|r| {
            let text = |column: &str| r.get(column).as_str().unwrap_or("-").to_owned();
            let has = |column: &'static str| if *r.get(column) == Value::Null { "" } else { column };
            let words = [text("path"), text("canonical"), text("real"), has("modified").into(), has("sha256").into()];
            words.join(" ").trim_end().to_owned()
        })
        .collect();
    assert_eq!(
        shown,
        [
            "/lib /usr/lib/ -",
            "/lib/a.so - /usr/lib/a.so",
            "/usr/lib/a.so - - modified",
            "/usr/lib/link.so /usr/lib/a.so - modified",
            "/usr/lib/lost.so  - modified",
            "/usr/lib/sub/b.so - -  sha256",
            "/usr/lib/sub/c - - modified sha256",
        ]
    );
    let row = &scan.rows(table("file"))[2];
    assert_eq!(*row.get("uid"), Value::Int(i64::from(rustix::process::geteuid().as_raw())));
    let states: Vec<_> =
        scan.rows(table("scope")).iter().map(|r| (r.get("item").as_str().unwrap(), r.get("state").as_str().unwrap())).collect();
    assert_eq!(
        states,
        [
            ("/lib", "present"),
            ("/lib//^a", "present"),
            ("/none//x", "absent"),
            ("depth=-1 /usr/lib//\\.so$", "present"),
            ("hash ^/usr/lib/sub/.*$", "present"),
            ("modified /usr/lib//\\.so$", "present"),
            ("modified /usr/lib/sub/c", "present"),
            ("wrong /usr//x", "error"),
        ]
    );
}

#[test]
fn walks_that_bring_too_much_cost_only_themselves() {
    let files: Vec<String> = (0..20).map(|n| format!("srv/{n}")).collect();
    let tree = Tree::new(&files.iter().map(|f| (f.as_str(), "")).collect::<Vec<_>>());
    let asks = asks(&[("file", &["/srv/3", "depth=-1 /srv//.*", "/srv//^1$"])]);
    let limits = Limits { rows: 20, ..Limits::default() };
    let root = Root::new(tree.path());
    let scan = super::collect(&root, &asks, &limits);
    assert_eq!(
        texts(&scan, "scope"),
        [
            r#"scope{"table":"file","item":"/srv//^1$","state":"present"}"#,
            r#"scope{"table":"file","item":"/srv/3","state":"present"}"#,
            r#"scope{"table":"file","item":"depth=-1 /srv//.*","state":"error","message":"more than 10 rows of `file`"}"#,
        ]
    );
    assert_eq!(scan.rows(table("file")).len(), 2);
    // Rows that are of no use to anybody are not kept, and do not count.
    let scan = collect_kept(&root, &asks, &limits, &|row| row.get("path").as_str() == Some("/srv/1"));
    assert!(texts(&scan, "scope").iter().all(|s| s.contains("present")), "{:?}", texts(&scan, "scope"));
    assert_eq!(scan.rows(table("file")).len(), 2);
}

#[test]
fn secrets_stay_here() {
    let hash = "Zz9".repeat(40).split_at(86).0.to_owned();
    let tree = Tree::new(&[
        ("etc/shadow", &format!("root:$6$salt${hash}:1:0:99999:7:::\nd:*:1::::::\nl:!:1::::::\ne::1::::::\nold:Zz9Zz9Zz9Zz9Z:1::::::\n")),
        ("etc/gshadow-", "g:Zz9Zz9Zz9Zz9Z::\n"),
        ("etc/ssl/key.pem", "-----BEGIN PRIVATE KEY-----\nZz9\n"),
        ("etc/login.conf", &format!("password={hash}\nroot:$6$salt${hash}\n")),
        ("etc/plain", "x\n"),
    ]);
    std::os::unix::fs::symlink("/etc/shadow", tree.path().join("etc/alias")).unwrap();
    let scan = tree.collect(&asks(&[
        ("text", &["/etc/shadow", "/etc/alias", "/etc/gshadow-", "^/etc/ssl/.*$", "/etc/plain", "/etc/login.conf"]),
        ("config", &["/etc/shadow"]),
    ]));
    let rows = texts(&scan, "text");
    let shadow =
        format!(r"root:$6$xxxx${}:1:0:99999:7:::\nd:*:1::::::\nl:!:1::::::\ne::1::::::\nold:xxxxxxxxxxxxx:1::::::\n", "x".repeat(86));
    assert_eq!(rows[0], format!(r#"text{{"path":"/etc/alias","content":"{shadow}"}}"#));
    assert_eq!(rows[1], r#"text{"path":"/etc/gshadow-","content":"g:xxxxxxxxxxxxx::\n"}"#);
    assert_eq!(rows[4], format!(r#"text{{"path":"/etc/shadow","content":"{shadow}"}}"#));
    assert_eq!(rows[5], r#"text{"path":"/etc/ssl/key.pem","error":"holds a private key, its content is not uploaded"}"#);
    assert!(rows[3].contains("sha256"));
    let all = canonical(&scan).join("\n").replace(&format!("password={hash}"), "");
    assert!(!all.contains("Zz9"), "{all}");
}

#[test]
fn a_debian_root() {
    let tree = Tree::new(&[
        ("usr/lib/os-release", "ID=debian\nVERSION_ID=\"12\"\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"),
        ("var/lib/dpkg/arch", "amd64\n"),
        ("var/lib/dpkg/status", "Package: a\nStatus: install ok installed\nVersion: 1\nArchitecture: all\n"),
        ("etc/hostname", "web1\n"),
    ]);
    std::os::unix::fs::symlink("/usr/lib/os-release", tree.path().join("etc/os-release")).unwrap();
    let scan = tree.collect(&Collect::new());
    assert_eq!(scan.hostname.as_deref(), Some("web1"));
    assert_eq!((scan.endpoint.as_str(), scan.collected_at.as_deref()), ("", None));
    assert_eq!(
        texts(&scan, "os"),
        [r#"os{"family":"linux","id":"debian","name":"Debian GNU/Linux 12 (bookworm)","version":"12","arch":"x86_64"}"#]
    );
    assert_eq!(
        texts(&scan, "package"),
        [r#"package{"name":"a","version":"1","arch":"all","source":"a","format":"deb","release":"debian:12"}"#]
    );
    fs::write(tree.path().join("var/lib/dpkg/status"), "Package: a\ngarbage\n").unwrap();
    assert!(canonical(&tree.collect(&Collect::new())).contains(&"package failed: /var/lib/dpkg/status: line 2: no field name".to_owned()));
}

fn here() -> Scan {
    let asks = asks(&[
        ("file", &["/etc/passwd", "/etc/shadow", "/etc/cron*", "/var/log/*"]),
        ("text", &["/etc/pam.d/*", "/etc/shadow"]),
        ("config", &["/etc/login.defs", "/etc/adduser.conf", "/etc/systemd/journald.conf"]),
    ]);
    collect(&Root::new("/"), &asks, &Limits::default())
}

#[test]
fn this_machine() {
    let scan = here();
    for (id, data) in &scan.tables {
        let TableData::Rows(rows) = data else { continue };
        let mut keys = std::collections::BTreeSet::new();
        for row in rows {
            let json = String::from_utf8(row.canonical()).unwrap();
            assert_eq!(Row::parse(*id, &json, &Limits::default()).as_ref().ok(), Some(row), "{json}");
            assert!(id.table().key == 0 || keys.insert(row.key()), "two rows of one key: {row}");
        }
    }
    if Path::new("/var/lib/dpkg/status").exists() {
        let debs = scan.rows(table("package")).iter().filter(|r| r.get("format").as_str() == Some("deb")).count();
        assert!(debs > 0, "{:?}", scan.tables.get(&table("package")));
        match Command::new("dpkg-query").args(["-W", "-f", "${db:Status-Status}\n"]).output() {
            Ok(out) => assert_eq!(debs, String::from_utf8_lossy(&out.stdout).lines().filter(|l| *l == "installed").count()),
            Err(e) => skipped(&format!("dpkg-query: {e}")),
        }
    } else {
        skipped("no dpkg database");
    }
}

#[test]
fn this_machine_twice() {
    let lasting = |scan: &Scan| {
        let mut scan = scan.clone();
        // Other programs start and end while tests run.
        scan.tables.remove(&table("process"));
        scan.tables.remove(&table("listening"));
        canonical(&scan)
    };
    let (mut first, mut second) = (here(), here());
    // Somebody may install a package between the two, but not each time.
    for _ in 0..2 {
        if lasting(&first) != lasting(&second) {
            (first, second) = (second, here());
        }
    }
    assert_eq!(lasting(&first), lasting(&second));
    for _ in 0..10 {
        if canonical(&first) == canonical(&second) {
            return;
        }
        (first, second) = (second, here());
    }
    skipped("processes kept changing");
}

/// The running root under another name: every path goes through our own following of links.
#[test]
fn this_machine_as_another_root() {
    let asks = asks(&[("file", &["/etc/os-release", "/bin/sh"]), ("text", &["/etc/os-release"]), ("config", &["/etc/login.defs"])]);
    let [here, there] = ["/", "/proc/self/root"].map(|root| collect(&Root::new(root), &asks, &Limits::default()));
    for name in ["package", "file", "text", "config", "sshd", "pam", "user", "group", "mount", "kernel_module", "scope"] {
        assert_eq!(texts(&here, name), texts(&there, name), "{name}");
    }
    let starts = |scan: &Scan| scan.rows(table("service")).iter().map(|r| (r.key().to_vec(), r.get("start").clone())).collect::<Vec<_>>();
    assert_eq!(starts(&here), starts(&there));
    let arch = |scan: &Scan| scan.rows(table("os")).first().map(|r| r.get("arch").clone());
    assert_eq!(arch(&here), arch(&there));
}
