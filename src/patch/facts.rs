//! What a row says of itself in the words of advisories: a `package`, `update` or `os` row in; by which names it is looked for, and with which version, out.

use std::borrow::Cow;

use super::define::{Definition, Entry};
use super::windows;
use crate::feed::model::{FixState, Package, PackageKind, Target};
use crate::scan::Row;
use crate::version::Scheme;

/// A name under which entries may be about a row, and the version that is compared then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called<'r> {
    /// The name of what was built from, not of what is installed.
    pub source: bool,
    pub name: Cow<'r, str>,
    pub version: &'r str,
}

/// Software as a row has it: an installed or offered package, or the kernel that runs.
#[derive(Clone, Debug)]
pub struct Software<'r> {
    /// In the order in which they are tried; an entry goes by the first that it fits.
    pub called: Vec<Called<'r>>,
    pub arch: &'r str,
    /// `debian:12`
    pub release: Cow<'r, str>,
    pub format: &'r str,
    pub vendor: &'r str,
    /// As it is installed.
    pub version: &'r str,
    /// The module and stream that it is of, as [`module_key`]; empty: of none, or not told.
    pub module: String,
    /// Several versions stand side by side: a kernel.
    pub beside: bool,
}

fn text<'r>(row: &'r Row, column: &str) -> &'r str {
    row.get(column).as_str().unwrap_or("")
}

