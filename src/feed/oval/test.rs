//! What one test of such content says: of a release, a module, a package's version, or nothing that a row could decide.

use std::rc::Rc;

use super::super::model::{End, Module, Start};
use super::criteria::{Said, Seen, Way};
use super::platform;
use crate::oval::model::{
    Body, Check, Content, Entity, Existence, Object, Operation, Operator, Source, State, Stated, Test, TestId, VariableId,
};
use crate::version::Scheme;

/// A package of one of these names, in these versions.
#[derive(Clone, Debug)]
pub(super) struct Installed {
    pub(super) names: Rc<[Box<str>]>,
    pub(super) scheme: Scheme,
    pub(super) span: Span,
    /// The publisher's words: why there is no fix.
    pub(super) comment: Box<str>,
}

/// Versions, and architectures if not any.
type Stand = (Span, Option<Rc<[Box<str>]>>);

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Span {
    Any,
    Exactly(Box<str>),
    Between(Start, End),
}

impl Installed {
    /// Both of one package.
    pub(super) fn and(&self, other: &Installed) -> Result<Installed, String> {
        if self.names != other.names || self.scheme != other.scheme {
            let name = |i: &Installed| i.names.first().cloned().unwrap_or_default();
            return Err(format!("needs two packages at once ({}, {}), which no row decides", name(self), name(other)));
        }
        let span = match (&self.span, &other.span) {
            (Span::Any, span) | (span, Span::Any) => span.clone(),
            (a, b) if a == b => a.clone(),
            (Span::Between(start, End::Open), Span::Between(Start::Open, end))
            | (Span::Between(Start::Open, end), Span::Between(start, End::Open)) => Span::Between(start.clone(), end.clone()),
            _ => return Err("has two conditions on one version that are no range".into()),
        };
        Ok(Installed { span, ..self.clone() })
    }
}

/// What a test comes to. `comment` is the criterion's; the test's own is taken where it says nothing.
pub(super) fn said(content: &Content, id: TestId, comment: &str, seen: &mut Seen) -> Result<Said, String> {
    let Some(test) = content.tests.get(id.index()) else { return Err("names a test that is not there".into()) };
    let comment = if comment.trim().is_empty() { &*test.comment } else { comment };
    let object = test.object.and_then(|o| content.objects.get(o.index()));
    let Some(object) = object else { return Err(format!("`{}` cannot be used", test.id)) };
    let states: Vec<&State> = test.states.iter().filter_map(|s| content.states.get(s.index())).collect();
    let asked = Asked { content, test, object, states, comment };
    match &*test.kind.name {
        "dpkginfo" => asked.package(Scheme::Dpkg, seen),
        "rpminfo" => asked.package(Scheme::Rpm, seen),
        "rpmverifyfile" => asked.release_file(),
        "textfilecontent54" | "textfilecontent" => asked.file(seen),
        "uname" => {
            asked.plain()?;
            // Without a state (Debian's `all architecture`) it holds everywhere.
            seen.kernels += usize::from(!asked.states.is_empty());
            Ok(Said::Always)
        }
        "family" => asked.family(),
        other => Err(format!("`{comment}` is a {other}_test, which is no condition on a package")),
    }
}

struct Asked<'c> {
    content: &'c Content,
    test: &'c Test,
    object: &'c Object,
    states: Vec<&'c State>,
    comment: &'c str,
}

impl<'c> Asked<'c> {
    /// Nothing counted, nothing absent.
    fn plain(&self) -> Result<(), String> {
        let fits = !matches!(self.test.existence, Existence::None | Existence::Any)
            && !matches!(self.test.check, Check::NoneSatisfy | Check::OnlyOne)
            && (self.states.len() < 2 || self.test.state_operator == Operator::And)
            && self.states.iter().all(|s| s.operator == Operator::And || s.entities.len() < 2);
        if fits { Ok(()) } else { Err(format!("`{}` asks for what is not there, which is no condition on a package", self.comment)) }
    }

