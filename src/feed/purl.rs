//! Package URLs (`pkg:rpm/redhat/kernel@4.18?arch=src`): text in, checked parts out.

use std::borrow::Cow;
use std::collections::BTreeMap;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Purl {
    /// Lower case: `rpm`, `deb`, `pypi`.
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub version: String,
    pub qualifiers: BTreeMap<String, String>,
}

impl Purl {
    pub(crate) fn qualifier(&self, key: &str) -> &str {
        self.qualifiers.get(key).map_or("", String::as_str)
    }

    pub(crate) fn parse(text: &str) -> Result<Purl, &'static str> {
        let rest = text.strip_prefix("pkg:").ok_or("it does not begin with pkg:")?.trim_start_matches('/');
        let rest = rest.split_once('#').map_or(rest, |(before, _)| before);
        let (rest, qualifiers) = rest.split_once('?').unwrap_or((rest, ""));
        let (kind, rest) = rest.split_once('/').ok_or("it has a type and no name")?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '+' | '-');
        if !kind.starts_with(|c: char| c.is_ascii_alphabetic()) || !kind.chars().all(fits) {
            return Err("its type is not made of letters, digits, `.`, `+` and `-`");
        }
        // An `@` in front of a slash begins a namespace (npm's scopes).
        let (path, version) = rest.rsplit_once('@').filter(|(_, version)| !version.contains('/')).unwrap_or((rest, ""));
        let path = path.trim_start_matches('/');
        let (namespace, name) = path.rsplit_once('/').unwrap_or(("", path));
        let kind = kind.to_ascii_lowercase();
        let purl = Purl {
            namespace: decode(namespace)?.into_owned(),
            name: decode(name)?.into_owned(),
            version: decode(version)?.into_owned(),
            qualifiers: read_qualifiers(qualifiers)?,
            kind,
        };
        purl.fits_its_type()?;
        Ok(purl)
    }

    fn fits_its_type(&self) -> Result<(), &'static str> {
        if self.name.is_empty() {
            return Err("it has no name");
        }
        let needs = matches!(
            self.kind.as_str(),
            "maven" | "github" | "bitbucket" | "composer" | "huggingface" | "swift" | "vscode-extension" | "cpan"
        );
        if needs && self.namespace.is_empty() {
            return Err("its type asks for a namespace");
        }
        let never = matches!(
            self.kind.as_str(),
            "pypi" | "oci" | "gem" | "cargo" | "nuget" | "cran" | "bitnami" | "conda" | "hackage" | "pub" | "mlflow" | "opam" | "julia"
        );
        if never && !self.namespace.is_empty() {
            return Err("its type has no namespace");
        }
        Ok(())
    }
}

fn read_qualifiers(text: &str) -> Result<BTreeMap<String, String>, &'static str> {
    let mut out = BTreeMap::new();
    for part in text.split('&').filter(|p| !p.is_empty()) {
        let (key, value) = part.split_once('=').ok_or("a qualifier has no value")?;
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
        if !key.starts_with(|c: char| c.is_ascii_alphabetic()) || !key.chars().all(fits) {
            return Err("the key of a qualifier is not made of letters, digits, `.`, `-` and `_`");
        }
        if out.insert(key.to_ascii_lowercase(), decode(value)?.into_owned()).is_some() {
            return Err("a qualifier is given twice");
        }
    }
    Ok(out)
}

fn decode(text: &str) -> Result<Cow<'_, str>, &'static str> {
    if !text.contains('%') {
        return Ok(Cow::Borrowed(text));
    }
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).and_then(|d| u8::try_from(d).ok());
        let (Some(high), Some(low)) = (digit(), digit()) else { return Err("a % is not followed by two hexadecimal digits") };
        out.push(high * 16 + low);
    }
    String::from_utf8(out).map(Cow::Owned).map_err(|_| "what is encoded with % is not UTF-8")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts() {
        let p = Purl::parse("pkg:rpm/redhat/nodejs@1:20.9.0-1.module%2Bel8.9.0?arch=x86_64&epoch=1&rpmmod=nodejs:20:809:a").expect("purl");
        assert_eq!((&*p.kind, &*p.namespace, &*p.name, &*p.version), ("rpm", "redhat", "nodejs", "1:20.9.0-1.module+el8.9.0"));
        assert_eq!(p.qualifier("rpmmod"), "nodejs:20:809:a");
        let p = Purl::parse("pkg:npm/%40angular/core@1.0").expect("purl");
        assert_eq!((&*p.namespace, &*p.name, &*p.version), ("@angular", "core", "1.0"));
        assert_eq!(Purl::parse("pkg:deb/ubuntu/bash").expect("purl").version, "");
    }

    #[test]
    fn what_is_none() {
        for bad in [
            "",
            "pkg:",
            "pkg:rpm",
            "pkg:maven/@1.3.4",
            "pkg:1x/y",
            "pkg:deb/a?=b",
            "pkg:deb/a?b",
            "pkg:deb/a%2",
            "pkg:deb/a%ff",
            "pkg:maven/a@1",
            "pkg:pypi/a/b",
            "pkg:deb/a?k=1&k=2",
        ] {
            assert!(Purl::parse(bad).is_err(), "{bad}");
        }
    }
}
