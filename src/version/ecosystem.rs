//! Whose versions are ordered how: the name of an OSV ecosystem or the type of a package URL in, a scheme out; and products that differ from it.
//!
//! A product whose vendor numbers in an own way is a line `ecosystem product scheme [numbering]` ([`Products::read`]); those known here are `KNOWN`.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeMap;

use super::{Scheme, split_digits};

/// OSV's ecosystems, without what follows a colon (`Debian:12`), in lower case. Those without an order of their own are not here: OSV lists the
/// affected versions of such one by one.
const ECOSYSTEMS: [(&str, Scheme); 52] = [
    ("almalinux", Scheme::Rpm),
    ("alpaquita", Scheme::Apk),
    ("alpine", Scheme::Apk),
    ("azure linux", Scheme::Rpm),
    ("bellsoft", Scheme::Apk),
    ("bellsoft hardened containers", Scheme::Apk),
    ("bioconductor", Scheme::Cran),
    ("bitnami", Scheme::Semver),
    ("chainguard", Scheme::Apk),
    ("cran", Scheme::Cran),
    ("crates.io", Scheme::Semver),
    ("debian", Scheme::Dpkg),
    ("echo", Scheme::Dpkg),
    ("ghc", Scheme::Cran),
    ("github actions", Scheme::Semver),
    ("go", Scheme::Semver),
    ("hackage", Scheme::Cran),
    ("hex", Scheme::Semver),
    ("julia", Scheme::Semver),
    ("kubernetes", Scheme::Semver),
    ("linux", Scheme::Semver),
    ("mageia", Scheme::Rpm),
    ("maven", Scheme::Maven),
    ("minimos", Scheme::Apk),
    ("npm", Scheme::Semver),
    ("nuget", Scheme::Nuget),
    ("openeuler", Scheme::Rpm),
    ("opensuse", Scheme::Rpm),
    ("packagist", Scheme::Packagist),
    ("photon os", Scheme::Rpm),
    ("pub", Scheme::Semver),
    ("pypi", Scheme::Pep440),
    ("red hat", Scheme::Rpm),
    ("rocky linux", Scheme::Rpm),
    ("rubygems", Scheme::Rubygems),
    ("suse", Scheme::Rpm),
    ("swifturl", Scheme::Semver),
    ("ubuntu", Scheme::Dpkg),
    ("vscode", Scheme::Semver),
    ("wolfi", Scheme::Apk),
    // Not OSV's, but what other feeds and our own rows call theirs.
    ("amazon linux", Scheme::Rpm),
    ("arch linux", Scheme::Arch),
    ("centos", Scheme::Rpm),
    ("fedora", Scheme::Rpm),
    ("oracle linux", Scheme::Rpm),
    ("python", Scheme::Pep440),
    ("deb", Scheme::Dpkg),
    ("rpm", Scheme::Rpm),
    ("apk", Scheme::Apk),
    ("macos", Scheme::Dotted),
    ("windows", Scheme::Windows),
    ("msi", Scheme::Windows),
];

/// Types of package URLs, where they are not called as the ecosystem is.
const PURL_TYPES: [(&str, Scheme); 11] = [
    ("alpm", Scheme::Arch),
    ("cargo", Scheme::Semver),
    ("composer", Scheme::Packagist),
    ("gem", Scheme::Rubygems),
    ("generic", Scheme::Dotted),
    ("githubactions", Scheme::Semver),
    ("golang", Scheme::Semver),
    ("kernel", Scheme::Semver),
    ("mlflow", Scheme::Dotted),
    ("swift", Scheme::Semver),
    ("vscode-extension", Scheme::Semver),
];

/// The scheme of an OSV ecosystem, whatever its suffix and case: `Ubuntu:22.04:LTS`, `Red Hat:rhel_eus:9.2::baseos`.
pub fn of_ecosystem(ecosystem: &str) -> Option<Scheme> {
    find(&ECOSYSTEMS, ecosystem.split(':').next()?)
}

/// The scheme of a package URL, or of its type alone: `pkg:rpm/redhat/kernel@5.14`, `rpm`.
pub fn of_purl(purl: &str) -> Option<Scheme> {
    let kind = purl.strip_prefix("pkg:").unwrap_or(purl).trim_start_matches('/').split(['/', '@', '?', '#']).next()?;
    find(&PURL_TYPES, kind).or_else(|| find(&ECOSYSTEMS, kind))
}

