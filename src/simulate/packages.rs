//! The packages that there are: sources with their binaries and their histories, made up but for a core that every Debian has.
//!
//! `number of a binary + release + how many updates -> row of package`. Nothing is kept: names and versions follow from the numbers.

use super::{below, mix, permille};

/// What every machine has: source, binaries, version.
const CORE: [(&str, &[&str], &str); 56] = [
    ("acl", &["libacl1", "acl"], "2.3.1-3"),
    ("adduser", &["adduser"], "3.134"),
    ("apparmor", &["apparmor", "libapparmor1"], "3.0.8-3"),
    ("apt", &["apt", "apt-utils", "libapt-pkg6.0"], "2.6.1"),
    ("attr", &["libattr1"], "1:2.5.1-4"),
    ("audit", &["auditd", "libaudit1", "libaudit-common"], "1:3.0.9-1"),
    ("base-files", &["base-files"], "12.4+deb12u5"),
    ("bash", &["bash"], "5.2.15-2"),
    ("bind9", &["bind9-host", "bind9-libs", "bind9-dnsutils"], "1:9.18.19-1"),
    ("bzip2", &["bzip2", "libbz2-1.0"], "1.0.8-5"),
    ("ca-certificates", &["ca-certificates"], "20230311"),
    ("chrony", &["chrony"], "4.3-2"),
    ("coreutils", &["coreutils"], "9.1-1"),
    ("cron", &["cron", "cron-daemon-common"], "3.0pl1-162"),
    ("curl", &["curl", "libcurl4", "libcurl3-gnutls"], "7.88.1-10"),
    ("dash", &["dash"], "0.5.12-2"),
    ("dbus", &["dbus", "dbus-bin", "dbus-daemon", "libdbus-1-3"], "1.14.8-2"),
    ("dpkg", &["dpkg", "libdpkg-perl"], "1.21.22"),
    ("e2fsprogs", &["e2fsprogs", "libext2fs2", "logsave"], "1.47.0-2"),
    ("expat", &["libexpat1"], "2.5.0-1"),
    ("findutils", &["findutils"], "4.9.0-4"),
    ("glib2.0", &["libglib2.0-0", "libglib2.0-data"], "2.74.6-2"),
    ("glibc", &["libc6", "libc-bin", "libc-l10n", "locales"], "2.36-9"),
    ("gnupg2", &["gpg", "gpg-agent", "gpgconf", "gpgv", "dirmngr"], "2.2.40-1.1"),
    ("gnutls28", &["libgnutls30"], "3.7.9-2"),
    ("grep", &["grep"], "3.8-5"),
    ("grub2", &["grub-common", "grub-pc", "grub-pc-bin", "grub2-common"], "2.06-13"),
    ("gzip", &["gzip"], "1.12-1"),
    ("iproute2", &["iproute2"], "6.1.0-3"),
    ("iptables", &["iptables", "libxtables12", "libip4tc2"], "1.8.9-2"),
    ("krb5", &["libkrb5-3", "libgssapi-krb5-2", "libk5crypto3"], "1.20.1-2"),
    ("libcap2", &["libcap2", "libcap2-bin"], "1:2.66-4"),
    ("libpwquality", &["libpam-pwquality", "libpwquality1"], "1.4.5-1"),
    ("libxml2", &["libxml2"], "2.9.14+dfsg-1.3"),
    ("logrotate", &["logrotate"], "3.21.0-1"),
    ("lvm2", &["lvm2", "dmsetup", "libdevmapper1.02.1"], "2.03.16-2"),
    ("ncurses", &["ncurses-base", "ncurses-bin", "libtinfo6", "libncursesw6"], "6.4-4"),
    ("nftables", &["nftables", "libnftables1"], "1.0.6-2"),
    ("openssh", &["openssh-server", "openssh-client", "openssh-sftp-server"], "1:9.2p1-2"),
    ("openssl", &["openssl", "libssl3"], "3.0.9-1"),
    ("pam", &["libpam0g", "libpam-modules", "libpam-modules-bin", "libpam-runtime"], "1.5.2-6"),
    ("perl", &["perl", "perl-base", "perl-modules-5.36", "libperl5.36"], "5.36.0-7"),
    ("python3.11", &["python3.11", "python3.11-minimal", "libpython3.11-stdlib"], "3.11.2-6"),
    ("rsyslog", &["rsyslog"], "8.2302.0-1"),
    ("sed", &["sed"], "4.9-1"),
    ("shadow", &["passwd", "login"], "1:4.13+dfsg1-1"),
    ("sqlite3", &["libsqlite3-0"], "3.40.1-2"),
    ("sudo", &["sudo"], "1.9.13p3-1"),
    ("systemd", &["systemd", "systemd-sysv", "systemd-timesyncd", "libsystemd0", "libpam-systemd", "udev", "libudev1"], "252.17-1"),
    ("tar", &["tar"], "1.34+dfsg-1.2"),
    ("tzdata", &["tzdata"], "2023c-5"),
    ("util-linux", &["util-linux", "mount", "fdisk", "libblkid1", "libmount1", "bsdutils"], "2.38.1-5"),
    ("vim", &["vim-tiny", "vim-common"], "2:9.0.1378-2"),
    ("xz-utils", &["xz-utils", "liblzma5"], "5.4.1-0.2"),
    ("zlib", &["zlib1g"], "1:1.2.13.dfsg-1"),
    ("zstd", &["libzstd1", "zstd"], "1.5.4+dfsg2-5"),
];

