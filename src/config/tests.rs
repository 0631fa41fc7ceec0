use super::*;
use crate::oval::eval::Compat;
use crate::subscription::{Format, Source};

const FULL: &str = r#"
listen = "0.0.0.0:80"
data = "data"
packs = ["rules/linux-server", "/abs/x.musterpack"]
exclude = ["a"]
[[scap]]
content = "ssg-debian12-ds.xml.gz"
profile = "cis_level2_server"
compat = "openscap"
[drift]
for = "10m"
reopen_within = "1h30m"
[retention]
events = "30d"
[enroll]
again = "refuse"
[[sink]]
name = "tickets"
kind = "webhook"
url = "https://tickets.example.org/hook"
secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
events = ["drift.*"]
timeout = "5s"
[[feed]]
name = "alma"
format = "osv"
url = "https://feeds.example.org/almalinux.zip"
every = "12h"
checksum = "https://feeds.example.org/almalinux.zip.sha256"
[[feed]]
name = "dsa"
format = "dsa-list"
path = ["DSA/list", "/abs/DLA/list"]
enabled = false
[[feed]]
name = "kev"
format = "kev"
[[group]]
name = "web"
endpoints = ["web-*"]
labels = {env = "prod"}
[[baseline]]
name = "web-base"
group = "web"
packages = [{name = "chrony", minimum = "4.0", scheme = "dpkg"}, {name = "auditd"}]
rules = ["x"]
[limits]
rows = 10
[log]
format = "json"
level = "debug"
"#;

