//! What a product id of a CSAF document stands for: branches, helpers, relationships and product paths in; a target with its versions out.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::super::json::{text, texts};
use super::super::model::{Fix, Module, Package, PackageKind, Platform, Product, Target, Versions};
use super::super::purl::Purl;
use super::super::redhat::{self, Nevra};
use super::super::{debian, ubuntu, vers};
use super::document::{Defined, Document};
use crate::version::Scheme;

pub(super) struct Resolved {
    pub target: Target,
    /// The versions that the product id itself stands for.
    pub versions: Versions,
    /// The one version of a package, with epoch and release.
    version: Box<str>,
}

impl Resolved {
    /// A package that is fixed in this version: those before it lack the fix. Distributions' versions of one stream stand in one line.
    pub(crate) fn lacking(&self) -> (Versions, Vec<Fix>) {
        match self.versions.scheme {
            Some(scheme) if !self.version.is_empty() => {
                (Versions::before(scheme, &self.version), vec![Fix { version: self.version.clone(), ..Fix::default() }])
            }
            _ => (self.versions.clone(), Vec::new()),
        }
    }
}

pub(super) struct Resolver<'v> {
    resolved: BTreeMap<&'v str, Resolved>,
}

impl<'v> Resolver<'v> {
    pub(crate) fn of(document: &Document<'v>) -> Resolver<'v> {
        let by_id: BTreeMap<&str, &Defined> = document.products.iter().map(|p| (p.id, p)).collect();
        let resolved = document.products.iter().map(|p| (p.id, resolve(p, &by_id))).collect();
        Resolver { resolved }
    }

    pub(crate) fn get(&self, id: &str) -> Option<&Resolved> {
        self.resolved.get(id)
    }
}

/// A product and what it is part of or installed on, from the inside out. Bounded: a circle was refused, and a chain is as long as there are products.
fn chain<'d, 'v>(product: &'d Defined<'v>, by_id: &BTreeMap<&str, &'d Defined<'v>>) -> Vec<&'d Defined<'v>> {
    let mut out: Vec<&Defined> = Vec::new();
    let mut waiting = vec![product];
    let mut steps = 0;
    while let Some(next) = waiting.pop() {
        steps += 1;
        if steps > 64 {
            break;
        }
        if next.parts.is_empty() {
            out.push(next);
        } else {
            waiting.extend(next.parts.iter().rev().filter_map(|id| by_id.get(id)));
        }
    }
    out
}

fn purl_of(product: &Defined) -> Option<(String, Purl)> {
    let written = match text(product.helper, "purl") {
        "" => texts(product.helper, "purls").map(|(_, p)| p).next()?,
        one => one,
    };
    Some((written.to_owned(), Purl::parse(written).ok()?))
}

fn resolve<'v>(product: &Defined<'v>, by_id: &BTreeMap<&str, &Defined<'v>>) -> Resolved {
    let chain = chain(product, by_id);
    let inner = chain.first().copied().unwrap_or(product);
    let outer = chain.get(1..).unwrap_or_default();
    // A purl of the whole says more than that of its part.
    let purl = purl_of(product).or_else(|| purl_of(inner));
    let cpe = outer.iter().rev().chain([&product, &inner]).map(|p| text(p.helper, "cpe")).find(|c| !c.is_empty()).unwrap_or("");
    if let Some((_, purl)) = &purl
        && let Some(package) = package(purl, cpe, &chain)
    {
        return package;
    }
    // Red Hat's own ids are package names, with or without a purl beside them.
    if purl.is_none()
        && !outer.is_empty()
        && cpe.contains(":redhat:")
        && let Some(nevra) = Nevra::parse(inner.id).or_else(|| Nevra::parse(inner.name))
    {
        return rpm(&nevra, redhat::platform(cpe), modules(&chain));
    }
    let branch = |category: &str| inner.branches.iter().rev().find(|(c, _)| *c == category).map_or("", |(_, n)| *n);
    let versions = match (branch("product_version_range"), branch("product_version")) {
        ("", "") => Versions::all(None),
        ("", version) => vers::read_one(version),
        (range, _) => vers::read(range),
    };
    let name = Some(branch("product_name")).filter(|n| !n.is_empty()).unwrap_or(inner.name);
    let arch = branch("architecture");
    let version = versions.exact.first().cloned().unwrap_or_default();
    let target = Target::Product(Product {
        vendor: branch("vendor").into(),
        name: name.into(),
        cpe: cpe.into(),
        purl: purl.map_or("".into(), |(written, _)| written.into()),
        platform: outer.iter().map(|p| p.name).collect::<Vec<_>>().join(", ").into(),
        arches: if arch.is_empty() { Vec::new() } else { vec![arch.into()] },
    });
    Resolved { target, versions, version }
}