/// Sources beside the core, and of those the ones that nearly every machine of a release has.
const SOURCES: usize = 20_000;
const BASE: usize = 700;

const STEMS: [&str; 64] = [
    "acorn", "amber", "anvil", "arbor", "aster", "basil", "birch", "brook", "cairn", "cedar", "chalk", "cobalt", "comet", "copper",
    "coral", "crane", "delta", "drift", "ember", "fable", "falcon", "fern", "flint", "forge", "gable", "garnet", "glade", "grove",
    "harbor", "hazel", "heron", "indigo", "iris", "ivory", "jasper", "juniper", "kestrel", "lagoon", "larch", "linen", "lotus", "maple",
    "marble", "meadow", "mica", "nickel", "oak", "onyx", "opal", "orchid", "otter", "pearl", "pine", "quartz", "raven", "reed", "rowan",
    "sable", "sage", "slate", "spruce", "thistle", "umber", "willow",
];
const KINDS: [&str; 10] = ["core", "kit", "tools", "net", "db", "ui", "parse", "crypt", "store", "audio"];

/// A distribution release, as rows name it, and how its updates end.
#[derive(Debug)]
pub(super) struct Release {
    pub(super) id: &'static str,
    pub(super) version: &'static str,
    pub(super) codename: &'static str,
    pub(super) name: &'static str,
    pub(super) kernel: &'static str,
    suffix: &'static str,
}

pub(super) const RELEASES: [Release; 4] = [
    Release { id: "debian", version: "12", codename: "bookworm", name: "Debian GNU/Linux 12 (bookworm)", kernel: "6.1", suffix: "+deb12u" },
    Release { id: "ubuntu", version: "22.04", codename: "jammy", name: "Ubuntu 22.04.5 LTS", kernel: "5.15", suffix: "ubuntu0.22.04." },
    Release { id: "debian", version: "13", codename: "trixie", name: "Debian GNU/Linux 13 (trixie)", kernel: "6.12", suffix: "+deb13u" },
    Release { id: "ubuntu", version: "24.04", codename: "noble", name: "Ubuntu 24.04.2 LTS", kernel: "6.8", suffix: "ubuntu0.24.04." },
];

/// One binary package: of which source, and which of its binaries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Binary {
    source: u32,
    part: u8,
}

/// The name of a source that is made up.
fn stem(source: usize) -> String {
    let n = source - CORE.len();
    let (a, b, kind) = (STEMS[n % 64], STEMS[(n / 64 + n) % 64], KINDS[(n / 7) % 10]);
    match n / 4096 {
        0 => format!("{a}-{kind}{}", n / 640),
        round => format!("{a}{b}{round}-{kind}"),
    }
}

/// How many binaries a source has: mostly one or two, some have many.
fn parts(source: usize) -> u8 {
    match CORE.get(source) {
        Some((_, binaries, _)) => u8::try_from(binaries.len()).unwrap_or(1),
        None => [1, 1, 1, 2, 2, 2, 3, 3, 4, 6][below(mix(&[0xb1, source as u64]), 10)],
    }
}

fn binaries(source: usize) -> impl Iterator<Item = Binary> {
    let source_id = u32::try_from(source).unwrap_or(u32::MAX);
    (0..parts(source)).map(move |part| Binary { source: source_id, part })
}

/// The packages of one golden image, by name: the core, most of the base, what its role needs, and some of all the rest.
pub(super) fn of_image(seed: u64, image: usize, count: usize) -> Vec<Binary> {
    let role = below(mix(&[seed, 0x401e, image as u64]), 8);
    let release = image % RELEASES.len();
    let mut chosen: Vec<Binary> = (0..CORE.len()).flat_map(binaries).collect();
    let segment = (SOURCES - BASE) / 16;
    let from = |what: u64, first: usize, of: usize, share: u64| {
        let sources = (first..first + of).filter(move |s| permille(mix(&[seed, what, image as u64, *s as u64]), share));
        sources.map(|s| s + CORE.len()).collect::<Vec<_>>()
    };
    // What a release has by default differs between releases, and hardly within one.
    let base: Vec<usize> =
        from(0xba5e, 0, BASE, 940).into_iter().filter(|s| permille(mix(&[seed, release as u64, *s as u64]), 700)).collect();
    let own = from(0x0411, BASE + role * segment, segment, 330);
    let rest = from(0x4e57, BASE + 8 * segment, 8 * segment, 400);
    // The rest in an order of the image's own, as it is cut off.
    let mut rest: Vec<(u64, usize)> = rest.into_iter().map(|s| (mix(&[seed, 0x04de4, image as u64, s as u64]), s)).collect();
    rest.sort_unstable();
    chosen.extend(base.into_iter().chain(own).chain(rest.into_iter().map(|(_, s)| s)).flat_map(binaries));
    chosen.truncate(count);
    let mut named: Vec<(String, Binary)> = chosen.into_iter().map(|b| (name(b), b)).collect();
    named.sort();
    named.dedup_by(|a, b| a.0 == b.0);
    named.into_iter().map(|(_, b)| b).collect()
}

