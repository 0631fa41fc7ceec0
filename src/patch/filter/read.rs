//! The text of a filter, read: `comma (all) > or > and > not > parentheses or a condition`. Every error has its column and says what is possible.

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use super::super::State;
use super::super::define::Kind;
use super::super::rank::Band;
use super::{DEPTH_MAX, FilterError, Is, Node, Span, TEXT_MAX, Test};
use crate::feed::model::{Level, Restart, Severity};
use crate::rule::check::suggest::hint;

/// Conditions that are a word.
const WORDS: [&str; 10] =
    ["exploited", "ransomware", "disclosed", "superseded", "applicable", "affected", "installable", "emergency", "soon", "routine"];
const LEVELS: [&str; 5] = ["critical", "high", "medium", "low", "none"];
const BANDS: [&str; 3] = ["emergency", "soon", "routine"];
const KINDS: [&str; 4] = ["update", "service_pack", "servicing_stack", "vulnerability"];
const RESTARTS: [&str; 3] = ["no", "maybe", "yes"];

/// Conditions that have a value.
const KEYS: [&str; 18] = [
    "severity",
    "priority",
    "band",
    "cvss",
    "epss",
    "due",
    "released",
    "modified",
    "state",
    "kind",
    "restart",
    "id",
    "cve",
    "package",
    "title",
    "feed",
    "publisher",
    "group",
];

pub(super) fn read(text: &str, now: Timestamp) -> Result<Node, FilterError> {
    let mut reader = Reader { chars: text.chars().collect(), at: 0, now, depth: 0 };
    if text.len() > TEXT_MAX {
        return Err(FilterError { column: TEXT_MAX, what: format!("it has more than {TEXT_MAX} bytes; make a list of patches by hand") });
    }
    if reader.peek().is_none() {
        return Ok(Node::All(Vec::new()));
    }
    let root = reader.commas()?;
    match reader.peek() {
        None => Ok(root),
        Some(')') => Err(reader.wrong("this `)` closes nothing")),
        Some(_) => Err(reader.wrong("`and`, `or` or a comma is expected between conditions")),
    }
}

struct Reader {
    chars: Vec<char>,
    at: usize,
    now: Timestamp,
    depth: usize,
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '-' | '.')
}

impl Reader {
    fn error(&self, at: usize, what: impl Into<String>) -> FilterError {
        FilterError { column: at + 1, what: what.into() }
    }

    fn wrong(&self, what: impl Into<String>) -> FilterError {
        self.error(self.at, what)
    }

    /// The next character that is no blank, not taken.
    fn peek(&mut self) -> Option<char> {
        while self.chars.get(self.at).is_some_and(|c| c.is_whitespace()) {
            self.at += 1;
        }
        self.chars.get(self.at).copied()
    }

    fn take(&mut self, c: char) -> bool {
        let there = self.peek() == Some(c);
        self.at += usize::from(there);
        there
    }

    /// The next word, in lower case, not taken.
    fn word(&mut self) -> String {
        self.peek();
        let word = self.chars.get(self.at..).unwrap_or_default().iter().take_while(|c| is_word(**c));
        word.flat_map(|c| c.to_lowercase()).collect()
    }

    fn take_word(&mut self) -> String {
        let word = self.word();
        self.at += self.chars.get(self.at..).unwrap_or_default().iter().take_while(|c| is_word(**c)).count();
        word
    }

    /// Takes the word if it is this one.
    fn keyword(&mut self, keyword: &str) -> bool {
        let there = self.word() == keyword;
        if there {
            self.take_word();
        }
        there
    }

    fn commas(&mut self) -> Result<Node, FilterError> {
        let mut all = vec![self.or()?];
        while self.take(',') {
            all.push(self.or()?);
        }
        Ok(joined(all, Node::All))
    }

    fn or(&mut self) -> Result<Node, FilterError> {
        let mut any = vec![self.and()?];
        while self.keyword("or") {
            any.push(self.and()?);
        }
        Ok(joined(any, Node::Any))
    }

