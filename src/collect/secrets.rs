//! What must not leave the host: password hashes are masked in every text, texts with private keys are not uploaded.
//!
//! A mask keeps the form of what it covers, so that what content asks of a line (the scheme, how many fields, `!` and `*`, empty) has the
//! same answer as on the host: every letter and digit of salt and hash becomes `x`, the scheme and its costs stay.
//! `$6$rounds=9000$Vxr1$nQ0...` becomes `$6$rounds=9000$xxxx$xxx...`.

use std::borrow::Cow;
use std::sync::LazyLock;

use regex::{Captures, Regex};

/// Where accounts keep hashes: the file's name without the `-` of its backup, and the field that holds them.
const FILES: [(&str, usize); 5] = [("shadow", 1), ("gshadow", 1), ("passwd", 1), ("group", 1), ("opasswd", 3)];
/// What a field without a hash may hold behind its `!` and `*`.
const NO_HASHES: [&str; 8] = ["", "x", "LK", "LK*", "NP", "NP*", "LOCK", "LOCKED"];

/// Hashes as they are written in files of any kind. Salts and hashes are the groups that cover them.
static HASHES: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(concat!(
        r"\$(?:apr)?1\$(?P<md5>[^$\s:]{0,16}\$[./A-Za-z0-9]{22})",
        r"|\$[56]\$(?:rounds=[0-9]+\$)?(?P<sha>[^$\s:]{0,32}\$(?:[./A-Za-z0-9]{86}|[./A-Za-z0-9]{43}))",
        r"|\$2[abxy]?\$[0-9]{2}\$(?P<bcrypt>[./A-Za-z0-9]{53})",
        r"|\$(?:y|gy|7|8|sm3y?|sha1|scrypt)\$(?:[./A-Za-z0-9=,]{1,32}\$)?(?P<other>[./A-Za-z0-9]{1,86}\$[./A-Za-z0-9+=]{26,})",
        r"|\$argon2[a-z]*\$(?:v=[0-9]+\$)?[a-z0-9=,]+\$(?P<argon>[./A-Za-z0-9+]+\$[./A-Za-z0-9+]{16,})",
        r"|grub\.pbkdf2\.sha[0-9]+\.[0-9]+\.(?P<grub>[0-9A-Fa-f]{16,}\.[0-9A-Fa-f]{16,})",
        r"|\{(?:S?(?:MD5|SHA)[0-9]*|SSHA[0-9]*|CRYPT|PBKDF2[-A-Z0-9]*)\}(?P<ldap>[./A-Za-z0-9+=]{13,})",
    ))
    .expect("a pattern that the tests compile")
});

/// Why the content of a file stays on the host.
pub(super) fn withheld(text: &str) -> Option<&'static str> {
    let key = text.lines().map(str::trim_start).any(|l| {
        let pem = l.strip_prefix("-----BEGIN ").or_else(|| l.strip_prefix("---- BEGIN "));
        pem.is_some_and(|rest| rest.contains("PRIVATE KEY") || rest.contains("ENCRYPTED PRIVATE")) || l.starts_with("PuTTY-User-Key-File-")
    });
    key.then_some("holds a private key, its content is not uploaded")
}

/// The text of a file with its hashes masked.
pub(super) fn mask<'t>(path: &str, text: &'t str) -> Cow<'t, str> {
    let name = path.rsplit('/').next().unwrap_or_default();
    let base = name.trim_end_matches(['-', '+', '~']).trim_end_matches(".bak").trim_end_matches(".org").trim_end_matches(".old");
    match FILES.iter().find(|(file, _)| *file == base) {
        Some((_, field)) => {
            let lines = text.split_inclusive('\n').map(|line| mask_line(line, *field));
            Cow::Owned(mask_anywhere(&lines.collect::<String>()).into_owned())
        }
        None => mask_anywhere(text),
    }
}

fn mask_line(line: &str, field: usize) -> String {
    let (line, end) = line.strip_suffix('\n').map_or((line, ""), |l| (l, "\n"));
    let fields = line.split(':').enumerate().map(|(n, value)| match n == field {
        true => value.split(',').map(mask_field).collect::<Vec<_>>().join(","),
        false => value.to_owned(),
    });
    fields.collect::<Vec<_>>().join(":") + end
}

