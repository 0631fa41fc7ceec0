//! The offline commands, as people run them: the real binary, its output and its exit code.

#![expect(clippy::unwrap_used, reason = "helpers of tests, which the lint does not know for tests")]

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;

const PACK: &str = "id: small\ntitle: Small\nversion: 1.0.0\n";
const RULE: &str = r#"id: no-telnetd
title: No telnet server
severity: high
platforms: [linux]
controls: {cis: ["1.1"]}
rationale: It speaks in the clear.
check: package.all(p, p.name != "telnetd")
remediation: Remove it.
tests:
  - {pass: {package: [{name: openssl}]}}
  - {fail: {package: [{name: telnetd}]}}
"#;
const SECOND: &str = r#"id: shadow-mode
title: Only root reads password hashes
severity: critical
platforms: [linux]
rationale: They can be guessed offline.
check: file["/etc/shadow"].mode.atMost("0640")
missing: fail
remediation: chmod 640 /etc/shadow
tests:
  - {pass: {file: [{path: /etc/shadow, mode: "0600"}]}}
  - {fail: {file: [{path: /etc/shadow, mode: "0644"}]}}
"#;
/// Passes the first rule and was not asked for what the second needs.
const SCAN: &str =
    r#"{"format":"muster.scan/1","endpoint":"web-1","tables":{"os":[{"family":"linux","id":"debian"}],"package":[{"name":"openssl"}]}}"#;

struct Folder(TempDir);

