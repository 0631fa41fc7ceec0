//! What Microsoft calls a system: an `os` row in, the product name of its advisories out; and of which system a product name is.
//!
//! Microsoft spells its own names in several ways (`Systems` and `systems`, `Version 21H2` and `version 21H2`, with and without `Microsoft`, blanks at the end). Both functions
//! here give the same one spelling, so that two names of a system are equal as texts.
//!
//! Clients and servers share builds, so the name tells which of both it is, and the build tells which one. Names are in the language of the host and lose letters on
//! their way through code pages; `Server` and the numbers in them survive.

#[cfg(test)]
mod tests;

use crate::scan::Row;

/// `Windows 10 Version 1809 for x64-based Systems` for an `os` row; `None` for what is not Windows or cannot be told.
pub fn product(os: &Row) -> Option<String> {
    let text = |column: &str| os.get(column).as_str().unwrap_or("");
    let name = text("name").to_lowercase();
    let family = text("family");
    if !(family.eq_ignore_ascii_case("windows") || family.is_empty() && name.contains("windows")) {
        return None;
    }
    let host = Host {
        build: build(text("build")).or_else(|| build(text("version"))),
        arch: Arch::of(text("arch")),
        pack: [text("codename"), text("version"), &name].into_iter().find_map(service_pack),
        release: [text("codename"), text("version")].into_iter().find_map(release),
        name: &name,
        version: text("version"),
    };
    if name.contains("server") || text("id").to_ascii_lowercase().contains("server") { host.server() } else { host.client() }
}

/// The system that a product is, or runs on and comes with, in the spelling of [`product`]: `Internet Explorer 11 on Windows 10 Version 1809 for x64-based Systems` and
/// `Windows 10 Version 1809 for x64-based Systems` are of the same, and so is a `(Server Core installation)` of a server. `None` for what is installed by itself
/// (Office, SQL Server).
pub fn system_of(product: &str) -> Option<String> {
    let lower = product.to_ascii_lowercase();
    if !lower.contains("windows") {
        return None;
    }
    let words: Vec<&str> = lower.split_whitespace().collect();
    // A system is what stands after the last `on`; `Microsoft .NET Framework 3.5 on Windows Server 2012` has one, names of systems have none.
    let start = words.iter().rposition(|w| *w == "on").map_or(0, |on| on + 1);
    system(words.get(start..)?)
}

/// Of a name that [`product`] made: the version for `os.version`, and the release where the version has several: `10` and `1809`, `2012 R2`, `XP`.
pub fn version_of(product: &str) -> (String, Option<String>) {
    let words: Vec<&str> = product.split_whitespace().skip(1).collect();
    match words.as_slice() {
        ["Server,", "version", release, ..] => ((*release).to_owned(), None),
        ["Server", year, "R2", ..] => (format!("{year} R2"), None),
        ["Server", year, ..] if year.ends_with(',') => (year.trim_end_matches(',').to_owned(), words.get(2).map(|r| (*r).to_owned())),
        ["Server", year, ..] => ((*year).to_owned(), None),
        [number, "Version", release, ..] => ((*number).to_owned(), Some((*release).to_owned())),
        [name, ..] => ((*name).to_owned(), None),
        [] => (String::new(), None),
    }
}

/// What an `os` row says, as far as it decides the name.
struct Host<'a> {
    build: Option<u32>,
    arch: Option<Arch>,
    pack: Option<char>,
    /// `1809`, `22H2`, where the row says so.
    release: Option<String>,
    /// In lower case.
    name: &'a str,
    version: &'a str,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Arch {
    X86,
    X64,
    Arm64,
    Itanium,
}

impl Arch {
    fn of(text: &str) -> Option<Arch> {
        let text = text.to_ascii_lowercase();
        let has = |part: &str| text.contains(part);
        if has("arm64") || has("aarch64") || (has("arm") && has("64")) {
            Some(Arch::Arm64)
        } else if has("ia64") || has("itanium") {
            Some(Arch::Itanium)
        } else if has("64") {
            Some(Arch::X64)
        } else if has("86") || has("32") {
            Some(Arch::X86)
        } else {
            None
        }
    }

