//! From the paths that commands are given to rules: folders, rule files, SCAP content, compiled packs.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use muster::limits::Limits;
use muster::oval::eval::Compat;
use muster::pack::{Pack, RuleId, ScapPack, Sources as Compiled, merge, wire};
use muster::rule::check::suggest::hint;
use muster::rule::stream::{Stream, is_xml, read_stream};
use muster::rule::{Code, Diagnostic, Rule, RulePack, read_folder};

use super::{Usage, output};

/// A pack and where it was read.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    pub(crate) pack: RulePack,
}

/// Which part of SCAP content is meant. Written rules have no such parts.
#[derive(Debug, Default, clap::Args)]
#[command(next_help_heading = "SCAP content")]
pub(crate) struct Streams {
    /// A profile, by its id or the last part of it; may be given several times. Without it: what the benchmark itself selects
    #[arg(long, value_name = "ID")]
    pub(crate) profile: Vec<String>,
    /// An XCCDF tailoring file
    #[arg(long, value_name = "FILE")]
    pub(crate) tailoring: Option<PathBuf>,
    /// The benchmark, where a file holds several
    #[arg(long, value_name = "ID")]
    pub(crate) benchmark: Option<String>,
    /// Whose answers count where OpenSCAP departs from the specification (docs/SCAP.md)
    #[arg(long, value_enum, default_value_t)]
    pub(crate) compat: CompatArg,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum CompatArg {
    #[default]
    Specification,
    Openscap,
}

impl Streams {
    pub(crate) fn of(&self, content: &Path) -> Stream {
        Stream {
            content: content.to_owned(),
            benchmark: self.benchmark.clone(),
            profiles: self.profile.clone(),
            tailoring: self.tailoring.clone(),
            compat: self.compat(),
        }
    }

    pub(crate) fn compat(&self) -> Compat {
        match self.compat {
            CompatArg::Specification => Compat::Specification,
            CompatArg::Openscap => Compat::OpenScap,
        }
    }

    /// The first option that only SCAP content has a use for.
    fn given(&self) -> Option<&'static str> {
        let given = [
            (!self.profile.is_empty(), "--profile"),
            (self.tailoring.is_some(), "--tailoring"),
            (self.benchmark.is_some(), "--benchmark"),
            (self.compat != CompatArg::Specification, "--compat"),
        ];
        given.into_iter().find(|(given, _)| *given).map(|(_, name)| name)
    }
}

/// The packs that could be read, and the problems of all.
#[derive(Default)]
pub(crate) struct Sources {
    pub(crate) packs: Vec<Source>,
    pub(crate) scap: Vec<ScapPack>,
    pub(crate) problems: Vec<Diagnostic>,
}

impl Sources {
    pub(crate) fn rules(&self) -> impl Iterator<Item = (&Source, &Rule)> {
        self.packs.iter().flat_map(|s| s.pack.rules.iter().map(move |r| (s, r)))
    }

    /// What SCAP content asks that cannot be answered in full, with the profile.
    pub(crate) fn notes(&self) -> impl Iterator<Item = (&str, &str)> {
        self.scap.iter().flat_map(|p| p.baseline.notes.iter().chain(&p.notes).map(|note| (p.info.id.as_str(), note.as_str())))
    }

    /// Of all packs, SCAP or written.
    pub(crate) fn rule_count(&self) -> usize {
        self.rules().count() + self.scap.iter().map(|s| s.info.rules).sum::<usize>()
    }

    /// The bytes of all that was read, compiled.
    pub(crate) fn compile(self) -> Vec<u8> {
        let written: Vec<RulePack> = self.packs.into_iter().map(|s| s.pack).collect();
        merge(&Compiled { written: &written, scap: &self.scap, ..Compiled::default() })
    }
}

impl Source {
    /// The file of one of its rules: files are named after ids.
    pub(crate) fn file_of(&self, rule: &str) -> PathBuf {
        if self.path.is_dir() { self.path.join(format!("{rule}.yaml")) } else { self.path.clone() }
    }
}

/// Reads packs as written. Fails only where a path is not there; everything else is a problem with a place.
pub(crate) fn read(paths: &[PathBuf], streams: &Streams, limits: &Limits) -> anyhow::Result<Sources> {
    let mut sources = Sources::default();
    let mut any_stream = false;
    for path in paths {
        let there = std::fs::metadata(path).with_context(|| format!("cannot read `{}`", path.display()))?;
        if there.is_file() && is_xml(path) {
            any_stream = true;
            let (packs, problems) = read_stream(&streams.of(path), limits);
            sources.problems.extend(problems);
            sources.scap.extend(packs);
            continue;
        }
        for path in folders(path) {
            let (pack, problems) = read_folder(&path, limits);
            sources.problems.extend(problems);
            sources.packs.extend(pack.map(|pack| Source { path, pack }));
        }
    }
    if let (false, Some(option)) = (any_stream, streams.given()) {
        return Err(Usage(format!("{option} is about SCAP content, and none of the paths is such a file")).into());
    }
    unique(&mut sources);
    let rules = sources.rule_count();
    if rules > limits.rules {
        let message = format!("{rules} rules in all packs together, over the limit of {}", limits.rules);
        let file = paths.first().map(|p| p.display().to_string()).unwrap_or_default();
        sources.problems.push(Diagnostic { code: Code::Limit, file, line: 0, column: 0, message });
    }
    Ok(sources)
}