    fn entities(&self) -> impl Iterator<Item = &'c Entity> + use<'c, '_> {
        self.states.iter().flat_map(|s| &s.entities)
    }

    fn object_entity(&self, name: &str) -> Option<&'c Entity> {
        match &self.object.body {
            Body::Entities { entities, .. } => entities.iter().find(|e| *e.name == *name),
            Body::Set(_) => None,
        }
    }

    fn values(&self, stated: &'c Stated) -> Option<Vec<Box<str>>> {
        match stated {
            Stated::Literal(text) => Some(vec![text.trim().into()]),
            Stated::Variable(id) => self.constant(*id),
            Stated::Nil => None,
        }
    }

    fn constant(&self, id: VariableId) -> Option<Vec<Box<str>>> {
        match &self.content.variables.get(id.index())?.source {
            Source::Constant(values) => Some(values.iter().map(|v| v.trim().into()).collect()),
            Source::External { .. } | Source::Local(_) => None,
        }
    }

    fn one(&self, entity: &'c Entity) -> Result<Box<str>, String> {
        let values = self.values(&entity.value).unwrap_or_default();
        match <[Box<str>; 1]>::try_from(values) {
            Ok([value]) if !value.is_empty() => Ok(value),
            _ => Err(format!("`{}` compares {} with what is not one constant", self.comment, entity.name)),
        }
    }

    fn family(&self) -> Result<Said, String> {
        self.plain()?;
        for entity in self.entities() {
            let value = self.one(entity)?;
            if entity.operation != Operation::Equals || !matches!(&*value, "unix" | "linux") {
                return Ok(Said::Never);
            }
        }
        Ok(Said::Always)
    }

    fn places(&self) -> Result<Said, String> {
        let found = platform::by_name(self.comment);
        let found = if found.is_empty() { platform::by_name(&self.test.comment) } else { found };
        if found.is_empty() {
            return Err(format!("`{}` is of no release that is known", self.comment));
        }
        Ok(Said::Ways(found.into_iter().map(|place| Way { place: Some(place), ..Way::default() }).collect()))
    }

    /// Red Hat asks which package owns /etc/redhat-release. The same asked of no package (`check="none satisfy"`) is true on another system only: a
    /// guard against using the content there.
    fn release_file(&self) -> Result<Said, String> {
        if self.test.check == Check::NoneSatisfy {
            return Ok(Said::Never);
        }
        self.plain()?;
        let state = |name: &str| self.entities().find(|e| *e.name == *name).and_then(|e| self.one(e).ok());
        if let (Some(name), Some(version)) = (state("name"), state("version"))
            && let Some(place) = platform::by_package(&name, &version)
        {
            return Ok(Said::Ways(vec![Way { place: Some(place), ..Way::default() }]));
        }
        self.places()
    }

    fn file(&self, seen: &mut Seen) -> Result<Said, String> {
        self.plain()?;
        let path = self.object_entity("filepath").map(|e| self.one(e)).transpose()?.unwrap_or_default();
        if let Some(module) = path.strip_prefix("/etc/dnf/modules.d/").and_then(|p| p.strip_suffix(".module")) {
            let stream = self.stream(module).ok_or_else(|| format!("`{}` names no stream of module {module}", self.comment))?;
            return Ok(Said::Ways(vec![Way { module: Some(Rc::new(stream)), ..Way::default() }]));
        }
        // What boots next.
        if path.starts_with("/boot/") {
            seen.kernels += 1;
            return Ok(Said::Always);
        }
        let release = ["lsb-release", "os-release", "debian_version", "-release", "/issue"].iter().any(|ending| path.ends_with(ending));
        if !release {
            return Err(format!("`{}` looks into {path}, which is no condition on a package", self.comment));
        }
        // `bionic`, of DISTRIB_CODENAME.
        for entity in self.entities().filter(|e| e.operation == Operation::Equals) {
            if let Some(place) = platform::codename(&self.one(entity)?) {
                return Ok(Said::Ways(vec![Way { place: Some(place), ..Way::default() }]));
            }
        }
        self.places()
    }

    /// `\nstream\s*=\s*DL1\b...`, or of the comment: `Module idm:DL1 is enabled`.
    fn stream(&self, module: &str) -> Option<Module> {
        let named = |stream: &str| Module { name: module.into(), stream: stream.into() };
        let of_state = self.entities().filter_map(|e| match &e.value {
            Stated::Literal(text) => {
                let (_, rest) = text.split_once("stream\\s*=\\s*")?;
                let (stream, _) = rest.split_once("\\b")?;
                let stream = stream.replace('\\', "");
                (!stream.is_empty()).then(|| named(&stream))
            }
            _ => None,
        });
        let (name, stream) =
            self.comment.trim().strip_prefix("Module ").and_then(|c| c.split(' ').next()).and_then(|c| c.split_once(':')).unzip();
        let of_comment = stream.filter(|s| !s.is_empty() && name == Some(module)).map(named);
        of_comment.or_else(|| of_state.into_iter().next())
    }

    fn package(&self, scheme: Scheme, seen: &mut Seen) -> Result<Said, String> {
        let Some(entity) = self.object_entity("name") else { return Err(format!("`{}` names no package", self.object.id)) };
        if matches!(&self.object.body, Body::Entities { filters, .. } if !filters.is_empty()) {
            return Err(format!("`{}` filters packages", self.object.id));
        }
        let names = self.values(&entity.value).unwrap_or_default();
        let exact = entity.operation == Operation::Equals && (names.len() == 1 || entity.var_check == Check::AtLeastOne);
        if !exact || names.is_empty() || names.iter().any(|n| n.is_empty()) {
            return Err(format!("`{}` names packages by a pattern or by what is not constant", self.comment));
        }
        if names.iter().all(|n| n.contains("-release"))
            && let Some(said) = self.release_package(names.first().map_or("", |n| &**n))?
        {
            return Ok(said);
        }
        self.plain()?;
        if !self.states.is_empty() && self.entities().all(|e| *e.name == *"signature_keyid") {
            seen.signatures += 1;
            return Ok(Said::Always);
        }
        let Some((span, arches)) = self.state(scheme)? else { return Ok(Said::Never) };
        let package = Installed { names: names.into(), scheme, span, comment: self.comment.into() };
        Ok(Said::Ways(vec![Way { package: Some(Rc::new(package)), arches, ..Way::default() }]))
    }

    /// A package that is a release: its version says which, its architecture the machine's. `None`: it is asked about as any other package.
    fn release_package(&self, name: &str) -> Result<Option<Said>, String> {
        let mut arches = None;
        let mut release = None;
        for entity in self.entities() {
            match (&*entity.name, entity.operation) {
                ("arch", _) => arches = Some(entity),
                ("version", _) | ("evr", Operation::GreaterThanOrEqual | Operation::GreaterThan) => release = Some(entity),
                ("signature_keyid", _) => return Ok(None),
                _ => return Ok(None),
            }
        }
        self.plain()?;
        if let Some(entity) = release {
            let named = self.places();
            if named.is_ok() {
                return named.map(Some);
            }
            let place = platform::by_package(name, &self.one(entity)?);
            let place = place.ok_or_else(|| format!("`{}` is of no release that is known", self.comment))?;
            return Ok(Some(Said::Ways(vec![Way { place: Some(place), ..Way::default() }])));
        }
        match arches {
            Some(entity) => {
                let machine = self.arches(entity)?;
                let runs = machine.iter().flat_map(|a| installable(a)).collect();
                Ok(Some(Said::Ways(vec![Way { arches: Some(runs), ..Way::default() }])))
            }
            None if self.states.is_empty() => Ok(self.places().ok()),
            None => Ok(None),
        }
    }

    /// Versions and architectures that a state asks for; `None`: no package fulfils it.
    fn state(&self, scheme: Scheme) -> Result<Option<Stand>, String> {
        let (mut span, mut arches) = (Span::Any, None);
        for entity in self.entities() {
            match &*entity.name {
                "evr" => {
                    let value = self.one(entity)?;
                    // dpkg has no difference between no epoch and 0.
                    let value: Box<str> = if scheme == Scheme::Dpkg { value.strip_prefix("0:").unwrap_or(&value).into() } else { value };
                    span = match entity.operation {
                        Operation::LessThan => Span::Between(Start::Open, End::Before(value)),
                        Operation::LessThanOrEqual => Span::Between(Start::Open, End::Through(value)),
                        // How SUSE says that there is no fix.
                        Operation::GreaterThan if matches!(&*value, "0:0-0" | "0-0" | "0") => Span::Any,
                        Operation::GreaterThan => Span::Between(Start::After(value), End::Open),
                        Operation::GreaterThanOrEqual => Span::Between(Start::At(value), End::Open),
                        Operation::Equals if &*value == "0:0-0" => return Ok(None),
                        Operation::Equals => Span::Exactly(value),
                        _ => return Err(format!("`{}` compares versions in a way that is no range", self.comment)),
                    };
                }
                "arch" => arches = Some(self.arches(entity)?.into()),
                "signature_keyid" => {}
                // How SUSE says that a package is not affected: no package has that version.
                "version" if entity.operation == Operation::Equals && &*self.one(entity)? == "0" => return Ok(None),
                other => return Err(format!("`{}` asks for the {other} of a package, which no feed is read for", self.comment)),
            }
        }
        Ok(Some((span, arches)))
    }

    /// `x86_64`, `aarch64|x86_64`, `(noarch|x86_64)`
    fn arches(&self, entity: &'c Entity) -> Result<Vec<Box<str>>, String> {
        let value = self.one(entity)?;
        let names = match entity.operation {
            Operation::Equals => vec![value.clone()],
            Operation::PatternMatch => {
                let inner = value.trim_start_matches('^').trim_end_matches('$');
                let inner = inner.strip_prefix('(').and_then(|v| v.strip_suffix(')')).unwrap_or(inner);
                inner.split('|').map(Box::from).collect()
            }
            _ => Vec::new(),
        };
        let plain = |n: &str| !n.is_empty() && n.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
        if names.is_empty() || !names.iter().all(|n| plain(n)) {
            return Err(format!("`{}` matches architectures with `{value}`, which is no list of them", self.comment));
        }
        Ok(names)
    }
}

/// Architectures of packages that a machine can have.
fn installable(machine: &str) -> Vec<Box<str>> {
    let own: &[&str] = match machine {
        "x86_64" => &["x86_64", "i386", "i486", "i586", "i686", "noarch"],
        other => &[other, "noarch"],
    };
    own.iter().map(|a| Box::from(*a)).collect()
}
