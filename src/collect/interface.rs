//! `interface`: network interfaces and their addresses, as the kernel lists them over netlink.
//!
//! Only where a pack asks for the table: addresses are a host's own, and a fleet of rows that nobody reads costs memory. Addresses that
//! change by themselves (IPv6 privacy addresses) and the host's ends of containers' interfaces (`veth*`) are left out.

use std::collections::BTreeMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rustix::net::netlink::SocketAddrNetlink;
use rustix::net::sockopt::set_socket_timeout;
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with, sockopt::Timeout};

use super::root::why;
use super::{Gap, Gathered, Host, row, table};
use crate::scan::Row;

const GET_LINK: u16 = 18;
const NEW_LINK: u16 = 16;
const GET_ADDRESS: u16 = 22;
const NEW_ADDRESS: u16 = 20;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// NLM_F_REQUEST | NLM_F_DUMP
const DUMP: u16 = 0x301;
/// IFA_F_TEMPORARY
const TEMPORARY: u32 = 1;
/// Bytes that a dump may have: some 100,000 addresses.
const DUMP_BYTES: usize = 16 << 20;

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    // Another root's interfaces would be this host's.
    if !host.root.is_live() || !host.asks.contains_key(&table("interface")) {
        return Err(Gap::NotAsked);
    }
    let dump = |kind| dump(kind).map_err(|e| Gap::Failed(format!("netlink: {}", why(&e))));
    Ok(rows(&dump(GET_LINK)?, &dump(GET_ADDRESS)?))
}

/// The messages of one type, as the kernel sends them.
fn dump(kind: u16) -> io::Result<Vec<u8>> {
    let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, None)?;
    set_socket_timeout(&socket, Timeout::Recv, Some(std::time::Duration::from_secs(5)))?;
    // Head and `struct rtgenmsg`, padded to four bytes.
    let mut request = Vec::with_capacity(20);
    request.extend(number32(20));
    request.extend(number16(kind));
    request.extend(number16(DUMP));
    request.extend([0; 12]);
    sendto(&socket, &request, SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
    let mut all = Vec::new();
    let mut buffer = vec![0u8; 64 << 10];
    while all.len() < DUMP_BYTES {
        let (read, _) = recv(&socket, &mut buffer[..], RecvFlags::empty())?;
        let part = buffer.get(..read).unwrap_or_default();
        all.extend_from_slice(part);
        for (kind, body) in messages(part) {
            match kind {
                DONE => return Ok(all),
                ERROR => {
                    let code = body.first_chunk::<4>().map_or(0, |b| read_i32(*b));
                    return Err(io::Error::from_raw_os_error(code.saturating_neg()));
                }
                _ => {}
            }
        }
        if read == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
        }
    }
    Err(io::Error::other(format!("over the limit of {DUMP_BYTES} bytes")))
}

struct Link {
    name: String,
    row: Row,
}

fn rows(links: &[u8], addresses: &[u8]) -> Vec<Row> {
    let known: BTreeMap<u32, Link> = messages(links).filter(|(kind, _)| *kind == NEW_LINK).filter_map(|(_, body)| link(body)).collect();
    let mut rows = Vec::new();
    let mut without: Vec<u32> = known.keys().copied().collect();
    for (_, body) in messages(addresses).filter(|(kind, _)| *kind == NEW_ADDRESS) {
        if let Some((index, row)) = address(body, &known) {
            without.retain(|i| *i != index);
            rows.push(row);
        }
    }
    rows.extend(without.iter().filter_map(|index| known.get(index)).map(|link| link.row.clone()));
    rows
}

fn link(body: &[u8]) -> Option<(u32, Link)> {
    let (head, rest) = body.split_at_checked(16)?;
    let kind = read_u16([*head.get(2)?, *head.get(3)?]);
    let index = read_u32(*head.get(4..8)?.first_chunk()?);
    let flags = read_u32(*head.get(8..12)?.first_chunk()?);
    let attributes: BTreeMap<u16, &[u8]> = attributes(rest).collect();
    let name = text(attributes.get(&3)?);
    if name.starts_with("veth") {
        return None;
    }
    let hardware = attributes.get(&1).filter(|a| !a.is_empty());
    let hardware = hardware.map(|a| a.iter().map(|b| format!("{b:02X}")).collect::<Vec<_>>().join(":"));
    let row = row("interface").with("name", name.as_str()).with("type", kind_name(kind)).with("hardware", hardware);
    Some((index, Link { name, row: row.with("flags", flag_names(flags)) }))
}