impl<'r> Software<'r> {
    /// Of a row of `package` or `update`; `None` without name or version.
    pub fn of(row: &'r Row) -> Option<Software<'r>> {
        let (name, version, source) = (text(row, "name"), text(row, "version"), text(row, "source"));
        if name.is_empty() || version.is_empty() {
            return None;
        }
        let (arch, format) = (text(row, "arch"), text(row, "format"));
        let mut called = vec![Called { source: false, name: name.into(), version }];
        let of_source = Some(text(row, "source_version")).filter(|v| !v.is_empty() && !source.is_empty()).unwrap_or(version);
        let from = if source.is_empty() { name } else { source };
        called.push(Called { source: true, name: from.into(), version: of_source });
        // A kernel is signed in a source package of its own, whose versions are not those of which advisories speak.
        if let Some(rest) = source.strip_prefix("linux-signed") {
            let flavour = rest.strip_prefix('-').filter(|f| *f != arch).map_or(String::new(), |f| format!("-{f}"));
            called.push(Called { source: true, name: format!("linux{flavour}").into(), version });
        }
        let release = text(row, "release").into();
        let module = text(row, "module").split_once(':').map_or(String::new(), |(name, stream)| module_key(name, stream));
        Some(Software { called, arch, release, format, vendor: text(row, "vendor"), version, module, beside: beside(name, format) })
    }

    /// The Linux kernel that runs, of an `os` row; `None` where its version cannot be told.
    pub fn running(os: &'r Row) -> Option<Software<'r>> {
        let id = text(os, "id");
        if id.is_empty() || !matches!(text(os, "family"), "" | "linux") {
            return None;
        }
        let like = |name: &str| id == name || text(os, "id_like").split_ascii_whitespace().any(|l| l == name);
        let (called, version) = if like("debian") || like("ubuntu") {
            deb_kernel(text(os, "kernel"), text(os, "kernel_version"), like("ubuntu"))?
        } else {
            rpm_kernel(text(os, "kernel"), text(os, "kernel_version"))?
        };
        let number = [text(os, "version"), text(os, "codename")].into_iter().find(|v| !v.is_empty());
        let release = number.map_or(Cow::Borrowed(id), |v| Cow::Owned(format!("{id}:{v}")));
        Some(Software { called, arch: text(os, "arch"), release, format: "", vendor: "", version, module: String::new(), beside: true })
    }

    /// Whether what is written of a package besides its name, its release and its versions is so here.
    pub fn fits(&self, conditions: &Conditions) -> bool {
        let arches = &conditions.arches;
        (arches.is_empty() || self.arch.is_empty() || arches.iter().any(|a| arch(a) == arch(self.arch)))
            && conditions.modular.is_none_or(|m| m == self.modular())
            && self.streams(conditions)
    }

    /// An rpm of a module carries that in its release: `1.module+el8`, `1.module_el8`.
    pub fn modular(&self) -> bool {
        !self.module.is_empty() || self.version.contains(".module")
    }

    /// Of the same stream, or of which cannot be told.
    fn streams(&self, conditions: &Conditions) -> bool {
        if self.module.is_empty() || conditions.module.is_empty() {
            conditions.stream.is_empty() || begins(upstream(self.version), conditions.stream)
        } else {
            *self.module == *conditions.module
        }
    }
}

/// What an entry asks of a package besides its name, its release and its versions.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions<'e> {
    pub arches: Vec<&'e str>,
    /// Whether it must be of a module; `None`: nothing was said.
    pub modular: Option<bool>,
    /// How its version must begin, where that tells the stream of a module and the package itself does not.
    pub stream: &'e str,
    /// The module and stream that it must be of, as [`module_key`]; empty: any, or none.
    pub module: Cow<'e, str>,
}

/// The length keeps names apart that hold a colon. Empty for a module without a name, which is any.
pub fn module_key(name: &str, stream: &str) -> String {
    if name.is_empty() { String::new() } else { format!("{}:{name}:{stream}", name.len()) }
}

impl<'e> Conditions<'e> {
    pub fn of(entry: &'e Entry) -> Conditions<'e> {
        let arches: &[Box<str>] = match &entry.target {
            Target::Package(package) => &package.arches,
            Target::Product(product) => &product.arches,
            Target::Windows(_) => &[],
        };
        let arches = arches.iter().map(|a| &**a).collect();
        let Target::Package(Package { module, .. }) = &entry.target else { return Conditions { arches, ..Conditions::default() } };
        let stream = module.as_ref().map_or("", |m| &*m.stream);
        // `nodejs` in nodejs:20 is 20.9.0: there the version tells the stream. `nodejs-nodemon` of the same module is 3.0.1: there it does not.
        let told = stream.starts_with(|c: char| c.is_ascii_digit()) && begins(upstream(&entry.fixed), stream);
        let texts = || {
            let bounds = entry.versions.ranges.iter().flat_map(|r| bounds(r).into_iter().flatten());
            bounds.chain(entry.versions.exact.iter().map(|e| &**e)).chain([&*entry.fixed])
        };
        let modular = module.is_some() || texts().any(|t| t.contains(".module"));
        let modular = (entry.versions.scheme == Some(Scheme::Rpm)).then_some(modular);
        let module = module.as_ref().map_or(String::new(), |m| module_key(&m.name, &m.stream)).into();
        Conditions { arches, modular, stream: if told { stream } else { "" }, module }
    }
}

fn bounds(range: &crate::feed::model::Range) -> [Option<&str>; 2] {
    use crate::feed::model::{End, Start};
    let start = match &range.start {
        Start::Open => None,
        Start::At(v) | Start::After(v) => Some(&**v),
    };
    let end = match &range.end {
        End::Open => None,
        End::Before(v) | End::Through(v) => Some(&**v),
    };
    [start, end]
}

/// `1:20.9.0-1.el8` without epoch and release.
fn upstream(version: &str) -> &str {
    let version = version.split_once(':').filter(|(epoch, _)| epoch.bytes().all(|c| c.is_ascii_digit())).map_or(version, |(_, v)| v);
    version.rsplit_once('-').map_or(version, |(v, _)| v)
}

fn begins(version: &str, stream: &str) -> bool {
    version.strip_prefix(stream).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

/// One architecture, one name: Debian's and the kernel's differ.
pub fn arch(name: &str) -> &str {
    match name {
        "amd64" => "x86_64",
        "arm64" => "aarch64",
        other => other,
    }
}

/// Packages of which several versions are installed side by side.
fn beside(name: &str, format: &str) -> bool {
    let deb = ["linux-image-", "linux-modules-", "linux-headers-"];
    let rpm = ["kernel", "kernel-core", "kernel-devel", "kernel-rt", "kernel-rt-core", "kernel-uek", "kernel-uek-core"];
    let rpm_families = ["kernel-modules", "kernel-default", "kernel-rt-modules", "kernel-uek-modules"];
    let is_deb = deb.iter().any(|d| name.starts_with(d));
    let is_rpm = rpm.contains(&name) || rpm_families.iter().any(|r| name.starts_with(r));
    match format {
        "deb" => is_deb,
        "rpm" => is_rpm,
        "" => is_deb || is_rpm,
        _ => false,
    }
}

type Kernel<'r> = (Vec<Called<'r>>, &'r str);

/// Of Debian's and Ubuntu's kernels: `6.1.0-18-amd64`, of version `6.1.76-1`.
fn deb_kernel<'r>(kernel: &'r str, version: &'r str, ubuntu: bool) -> Option<Kernel<'r>> {
    if version.is_empty() {
        return None;
    }
    let source = |name: String| Called { source: true, name: name.into(), version };
    let mut called = vec![Called { source: false, name: format!("linux-image-{kernel}").into(), version }];
    let flavour = kernel.rsplit_once('-').map_or("", |(_, f)| f);
    if !ubuntu || flavour.is_empty() {
        called.push(source("linux".to_owned()));
        return Some((called, version));
    }
    // A later kernel of a long-term release is a source package of its own: `linux-hwe-5.4`, `linux-aws-5.15`.
    let mut numbers = kernel.split('.');
    let series = [numbers.next(), numbers.next()].map(|n| n.unwrap_or("")).join(".");
    let own = matches!(flavour, "generic" | "lowlatency" | "virtual");
    called.push(source(if own { "linux".to_owned() } else { format!("linux-{flavour}") }));
    called.push(source(format!("linux-{}-{series}", if own { "hwe" } else { flavour })));
    Some((called, version))
}

/// Of rpm distributions, whose kernels say their package: `5.14.0-362.8.1.el9_3.x86_64`, `...x86_64+rt`.
fn rpm_kernel<'r>(kernel: &'r str, version: &'r str) -> Option<Kernel<'r>> {
    let (release, flavour) = kernel.split_once('+').unwrap_or((kernel, ""));
    let known = ["x86_64", "aarch64", "ppc64le", "s390x", "i686", "armv7hl", "riscv64"];
    let bare = release.rsplit_once('.').filter(|(_, a)| known.contains(a)).map(|(v, _)| v);
    let version = match (version, bare) {
        ("", bare) => bare?,
        (version, _) => version,
    };
    let base = match flavour {
        "" | "debug" if version.contains("uek") => "kernel-uek".to_owned(),
        "" | "debug" if version.contains(".rt") => "kernel-rt".to_owned(),
        // SUSE's kernels have their flavour after a dash.
        "" if kernel.ends_with("-default") => "kernel-default".to_owned(),
        "" | "debug" => "kernel".to_owned(),
        other => format!("kernel-{other}"),
    };
    let core = Called { source: false, name: format!("{base}-core").into(), version };
    let name = Called { source: false, name: base.clone().into(), version };
    Some((vec![name, core, Called { source: true, name: base.into(), version }], version))
}

/// Whether an entry's name may be one of this kind.
pub fn kind_fits(kind: PackageKind, source: bool) -> bool {
    match kind {
        PackageKind::Binary => !source,
        PackageKind::Source => source,
        PackageKind::Either => true,
    }
}

/// One name for the registry of a language, as ecosystems, package URLs and rows call it.
pub fn registry(name: &str) -> Cow<'_, str> {
    let name = name.split(':').next().unwrap_or("").trim();
    let lower = if name.bytes().any(|b| b.is_ascii_uppercase()) { Cow::Owned(name.to_ascii_lowercase()) } else { Cow::Borrowed(name) };
    match &*lower {
        "python" => "pypi".into(),
        "rubygems" => "gem".into(),
        "crates.io" => "cargo".into(),
        "golang" => "go".into(),
        "packagist" => "composer".into(),
        "swifturl" => "swift".into(),
        _ => lower,
    }
}

/// Whether rows of this format are of a language, whatever release they lie on.
pub fn is_language(format: &str) -> bool {
    let languages = [
        "pypi", "npm", "gem", "cargo", "maven", "go", "nuget", "composer", "swift", "hex", "pub", "cran", "hackage", "conda", "julia",
        "cpan",
    ];
    !matches!(format, "" | "deb" | "rpm" | "apk") && languages.contains(&&*registry(format))
}

/// The spelling of a name that a registry takes for the same as others.
pub fn name_in<'n>(registry: &str, name: &'n str) -> Cow<'n, str> {
    match registry {
        "pypi" => {
            let mut out = String::with_capacity(name.len());
            for c in name.chars() {
                match c {
                    '-' | '_' | '.' if out.ends_with('-') => {}
                    '-' | '_' | '.' => out.push('-'),
                    c => out.extend(c.to_lowercase()),
                }
            }
            out.into()
        }
        "nuget" | "composer" | "hex" => name.to_lowercase().into(),
        _ => name.into(),
    }
}

