//! `interface`, `inetlisteningservers`, `process58` and `process`: tables of what runs and listens.

use std::net::Ipv4Addr;

use super::super::facts::Status;
use super::super::model::{Datatype, Operation};
use super::item::{Make, Out};
use super::resolved::Resolved;
use super::types::Type;
use crate::scan::{Row, Value};

pub(super) const TYPES: &[Type] = &[
    Type::rows("interface", "interface", interface),
    Type::rows("inetlisteningservers", "listening", listening),
    Type::rows("process58", "process", process58).check(any_process),
    Type::rows("process", "process", process),
];

const ARPHRD: [(&str, &str); 7] = [
    ("ethernet", "ARPHRD_ETHER"),
    ("fddi", "ARPHRD_FDDI"),
    ("loopback", "ARPHRD_LOOPBACK"),
    ("ppp", "ARPHRD_PPP"),
    ("pronet", "ARPHRD_PRONET"),
    ("slip", "ARPHRD_SLIP"),
    ("void", "ARPHRD_VOID"),
];

/// One item an address: an interface without any has none.
fn interface<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let (Some(name), Some(address)) = (row.get("name").as_str(), row.get("address").as_str()) else { return };
    if !object.takes("name", name, out) {
        return;
    }
    let kind = row.get("type").as_str().and_then(|k| ARPHRD.iter().find(|(ours, _)| *ours == k));
    let mut make = Make::new("interface").text("name", name);
    make = match kind {
        Some((_, kind)) => make.text("type", *kind),
        None => make.without("type", Datatype::String, Status::NotCollected),
    };
    make = make.text("hardware_addr", row.get("hardware").as_str().unwrap_or_default());
    let prefix = if let Value::Int(n) = row.get("prefix") { u32::try_from(*n).ok() } else { None };
    make = if address.contains(':') {
        // The length of the prefix is part of the address, and there is no mask.
        let text = prefix.map_or_else(|| address.to_owned(), |n| format!("{address}/{n}"));
        make.typed("inet_addr", Datatype::Ipv6, text).typed("broadcast_addr", Datatype::Ipv6, "").typed("netmask", Datatype::Ipv6, "")
    } else {
        let make = make.typed("inet_addr", Datatype::Ipv4, address);
        // As OpenSCAP does: what an address does not have is empty.
        let make = make.typed("broadcast_addr", Datatype::Ipv4, row.get("broadcast").as_str().unwrap_or_default());
        match prefix.filter(|n| *n <= 32) {
            Some(n) => make.typed("netmask", Datatype::Ipv4, mask(n).to_string()),
            None => make.without("netmask", Datatype::Ipv4, Status::NotCollected),
        }
    };
    out.item(make.each("flag", row.get("flags").as_str().unwrap_or_default().split(',').filter(|f| !f.is_empty())));
}

fn mask(prefix: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::MAX.checked_shl(32 - prefix).unwrap_or(0))
}

fn listening<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let (Some(protocol), Some(address), Value::Int(port)) = (row.get("protocol").as_str(), row.get("address").as_str(), row.get("port"))
    else {
        return;
    };
    // The table tells IPv6 by the protocol, OVAL by the address.
    let protocol = protocol.trim_end_matches('6');
    let taken = object.takes("protocol", protocol, out)
        && object.takes("local_address", address, out)
        && object.takes("local_port", &port.to_string(), out);
    if !taken {
        return;
    }
    let foreign = if address.contains(':') { "::" } else { "0.0.0.0" };
    out.item(
        Make::new("inetlisteningserver")
            .text("protocol", protocol)
            .text("local_address", address)
            .int("local_port", *port)
            .text("local_full_address", format!("{address}:{port}"))
            .column("program_name", row, "process", Datatype::String, Status::NotCollected)
            .text("foreign_address", foreign)
            .int("foreign_port", 0)
            .text("foreign_full_address", format!("{foreign}:0"))
            // Process ids change by themselves.
            .without("pid", Datatype::Int, Status::NotCollected)
            .without("user_id", Datatype::Int, Status::NotCollected),
    );
}

/// The table has programs, not processes: an object may ask for any process id, not for some.
fn any_process(object: &Resolved) -> Result<(), String> {
    let Some(pid) = object.want("pid").filter(|p| !p.nil) else { return Ok(()) };
    let number = |v: &str| v.trim().parse::<i64>().ok();
    let any = pid.values.iter().all(|v| match (pid.operation, number(v)) {
        (Operation::GreaterThan | Operation::NotEqual, Some(n)) => n <= 0,
        (Operation::GreaterThanOrEqual, Some(n)) => n <= 1,
        _ => false,
    });
    if any { Ok(()) } else { Err("process ids are not collected".to_owned()) }
}

fn process58<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some(command) = row.get("command").as_str().or_else(|| row.get("exe").as_str()).or_else(|| row.get("name").as_str()) else {
        return;
    };
    if object.takes("command_line", command, out) {
        out.item(of_process(Make::new("process58").text("command_line", command), row));
    }
}

fn process<'r>(object: &Resolved, row: &'r Row, out: &mut Out<'r>) {
    let Some(command) = row.get("command").as_str().or_else(|| row.get("name").as_str()) else { return };
    if object.takes("command", command, out) {
        out.item(of_process(Make::new("process").text("command", command), row));
    }
}

fn of_process<'r>(mut make: Make<'r>, row: &'r Row) -> Make<'r> {
    for (name, datatype) in [
        ("exec_time", Datatype::String),
        ("pid", Datatype::Int),
        ("ppid", Datatype::Int),
        ("priority", Datatype::Int),
        ("ruid", Datatype::Int),
        ("scheduling_class", Datatype::String),
        ("start_time", Datatype::String),
        ("tty", Datatype::String),
        ("user_id", Datatype::Int),
        ("exec_shield", Datatype::Boolean),
        ("loginuid", Datatype::Int),
        ("posix_capability", Datatype::String),
        ("session_id", Datatype::Int),
    ] {
        make = make.without(name, datatype, Status::NotCollected);
    }
    make.column("selinux_domain_label", row, "domain", Datatype::String, Status::NotCollected)
}
