//! Results of any scanner, for the record: a bare `TestResult`, a `Benchmark` that holds one, a collection (ARF).

use crate::judge::Verdict;
use crate::limits::Limits;
use crate::xml::scan::{ScanError, Scanner, Tag, Token};

/// What a `TestResult` says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TestResultSummary {
    pub id: String,
    pub benchmark_id: String,
    pub benchmark_href: String,
    pub benchmark_version: String,
    /// Empty: the benchmark without a profile.
    pub profile: String,
    pub title: String,
    pub target: String,
    pub target_addresses: Vec<String>,
    /// `test-system`
    pub scanner: String,
    pub start: String,
    pub end: String,
    /// In document order. A rule may stand more than once (`multi-check`).
    pub rules: Vec<RuleSummary>,
    pub scores: Vec<Score>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuleSummary {
    pub id: String,
    pub verdict: Verdict,
    pub severity: String,
    pub time: String,
    /// (system, value)
    pub idents: Vec<(String, String)>,
    pub message: String,
    /// The definition that was checked, as `check-content-ref` names it.
    pub check: String,
}

#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    pub system: String,
    pub score: f64,
    pub maximum: f64,
}

/// Every result in a document. What a collection repeats of its request (the benchmark as published) is passed over.
pub fn read_results(text: &str, limits: &Limits) -> Result<Vec<TestResultSummary>, ScanError> {
    let mut reader = Reader { scanner: Scanner::new(text, limits), left: limits.rows };
    let mut all = Vec::new();
    loop {
        match reader.scanner.next()? {
            Token::Open(tag) if tag.name == "TestResult" => all.push(reader.result(&tag)?),
            Token::Open(tag) if tag.name == "report-requests" => reader.scanner.skip(&tag)?,
            Token::End if all.is_empty() => return reader.scanner.refuse("there is no <TestResult> in this document"),
            Token::End => return Ok(all),
            _ => {}
        }
    }
}

struct Reader<'x> {
    scanner: Scanner<'x>,
    /// How many rules, addresses, scores and idents may still come.
    left: usize,
}

impl<'x> Reader<'x> {
    fn part(&mut self) -> Result<(), ScanError> {
        match self.left.checked_sub(1) {
            Some(left) => self.left = left,
            None => return self.scanner.refuse("more rule results than are taken (limits.rows)"),
        }
        Ok(())
    }

    fn value(&mut self, tag: &Tag<'x>) -> Result<String, ScanError> {
        Ok(self.scanner.value(tag)?.trim().to_owned())
    }

    fn result(&mut self, tag: &Tag<'x>) -> Result<TestResultSummary, ScanError> {
        let mut read = TestResultSummary {
            id: said(tag, "id"),
            benchmark_version: said(tag, "version"),
            scanner: said(tag, "test-system"),
            start: said(tag, "start-time"),
            end: said(tag, "end-time"),
            ..TestResultSummary::default()
        };
        if tag.empty {
            return self.scanner.refuse("a TestResult without results");
        }
        while let Some(tag) = self.scanner.child()? {
            match tag.name {
                "benchmark" => {
                    (read.benchmark_id, read.benchmark_href) = (said(&tag, "id"), said(&tag, "href"));
                    self.scanner.skip(&tag)?;
                }
                "profile" => {
                    read.profile = said(&tag, "idref");
                    self.scanner.skip(&tag)?;
                }
                "title" => read.title = self.value(&tag)?,
                "target" => read.target = self.value(&tag)?,
                "target-address" => {
                    self.part()?;
                    let address = self.value(&tag)?;
                    read.target_addresses.push(address);
                }
                "rule-result" => {
                    self.part()?;
                    let rule = self.rule(&tag)?;
                    read.rules.push(rule);
                }
                "score" => {
                    self.part()?;
                    let score = self.score(&tag)?;
                    read.scores.push(score);
                }
                _ => self.scanner.skip(&tag)?,
            }
        }
        Ok(read)
    }

    fn rule(&mut self, tag: &Tag<'x>) -> Result<RuleSummary, ScanError> {
        let id = said(tag, "idref");
        if id.is_empty() {
            return self.scanner.refuse("a rule-result without `idref`");
        }
        let (severity, time) = (said(tag, "severity"), said(tag, "time"));
        let (mut verdict, mut idents, mut message, mut check) = (None, Vec::new(), String::new(), String::new());
        while !tag.empty {
            let Some(tag) = self.scanner.child()? else { break };
            match tag.name {
                "result" => {
                    let said = self.value(&tag)?;
                    verdict = Verdict::by_name(&said);
                    if verdict.is_none() {
                        return self.scanner.refuse(format!("`{said}` is not a result of XCCDF"));
                    }
                }
                "ident" => {
                    self.part()?;
                    let system = said(&tag, "system");
                    idents.push((system, self.value(&tag)?));
                }
                "message" if message.is_empty() => message = self.value(&tag)?,
                "check" => self.check(&tag, &mut check)?,
                _ => self.scanner.skip(&tag)?,
            }
        }
        let Some(verdict) = verdict else { return self.scanner.refuse(format!("the rule-result of {id} has no result")) };
        Ok(RuleSummary { id, verdict, severity, time, idents, message, check })
    }

    fn check(&mut self, tag: &Tag<'x>, check: &mut String) -> Result<(), ScanError> {
        while !tag.empty {
            let Some(tag) = self.scanner.child()? else { break };
            if tag.name == "check-content-ref" && check.is_empty() {
                *check = said(&tag, "name");
            }
            self.scanner.skip(&tag)?;
        }
        Ok(())
    }

    fn score(&mut self, tag: &Tag<'x>) -> Result<Score, ScanError> {
        let number = |text: &str| text.trim().parse::<f64>().ok().filter(|n| n.is_finite());
        let maximum = tag.attribute("maximum").map_or(Some(100.0), |m| number(&m));
        let (system, text) = (said(tag, "system"), self.value(tag)?);
        match (number(&text), maximum) {
            (Some(score), Some(maximum)) => Ok(Score { system, score, maximum }),
            _ => self.scanner.refuse(format!("the score `{text}` is not a number")),
        }
    }
}

fn said(tag: &Tag<'_>, attribute: &str) -> String {
    tag.attribute(attribute).map(|v| v.into_owned()).unwrap_or_default()
}