/// A package that somebody installs beside the image: popular ones often.
pub(super) fn extra(mixed: u64) -> Binary {
    let share = (mixed >> 20) % 1000;
    let reach = (SOURCES / 2) as u64 * share * share / 1_000_000;
    let source = CORE.len() + BASE + below(mix(&[mixed]), usize::try_from(reach).unwrap_or(0) + 40);
    binaries(source).next().unwrap_or(Binary { source: 0, part: 0 })
}

pub(super) fn name(binary: Binary) -> String {
    let source = binary.source as usize;
    if let Some(name) = CORE.get(source).and_then(|(_, binaries, _)| binaries.get(usize::from(binary.part))) {
        return (*name).to_owned();
    }
    let stem = stem(source);
    let library = permille(mix(&[0x11b, source as u64]), 450);
    match (binary.part, library) {
        (0, true) => format!("lib{stem}{}", 1 + source % 7),
        (0, false) => stem,
        (1, _) => format!("{stem}-common"),
        (2, _) => format!("python3-{stem}"),
        (3, _) => format!("lib{stem}-dev"),
        (4, _) => format!("{stem}-doc"),
        (n, _) => format!("{stem}-plugin{n}"),
    }
}

/// How many updates a package of a release had up to a level: most none, some one with every wave.
pub(super) fn updates(seed: u64, binary: Binary, release: usize, level: u32) -> u32 {
    let source = u64::from(binary.source);
    let rate = match mix(&[seed, 0x4a7e, source]) % 1000 {
        0..550 => return 0,
        550..850 => 40,
        850..970 => 160,
        970..995 => 330,
        _ => 750,
    };
    let at = |l: &u32| permille(mix(&[seed, 0x09da7e, source, release as u64, u64::from(*l)]), rate);
    u32::try_from((1..=level).filter(at).count()).unwrap_or(0)
}

/// A package's row: its version after so many updates, or the one that backports have.
pub(super) fn row(binary: Binary, release: usize, updates: Option<u32>) -> crate::scan::Row {
    let Release { id, version: number, suffix, .. } = &RELEASES[release];
    let source = binary.source as usize;
    let first = match CORE.get(source) {
        Some((_, _, version)) => (*version).to_owned(),
        None => {
            let h = mix(&[0x7e4, source as u64, release as u64]);
            let epoch = if permille(h, 80) { "1:" } else { "" };
            format!("{epoch}{}.{}.{}-{}", h % 9, (h >> 8) % 23, (h >> 16) % 12, 1 + (h >> 24) % 4)
        }
    };
    let upstream = match updates {
        None => format!("{first}~bpo{number}+1"),
        Some(0) => first,
        Some(n) => format!("{first}{suffix}{n}"),
    };
    let rebuilt = permille(mix(&[0xb9, source as u64, u64::from(binary.part)]), 30);
    let independent = permille(mix(&[0xa11, source as u64, u64::from(binary.part)]), 350);
    let own = CORE.get(source).map_or_else(|| stem(source), |(name, ..)| (*name).to_owned());
    let row = crate::scan::Row::new(table("package")).with("name", name(binary)).with("source", own);
    let row = if rebuilt {
        row.with("version", format!("{upstream}+b1")).with("source_version", upstream)
    } else {
        row.with("version", upstream)
    };
    let arch = if independent { "all" } else { "amd64" };
    row.with("arch", arch).with("format", "deb").with("release", format!("{id}:{number}"))
}

/// The version of the kernel that a release has at a level: a new one with every third wave.
pub(super) fn kernel(release: usize, level: u32) -> (String, String) {
    let Release { id, kernel, .. } = &RELEASES[release];
    let abi = level / 3;
    let flavour = if *id == "ubuntu" { "generic" } else { "amd64" };
    (format!("{kernel}.0-{}-{flavour}", 20 + abi), format!("{kernel}.{}-1", 100 + 3 * abi))
}

/// INVARIANT: the tables that are made up exist; a test makes all of them.
pub(super) fn table(name: &str) -> crate::scan::table::TableId {
    crate::scan::table::TableId::by_name(name).unwrap_or(crate::scan::table::TableId(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_but_for_few() {
        let mut names: Vec<String> = (0..CORE.len() + SOURCES).flat_map(binaries).map(name).collect();
        let all = names.len();
        names.sort();
        names.dedup();
        assert!(all > 40_000 && names.len() * 100 > all * 97, "{} of {all}", names.len());
    }

    #[test]
    fn most_packages_are_never_updated_and_some_often() {
        let of: Vec<u32> = of_image(1, 0, 2000).into_iter().map(|b| updates(1, b, 0, 24)).collect();
        let never = of.iter().filter(|n| **n == 0).count();
        assert!((1000..1600).contains(&never), "{never}");
        assert!(of.iter().any(|n| *n > 12));
    }
}