    fn systems(self) -> &'static str {
        match self {
            Arch::X86 => "32-bit Systems",
            Arch::X64 => "x64-based Systems",
            Arch::Arm64 => "ARM64-based Systems",
            Arch::Itanium => "Itanium-based Systems",
        }
    }
}

/// Builds of Windows 10 and later, and the versions that they are for clients. The first one has no version in its name.
const CLIENTS: [(u32, &str); 20] = [
    (10240, ""),
    (10586, "1511"),
    (14393, "1607"),
    (15063, "1703"),
    (16299, "1709"),
    (17134, "1803"),
    (17763, "1809"),
    (18362, "1903"),
    (18363, "1909"),
    (19041, "2004"),
    (19042, "20H2"),
    (19043, "21H1"),
    (19044, "21H2"),
    (19045, "22H2"),
    (22000, "21H2"),
    (22621, "22H2"),
    (22631, "23H2"),
    (26100, "24H2"),
    (26200, "25H2"),
    (28000, "26H1"),
];

/// Builds of servers from 2012 on, whose names need nothing else.
const SERVERS: [(u32, &str); 13] = [
    (9200, "Windows Server 2012"),
    (9600, "Windows Server 2012 R2"),
    (14393, "Windows Server 2016"),
    (16299, "Windows Server, version 1709"),
    (17134, "Windows Server, version 1803"),
    (17763, "Windows Server 2019"),
    (18362, "Windows Server, version 1903"),
    (18363, "Windows Server, version 1909"),
    (19041, "Windows Server, version 2004"),
    (19042, "Windows Server, version 20H2"),
    (20348, "Windows Server 2022"),
    (25398, "Windows Server 2022, 23H2 Edition"),
    (26100, "Windows Server 2025"),
];

impl Host<'_> {
    fn server(&self) -> Option<String> {
        let systems = || self.arch.map(Arch::systems);
        if let Some((_, name)) = self.build.and_then(|build| SERVERS.iter().find(|(b, _)| *b == build)) {
            return Some((*name).to_owned());
        }
        let named = |year: &str| self.name.contains(year) || self.version.contains(year);
        match self.build {
            Some(3790) => self.server_2003(),
            // What was sold first had the first service pack in it.
            Some(6001) => Some(format!("Windows Server 2008 for {}", systems()?)),
            Some(6002 | 6003) => Some(format!("Windows Server 2008 for {} Service Pack 2", systems()?)),
            Some(7600) => Some(format!("Windows Server 2008 R2 for {}", systems()?)),
            Some(7601) => Some(format!("Windows Server 2008 R2 for {} Service Pack 1", systems()?)),
            Some(_) => None,
            None if named("2003") => self.server_2003(),
            None if named("2008") => {
                let r2 = if named("2008 r2") || named("2008 R2") { " R2" } else { "" };
                let pack = self.pack.filter(|p| !(r2.is_empty() && *p == '1'));
                Some(format!("Windows Server 2008{r2} for {}{}", systems()?, pack_text(pack)))
            }
            None if named("2012 r2") || named("2012 R2") => Some("Windows Server 2012 R2".to_owned()),
            None => ["2012", "2016", "2019", "2022", "2025"].into_iter().find(|y| named(y)).map(|y| format!("Windows Server {y}")),
        }
    }

    /// The row does not tell 2003 from 2003 R2, which has the same build and takes the same updates.
    fn server_2003(&self) -> Option<String> {
        let edition = match self.arch? {
            Arch::X86 => "",
            Arch::Itanium => " for Itanium-based Systems",
            Arch::X64 | Arch::Arm64 => " x64 Edition",
        };
        Some(format!("Windows Server 2003{edition}{}", pack_text(self.pack)))
    }

    fn client(&self) -> Option<String> {
        match self.build {
            Some(2600 | 3790) => self.xp(),
            Some(6000) => self.vista(None),
            Some(6001) => self.vista(Some('1')),
            Some(6002 | 6003) => self.vista(Some('2')),
            Some(7600) => self.numbered("7", "", None),
            Some(7601) => self.numbered("7", "", Some('1')),
            Some(9200) => self.numbered("8", "", None),
            Some(9600) => self.numbered("8.1", "", None),
            Some(build) if build >= 10240 => {
                let known = CLIENTS.iter().find(|(b, _)| *b == build).map(|(_, release)| *release);
                self.numbered(if build < 22000 { "10" } else { "11" }, known.or(self.release.as_deref())?, None)
            }
            Some(_) => None,
            None => self.client_by_name(),
        }
    }

    fn client_by_name(&self) -> Option<String> {
        let after = self.name.split("windows").nth(1).unwrap_or(self.name);
        if after.contains("vista") {
            return self.vista(self.pack);
        }
        if after.split(|c: char| !c.is_alphanumeric()).any(|w| w == "xp") {
            return self.xp();
        }
        let number = |text: &str| {
            let text = text.trim_start_matches(|c: char| !c.is_ascii_digit());
            text.split(|c: char| !(c.is_ascii_digit() || c == '.')).next().unwrap_or("").to_owned()
        };
        match number(after).as_str() {
            "7" => self.numbered("7", "", self.pack),
            n @ ("8" | "8.1") => self.numbered(n, "", None),
            n @ ("10" | "11") => self.numbered(n, self.release.as_deref()?, None),
            _ => None,
        }
    }

    fn xp(&self) -> Option<String> {
        let edition = if self.arch? == Arch::X86 { "" } else { " Professional x64 Edition" };
        Some(format!("Windows XP{edition}{}", pack_text(self.pack)))
    }

    fn vista(&self, pack: Option<char>) -> Option<String> {
        let edition = if self.arch? == Arch::X86 { "" } else { " x64 Edition" };
        Some(format!("Windows Vista{edition}{}", pack_text(pack)))
    }

    fn numbered(&self, number: &str, release: &str, pack: Option<char>) -> Option<String> {
        Some(client_name(number, release, self.arch?.systems(), pack))
    }
}