fn address(body: &[u8], links: &BTreeMap<u32, Link>) -> Option<(u32, Row)> {
    let (head, rest) = body.split_at_checked(8)?;
    let index = read_u32(*head.get(4..8)?.first_chunk()?);
    let link = links.get(&index)?;
    let attributes: BTreeMap<u16, &[u8]> = attributes(rest).collect();
    let flags = attributes.get(&8).and_then(|a| a.first_chunk()).map_or(u32::from(*head.get(2)?), |b| read_u32(*b));
    if flags & TEMPORARY != 0 && *head.first()? == 10 {
        return None;
    }
    // The own end of a point-to-point link is the local address.
    let own = ip(attributes.get(&2).or_else(|| attributes.get(&1))?)?;
    let broadcast = attributes.get(&4).and_then(|a| ip(a)).map(|a| a.to_string());
    let name = attributes.get(&3).map_or_else(|| link.name.clone(), |label| text(label));
    let row = link.row.clone().with("name", name).with("address", own.to_string()).with("prefix", i64::from(*head.get(1)?));
    Some((index, row.with("broadcast", broadcast)))
}

fn ip(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => bytes.first_chunk::<4>().map(|b| Ipv4Addr::from(*b).into()),
        16 => bytes.first_chunk::<16>().map(|b| Ipv6Addr::from(*b).into()),
        _ => None,
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes.split(|b| *b == 0).next().unwrap_or_default()).into_owned()
}

