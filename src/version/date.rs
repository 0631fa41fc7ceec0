//! Versions that are dates, `2024-03-01`, `20240301.2`, `RELEASE.2024-06-26T01-06-18Z`, `03/01/2024`: a text in, its key out.
//!
//! Words before the date do not count; a year of two digits is in this century; what follows the date compares number by number and word by word.
//! What holds no date sorts before all that do, as plain dotted versions do.

use super::{dotted, key, split_digits};

const NO_DATE: u8 = 0;

pub fn accepts(version: &str) -> bool {
    Date::of(version.as_bytes()).is_some()
}

pub fn write_key(version: &str, out: &mut Vec<u8>) {
    let Some(date) = Date::of(version.as_bytes()) else {
        out.push(NO_DATE);
        dotted::write_key(version, out);
        return;
    };
    key::integer(out, 1, date.year);
    out.extend_from_slice(&[date.month, date.day]);
    for part in date.time {
        // As the tail writes a number.
        out.push(1 + part);
    }
    key::tail(out, date.rest);
}

/// A month or day that is not said is 0.
struct Date<'a> {
    year: u64,
    month: u8,
    day: u8,
    /// Hours, minutes and seconds that are written without separators.
    time: Vec<u8>,
    rest: &'a [u8],
}

impl<'a> Date<'a> {
    fn of(text: &'a [u8]) -> Option<Date<'a>> {
        let start = text.iter().position(u8::is_ascii_digit)?;
        let before = &text[..start];
        if !before.iter().all(|c| c.is_ascii_alphabetic() || b".-_ ".contains(c)) {
            return None;
        }
        let (digits, rest) = split_digits(&text[start..]);
        let date = match digits.len() {
            14 | 12 | 10 | 8 => Date::compact(digits, rest),
            6 => Date::six(digits, rest),
            4 => Date::separated(number(digits)?, rest),
            2 => Date::month_first(digits, rest).or_else(|| Date::separated(2000 + number(digits)?, rest)),
            1 => Date::month_first(digits, rest),
            _ => None,
        };
        date.filter(|d| (1900..3000).contains(&d.year) && d.month <= 12 && d.day <= 31).map(Date::with_time)
    }

    /// `20240301`, with a time to its hours, minutes or seconds.
    fn compact(digits: &'a [u8], rest: &'a [u8]) -> Option<Date<'a>> {
        let (date, time) = digits.split_at_checked(8)?;
        let (year, date) = date.split_at_checked(4)?;
        let (month, day) = date.split_at_checked(2)?;
        let (month, day) = (small(month)?, small(day)?);
        (month > 0 && day > 0).then_some(Date { year: number(year)?, month, day, time: pairs(time), rest })
    }

    /// `202403`, else `240301`.
    fn six(digits: &'a [u8], rest: &'a [u8]) -> Option<Date<'a>> {
        let fields = pairs(digits);
        let [a, b, c] = fields.as_slice() else { return None };
        let date = match (a, b, c) {
            (19 | 20, _, 1..=12) => Date { year: number(digits)? / 100, month: *c, day: 0, time: Vec::new(), rest },
            (_, 1..=12, 1..=31) => Date { year: 2000 + u64::from(*a), month: *b, day: *c, time: Vec::new(), rest },
            _ => return None,
        };
        Some(date)
    }

    /// What follows a year: a month, and a day if there is one, after the same separator.
    fn separated(year: u64, rest: &'a [u8]) -> Option<Date<'a>> {
        let (separator, month, rest) = field(rest)?;
        let month = small(month).filter(|m| (1..=12).contains(m))?;
        let day = field(rest).filter(|(s, ..)| *s == separator).and_then(|(_, day, rest)| Some((small(day)?, rest)));
        Some(match day.filter(|(day, _)| (1..=31).contains(day)) {
            Some((day, rest)) => Date { year, month, day, time: Vec::new(), rest },
            None => Date { year, month, day: 0, time: Vec::new(), rest },
        })
    }

    /// `03/01/2024`, as firmware writes it.
    fn month_first(month: &'a [u8], rest: &'a [u8]) -> Option<Date<'a>> {
        let (b'/', day, rest) = field(rest)? else { return None };
        let (b'/', year, rest) = field(rest)? else { return None };
        let (month, day) = (small(month)?, small(day)?);
        (year.len() == 4 && month > 0 && day > 0).then_some(Date { year: number(year)?, month, day, time: Vec::new(), rest })
    }

    /// Takes `T120000` and `T1200` from the rest; what is separated is read as numbers like any.
    fn with_time(mut self) -> Date<'a> {
        if let [b'T' | b't', rest @ ..] = self.rest
            && self.time.is_empty()
        {
            let (digits, after) = split_digits(rest);
            (self.time, self.rest) = match digits.len() {
                4 | 6 => (pairs(digits), after),
                _ => (Vec::new(), rest),
            };
        }
        if let [b'Z' | b'z', rest @ ..] = self.rest {
            self.rest = rest;
        }
        self
    }
}

/// A separator and the digits after it.
fn field(text: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let [separator @ (b'-' | b'.' | b'/' | b'_'), rest @ ..] = text else { return None };
    let (digits, rest) = split_digits(rest);
    (!digits.is_empty()).then_some((*separator, digits, rest))
}

fn number(digits: &[u8]) -> Option<u64> {
    std::str::from_utf8(digits).ok()?.parse().ok()
}

fn small(digits: &[u8]) -> Option<u8> {
    u8::try_from(number(digits)?).ok().filter(|n| *n < 100)
}

fn pairs(digits: &[u8]) -> Vec<u8> {
    digits.chunks(2).filter_map(small).collect()
}

#[cfg(test)]
mod tests {
    use super::super::tests::{ascending, same};
    use super::*;
    use crate::version::Scheme;

    #[test]
    fn dates_of_all_kinds() {
        ascending(
            Scheme::Date,
            &[
                "latest",
                "1.2",
                "12/31/1999",
                "2021-01-30",
                "RELEASE.2021-01-30T00-20-58Z",
                "RELEASE.2021-01-30T01-06-18Z",
                "RELEASE.2021-01-30T01-06-18Z_1",
                "23.9.1",
                "2024-03",
                "2024.3.1",
                "r20240301a",
                "20240301.1",
                "20240301.2",
                "20240302T000059Z",
                "202403020100",
                "04/01/2024",
                "2024-10-01",
            ],
        );
        for (a, b) in [
            ("2024-03-01", "20240301"),
            ("2024.3.1", "03/01/2024"),
            ("240301", "2024-03-01"),
            ("24.04", "2024-04"),
            ("v2024.03.01", "release-2024/03/01"),
            ("20240301120000", "2024-03-01T12:00:00Z"),
            ("20240301T1200Z", "202403011200"),
        ] {
            same(Scheme::Date, a, b);
        }
    }

    #[test]
    fn takes_what_holds_a_date() {
        for good in ["2024-03-01", "20240301.2", "202403", "24.04.1", "1/2/2024"] {
            assert!(accepts(good), "{good}");
        }
        for bad in ["", "latest", "1.2.3", "2024", "20241301", "99999999", "13/01/2024", "2024-13-01", "+2024-01-01"] {
            assert!(!accepts(bad), "{bad}");
        }
    }
}