/// A password field. `!`, `*`, `x` and empty stay what they are.
pub(super) fn mask_field(field: &str) -> String {
    let hash = field.trim_start_matches(['!', '*']);
    let marks = field.strip_suffix(hash).unwrap_or_default();
    if NO_HASHES.contains(&hash) {
        return field.to_owned();
    }
    let mut parts = hash.split('$');
    let masked = match (parts.next(), parts.next()) {
        (Some(""), Some(scheme)) if parts.clone().next().is_some() => {
            let kept = |part: &str| part.strip_prefix("rounds=").is_some_and(|n| n.bytes().all(|b| b.is_ascii_digit()));
            let cost = |part: &str| match scheme {
                "y" | "gy" | "7" => part.len() <= 8,
                "2" | "2a" | "2b" | "2x" | "2y" => part.len() == 2,
                "5" | "6" => kept(part),
                _ => false,
            };
            let last = parts.clone().count().saturating_sub(1);
            let rest =
                parts.enumerate().map(|(n, part)| if n == 0 && n < last && cost(part) { part.to_owned() } else { covered(part, 'x') });
            format!("${scheme}${}", rest.collect::<Vec<_>>().join("$"))
        }
        _ => covered(hash, 'x'),
    };
    format!("{marks}{masked}")
}

fn mask_anywhere(text: &str) -> Cow<'_, str> {
    HASHES.replace_all(text, |found: &Captures<'_>| {
        let whole = found.get(0).map_or("", |m| m.as_str());
        let secret = HASHES.capture_names().flatten().find_map(|name| Some((name, found.name(name)?)));
        match secret {
            // Content asks for hexadecimal digits there.
            Some((name, secret)) => {
                let head = whole.strip_suffix(secret.as_str()).unwrap_or_default();
                format!("{head}{}", covered(secret.as_str(), if name == "grub" { '0' } else { 'x' }))
            }
            None => whole.to_owned(),
        }
    })
}

fn covered(secret: &str, with: char) -> String {
    let kept = if with == '0' { '.' } else { '$' };
    secret.chars().map(|c| if c == kept { c } else { with }).collect()
}

/// Arguments that are secrets by their name. `--password=x`, `--token x`, `user:x@host`.
static ARGUMENTS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"(?i)((?:pass(?:word|wd|phrase|code)?|pwd|secret|token|credential|api[-_]?key|access[-_]?key)s?['\x22]?[=: ]\s*)[^\s]+|(://[^\s/:@]*:)[^\s/@]+@")
        .expect("a pattern that the tests compile")
});

/// A command line with the arguments masked that say of themselves that they are secrets.
pub(super) fn mask_command(command: &str) -> String {
    let masked = ARGUMENTS.replace_all(command, |found: &Captures<'_>| match (found.get(1), found.get(2)) {
        (Some(name), _) => format!("{}xxx", name.as_str()),
        (_, Some(url)) => format!("{}xxx@", url.as_str()),
        _ => String::new(),
    });
    mask_anywhere(&masked).into_owned()
}

