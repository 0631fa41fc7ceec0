//! Tests of the document's form: languages (6.1.12, 6.1.15, 6.1.28), its category (6.1.26), dates (6.1.37) and sharing groups (6.1.38 to 6.1.41).

use serde_json::Value;

use super::super::super::json::{list, short, text};
use super::super::document::Document;
use super::Findings;

/// ISO 639-1, the two-letter codes.
const LANGUAGES: &str = "aa ab ae af ak am an ar as av ay az ba be bg bh bi bm bn bo br bs ca ce ch co cr cs cu cv cy da de dv dz ee el en eo es et eu fa ff fi fj fo fr \
    fy ga gd gl gn gu gv ha he hi ho hr ht hu hy hz ia id ie ig ii ik io is it iu ja jv ka kg ki kj kk kl km kn ko kr ks ku kv kw ky la lb lg li ln lo lt lu lv mg mh mi mk \
    ml mn mr ms mt my na nb nd ne ng nl nn no nr nv ny oc oj om or os pa pi pl ps pt qu rm rn ro ru rw sa sc sd se sg sh si sk sl sm sn so sq sr ss st su sv sw ta te tg th \
    ti tk tl tn to tr ts tt tw ty ug uk ur uz ve vi vo wa wo xh yi yo za zh zu";

/// A tag whose language exists, as far as two letters tell; longer ones, private (`x-`) and grandfathered (`i-`) ones are taken as they are.
fn is_language(tag: &str) -> bool {
    let first = tag.split('-').next().unwrap_or("").to_ascii_lowercase();
    let parts_fit = tag.split('-').all(|p| (1..=8).contains(&p.len()) && p.bytes().all(|b| b.is_ascii_alphanumeric()));
    parts_fit && (first.len() != 2 || LANGUAGES.split_whitespace().any(|l| l == first)) && first != "t"
}

pub(super) fn languages(document: &Document, out: &mut Findings) {
    for key in ["lang", "source_lang"] {
        let tag = text(document.document(), key);
        if !tag.is_empty() && !is_language(tag) {
            out.add("6.1.12", format!("/document/{key}"), format!("`{}` is no language", short(tag)));
        }
    }
    let (lang, source) = (text(document.document(), "lang"), text(document.document(), "source_lang"));
    if !lang.is_empty() && lang.eq_ignore_ascii_case(source) {
        out.add("6.1.28", "/document/lang", "it is translated into the language that it was written in");
    }
}

pub(super) fn translator(document: &Document, out: &mut Findings) {
    let publisher = document.document().get("publisher").map_or("", |p| text(p, "category"));
    if publisher == "translator" && text(document.document(), "source_lang").is_empty() {
        out.add("6.1.15", "/document/source_lang", "a translator does not say from which language");
    }
}

/// Values and names of profiles, folded as the test folds them.
const PROFILES: [&str; 7] = [
    "securityincidentresponse",
    "informationaladvisory",
    "securityadvisory",
    "vex",
    "deprecatedsecurityadvisory",
    "withdrawn",
    "superseded",
];

pub(super) const CATEGORIES: [&str; 8] = [
    "csaf_base",
    "csaf_security_incident_response",
    "csaf_informational_advisory",
    "csaf_security_advisory",
    "csaf_vex",
    "csaf_deprecated_security_advisory",
    "csaf_withdrawn",
    "csaf_superseded",
];

pub(super) fn category(document: &Document, out: &mut Findings) {
    let known = if document.v21 { 8 } else { 5 };
    if CATEGORIES.iter().take(known).any(|c| *c == document.category) {
        return;
    }
    let is_dash = |c: char| matches!(c, '-' | '_' | '\u{ad}' | '\u{2010}'..='\u{2015}' | '\u{203f}' | '\u{2040}' | '\u{2212}' | '\u{fe58}' | '\u{fe63}' | '\u{ff0d}' | '\u{ff3f}' | '\u{332}' | '\u{fe4d}'..='\u{fe4f}');
    let folded: String = document.category.chars().filter(|c| !c.is_whitespace() && !is_dash(*c)).flat_map(char::to_lowercase).collect();
    let profiles = PROFILES.iter().take(if document.v21 { 7 } else { 4 });
    let is_profile = profiles.clone().any(|p| folded == *p || folded.strip_prefix("csaf") == Some(*p));
    if is_profile || document.category.to_lowercase().starts_with("csaf_") {
        out.add("6.1.26", "/document/category", format!("`{}` reads like a profile and is none", short(document.category)));
    }
}