fn find(list: &[(&str, Scheme)], name: &str) -> Option<Scheme> {
    list.iter().find(|(known, _)| known.eq_ignore_ascii_case(name.trim())).map(|(_, scheme)| *scheme)
}

/// What a vendor did to its numbers, undone before they are compared, so that advisories of either form mean the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Numbering {
    #[default]
    Plain,
    /// The year lost its century: `23.9` is `2023.9`.
    ShortYear,
    /// Year and month came apart: `22.4.1` is `2204.1`.
    YearMonth,
}

/// How the versions of a product compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Order {
    pub scheme: Scheme,
    pub numbering: Numbering,
}

impl Order {
    pub fn compare(self, a: &str, b: &str) -> Ordering {
        self.scheme.compare(&self.numbering.plain(a), &self.numbering.plain(b))
    }

    pub fn write_key(self, version: &str, out: &mut Vec<u8>) {
        self.scheme.write_key(&self.numbering.plain(version), out);
    }
}

impl Numbering {
    const ALL: [(&'static str, Numbering); 3] =
        [("plain", Numbering::Plain), ("short-year", Numbering::ShortYear), ("year-month", Numbering::YearMonth)];

    fn plain(self, version: &str) -> Cow<'_, str> {
        let text = version.trim_ascii();
        let (year, rest) = text.split_at_checked(split_digits(text.as_bytes()).0.len()).unwrap_or((text, ""));
        let short = matches!(year.len(), 1 | 2);
        match self {
            Numbering::ShortYear if short => Cow::Owned(format!("20{year:0>2}{rest}")),
            Numbering::YearMonth if short => {
                let Some(after) = rest.strip_prefix('.') else { return Cow::Borrowed(text) };
                let (month, rest) = after.split_at_checked(split_digits(after.as_bytes()).0.len()).unwrap_or((after, ""));
                match month.len() {
                    1 | 2 => Cow::Owned(format!("{year}{month:0>2}{rest}")),
                    _ => Cow::Borrowed(text),
                }
            }
            _ => Cow::Borrowed(text),
        }
    }
}

/// Products whose vendors changed how they number, or number by date.
const KNOWN: &str = "\
windows Cloudflare WARP                  dotted short-year
windows Cloudflare One Client            dotted short-year
windows Citrix Workspace                 dotted year-month
generic minio                            date
golang  github.com/minio/minio           date
";

/// Products by ecosystem (or purl type, or package format) and name, in any case.
#[derive(Clone, Debug)]
pub struct Products(BTreeMap<(String, String), Order>);

impl Default for Products {
    fn default() -> Products {
        let mut products = Products(BTreeMap::new());
        for line in KNOWN.lines() {
            // INVARIANT: the tests read every line.
            if let Ok(Some((key, order))) = entry(line) {
                products.0.insert(key, order);
            }
        }
        products
    }
}

impl Products {
    /// Adds lines `ecosystem product scheme [numbering]`; the product may hold blanks, `#` begins a comment. A later line replaces an earlier one.
    pub fn read(&mut self, text: &str) -> Result<(), String> {
        for (number, line) in text.lines().enumerate() {
            if let Some((key, order)) = entry(line).map_err(|problem| format!("line {}: {problem}", number + 1))? {
                self.0.insert(key, order);
            }
        }
        Ok(())
    }

    /// The order that a product has for itself, beside that of its ecosystem.
    pub fn own(&self, ecosystem: &str, product: &str) -> Option<Order> {
        let key = (ecosystem.split(':').next()?.trim().to_lowercase(), product.trim().to_lowercase());
        self.0.get(&key).copied()
    }

