//! The tables that a scan can hold: names, typed columns, keys. docs/TABLES.md is written from this file.
//!
//! A row is self-contained and is the unit that is interned, so a column never holds what changes by itself
//! (uptime, counters, process ids, free space): a fleet of rows that differ in such a column shares nothing.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What a column holds. In JSON a `Mode` is octal text (`"0640"`), the others are themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Type {
    Str,
    Int,
    Bool,
    Mode,
}

impl Type {
    pub fn name(self) -> &'static str {
        match self {
            Type::Str => "string",
            Type::Int => "int",
            Type::Bool => "bool",
            Type::Mode => "mode",
        }
    }
}

#[derive(Debug)]
pub struct Column {
    pub name: &'static str,
    pub ty: Type,
    pub doc: &'static str,
}

/// How much of the world a collected table shows, which decides what an absent row means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// One row; its columns are read as `table.column`.
    Single,
    /// Everything there is: a row that is not there does not exist.
    Complete,
    /// Only what the pack asked for, item by item; the first key column is what is asked. Each item that was looked at
    /// has a row in `scope`, so that "not there" can be told from "never looked".
    Asked,
}

#[derive(Debug)]
pub struct Table {
    pub name: &'static str,
    pub extent: Extent,
    /// The leading columns that identify a row: `sysctl["net.ipv4.ip_forward"]`, `config["/etc/login.defs"]["UMASK"]`.
    pub key: usize,
    /// What `table[key]` means without a column.
    pub value: Option<&'static str>,
    /// Keys compare without case and are stored in lower case (Windows registry paths, service names, ...).
    pub fold_case: bool,
    pub columns: &'static [Column],
    pub doc: &'static str,
    /// Which collector fills it.
    pub collectors: &'static str,
}

/// An index into [`TABLES`]. Packs and stores carry names, never these numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TableId(pub u8);

impl TableId {
    pub fn table(self) -> &'static Table {
        &TABLES[usize::from(self.0)]
    }

    pub fn name(self) -> &'static str {
        self.table().name
    }

    pub fn by_name(name: &str) -> Option<TableId> {
        let at = TABLES.iter().position(|t| t.name == name)?;
        u8::try_from(at).ok().map(TableId)
    }

    pub fn all() -> impl Iterator<Item = TableId> {
        (0u8..).map(TableId).take(TABLES.len())
    }
}

impl Serialize for TableId {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.name())
    }
}

impl<'de> Deserialize<'de> for TableId {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<TableId, D::Error> {
        let name = std::borrow::Cow::<str>::deserialize(d)?;
        TableId::by_name(&name).ok_or_else(|| serde::de::Error::custom(format_args!("unknown table `{name}`")))
    }
}

impl Table {
    pub fn column(&self, name: &str) -> Option<usize> {
        self.columns.iter().position(|c| c.name == name)
    }

    pub fn key_columns(&self) -> &'static [Column] {
        &self.columns[..self.key]
    }
}

const fn col(name: &'static str, ty: Type, doc: &'static str) -> Column {
    Column { name, ty, doc }
}

use Extent::{Asked, Complete, Single};
use Type::{Bool, Int, Mode, Str};

/// Beside these columns every row may carry `error`: why its other columns could not be read.
pub const ERROR_COLUMN: &str = "error";