/// Whether a publisher is the vendor: the words of one begin those of the other (`Microsoft`, `Microsoft Corporation`).
pub fn vendor_like(entry: &str, row: &str) -> bool {
    let words = |text: &str| -> Vec<String> {
        text.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).map(str::to_lowercase).collect()
    };
    let (entry, row) = (words(entry), words(row));
    entry.is_empty() || (!row.is_empty() && entry.iter().zip(&row).all(|(a, b)| a == b))
}

/// The first four numbers of a Windows build; `None` if there are fewer.
pub fn build(text: &str) -> Option<[u64; 4]> {
    let mut numbers = text.trim().split('.').map(|n| n.parse::<u64>().ok());
    let mut next = || numbers.next().flatten();
    Some([next()?, next()?, next()?, next()?])
}

/// The id of a `hotfix` row as definitions write it.
pub fn hotfix(row: &Row) -> Option<String> {
    Some(text(row, "id").to_uppercase()).filter(|id| names_hotfix(id))
}

/// Whether an operating system tells of this entry by its product. That a part which may be there (`Raw Image Extension on Windows 11 ...`) is mended by something other
/// than an update of the system is nothing that its row could know.
pub fn told_by_system(definition: &Definition, entry: &Entry, product: &str) -> bool {
    let by_update = names_hotfix(&definition.id) || !entry.build.is_empty();
    by_update || entry.state != FixState::Fixed || !product.contains(" on ")
}

