//! `user` and `group`: passwd, shadow and group; and the names of ids for the other tables.

use std::collections::BTreeMap;

use jiff::{Span, civil::Date};

use super::root::Root;
use super::{Gathered, Host, row, secrets};
use crate::scan::Row;

const PASSWD: &str = "/etc/passwd";
const SHADOW: &str = "/etc/shadow";
const GROUP: &str = "/etc/group";

/// Names of ids, as the system's own files give them.
#[derive(Default)]
pub(super) struct Names {
    users: BTreeMap<u32, String>,
    groups: BTreeMap<u32, String>,
}

impl Names {
    /// What cannot be read gives no names; the tables say why.
    pub(super) fn read(root: &Root) -> Names {
        let ids = |path| ids(&root.text(path).ok().flatten().unwrap_or_default());
        Names { users: ids(PASSWD), groups: ids(GROUP) }
    }

    /// The number itself where it has no name.
    pub(super) fn user(&self, id: u32) -> String {
        self.users.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }

    pub(super) fn group(&self, id: u32) -> String {
        self.groups.get(&id).cloned().unwrap_or_else(|| id.to_string())
    }
}

/// The first name of an id counts, as for getpwuid(3).
fn ids(text: &str) -> BTreeMap<u32, String> {
    let mut names = BTreeMap::new();
    for fields in lines(text) {
        if let (Some(name), Some(Ok(id))) = (fields.first(), fields.get(2).map(|id| id.parse())) {
            names.entry(id).or_insert_with(|| (*name).to_owned());
        }
    }
    names
}

/// Fields of each line. Lines that begin with `+` or `-` are NIS's, not accounts.
fn lines(text: &str) -> impl Iterator<Item = Vec<&str>> {
    text.lines().filter(|l| !l.trim().is_empty() && !l.starts_with(['+', '-', '#'])).map(|l| l.split(':').collect())
}

pub(super) fn users(host: &Host<'_>) -> Gathered {
    let passwd = host.root.text(PASSWD)?.ok_or_else(|| format!("{PASSWD}: not found"))?;
    let (shadow, problem) = match host.root.text(SHADOW) {
        Ok(text) => (text.unwrap_or_default(), None),
        Err(why) => (String::new(), Some(why)),
    };
    Ok(parse_users(&passwd, &shadow, problem.as_deref()))
}

/// Of two lines with one name the first counts, as for getpwnam(3).
fn parse_users(passwd: &str, shadow: &str, problem: Option<&str>) -> Vec<Row> {
    let mut shadows: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for fields in lines(shadow) {
        if let Some(name) = fields.first() {
            shadows.entry(name).or_insert(fields);
        }
    }
    let mut users = BTreeMap::new();
    for fields in lines(passwd) {
        let field = |n: usize| fields.get(n).copied();
        let Some(name) = field(0) else { continue };
        let mut user = row("user")
            .with("name", name)
            .with("uid", number(field(2)))
            .with("gid", number(field(3)))
            .with("home", field(5))
            .with("shell", field(6))
            .with("gecos", field(4).filter(|g| !g.is_empty()))
            .with("field", field(1).map(secrets::mask_field))
            .with("masked", shadows.get(name).and_then(|s| s.get(1)).map(|f| secrets::mask_field(f)));
        user = match (field(1).unwrap_or_default(), shadows.get(name), problem) {
            // Where passwd says that the password is elsewhere.
            ("x", None, Some(why)) => user.with_error(why),
            ("x", Some(shadow), _) => ages(password(user, shadow.get(1).copied().unwrap_or_default()), shadow),
            ("x", None, None) => user.with("password", "none"),
            (own, ..) => password(user, own),
        };
        users.entry(name).or_insert(user);
    }
    users.into_values().collect()
}

fn number(field: Option<&str>) -> Option<i64> {
    field?.parse().ok()
}

fn password(user: Row, stored: &str) -> Row {
    let state = match stored.chars().next() {
        None => "empty",
        Some('!' | '*') => "locked",
        Some(_) => "set",
    };
    // A locked account keeps its hash behind the mark.
    user.with("password", state).with("hash", scheme(stored.trim_start_matches('!')))
}

