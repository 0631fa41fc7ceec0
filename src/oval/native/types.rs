//! The object types that our tables can answer, and why others cannot.

use super::super::model::Kind;
use super::item::Out;
use super::resolved::Resolved;
use super::{Select, account, files, network, package, system, systemd, text, windows, xml};
use crate::scan::Row;
use crate::scan::table::TableId;

/// How objects of one type are answered.
pub(super) struct Type {
    pub(super) name: &'static str,
    pub(super) table: &'static str,
    /// Whether its entities say where files are.
    pub(super) places: bool,
    /// Whether its entities are compared without case.
    pub(super) fold: bool,
    /// Why an object of this type cannot be answered.
    pub(super) check: fn(&Resolved) -> Result<(), String>,
    pub(super) select: fn(&Resolved) -> Select,
    /// Of tables that hold only what was asked: what must have been.
    pub(super) asks: fn(&Resolved) -> Vec<String>,
    pub(super) items: for<'r> fn(&Resolved, &'r Row, &mut Out<'r>),
    /// For items that join rows, instead of `items`.
    pub(super) whole: Option<for<'r> fn(&Resolved, &[&'r Row], &mut Out<'r>)>,
    /// What the object means and the table leaves out.
    pub(super) unseen: fn(&Resolved) -> Option<String>,
}

impl std::fmt::Debug for Type {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Type {
    /// A type of a complete table, row by row.
    pub(super) const fn rows(name: &'static str, table: &'static str, items: for<'r> fn(&Resolved, &'r Row, &mut Out<'r>)) -> Type {
        Type {
            name,
            table,
            places: false,
            fold: false,
            check: |_| Ok(()),
            select: |_| Select::Each,
            asks: |_| Vec::new(),
            items,
            whole: None,
            unseen: |_| None,
        }
    }

    /// A type whose one entity is a column of a complete table.
    pub(super) const fn select(mut self, select: fn(&Resolved) -> Select) -> Type {
        self.select = select;
        self
    }

    pub(super) const fn check(mut self, check: fn(&Resolved) -> Result<(), String>) -> Type {
        self.check = check;
        self
    }

    pub(super) const fn asks(mut self, asks: fn(&Resolved) -> Vec<String>) -> Type {
        self.asks = asks;
        self
    }

    pub(super) const fn places(mut self) -> Type {
        self.places = true;
        self.select = by_place;
        self
    }

    pub(super) const fn fold(mut self) -> Type {
        self.fold = true;
        self
    }

    pub(super) const fn whole(mut self, whole: for<'r> fn(&Resolved, &[&'r Row], &mut Out<'r>)) -> Type {
        self.whole = Some(whole);
        self
    }

    pub(super) const fn unseen(mut self, unseen: fn(&Resolved) -> Option<String>) -> Type {
        self.unseen = unseen;
        self
    }
}

fn by_place(object: &Resolved) -> Select {
    object.place.as_ref().and_then(|p| p.exact()).map_or(Select::Each, Select::Key)
}

/// By the key column that an entity names.
pub(super) fn by_key(object: &Resolved, entity: &str) -> Select {
    object.want(entity).and_then(|w| w.exact()).map_or(Select::Each, |values| Select::Key(values.to_vec()))
}

const FAMILIES: [&[Type]; 9] =
    [files::TYPES, text::TYPES, xml::TYPES, package::TYPES, account::TYPES, system::TYPES, systemd::TYPES, network::TYPES, windows::TYPES];

/// Types that no table answers, with what would be needed.
const REASONS: &[(&str, &str)] = &[
    ("accesstoken", "the names of all accounts and groups are not collected, only the SIDs that have a right"),
    ("cmdlet", "PowerShell is not run on endpoints"),
    ("dnscache", "no table holds the resolver's cache"),
    ("fileeffectiverights53", "access control lists of Windows files are not collected"),
    ("fileextendedattribute", "extended attributes are not collected"),
    ("iflisteners", "packet sockets are not collected"),
    ("ldap57", "directories are not asked from endpoints"),
    ("rpmverify", "files are not verified against the rpm database"),
    ("rpmverifyfile", "files are not verified against the rpm database"),
    ("rpmverifypackage", "files are not verified against the rpm database"),
    ("routingtable", "routes are not collected"),
    ("runlevel", "links of System V runlevels are not collected"),
    ("selinuxsecuritycontext", "SELinux labels of files are not collected"),
    ("sid", "accounts of Windows are not collected by SID"),
    ("sid_sid", "accounts of Windows are not collected by SID"),
    ("sql57", "databases are not asked from endpoints"),
    ("userright", "rights are collected by the names of secedit, not those of the schema"),
    ("user_sid55", "accounts of Windows are not collected by SID"),
    ("wmi", "WMI is not asked from endpoints"),
    ("wmi57", "WMI is not asked from endpoints"),
    ("xinetd", "xinetd is not collected"),
    ("yamlfilecontent", "YAML paths are not evaluated"),
];

/// The type of an object, or why there is none.
pub(super) fn find(kind: &Kind) -> Result<&'static Type, String> {
    if let Some(found) = FAMILIES.iter().flat_map(|f| f.iter()).find(|t| t.name == &*kind.name && of_family(t, kind)) {
        return Ok(found);
    }
    let why = REASONS.iter().find(|(name, _)| *name == &*kind.name).map_or("no table holds such items", |(_, why)| why);
    Err(format!("{}_object ({}): {why}", kind.name, kind.family))
}

/// Types of the same name in several families differ.
fn of_family(ty: &Type, kind: &Kind) -> bool {
    match (ty.name, &*kind.family) {
        ("file" | "process58" | "process" | "interface" | "uname", family) => family != "windows",
        _ => true,
    }
}

/// The table that objects of a kind are answered from.
pub(super) fn table(kind: &Kind) -> Option<TableId> {
    find(kind).ok().and_then(|t| TableId::by_name(t.table))
}
