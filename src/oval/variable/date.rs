//! Date-times of `time_difference` as seconds since 1970, UTC.

use jiff::civil::{Date, DateTime, Time};
use jiff::tz::TimeZone;

use super::super::model::TimeFormat;

/// Between 1601, from which Windows counts, and 1970.
const WINDOWS_EPOCH_S: i64 = 11_644_473_600;

pub(super) fn seconds(text: &str, format: TimeFormat) -> Result<i64, String> {
    let text = text.trim();
    let seconds = match format {
        TimeFormat::SecondsSinceEpoch => text.parse().ok(),
        TimeFormat::WinFiletime => file_time(text),
        TimeFormat::CimDatetime => cim(text),
        TimeFormat::YearMonthDay | TimeFormat::MonthDayYear | TimeFormat::DayMonthYear => civil(text, format).and_then(|d| utc(&d)),
    };
    seconds.ok_or_else(|| {
        let short: String = text.chars().take(60).collect();
        format!("{short:?} is no date-time of the format {}", name(format))
    })
}

fn name(format: TimeFormat) -> &'static str {
    match format {
        TimeFormat::YearMonthDay => "year_month_day",
        TimeFormat::MonthDayYear => "month_day_year",
        TimeFormat::DayMonthYear => "day_month_year",
        TimeFormat::WinFiletime => "win_filetime",
        TimeFormat::SecondsSinceEpoch => "seconds_since_epoch",
        TimeFormat::CimDatetime => "cim_datetime",
    }
}

fn utc(date: &DateTime) -> Option<i64> {
    TimeZone::UTC.to_timestamp(*date).ok().map(|t| t.as_second())
}

/// Counts of 100 ns, decimal or as `0x...`.
fn file_time(text: &str) -> Option<i64> {
    let count = match text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        Some(digits) => u64::from_str_radix(digits, 16).ok()?,
        None => text.parse().ok()?,
    };
    i64::try_from(count / 10_000_000).ok()?.checked_sub(WINDOWS_EPOCH_S)
}

fn civil(text: &str, format: TimeFormat) -> Option<DateTime> {
    if format == TimeFormat::YearMonthDay && text.bytes().take_while(u8::is_ascii_digit).count() == 8 {
        let (date, time) = text.split_once('T').map_or((text, None), |(d, t)| (d, Some(t)));
        let time = time.map_or(Some(Time::midnight()), compact_time)?;
        return Some(compact_date(date)?.to_datetime(time));
    }
    let (date, time) = match format {
        TimeFormat::MonthDayYear if text.starts_with(|c: char| c.is_ascii_alphabetic()) => return named(text),
        _ => text.split_once(char::is_whitespace).map_or((text, None), |(d, t)| (d, Some(t.trim_start()))),
    };
    let time = time.map_or(Some(Time::midnight()), clock)?;
    let separator = if date.contains('/') { '/' } else { '-' };
    let mut parts = date.split(separator);
    let (a, b, c) = (parts.next()?, parts.next()?, parts.next()?);
    let (year, month, day) = match format {
        TimeFormat::MonthDayYear => (c, a, b),
        TimeFormat::DayMonthYear => (c, b, a),
        _ => (a, b, c),
    };
    if parts.next().is_some() || year.len() != 4 {
        return None;
    }
    Some(Date::new(digits(year)?, digits(month)?, digits(day)?).ok()?.to_datetime(time))
}

/// `September, 05 2009 14:00:00`, the month whole or abbreviated, the time or not.
fn named(text: &str) -> Option<DateTime> {
    const MONTHS: [&str; 12] =
        ["january", "february", "march", "april", "may", "june", "july", "august", "september", "october", "november", "december"];
    let mut words = text.split_whitespace();
    let month = words.next()?.trim_end_matches(',').to_ascii_lowercase();
    let at = MONTHS.iter().position(|m| *m == month || m.get(..3) == Some(&month))?;
    let day = digits(words.next()?.trim_end_matches(','))?;
    let year = digits(words.next()?)?;
    let time = words.next().map_or(Some(Time::midnight()), clock)?;
    let date = Date::new(year, i8::try_from(at + 1).ok()?, day).ok()?;
    words.next().is_none().then(|| date.to_datetime(time))
}

fn digits<T: std::str::FromStr>(text: &str) -> Option<T> {
    (!text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())).then(|| text.parse().ok()).flatten()
}

/// `hh:mm:ss`
fn clock(text: &str) -> Option<Time> {
    let mut parts = text.split(':');
    let time = Time::new(digits(parts.next()?)?, digits(parts.next()?)?, digits(parts.next()?)?, 0).ok()?;
    parts.next().is_none().then_some(time)
}