    fn and(&mut self) -> Result<Node, FilterError> {
        let mut all = vec![self.not()?];
        while self.keyword("and") {
            all.push(self.not()?);
        }
        Ok(joined(all, Node::All))
    }

    fn not(&mut self) -> Result<Node, FilterError> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return Err(self.wrong(format!("more than {DEPTH_MAX} parentheses and `not` within each other")));
        }
        let node = if self.keyword("not") {
            Node::Not(Box::new(self.not()?))
        } else if self.take('(') {
            let open = self.at - 1;
            let inner = self.commas()?;
            if !self.take(')') {
                return Err(self.error(open, "this `(` is not closed"));
            }
            inner
        } else {
            Node::Is(self.condition()?)
        };
        self.depth -= 1;
        Ok(node)
    }

    fn condition(&mut self) -> Result<Test, FilterError> {
        let Some(first) = self.peek() else { return Err(self.wrong(format!("a condition is expected; {}", possible()))) };
        if !is_word(first) {
            return Err(self.wrong(format!("a condition is expected, not `{first}`; {}", possible())));
        }
        let (start, word) = (self.at, self.take_word());
        if KEYS.contains(&word.as_str()) {
            let is = self.operator(&word)?;
            return self.valued(&word, start, is);
        }
        if let Some(test) = single(&word) {
            return Ok(test);
        }
        let known = WORDS.into_iter().chain(LEVELS).chain(KEYS).chain(State::ALL.map(State::name));
        Err(self.error(start, format!("`{word}` is no condition{}; {}", hint(&word, known), possible())))
    }

    /// What stands between a name and its value. `:` is the comparison that one would expect.
    fn operator(&mut self, key: &str) -> Result<Is, FilterError> {
        self.peek();
        let rest = self.chars.get(self.at..).unwrap_or_default();
        let found = [
            (">=", Is::AtLeast),
            ("<=", Is::AtMost),
            ("!=", Is::Not),
            ("==", Is::Equal),
            ("=", Is::Equal),
            (">", Is::More),
            ("<", Is::Less),
            (":", Is::Equal),
        ]
        .into_iter()
        .find(|(sign, _)| sign.chars().eq(rest.iter().copied().take(sign.len())));
        if let Some((sign, is)) = found {
            self.at += sign.len();
            let ordered = matches!(key, "severity" | "priority" | "band" | "cvss" | "epss" | "due" | "released" | "modified");
            if !ordered && !matches!(is, Is::Equal | Is::Not) {
                return Err(self.error(self.at - sign.len(), format!("`{key}` has no order; it takes `=` and `!=`")));
            }
            // Within so many days, at least so much: what `:` means of what has an order.
            let relative = sign == ":" && matches!(key, "severity" | "priority" | "band" | "cvss" | "epss" | "released" | "modified");
            return Ok(if relative { Is::AtLeast } else { is });
        }
        if matches!(key, "released" | "modified" | "due") {
            if self.keyword("since") {
                self.keyword("the");
                return Ok(Is::AtLeast);
            }
            if self.keyword("before") {
                self.keyword("the");
                return Ok(Is::Less);
            }
        }
        Err(self.wrong(format!("`{key}` needs a value: `{key}={}`", example(key))))
    }

    /// Up to a blank, a comma or a parenthesis; or within quotes.
    fn value(&mut self, key: &str) -> Result<(usize, String), FilterError> {
        self.peek();
        let start = self.at;
        if self.take('"') {
            let rest = self.chars.get(self.at..).unwrap_or_default();
            let Some(length) = rest.iter().position(|c| *c == '"') else { return Err(self.error(start, "this quote is not closed")) };
            let value = rest.iter().take(length).collect();
            self.at += length + 1;
            return Ok((start, value));
        }
        let rest = self.chars.get(self.at..).unwrap_or_default();
        let value: String = rest.iter().take_while(|c| !c.is_whitespace() && !matches!(c, ',' | '(' | ')')).collect();
        self.at += value.chars().count();
        if value.is_empty() {
            return Err(self.error(start, format!("`{key}` needs a value, such as `{}`", example(key))));
        }
        Ok((start, value))
    }

    fn valued(&mut self, key: &str, key_at: usize, is: Is) -> Result<Test, FilterError> {
        let (at, value) = self.value(key)?;
        let lower = value.to_lowercase();
        let one_of = |names: &[&str]| {
            let what = format!("`{key}` is one of {}, not `{value}`{}", names.join(", "), hint(&lower, names.iter().copied()));
            self.error(at, what)
        };
        Ok(match key {
            "severity" => Test::Severity(is, level(&lower).ok_or_else(|| one_of(&LEVELS))?),
            "band" => Test::Band(is, band(&lower).ok_or_else(|| one_of(&BANDS))?),
            "kind" => Test::Kind(is, kind(&lower).ok_or_else(|| one_of(&KINDS))?),
            "restart" => Test::Restart(is, restart(&lower).ok_or_else(|| one_of(&RESTARTS))?),
            "state" => self.state(is, &lower, key_at).ok_or_else(|| one_of(&State::ALL.map(State::name)))??,
            "priority" => Test::Priority(is, scaled(&lower, 100, 0).ok_or_else(|| self.error(at, "a number from 0 to 100 is expected"))?),
            "cvss" => Test::Cvss(is, scaled(&lower, 100, 1).ok_or_else(|| self.error(at, "a score from 0.0 to 10.0 is expected"))?),
            "epss" => {
                let value = scaled(&lower, 1_000_000, 6);
                Test::Epss(is, value.ok_or_else(|| self.error(at, "a probability from 0 to 1 is expected, such as `0.1`"))?)
            }
            "released" => Test::Released(is, self.span(at, &lower)?),
            "modified" => Test::Modified(is, self.span(at, &lower)?),
            "due" => Test::Due(is, self.span(at, &lower)?),
            "id" => Test::Id(is, lower),
            "feed" => Test::Feed(is, lower),
            "publisher" => Test::Publisher(is, lower),
            "cve" => Test::Cve(is, lower),
            "package" => Test::Package(is, lower),
            "title" => Test::Title(is, lower),
            // Names of groups are as the configuration writes them.
            _ if is == Is::Not => return Err(self.error(key_at, format!("write `not group={value}`"))),
            _ => Test::Group(value),
        })
    }

    fn state(&self, is: Is, name: &str, key_at: usize) -> Option<Result<Test, FilterError>> {
        let state = State::by_name(name)?;
        Some(match is {
            // Over the fleet a patch is in several states, and `!=` would mean anything.
            Is::Not => Err(self.error(key_at, format!("write `not state={name}`"))),
            _ => Ok(Test::State(state)),
        })
    }

    /// A day, an instant, an age (`30d`), or a day of the month (`1st`): the last one that was.
    fn span(&self, at: usize, text: &str) -> Result<Span, FilterError> {
        let found = day(text).or_else(|| instant(text)).or_else(|| self.age(text)).or_else(|| self.day_of_month(text));
        found.ok_or_else(|| self.error(at, format!("`{text}` is no time; write `2026-11-01`, `30d` (or h, w) ago, or `1st` of the month")))
    }

    fn age(&self, text: &str) -> Option<Span> {
        let from = self.now.checked_sub(length(text)?).ok()?;
        Some(Span { from, to: from })
    }

    fn day_of_month(&self, text: &str) -> Option<Span> {
        let number = ["st", "nd", "rd", "th"].into_iter().find_map(|end| text.strip_suffix(end))?;
        let wanted: i8 = number.parse().ok().filter(|d| (1..=31).contains(d))?;
        let mut date = self.now.to_zoned(TimeZone::UTC).date();
        // Two months back there was every day of the month.
        for _ in 0..62 {
            if date.day() == wanted {
                return midnight(date);
            }
            date = date.yesterday().ok()?;
        }
        None
    }
}

