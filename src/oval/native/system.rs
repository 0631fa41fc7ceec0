//! `family`, `uname`, `sysctl`, `partition`, `selinuxboolean`, `environmentvariable` and `environmentvariable58`.

use super::super::facts::Status;
use super::super::model::Datatype;
use super::Select;
use super::item::{Make, Out};
use super::resolved::Resolved;
use super::types::{Type, by_key};
use super::want::Want;
use crate::collect::leaves_out;
use crate::scan::Row;

pub(super) const TYPES: &[Type] = &[
    Type::rows("family", "os", family),
    Type::rows("uname", "os", uname),
    Type::rows("sysctl", "sysctl", sysctl).select(by_sysctl).unseen(hidden_sysctl),
    Type::rows("partition", "mount", partition).select(|o| by_key(o, "mount_point")).unseen(hidden_mount),
    Type::rows("selinuxboolean", "selinux_boolean", selinux).select(|o| by_key(o, "name")),
    Type::rows("environmentvariable", "environment", variable).select(|o| by_key(o, "name")).asks(names),
    Type::rows("environmentvariable58", "environment", variable58).select(|o| by_key(o, "name")).asks(names).check(own_process),
];

fn family<'r>(_: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let name = match row.get("family").as_str() {
        Some("linux") => "unix",
        Some(other) => other,
        None => "undefined",
    };
    out.item(Make::new("family").text("family", name));
}

fn uname<'r>(_: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let system = match row.get("family").as_str() {
        Some("linux") => "Linux",
        Some("macos") => "Darwin",
        _ => return,
    };
    out.item(
        Make::new("uname")
            .column("machine_class", row, "arch", Datatype::String, Status::NotCollected)
            .without("node_name", Datatype::String, Status::NotCollected)
            .text("os_name", system)
            .column("os_release", row, "kernel", Datatype::String, Status::NotCollected)
            .without("os_version", Datatype::String, Status::NotCollected)
            .column("processor_type", row, "arch", Datatype::String, Status::NotCollected),
    );
}

/// OVAL writes the dots within a name (`eth0.7`) as they are, sysctl(8) and the table as slashes.
fn by_sysctl(object: &Resolved) -> Select {
    let names = object.want("name").and_then(Want::exact);
    match names {
        // Only below these a name has more than one spelling.
        Some(names) if names.iter().all(|n| !n.starts_with("net.") || n.split('.').count() <= 5) => Select::Key(names.to_vec()),
        _ => Select::Each,
    }
}

fn sysctl<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some(key) = row.get("key").as_str() else { return };
    let name = key.replace('/', ".");
    if object.takes("name", &name, out) {
        // What has no value is no item, as for sysctl(8).
        if row.error.is_some() || row.get("value").as_str().is_some_and(|v| !v.is_empty()) {
            let make = Make::new("sysctl").text("name", name);
            out.item(make.column("value", row, "value", Datatype::String, Status::DoesNotExist));
        }
    }
}

fn hidden_sysctl(object: &Resolved) -> Option<String> {
    let names = object.want("name")?.exact()?;
    let hidden = names.iter().find(|n| leaves_out::sysctl(n))?;
    Some(format!("{hidden} changes by itself or is a secret, and is not collected"))
}

fn partition<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some(path) = row.get("path").as_str() else { return };
    if !object.takes("mount_point", path, out) {
        return;
    }
    let make = Make::new("partition")
        .text("mount_point", path)
        .column("device", row, "device", Datatype::String, Status::NotCollected)
        .without("uuid", Datatype::String, Status::NotCollected)
        .column("fs_type", row, "fstype", Datatype::String, Status::NotCollected);
    let mut make = match row.get("options").as_str() {
        Some(options) => make.each("mount_options", options.split(',').filter(|o| !o.is_empty())),
        None => make.without("mount_options", Datatype::String, Status::NotCollected),
    };
    // Space changes by itself.
    for name in ["total_space", "space_used", "space_left", "block_size"] {
        make = make.without(name, Datatype::Int, Status::NotCollected);
    }
    out.item(make);
}

/// A mount point that is named may be one of those that the table leaves out. Patterns mean storage.
fn hidden_mount(object: &Resolved) -> Option<String> {
    let paths = object.want("mount_point")?.exact()?;
    let hidden = paths.iter().find(|p| leaves_out::mount(p))?;
    Some(format!("{hidden}: mounts of the kernel's own are not collected"))
}

fn selinux<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some(name) = row.get("name").as_str() else { return };
    if object.takes("name", name, out) {
        out.item(
            Make::new("selinuxboolean")
                .text("name", name)
                .column("current_status", row, "current", Datatype::Boolean, Status::NotCollected)
                .column("pending_status", row, "pending", Datatype::Boolean, Status::NotCollected),
        );
    }
}

/// Names, or patterns over names.
fn names(object: &Resolved) -> Vec<String> {
    let Some(want) = object.want("name") else { return Vec::new() };
    super::asks::keys(want)
}

fn own_process(object: &Resolved) -> Result<(), String> {
    match object.want("pid") {
        Some(pid) if !pid.nil => Err("only the environment of the collecting process is collected: pid must be nil".to_owned()),
        _ => Ok(()),
    }
}

fn variable<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    of_environment(object, row, Make::new("environmentvariable"), out);
}

fn variable58<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    // The process has ended; its number says nothing of the endpoint.
    of_environment(object, row, Make::new("environmentvariable58").without("pid", Datatype::Int, Status::NotCollected), out);
}

fn of_environment<'r>(object: &Resolved, row: &'r Row, make: Make<'r>, out: &mut Out<'r>) {
    let Some(name) = row.get("name").as_str() else { return };
    if object.takes("name", name, out) {
        out.item(make.text("name", name).column("value", row, "value", Datatype::String, Status::NotCollected));
    }
}
