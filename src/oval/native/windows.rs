//! Windows: `registry`, `passwordpolicy`, `lockoutpolicy` and `auditeventpolicysubcategories` over the tables that agents fill.

use super::super::facts::{Flag, Status};
use super::super::model::{Datatype, Operation};
use super::Select;
use super::item::{Make, Out};
use super::resolved::Resolved;
use super::types::Type;
use super::want::Want;
use crate::scan::Row;

pub(super) const TYPES: &[Type] = &[
    Type::rows("registry", "registry", registry).fold().select(by_path).asks(asks).check(check),
    Type::rows("passwordpolicy", "account_policy", |_, _, _| {}).whole(password_policy),
    Type::rows("lockoutpolicy", "account_policy", |_, _, _| {}).whole(lockout_policy),
    Type::rows("auditeventpolicysubcategories", "audit_policy", |_, _, _| {}).whole(audit_policy),
];

const HIVES: [(&str, &str); 5] = [
    ("hkey_local_machine", "hklm"),
    ("hkey_current_user", "hkcu"),
    ("hkey_users", "hku"),
    ("hkey_classes_root", "hkcr"),
    ("hkey_current_config", "hkcc"),
];

fn check(object: &Resolved) -> Result<(), String> {
    if object.behavior("recurse_direction").is_some_and(|d| d != "none") {
        return Err("keys below a key are not collected".to_owned());
    }
    if object.behavior("windows_view").is_some_and(|v| v == "32_bit") {
        return Err("the 32 bit view of the registry is not collected".to_owned());
    }
    if object.want("name").is_none_or(|w| w.nil) || object.want("key").is_none_or(|w| w.nil) {
        return Err("of the registry values are collected, not keys".to_owned());
    }
    if hives(object).is_empty() { Err("a registry object's hive must be stated".to_owned()) } else { Ok(()) }
}

fn hives(object: &Resolved) -> Vec<&'static str> {
    let Some(want) = object.want("hive") else { return Vec::new() };
    let stated = matches!(want.operation, Operation::Equals | Operation::CaseInsensitiveEquals);
    let short = |v: &str| HIVES.iter().find(|(long, _)| *long == v).map(|(_, short)| *short);
    if stated { want.values.iter().filter_map(|v| short(v)).collect() } else { Vec::new() }
}

/// The keys, in lower case and with their hives, where they are stated.
fn paths(object: &Resolved) -> Option<Vec<Box<str>>> {
    let key = object.want("key").filter(|w| matches!(w.operation, Operation::Equals | Operation::CaseInsensitiveEquals))?;
    let hives = hives(object);
    Some(hives.iter().flat_map(|h| key.values.iter().map(move |k| format!(r"{h}\{}", k.trim_matches('\\')).into())).collect())
}

fn by_path(object: &Resolved) -> Select {
    paths(object).map_or(Select::Each, Select::Key)
}

fn asks(object: &Resolved) -> Vec<String> {
    if let Some(paths) = paths(object) {
        return paths.into_iter().map(Into::into).collect();
    }
    let patterns = object.want("key").filter(|w| w.operation == Operation::PatternMatch).map(|w| w.values.as_slice());
    let of = |hive: &str| match patterns {
        Some(patterns) => patterns.iter().map(|p| pattern(hive, p)).collect(),
        None => vec![format!(r"^{hive}\\")],
    };
    hives(object).into_iter().flat_map(of).collect()
}

/// A pattern over keys, as one over paths that begin with the hive.
fn pattern(hive: &str, key: &str) -> String {
    match key.strip_prefix('^').filter(|rest| !rest.contains('|')) {
        Some(rest) => format!(r"^(?i){hive}\\{rest}"),
        None => format!(r"^{hive}\\"),
    }
}

fn registry<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let (Some(path), Some(name)) = (row.get("path").as_str(), row.get("name").as_str()) else { return };
    let Some((short, key)) = path.split_once('\\') else { return };
    let Some((hive, _)) = HIVES.iter().find(|(_, s)| *s == short) else { return };
    let key_taken = match object.want("key") {
        Some(want) if want.operation != Operation::PatternMatch => taken_trimmed(want, key, out),
        _ => object.takes("key", key, out),
    };
    if !key_taken || !object.takes("hive", hive, out) || !object.takes("name", name, out) {
        return;
    }
    if let Some(why) = &row.error {
        out.fail(Flag::Error, format!("{path}: {why}"));
        return;
    }
    let kind = row.get("type").as_str().unwrap_or_default().to_lowercase();
    let datatype = match &*kind {
        "reg_dword" | "reg_qword" | "reg_dword_big_endian" => Datatype::Int,
        "reg_binary" => Datatype::Binary,
        _ => Datatype::String,
    };
    let multi = kind == "reg_multi_sz";
    let make = Make::new("registry").text("hive", hive.to_uppercase()).text("key", key).text("name", name).text("type", kind);
    out.item(match row.get("value").as_str() {
        Some(value) if multi => make.each("value", value.split('\n')),
        Some(value) => make.typed("value", datatype, value),
        None => make.without("value", datatype, Status::NotCollected),
    });
}

