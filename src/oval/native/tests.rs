//! Every type over hand-made rows, and flags.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::eval::{Compat, Evaluation, Prepared};
use super::super::facts::{Flag, Item, Status};
use super::super::model::ObjectId;
use super::super::read::read_text;
use super::*;
use crate::scan::{Scan, TableData};

const OPEN: &str = r#"<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5"
 xmlns:ind="http://oval.mitre.org/XMLSchema/oval-definitions-5#independent"
 xmlns:unix="http://oval.mitre.org/XMLSchema/oval-definitions-5#unix"
 xmlns:linux="http://oval.mitre.org/XMLSchema/oval-definitions-5#linux"
 xmlns:win="http://oval.mitre.org/XMLSchema/oval-definitions-5#windows"
 xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance">
<generator><schema_version xmlns="http://oval.mitre.org/XMLSchema/oval-common-5">5.11.2</schema_version></generator>"#;

/// Objects, states and variables of a test; an object's id is `oval:t:obj:N`, and so on.
pub(super) struct World {
    prepared: Prepared,
    native: Native,
    scan: Scan,
}

impl World {
    pub(super) fn new(objects: &str, states: &str, variables: &str) -> World {
        let text =
            format!("{OPEN}<objects>{objects}</objects><states>{states}</states><variables>{variables}</variables></oval_definitions>");
        let limits = Limits::default();
        let content = read_text(&text, "test", &limits).unwrap();
        assert_eq!(content.problems, []);
        let prepared = Prepared::new(Arc::new(content), &BTreeMap::new(), Compat::Specification, &limits);
        let native = Native::new(&prepared, &limits);
        World { prepared, native, scan: Scan::default() }
    }