/// `yyyymmdd`
fn compact_date(text: &str) -> Option<Date> {
    if text.len() != 8 {
        return None;
    }
    Date::new(digits(text.get(..4)?)?, digits(text.get(4..6)?)?, digits(text.get(6..)?)?).ok()
}

/// `hhmmss`
fn compact_time(text: &str) -> Option<Time> {
    if text.len() != 6 {
        return None;
    }
    Time::new(digits(text.get(..2)?)?, digits(text.get(2..4)?)?, digits(text.get(4..)?)?, 0).ok()
}

/// `yyyymmddHHMMSS.mmmmmmsUUU`, the last being minutes from UTC; `yyyy-mm-dd HH:MM:SS:mmm`; `mm-dd-yyyy HH:MM:SS:mmm`.
fn cim(text: &str) -> Option<i64> {
    if let Some((stamp, rest)) = text.split_once('.') {
        let date = compact_date(stamp.get(..8)?)?.to_datetime(compact_time(stamp.get(8..)?)?);
        let (fraction, zone) = (rest.get(..6)?, rest.get(6..)?);
        let _: u32 = digits(fraction)?;
        let minutes: i64 = digits(zone.get(1..).filter(|m| m.len() == 3)?)?;
        let minutes = match zone.as_bytes().first()? {
            b'+' => minutes,
            b'-' => -minutes,
            _ => return None,
        };
        return Some(utc(&date)? - minutes * 60);
    }
    let (whole, milliseconds) = text.rsplit_once(':')?;
    let _: u32 = digits(milliseconds).filter(|_| milliseconds.len() == 3)?;
    let year_first = whole.bytes().take_while(u8::is_ascii_digit).count() == 4;
    let format = if year_first { TimeFormat::YearMonthDay } else { TimeFormat::MonthDayYear };
    utc(&civil(whole, format)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_of_one_moment() {
        let at = 1_252_159_200; // 2009-09-05 14:00:00 UTC
        for (format, text) in [
            (TimeFormat::YearMonthDay, "20090905T140000"),
            (TimeFormat::YearMonthDay, "2009/09/05 14:00:00"),
            (TimeFormat::YearMonthDay, "2009-09-05 14:00:00"),
            (TimeFormat::MonthDayYear, "09/05/2009 14:00:00"),
            (TimeFormat::MonthDayYear, "09-05-2009 14:00:00"),
            (TimeFormat::MonthDayYear, "September, 05 2009 14:00:00"),
            (TimeFormat::MonthDayYear, "Sep, 05 2009 14:00:00"),
            (TimeFormat::DayMonthYear, "05/09/2009 14:00:00"),
            (TimeFormat::DayMonthYear, "05-09-2009 14:00:00"),
            (TimeFormat::WinFiletime, "128966328000000000"),
            (TimeFormat::WinFiletime, "0x1CA2E31286D3000"),
            (TimeFormat::SecondsSinceEpoch, "1252159200"),
            (TimeFormat::CimDatetime, "20090905140000.000000+000"),
            (TimeFormat::CimDatetime, "20090905160000.000000+120"),
            (TimeFormat::CimDatetime, "20090905120000.000000-120"),
            (TimeFormat::CimDatetime, "2009-09-05 14:00:00:123"),
            (TimeFormat::CimDatetime, "09-05-2009 14:00:00:123"),
        ] {
            assert_eq!(seconds(text, format), Ok(at), "{text}");
        }
        for (format, text) in [
            (TimeFormat::YearMonthDay, "20090905"),
            (TimeFormat::YearMonthDay, "2009-09-05"),
            (TimeFormat::MonthDayYear, "09/05/2009"),
            (TimeFormat::MonthDayYear, "Sep, 05 2009"),
            (TimeFormat::DayMonthYear, "05-09-2009"),
        ] {
            assert_eq!(seconds(text, format), Ok(at - 14 * 3600), "{text}");
        }
    }

    #[test]
    fn what_is_no_date_is_an_error() {
        for (format, text) in [
            (TimeFormat::YearMonthDay, "2009-13-05"),
            (TimeFormat::YearMonthDay, "09-01-05"),
            (TimeFormat::YearMonthDay, "2009-01"),
            (TimeFormat::YearMonthDay, "20090905T14"),
            (TimeFormat::YearMonthDay, ""),
            (TimeFormat::MonthDayYear, "Foo, 05 2009"),
            (TimeFormat::DayMonthYear, "05/09/2009 25:00:00"),
            (TimeFormat::WinFiletime, "soon"),
            (TimeFormat::SecondsSinceEpoch, "12.5"),
            (TimeFormat::CimDatetime, "20090905140000.000000*000"),
        ] {
            assert!(seconds(text, format).is_err(), "{text}");
        }
        assert!(seconds("x", TimeFormat::CimDatetime).unwrap_err().contains("cim_datetime"));
    }
}
