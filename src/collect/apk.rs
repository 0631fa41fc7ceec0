//! The apk database of Alpine: `P:`, `V:`, `A:` and `o:` lines of each block.

use super::Host;
use super::package::{Database, Package};

/// apk 3 moved it below /usr.
const PLACES: [&str; 2] = ["/lib/apk/db/installed", "/usr/lib/apk/db/installed"];

pub(super) fn read(host: &Host<'_>) -> Database {
    for path in PLACES {
        if let Some(text) = host.root.text(path)? {
            return parse(&text).map(Some).map_err(|why| format!("{path}: {why}"));
        }
    }
    Ok(None)
}

pub(super) fn parse(text: &str) -> Result<Vec<Package>, String> {
    let mut packages = Vec::new();
    let mut block = Package::default();
    for (line, n) in text.lines().chain([""]).zip(1usize..) {
        if line.is_empty() {
            let done = std::mem::take(&mut block);
            match (done.name.is_empty(), done.version.is_empty()) {
                (false, false) => packages.push(done),
                (true, true) => {}
                _ => return Err(format!("line {n}: a block without P or V")),
            }
            continue;
        }
        let (field, value) = line.split_once(':').ok_or_else(|| format!("line {n}: no field name"))?;
        match field {
            "P" => {
                block.name = value.into();
                block.source.get_or_insert_with(|| value.into());
            }
            "V" => block.version = value.into(),
            "A" => block.arch = Some(value.into()),
            "o" => block.source = Some(value.into()),
            _ => {}
        }
    }
    Ok(packages)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_the_database() {
        let text = "C:Q1abc=\nP:musl\nV:1.2.5-r0\nA:x86_64\no:musl\nF:lib\nR:ld.so\n\nP:ssl_client\nV:1.36.1-r2\nA:x86_64\no:busybox\n";
        let got = parse(text).unwrap();
        assert_eq!(got.len(), 2);
        assert_eq!((got[1].name.as_str(), got[1].version.as_str()), ("ssl_client", "1.36.1-r2"));
        assert_eq!(got[1].source.as_deref(), Some("busybox"));
        assert!(parse("P:a\n\n").is_err());
        assert!(parse("garbage\n").is_err());
        assert_eq!(parse("\n\n"), Ok(vec![]));
    }
}
