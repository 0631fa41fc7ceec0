//! The dpkg database: `/var/lib/dpkg/status`, and `status.d` of images that were built without dpkg (distroless).

use super::Host;
use super::package::{Database, Package};

const STATUS: &str = "/var/lib/dpkg/status";
const STATUS_D: &str = "/var/lib/dpkg/status.d";

pub(super) fn read(host: &Host<'_>) -> Database {
    let mut found = None;
    if let Some(text) = host.root.text(STATUS)? {
        found = Some(parse(&text).map_err(|why| format!("{STATUS}: {why}"))?);
    }
    for name in host.root.names(STATUS_D)? {
        // `name.md5sums` are lists of files, `name.preinst` and the like are scripts.
        if [".md5sums", ".preinst", ".postinst", ".prerm", ".postrm"].iter().any(|end| name.ends_with(end)) {
            continue;
        }
        let path = format!("{STATUS_D}/{name}");
        if let Some(text) = host.root.text(&path)? {
            found.get_or_insert_with(Vec::new).extend(parse(&text).map_err(|why| format!("{path}: {why}"))?);
        }
    }
    Ok(found)
}

/// Stanzas of deb822: `Field: value`, continued on lines that begin with a blank, separated by empty lines.
pub(super) fn parse(text: &str) -> Result<Vec<Package>, String> {
    let mut packages = Vec::new();
    let mut stanza = Stanza::default();
    for (line, n) in text.lines().chain([""]).zip(1usize..) {
        if line.trim().is_empty() {
            packages.extend(std::mem::take(&mut stanza).package().map_err(|why| format!("line {n}: {why}"))?);
        } else if !line.starts_with([' ', '\t']) {
            let (field, value) = line.split_once(':').ok_or_else(|| format!("line {n}: no field name"))?;
            stanza.any = true;
            stanza.set(field, value.trim());
        }
    }
    Ok(packages)
}

#[derive(Default)]
struct Stanza<'t> {
    any: bool,
    package: Option<&'t str>,
    status: Option<&'t str>,
    version: Option<&'t str>,
    arch: Option<&'t str>,
    source: Option<&'t str>,
}

impl<'t> Stanza<'t> {
    fn set(&mut self, field: &str, value: &'t str) {
        let slot = match field.to_ascii_lowercase().as_str() {
            "package" => &mut self.package,
            "status" => &mut self.status,
            "version" => &mut self.version,
            "architecture" => &mut self.arch,
            "source" => &mut self.source,
            _ => return,
        };
        *slot = Some(value).filter(|v| !v.is_empty());
    }

    /// The package, where it is installed. Want and error flags do not matter (`hold ok installed`), half states do.
    fn package(self) -> Result<Option<Package>, String> {
        let installed = self.status.is_none_or(|s| s.split_whitespace().nth(2) == Some("installed"));
        if !self.any || !installed {
            return Ok(None);
        }
        let name = self.package.ok_or("a stanza without Package")?;
        let version = self.version.ok_or_else(|| format!("package {name} without Version"))?;
        let (source, source_version) = match self.source.and_then(|s| s.split_once('(')) {
            Some((source, rest)) => (source.trim(), Some(rest.trim_end_matches(')').trim())),
            None => (self.source.unwrap_or(name), None),
        };
        Ok(Some(Package {
            name: name.into(),
            version: version.into(),
            arch: self.arch.map(Into::into),
            source: Some(source.into()),
            source_version: source_version.filter(|v| *v != version).map(Into::into),
            vendor: None,
            module: None,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = "Package: bash\nStatus: install ok installed\nMaintainer: A <a@b>\nArchitecture: amd64\nVersion: 5.2-2+b7\n\
        Source: bash (5.2-2)\nDescription: shell\n Package: not this\n .\n\n\
        Package: old\nStatus: deinstall ok config-files\nVersion: 1\n\n\
        Package: half\nStatus: install ok half-configured\nVersion: 1\n\n\
        Package: kept\nStatus: hold ok installed\nVersion: 1:2.0-1\nArchitecture: all\n";

    #[test]
    fn installed_packages_and_their_sources() {
        let got = parse(SAMPLE).unwrap();
        assert_eq!(got.len(), 2);
        assert_eq!((got[0].source.as_deref(), got[0].source_version.as_deref()), (Some("bash"), Some("5.2-2")));
        assert_eq!((got[1].name.as_str(), got[1].version.as_str(), got[1].source.as_deref()), ("kept", "1:2.0-1", Some("kept")));
    }

    #[test]
    fn what_is_broken_is_said() {
        assert_eq!(parse("Package: a\nnonsense\n"), Err("line 2: no field name".into()));
        assert_eq!(parse("Package: a\nStatus: install ok installed\n"), Err("line 3: package a without Version".into()));
        assert_eq!(parse(""), Ok(vec![]));
        // Distroless leaves Status out.
        assert_eq!(parse("Package: a\nVersion: 1\n").unwrap().len(), 1);
    }
}
