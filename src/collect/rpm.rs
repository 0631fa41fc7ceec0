//! The rpm database. SQLite (Fedora, RHEL 9 and later) is read here; Berkeley DB and ndb by asking `rpm`, where it is there.

use std::io::Read;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags};

use super::Host;
use super::package::{Database, Package};
use super::root::{FILE_BYTES, lossy};

/// `/var/lib/rpm` is a link to the first on current systems.
const FOLDERS: [&str; 2] = ["/usr/lib/sysimage/rpm", "/var/lib/rpm"];
/// Databases that only rpm itself reads: ndb, Berkeley DB.
const FOREIGN: [&str; 2] = ["Packages.db", "Packages"];
/// Ends of the names in a query's answer, one field each.
const QUERY: &str =
    "%{NAME}\\t%|EPOCH?{%{EPOCH}:}:{}|%{VERSION}-%{RELEASE}\\t%{ARCH}\\t%|SOURCERPM?{%{SOURCERPM}}:{}|\\t%|VENDOR?{%{VENDOR}}:{}|\\t";
/// Its last field. An rpm from before modules knows no such tag and refuses the whole query.
const MODULE: [&str; 2] = ["%|MODULARITYLABEL?{%{MODULARITYLABEL}}:{}|\\n", "\\n"];
/// A query of some thousand packages takes seconds; a stale lock takes for ever.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn read(host: &Host<'_>) -> Database {
    for folder in FOLDERS {
        let path = format!("{folder}/rpmdb.sqlite");
        if host.root.exists(&path) {
            let real = host.root.resolve(&path).map_err(|e| format!("{path}: {e}"))?;
            return read_sqlite(&real, host.limits.rows).map(Some).map_err(|why| format!("{path}: {why}"));
        }
    }
    for folder in FOLDERS {
        for name in FOREIGN {
            let path = format!("{folder}/{name}");
            if host.root.exists(&path) {
                let real = host.root.resolve(folder).map_err(|e| format!("{folder}: {e}"))?;
                return query(&real, host.root.is_live()).map(Some).map_err(|why| format!("{path}: {why}"));
            }
        }
    }
    Ok(None)
}

fn read_sqlite(real: &Path, max: usize) -> Result<Vec<Package>, String> {
    let db = open(real).map_err(|e| e.to_string())?;
    let blobs = |e: rusqlite::Error| e.to_string();
    let mut statement = db.prepare("SELECT blob FROM Packages ORDER BY hnum").map_err(blobs)?;
    let mut rows = statement.query([]).map_err(blobs)?;
    let mut packages = Vec::new();
    let mut n = 0usize;
    while let Some(row) = rows.next().map_err(blobs)? {
        n += 1;
        if n > max {
            return Err(format!("more than {max} packages"));
        }
        let blob = row.get_ref(0).map_err(blobs)?;
        let blob = blob.as_blob().map_err(|e| e.to_string())?;
        packages.extend(parse_header(blob).map_err(|why| format!("header {n}: {why}"))?);
    }
    Ok(packages)
}

/// Immutable where nobody writes: SQLite then needs no lock and no file beside the database, which a plain user could not make.
/// A log that is not empty means a writer, and holds what the database does not yet.
fn open(real: &Path) -> rusqlite::Result<Connection> {
    let mut log = real.as_os_str().to_owned();
    log.push("-wal");
    let logged = std::fs::metadata(&log).is_ok_and(|m| m.len() > 0);
    let mut uri = String::from("file:");
    for byte in real.as_os_str().as_encoded_bytes() {
        match byte {
            b'/' | b'.' | b'-' | b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => uri.push(char::from(*byte)),
            other => uri.push_str(&format!("%{other:02X}")),
        }
    }
    uri.push_str(if logged { "?mode=ro" } else { "?mode=ro&immutable=1" });
    let db = Connection::open_with_flags(uri, OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI)?;
    db.busy_timeout(Duration::from_secs(5))?;
    Ok(db)
}

/// The tags that we read (rpmtag.h).
mod tag {
    pub(super) const NAME: u32 = 1000;
    pub(super) const VERSION: u32 = 1001;
    pub(super) const RELEASE: u32 = 1002;
    pub(super) const EPOCH: u32 = 1003;
    pub(super) const VENDOR: u32 = 1011;
    pub(super) const ARCH: u32 = 1022;
    pub(super) const SOURCERPM: u32 = 1044;
    pub(super) const MODULARITYLABEL: u32 = 5096;
}