fn client_name(number: &str, release: &str, systems: &str, pack: Option<char>) -> String {
    // The first Windows 10 was 1507 only afterwards; its advisories name no version.
    let release = if number == "10" && release == "1507" { "" } else { release };
    let version = if release.is_empty() { String::new() } else { format!(" Version {}", release.to_ascii_uppercase()) };
    format!("Windows {number}{version} for {systems}{}", pack_text(pack))
}

fn pack_text(pack: Option<char>) -> String {
    pack.map_or(String::new(), |n| format!(" Service Pack {n}"))
}

/// The build number: the third of `10.0.19045.3803`, the first of `19045.3803`.
fn build(text: &str) -> Option<u32> {
    let mut numbers = text.trim().split('.').map(|n| n.parse::<u32>().ok());
    match numbers.next()?? {
        first if first >= 2600 => Some(first),
        _ => numbers.nth(1)?.filter(|n| *n >= 2600),
    }
}

/// The number of a service pack: of `Service Pack 1`, `SP1`.
fn service_pack(text: &str) -> Option<char> {
    let lower = text.to_lowercase();
    let mut words = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).peekable();
    let digit = |word: &str| match word.as_bytes() {
        [n @ b'1'..=b'9'] => Some(char::from(*n)),
        _ => None,
    };
    while let Some(word) = words.next() {
        let found = match word {
            "pack" | "sp" => words.peek().and_then(|next| digit(next)),
            _ => word.strip_prefix("sp").and_then(digit),
        };
        if found.is_some() {
            return found;
        }
    }
    None
}

/// `1809`, `22H2` as Microsoft numbers releases.
fn release(text: &str) -> Option<String> {
    let known = |word: &&str| {
        let bytes = word.as_bytes();
        bytes.len() == 4
            && bytes.iter().enumerate().all(|(at, b)| b.is_ascii_digit() || at == 2 && b.eq_ignore_ascii_case(&b'h'))
            // Years of servers look alike; releases began in 2015 and stood for year and month, `2004` among them.
            && matches!(bytes.get(2..), Some([b'0' | b'1', _] | [b'h' | b'H', b'1' | b'2']))
            && !word.starts_with("201")
    };
    text.split(|c: char| !c.is_alphanumeric()).find(known).map(str::to_ascii_uppercase)
}

