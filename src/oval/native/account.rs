//! `password` and `shadow` over the table `user`.

use super::super::facts::{Flag, Status};
use super::super::model::Datatype;
use super::item::{Make, Out};
use super::resolved::Resolved;
use super::types::{Type, by_key};
use crate::scan::{Row, Value};

pub(super) const TYPES: &[Type] = &[
    Type::rows("password", "user", password).select(|o| by_key(o, "username")),
    Type::rows("shadow", "user", shadow).select(|o| by_key(o, "username")),
];

fn password<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some(name) = row.get("name").as_str() else { return };
    if !object.takes("username", name, out) {
        return;
    }
    // A column that is empty there is empty in the file; without privileges only the shadow file's are missing.
    out.item(
        Make::new("password")
            .text("username", name)
            .column("password", row, "field", Datatype::String, Status::NotCollected)
            .column("user_id", row, "uid", Datatype::Int, Status::NotCollected)
            .column("group_id", row, "gid", Datatype::Int, Status::NotCollected)
            .text("gcos", row.get("gecos").as_str().unwrap_or_default())
            .text("home_dir", row.get("home").as_str().unwrap_or_default())
            .text("login_shell", row.get("shell").as_str().unwrap_or_default())
            // It changes by itself.
            .without("last_login", Datatype::Int, Status::NotCollected),
    );
}

fn shadow<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some(name) = row.get("name").as_str() else { return };
    if !object.takes("username", name, out) {
        return;
    }
    let Some(password) = row.get("masked").as_str() else {
        // Without an error there is no entry.
        if let Some(why) = &row.error {
            out.fail(Flag::Error, format!("user {name}: {why}"));
        }
        return;
    };
    let make = Make::new("shadow")
        .text("username", name)
        // The hash is masked: how it begins and that it is there can be asked, itself cannot.
        .text("password", password)
        .int("chg_lst", day(row, "last_change"))
        .int("chg_allow", number(row, "min_days"))
        .int("chg_req", number(row, "max_days"))
        .int("exp_warn", number(row, "warn_days"))
        .int("exp_inact", number(row, "inactive_days"))
        .int("exp_date", day(row, "expires"))
        .without("flag", Datatype::String, Status::NotCollected);
    out.item(match method(password) {
        Some(method) => make.text("encrypt_method", method),
        None => make,
    });
}

/// An empty field is -1.
fn number(row: &Row, column: &str) -> i64 {
    if let Value::Int(n) = row.get(column) { *n } else { -1 }
}

/// Days since 1970; the file holds days, the table dates.
fn day(row: &Row, column: &str) -> i64 {
    let date = row.get(column).as_str().and_then(|text| text.parse::<jiff::civil::Date>().ok());
    date.and_then(|d| jiff::civil::date(1970, 1, 1).until(d).ok()).map_or(-1, |span| span.get_days().into())
}

/// The names that the schema has; none for schemes that it does not know.
fn method(password: &str) -> Option<&'static str> {
    let Some(scheme) = password.strip_prefix('$') else {
        return Some(if password.starts_with('_') { "BSDi" } else { "DES" });
    };
    match scheme.split('$').next().unwrap_or_default() {
        "1" => Some("MD5"),
        "2" | "2a" => Some("Blowfish"),
        "5" => Some("SHA-256"),
        "6" => Some("SHA-512"),
        "md5" => Some("Sun MD5"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::table::TableId;

    #[test]
    fn days_and_methods() {
        let row = Row::new(TableId::by_name("user").unwrap()).with("name", "a").with("last_change", "2026-11-21");
        assert_eq!(day(&row, "last_change"), 20_778);
        assert_eq!(day(&row, "expires"), -1);
        for (field, name) in [("$6$...", Some("SHA-512")), ("$y$...", None), ("*", Some("DES")), ("", Some("DES"))] {
            assert_eq!(method(field), name, "{field}");
        }
    }
}