/// A header as the database keeps it: counts of entries and of data bytes, the index, the data; all big-endian.
struct Header<'b> {
    index: &'b [u8],
    data: &'b [u8],
}

impl<'b> Header<'b> {
    fn new(blob: &'b [u8]) -> Option<Header<'b>> {
        let (entries, rest) = blob.split_at_checked(4)?;
        let (bytes, rest) = rest.split_at_checked(4)?;
        let (index, rest) = rest.split_at_checked(word(entries)?.checked_mul(16)?)?;
        Some(Header { index, data: rest.get(..word(bytes)?)? })
    }

    /// Type and data of a tag's first entry, from its offset to the end of the data.
    fn entry(&self, tag: u32) -> Option<(usize, &'b [u8])> {
        let tag = tag.to_be_bytes();
        let entry = self.index.chunks_exact(16).find(|e| e.get(..4) == Some(&tag[..]))?;
        Some((word(entry.get(4..8)?)?, self.data.get(word(entry.get(8..12)?)?..)?))
    }

    /// A string, or the first of several (string, string array, string in several languages).
    fn string(&self, tag: u32) -> Option<String> {
        let (ty, data) = self.entry(tag)?;
        let end = data.iter().position(|b| *b == 0)?;
        let text = String::from_utf8_lossy(data.get(..end)?);
        (matches!(ty, 6 | 8 | 9) && !text.is_empty()).then(|| text.into_owned())
    }

    fn int32(&self, tag: u32) -> Option<usize> {
        let (ty, data) = self.entry(tag)?;
        if ty == 4 { word(data.get(..4)?) } else { None }
    }
}

fn word(bytes: &[u8]) -> Option<usize> {
    usize::try_from(u32::from_be_bytes(bytes.try_into().ok()?)).ok()
}

/// The package of a header; none for the keys that rpm keeps as packages.
pub(super) fn parse_header(blob: &[u8]) -> Result<Option<Package>, String> {
    let header = Header::new(blob).ok_or("not a header")?;
    let name = header.string(tag::NAME).ok_or("no name")?;
    let version = header.string(tag::VERSION).ok_or_else(|| format!("{name} without version"))?;
    let release = header.string(tag::RELEASE).ok_or_else(|| format!("{name} without release"))?;
    let epoch = header.int32(tag::EPOCH).map(|e| format!("{e}:")).unwrap_or_default();
    Ok(package(
        name,
        format!("{epoch}{version}-{release}"),
        header.string(tag::ARCH),
        header.string(tag::SOURCERPM),
        header.string(tag::VENDOR),
        header.string(tag::MODULARITYLABEL),
    ))
}

fn package(
    name: String,
    version: String,
    arch: Option<String>,
    source: Option<String>,
    vendor: Option<String>,
    label: Option<String>,
) -> Option<Package> {
    if name == "gpg-pubkey" {
        return None;
    }
    let (source, source_version) = source.as_deref().and_then(source_of).unzip();
    // The file name of a source package has no epoch.
    let plain = version.split_once(':').map_or(version.as_str(), |(_, v)| v);
    let source_version = source_version.filter(|v| *v != plain).map(str::to_owned);
    Some(Package {
        source: source.map(str::to_owned),
        source_version,
        name,
        version,
        arch,
        vendor,
        module: label.as_deref().and_then(stream),
    })
}

/// `nodejs:20:9030020231211:rhel9`: name and stream; what follows names one build.
fn stream(label: &str) -> Option<String> {
    let mut parts = label.splitn(3, ':');
    let (name, stream) = (parts.next()?, parts.next()?);
    (!name.is_empty() && !stream.is_empty()).then(|| format!("{name}:{stream}"))
}

/// `bash-5.1.8-6.el9.src.rpm`: `bash` and `5.1.8-6.el9`.
pub(super) fn source_of(file: &str) -> Option<(&str, &str)> {
    let stem = file.strip_suffix(".src.rpm").or_else(|| file.strip_suffix(".nosrc.rpm"))?;
    let (name_version, _) = stem.rsplit_once('-')?;
    let (name, _) = name_version.rsplit_once('-')?;
    Some((name, stem.strip_prefix(name)?.strip_prefix('-')?))
}

/// Asks rpm. Of another root it is given the database's folder: `--root` would need the right to chroot.
fn query(folder: &Path, live: bool) -> Result<Vec<Package>, String> {
    let [with, without] = MODULE.map(|last| format!("{QUERY}{last}"));
    match query_as(folder, live, &with) {
        Err(why) if why.contains("unknown tag") => query_as(folder, live, &without),
        answer => answer,
    }
}

fn query_as(folder: &Path, live: bool, query: &str) -> Result<Vec<Package>, String> {
    let mut command = Command::new("rpm");
    if !live {
        command.arg("--dbpath").arg(folder);
    }
    command.args(["-qa", "--queryformat", query]).env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(|e| match e.kind() {
        std::io::ErrorKind::NotFound => "no SQLite database, and rpm is not there to be asked".to_owned(),
        _ => format!("rpm: {e}"),
    })?;
    let (tell, told) = mpsc::channel();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(move || tell.send((take(out, FILE_BYTES), ())));
        let complaint = scope.spawn(move || take(err, 64 << 10));
        let answer = told.recv_timeout(PATIENCE);
        let status = end(&mut child, answer.is_err());
        let complaint = complaint.join().unwrap_or_default();
        let (answer, ()) = answer.map_err(|_| format!("rpm did not answer within {} s", PATIENCE.as_secs()))?;
        match status {
            Ok(status) if status.success() => parse_answer(&answer),
            Ok(status) => Err(format!("rpm: {status}: {}", complaint.lines().next().unwrap_or_default())),
            Err(e) => Err(format!("rpm: {e}")),
        }
    })
}