/// The system that a `hotfix` row is of, if it says so.
pub fn hotfix_system(row: &Row) -> Option<String> {
    let system = Some(text(row, "system")).filter(|s| !s.is_empty())?;
    Some(windows::system_of(system).unwrap_or_else(|| system.to_owned()))
}

/// Whether a definition's id is that of something that a `hotfix` row can name.
pub fn names_hotfix(id: &str) -> bool {
    id.starts_with("KB") || id.starts_with("SP")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scan::table::TableId;

    fn row(table: &str, columns: &[(&str, &str)]) -> Row {
        columns.iter().fold(Row::new(TableId::by_name(table).unwrap()), |row, (column, value)| row.with(column, *value))
    }

    fn names(software: &Software) -> Vec<String> {
        software.called.iter().map(|c| format!("{}{}={}", if c.source { "src:" } else { "" }, c.name, c.version)).collect()
    }

    #[test]
    fn kernels_go_by_the_names_of_advisories() {
        let signed = row(
            "package",
            &[
                ("name", "linux-image-6.1.0-18-amd64"),
                ("version", "6.1.76-1"),
                ("arch", "amd64"),
                ("source", "linux-signed-amd64"),
                ("source_version", "6.1.76+1"),
                ("format", "deb"),
            ],
        );
        let software = Software::of(&signed).unwrap();
        assert!(software.beside);
        assert_eq!(names(&software), ["linux-image-6.1.0-18-amd64=6.1.76-1", "src:linux-signed-amd64=6.1.76+1", "src:linux=6.1.76-1"]);
        let running = |columns: &[(&str, &str)]| {
            let os = row("os", columns);
            Software::running(&os).map(|s| (s.release.to_string(), names(&s).join(" ")))
        };
        let debian = [("id", "debian"), ("version", "12"), ("kernel", "6.1.0-18-amd64"), ("kernel_version", "6.1.76-1")];
        assert_eq!(running(&debian).unwrap(), ("debian:12".into(), "linux-image-6.1.0-18-amd64=6.1.76-1 src:linux=6.1.76-1".into()));
        assert_eq!(running(&debian[..3]), None, "the release of a kernel is not its version");
        let ubuntu = [("id", "ubuntu"), ("id_like", "debian"), ("kernel", "5.4.0-150-aws"), ("kernel_version", "5.4.0-150.167")];
        let names = running(&ubuntu).unwrap().1;
        assert!(names.ends_with("src:linux-aws=5.4.0-150.167 src:linux-aws-5.4=5.4.0-150.167"), "{names}");
        for (kernel, name) in [
            ("5.14.0-362.8.1.el9_3.x86_64", "kernel=5.14.0-362.8.1.el9_3 "),
            ("5.14.0-362.8.1.el9_3.x86_64+rt", "kernel-rt=5.14.0-362.8.1.el9_3 "),
            ("5.15.0-200.131.27.el8uek.x86_64", "kernel-uek=5.15.0-200.131.27.el8uek "),
            ("4.18.0-513.rt7.1.el8.x86_64", "kernel-rt=4.18.0-513.rt7.1.el8 "),
        ] {
            let (release, names) = running(&[("id", "almalinux"), ("version", "9.3"), ("kernel", kernel)]).unwrap();
            assert!(release == "almalinux:9.3" && names.starts_with(name), "{names}");
        }
        assert_eq!(running(&[("id", "sles"), ("version", "15.5"), ("kernel", "5.14.21-150500.55.39-default")]), None);
        assert_eq!(running(&[("id", "windows"), ("family", "windows"), ("kernel", "1.x86_64")]), None);
    }

    #[test]
    fn a_stream_is_told_by_the_version_where_it_can_be() {
        use crate::feed::model::{Advisory, Affected, Fix, FixState, Module, Source, Versions};
        let entry = |name: &str, fixed: &str| {
            let target = Target::Package(Package {
                ecosystem: "Red Hat".into(),
                platform: None,
                kind: PackageKind::Binary,
                name: name.into(),
                arches: Vec::new(),
                module: Some(Module { name: "nodejs".into(), stream: "20".into() }),
            });
            let mut affected = Affected::new(target, Versions::before(Scheme::Rpm, fixed), FixState::Fixed);
            affected.fixes.push(Fix { version: fixed.into(), ..Fix::default() });
            let mut advisory = Advisory::new(Source::Csaf, "Red Hat", "RHSA-1");
            advisory.affected.push(affected);
            super::super::define::define(vec![advisory], &crate::limits::Limits::default()).unwrap().definitions[0].entries[0].clone()
        };
        let fits = |entry: &Entry, version: &str| {
            let row = row("package", &[("name", "x"), ("version", version)]);
            Software::of(&row).unwrap().fits(&Conditions::of(entry))
        };
        let nodejs = entry("nodejs", "1:20.9.0-1.module+el8");
        assert!(fits(&nodejs, "1:20.5.1-1.module+el8"));
        assert!(!fits(&nodejs, "1:18.9.0-1.module+el8") && !fits(&nodejs, "1:200.1-1.module+el8"), "another stream");
        assert!(!fits(&nodejs, "1:20.5.1-1.el8"), "not of a module");
        let nodemon = entry("nodejs-nodemon", "3.0.1-1.module+el8");
        assert!(fits(&nodemon, "2.0.20-1.module+el8"));
        // The package itself says it.
        for (module, expected) in [("nodejs:20", true), ("nodejs:18", false), ("npm:20", false)] {
            let row = row("package", &[("name", "x"), ("version", "2.0.20-1.module+el8"), ("module", module)]);
            assert_eq!(Software::of(&row).unwrap().fits(&Conditions::of(&nodemon)), expected, "{module}");
        }
    }

    #[test]
    fn names_of_registries_vendors_and_builds() {
        assert_eq!(name_in("pypi", "Flask_._Login"), "flask-login");
        assert_eq!((registry("PyPI"), registry("crates.io"), registry("Maven:https://x")), ("pypi".into(), "cargo".into(), "maven".into()));
        assert!(is_language("pypi") && !is_language("deb") && !is_language(""));
        assert!(vendor_like("Microsoft", "Microsoft Corporation") && vendor_like("", "anybody"));
        assert!(!vendor_like("Microsoft", "") && !vendor_like("Micro", "Microsoft"));
        assert_eq!((build("10.0.17763.5122"), build("10.0.17763")), (Some([10, 0, 17763, 5122]), None));
    }
}