fn problems(text: &str) -> Vec<String> {
    match parse(text, Path::new("/etc/muster/muster.toml")) {
        Ok(_) => Vec::new(),
        Err(found) => found.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn everything_is_read_and_no_secret_shown() {
    let config = parse(FULL, Path::new("/etc/muster/muster.toml")).unwrap();
    assert_eq!(config.data, Path::new("/etc/muster/data"));
    assert_eq!(config.packs, [Path::new("/etc/muster/rules/linux-server"), Path::new("/abs/x.musterpack")]);
    let stream = &config.scap[0];
    assert_eq!((stream.content.as_path(), stream.compat), (Path::new("/etc/muster/ssg-debian12-ds.xml.gz"), Compat::OpenScap));
    assert_eq!(stream.profiles, ["cis_level2_server"]);
    assert_eq!(config.drift, DriftPolicy { hold_ms: 600_000, reopen_ms: 5_400_000 });
    assert!(config.refuse_again && config.limits.rows == 10 && config.log.format == LogFormat::Json);
    assert_eq!(config.sinks[0].timeout, Duration::from_secs(5));
    let [alma, dsa, kev] = &config.feeds[..] else { panic!("{:?}", config.feeds) };
    assert_eq!((alma.every, alma.enabled, alma.format), (Duration::from_secs(12 * 3600), true, Format::Osv));
    assert_eq!(dsa.source, Source::Paths(vec!["/etc/muster/DSA/list".into(), "/abs/DLA/list".into()]));
    assert_eq!((dsa.enabled, &kev.source, kev.every), (false, &Source::Imported, Duration::from_secs(6 * 3600)));
    let policy = config.policy();
    assert_eq!(policy.subscriptions[0].events, ["drift.*"]);
    assert_eq!(policy.requirements().len(), 2);
    assert!(!format!("{config:?}").contains("MfKQ"));
}

#[test]
fn all_problems_at_once_with_their_places() {
    let text = "lisen = \"x\"\ndata = 7\n[drift]\nfor = \"10 minutes\"\n[[sink]]\nname = \"A\"\nurl = \"ftp://x\"\nsecret = \"whsec_x\"\n\
                events = [\"drift.open\"]\n[limits]\nrows = -1\n";
    let expected = [
        ":1:1: unknown option `lisen`; did you mean `listen`?",
        ":2:8: `data` must be a string, this is of type integer",
        ":4:7: `for`: `10 minutes` is no duration",
        ":6:8: `A` is no name",
        ":7:7: the URL `ftp://x` cannot be used",
        ":8:10: what follows `whsec_`",
        ":9:11: no type of event is `drift.open`; did you mean `drift.opened`?",
        ":11:8: `rows` must be a whole number that is not negative",
    ];
    let found = problems(text);
    assert_eq!(found.len(), expected.len(), "{found:#?}");
    for (found, expected) in found.iter().zip(expected) {
        assert!(found.starts_with(&format!("/etc/muster/muster.toml{expected}")), "{found}\n{expected}");
    }
}

#[test]
fn what_is_missing_or_does_not_fit_is_said() {
    for (text, says) in [
        ("x = ", "1:"),
        ("[[sink]]\nname = \"a\"\nurl = \"http://h/\"\n", "`secret` or `secret_file` is missing"),
        ("[[sink]]\nname = \"a\"\nurl = \"http://h/\"\nsecret_file = \"gone\"\n", "`/etc/muster/gone` cannot be read"),
        ("[[baseline]]\nname = \"a\"\ngroup = \"b\"\nrules = [\"r\"]\n", "no `[[group]]` is named `b`"),
        ("[[baseline]]\nname = \"a\"\n", "needs `packages`, `rules`, `patches` or `lists`"),
        ("[[baseline]]\nname = \"a\"\npackages = [{name = \"p\", minimum = \"1\"}]\n", "`minimum` and `scheme`"),
        ("[limits]\ninflated_bytes = 5000\n", "limits.inflated_bytes is 5000"),
        ("[enroll]\nagain = \"maybe\"\n", "`again` must be `replace` or `refuse`"),
        ("[retention]\nevents = \"1h\"\n", "at least 24 h"),
        ("[[group]]\nname = \"a\"\nendpoints = [\"*\"]\n[[group]]\nname = \"a\"\nendpoints = [\"*\"]\n", "are named `a`"),
        ("listen = \"7311\"\n", "must be an address and a port"),
        ("[[feed]]\nname = \"a\"\n", "`format` is missing: osv, csaf"),
        ("[[feed]]\nname = \"a\"\nformat = \"cvrf\"\n", "`format` must be `osv` or `csaf`"),
        ("[[feed]]\nname = \"a\"\nformat = \"osv\"\nurl = \"ftp://x/\"\n", "`ftp://x` cannot be used"),
        ("[[feed]]\nname = \"a\"\nformat = \"osv\"\nurl = \"http://x/\"\npath = \"y\"\n", "`url` or `path`, not both"),
        ("[[feed]]\nname = \"a\"\nformat = \"osv\"\nurl = \"http://x/\"\nevery = \"1m\"\n", "from 5m to 366d"),
        ("[[feed]]\nname = \"a\"\nformat = \"osv\"\nurl = [\"http://x/\", \"http://y/\"]\nchecksum = \"http://x/s\"\n", "is of one file"),
        ("[[feed]]\nname = \"a\"\nformat = \"osv\"\nurl = \"http://x/\"\nchecksum = \"sha256:12\"\n", "`sha256:` with 64 hex digits"),
        ("[[feed]]\nname = \"a\"\nformat = \"osv\"\nurl = \"http://x/\"\nsignature = \"http://x/s\"\n", "needs `keyring`"),
        ("[[feed]]\nname = \"a\"\nformat = \"osv\"\nurl = \"http://x/\"\nkeyring = \"gone.gpg\"\n", "keyring `/etc/muster/gone.gpg`"),
        ("[[feed]]\nname = \"a\"\nformat = \"osv\"\nchecksum = \"http://x/s\"\n", "has no address"),
        ("[[feed]]\nname = \"a\"\nformat = \"osv\"\n[[feed]]\nname = \"a\"\nformat = \"kev\"\n", "are named `a`"),
    ] {
        let found = problems(text);
        assert!(found.len() == 1 && found[0].contains(says), "{text}\n{found:#?}");
    }
}

#[test]
fn durations() {
    assert_eq!(duration("1h30m"), Ok(5_400_000));
    assert_eq!(duration("400d"), Ok(400 * 86_400_000));
    assert_eq!(duration("0s"), Ok(0));
    for wrong in ["", "10", "m", "1.5h", "-1s", "99999999999999999w", "1y"] {
        assert!(duration(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn the_command_line_wins_also_when_the_file_is_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("muster.toml");
    std::fs::write(&path, "listen = \"127.0.0.1:1\"\n").unwrap();
    let overrides = Overrides { data: Some("/d".into()), listen: None };
    let config = load(Some(&path), overrides).unwrap();
    assert_eq!((config.listen.as_str(), config.data.as_path()), ("127.0.0.1:1", Path::new("/d")));
    std::fs::write(&path, "listen = \"127.0.0.1:2\"\n").unwrap();
    let config = config.again().unwrap();
    assert_eq!((config.listen.as_str(), config.data.as_path()), ("127.0.0.1:2", Path::new("/d")));
}

#[test]
fn the_documentation_is_true() {
    let text = include_str!("../../docs/OPERATIONS.md");
    let example = text.split("```toml").nth(1).and_then(|t| t.split("```").next()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let example = example.replace("/run/credentials/muster.service/tickets", "secret");
    let example: String = example.lines().filter(|l| !l.starts_with("ca = ")).map(|l| format!("{l}\n")).collect();
    let config = parse(&example, &folder.path().join("muster.toml")).unwrap();
    assert_eq!((config.sinks.len(), config.groups.len(), config.baselines.len()), (1, 1, 1));
    let limits = format!("{:?}", Limits::default());
    for pair in limits.trim_start_matches("Limits { ").trim_end_matches(" }").split(", ") {
        let (name, value) = pair.split_once(": ").unwrap();
        assert!(text.contains(&format!("| `{name}` | {value} |")), "docs/OPERATIONS.md lacks {name} = {value}");
    }
}