    /// The order of a product's versions: its own, else that of its ecosystem. None where neither is known: then only equality can be told.
    pub fn order(&self, ecosystem: &str, product: &str) -> Option<Order> {
        self.own(ecosystem, product)
            .or_else(|| Some(Order { scheme: of_ecosystem(ecosystem).or_else(|| of_purl(ecosystem))?, numbering: Numbering::Plain }))
    }
}

type Entry = ((String, String), Order);

fn entry(line: &str) -> Result<Option<Entry>, String> {
    let line = line.split('#').next().unwrap_or_default();
    let mut words: Vec<&str> = line.split_ascii_whitespace().collect();
    if words.is_empty() {
        return Ok(None);
    }
    let numbering = words.last().and_then(|word| Numbering::ALL.iter().find(|(name, _)| name == word)).map(|(_, n)| *n);
    if numbering.is_some() {
        words.pop();
    }
    let scheme = words.pop().unwrap_or_default();
    let scheme = Scheme::by_name(scheme).ok_or_else(|| {
        let numberings = Numbering::ALL.map(|(name, _)| name).join(", ");
        format!(
            "`{scheme}` is no version scheme; write `ecosystem product scheme [numbering]` with one of {}, and of {numberings}",
            Scheme::names()
        )
    })?;
    match words.split_first() {
        Some((ecosystem, product)) if !product.is_empty() => {
            let key = (ecosystem.to_lowercase(), product.join(" ").to_lowercase());
            Ok(Some((key, Order { scheme, numbering: numbering.unwrap_or_default() })))
        }
        _ => Err("it names no product; write `ecosystem product scheme [numbering]`".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ecosystems_and_package_urls() {
        for (name, scheme) in [
            ("Debian:12", Scheme::Dpkg),
            ("Ubuntu:Pro:18.04:LTS", Scheme::Dpkg),
            ("AlmaLinux:9", Scheme::Rpm),
            ("Red Hat:rhel_aus:8.4::appstream", Scheme::Rpm),
            ("SUSE:Linux Enterprise Server 15 SP5", Scheme::Rpm),
            ("Alpine:v3.19", Scheme::Apk),
            ("PyPI", Scheme::Pep440),
            ("Maven:https://maven.google.com", Scheme::Maven),
            ("npm", Scheme::Semver),
        ] {
            assert_eq!(of_ecosystem(name), Some(scheme), "{name}");
        }
        for (purl, scheme) in [
            ("pkg:rpm/redhat/kernel@5.14.0?arch=src", Scheme::Rpm),
            ("pkg:deb/debian/curl", Scheme::Dpkg),
            ("pkg:alpm/arch/linux", Scheme::Arch),
            ("pkg:gem/rails", Scheme::Rubygems),
            ("composer", Scheme::Packagist),
            ("pypi", Scheme::Pep440),
        ] {
            assert_eq!(of_purl(purl), Some(scheme), "{purl}");
        }
        assert_eq!((of_ecosystem("OSS-Fuzz"), of_ecosystem("Android"), of_purl("pkg:docker/a"), of_purl("")), (None, None, None, None));
    }

    #[test]
    fn every_known_product_is_read() {
        assert_eq!(Products::default().0.len(), KNOWN.lines().count());
    }

    #[test]
    fn products_that_changed_their_numbers() {
        let products = Products::default();
        let warp = products.order("windows", "cloudflare warp").unwrap();
        assert_eq!(warp.compare("23.9.248.0", "2022.3.1"), Ordering::Greater);
        assert_eq!(warp.compare("23.9.248.0", "2023.9.248"), Ordering::Equal);
        let citrix = products.order("Windows", "Citrix Workspace").unwrap();
        assert_eq!(citrix.compare("22.4.1.62", "1904"), Ordering::Greater);
        assert_eq!(citrix.compare("19.1.0.2", "1904"), Ordering::Less);
        assert_eq!(citrix.compare("22.12.1", "2212.1"), Ordering::Equal);
        let minio = products.order("generic", "MinIO").unwrap();
        assert_eq!(minio.compare("RELEASE.2024-06-26T01-06-18Z_1", "RELEASE.2023-03-20T20-16-18Z"), Ordering::Greater);
        let mut key = Vec::new();
        warp.write_key("23.9", &mut key);
        assert_eq!(key, Scheme::Dotted.key("2023.9"));
    }

    #[test]
    fn lines_of_an_operator() {
        let mut products = Products::default();
        products
            .read("# ours\nDebian our-tool date\nwindows Our Own App dotted # by hand\n\nwindows cloudflare warp windows plain\n")
            .unwrap();
        assert_eq!(products.order("debian:12", "our-tool").unwrap().scheme, Scheme::Date);
        assert_eq!(products.order("debian:12", "curl").unwrap().scheme, Scheme::Dpkg);
        assert_eq!(products.order("windows", "our own APP").unwrap().scheme, Scheme::Dotted);
        assert_eq!(products.order("windows", "Cloudflare WARP"), Some(Order { scheme: Scheme::Windows, numbering: Numbering::Plain }));
        assert_eq!(products.order("OSS-Fuzz", "x"), None);
        for (line, problem) in
            [("a b c", "`c` is no version scheme"), ("a dpkg", "names no product"), ("a dpkg plain", "names no product"), ("plain", "``")]
        {
            let error = products.read(&format!("\n{line}")).unwrap_err();
            assert!(error.starts_with("line 2: ") && error.contains(problem), "{error}");
        }
    }
}
