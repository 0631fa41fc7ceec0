//! What to compare with: the same document read by `serde_json` into borrowed structs, nothing kept, nothing judged.

use std::borrow::Cow;

use serde::Deserialize;

/// Borrowed where it has no escapes. An `Option<Cow<str>>` would be read as an owned string.
#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading it is measured")]
struct Borrowed<'d>(#[serde(borrow)] Cow<'d, str>);

type Text<'d> = Option<Borrowed<'d>>;

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading it is measured")]
pub(crate) struct Document<'d> {
    #[serde(borrow)]
    format: Borrowed<'d>,
    #[serde(borrow)]
    tables: Tables<'d>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading it is measured")]
struct Tables<'d> {
    #[serde(borrow, default)]
    package: Vec<Package<'d>>,
    #[serde(borrow, default)]
    sysctl: Vec<Pair<'d>>,
    #[serde(borrow, default)]
    file: Vec<File<'d>>,
    #[serde(borrow, default)]
    config: Vec<Config<'d>>,
    #[serde(borrow, default)]
    service: Vec<Service<'d>>,
    #[serde(borrow, default)]
    scope: Vec<Scope<'d>>,
    #[serde(borrow, default)]
    text: Vec<Content<'d>>,
    #[serde(borrow, default)]
    pam: Vec<Pam<'d>>,
    #[serde(borrow, default)]
    user: Vec<User<'d>>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading it is measured")]
struct Content<'d> {
    #[serde(borrow)]
    path: Text<'d>,
    #[serde(borrow)]
    sha256: Text<'d>,
    #[serde(borrow)]
    content: Text<'d>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading it is measured")]
struct Pam<'d> {
    #[serde(borrow)]
    service: Text<'d>,
    #[serde(borrow)]
    control: Text<'d>,
    #[serde(borrow)]
    module: Text<'d>,
    #[serde(borrow)]
    arguments: Text<'d>,
    line: Option<i64>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading it is measured")]
struct User<'d> {
    #[serde(borrow)]
    name: Text<'d>,
    uid: Option<i64>,
    #[serde(borrow)]
    home: Text<'d>,
    #[serde(borrow)]
    shell: Text<'d>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading it is measured")]
struct Package<'d> {
    #[serde(borrow)]
    name: Text<'d>,
    #[serde(borrow)]
    version: Text<'d>,
    #[serde(borrow)]
    arch: Text<'d>,
    #[serde(borrow)]
    source: Text<'d>,
    #[serde(borrow)]
    source_version: Text<'d>,
    #[serde(borrow)]
    format: Text<'d>,
    #[serde(borrow)]
    release: Text<'d>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading it is measured")]
struct Pair<'d> {
    #[serde(borrow)]
    key: Text<'d>,
    #[serde(borrow)]
    value: Text<'d>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading it is measured")]
struct File<'d> {
    #[serde(borrow)]
    path: Text<'d>,
    #[serde(borrow, rename = "type")]
    kind: Text<'d>,
    #[serde(borrow)]
    mode: Text<'d>,
    #[serde(borrow)]
    owner: Text<'d>,
    #[serde(borrow)]
    group: Text<'d>,
    size: Option<i64>,
    #[serde(borrow)]
    sha256: Text<'d>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading it is measured")]
struct Config<'d> {
    #[serde(borrow)]
    path: Text<'d>,
    #[serde(borrow)]
    key: Text<'d>,
    #[serde(borrow)]
    value: Text<'d>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading it is measured")]
struct Service<'d> {
    #[serde(borrow)]
    name: Text<'d>,
    #[serde(borrow)]
    start: Text<'d>,
    #[serde(borrow)]
    state: Text<'d>,
    #[serde(borrow)]
    user: Text<'d>,
}

#[derive(Deserialize)]
#[expect(dead_code, reason = "only reading it is measured")]
struct Scope<'d> {
    #[serde(borrow)]
    table: Text<'d>,
    #[serde(borrow)]
    item: Text<'d>,
    #[serde(borrow)]
    state: Text<'d>,
    #[serde(borrow)]
    message: Text<'d>,
}

pub(crate) fn parse(document: &[u8]) -> usize {
    let text = std::str::from_utf8(document).unwrap();
    let read: Document<'_> = serde_json::from_str(text).unwrap();
    std::hint::black_box(&read);
    text.len()
}
