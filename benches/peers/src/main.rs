//! Rules and scans in, answers and times out: the same rules in the interpreter of the crate `cel` and in `regorus`.
//!
//! The first line of the input is what there is: `{"scans":[{VIEW: table}],"rules":[{"when","check","bind":{TABLE: VIEW}}],"rego":POLICY}`. Each line after it is
//! a question, `ENGINE SCAN time` or `ENGINE SCAN answers`, and gets one line: nanoseconds, or a list of `p` (holds), `f` (does not), `n` (does not apply), `m`
//! (cannot be told). Everything is parsed and compiled before; `cargo bench --bench ratios -- engines` asks.

use std::collections::{BTreeMap, HashMap};
use std::io::BufRead;
use std::sync::Arc;
use std::time::Instant;

use cel::{Context, Program};
use serde::Deserialize;
use serde_json::Value as Json;

#[derive(Deserialize)]
struct Given {
    scans: Vec<BTreeMap<String, Json>>,
    rules: Vec<Rule>,
    rego: String,
}

#[derive(Deserialize)]
struct Rule {
    when: Option<String>,
    check: String,
    /// What the tables of its text stand for.
    bind: BTreeMap<String, String>,
}

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<(), Failure> {
    let mut lines = std::io::stdin().lock().lines();
    let given: Given = serde_json::from_str(&lines.next().ok_or("nothing was given")??)?;
    let cel: Vec<Cel> = given.scans.iter().map(|scan| Cel::new(&given.rules, scan)).collect::<Result<_, _>>()?;
    let rego = Rego::new(&given)?;
    for line in lines {
        let line = line?;
        let [engine, scan, what] = line.split(' ').collect::<Vec<_>>()[..] else { return Err(format!("`{line}` is no question").into()) };
        let scan: usize = scan.parse()?;
        let begun = Instant::now();
        let answers = match engine {
            "cel" => cel.get(scan).ok_or("no such scan")?.evaluate(),
            _ => rego.evaluate(scan)?,
        };
        let took = begun.elapsed();
        match what {
            "time" => println!("{}", took.as_nanos()),
            _ => println!("{}", serde_json::to_string(&answers)?),
        }
    }
    Ok(())
}

/// Programs, each with the variables that it sees.
struct Cel {
    contexts: Vec<Context<'static, 'static>>,
    rules: Vec<(usize, Option<Program>, Program)>,
}

impl Cel {
    fn new(rules: &[Rule], scan: &BTreeMap<String, Json>) -> Result<Cel, Failure> {
        let mut out = Cel { contexts: Vec::new(), rules: Vec::new() };
        let mut known: HashMap<&BTreeMap<String, String>, usize> = HashMap::new();
        for rule in rules {
            let at = *known.entry(&rule.bind).or_insert_with(|| {
                let mut context = Context::default();
                for (table, view) in &rule.bind {
                    if let Some(view) = scan.get(view) {
                        context.add_variable_from_value(table.clone(), value(view));
                    }
                }
                out.contexts.push(context);
                out.contexts.len() - 1
            });
            let compiled = |text: &str| Program::compile(text).map_err(|e| format!("`{text}`: {e}"));
            out.rules.push((at, rule.when.as_deref().map(compiled).transpose()?, compiled(&rule.check)?));
        }
        Ok(out)
    }

    fn evaluate(&self) -> Vec<&'static str> {
        let one = |(context, when, check): &(usize, Option<Program>, Program)| {
            let context = &self.contexts[*context];
            match when.as_ref().map(|when| when.execute(context)) {
                // A thing that is not there is a thing that the rule is not about.
                Some(Ok(cel::Value::Bool(false)) | Err(cel::ExecutionError::NoSuchKey(_))) => return "n",
                Some(Ok(cel::Value::Bool(true))) | None => {}
                Some(_) => return "m",
            }
            match check.execute(context) {
                Ok(cel::Value::Bool(true)) => "p",
                Ok(cel::Value::Bool(false)) => "f",
                Err(cel::ExecutionError::NoSuchKey(_)) => "m",
                other => {
                    if std::env::var_os("MUSTER_PEERS_VERBOSE").is_some() {
                        eprintln!("cel: {other:?}");
                    }
                    "m"
                }
            }
        };
        self.rules.iter().map(one).collect()
    }
}

fn value(json: &Json) -> cel::Value {
    match json {
        Json::Null => cel::Value::Null,
        Json::Bool(b) => cel::Value::Bool(*b),
        Json::Number(n) => cel::Value::Int(n.as_i64().unwrap_or(0)),
        Json::String(s) => cel::Value::String(Arc::new(s.clone())),
        Json::Array(items) => cel::Value::List(Arc::new(items.iter().map(value).collect())),
        Json::Object(fields) => {
            let fields: HashMap<String, cel::Value> = fields.iter().map(|(k, v)| (k.clone(), value(v))).collect();
            cel::Value::Map(fields.into())
        }
    }
}

/// The policy, and the scans as its input.
struct Rego {
    policy: regorus::CompiledPolicy,
    inputs: Vec<regorus::Value>,
}

const ANSWERS: [&str; 4] = ["p", "f", "n", "m"];

impl Rego {
    fn new(given: &Given) -> Result<Rego, Failure> {
        let mut engine = regorus::Engine::new();
        engine.set_strict_builtin_errors(false);
        engine.add_policy("muster.rego".to_owned(), given.rego.clone()).map_err(|e| e.to_string())?;
        let policy = engine.compile_with_entrypoint(&"data.muster.verdicts".into()).map_err(|e| e.to_string())?;
        let input =
            |scan: &BTreeMap<String, Json>| regorus::Value::from_json_str(&serde_json::to_string(scan)?).map_err(|e| e.to_string().into());
        Ok(Rego { policy, inputs: given.scans.iter().map(input).collect::<Result<_, Failure>>()? })
    }

    fn evaluate(&self, scan: usize) -> Result<Vec<&'static str>, Failure> {
        let input = self.inputs.get(scan).ok_or("no such scan")?.clone();
        let answers = self.policy.eval_with_input(input).map_err(|e| e.to_string())?;
        let answers = answers.as_array().map_err(|e| e.to_string())?;
        let one = |answer: &regorus::Value| {
            let said = answer.as_string().ok()?;
            ANSWERS.into_iter().find(|a| **a == **said)
        };
        Ok(answers.iter().map(|a| one(a).unwrap_or("m")).collect())
    }
}