impl Folder {
    fn new(files: &[(&str, &str)]) -> Folder {
        let folder = Folder(tempfile::tempdir().unwrap());
        for (name, text) in files {
            let path = folder.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        folder
    }

    fn pack() -> Folder {
        Folder::new(&[("p/pack.yaml", PACK), ("p/no-telnetd.yaml", RULE), ("p/shadow-mode.yaml", SECOND), ("scan.json", SCAN)])
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs in the folder, so that paths in messages are short.
    fn muster(&self, args: &[&str]) -> Done {
        Done(Command::new(env!("CARGO_BIN_EXE_muster")).args(args).current_dir(self.0.path()).stdin(Stdio::null()).output().unwrap())
    }
}

struct Done(Output);

impl Done {
    fn code(&self) -> Option<i32> {
        self.0.status.code()
    }

    fn out(&self) -> String {
        String::from_utf8(self.0.stdout.clone()).unwrap()
    }

    fn err(&self) -> String {
        String::from_utf8(self.0.stderr.clone()).unwrap()
    }

    #[track_caller]
    fn expect(self, code: i32) -> Done {
        assert_eq!(self.code(), Some(code), "stdout: {}\nstderr: {}", self.out(), self.err());
        self
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.0.stdout).unwrap()
    }
}

#[test]
fn check_says_places() {
    let folder = Folder::pack();
    let done = folder.muster(&["rules", "check", "p"]).expect(0);
    assert_eq!(done.out(), "2 rules in 1 pack, no problems\n");
    // A folder of packs stands for them; a rule file is a pack of its own, and here the rule's second.
    let done = folder.muster(&["rules", "check", ".", "p/no-telnetd.yaml"]).expect(2);
    assert_eq!(done.out(), "p/no-telnetd.yaml:1:1: R003: id `no-telnetd` is used by ./p/no-telnetd.yaml already\n1 problem\n");

    fs::write(folder.path("p/no-telnetd.yaml"), RULE.replace("p.name !=", "p.nmae !=")).unwrap();
    let done = folder.muster(&["rules", "check", "p"]).expect(2);
    assert!(done.out().starts_with("p/no-telnetd.yaml:7:25: R011: "), "{}", done.out());
    assert!(done.out().ends_with("1 problem\n"));
    let problems = folder.muster(&["rules", "check", "p", "--output", "json"]).expect(2).json();
    assert_eq!((&problems[0]["line"], &problems[0]["code"]), (&Value::from(7), &Value::from("R011")));
    // Half a baseline is not judged by.
    let done = folder.muster(&["eval", "--rules", "p", "--scan", "scan.json"]).expect(1);
    assert!(done.err().contains("no-telnetd.yaml:7:25") && done.out().is_empty(), "{}", done.err());
}

#[test]
fn tests_of_rules_run() {
    let folder = Folder::pack();
    assert_eq!(folder.muster(&["rules", "test", "p"]).expect(0).out(), "4 tests of 2 rules passed\n");
    fs::write(folder.path("p/no-telnetd.yaml"), RULE.replace("name: openssl", "name: telnetd")).unwrap();
    let out = folder.muster(&["rules", "test", "p"]).expect(2).out();
    assert!(out.starts_with("p/no-telnetd.yaml:10: no-telnetd: expected pass, got fail\n"), "{out}");
    assert!(out.contains(r#"evidence: package{"name":"telnetd"}"#) && out.ends_with("1 of 4 tests of 2 rules failed\n"), "{out}");
}

#[test]
fn list_explain_and_compile() {
    let folder = Folder::pack();
    let out = folder.muster(&["rules", "list", "p"]).expect(0).out();
    assert!(out.lines().nth(1).unwrap().contains("no-telnetd") && out.contains("cis 1.1"), "{out}");
    let rules = folder.muster(&["rules", "list", "p", "--output", "json"]).expect(0).json();
    assert_eq!(rules[1]["asks"]["file"][0], "/etc/shadow");
    assert_eq!(rules[0]["remediation"], "Remove it.");

    let out = folder.muster(&["rules", "explain", "p", "shadow-mode"]).expect(0).out();
    for part in ["keyed over `file`, by key", "only if it was looked at: /etc/shadow", "means fail", "collects:\n  file: /etc/shadow"] {
        assert!(out.contains(part), "{part}\n{out}");
    }
    let rule = folder.muster(&["rules", "explain", "p", "no-telnetd", "--output", "json"]).expect(0).json();
    assert_eq!(rule["check_parts"][0]["plan"], "by name = \"telnetd\"");
    assert!(folder.muster(&["rules", "explain", "p", "no-telnet"]).expect(2).err().contains("did you mean `no-telnetd`?"));
    let summary = folder.muster(&["rules", "explain", "p", "--output", "json"]).expect(0).json();
    assert_eq!((&summary[0]["rules"], &summary[0]["joins"]), (&Value::from(2), &Value::from(0)));

    let out = folder.muster(&["rules", "compile", "p", "--output-dir", "out"]).expect(0).out();
    let name = format!("out/{}.musterpack", summary[0]["digest"].as_str().unwrap());
    assert_eq!(out.trim(), name);
    let by_source = folder.muster(&["eval", "--rules", "p", "--scan", "scan.json"]).expect(2).out();
    let compiled = folder.muster(&["eval", "--rules", &name, "--scan", "scan.json"]).expect(2).out();
    assert_eq!(by_source, compiled);
}

#[test]
fn eval_answers_in_json() {
    let folder = Folder::pack();
    let done = folder.muster(&["eval", "--rules", "p", "--scan", "scan.json", "--output", "json"]).expect(2).json();
    let scan = &done["scans"][0];
    assert_eq!(scan["endpoint"], "web-1");
    assert_eq!(scan["digest"].as_str().unwrap().len(), 64);
    let verdicts: Vec<_> = scan["verdicts"].as_array().unwrap().iter().map(|v| (v["rule"].as_str(), v["verdict"].as_str())).collect();
    assert_eq!(verdicts, [(Some("no-telnetd"), Some("pass")), (Some("shadow-mode"), Some("notchecked"))]);
    assert_eq!(scan["verdicts"][0]["evidence"][0], "package: none of 1 rows violates it");
    assert_eq!(scan["verdicts"][1]["evidence"][0], "table `file` was not collected");
    assert_eq!(scan["verdicts"][1]["severity"], "critical");
    let fields: Vec<_> = scan["verdicts"][0].as_object().unwrap().keys().cloned().collect();
    assert_eq!(fields, ["evidence", "rule", "severity", "verdict"]);
    let summary = scan["summary"].as_object().unwrap();
    assert_eq!((summary.len(), &summary["pass"], &summary["fail"]), (9, &Value::from(1), &Value::from(0)));
}

#[test]
fn eval_exit_codes_say_whether_it_is_compliant() {
    let folder = Folder::pack();
    let one = ["eval", "--rules", "p/no-telnetd.yaml", "--scan"];
    let eval = |scan: &str, text: &str| {
        fs::write(folder.path(scan), text).unwrap();
        folder.muster(&[&one[..], &[scan]].concat())
    };
    assert!(eval("scan.json", SCAN).expect(0).out().ends_with("1 pass\n"));
    let out = eval("bad.json", &SCAN.replace("openssl", "telnetd")).expect(2).out();
    assert!(out.contains("high") && out.contains(r#"package{"name":"telnetd"}"#) && out.ends_with("1 fail\n"), "{out}");
    let out = eval("windows.json", &SCAN.replace("linux", "windows").replace("debian", "w")).expect(2).out();
    assert!(out.contains("no evidence: no rule applies to this endpoint"), "{out}");
    // A table that was not collected is not a pass.
    eval("none.json", r#"{"format":"muster.scan/1","tables":{"os":[{"family":"linux"}]}}"#).expect(2);

    let out = folder.muster(&["eval", "--rules", "p", "--scan", "bad.json", "--explain", "no-telnetd"]).expect(2).out();
    assert!(out.contains("web-1: fail") && out.contains("remediation: Remove it."), "{out}");
    folder.muster(&["eval", "--rules", "p", "--scan", "scan.json", "--explain", "no-telnetd"]).expect(0);
    // Of several scans one decides.
    folder.muster(&[&one[..], &["scan.json", "scan.json"]].concat()).expect(0);
    folder.muster(&[&one[..], &["scan.json", "bad.json"]].concat()).expect(2);
}

#[test]
fn what_cannot_be_read_is_named() {
    let folder = Folder::pack();
    let eval = |scan: &str| folder.muster(&["eval", "--rules", "p", "--scan", scan]).expect(1).err();
    assert!(eval("gone.json").contains("cannot read `gone.json`"));
    assert!(eval("p/pack.yaml").contains("is no muster.scan/1 document"));
    fs::write(folder.path("delta.json"), SCAN.replace(r#""tables""#, r#""base":"d","tables""#)).unwrap();
    assert!(eval("delta.json").contains("needs a whole scan"));
    fs::write(folder.path("broken.gz"), [0x1f, 0x8b, 1, 2]).unwrap();
    assert!(eval("broken.gz").contains("cannot decompress `broken.gz`"));
    assert!(folder.muster(&["rules", "check", "nowhere"]).expect(1).err().contains("cannot read `nowhere`"));
    fs::write(folder.path("x.musterpack"), "MUSTERPK and nothing more").unwrap();
    let err = folder.muster(&["eval", "--rules", "x.musterpack", "--scan", "scan.json"]).expect(1).err();
    assert!(err.contains("x.musterpack"), "{err}");
    // The scans that can be read are judged all the same.
    let done = folder.muster(&["eval", "--rules", "p/no-telnetd.yaml", "--scan", "gone.json", "scan.json"]).expect(1);
    assert!(done.out().contains("1 pass"), "{}", done.out());
}

#[test]
fn wrong_usage_is_2() {
    let folder = Folder::pack();
    for args in [
        &["frobnicate"][..],
        &["rules", "check"],
        &["eval", "--rules", "p"],
        &["eval", "--rules", "p", "--scan", "-", "-"],
        &["eval", "--rules", "p", "--scan", "scan.json", "--explain", "nope"],
        &["scan", "--server", "http://localhost:1"],
        &["scan", "--root", "scan.json"],
    ] {
        assert!(!folder.muster(args).expect(2).err().is_empty(), "{args:?}");
    }
    assert!(folder.muster(&["--version"]).expect(0).out().starts_with("muster "));
    assert!(folder.muster(&["eval", "--help"]).expect(0).out().contains("Exit code 0 if every rule that applies passes"));
}

#[test]
fn a_reader_that_leaves_is_no_error() {
    let folder = Folder::pack();
    let mut muster = Command::new(env!("CARGO_BIN_EXE_muster"));
    let list = muster.args(["rules", "list", "p"]).current_dir(folder.0.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = list.spawn().unwrap();
    drop(child.stdout.take());
    let done = Done(child.wait_with_output().unwrap()).expect(0);
    assert_eq!(done.err(), "");
}

/// A system that nothing happens to.
fn root() -> Folder {
    let folder = Folder::pack();
    for (path, text) in [
        ("root/etc/os-release", "ID=debian\nVERSION_ID=12\n"),
        ("root/etc/hostname", "still\n"),
        ("root/etc/shadow", "root:*:1::::::\n"),
        ("root/var/lib/dpkg/status", "Package: openssl\nStatus: install ok installed\nVersion: 3.0\nArchitecture: all\n"),
    ] {
        let path = folder.path(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }
    folder
}

fn digest_in(err: &str) -> String {
    err.lines().find_map(|l| l.split_once("digest ")).map(|(_, d)| d.to_owned()).unwrap()
}

#[test]
fn scans_are_kept_judged_and_alike() {
    let folder = root();
    let mut digests = Vec::new();
    for (file, compress) in [("a.json", "none"), ("b.json.zst", "zstd"), ("c.json.gz", "gzip")] {
        let done = folder.muster(&["scan", "--rules", "p", "--root", "root", "--output", file, "--compress", compress]).expect(0);
        digests.push(digest_in(&done.err()));
        let eval = folder.muster(&["eval", "--rules", "p", "--scan", file, "--output", "json"]);
        let json = eval.json();
        assert_eq!(json["scans"][0]["endpoint"], "still");
        assert_eq!(json["scans"][0]["digest"], digests[0].as_str());
        assert_eq!(json["scans"][0]["summary"]["notchecked"], 0);
        assert_eq!(json["scans"][0]["verdicts"][0]["verdict"], "pass");
    }
    assert!(digests.iter().all(|d| *d == digests[0]), "{digests:?}");

    let done = folder.muster(&["scan", "--root", "root", "--endpoint", "e1"]).expect(0);
    assert!(done.out().starts_with(r#"{"format":"muster.scan/1","endpoint":"e1","hostname":"still","collected_at":"2"#), "{}", done.out());
    assert!(done.err().contains("--rules"), "{}", done.err());
}

#[test]
fn what_systeminfo_printed_is_a_scan() {
    let text = "Hostname:  DESK-7\r\nBetriebssystemname:  Microsoft Windows 10 Pro\r\nBetriebssystemversion:  10.0.19045 Nicht zutreffend Build 19045\r\n\
        Systemtyp:  x64-based PC\r\nHotfix(es):  1 Hotfix(e) installiert.\r\n  [01]: KB5034122\r\n";
    let qfe = "HotFixID=KB5033372\nInstalledOn=12/13/2023\nServicePackInEffect=\n";
    let folder = Folder::new(&[("s.txt", text), ("qfe.txt", qfe), ("other.txt", "Linux desk 6.1\n")]);
    let done = folder.muster(&["scan", "import", "systeminfo", "s.txt", "--qfe", "qfe.txt"]).expect(0);
    let scan: Value = serde_json::from_str(&done.out()).unwrap();
    assert_eq!((scan["endpoint"].as_str(), scan["hostname"].as_str()), (Some("DESK-7"), Some("DESK-7")));
    assert_eq!(scan["tables"].as_object().unwrap().len(), 2, "nothing else was collected");
    assert_eq!(scan["tables"]["hotfix"][0]["id"], "kb5033372");
    assert_eq!(scan["tables"]["hotfix"][0]["installed_on"], "2023-12-13");
    assert_eq!(scan["tables"]["hotfix"][1]["system"], "Windows 10 Version 22H2 for x64-based Systems");
    let refused = folder.muster(&["scan", "import", "systeminfo", "other.txt", "--output", "x.json"]).expect(1).err();
    assert!(refused.contains("`other.txt`") && refused.contains("run `systeminfo"), "{refused}");
    assert!(!folder.path("x.json").exists());
    folder.muster(&["scan", "--endpoint", "x", "import", "systeminfo", "s.txt"]).expect(2);
}

/// Answers as many requests as it is given answers, one a connection, and gives what it was sent.
fn serve(answers: Vec<(u16, &'static str)>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let thread = std::thread::spawn(move || {
        let mut seen = Vec::new();
        for (status, body) in answers {
            let (mut stream, _) = listener.accept().unwrap();
            let mut reader = BufReader::new(stream.try_clone().unwrap());
            let (mut head, mut length) = (String::new(), 0u64);
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).unwrap();
                let lower = line.to_ascii_lowercase();
                length = lower.strip_prefix("content-length:").map_or(length, |l| l.trim().parse().unwrap());
                if line.trim().is_empty() {
                    break;
                }
                head.push_str(&lower);
            }
            std::io::copy(&mut reader.take(length), &mut std::io::sink()).unwrap();
            write!(stream, "HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len()).unwrap();
            seen.push(head);
        }
        seen
    });
    (url, thread)
}

#[test]
fn scans_are_uploaded() {
    let folder = root();
    fs::write(folder.path("secret"), "s3cret\n").unwrap();
    let (url, thread) = serve(vec![
        (201, r#"{"endpoint":"still","key":"k1"}"#),
        (200, r#"{"asks":{"file":["/etc/shadow"]},"pack":"p"}"#),
        (200, r#"{"scan":"d","sequence":1,"changed":true,"verdicts":{"pass":2,"fail":0},"tasks":1}"#),
    ]);
    let scan = ["scan", "--root", "root", "--server", &url, "--key-file", "key"];
    assert!(folder.muster(&scan).expect(1).err().contains("give --enroll-secret-file"));
    let done = folder.muster(&[&scan[..], &["--enroll-secret-file", "secret"]].concat()).expect(0);
    assert_eq!(done.out(), "scan:     d\nsequence: 1\nverdicts: 2 pass\ntasks:    1 waiting\n");
    let seen = thread.join().unwrap();
    assert!(seen[0].starts_with("post /v1/enroll "), "{}", seen[0]);
    assert!(seen[1].starts_with("get /v1/collect ") && seen[1].contains("authorization: bearer k1"), "{}", seen[1]);
    assert!(seen[2].starts_with("put /v1/endpoints/still/scan ") && seen[2].contains("content-encoding: zstd"), "{}", seen[2]);
    assert_eq!(fs::read_to_string(folder.path("key")).unwrap(), "k1\n");

    let (url, _) = serve(vec![(422, r#"{"title":"not acceptable","detail":"row 3 is bad"}"#)]);
    let again = ["scan", "--root", "root", "--rules", "p", "--server", &url, "--key-file", "key"];
    assert!(folder.muster(&again).expect(1).err().contains("not acceptable: row 3 is bad"));
}

#[test]
fn the_shipped_packs_hold() {
    let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("rules");
    let folder = Folder::new(&[]);
    for pack in ["linux-server", "windows-server"] {
        folder.muster(&["rules", "test", rules.join(pack).to_str().unwrap()]).expect(0);
    }
}

#[test]
fn scans_are_asked_without_a_server() {
    let folder = Folder::pack();
    let done = folder.muster(&["fleet", "query", "package.exists(p, p.name == \"openssl\")", "--scan", "scan.json", "--output", "json"]);
    let found: Value = serde_json::from_slice(&done.0.stdout).unwrap();
    assert_eq!((done.code(), &found["count"], &found["items"][0]["id"]), (Some(0), &Value::from(1), &Value::from("web-1")));
    let done = folder.muster(&["fleet", "query", "--package", "openssl", "--scan", "scan.json"]);
    assert!(String::from_utf8_lossy(&done.0.stdout).starts_with("1 of 1 endpoints: pass\npass 1\n"), "{done:?}", done = done.0);
    for wrong in [
        &["fleet", "query", "package.size() > 0"][..],
        &["fleet", "query", "--scan", "scan.json"],
        &["fleet", "query", "package.size()", "--scan", "scan.json"],
        &["fleet", "query", "package.size() > 0", "--group", "web", "--scan", "scan.json"],
        &["fleet", "query", "--rule", "no-telnetd", "--scan", "scan.json"],
        &["whatif", "--rules", "p"],
    ] {
        assert_eq!(folder.muster(wrong).code(), Some(2), "{wrong:?}");
    }
    assert_eq!(folder.muster(&["fleet", "query", "package.size() > 0", "--scan", "scan.json", "scan.json"]).code(), Some(1));
}