fn joined(mut nodes: Vec<Node>, many: fn(Vec<Node>) -> Node) -> Node {
    if nodes.len() == 1 { nodes.remove(0) } else { many(nodes) }
}

fn possible() -> String {
    format!("words are {}, {} and the states; names with values are {}", LEVELS.join(", "), WORDS.join(", "), KEYS.join(", "))
}

fn example(key: &str) -> &'static str {
    match key {
        "severity" => "high",
        "priority" => "70",
        "band" => "emergency",
        "cvss" => "7.0",
        "epss" => "0.1",
        "due" | "released" | "modified" => "2026-11-01",
        "state" => "missing",
        "kind" => "update",
        "restart" => "yes",
        "id" => "DSA-*",
        "cve" => "CVE-2024-*",
        "package" => "openssl",
        "title" => "kernel",
        _ => "NAME",
    }
}

fn single(word: &str) -> Option<Test> {
    Some(match word {
        "exploited" => Test::Exploited,
        "ransomware" => Test::Ransomware,
        "disclosed" => Test::Disclosed,
        "superseded" => Test::Superseded,
        "applicable" => Test::Applicable,
        "affected" => Test::Affected,
        "installable" => Test::Installable,
        _ if BANDS.contains(&word) => Test::Band(Is::Equal, band(word)?),
        "critical" | "important" | "high" | "moderate" | "medium" | "low" => Test::Severity(Is::Equal, level(word)?),
        _ => Test::State(State::by_name(word)?),
    })
}

