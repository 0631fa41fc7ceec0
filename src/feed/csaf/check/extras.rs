//! Tests of what 2.1 added and says nothing of patches, as far as the document alone decides them: SSVC (6.1.46, 6.1.47), licenses (6.1.54, 6.1.55),
//! extensions (6.1.60.1).

use std::collections::BTreeSet;

use serde_json::Value;

use super::super::super::json::{list, short, text, texts};
use super::super::document::Document;
use super::form::{english, notes};
use super::{Findings, metrics};

pub(super) fn ssvc(document: &Document, out: &mut Findings) {
    let several = document.vulnerabilities().count() > 1;
    let own = text(document.tracking(), "id");
    for (place, vulnerability) in document.vulnerabilities() {
        let ids: BTreeSet<&str> = list(vulnerability, "ids")
            .iter()
            .map(|id| text(id, "text"))
            .chain([text(vulnerability, "cve")])
            .filter(|id| !id.is_empty())
            .collect();
        for (at, _, content) in metrics(vulnerability) {
            let Some(ssvc) = content.get("ssvc_v2") else { continue };
            let place = format!("{place}{at}/ssvc_v2");
            let selections = list(ssvc, "selections");
            let whole = |s: &Value| ["namespace", "key", "version"].iter().all(|k| !text(s, k).is_empty()) && !list(s, "values").is_empty();
            let keyed = |s: &Value| list(s, "values").iter().all(|v| !text(v, "key").is_empty());
            if selections.is_empty() || !selections.iter().all(|s| whole(s) && keyed(s)) || text(ssvc, "timestamp").is_empty() {
                out.add("6.1.46", place.clone(), "lacks selections with namespace, key, version and keyed values, or its timestamp");
            }
            for (at, id) in texts(ssvc, "target_ids").filter(|(_, id)| !ids.contains(id) || (several && *id == own)) {
                out.add("6.1.47", format!("{place}/target_ids/{at}"), format!("`{}` is not this vulnerability", short(id)));
            }
        }
    }
}

pub(super) fn license(document: &Document, out: &mut Findings) {
    const PLACE: &str = "/document/license_expression";
    let expression = text(document.document(), "license_expression");
    if expression.is_empty() {
        return;
    }
    if !is_expression(expression) {
        return out.add("6.1.54", PLACE, format!("`{}` is no SPDX license expression", short(expression)));
    }
    // Which plain identifiers are listed only a list tells; these never are.
    let own = expression
        .split([' ', '(', ')'])
        .any(|w| (w.contains("LicenseRef-") || w.contains("AdditionRef-")) && !w.contains("LicenseRef-scancode-"));
    let license = notes(document, "License");
    if own && english(document) && !matches!(license[..], [one] if text(one, "category") == "legal_disclaimer") {
        out.add("6.1.55", "/document/notes", "a license of its own, without exactly one legal_disclaimer with the title `License`");
    }
}

/// `simple (AND|OR simple)*` with parentheses, `WITH` an exception after a license. No `DocumentRef-`: CSAF has no other documents.
fn is_expression(text: &str) -> bool {
    let spaced = text.replace('(', " ( ").replace(')', " ) ");
    let (mut depth, mut wants_operand, mut after_with) = (0usize, true, false);
    for word in spaced.split_whitespace() {
        match word {
            "(" if wants_operand && !after_with => depth += 1,
            ")" if !wants_operand && depth > 0 => depth -= 1,
            "AND" | "and" | "OR" | "or" if !wants_operand => (wants_operand, after_with) = (true, false),
            "WITH" | "with" if !wants_operand && !after_with => (wants_operand, after_with) = (true, true),
            word if wants_operand && is_license(word) => wants_operand = false,
            _ => return false,
        }
    }
    depth == 0 && !wants_operand
}

fn is_license(word: &str) -> bool {
    let fits = |id: &str| !id.is_empty() && id.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'));
    match word.strip_prefix("LicenseRef-").or_else(|| word.strip_prefix("AdditionRef-")) {
        Some(id) => fits(id),
        None => fits(word.strip_suffix('+').unwrap_or(word)) && !word.to_ascii_lowercase().starts_with("licenseref-"),
    }
}

pub(super) fn extensions(document: &Document, out: &mut Findings) {
    walk(document.root, "", out);
}

fn walk(value: &Value, place: &str, out: &mut Findings) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                let place = format!("{place}/{key}");
                if key == "x_extensions" {
                    let items = field.as_array().map_or(&[][..], Vec::as_slice).iter().enumerate();
                    items.filter(|(_, item)| !is_extension(item)).for_each(|(at, _)| {
                        out.add("6.1.60.1", format!("{place}/{at}"), "is not made of $schema, category, content and critical");
                    });
                } else {
                    walk(field, &place, out);
                }
            }
        }
        Value::Array(items) => {
            items.iter().enumerate().filter(|(_, i)| !i.is_string()).for_each(|(at, item)| walk(item, &format!("{place}/{at}"), out))
        }
        _ => {}
    }
}

fn is_extension(item: &Value) -> bool {
    let Some(fields) = item.as_object() else { return false };
    fields.keys().all(|k| matches!(k.as_str(), "$schema" | "category" | "content" | "critical"))
        && !text(item, "$schema").is_empty()
        && !text(item, "category").is_empty()
        && item.get("content").is_some_and(Value::is_object)
        && item.get("critical").is_some_and(Value::is_boolean)
}
