//! Instants as feeds write them: RFC 3339, dates, `20170314`, `29 Mar 2023`, `August 26th, 2005`. A date alone is its midnight in UTC.

use jiff::Timestamp;
use jiff::civil::Date;

fn midnight(date: Date) -> Option<Timestamp> {
    date.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|z| z.timestamp())
}

/// RFC 3339, or a date, or a local date-time that is taken as UTC.
pub(crate) fn instant(text: &str) -> Option<Timestamp> {
    let text = text.trim();
    if let Ok(at) = text.parse::<Timestamp>() {
        return Some(at);
    }
    let with_zone = format!("{text}Z");
    // `2024-01-02T03:04:05` of some vendors, and `...+0000` of EPSS.
    with_zone
        .parse()
        .ok()
        .or_else(|| text.strip_suffix("+0000").and_then(|t| format!("{t}Z").parse().ok()))
        .or_else(|| text.parse().ok().and_then(midnight))
}

/// `20170314`
pub(crate) fn compact_date(text: &str) -> Option<Timestamp> {
    if text.len() != 8 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let number: i32 = text.parse().ok()?;
    let part = |n: i32| i8::try_from(n).ok();
    midnight(Date::new(i16::try_from(number / 10_000).ok()?, part(number / 100 % 100)?, part(number % 100)?).ok()?)
}

/// `29 Mar 2023` and `August 26th, 2005`: day, month and year in either order.
pub(crate) fn written_date(text: &str) -> Option<Timestamp> {
    const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
    let words: Vec<&str> = text.split([' ', ',']).filter(|w| !w.is_empty()).collect();
    let [a, b, year] = words[..] else { return None };
    let (day, month) = if a.starts_with(|c: char| c.is_ascii_digit()) { (a, b) } else { (b, a) };
    let month = month.to_ascii_lowercase();
    let month = MONTHS.iter().zip(1i8..).find(|(m, _)| month.starts_with(**m))?.1;
    let day: i8 = day.trim_end_matches(|c: char| c.is_ascii_alphabetic()).parse().ok()?;
    midnight(Date::new(year.parse().ok()?, month, day).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling() {
        for (got, want) in [
            (instant("2023-03-29T10:00:00+02:00"), "2023-03-29T08:00:00Z"),
            (instant("2023-03-29T10:00:00"), "2023-03-29T10:00:00Z"),
            (instant("2025-02-25T00:00:00+0000"), "2025-02-25T00:00:00Z"),
            (instant("2023-03-29"), "2023-03-29T00:00:00Z"),
            (compact_date("20170314"), "2017-03-14T00:00:00Z"),
            (written_date("29 Mar 2023"), "2023-03-29T00:00:00Z"),
            (written_date("August 26th, 2005"), "2005-08-26T00:00:00Z"),
        ] {
            assert_eq!(got.map(|t| t.to_string()).as_deref(), Some(want));
        }
        for bad in ["", "2023", "2023-13-01", "tomorrow"] {
            assert_eq!(instant(bad), None, "{bad}");
        }
        assert_eq!(compact_date("20171314"), None);
        assert_eq!(written_date("31 Feb 2020"), None);
    }
}