/// Type and body of each message (`struct nlmsghdr`).
fn messages(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let head = rest.first_chunk::<16>()?;
        let size = usize::try_from(read_u32([head[0], head[1], head[2], head[3]])).ok()?;
        let kind = read_u16([head[4], head[5]]);
        let body = rest.get(16..size)?;
        rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

/// Number and value of each attribute (`struct rtattr`).
fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    let mut rest = bytes;
    std::iter::from_fn(move || {
        let head = rest.first_chunk::<4>()?;
        let size = usize::from(read_u16([head[0], head[1]]));
        let kind = read_u16([head[2], head[3]]) & 0x3fff;
        let value = rest.get(4..size)?;
        rest = rest.get(size.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
}

/// ARPHRD_*
fn kind_name(kind: u16) -> String {
    match kind {
        1 => "ethernet".to_owned(),
        4 => "pronet".to_owned(),
        32 => "infiniband".to_owned(),
        256 => "slip".to_owned(),
        512 => "ppp".to_owned(),
        768 => "tunnel".to_owned(),
        772 => "loopback".to_owned(),
        774 => "fddi".to_owned(),
        65534 => "none".to_owned(),
        65535 => "void".to_owned(),
        other => other.to_string(),
    }
}

/// IFF_*, in the order of their bits.
fn flag_names(flags: u32) -> String {
    const NAMES: [&str; 16] = [
        "UP",
        "BROADCAST",
        "DEBUG",
        "LOOPBACK",
        "POINTOPOINT",
        "NOTRAILERS",
        "RUNNING",
        "NOARP",
        "PROMISC",
        "ALLMULTI",
        "MASTER",
        "SLAVE",
        "MULTICAST",
        "PORTSEL",
        "AUTOMEDIA",
        "DYNAMIC",
    ];
    let set = NAMES.iter().enumerate().filter(|(bit, _)| flags >> bit & 1 == 1).map(|(_, name)| *name);
    set.collect::<Vec<_>>().join(",")
}

#[expect(clippy::host_endian_bytes, reason = "netlink speaks the order of the machine")]
mod order {
    pub(super) fn read_u16(bytes: [u8; 2]) -> u16 {
        u16::from_ne_bytes(bytes)
    }

    pub(super) fn read_u32(bytes: [u8; 4]) -> u32 {
        u32::from_ne_bytes(bytes)
    }

    pub(super) fn read_i32(bytes: [u8; 4]) -> i32 {
        i32::from_ne_bytes(bytes)
    }

    pub(super) fn number16(n: u16) -> [u8; 2] {
        n.to_ne_bytes()
    }

    pub(super) fn number32(n: u32) -> [u8; 4] {
        n.to_ne_bytes()
    }
}
use order::{number16, number32, read_i32, read_u16, read_u32};

#[cfg(test)]
mod tests {
    use super::*;

    fn message(kind: u16, body: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(number32(u32::try_from(16 + body.len()).unwrap()));
        out.extend(number16(kind));
        out.extend([0; 10]);
        out.extend(body);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn attribute(kind: u16, value: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend(number16(u16::try_from(4 + value.len()).unwrap()));
        out.extend(number16(kind));
        out.extend(value);
        out.resize(out.len().next_multiple_of(4), 0);
        out
    }

    fn link(index: u32, kind: u16, flags: u32, name: &str) -> Vec<u8> {
        let mut body = vec![0, 0];
        body.extend(number16(kind));
        body.extend(number32(index));
        body.extend(number32(flags));
        body.extend([0; 4]);
        body.extend(attribute(3, format!("{name}\0").as_bytes()));
        body.extend(attribute(1, &[2, 0, 0, 0xab, 0, 1]));
        message(NEW_LINK, &body)
    }

    fn address(index: u32, family: u8, prefix: u8, flags: u8, attributes: &[(u16, &[u8])]) -> Vec<u8> {
        let mut body = vec![family, prefix, flags, 0];
        body.extend(number32(index));
        attributes.iter().for_each(|(kind, value)| body.extend(attribute(*kind, value)));
        message(NEW_ADDRESS, &body)
    }

    #[test]
    fn messages_become_rows() {
        let links = [link(1, 772, 0x9, "lo"), link(2, 1, 0x1103, "eth0"), link(3, 1, 0x1, "veth0"), message(DONE, &[0; 4])].concat();
        let six = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2).octets();
        let addresses = [
            address(2, 2, 24, 0, &[(1, &[192, 0, 2, 2]), (2, &[192, 0, 2, 2]), (4, &[192, 0, 2, 255]), (3, b"eth0:1\0")]),
            address(2, 10, 64, 0, &[(1, &six)]),
            address(2, 10, 64, 1, &[(1, &six)]),
            address(9, 2, 8, 0, &[(1, &[10, 0, 0, 1])]),
        ]
        .concat();
        let got: Vec<_> = rows(&links, &addresses).iter().map(ToString::to_string).collect();
        assert_eq!(
            got,
            [
                r#"interface{"name":"eth0:1","type":"ethernet","hardware":"02:00:00:AB:00:01","address":"192.0.2.2","prefix":24,"broadcast":"192.0.2.255","flags":"UP,BROADCAST,PROMISC,MULTICAST"}"#,
                r#"interface{"name":"eth0","type":"ethernet","hardware":"02:00:00:AB:00:01","address":"fd00::2","prefix":64,"flags":"UP,BROADCAST,PROMISC,MULTICAST"}"#,
                r#"interface{"name":"lo","type":"loopback","hardware":"02:00:00:AB:00:01","flags":"UP,LOOPBACK"}"#,
            ]
        );
    }

    #[test]
    fn broken_messages_end() {
        assert_eq!(messages(&[0; 64]).count(), 0);
        assert_eq!(messages(&message(1, &[1, 2, 3])[..17]).count(), 0);
        assert_eq!(attributes(&[0; 32]).count(), 0);
        assert_eq!(rows(&message(NEW_LINK, &[1; 15]), &message(NEW_ADDRESS, &[1; 7])), []);
    }

    #[test]
    fn this_machine() {
        match (dump(GET_LINK), dump(GET_ADDRESS)) {
            (Ok(links), Ok(addresses)) => {
                let rows = rows(&links, &addresses);
                assert!(rows.iter().any(|r| r.get("type").as_str() == Some("loopback")), "{rows:?}");
            }
            (links, _) => crate::collect::tests::not_here(&format!("netlink: {:?}", links.err())),
        }
    }
}