fn level(word: &str) -> Option<Level> {
    Severity::of(word)?.level
}

fn band(word: &str) -> Option<Band> {
    Some(match word {
        "emergency" => Band::Emergency,
        "soon" => Band::Soon,
        "routine" => Band::Routine,
        _ => return None,
    })
}

fn kind(word: &str) -> Option<Kind> {
    Some(match word {
        "update" => Kind::Update,
        "service_pack" => Kind::ServicePack,
        "servicing_stack" => Kind::ServicingStack,
        "vulnerability" => Kind::Vulnerability,
        _ => return None,
    })
}

fn restart(word: &str) -> Option<Restart> {
    Some(match word {
        "no" => Restart::No,
        "maybe" => Restart::Maybe,
        "yes" => Restart::Yes,
        _ => return None,
    })
}

/// A number with at most so many places, as a multiple of the last one.
fn scaled<N: TryFrom<u32>>(text: &str, most: u32, places: usize) -> Option<N> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if whole.is_empty() || !digits(whole) || !digits(fraction) || fraction.len() > places || (text.contains('.') && fraction.is_empty()) {
        return None;
    }
    let value: u32 = format!("{whole}{fraction:0<places$}").parse().ok()?;
    N::try_from(value).ok().filter(|_| value <= most)
}

fn midnight(date: Date) -> Option<Span> {
    let start = |d: Date| d.to_zoned(TimeZone::UTC).ok().map(|z| z.timestamp());
    Some(Span { from: start(date)?, to: start(date.tomorrow().ok()?)? })
}

/// `2026-11-01`, the whole day.
pub(super) fn day(text: &str) -> Option<Span> {
    // jiff takes instants for dates too, and forgets their time.
    let bare = text.len() <= 10;
    text.parse::<Date>().ok().filter(|_| bare).and_then(midnight)
}

fn instant(text: &str) -> Option<Span> {
    let at: Timestamp = text.to_uppercase().parse().ok()?;
    Some(Span { from: at, to: at })
}

/// `30d`, `12h`, `2w`
fn length(text: &str) -> Option<SignedDuration> {
    let (number, hours) =
        [("h", 1), ("d", 24), ("w", 7 * 24)].into_iter().find_map(|(unit, hours)| Some((text.strip_suffix(unit)?, hours)))?;
    let number: i64 = number.parse().ok().filter(|n| (0..=100_000).contains(n))?;
    Some(SignedDuration::from_hours(number * hours))
}

pub(super) fn time_to_come(text: &str, now: Timestamp) -> Option<Timestamp> {
    let known = day(text).map(|span| span.to).or_else(|| instant(text).map(|span| span.from));
    known.or_else(|| now.checked_add(length(text)?).ok())
}
