//! `sshd`: the SSH server's configuration, read the way sshd does: the first value of a keyword wins, some add up, `Include`
//! is followed, and what stands in Match blocks is left out. Defaults that are not written down are not in the table.

use std::collections::BTreeMap;

use super::root::{FILE_BYTES, is_absent, lossy, why};
use super::{Gathered, Host, row};

/// openSUSE keeps the vendor's file below /usr.
const PLACES: [&str; 2] = ["/etc/ssh/sshd_config", "/usr/etc/ssh/sshd_config"];
/// As in sshd.
const DEPTH: usize = 16;
/// Files read in all; an `Include` of its own folder would otherwise multiply.
const FILES: usize = 1000;

/// Each line of these adds to the ones before.
const ADD_UP: [&str; 11] = [
    "acceptenv",
    "allowgroups",
    "allowusers",
    "denygroups",
    "denyusers",
    "hostcertificate",
    "hostkey",
    "listenaddress",
    "port",
    "setenv",
    "subsystem",
];

/// Words that sshd compares without case.
const WORDS: [&str; 15] = [
    "yes",
    "no",
    "true",
    "false",
    "all",
    "any",
    "none",
    "local",
    "remote",
    "delayed",
    "prohibit-password",
    "without-password",
    "forced-commands-only",
    "clientspecified",
    "point-to-point",
];

pub(super) fn collect(host: &Host<'_>) -> Gathered {
    let mut reader = Reader { host, files: 0, settings: BTreeMap::new() };
    for path in PLACES {
        if reader.file(path, &mut true, 0)? {
            break;
        }
    }
    Ok(reader.settings.into_iter().map(|(key, value)| row("sshd").with("key", key).with("value", value)).collect())
}

struct Reader<'h> {
    host: &'h Host<'h>,
    files: usize,
    settings: BTreeMap<String, String>,
}

impl Reader<'_> {
    /// Reads a file, and says whether it is there.
    fn file(&mut self, path: &str, active: &mut bool, depth: usize) -> Result<bool, String> {
        self.files += 1;
        if depth > DEPTH || self.files > FILES {
            return Err(format!("{path}: too many includes"));
        }
        let text = match self.host.root.read(path, FILE_BYTES) {
            Ok(bytes) => lossy(bytes),
            Err(e) if is_absent(&e) => return Ok(false),
            Err(e) => return Err(format!("{path}: {}", why(&e))),
        };
        for line in text.lines() {
            let Some((key, arguments)) = parse_line(line) else { continue };
            match key.as_str() {
                "match" => *active = arguments.len() == 1 && arguments.iter().all(|a| a.eq_ignore_ascii_case("all")),
                "include" if *active => self.include(&arguments, depth)?,
                _ if *active => self.set(key, &arguments),
                _ => {}
            }
        }
        Ok(true)
    }

    /// A Match block that begins in an included file ends with it.
    fn include(&mut self, patterns: &[String], depth: usize) -> Result<(), String> {
        for pattern in patterns {
            let pattern = if pattern.starts_with('/') { pattern.clone() } else { format!("/etc/ssh/{pattern}") };
            let found = self.host.root.expand(&pattern);
            if let Some(problem) = found.problem {
                return Err(problem);
            }
            for path in found.paths {
                // glob(3) passes over hidden files.
                if !path.rsplit('/').next().is_some_and(|n| n.starts_with('.')) {
                    self.file(&path, &mut true, depth + 1)?;
                }
            }
        }
        Ok(())
    }

    fn set(&mut self, key: String, arguments: &[String]) {
        let value = match arguments {
            [one] if WORDS.iter().any(|w| w.eq_ignore_ascii_case(one)) => one.to_ascii_lowercase(),
            many => many.join(" "),
        };
        let adds = ADD_UP.contains(&key.as_str());
        match self.settings.get_mut(&key) {
            None => drop(self.settings.insert(key, value)),
            Some(first) if adds => first.extend([" ", value.as_str()]),
            Some(_) => {}
        }
    }
}