/// Words of a name, taken from the front.
struct Words<'a>(&'a [&'a str]);

impl<'a> Words<'a> {
    fn take(&mut self, words: &[&str]) -> bool {
        match self.0.split_at_checked(words.len()) {
            Some((first, rest)) if first.iter().eq(words) => {
                self.0 = rest;
                true
            }
            _ => false,
        }
    }

    fn next(&mut self) -> Option<&'a str> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(first)
    }

    /// `for x64-based systems`
    fn systems(&mut self) -> Option<&'static str> {
        let arch = [
            (["for", "32-bit", "systems"], Arch::X86),
            (["for", "x64-based", "systems"], Arch::X64),
            (["for", "arm64-based", "systems"], Arch::Arm64),
            (["for", "arm", "systems"], Arch::Arm64),
            (["for", "itanium-based", "systems"], Arch::Itanium),
        ];
        arch.into_iter().find(|(words, _)| self.take(words)).map(|(_, arch)| arch.systems())
    }

    fn pack(&mut self) -> Option<char> {
        let ["service", "pack", number, rest @ ..] = self.0 else { return None };
        let [digit @ b'1'..=b'9'] = number.as_bytes() else { return None };
        self.0 = rest;
        Some(char::from(*digit))
    }
}

/// The one spelling of a system's name, from its words in lower case.
fn system(words: &[&str]) -> Option<String> {
    let words = words.strip_suffix(&["(server", "core", "installation)"]).unwrap_or(words);
    let mut words = Words(words.strip_prefix(&["microsoft"]).unwrap_or(words));
    if !words.take(&["windows"]) {
        return None;
    }
    let name = match words.next()? {
        "server" => server_name(&mut words)?,
        "server," => {
            let release = if words.take(&["version"]) { words.next()? } else { return None };
            format!("Windows Server, version {}", release.to_ascii_uppercase())
        }
        "vista" => {
            let edition = if words.take(&["x64", "edition"]) { " x64 Edition" } else { "" };
            format!("Windows Vista{edition}{}", pack_text(words.pack()))
        }
        "xp" => {
            let edition = if words.take(&["professional", "x64", "edition"]) { " Professional x64 Edition" } else { "" };
            format!("Windows XP{edition}{}", pack_text(words.pack()))
        }
        "rt" => format!("Windows RT{}", if words.take(&["8.1"]) { " 8.1" } else { "" }),
        "2000" => format!("Windows 2000{}", pack_text(words.pack())),
        number if number.bytes().all(|b| b.is_ascii_digit() || b == b'.') => {
            let release = if words.take(&["version"]) { words.next()? } else { "" };
            let systems = words.systems()?;
            // The first Windows 11 had no version in its name before it had a successor.
            let release = if number == "11" && release.is_empty() { "21H2" } else { release };
            client_name(number, release, systems, words.pack())
        }
        _ => return None,
    };
    words.0.is_empty().then_some(name)
}

fn server_name(words: &mut Words) -> Option<String> {
    let year = words.next()?;
    let edition = year.strip_suffix(',');
    let digits = edition.unwrap_or(year);
    if digits.len() != 4 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    if edition.is_some() {
        let release = words.next()?.to_ascii_uppercase();
        return words.take(&["edition"]).then(|| format!("Windows Server {digits}, {release} Edition"));
    }
    let r2 = if words.take(&["r2"]) { " R2" } else { "" };
    let kind = if words.take(&["x64", "edition"]) {
        " x64 Edition".to_owned()
    } else {
        words.systems().map_or(String::new(), |s| format!(" for {s}"))
    };
    let pack = words.pack();
    // What was sold as Windows Server 2008 had the first service pack in it.
    let pack = pack.filter(|p| !(digits == "2008" && r2.is_empty() && *p == '1'));
    Some(format!("Windows Server {digits}{r2}{kind}{}", pack_text(pack)))
}