/// A folder that is no pack itself stands for the packs in it.
fn folders(path: &Path) -> Vec<PathBuf> {
    let is_pack = |p: &Path| p.join("pack.yaml").is_file();
    if path.file_name().is_some_and(|n| n == "pack.yaml") {
        return vec![path.parent().map_or_else(PathBuf::new, Path::to_owned)];
    }
    let entries = if path.is_dir() && !is_pack(path) { std::fs::read_dir(path).ok() } else { None };
    let mut packs: Vec<_> = entries.into_iter().flatten().flatten().map(|e| e.path()).filter(|p| is_pack(p)).collect();
    packs.sort();
    if packs.is_empty() { vec![path.to_owned()] } else { packs }
}

/// Ids are how verdicts are told apart: no two packs, no two rules of all packs have the same.
fn unique(sources: &mut Sources) {
    let mut packs: BTreeMap<&str, PathBuf> = BTreeMap::new();
    let mut rules: BTreeMap<&str, PathBuf> = BTreeMap::new();
    let mut problems = Vec::new();
    let mut say = |file: &Path, message: String| {
        problems.push(Diagnostic { code: Code::Id, file: file.display().to_string(), line: 1, column: 1, message });
    };
    for source in &sources.packs {
        let head = source.file_of("pack");
        if let Some(other) = packs.get(source.pack.id.as_str()) {
            say(&head, format!("the pack's id `{}` is used by {} already", source.pack.id, other.display()));
        }
        packs.insert(&source.pack.id, head);
    }
    for (source, rule) in sources.rules() {
        let file = source.file_of(&rule.id);
        if let Some(other) = rules.get(rule.id.as_str()) {
            say(&file, format!("id `{}` is used by {} already", rule.id, other.display()));
        }
        rules.insert(&rule.id, file);
    }
    sources.problems.append(&mut problems);
}

/// Rules that are ready to judge: what was compiled now from folders and files, and packs that were compiled before.
pub(crate) struct Ready {
    packs: Vec<Pack>,
}

/// A rule of one of the packs.
#[derive(Clone, Copy)]
pub(crate) struct Chosen<'r> {
    pub(crate) pack: &'r Pack,
    pub(crate) rule: RuleId,
}

impl Ready {
    pub(crate) fn packs(&self) -> &[Pack] {
        &self.packs
    }

    /// All rules, without the requirements of mandatory baselines, in the order of their ids.
    pub(crate) fn rules(&self) -> Vec<Chosen<'_>> {
        let all = self.packs.iter().flat_map(|pack| pack.rules().map(move |rule| Chosen { pack, rule }));
        let mut rules: Vec<_> = all.filter(|c| !c.pack.rule(c.rule).requirement).collect();
        rules.sort_by_key(|c| c.pack.rule_id(c.rule));
        rules
    }

    pub(crate) fn find(&self, id: &str) -> Result<Chosen<'_>, Usage> {
        let rules = self.rules();
        let found = rules.iter().find(|c| c.pack.rule_id(c.rule) == id).copied();
        found.ok_or_else(|| Usage(format!("no rule `{id}` in these packs{}", hint(id, rules.iter().map(|c| c.pack.rule_id(c.rule))))))
    }
}

/// Reads rules to judge with. Problems of rules are told on stderr, and are an error: half a baseline is not a baseline.
pub(crate) fn ready(paths: &[PathBuf], streams: &Streams, limits: &Limits) -> anyhow::Result<Ready> {
    let (mut compiled, mut written) = (Vec::new(), Vec::new());
    for path in paths {
        if is_compiled(path)? { compiled.push(path) } else { written.push(path.clone()) }
    }
    let mut packs = Vec::new();
    if !written.is_empty() || streams.given().is_some() {
        packs.push(Pack::from_bytes(sound(&written, streams, limits)?.compile())?);
    }
    for path in compiled {
        packs.push(Pack::open(path).with_context(|| format!("`{}`", path.display()))?);
    }
    let ready = Ready { packs };
    let rules = ready.rules();
    if let Some([a, _]) = rules.array_windows().find(|[a, b]| a.pack.rule_id(a.rule) == b.pack.rule_id(b.rule)) {
        bail!("rule `{}` is in two of the given packs; give it once", a.pack.rule_id(a.rule));
    }
    Ok(ready)
}

/// Packs as written, without problems.
pub(crate) fn sound(paths: &[PathBuf], streams: &Streams, limits: &Limits) -> anyhow::Result<Sources> {
    let sources = read(paths, streams, limits)?;
    sources.problems.iter().for_each(|p| output::note(format_args!("{p}")));
    match sources.problems.len() {
        0 => Ok(sources),
        n => bail!("the rules have {n} problem(s), mend them first"),
    }
}

/// By its content: compiled packs may have any name.
fn is_compiled(path: &Path) -> anyhow::Result<bool> {
    let fail = || format!("cannot read `{}`", path.display());
    if std::fs::metadata(path).with_context(fail)?.is_dir() {
        return Ok(false);
    }
    let mut start = Vec::new();
    let length = u64::try_from(wire::MAGIC.len()).unwrap_or(0);
    std::fs::File::open(path).and_then(|f| f.take(length).read_to_end(&mut start)).with_context(fail)?;
    Ok(start == wire::MAGIC)
}
