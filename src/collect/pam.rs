//! `pam`: the lines of the files in pam.d, in their order.

use super::{Gathered, Host, row};
use crate::scan::Row;

/// The administrator's folder, then the vendor's; a file in the first hides the one of the same name.
const FOLDERS: [&str; 3] = ["/etc/pam.d", "/usr/etc/pam.d", "/usr/lib/pam.d"];
/// What editors and package managers leave beside a file; no program asks PAM for such a service.
const LEFTOVERS: [&str; 9] = ["~", ".bak", ".old", ".orig", ".rej", ".rpmnew", ".rpmorig", ".rpmsave", ".swp"];

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    let mut rows = Vec::new();
    let mut seen = std::collections::BTreeSet::new();
    for folder in FOLDERS {
        for service in host.root.names(folder)? {
            if service.starts_with('.') || service.contains(".dpkg-") || LEFTOVERS.iter().any(|l| service.ends_with(l)) {
                continue;
            }
            if !seen.insert(service.clone()) {
                continue;
            }
            let path = format!("{folder}/{service}");
            match host.root.text(&path) {
                Ok(text) => rows.extend(text.iter().flat_map(|t| parse(&service, t))),
                Err(why) => rows.push(row("pam").with("service", service).with_error(why)),
            }
        }
    }
    Ok(rows)
}

/// The lines of one file: `type control module arguments`, and Debian's `@include file`.
fn parse(service: &str, text: &str) -> Vec<Row> {
    let joined = text.replace("\\\n", " ");
    let lines = joined.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#'));
    lines
        .zip(1i64..)
        .map(|(line, n)| {
            let pam = row("pam").with("service", service).with("line", n);
            let (ty, rest) = word(line);
            if ty == "@include" {
                return pam.with("control", ty).with("module", word(rest).0);
            }
            let (control, rest) = match rest.starts_with('[').then(|| rest.split_once(']')).flatten() {
                Some((control, rest)) => (format!("{control}]"), rest.trim_start()),
                None => {
                    let (control, rest) = word(rest);
                    (control.to_owned(), rest)
                }
            };
            let (module, arguments) = word(rest);
            let module = module.rsplit('/').next().unwrap_or(module);
            pam.with("type", ty.trim_start_matches('-').to_ascii_lowercase())
                .with("control", control)
                .with("module", module)
                .with("arguments", arguments.split_whitespace().collect::<Vec<_>>().join(" "))
        })
        .collect()
}

fn word(text: &str) -> (&str, &str) {
    text.split_once(char::is_whitespace).map_or((text, ""), |(word, rest)| (word, rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_a_stack() {
        let text = "# c\nauth\t[success=1 default=ignore]\tpam_unix.so nullok\n-session optional /lib/security/pam_systemd.so\n\
            @include common-account\nauth required pam_faillock.so preauth \\\n  deny=5\n";
        let got: Vec<_> = parse("x", text).iter().map(ToString::to_string).collect();
        assert_eq!(
            got,
            [
                r#"pam{"service":"x","type":"auth","control":"[success=1 default=ignore]","module":"pam_unix.so","arguments":"nullok","line":1}"#,
                r#"pam{"service":"x","type":"session","control":"optional","module":"pam_systemd.so","arguments":"","line":2}"#,
                r#"pam{"service":"x","control":"@include","module":"common-account","line":3}"#,
                r#"pam{"service":"x","type":"auth","control":"required","module":"pam_faillock.so","arguments":"preauth deny=5","line":4}"#,
            ]
        );
    }
}