/// The scheme of a hash (crypt(5)); none where there is no hash.
fn scheme(hash: &str) -> Option<&str> {
    let Some(rest) = hash.strip_prefix('$') else {
        let des = hash.len() >= 13 && hash.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'/' | b'_'));
        return des.then_some("des");
    };
    let (id, _) = rest.split_once('$')?;
    Some(match id {
        "1" => "md5",
        "2a" | "2b" | "2x" | "2y" => "bcrypt",
        "3" => "nt",
        "5" => "sha256",
        "6" => "sha512",
        "7" => "scrypt",
        "gy" => "gost-yescrypt",
        "y" => "yescrypt",
        other => other,
    })
}

fn ages(user: Row, shadow: &[&str]) -> Row {
    let field = |n: usize| number(shadow.get(n).copied());
    user.with("last_change", field(2).and_then(date))
        .with("min_days", field(3))
        .with("max_days", field(4))
        .with("warn_days", field(5))
        .with("inactive_days", field(6))
        .with("expires", field(7).and_then(date))
}

/// The date of a day since 1970.
fn date(day: i64) -> Option<String> {
    let span = Span::new().try_days(day).ok()?;
    Date::constant(1970, 1, 1).checked_add(span).ok().map(|d| d.to_string())
}

pub(super) fn groups(host: &Host<'_>) -> Gathered {
    let text = host.root.text(GROUP)?.ok_or_else(|| format!("{GROUP}: not found"))?;
    Ok(parse_groups(&text))
}

fn parse_groups(text: &str) -> Vec<Row> {
    let mut groups = BTreeMap::new();
    for fields in lines(text) {
        let Some(name) = fields.first() else { continue };
        let group = row("group").with("name", *name).with("gid", number(fields.get(2).copied()));
        groups.entry(*name).or_insert(group.with("members", fields.get(3).copied().unwrap_or_default().trim()));
    }
    groups.into_values().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nold:$1$a$b:5:5::/:/bin/sh\nopen::6:6::/:/bin/sh\nx:x:7:7::/:/bin/false\n\
        root:x:1:1::/:\n+::::::\n";

    #[test]
    fn passwords_and_ages() {
        let shadow = "root:$y$j9T$abc$def:19700:0:99999:7:30:20454:\n";
        let got: Vec<_> = parse_users(PASSWD, shadow, None).iter().map(ToString::to_string).collect();
        assert_eq!(
            got[2],
            "user{\"name\":\"root\",\"uid\":0,\"gid\":0,\"home\":\"/root\",\"shell\":\"/bin/bash\",\"password\":\"set\",\"hash\":\"yescrypt\",\
             \"min_days\":0,\"max_days\":99999,\"warn_days\":7,\"inactive_days\":30,\"last_change\":\"2023-12-09\",\"expires\":\"2026-01-01\",\
             \"gecos\":\"root\",\"masked\":\"$y$j9T$xxx$xxx\",\"field\":\"x\"}"
        );
        assert_eq!(got.len(), 4);
        assert!(got[0].contains(r#""password":"set","hash":"md5""#), "{}", got[0]);
        assert!(got[1].contains(r#""password":"empty""#), "{}", got[1]);
        assert!(got[3].contains(r#""password":"none""#), "{}", got[3]);
    }

    #[test]
    fn a_shadow_that_may_not_be_read() {
        let rows = parse_users(PASSWD, "", Some("/etc/shadow: permission denied"));
        assert_eq!(rows[2].error.as_deref(), Some("/etc/shadow: permission denied"));
        // What passwd itself says needs no shadow.
        assert_eq!(rows[1].error, None);
    }

    #[test]
    fn schemes() {
        for (hash, name) in [
            ("$6$salt$x", Some("sha512")),
            ("$2b$12$x", Some("bcrypt")),
            ("abJnggxhB/yWI", Some("des")),
            ("*", None),
            ("", None),
            ("*NP*", None),
        ] {
            assert_eq!(scheme(hash), name, "{hash}");
        }
        let locked = password(row("user"), "!$6$s$h");
        assert_eq!((locked.get("password").as_str(), locked.get("hash").as_str()), (Some("locked"), Some("sha512")));
        assert_eq!(date(0).as_deref(), Some("1970-01-01"));
        assert_eq!(date(i64::MAX), None);
    }

    #[test]
    fn group_members() {
        let got: Vec<_> = parse_groups("sudo:x:27:a,b\nnogroup:x:65534:\n").iter().map(ToString::to_string).collect();
        assert_eq!(got, [r#"group{"name":"nogroup","gid":65534,"members":""}"#, r#"group{"name":"sudo","gid":27,"members":"a,b"}"#]);
    }
}
