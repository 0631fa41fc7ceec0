//! The packs of a configuration: `folders and compiled files -> one compiled pack`, every problem at once.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::config::Config;
use crate::pack::{Pack, ScapPack, Sources, merge, wire};
use crate::rule::stream::read_stream;
use crate::rule::{RulePack, read_folder};

/// Where compiled packs lie in the data folder.
const FOLDER: &str = "packs";
const EXTENSION: &str = "musterpack";

/// The compiled bytes of everything that the configuration names, or what is wrong with it.
pub fn build(config: &Config) -> Result<Vec<u8>, Vec<String>> {
    let (mut packs, mut compiled, mut problems): (Vec<RulePack>, Vec<Pack>, Vec<String>) = Default::default();
    for path in &config.packs {
        if path.is_file() && path.extension().is_some_and(|e| e == EXTENSION) {
            match Pack::open(path) {
                Ok(pack) => compiled.push(pack),
                Err(e) => problems.push(format!("{}: {e}", path.display())),
            }
            continue;
        }
        let (pack, diagnostics) = read_folder(path, &config.limits);
        packs.extend(pack);
        problems.extend(diagnostics.iter().map(ToString::to_string));
    }
    let mut scap: Vec<ScapPack> = Vec::new();
    for stream in &config.scap {
        let (baselines, diagnostics) = read_stream(stream, &config.limits);
        problems.extend(diagnostics.iter().map(ToString::to_string));
        for note in baselines.iter().flat_map(|b| b.baseline.notes.iter().chain(&b.notes)) {
            tracing::info!(content = %stream.content.display(), note, "SCAP content that cannot be evaluated in full");
        }
        scap.extend(baselines);
    }
    problems.extend(clashes(&packs, &scap, &compiled));
    let written = packs.iter().map(|p| p.rules.len()).chain(scap.iter().map(|s| s.info.rules));
    let rules = written.chain(compiled.iter().map(Pack::rule_count)).sum::<usize>();
    let requirements = config.policy().requirements();
    if rules + requirements.len() > config.limits.rules {
        problems.push(format!(
            "the packs and baselines have {} rules, over the limit of {} (limits.rules)",
            rules + requirements.len(),
            config.limits.rules
        ));
    }
    if problems.is_empty() {
        Ok(merge(&Sources { written: &packs, scap: &scap, compiled: &compiled, requirements: &requirements }))
    } else {
        Err(problems)
    }
}

/// Rules and packs that are there twice: which of them counts must not be chance.
fn clashes(packs: &[RulePack], scap: &[ScapPack], compiled: &[Pack]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut profiles = BTreeSet::new();
    for pack in scap.iter().filter(|p| !profiles.insert(&p.info.id)) {
        problems.push(format!("the profile `{}` is judged twice; give it once", pack.info.id));
    }
    let mut owners: BTreeMap<&str, &str> = BTreeMap::new();
    let written = packs.iter().flat_map(|p| p.rules.iter().map(|r| (r.id.as_str(), p.id.as_str())));
    let metas = compiled.iter().flat_map(|p| p.rules().filter(|r| !p.rule(*r).requirement).map(|r| p.meta(r)));
    for (rule, pack) in written.chain(metas.map(|m| (m.id.as_str(), m.pack.as_str()))) {
        if let Some(other) = owners.insert(rule, pack) {
            problems.push(format!(
                "the rule `{rule}` is in the pack `{other}` and in the pack `{pack}`; ids of rules are unique over all packs"
            ));
        }
    }
    problems
}

/// What the policy wants of a pack that it does not have.
pub fn check(config: &Config, pack: &Pack) -> Result<(), Vec<String>> {
    let problems = config.policy().problems(pack);
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Compiles into the data folder and maps the result.
pub fn place(config: &Config) -> Result<Arc<Pack>, Vec<String>> {
    place_built(config, &build(config)?)
}

/// The second half of it.
pub fn place_built(config: &Config, bytes: &[u8]) -> Result<Arc<Pack>, Vec<String>> {
    let path = wire::write_file(&config.data.join(FOLDER), bytes).map_err(|e| vec![e.to_string()])?;
    let pack = Pack::open(&path).map_err(|e| vec![format!("{}: {e}", path.display())])?;
    check(config, &pack)?;
    Ok(Arc::new(pack))
}

fn file(data: &Path, digest: &str) -> PathBuf {
    data.join(FOLDER).join(format!("{digest}.{EXTENSION}"))
}

/// The compiled pack of a digest, if it is still there and still what it was.
pub fn stored(data: &Path, digest: &str) -> Option<Arc<Pack>> {
    match Pack::open(&file(data, digest)) {
        Ok(pack) if pack.digest() == digest => Some(Arc::new(pack)),
        Ok(_) => None,
        Err(error) => {
            tracing::warn!(digest, %error, "the pack of the stored verdicts is not there; all endpoints are judged anew");
            None
        }
    }
}

/// Takes away compiled packs other than the present one. What is mapped stays readable.
pub fn forget_others(data: &Path, digest: &str) {
    let present = file(data, digest);
    let Ok(entries) = std::fs::read_dir(data.join(FOLDER)) else { return };
    for path in entries.filter_map(|e| Some(e.ok()?.path())) {
        if path.extension().is_some_and(|e| e == EXTENSION)
            && path != present
            && let Err(error) = std::fs::remove_file(&path)
        {
            tracing::warn!(path = %path.display(), %error, "an old compiled pack stays");
        }
    }
}