/// The module that one of the parts is, or that a package says it is from.
fn modules(chain: &[&Defined]) -> Option<Module> {
    chain.iter().find_map(|part| {
        let of_purl = purl_of(part).and_then(|(_, purl)| match purl.kind.as_str() {
            "rpmmod" => redhat::module(&format!("{}:{}", purl.name, purl.version)),
            _ => redhat::module(purl.qualifier("rpmmod")),
        });
        // `nodejs:20/nodejs`, Red Hat's name of a package without a fix in a module.
        of_purl.or_else(|| part.id.split_once('/').and_then(|(module, _)| redhat::module(module)))
    })
}

fn rpm(nevra: &Nevra, platform: Platform, module: Option<Module>) -> Resolved {
    let source = matches!(nevra.arch.as_str(), "src" | "nosrc" | "source");
    let target = Target::Package(Package {
        ecosystem: "Red Hat".into(),
        platform: Some(platform),
        // A name without an architecture is that of a component, which is a source package.
        kind: if source {
            PackageKind::Source
        } else if nevra.arch.is_empty() {
            PackageKind::Either
        } else {
            PackageKind::Binary
        },
        name: nevra.name.as_str().into(),
        arches: if source || nevra.arch.is_empty() { Vec::new() } else { vec![nevra.arch.as_str().into()] },
        module,
    });
    let scheme = Some(Scheme::Rpm);
    let versions = if nevra.evr.is_empty() { Versions::all(scheme) } else { Versions::exactly(scheme, &nevra.evr) };
    Resolved { target, versions, version: nevra.evr.as_str().into() }
}

fn package(purl: &Purl, cpe: &str, chain: &[&Defined]) -> Option<Resolved> {
    match (purl.kind.as_str(), purl.namespace.as_str()) {
        ("rpm", namespace) => {
            let platform = if cpe.is_empty() { namespace_platform(namespace, purl.qualifier("distro")) } else { redhat::platform(cpe) };
            let mut out = rpm(&Nevra::of_purl(purl), platform, modules(chain));
            if let Target::Package(package) = &mut out.target
                && namespace != "redhat"
            {
                package.ecosystem = Arc::from(namespace);
            }
            Some(out)
        }
        ("deb" | "apk", _) => Some(of_purl(purl)),
        ("rpmmod" | "oci" | "docker" | "generic", _) => None,
        _ => Some(of_purl(purl)),
    }
}

fn namespace_platform(namespace: &str, distro: &str) -> Platform {
    let id = if namespace == "redhat" { "rhel" } else { namespace };
    // `sles-15.5`, `fedora-39`, `15.5`
    Platform::new(id, distro.rsplit('-').next().unwrap_or(""), "")
}

/// A package by its URL alone: `pkg:deb/ubuntu/bash@5.0-6ubuntu1?arch=source&distro=focal`, `pkg:npm/%40angular/core@1.0`.
pub(in super::super) fn of_package_url(purl: &Purl) -> Option<(Target, Versions, Box<str>)> {
    let resolved = package(purl, "", &[])?;
    Some((resolved.target, resolved.versions, resolved.version))
}

fn of_purl(purl: &Purl) -> Resolved {
    let distro = purl.qualifier("distro");
    let platform = match (purl.kind.as_str(), purl.namespace.as_str()) {
        // Without a release that is known it is any release of the distribution.
        ("deb", "ubuntu") => {
            Some(ubuntu::platform(distro).unwrap_or_else(|| Platform::new("ubuntu", distro.trim_start_matches("ubuntu-"), "")))
        }
        ("deb", "debian") => {
            Some(debian::platform(distro).unwrap_or_else(|| Platform::new("debian", distro.trim_start_matches("debian-"), "")))
        }
        ("apk" | "deb", namespace) => Some(Platform::new(namespace, distro.rsplit('-').next().unwrap_or("").trim_start_matches('v'), "")),
        _ => None,
    };
    let language = platform.is_none();
    let arch = purl.qualifier("arch");
    let source = matches!(arch, "source" | "src");
    let name = match (purl.namespace.as_str(), purl.kind.as_str()) {
        ("", _) => purl.name.clone(),
        (namespace, "maven") => format!("{namespace}:{}", purl.name),
        (namespace, _) if language => format!("{namespace}/{}", purl.name),
        _ => purl.name.clone(),
    };
    let ecosystem = if language { purl.kind.clone() } else { purl.namespace.clone() };
    let scheme = vers::scheme(&purl.kind);
    let target = Target::Package(Package {
        ecosystem: Arc::from(ecosystem),
        platform,
        kind: if source {
            PackageKind::Source
        } else if arch.is_empty() {
            PackageKind::Either
        } else {
            PackageKind::Binary
        },
        name: name.into(),
        arches: if source || arch.is_empty() { Vec::new() } else { vec![arch.into()] },
        module: None,
    });
    let version = purl.version.as_str();
    let versions = if version.is_empty() { Versions::all(scheme) } else { Versions::exactly(scheme, version) };
    Resolved { target, versions, version: version.into() }
}