// ---- CSAF 2.1

pub(super) fn dates(document: &Document, out: &mut Findings) {
    walk_dates(document.root, "", out);
}

const DATES: [&str; 9] = [
    "current_release_date",
    "initial_release_date",
    "date",
    "disclosure_date",
    "discovery_date",
    "release_date",
    "exploitation_date",
    "timestamp",
    "first_known_exploitation_date",
];

fn walk_dates(value: &Value, place: &str, out: &mut Findings) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields.iter().filter(|(k, _)| *k != "x_extensions") {
                let place = format!("{place}/{key}");
                match field.as_str() {
                    Some(date) if DATES.contains(&key.as_str()) && !is_date_time(date) => {
                        out.add("6.1.37", place, format!("`{}` is no date-time as RFC 3339 has it", short(date)));
                    }
                    _ => walk_dates(field, &place, out),
                }
            }
        }
        Value::Array(items) => {
            items
                .iter()
                .enumerate()
                .filter(|(_, item)| !item.is_string())
                .for_each(|(at, item)| walk_dates(item, &format!("{place}/{at}"), out));
        }
        _ => {}
    }
}

/// `YYYY-MM-DDThh:mm:ss(.f)(Z|±hh:mm)`: T and Z in upper case, no leap second.
fn is_date_time(text: &str) -> bool {
    let Some((day, time)) = text.split_once('T') else { return false };
    let zone = time.find(['Z', '+', '-']).unwrap_or(time.len());
    let (clock, zone) = (time.get(..zone).unwrap_or(""), time.get(zone..).unwrap_or(""));
    let digits = |part: &str, len: usize, most: u32| {
        part.len() == len && part.bytes().all(|b| b.is_ascii_digit()) && part.parse().is_ok_and(|n: u32| n <= most)
    };
    let (clock, fraction) = clock.split_once('.').map_or((clock, None), |(c, f)| (c, Some(f)));
    let parts: Vec<&str> = clock.split(':').collect();
    let clock_fits = matches!(parts[..], [h, m, s] if digits(h, 2, 23) && digits(m, 2, 59) && digits(s, 2, 59));
    let fraction_fits = fraction.is_none_or(|f| !f.is_empty() && f.bytes().all(|b| b.is_ascii_digit()));
    let zone_fits = zone == "Z" || zone.get(1..).and_then(|z| z.split_once(':')).is_some_and(|(h, m)| digits(h, 2, 23) && digits(m, 2, 59));
    clock_fits && fraction_fits && zone_fits && day.len() == 10 && day.parse::<jiff::civil::Date>().is_ok()
}

const NIL: &str = "00000000-0000-0000-0000-000000000000";
const MAX: &str = "ffffffff-ffff-ffff-ffff-ffffffffffff";

pub(super) fn sharing_group(document: &Document, out: &mut Findings) {
    let distribution = document.document().get("distribution").unwrap_or(&Value::Null);
    let Some(group) = distribution.get("sharing_group") else { return };
    let label = distribution.get("tlp").map_or("", |t| text(t, "label"));
    let (id, name) = (text(group, "id"), text(group, "name"));
    let draft = text(document.tracking(), "status") == "draft";
    if id == MAX && label != "CLEAR" {
        out.add("6.1.38", "/document/distribution/tlp/label", "a public sharing group, and a label that is not CLEAR");
    }
    if label == "CLEAR" && id != MAX && !(id == NIL && draft) {
        out.add("6.1.39", "/document/distribution/sharing_group/id", "the label is CLEAR, and the sharing group is not the public one");
    }
    for (reserved, of) in [("Public", MAX), ("No sharing allowed", NIL)] {
        if name == reserved && id != of {
            out.add("6.1.40", "/document/distribution/sharing_group/name", format!("`{reserved}` is kept for the sharing group {of}"));
        }
        if name != reserved && id == of {
            out.add("6.1.41", "/document/distribution/sharing_group/name", format!("the sharing group {of} must be named `{reserved}`"));
        }
    }
}

/// Whether texts with fixed titles can be asked for: the document is in English or does not say.
pub(super) fn english(document: &Document) -> bool {
    let lang = text(document.document(), "lang").to_ascii_lowercase();
    lang.is_empty() || lang == "en" || lang.starts_with("en-")
}

/// Notes of the document with this title.
pub(super) fn notes<'v>(document: &Document<'v>, title: &str) -> Vec<&'v Value> {
    list(document.document(), "notes").iter().filter(|n| text(n, "title") == title).collect()
}
