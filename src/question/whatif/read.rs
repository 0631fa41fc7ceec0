//! The rules that a what-if is about: texts as they are written, or a compiled pack. `Body -> Pack`.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::limits::Limits;
use crate::pack::{Pack, compile};
use crate::question::{QuestionError, Scope};
use crate::rule::{Source, SourceFile, read_pack};

/// A rule's file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleText {
    /// `<id of the rule>.yaml`, or `pack.yaml`.
    pub file: String,
    pub text: String,
}

/// Rules, and which endpoints are asked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Body {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleText>,
    /// In their place a compiled pack, in base64.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compiled: Option<String>,
    /// They are all rules that there would be; else those of the present packs stay that have other ids.
    pub replace: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub group: Option<String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub platform: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fresh: Option<String>,
    /// Rules that are listed at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub limit: Option<usize>,
}

const PACK_FILE: &str = "pack.yaml";

impl Body {
    pub fn scope(&self) -> Scope {
        Scope { group: self.group.clone(), labels: self.labels.clone(), platform: self.platform.clone(), fresh: self.fresh.clone() }
    }

    pub(super) fn pack(&self, limits: &Limits) -> Result<Pack, QuestionError> {
        let bad = |message: String| QuestionError::Bad(message);
        let bytes = match (&self.compiled, self.rules.is_empty()) {
            (Some(compiled), true) => STANDARD.decode(compiled).map_err(|e| bad(format!("`compiled` is not base64: {e}")))?,
            (None, false) => self.compile(limits)?,
            _ => return Err(bad("give `rules` or `compiled`, one of them".to_owned())),
        };
        let pack = Pack::from_bytes(bytes).map_err(|e| bad(format!("the rules: {e}")))?;
        if pack.rule_count() > limits.rules {
            return Err(bad(format!("{} rules, over the limit of {} (limits.rules)", pack.rule_count(), limits.rules)));
        }
        Ok(pack)
    }

    fn compile(&self, limits: &Limits) -> Result<Vec<u8>, QuestionError> {
        let file = |r: &RuleText| SourceFile { path: r.file.clone(), text: r.text.clone() };
        let is_head = |r: &&RuleText| r.file == PACK_FILE || r.file.ends_with("/pack.yaml");
        let head = self.rules.iter().find(is_head).map(file);
        let own = || SourceFile { path: PACK_FILE.to_owned(), text: "id: whatif\ntitle: whatif\nversion: 0.0.0\n".to_owned() };
        let rules = self.rules.iter().filter(|r| !is_head(r)).map(file).collect();
        let (pack, problems) = read_pack(&Source { pack: head.unwrap_or_else(own), rules }, limits);
        match pack {
            Some(pack) if problems.is_empty() => Ok(compile(&[pack], &[])),
            _ => Err(QuestionError::Problems { problems }),
        }
    }
}