/// Whether a variable says of itself that its value is a secret.
pub(super) fn is_secret_name(name: &str) -> bool {
    let name = name.to_ascii_uppercase();
    ["PASS", "PWD_", "SECRET", "TOKEN", "CREDENTIAL", "APIKEY", "API_KEY", "ACCESS_KEY", "PRIVATE_KEY"]
        .iter()
        .any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: usize) -> String {
        "aB3./".chars().cycle().take(n).collect()
    }

    #[test]
    fn fields() {
        let sha = format!("$6$salt${}", hash(86));
        for (field, masked) in [
            ("", ""),
            ("x", "x"),
            ("!", "!"),
            ("!!", "!!"),
            ("*", "*"),
            ("!*", "!*"),
            ("*LK*", "*LK*"),
            (sha.as_str(), format!("$6$xxxx${}", "x".repeat(86)).as_str()),
            (format!("!{sha}").as_str(), format!("!$6$xxxx${}", "x".repeat(86)).as_str()),
            ("$6$rounds=9000$a/$b.", "$6$rounds=9000$xx$xx"),
            ("$y$j9T$salt$hash", "$y$j9T$xxxx$xxxx"),
            ("$2b$12$abc", "$2b$12$xxx"),
            ("$1$a$b", "$1$x$x"),
            ("$5$rounds=7", "$5$xxxxxxxx"),
            ("abJnggxhB/yWI", "xxxxxxxxxxxxx"),
            ("plain pass", "xxxxxxxxxx"),
            ("$odd", "$xxx"),
            ("$zz$top$secret", "$zz$xxx$xxxxxx"),
        ] {
            assert_eq!(mask_field(field), masked, "{field}");
        }
    }

    /// What content asks of a line of shadow has the same answer before and after.
    #[test]
    fn patterns_answer_as_on_the_real_file() {
        let lines = [
            format!("root:$6$salt${}:19000:0:99999:7:::", hash(86)),
            format!("y:$y$j9T$salt${}:19000:0:99999:7:::", hash(43)),
            format!("root:!$6$rounds=5000$salt${}:19000:0:99999:7:30::", hash(86)),
            "daemon:*:19000:0:99999:7:::".to_owned(),
            "locked:!:19000::::::".to_owned(),
            "rh:!!:19000:0:99999:7:::".to_owned(),
            "root::19000:0:99999:7:::".to_owned(),
            format!("des:{}:19000:1:60:7:::", hash(13)),
        ];
        let patterns = [
            r"^([^:]+):[!*][^:]*:",
            r"^[^:]+:[^!*][^:]*:",
            r"^[^:]+::.*$",
            r"^(?:[^:]*:)(?:[^\!\*:]*:)(?:[^:]*:){2}(\d+):(?:[^:]*:){3}(?:[^:]*)$",
            r"^(?:[^:]*:)(?:[^\!\*:]+:)(?:[^:]*:){2}():(?:[^:]*:){3}(?:[^:]*)$",
            r"^root:(\$(y|[0-9].+)\$|!.*|\*.*).*$",
            r"^([^:]*):(?:[ \t\n\r\:\;\*\!\\]*):(?:[^:]*:){6}$",
            r"^[^:]+:\$6\$",
            r"^[^:]+:!*\$6\$rounds=5000\$[^$]+\$[./0-9A-Za-z]{86}:",
            r"^[^:]+:[./0-9A-Za-z]{13}:",
        ];
        for line in &lines {
            for path in ["/etc/shadow", "/etc/shadow-", "/srv/image/etc/gshadow"] {
                let masked = mask(path, line).into_owned();
                assert!(!masked.contains("aB3"), "{masked}");
                for pattern in patterns {
                    let regex = Regex::new(pattern).unwrap();
                    assert_eq!(regex.is_match(line), regex.is_match(&masked), "{pattern} on {line} and {masked}");
                }
            }
        }
        let text = lines.join("\n") + "\n";
        assert_eq!(mask("/etc/shadow", &text).lines().count(), lines.len());
        assert!(mask("/etc/shadow", &text).ends_with('\n'));
    }

    #[test]
    fn hashes_in_other_files() {
        let sha = format!("$6$salt${}", hash(86));
        let grub = format!("grub.pbkdf2.sha512.10000.{}.{}", "AB12".repeat(32), "CD34".repeat(32));
        let text = format!("rootpw --iscrypted {sha}\npassword_pbkdf2 root {grub}\nolcRootPW: {{SSHA}}{}\nPATH=$1$2$PATH\n", hash(32));
        let masked = mask("/srv/ks.cfg", &text);
        assert!(masked.contains(&format!("$6$xxxx${}\n", "x".repeat(86))), "{masked}");
        assert!(masked.contains(&format!("sha512.10000.{}.{}\n", "0".repeat(128), "0".repeat(128))), "{masked}");
        assert!(masked.contains(&format!("{{SSHA}}{}\n", "x".repeat(32))), "{masked}");
        assert!(masked.ends_with("PATH=$1$2$PATH\n"));
        assert_eq!(mask("/etc/security/opasswd", "a:1000:2:$1$a$b,$1$c$d\n"), "a:1000:2:$1$x$x,$1$x$x\n");
        assert!(matches!(mask("/etc/profile", "umask 027\n"), Cow::Borrowed(_)));
    }

    #[test]
    fn private_keys_stay() {
        assert!(withheld("-----BEGIN OPENSSH PRIVATE KEY-----\nb3Bl\n").is_some());
        assert!(withheld("cert\n  -----BEGIN RSA PRIVATE KEY-----\n").is_some());
        assert!(withheld("-----BEGIN PGP PRIVATE KEY BLOCK-----\n").is_some());
        assert!(withheld("-----BEGIN CERTIFICATE-----\n# PRIVATE KEY\n").is_none());
    }

    #[test]
    fn commands_and_variables() {
        for (command, masked) in [
            ("mysqld --user=m --password=abc --port=1", "mysqld --user=m --password=xxx --port=1"),
            ("curl -H Token: abc https://u:pw@h/", "curl -H Token: xxx https://u:xxx@h/"),
            ("/usr/sbin/sshd -D", "/usr/sbin/sshd -D"),
        ] {
            assert_eq!(mask_command(command), masked);
        }
        assert!(is_secret_name("VAULT_TOKEN") && is_secret_name("db_password") && !is_secret_name("PATH"));
    }
}