fn end(child: &mut Child, kill: bool) -> std::io::Result<std::process::ExitStatus> {
    if kill {
        child.kill()?;
    }
    child.wait()
}

/// At most `max` bytes of what a child says; the rest is read and dropped, so that it can end.
fn take(from: Option<impl Read>, max: usize) -> String {
    let Some(mut from) = from else { return String::new() };
    let mut bytes = Vec::new();
    let read = (&mut from).take(u64::try_from(max).unwrap_or(u64::MAX)).read_to_end(&mut bytes);
    if read.is_ok() && std::io::copy(&mut from, &mut std::io::sink()).is_err() {
        tracing::debug!("the end of a child's output was lost");
    }
    lossy(bytes)
}

fn parse_answer(text: &str) -> Result<Vec<Package>, String> {
    let mut packages = Vec::new();
    for line in text.lines() {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[name, version, arch, source, vendor, module] = fields.as_slice() else {
            return Err(format!("rpm: an answer of {} fields", fields.len()));
        };
        let some = |text: &str| Some(text.to_owned()).filter(|t| !t.is_empty() && t != "(none)");
        packages.extend(package(name.into(), version.into(), some(arch), some(source), some(vendor), some(module)));
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::{Root, tests::skipped};
    use crate::limits::Limits;
    use crate::rule::Collect;
    use crate::scan::TableData;

    enum Data<'t> {
        Str(&'t str),
        Int(u32),
    }

    fn header(entries: &[(u32, Data<'_>)]) -> Vec<u8> {
        let (mut index, mut data) = (Vec::new(), Vec::new());
        for (tag, value) in entries {
            let ty: u32 = if matches!(value, Data::Str(_)) { 6 } else { 4 };
            for word in [*tag, ty, u32::try_from(data.len()).unwrap(), 1] {
                index.extend(word.to_be_bytes());
            }
            match value {
                Data::Str(s) => data.extend(s.bytes().chain([0])),
                Data::Int(n) => data.extend(n.to_be_bytes()),
            }
        }
        let mut blob = Vec::new();
        blob.extend(u32::try_from(entries.len()).unwrap().to_be_bytes());
        blob.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        blob.extend(index);
        blob.extend(data);
        blob
    }

    fn bind() -> Vec<u8> {
        header(&[
            (tag::EPOCH, Data::Int(32)),
            (tag::NAME, Data::Str("bind-libs")),
            (tag::VERSION, Data::Str("9.16.23")),
            (tag::RELEASE, Data::Str("14.el9_3")),
            (tag::ARCH, Data::Str("x86_64")),
            (tag::SOURCERPM, Data::Str("bind-9.16.23-14.el9_3.src.rpm")),
            (tag::VENDOR, Data::Str("Rocky Enterprise Software Foundation")),
            (tag::MODULARITYLABEL, Data::Str("bind:9.16:9030020231211:rhel9")),
        ])
    }

    #[test]
    fn a_header() {
        let got = parse_header(&bind()).unwrap().unwrap();
        assert_eq!((got.name.as_str(), got.version.as_str()), ("bind-libs", "32:9.16.23-14.el9_3"));
        assert_eq!((got.source.as_deref(), got.source_version.as_deref()), (Some("bind"), None));
        assert_eq!((got.arch.as_deref(), got.vendor.is_some()), (Some("x86_64"), true));
        assert_eq!((got.module.as_deref(), stream("bind"), stream(":9")), (Some("bind:9.16"), None, None));
        let key = [(tag::NAME, Data::Str("gpg-pubkey")), (tag::VERSION, Data::Str("a")), (tag::RELEASE, Data::Str("b"))];
        assert_eq!(parse_header(&header(&key)), Ok(None));
    }

    #[test]
    fn damaged_headers_are_errors() {
        let blob = bind();
        for end in 0..blob.len() {
            assert!(parse_header(&blob[..end]).is_err(), "{end}");
        }
        // Every byte wrong in turn: any answer will do, no panic.
        for at in 0..blob.len() {
            let mut bad = blob.clone();
            bad[at] ^= 0xff;
            drop(parse_header(&bad));
        }
        assert!(parse_header(&[0xff; 64]).is_err());
    }

    #[test]
    fn names_of_source_packages() {
        assert_eq!(source_of("a-b-1.0-2.el9.src.rpm"), Some(("a-b", "1.0-2.el9")));
        assert_eq!(source_of("(none)"), None);
        assert_eq!(source_of("x-1.src.rpm"), None);
    }

    #[test]
    fn answers_of_rpm() {
        let got = parse_answer("npm\t5.1-2\tx86_64\tnodejs-5.1-2.src.rpm\tFedora\tnodejs:20:1:a\ngpg-pubkey\ta-b\t(none)\t\t\t\n").unwrap();
        assert_eq!((got.len(), got[0].module.as_deref()), (1, Some("nodejs:20")));
        assert!(parse_answer("bash 5.1\n").is_err());
    }

    #[test]
    fn a_database_of_our_own() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dir.path().join("usr/lib/sysimage/rpm");
        std::fs::create_dir_all(&folder).unwrap();
        let db = Connection::open(folder.join("rpmdb.sqlite")).unwrap();
        db.execute_batch("CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)").unwrap();
        db.execute("INSERT INTO Packages (blob) VALUES (?1)", [bind()]).unwrap();
        drop(db);
        let package = crate::collect::table("package");
        let scan = |root: &Path| crate::collect::collect(&Root::new(root), &Collect::new(), &Limits::default()).tables.remove(&package);
        let Some(TableData::Rows(rows)) = scan(dir.path()) else { panic!("no rows") };
        assert_eq!(rows[0].get("source").as_str(), Some("bind"));
        std::fs::write(folder.join("rpmdb.sqlite"), "not a database, but long enough to be taken for one").unwrap();
        let Some(TableData::Failed(why)) = scan(dir.path()) else { panic!("rows of a broken database") };
        assert!(why.starts_with("/usr/lib/sysimage/rpm/rpmdb.sqlite: "), "{why}");
    }

    #[test]
    #[expect(clippy::print_stdout, reason = "says what it could not test")]
    fn a_database_that_rpm_made() {
        let dir = tempfile::tempdir().unwrap();
        let made = Command::new("rpm").arg("--dbpath").arg(dir.path().join("var/lib/rpm")).arg("--initdb").output();
        match made {
            Ok(out) if out.status.success() => {}
            Ok(out) => return skipped(&format!("rpm --initdb: {}", String::from_utf8_lossy(&out.stderr))),
            Err(e) => return skipped(&format!("rpm: {e}")),
        }
        let limits = Limits::default();
        let root = Root::new(dir.path());
        let asks = Collect::new();
        let host =
            Host { root: &root, asks: &asks, limits: &limits, release: Default::default(), names: Default::default(), keep: &|_| true };
        println!("read: {:?}", root.entries("/var/lib/rpm"));
        assert_eq!(read(&host), Ok(Some(vec![])));
    }
}
