//! Microsoft: the CVRF documents of its security update guide (JSON or XML), and WES-NG's table of all of them with supersedence, in; advisories out.

mod cvrf;
mod wesng;

pub use cvrf::read as read_cvrf;
pub use wesng::read as read_wesng;

/// The KBs that a text names, as `hotfix.id` writes them, and whether all of the text was understood. Vendors write `5031356`, `KB5031356`,
/// `2883200;SP81X86` and `3118389<br><br>4022173`.
fn kbs(text: &str) -> (Vec<Box<str>>, bool) {
    let mut out = Vec::new();
    let mut clean = true;
    for word in text.replace("<br>", ";").split([';', ',', ' ']).filter(|w| !w.is_empty()) {
        match kb(word) {
            Some(kb) => out.push(kb),
            None => clean = false,
        }
    }
    out.sort();
    out.dedup();
    (out, clean)
}

/// `5031356` and `KB5031356` as `kb5031356`; a service pack that has no number (`SP81X86`) as `sp81x86`.
fn kb(word: &str) -> Option<Box<str>> {
    let lower = word.trim().to_ascii_lowercase();
    let digits = lower.strip_prefix("kb").unwrap_or(&lower);
    if (5..=9).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) {
        return Some(format!("kb{digits}").into());
    }
    let pack = lower.strip_prefix("sp").is_some_and(|rest| rest.len() >= 3 && rest.bytes().all(|b| b.is_ascii_alphanumeric()));
    pack.then(|| lower.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_updates() {
        let names = |text| kbs(text).0.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(names("3118389<br><br>4022173"), ["kb3118389", "kb4022173"]);
        assert_eq!(names("2883200;SP81X86"), ["kb2883200", "sp81x86"]);
        assert_eq!(names("KB5031356"), ["kb5031356"]);
        assert_eq!(kbs("None"), (vec![], false));
        assert_eq!(kbs("20.0.1"), (vec![], false));
        assert_eq!(kbs(""), (vec![], true));
    }
}