    /// One object, named 1.
    fn object(kind: &str, entities: &str) -> World {
        World::new(&format!(r#"<{kind}_object id="oval:t:obj:1" version="1">{entities}</{kind}_object>"#), "", "")
    }

    /// Rows as JSON, one a line.
    pub(super) fn rows(mut self, table: &str, rows: &str) -> World {
        let id = TableId::by_name(table).unwrap();
        self.scan.tables.entry(id).or_insert_with(|| TableData::Rows(Vec::new()));
        for line in rows.lines().filter(|l| !l.trim().is_empty()) {
            self.scan.push(Row::parse(id, line, &Limits::default()).unwrap());
        }
        self
    }

    /// What the collector looked at, as the object asks.
    fn looked(mut self) -> World {
        for id in (0u32..).map(ObjectId).take(self.native.objects.len()) {
            let Some((table, items)) = self.native.asked(id) else { continue };
            for item in items {
                let row = Row::new(TableId::by_name("scope").unwrap());
                self.scan.push(row.with("table", table.name()).with("item", item.as_str()).with("state", "present"));
            }
        }
        self
    }

    fn id(&self, number: u32) -> ObjectId {
        self.prepared.content().object(&format!("oval:t:obj:{number}")).unwrap()
    }

    pub(super) fn found(&self, number: u32) -> (Flag, Vec<String>) {
        let limits = Limits::default();
        let tables = Tables::new(&self.prepared, &self.native, &self.scan, &limits);
        let mut evaluation = Evaluation::new(&self.prepared, &tables, 0);
        let collected = evaluation.object(self.id(number)).unwrap();
        // Row by row, the same items come out.
        if let Plan::Rows { table, .. } = self.native.plan(self.id(number)) {
            let rows = self.scan.rows(*table).iter();
            let each: Vec<_> = rows.flat_map(|r| self.native.items_of_row(&self.prepared, self.id(number), r).items).collect();
            let sorted = |items: &[Arc<Item<'_>>]| {
                let mut shown: Vec<String> = items.iter().map(|i| shown(i)).collect();
                shown.sort();
                shown
            };
            assert_eq!(sorted(&each), sorted(&collected.items));
        }
        (collected.flag, collected.items.iter().map(|i| shown(i)).collect())
    }

    fn items(&self) -> Vec<String> {
        let (flag, items) = self.found(1);
        assert_eq!(flag, Flag::Complete, "{items:?}");
        items
    }

    fn flag(&self) -> Flag {
        self.found(1).0
    }
}

/// `name=value`, without entities that are not collected.
fn shown(item: &Item<'_>) -> String {
    let entities = item.entities.iter().filter(|e| e.status != Status::NotCollected);
    let one = |e: &super::super::facts::ItemEntity<'_>| match e.status {
        Status::Exists => format!("{}={}", e.name, e.value),
        other => format!("{}:{other:?}", e.name),
    };
    entities.map(one).collect::<Vec<_>>().join(" ")
}

fn text54(place: &str, behaviors: &str, pattern: &str, instance: &str) -> World {
    let entities = format!(
        r#"{behaviors}{place}<ind:pattern operation="pattern match">{pattern}</ind:pattern><ind:instance datatype="int" {instance}</ind:instance>"#
    );
    World::object("ind:textfilecontent54", &entities)
}

const CONF: &str = r#"{"path":"/etc/a.conf","content":"Port 22\nport 23\n# x\nPort 24\n"}"#;

fn matches(behaviors: &str, pattern: &str, instance: &str) -> Vec<String> {
    let world = text54("<ind:filepath>/etc/a.conf</ind:filepath>", behaviors, pattern, instance);
    let (_, items) = world.rows("text", CONF).looked().found(1);
    let part = |i: &String| i.split_once("instance=").map(|(_, rest)| rest.replace(&format!("line={pattern} "), "")).unwrap();
    items.iter().map(part).collect()
}

#[test]
fn texts_match_line_by_line_unless_told_otherwise() {
    let all = r#"operation="greater than or equal">1"#;
    assert_eq!(matches("", r"^Port (\d+)$", all), ["1 text=Port 22 subexpression=22", "2 text=Port 24 subexpression=24"]);
    assert_eq!(matches("", r"^Port (\d+)$", ">1"), ["1 text=Port 22 subexpression=22"]);
    assert_eq!(matches("", r"^Port (\d+)$", ">-1"), ["2 text=Port 24 subexpression=24"]);
    assert_eq!(matches("", r"^Port (\d+)$", r#"operation="not equal">1"#), ["2 text=Port 24 subexpression=24"]);
    assert_eq!(matches(r#"<ind:behaviors ignore_case="true"/>"#, r"^Port \d", all).len(), 3);
    assert_eq!(matches(r#"<ind:behaviors multiline="false"/>"#, r"^Port \d", all).len(), 1);
    let whole = r#"<ind:behaviors singleline="true" multiline="false"/>"#;
    assert_eq!(matches(whole, r"^Port.*(x).*24$", all), ["1 text=Port 22\nport 23\n# x\nPort 24 subexpression=x"]);
    assert_eq!(matches("", r"^Port(?: (22)| (24))$", all), ["1 text=Port 22 subexpression=22", "2 text=Port 24 subexpression=24"]);
}

#[test]
fn what_was_not_looked_at_is_not_collected() {
    let all = r#"operation="greater than or equal">1"#;
    let world = || text54("<ind:filepath>/etc/a.conf</ind:filepath>", "", "^Port", all);
    assert_eq!(world().flag(), Flag::NotCollected);
    assert_eq!(world().rows("text", "").flag(), Flag::NotCollected);
    assert_eq!(world().rows("text", "").looked().flag(), Flag::DoesNotExist);
    assert_eq!(world().rows("text", CONF).flag(), Flag::Incomplete);
    assert_eq!(world().rows("text", CONF).looked().flag(), Flag::Complete);
    assert_eq!(world().rows("text", r#"{"path":"/etc/a.conf","error":"permission denied"}"#).looked().flag(), Flag::Error);
    let failed = r#"{"table":"text","item":"/etc/a.conf","state":"error","message":"permission denied"}"#;
    assert_eq!(world().rows("text", "").rows("scope", failed).flag(), Flag::Error);
    let mut failed = world();
    failed.scan.tables.insert(TableId::by_name("text").unwrap(), TableData::Failed("no memory".into()));
    assert_eq!(failed.flag(), Flag::Error);
}

#[test]
fn files_by_path_and_name() {
    let rows = r#"{"path":"/etc/x.d/a.conf","content":"k"}
{"path":"/etc/x.d/b.txt","content":"k"}
{"path":"/etc/x.d/y/c.conf","content":"k"}
{"path":"/etc/x.d/y/z/d.conf","content":"k"}
{"path":"/e.conf","content":"k"}"#;
    let paths = |place: &str, behaviors: &str| -> Vec<String> {
        let world = text54(place, behaviors, "k", ">1").rows("text", rows).looked();
        let found = world.found(1).1;
        found.iter().map(|i| i.split(' ').next().unwrap().replace("filepath=", "")).collect()
    };
    let conf = r#"<ind:filename operation="pattern match">\.conf$</ind:filename>"#;
    let place = format!("<ind:path>/etc/x.d</ind:path>{conf}");
    assert_eq!(paths(&place, ""), ["/etc/x.d/a.conf"]);
    let down = |depth: &str| format!(r#"<ind:behaviors recurse_direction="down" max_depth="{depth}"/>"#);
    assert_eq!(paths(&place, &down("0")), ["/etc/x.d/a.conf"]);
    assert_eq!(paths(&place, &down("1")), ["/etc/x.d/a.conf", "/etc/x.d/y/c.conf"]);
    assert_eq!(paths(&place, &down("-1")).len(), 3);
    let below = format!("<ind:path>/etc/x.d/y/z</ind:path>{conf}");
    let up = |depth: &str| format!(r#"<ind:behaviors recurse_direction="up" max_depth="{depth}"/>"#);
    assert_eq!(paths(&below, &up("1")), ["/etc/x.d/y/c.conf", "/etc/x.d/y/z/d.conf"]);
    assert_eq!(paths(&below, &up("-1")).len(), 4);
    assert_eq!(paths(r#"<ind:filepath operation="pattern match">^/etc/x\.d/.*\.conf$</ind:filepath>"#, "").len(), 3);
    // What begins with a slash means the root.
    assert_eq!(paths(r#"<ind:filepath operation="pattern match">/[a-z.]+$</ind:filepath>"#, ""), ["/e.conf"]);
    assert_eq!(paths(r#"<ind:filepath operation="pattern match">y/[a-z.]+$</ind:filepath>"#, ""), ["/etc/x.d/y/c.conf"]);
    assert_eq!(paths(&format!(r#"<ind:path operation="pattern match">^/etc/x.d/y</ind:path>{conf}"#), "").len(), 2);
    assert_eq!(paths(r"<ind:path>/etc/x.d</ind:path><ind:filename>b.txt</ind:filename>", ""), ["/etc/x.d/b.txt"]);
    let other = r#"<ind:path>/etc/x.d</ind:path><ind:filename operation="not equal">b.txt</ind:filename>"#;
    assert_eq!(paths(other, ""), ["/etc/x.d/a.conf"]);
    assert_eq!(paths(&format!("<ind:path>/</ind:path>{conf}"), ""), ["/e.conf"]);
}

fn asks(place: &str, behaviors: &str) -> Vec<String> {
    let world = World::object("unix:file", &format!("{behaviors}{place}"));
    let asked = world.native.asked(world.id(1)).unwrap();
    asked.1.to_vec()
}

#[test]
fn collectors_are_asked_for_what_is_meant() {
    let nil = r#"<unix:filename xsi:nil="true"/>"#;
    let local = r#"<unix:behaviors recurse="directories" recurse_direction="down" recurse_file_system="local"/>"#;
    for (place, behaviors, expected) in [
        ("<unix:filepath>/etc/x*</unix:filepath>", "", r"^/etc/x\*$"),
        ("<unix:filepath operation='pattern match'>/a|/b</unix:filepath>", "", "^(?:/a|/b)"),
        ("<unix:filepath operation='pattern match'>a$</unix:filepath>", "", "^.*(?:a$)"),
        (&format!("<unix:path>/etc/</unix:path>{nil}"), "", "/etc"),
        (&format!("<unix:path>/</unix:path>{nil}"), local, "depth=-1 local ///"),
        (&format!("<unix:path operation='pattern match'>^/a//b</unix:path>{nil}"), "", "^/a/(?:)/b//"),
        ("<unix:path>/etc</unix:path><unix:filename>x</unix:filename>", "", "/etc/x"),
        ("<unix:path>/etc</unix:path><unix:filename operation='pattern match'/>", "", "/etc//."),
        ("<unix:path>/etc</unix:path><unix:filename>x.y</unix:filename>", local, r"depth=-1 local /etc//^x\.y$"),
    ] {
        assert_eq!(asks(place, behaviors), [expected], "{place}");
    }
    let links = r#"<unix:behaviors recurse_direction="down" max_depth="2" recurse_file_system="defined"/>"#;
    assert_eq!(asks(&format!("<unix:path>/etc</unix:path>{nil}"), links), ["depth=2 links xdev /etc//"]);
    let dated = World::new(
        r#"<unix:file_object id="oval:t:obj:1" version="1"><unix:filepath>/a</unix:filepath>
           <filter xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5">oval:t:ste:1</filter></unix:file_object>"#,
        r#"<unix:file_state id="oval:t:ste:1" version="1"><unix:m_time datatype="int">1</unix:m_time></unix:file_state>"#,
        "",
    );
    assert_eq!(dated.native.asked(dated.id(1)).unwrap().1, ["modified /a"]);
}

#[test]
fn folders_and_links_of_files() {
    let rows = r#"{"path":"/a","type":"directory","mode":"1777","uid":0,"gid":0}
{"path":"/a/f","type":"file","mode":"0640","uid":1,"gid":2,"size":3,"modified":5,"acl":false}
{"path":"/a/d","type":"directory","mode":"0755"}
{"path":"/a/l","type":"symlink","mode":"0777","canonical":"/b/"}
{"path":"/a/l/x","type":"file","mode":"0644","real":"/b/x"}
{"path":"/a/l/s","type":"directory","mode":"0755","real":"/b/s"}
{"path":"/a/dead","type":"symlink","mode":"0777","canonical":""}"#;
    let found = |place: &str, recurse: &str| -> Vec<String> {
        let behaviors = format!(r#"<unix:behaviors recurse_direction="down" recurse="{recurse}"/>"#);
        let behaviors = if recurse.is_empty() { "" } else { &behaviors };
        let world = World::object("unix:file", &format!("{behaviors}{place}")).rows("file", rows).looked();
        let path = |i: &String| {
            let part = |name: &str| i.split_once(name).map(|(_, r)| r.split(' ').next().unwrap().to_owned());
            part("filepath=").or_else(|| part("path=")).unwrap()
        };
        world.found(1).1.iter().map(path).collect()
    };
    let nil = r#"<unix:filename xsi:nil="true"/>"#;
    let any = r#"<unix:filename operation="pattern match">.</unix:filename>"#;
    assert_eq!(found(&format!("<unix:path>/a</unix:path>{nil}"), ""), ["/a"]);
    assert_eq!(found(&format!("<unix:path>/a/l</unix:path>{nil}"), ""), ["/a/l"]);
    assert_eq!(found(&format!("<unix:path>/a/f</unix:path>{nil}"), ""), Vec::<String>::new());
    assert_eq!(found(&format!("<unix:path>/a</unix:path>{nil}"), "directories"), ["/a", "/a/d"]);
    assert_eq!(found(&format!("<unix:path>/a</unix:path>{nil}"), "symlinks and directories"), ["/a", "/a/d", "/a/l", "/a/l/s"]);
    assert_eq!(found(&format!("<unix:path>/a</unix:path>{any}"), ""), ["/a/f", "/a/l", "/a/dead"]);
    assert_eq!(found(&format!("<unix:path>/a</unix:path>{any}"), "directories"), ["/a/f", "/a/l", "/a/dead"]);
    assert_eq!(found(&format!("<unix:path>/a</unix:path>{any}"), "symlinks"), ["/a/f", "/a/l", "/a/l/x", "/a/dead"]);
    assert_eq!(found("<unix:filepath>/a/l</unix:filepath>", ""), Vec::<String>::new());
    assert_eq!(found("<unix:filepath>/a/dead</unix:filepath>", ""), ["/a/dead"]);
    let one = World::object("unix:file", "<unix:filepath>/a/f</unix:filepath>").rows("file", rows).looked().items();
    assert_eq!(
        one,
        ["filepath=/a/f path=/a filename=f type=regular group_id=2 user_id=1 m_time=5 size=3 suid=false sgid=false sticky=false \
          uread=true uwrite=true uexec=false gread=true gwrite=false gexec=false oread=false owrite=false oexec=false \
          has_extended_acl=false"]
    );
    let sticky = World::object("unix:file", &format!("<unix:path>/a</unix:path>{nil}")).rows("file", rows).looked().items();
    assert!(sticky[0].starts_with("path=/a filename= type=directory group_id=0 user_id=0 suid=false sgid=false sticky=true uread=true"));
}

#[test]
fn links_and_hashes() {
    let link = |row: &str| World::object("unix:symlink", "<unix:filepath>/l</unix:filepath>").rows("file", row).looked().found(1);
    let (flag, items) = link(r#"{"path":"/l","type":"symlink","canonical":"/b/"}"#);
    assert_eq!((flag, &*items), (Flag::Complete, &["filepath=/l canonical_path=/b".to_owned()][..]));
    assert_eq!(link(r#"{"path":"/l","type":"file"}"#).0, Flag::DoesNotExist);
    assert_eq!(link(r#"{"path":"/l","type":"symlink","canonical":""}"#).0, Flag::Error);
    assert_eq!(link("").0, Flag::DoesNotExist);
    let hash = |kind: &str| {
        let place = "<ind:filepath>/f</ind:filepath>";
        World::object("ind:filehash58", &format!("{place}<ind:hash_type>{kind}</ind:hash_type>"))
    };
    let row = r#"{"path":"/f","type":"file","sha256":"ab"}"#;
    assert_eq!(hash("SHA-256").rows("file", row).looked().items(), ["filepath=/f path=/ filename=f hash_type=SHA-256 hash=ab"]);
    assert_eq!(hash("MD5").rows("file", row).looked().flag(), Flag::NotCollected);
}

#[test]
fn packages_and_accounts() {
    let rows = r#"{"name":"vim","version":"2:9.0-rc1-4","arch":"amd64","format":"deb"}
{"name":"base","version":"12","arch":"all","format":"deb"}
{"name":"kernel","version":"5.14-1.el9","arch":"x86_64","format":"rpm"}"#;
    let of = |kind: &str, name: &str| World::object(kind, &format!("<linux:name>{name}</linux:name>")).rows("package", rows);
    assert_eq!(of("linux:dpkginfo", "vim").items(), ["name=vim arch=amd64 epoch=2 release=4 version=9.0-rc1 evr=2:9.0-rc1-4"]);
    assert_eq!(of("linux:dpkginfo", "base").items(), ["name=base arch=all epoch=0 release= version=12 evr=0:12"]);
    assert_eq!(of("linux:dpkginfo", "kernel").flag(), Flag::DoesNotExist);
    assert_eq!(
        of("linux:rpminfo", "kernel").items(),
        ["name=kernel arch=x86_64 epoch=(none) release=1.el9 version=5.14 evr=0:5.14-1.el9 extended_name=kernel-0:5.14-1.el9.x86_64"]
    );
    assert_eq!(of("linux:rpminfo", "gpg-pubkey").flag(), Flag::NotCollected);
    assert_eq!(World::object("linux:dpkginfo", "<linux:name>vim</linux:name>").flag(), Flag::NotCollected);
    let users = r#"{"name":"root","uid":0,"gid":0,"home":"/root","shell":"/bin/sh","password":"set","field":"x","masked":"$6$...","max_days":99999,"last_change":"2026-11-21"}
{"name":"svc","uid":9,"gid":9,"home":"/","field":"*"}
{"name":"hid","uid":8,"gid":8,"error":"shadow: permission denied"}"#;
    let user = |kind: &str, name: &str| World::object(kind, &format!("<unix:username>{name}</unix:username>")).rows("user", users);
    assert_eq!(
        user("unix:password", "root").items(),
        ["username=root password=x user_id=0 group_id=0 gcos= home_dir=/root login_shell=/bin/sh"]
    );
    assert_eq!(
        user("unix:shadow", "root").items(),
        ["username=root password=$6$... chg_lst=20778 chg_allow=-1 chg_req=99999 exp_warn=-1 exp_inact=-1 exp_date=-1 \
          encrypt_method=SHA-512"]
    );
    assert_eq!(user("unix:shadow", "svc").flag(), Flag::DoesNotExist);
    assert_eq!(user("unix:shadow", "hid").flag(), Flag::Error);
}

#[test]
fn tables_of_the_system() {
    let os = r#"{"family":"linux","id":"debian","version":"12","arch":"x86_64","kernel":"6.1.0-1"}"#;
    assert_eq!(World::object("ind:family", "").rows("os", os).items(), ["family=unix"]);
    let uname = World::object("unix:uname", "").rows("os", os).items();
    assert_eq!(uname, ["machine_class=x86_64 os_name=Linux os_release=6.1.0-1 processor_type=x86_64"]);
    let sysctl = |name: &str| {
        let rows = r#"{"key":"net.ipv4.ip_forward","value":"0"}
{"key":"net.ipv4.conf.eth0/7.forwarding","value":"1"}"#;
        World::object("unix:sysctl", &format!("<unix:name>{name}</unix:name>")).rows("sysctl", rows)
    };
    assert_eq!(sysctl("net.ipv4.ip_forward").items(), ["name=net.ipv4.ip_forward value=0"]);
    assert_eq!(sysctl("net.ipv4.conf.eth0.7.forwarding").items(), ["name=net.ipv4.conf.eth0.7.forwarding value=1"]);
    assert_eq!(sysctl("kernel.none").flag(), Flag::DoesNotExist);
    assert_eq!(sysctl("kernel.random.boot_id").flag(), Flag::NotCollected);
    let mount = |path: &str| {
        let row = r#"{"path":"/home","device":"/dev/sda2","fstype":"ext4","options":"rw,nodev"}"#;
        World::object("linux:partition", &format!("<linux:mount_point>{path}</linux:mount_point>")).rows("mount", row)
    };
    assert_eq!(mount("/home").items(), ["mount_point=/home device=/dev/sda2 fs_type=ext4 mount_options=rw mount_options=nodev"]);
    assert_eq!(mount("/tmp").flag(), Flag::DoesNotExist);
    assert_eq!(mount("/proc").flag(), Flag::NotCollected);
    let boolean = World::object("linux:selinuxboolean", "<linux:name>b</linux:name>");
    let boolean = boolean.rows("selinux_boolean", r#"{"name":"b","current":true,"pending":false}"#);
    assert_eq!(boolean.items(), ["name=b current_status=true pending_status=false"]);
    let variable = |pid: &str| {
        let world = World::object("ind:environmentvariable58", &format!("{pid}<ind:name>PATH</ind:name>"));
        world.rows("environment", r#"{"name":"PATH","value":"/bin"}"#).looked()
    };
    assert_eq!(variable(r#"<ind:pid xsi:nil="true" datatype="int"/>"#).items(), ["name=PATH value=/bin"]);
    assert_eq!(variable(r#"<ind:pid datatype="int">1</ind:pid>"#).flag(), Flag::NotCollected);
}

#[test]
fn units_interfaces_sockets_and_processes() {
    let rows = r#"{"unit":"ssh.service","property":"ActiveState","value":"active"}
{"unit":"multi-user.target","property":"Dependencies","value":"a.service\nb.target"}"#;
    let unit = r#"<linux:unit operation="pattern match">^ssh\.</linux:unit><linux:property>ActiveState</linux:property>"#;
    let world = World::object("linux:systemdunitproperty", unit).rows("systemd", rows);
    assert_eq!(world.native.asked(world.id(1)).unwrap().1, [r"ActiveState ^ssh\."]);
    assert_eq!(world.looked().items(), ["unit=ssh.service property=ActiveState value=active"]);
    let world = World::object("linux:systemdunitdependency", "<linux:unit>multi-user.target</linux:unit>").rows("systemd", rows);
    assert_eq!(world.looked().items(), ["unit=multi-user.target dependency=a.service dependency=b.target"]);
    let rows = r#"{"name":"lo","type":"loopback","hardware":"00:00:00:00:00:00","address":"127.0.0.1","prefix":8,"flags":"UP,LOOPBACK"}
{"name":"lo","type":"loopback","address":"::1","prefix":128}
{"name":"eth1"}"#;
    let interface = World::object("unix:interface", r#"<unix:name operation="pattern match">.</unix:name>"#).rows("interface", rows);
    assert_eq!(
        interface.items(),
        [
            "name=lo type=ARPHRD_LOOPBACK hardware_addr=00:00:00:00:00:00 inet_addr=127.0.0.1 broadcast_addr= \
             netmask=255.0.0.0 flag=UP flag=LOOPBACK",
            "name=lo type=ARPHRD_LOOPBACK hardware_addr= inet_addr=::1/128 broadcast_addr= netmask=",
        ]
    );
    let socket = r#"<linux:protocol>tcp</linux:protocol><linux:local_address operation="not equal">127.0.0.1</linux:local_address>
        <linux:local_port datatype="int">25</linux:local_port>"#;
    let rows = r#"{"protocol":"tcp","address":"0.0.0.0","port":25,"process":"exim"}
{"protocol":"tcp","address":"127.0.0.1","port":25}
{"protocol":"tcp6","address":"::","port":22}"#;
    let found = World::object("linux:inetlisteningservers", socket).rows("listening", rows).items();
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("local_full_address=0.0.0.0:25 program_name=exim"));
    let process = |pid: &str| {
        let entities = format!(
            r#"<unix:command_line operation="pattern match">^/usr/sbin/sshd</unix:command_line><unix:pid datatype="int" {pid}</unix:pid>"#
        );
        World::object("unix:process58", &entities).rows("process", r#"{"name":"sshd","user":"root","command":"/usr/sbin/sshd -D"}"#)
    };
    assert_eq!(process(r#"operation="greater than">0"#).items(), ["command_line=/usr/sbin/sshd -D"]);
    assert_eq!(process(">1").flag(), Flag::NotCollected);
}

#[test]
fn xml_and_windows() {
    let row = r#"{"path":"/z.xml","content":"<zone><service name='ssh'/></zone>"}"#;
    let xml = |xpath: &str| {
        let entities = format!("<ind:filepath>/z.xml</ind:filepath><ind:xpath>{xpath}</ind:xpath>");
        World::object("ind:xmlfilecontent", &entities).rows("text", row).looked()
    };
    assert_eq!(xml("/zone/service/@name").items(), ["filepath=/z.xml path=/ filename=z.xml xpath=/zone/service/@name value_of=ssh"]);
    assert_eq!(xml("/zone/port").flag(), Flag::DoesNotExist);
    assert_eq!(xml("id('x')").flag(), Flag::NotCollected);
    let registry = |key: &str| {
        let entities = format!(
            r#"<win:hive>HKEY_LOCAL_MACHINE</win:hive><win:key operation="case insensitive equals">{key}</win:key><win:name>NoLM</win:name>"#
        );
        let row = r#"{"path":"hklm\\system\\lsa","name":"nolm","type":"REG_DWORD","value":"1"}"#;
        World::object("win:registry", &entities).rows("registry", row).looked()
    };
    assert_eq!(registry(r"SYSTEM\Lsa").items(), [r"hive=HKEY_LOCAL_MACHINE key=system\lsa name=nolm type=reg_dword value=1"]);
    assert_eq!(registry(r"SYSTEM\Other").flag(), Flag::DoesNotExist);
    let policy = World::object("win:passwordpolicy", "").rows("account_policy", r#"{"key":"MaximumPasswordAge","value":"60"}"#);
    assert_eq!(policy.items(), ["max_passwd_age=5184000"]);
    let audit = World::object("win:auditeventpolicysubcategories", "");
    let audit = audit.rows("audit_policy", r#"{"subcategory":"Credential Validation","setting":"Success and Failure"}"#);
    assert_eq!(audit.items(), ["credential_validation=AUDIT_SUCCESS_FAILURE"]);
    let token = World::object("win:accesstoken", "<win:security_principle>Users</win:security_principle>");
    assert_eq!(token.flag(), Flag::NotCollected);
}

#[test]
fn variables_and_sets_are_resolved_at_the_endpoint() {
    let objects = r#"
<unix:password_object id="oval:t:obj:1" version="1"><unix:username operation="pattern match">.</unix:username></unix:password_object>
<ind:textfilecontent54_object id="oval:t:obj:2" version="1"><ind:path var_ref="oval:t:var:1" var_check="at least one"/>
 <ind:filename>x</ind:filename><ind:pattern operation="pattern match">.+</ind:pattern><ind:instance datatype="int">1</ind:instance>
</ind:textfilecontent54_object>
<ind:variable_object id="oval:t:obj:3" version="1"><ind:var_ref>oval:t:var:1</ind:var_ref></ind:variable_object>
<unix:password_object id="oval:t:obj:4" version="1"><set xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5">
 <object_reference>oval:t:obj:1</object_reference><filter action="include">oval:t:ste:1</filter></set></unix:password_object>"#;
    let states =
        r#"<unix:password_state id="oval:t:ste:1" version="1"><unix:user_id datatype="int">0</unix:user_id></unix:password_state>"#;
    let variables = r#"<local_variable id="oval:t:var:1" version="1" datatype="string" comment="">
        <object_component object_ref="oval:t:obj:1" item_field="home_dir"/></local_variable>"#;
    let world = World::new(objects, states, variables)
        .rows("user", "{\"name\":\"a\",\"uid\":0,\"home\":\"/a\"}\n{\"name\":\"b\",\"uid\":1,\"home\":\"/b\"}")
        .rows("text", "{\"path\":\"/b/x\",\"content\":\"hello\"}");
    assert_eq!(world.found(3), (Flag::Complete, vec!["var_ref=oval:t:var:1 value=/a value=/b".to_owned()]));
    assert_eq!(world.found(4).1.len(), 1);
    assert_eq!(world.found(2).0, Flag::Incomplete);
    let Plan::PerEndpoint { tables, .. } = world.native.plan(world.id(2)) else { panic!("{:?}", world.native.plan(world.id(2))) };
    assert_eq!(tables.iter().map(|t| t.name()).collect::<Vec<_>>(), ["text", "user"]);
    let limits = Limits::default();
    let known = Tables::new(&world.prepared, &world.native, &world.scan, &limits);
    Evaluation::new(&world.prepared, &known, 0).object(world.id(2));
    let text = TableId::by_name("text").unwrap();
    assert_eq!(known.asked()[&text], ["/a/x", "/b/x"]);
}