pub static TABLES: &[Table] = &[
    Table {
        name: "os",
        extent: Single,
        key: 0,
        value: None,
        fold_case: false,
        doc: "The operating system. Decides to which platforms a rule applies.",
        collectors: "muster scan (/etc/os-release, uname); Windows agents; muster scan import systeminfo",
        columns: &[
            col("family", Str, "`linux`, `windows` or `macos`"),
            col("id", Str, "`debian`, `ubuntu`, `rhel`, `windows-server`, ... (os-release ID)"),
            col("id_like", Str, "space-separated ids that this system is like (os-release ID_LIKE)"),
            col("name", Str, "for people: `Debian GNU/Linux 12 (bookworm)`"),
            col("version", Str, "`12`, `22.04`, `9.4`, `2022`"),
            col("codename", Str, "`bookworm`; Windows: release or service pack, `22H2`, `Service Pack 1`"),
            col("build", Str, "full build on Windows, `10.0.20348.2700`"),
            col("arch", Str, "`x86_64`, `aarch64`"),
            col("kernel", Str, "release of the running kernel"),
            col("kernel_version", Str, "version of the package that the running kernel is from, where it says so"),
            col("reboot_required", Bool, "the system says that it waits for a restart"),
        ],
    },
    Table {
        name: "package",
        extent: Complete,
        key: 0,
        value: None,
        fold_case: false,
        doc: "Installed software. Several rows may share a name (architectures, kernels).",
        collectors: "muster scan (dpkg status, rpm database, apk database); Windows agents (programs)",
        columns: &[
            col("name", Str, "binary package name"),
            col("version", Str, "full version as the package manager writes it, with epoch and revision"),
            col("arch", Str, "architecture"),
            col("source", Str, "source package name"),
            col("source_version", Str, "version of the source package where it differs from `version`"),
            col("format", Str, "`deb`, `rpm`, `apk`, `msi`, `appx`"),
            col("release", Str, "distribution release it was built for, `debian:12`"),
            col("vendor", Str, "publisher"),
            col("module", Str, "module and stream that an rpm was built for, `nodejs:20`; not there: of none, or not told"),
        ],
    },
    Table {
        name: "update",
        extent: Complete,
        key: 0,
        value: None,
        fold_case: false,
        doc: "Newer versions of installed packages that the repositories of this endpoint offer, by what its package manager knew of them last. \
              Tells a fix that can be installed here from one that only exists.",
        collectors: "muster scan (apt, dnf, zypper, apk; without asking the network)",
        columns: &[
            col("name", Str, "binary package name"),
            col("version", Str, "the version that would be installed, as in `package`"),
            col("arch", Str, "architecture"),
            col("source", Str, "source package name, where it is known"),
            col("release", Str, "distribution release, as in `package`"),
            col("repository", Str, "which repository offers it: `Debian-Security:12/stable-security`, `baseos`"),
        ],
    },
    Table {
        name: "hotfix",
        extent: Complete,
        key: 1,
        value: None,
        fold_case: true,
        doc: "Installed Windows updates.",
        collectors: "Windows agents; muster scan import systeminfo",
        columns: &[
            col("id", Str, "`kb5031364`, lower case"),
            col("description", Str, "`Security Update`"),
            col("installed_on", Str, "date, `2026-11-10`"),
            col(
                "system",
                Str,
                "what it is installed on, in the words of Microsoft's advisories: `Windows 10 Version 1809 for x64-based Systems`. \
                 What an update replaces differs by system; without it, what it replaces on any counts",
            ),
        ],
    },
    Table {
        name: "sysctl",
        extent: Complete,
        key: 1,
        value: Some("value"),
        fold_case: false,
        doc: "Kernel parameters in force, without those that change by themselves.",
        collectors: "muster scan (/proc/sys)",
        columns: &[
            col("key", Str, "`net.ipv4.ip_forward`"),
            col("value", Str, "text as the kernel shows it, white space folded to one blank"),
        ],
    },
    Table {
        name: "file",
        extent: Asked,
        key: 1,
        value: None,
        fold_case: false,
        doc: "Files and folders that the pack asks for, by path or by pattern.",
        collectors: "muster scan",
        columns: &[
            col("path", Str, "absolute path"),
            col("type", Str, "`file`, `directory`, `symlink`, `socket`, `fifo`, `block`, `char`"),
            col("mode", Mode, "permission bits with set-id and sticky"),
            col("owner", Str, "user name, or the number where it has none"),
            col("group", Str, "group name, or the number where it has none"),
            col("size", Int, "bytes; regular files only"),
            col("sha256", Str, "of the content; where the rule asks for it"),
            col("target", Str, "of a symbolic link"),
            col("canonical", Str, "where a symbolic link ends after all links, with a final `/` at a folder; empty where it ends nowhere"),
            col("uid", Int, "number of the owner"),
            col("gid", Int, "number of the group"),
            col("modified", Int, "seconds since 1970 of the last change of the content; where the pack asks for it"),
            col("acl", Bool, "an access control list beyond the permission bits"),
            col("real", Str, "the path with the links among its folders followed, where that is another path"),
        ],
    },
    Table {
        name: "text",
        extent: Asked,
        key: 1,
        value: Some("content"),
        fold_case: false,
        doc: "Content of small text files that the pack asks for, by path or by pattern. Password hashes are masked before they leave the \
              host: in shadow, gshadow, passwd, group and opasswd (and their backups) the hash in its field, elsewhere what looks like a \
              hash. Letters and digits of salt and hash become `x` (`0` in GRUB's), `!`, `*`, empty, the scheme and its costs stay. A file \
              with a private key has `error` in place of its content.",
        collectors: "muster scan",
        columns: &[
            col("path", Str, "absolute path"),
            col("sha256", Str, "of the content; none where something was masked"),
            col("content", Str, "the text; bytes that are not UTF-8 are replaced"),
            col("real", Str, "the path with the links among its folders followed, where that is another path"),
        ],
    },
    Table {
        name: "config",
        extent: Asked,
        key: 2,
        value: Some("value"),
        fold_case: false,
        doc: "Settings in configuration files that the pack asks for: `key value` and `key = value` lines, comments left out. \
              A key inside an INI section is `section.key`, a keyword alone has the value \"\". The last line for a key wins; drop-ins \
              (`<path>.d/*.conf`) are merged in the order in which the program reads them.",
        collectors: "muster scan",
        columns: &[
            col("path", Str, "absolute path of the file"),
            col("key", Str, "as written"),
            col("value", Str, "without surrounding blanks and quotes"),
        ],
    },
    Table {
        name: "sshd",
        extent: Complete,
        key: 1,
        value: Some("value"),
        fold_case: true,
        doc: "Settings of the SSH server outside Match blocks, `Include` followed, the first line for a key wins. \
              Several lines of a key that adds up (AllowUsers, Port, HostKey, ...) are joined with a blank; old keyword names stand under \
              the present one (`challengeresponseauthentication` is `kbdinteractiveauthentication`).",
        collectors: "muster scan (/etc/ssh/sshd_config)",
        columns: &[col("key", Str, "keyword in lower case"), col("value", Str, "as written; yes, no and the like in lower case")],
    },
    Table {
        name: "pam",
        extent: Complete,
        key: 0,
        value: None,
        fold_case: false,
        doc: "Lines of the PAM stacks, as written (includes are rows of their own).",
        collectors: "muster scan (/etc/pam.d)",
        columns: &[
            col("service", Str, "file name, `common-auth`"),
            col("type", Str, "`auth`, `account`, `password` or `session`, without a leading `-`"),
            col("control", Str, "`required`, `[success=1 default=ignore]`, `include`"),
            col("module", Str, "`pam_unix.so`, without its folder"),
            col("arguments", Str, "blank-separated"),
            col("line", Int, "position in the stack, from 1"),
        ],
    },
    Table {
        name: "service",
        extent: Complete,
        key: 1,
        value: None,
        fold_case: true,
        doc: "Services: systemd units on Linux, services on Windows.",
        collectors: "muster scan (systemd unit files and /run/systemd); Windows agents",
        columns: &[
            col("name", Str, "`ssh.service`, `systemd-timesyncd.service`, `tmp.mount`; Windows: `spooler`"),
            col(
                "start",
                Str,
                "systemd: `enabled`, `disabled`, `masked`, `static`, `indirect`, `generated`, `alias`; Windows: `auto`, `manual`, `disabled`",
            ),
            col("state", Str, "`running` or `stopped`"),
            col("user", Str, "account it runs as"),
        ],
    },
    Table {
        name: "user",
        extent: Complete,
        key: 1,
        value: None,
        fold_case: false,
        doc: "Local accounts. The password columns need the shadow file.",
        collectors: "muster scan (/etc/passwd, /etc/shadow); Windows agents",
        columns: &[
            col("name", Str, "account name"),
            col("uid", Int, "user id"),
            col("gid", Int, "primary group id"),
            col("home", Str, "home folder"),
            col("shell", Str, "login shell"),
            col("password", Str, "`set`, `locked`, `empty` or `none`"),
            col("hash", Str, "scheme of the stored hash: `yescrypt`, `sha512`, `md5`, ..."),
            col("min_days", Int, "days before a password may be changed"),
            col("max_days", Int, "days after which it must be changed"),
            col("warn_days", Int, "days of warning"),
            col("inactive_days", Int, "days until an expired password locks the account"),
            col("last_change", Str, "date of the last change of the password, `2026-11-10`"),
            col("expires", Str, "date on which the account is disabled"),
            col("gecos", Str, "comment field"),
            col("masked", Str, "the password field of the shadow file with salt and hash masked: `$6$xxxx$xxx...`, `!`, `*`, empty"),
            col("enabled", Bool, "Windows: the account may log on"),
            col("field", Str, "the password field of /etc/passwd itself, a hash in it masked: `x` where the shadow file has it"),
        ],
    },
    Table {
        name: "group",
        extent: Complete,
        key: 1,
        value: None,
        fold_case: false,
        doc: "Local groups.",
        collectors: "muster scan (/etc/group); Windows agents",
        columns: &[col("name", Str, "group name"), col("gid", Int, "group id"), col("members", Str, "comma-separated account names")],
    },
    Table {
        name: "mount",
        extent: Complete,
        key: 1,
        value: None,
        fold_case: false,
        doc: "Mounted file systems, without the kernel's own that come and go.",
        collectors: "muster scan (/proc/self/mounts)",
        columns: &[
            col("path", Str, "mount point"),
            col("device", Str, "what is mounted"),
            col("fstype", Str, "`ext4`, `tmpfs`"),
            col("options", Str, "comma-separated, in the kernel's order"),
        ],
    },
    Table {
        name: "kernel_module",
        extent: Complete,
        key: 1,
        value: None,
        fold_case: false,
        doc: "Kernel modules that are loaded, and those that modprobe's configuration speaks of.",
        collectors: "muster scan (/proc/modules, modprobe.d)",
        columns: &[
            col("name", Str, "with underscores"),
            col("loaded", Bool, "in the running kernel"),
            col("disabled", Bool, "`install NAME /bin/false` (or /bin/true): cannot be loaded by name"),
            col("blacklisted", Bool, "`blacklist NAME`: not loaded by alias"),
        ],
    },
    Table {
        name: "listening",
        extent: Complete,
        key: 0,
        value: None,
        fold_case: false,
        doc: "Sockets that wait for the network. Ephemeral UDP ports are left out.",
        collectors: "muster scan (/proc/net)",
        columns: &[
            col("protocol", Str, "`tcp`, `tcp6`, `udp`, `udp6`"),
            col("address", Str, "`0.0.0.0`, `127.0.0.1`, `::`"),
            col("port", Int, "port number"),
            col("process", Str, "name of the program, where it may be read"),
        ],
    },
    Table {
        name: "process",
        extent: Complete,
        key: 0,
        value: None,
        fold_case: false,
        doc: "Distinct programs that run, without kernel threads and process ids.",
        collectors: "muster scan (/proc)",
        columns: &[
            col("name", Str, "program name"),
            col("user", Str, "account it runs as"),
            col("exe", Str, "path of the executable, where it may be read"),
            col("command", Str, "command line, where the pack asks for it; arguments that say they are secrets are masked"),
            col("domain", Str, "SELinux domain label, where SELinux is in use"),
        ],
    },
    Table {
        name: "registry",
        extent: Asked,
        key: 2,
        value: Some("value"),
        fold_case: true,
        doc: "Values of the Windows registry that the pack asks for.",
        collectors: "Windows agents",
        columns: &[
            col("path", Str, "`hklm\\software\\...`, lower case, hive abbreviated"),
            col("name", Str, "value name in lower case; empty for the default value"),
            col("type", Str, "`REG_DWORD`, `REG_SZ`, `REG_MULTI_SZ`, ..."),
            col("value", Str, "numbers in decimal, lists joined with line feeds"),
        ],
    },
    Table {
        name: "audit_policy",
        extent: Complete,
        key: 1,
        value: Some("setting"),
        fold_case: true,
        doc: "Windows advanced audit policy.",
        collectors: "Windows agents (auditpol /get /category:* /r)",
        columns: &[
            col("subcategory", Str, "`credential validation`, lower case"),
            col("setting", Str, "`No Auditing`, `Success`, `Failure`, `Success and Failure`"),
        ],
    },
    Table {
        name: "account_policy",
        extent: Complete,
        key: 1,
        value: Some("value"),
        fold_case: true,
        doc: "Windows password, lockout and other security options of the local security policy.",
        collectors: "Windows agents (secedit /export)",
        columns: &[col("key", Str, "`minimumpasswordlength`, lower case"), col("value", Str, "as exported")],
    },
    Table {
        name: "user_right",
        extent: Complete,
        key: 1,
        value: Some("accounts"),
        fold_case: true,
        doc: "Windows user rights assignment.",
        collectors: "Windows agents (secedit /export)",
        columns: &[
            col("right", Str, "`sedebugprivilege`, lower case"),
            col("accounts", Str, "comma-separated SIDs, sorted; empty for nobody"),
        ],
    },
    Table {
        name: "systemd",
        extent: Asked,
        key: 2,
        value: Some("value"),
        fold_case: false,
        doc: "Properties of systemd units that the pack asks for, as `systemctl show` prints them. Units are those that have a unit file.",
        collectors: "muster scan (systemctl)",
        columns: &[
            col("unit", Str, "`ssh.service`, `tmp.mount`"),
            col(
                "property",
                Str,
                "`ActiveState`, `LoadState`, `UnitFileState`; `Dependencies` of a target is every unit that it requires or wants, and by way of \
                 targets what those do",
            ),
            col("value", Str, "lists joined with line feeds"),
        ],
    },
    Table {
        name: "environment",
        extent: Asked,
        key: 1,
        value: Some("value"),
        fold_case: false,
        doc: "Environment variables of the collecting process that the pack asks for. Those whose names speak of secrets are not told.",
        collectors: "muster scan",
        columns: &[col("name", Str, "`PATH`"), col("value", Str, "as it is set")],
    },
    Table {
        name: "interface",
        extent: Complete,
        key: 0,
        value: None,
        fold_case: false,
        doc: "Network interfaces and their addresses, where the pack asks for them: a row an address, and one for an interface without any.",
        collectors: "muster scan (netlink)",
        columns: &[
            col("name", Str, "`eth0`"),
            col("type", Str, "`ethernet`, `loopback`, ..."),
            col("hardware", Str, "hardware address, upper case, colons"),
            col("address", Str, "`192.0.2.2`, `fd00::2`"),
            col("prefix", Int, "length of the network part"),
            col("broadcast", Str, "of an IPv4 network"),
            col("flags", Str, "comma-separated: `UP,BROADCAST,RUNNING,MULTICAST,PROMISC`"),
        ],
    },
    Table {
        name: "selinux_boolean",
        extent: Complete,
        key: 1,
        value: None,
        fold_case: false,
        doc: "SELinux booleans.",
        collectors: "muster scan (/sys/fs/selinux/booleans)",
        columns: &[
            col("name", Str, "`httpd_can_network_connect`"),
            col("current", Bool, "in force"),
            col("pending", Bool, "in force after the next commit"),
        ],
    },
    Table {
        name: "oval_object",
        extent: Complete,
        key: 1,
        value: None,
        fold_case: false,
        doc: "Objects of OVAL content as a SCAP collector collected them (`oscap oval collect`, ARF).",
        collectors: "uploads of OVAL system characteristics",
        columns: &[
            col("id", Str, "`oval:org.example:obj:1`"),
            col("flag", Str, "`complete`, `incomplete`, `does not exist`, `not collected`, `not applicable`, `error`"),
            col("items", Str, "what was found, as JSON"),
        ],
    },
    Table {
        name: "xccdf_result",
        extent: Complete,
        key: 2,
        value: Some("result"),
        fold_case: false,
        doc: "Rule results that another SCAP scanner came to.",
        collectors: "uploads of XCCDF results and ARF",
        columns: &[
            col("profile", Str, "id of the profile; empty where there was none"),
            col("rule", Str, "id of the rule"),
            col("result", Str, "`pass`, `fail`, ..."),
            col("benchmark", Str, "id of the benchmark"),
            col("scanner", Str, "what came to it (`test-system`)"),
        ],
    },
    Table {
        name: "scope",
        extent: Complete,
        key: 2,
        value: None,
        fold_case: false,
        doc: "What the collector was asked for in the tables that hold only what was asked, and what came of it.",
        collectors: "every collector that fills an asked table",
        columns: &[
            col("table", Str, "`file`, `text`, `config`, `registry`, `systemd` or `environment`"),
            col("item", Str, "path, pattern or name, as asked"),
            col("state", Str, "`present`, `absent` or `error`"),
            col("message", Str, "why, for `error`"),
        ],
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_keys_are_strings() {
        for (i, t) in TABLES.iter().enumerate() {
            assert_eq!(TableId::by_name(t.name).map(|id| usize::from(id.0)), Some(i));
            assert!(t.key_columns().iter().all(|c| c.ty == Type::Str), "{}", t.name);
            assert!(t.columns.len() < 32, "{}: presence is kept as bits of a u32", t.name);
            for (c, column) in t.columns.iter().enumerate() {
                assert_eq!(t.column(column.name), Some(c), "{}.{}", t.name, column.name);
                assert_ne!(column.name, ERROR_COLUMN);
            }
            if let Some(v) = t.value {
                assert!(t.column(v).is_some(), "{}", t.name);
            }
            assert!(t.extent != Extent::Asked || t.key > 0);
        }
    }
}