/// The keyword, in lower case and under its present name, and its arguments.
fn parse_line(line: &str) -> Option<(String, Vec<String>)> {
    let line = line.trim();
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    let (key, rest) = line.split_once(|c: char| c == '=' || c.is_whitespace()).unwrap_or((line, ""));
    let key = key.trim_matches('"').to_ascii_lowercase();
    let rest = rest.trim_start();
    Some((present_name(key), arguments(rest.strip_prefix('=').unwrap_or(rest))))
}

/// sshd takes these old names for the new ones.
fn present_name(key: String) -> String {
    match key.as_str() {
        "challengeresponseauthentication" | "skeyauthentication" => "kbdinteractiveauthentication".into(),
        "dsaauthentication" => "pubkeyauthentication".into(),
        "hostbasedacceptedkeytypes" => "hostbasedacceptedalgorithms".into(),
        "hostdsakey" => "hostkey".into(),
        "keepalive" => "tcpkeepalive".into(),
        "pubkeyacceptedkeytypes" => "pubkeyacceptedalgorithms".into(),
        _ => key,
    }
}

/// Words parted by blanks; quotes hold them together, a `#` that begins a word begins a comment.
fn arguments(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match quote {
            Some(q) if c == q => quote = None,
            None if c.is_whitespace() => words.extend(word.take()),
            None if c == '#' && word.is_none() => break,
            None if c == '"' || c == '\'' => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            _ => {
                let escaped = c == '\\' && chars.peek().is_some_and(|n| matches!(n, '"' | '\'' | '\\' | ' '));
                word.get_or_insert_default().extend(if escaped { chars.next() } else { Some(c) });
            }
        }
    }
    words.extend(word);
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collect::tests::Tree;

    #[test]
    fn lines() {
        let one = |line: &str| parse_line(line).map(|(k, a)| format!("{k}:{}", a.join("|")));
        assert_eq!(one("PermitRootLogin no # why").as_deref(), Some("permitrootlogin:no"));
        assert_eq!(one("port=22").as_deref(), Some("port:22"));
        assert_eq!(one("Port = 22").as_deref(), Some("port:22"));
        assert_eq!(one("Banner \"/etc/my banner\" x").as_deref(), Some("banner:/etc/my banner|x"));
        assert_eq!(one("SetEnv A=b C=\"d e\"").as_deref(), Some("setenv:A=b|C=d e"));
        assert_eq!(one("ChallengeResponseAuthentication no").as_deref(), Some("kbdinteractiveauthentication:no"));
        assert_eq!(one("  # comment"), None);
    }

    #[test]
    fn first_wins_includes_and_match_blocks() {
        let tree = Tree::new(&[
            (
                "etc/ssh/sshd_config",
                "Include sshd_config.d/*.conf\nPermitRootLogin yes\nPort 22\nPort 2222\nMatch User a\nX11Forwarding yes\nInclude more\n\
                 Match all\nMaxAuthTries 4\n",
            ),
            ("etc/ssh/sshd_config.d/10-a.conf", "PermitRootLogin NO\nAllowUsers a b\nMatch Group g\nBanner none\n"),
            ("etc/ssh/sshd_config.d/20-b.conf", "AllowUsers c\nLogLevel VERBOSE\n"),
            ("etc/ssh/more", "UseDNS yes\n"),
        ]);
        let rows = tree.with_host(|host| collect(host).unwrap());
        let got: Vec<_> = rows.iter().map(|r| format!("{}={}", r.get("key").as_str().unwrap(), r.get("value").as_str().unwrap())).collect();
        assert_eq!(got, ["allowusers=a b c", "loglevel=VERBOSE", "maxauthtries=4", "permitrootlogin=no", "port=22 2222"]);
    }

    #[test]
    fn a_file_that_includes_itself_is_an_error() {
        let tree = Tree::new(&[("etc/ssh/sshd_config", "Include sshd_config\n")]);
        assert!(tree.with_host(|host| collect(host).is_err()));
        assert!(Tree::new(&[]).with_host(|host| collect(host).unwrap().is_empty()));
    }
}