/// Slashes around a stated key do not matter.
fn taken_trimmed(want: &Want, key: &str, out: &mut Out<'_>) -> bool {
    out.taken(want.accepts(key)) || want.exact().is_some_and(|values| values.iter().any(|v| v.trim_matches('\\') == key))
}

/// What one setting of secedit is in OVAL.
#[derive(Clone, Copy)]
enum Unit {
    Number,
    Bool,
    Days,
    Minutes,
}

/// "Never", in seconds.
const FOREVER: i64 = 4_294_967_295;

fn policy<'r>(kind: &'static str, settings: &[(&'static str, &str, Unit)], rows: &[&'r Row], out: &mut Out<'r>) {
    let mut make = Make::new(kind);
    for (entity, key, unit) in settings {
        let value = rows.iter().find(|r| r.get("key").as_str() == Some(key)).and_then(|r| r.get("value").as_str());
        let number = value.and_then(|v| v.trim().trim_matches('"').parse::<i64>().ok());
        make = match (unit, number) {
            (Unit::Bool, Some(n)) => make.bool(entity, n != 0),
            (Unit::Number, Some(n)) => make.int(entity, n),
            (Unit::Days | Unit::Minutes, Some(n)) if n < 0 => make.int(entity, FOREVER),
            (Unit::Days, Some(n)) => make.int(entity, n.saturating_mul(86_400)),
            (Unit::Minutes, Some(n)) => make.int(entity, n.saturating_mul(60)),
            (Unit::Bool, None) => make.without(entity, Datatype::Boolean, Status::NotCollected),
            (_, None) => make.without(entity, Datatype::Int, Status::NotCollected),
        };
    }
    out.item(make);
}

fn password_policy<'r>(_: &Resolved, rows: &[&'r Row], out: &mut Out<'r>) {
    const SETTINGS: [(&str, &str, Unit); 7] = [
        ("max_passwd_age", "maximumpasswordage", Unit::Days),
        ("min_passwd_age", "minimumpasswordage", Unit::Days),
        ("min_passwd_len", "minimumpasswordlength", Unit::Number),
        ("password_hist_len", "passwordhistorysize", Unit::Number),
        ("password_complexity", "passwordcomplexity", Unit::Bool),
        ("reversible_encryption", "cleartextpassword", Unit::Bool),
        ("anonymous_name_lookup", "lsaanonymousnamelookup", Unit::Bool),
    ];
    policy("passwordpolicy", &SETTINGS, rows, out);
}

fn lockout_policy<'r>(_: &Resolved, rows: &[&'r Row], out: &mut Out<'r>) {
    const SETTINGS: [(&str, &str, Unit); 3] = [
        ("lockout_duration", "lockoutduration", Unit::Minutes),
        ("lockout_observation_window", "resetlockoutcount", Unit::Minutes),
        ("lockout_threshold", "lockoutbadcount", Unit::Number),
    ];
    policy("lockoutpolicy", &SETTINGS, rows, out);
}

fn audit_policy<'r>(_: &Resolved, rows: &[&'r Row], out: &mut Out<'r>) {
    let mut make = Make::new("auditeventpolicysubcategories");
    for row in rows {
        let Some(name) = row.get("subcategory").as_str() else { continue };
        let words: Vec<&str> = name.split(|c: char| !c.is_ascii_alphanumeric()).filter(|w| !w.is_empty()).collect();
        let setting = match row.get("setting").as_str() {
            Some("No Auditing") => "AUDIT_NONE",
            Some("Success") => "AUDIT_SUCCESS",
            Some("Failure") => "AUDIT_FAILURE",
            Some("Success and Failure") => "AUDIT_SUCCESS_FAILURE",
            _ => {
                out.fail(Flag::Incomplete, format!("audit policy {name}: its setting cannot be read"));
                continue;
            }
        };
        make = make.text(words.join("_"), setting);
    }
    if !rows.is_empty() {
        out.item(make);
    }
}
