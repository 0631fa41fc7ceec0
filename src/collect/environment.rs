//! `environment`: variables of the collecting process, by name or by pattern.

use super::asked::scope;
use super::{Gap, Gathered, Host, item::Pattern, row, secrets, table};
use crate::limits::Limits;
use crate::scan::Row;

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    let items = host.asks.get(&table("environment")).ok_or(Gap::NotAsked)?;
    // The variables of this process say nothing of another root.
    if !host.root.is_live() {
        return Err(Gap::NotAsked);
    }
    let variables = std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.to_string_lossy().into_owned())));
    Ok(rows(items, &variables.collect::<Vec<_>>(), host.limits))
}

fn rows(items: &[String], variables: &[(String, String)], limits: &Limits) -> Vec<Row> {
    let mut rows = Vec::new();
    for item in items {
        let pattern = item.starts_with('^').then(|| Pattern::new(item, limits)).transpose();
        let (mut present, mut problem) = (false, None);
        for (name, value) in variables {
            let matches = match &pattern {
                Ok(Some(pattern)) => pattern.is_match(name),
                Ok(None) => Ok(name == item),
                Err(why) => Err(why.clone()),
            };
            match matches {
                Ok(false) => continue,
                Err(why) => problem = Some(why),
                Ok(true) if secrets::is_secret_name(name) => problem = Some(format!("{name} may hold a secret, it is not uploaded")),
                Ok(true) => {
                    present = true;
                    let row = row("environment").with("name", name.as_str()).with("value", value.as_str());
                    if !rows.contains(&row) {
                        rows.push(row);
                    }
                }
            }
        }
        rows.push(scope("environment", item, present, problem));
    }
    rows
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_patterns() {
        let variables = [("PATH", "/bin"), ("PATHEXT", "x"), ("API_TOKEN", "s3cret")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let items = ["PATH", "^PATH", "NONE", "API_TOKEN", "^("].map(str::to_owned);
        let rows: Vec<_> = rows(&items, &variables, &Limits::default()).iter().map(ToString::to_string).collect();
        assert_eq!(
            rows[..6],
            [
                r#"environment{"name":"PATH","value":"/bin"}"#,
                r#"scope{"table":"environment","item":"PATH","state":"present"}"#,
                r#"environment{"name":"PATHEXT","value":"x"}"#,
                r#"scope{"table":"environment","item":"^PATH","state":"present"}"#,
                r#"scope{"table":"environment","item":"NONE","state":"absent"}"#,
                r#"scope{"table":"environment","item":"API_TOKEN","state":"error","message":"API_TOKEN may hold a secret, it is not uploaded"}"#,
            ]
        );
        assert!(rows[6].contains("pattern "), "{}", rows[6]);
        assert_eq!(rows.len(), 7);
    }
}
