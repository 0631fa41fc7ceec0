//! `listening`: sockets that wait for the network, from /proc/net.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use super::{Gap, Gathered, Host, process, row};

/// File descriptors looked at in all.
const DESCRIPTORS: usize = 2_000_000;
const EPHEMERAL: RangeInclusive<u16> = 32768..=60999;

#[derive(Debug, PartialEq, Eq)]
struct Socket {
    address: IpAddr,
    port: u16,
    inode: u64,
}

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    let range = host.root.text("/proc/sys/net/ipv4/ip_local_port_range").ok().flatten();
    let range = range.and_then(|t| parse_range(&t)).unwrap_or(EPHEMERAL);
    let mut sockets = Vec::new();
    let mut any = false;
    for protocol in ["tcp", "tcp6", "udp", "udp6"] {
        let path = format!("/proc/net/{protocol}");
        // Without IPv6 two of them are not there.
        let Some(text) = host.root.text(&path)? else { continue };
        any = true;
        let found = parse(&text, protocol.starts_with("tcp"), &range).map_err(|why| format!("{path}: {why}"))?;
        sockets.extend(found.into_iter().map(|s| (protocol, s)));
    }
    if !any {
        return Err(Gap::NotHere("/proc/net"));
    }
    let owners = if sockets.is_empty() { Owners::default() } else { Owners::read(host)? };
    let rows = sockets.into_iter().map(|(protocol, socket)| {
        let owner = owners.names.get(&socket.inode);
        let row = row("listening")
            .with("protocol", protocol)
            .with("address", socket.address.to_string())
            .with("port", u32::from(socket.port))
            .with("process", owner.map(String::as_str));
        if owner.is_none() && owners.denied { row.with_error("process: permission denied") } else { row }
    });
    Ok(rows.collect())
}

fn parse_range(text: &str) -> Option<RangeInclusive<u16>> {
    let mut words = text.split_whitespace();
    Some(words.next()?.parse().ok()?..=words.next()?.parse().ok()?)
}

/// TCP sockets that listen; UDP sockets without a peer, outside the ports that the kernel hands out.
fn parse(text: &str, tcp: bool, ephemeral: &RangeInclusive<u16>) -> Result<Vec<Socket>, String> {
    let mut sockets = Vec::new();
    for (line, n) in text.lines().zip(1usize..).skip(1).filter(|(l, _)| !l.trim().is_empty()) {
        let bad = || format!("line {n} cannot be read");
        let fields: Vec<&str> = line.split_whitespace().collect();
        let &[_, local, remote, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { return Err(bad()) };
        let (address, port) = endpoint(local).ok_or_else(bad)?;
        let waits = if tcp { state == "0A" } else { state == "07" && remote.ends_with(":0000") && !ephemeral.contains(&port) };
        if waits && port != 0 {
            sockets.push(Socket { address, port, inode: inode.parse().map_err(|_| bad())? });
        }
    }
    Ok(sockets)
}

/// `0100007F:1F90`: the address in words of the machine's own byte order, the port as a number.
fn endpoint(text: &str) -> Option<(IpAddr, u16)> {
    let (address, port) = text.split_once(':')?;
    let word = |at: usize| u32::from_str_radix(address.get(at..at + 8)?, 16).ok().map(u32::from_be);
    let ip = match address.len() {
        8 => IpAddr::V4(Ipv4Addr::from(word(0)?)),
        32 => {
            let bits = [word(0)?, word(8)?, word(16)?, word(24)?].iter().fold(0u128, |bits, w| bits << 32 | u128::from(*w));
            IpAddr::V6(Ipv6Addr::from(bits))
        }
        _ => return None,
    };
    Some((ip, u16::from_str_radix(port, 16).ok()?))
}

/// Which program holds a socket.
#[derive(Default)]
struct Owners {
    /// By inode; of several programs that of the lowest process id.
    names: BTreeMap<u64, String>,
    /// Some process could not be looked into.
    denied: bool,
}

impl Owners {
    fn read(host: &Host<'_>) -> Result<Owners, String> {
        let mut owners = Owners::default();
        let mut looked = 0usize;
        for pid in process::pids(host)? {
            let Ok(folder) = host.root.resolve(&format!("/proc/{pid}")) else { continue };
            let entries = match fs::read_dir(folder.join("fd")) {
                Ok(entries) => entries,
                Err(e) => {
                    owners.denied |= e.kind() == ErrorKind::PermissionDenied;
                    continue;
                }
            };
            let links = entries.filter_map(Result::ok).filter_map(|e| fs::read_link(e.path()).ok());
            let inodes: Vec<u64> = links.inspect(|_| looked += 1).filter_map(|l| inode(l.to_str()?)).collect();
            if let Some(name) = Some(inodes.is_empty()).filter(|none| !none).and_then(|_| process::name_of(&folder)) {
                for inode in inodes {
                    owners.names.entry(inode).or_insert_with(|| name.clone());
                }
            }
            if looked > DESCRIPTORS {
                return Err(format!("more than {DESCRIPTORS} open files"));
            }
        }
        Ok(owners)
    }
}

fn inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        if cfg!(target_endian = "little") {
            assert_eq!(endpoint("0100007F:1F90"), Some((Ipv4Addr::LOCALHOST.into(), 8080)));
            assert_eq!(endpoint("00000000000000000000000001000000:0016"), Some((Ipv6Addr::LOCALHOST.into(), 22)));
            assert_eq!(endpoint("B80D0120000000000000000001000000:0035").unwrap().0.to_string(), "2001:db8::1");
        }
        assert_eq!(endpoint("00000000000000000000000000000000:0016"), Some((Ipv6Addr::UNSPECIFIED.into(), 22)));
        for bad in ["", "0:1", "0100007F", "0100007F:x", "ééééé:1", "0100007F:12345"] {
            assert_eq!(endpoint(bad), None, "{bad}");
        }
    }

    #[test]
    fn sockets_that_wait() {
        let head = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n";
        let line = |local: &str, remote: &str, state: &str| {
            format!("  0: {local} {remote} {state} 00000000:00000000 00:00000000 00000000 0 0 77 1\n")
        };
        let none = "00000000:0000";
        let tcp = head.to_owned() + &line("00000000:0016", none, "0A") + &line("00000000:0016", "00000001:0001", "01");
        assert_eq!(parse(&tcp, true, &EPHEMERAL).unwrap().iter().map(|s| (s.port, s.inode)).collect::<Vec<_>>(), [(22, 77)]);
        let udp = head.to_owned()
            + &line("00000000:0044", none, "07")
            + &line("00000000:C000", none, "07")
            + &line("00000000:0045", "00000001:0035", "01");
        assert_eq!(parse(&udp, false, &EPHEMERAL).unwrap().iter().map(|s| s.port).collect::<Vec<_>>(), [68]);
        assert!(parse("head\nnonsense\n", true, &EPHEMERAL).is_err());
        assert_eq!(parse_range("32768\t60999\n"), Some(EPHEMERAL));
        assert_eq!(inode("socket:[12]"), Some(12));
    }
}
