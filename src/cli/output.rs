//! What people and pipes see: stdout for results, stderr for notes.

use std::borrow::Cow;
use std::fmt::Arguments;
use std::io::{self, BufWriter, ErrorKind, StdoutLock, Write};

use clap::ValueEnum;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people.
    #[default]
    #[value(alias = "text")]
    Table,
    /// For programs.
    Json,
}

/// Stdout. When its reader has gone away (`| head`), what is written further goes nowhere, and that is no error.
pub(crate) struct Out {
    inner: BufWriter<StdoutLock<'static>>,
    gone: bool,
}

pub(crate) fn stdout() -> Out {
    Out { inner: BufWriter::new(io::stdout().lock()), gone: false }
}

impl Out {
    /// A JSON document and a line end.
    pub(crate) fn json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        serde_json::to_writer_pretty(&mut *self, value)?;
        Ok(writeln!(self)?)
    }

    /// A table; nothing where it has no rows.
    pub(crate) fn table(&mut self, table: &Table) -> io::Result<()> {
        // Cells are padded to their column's width, the last ones as well.
        table.lines().try_for_each(|line| writeln!(self, "{}", line.trim_end()))
    }

    fn unless_gone<T>(&mut self, fallback: T, write: impl FnOnce(&mut BufWriter<StdoutLock<'static>>) -> io::Result<T>) -> io::Result<T> {
        if self.gone {
            return Ok(fallback);
        }
        match write(&mut self.inner) {
            Err(e) if e.kind() == ErrorKind::BrokenPipe => {
                self.gone = true;
                Ok(fallback)
            }
            result => result,
        }
    }
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_gone(bytes.len(), |inner| inner.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_gone((), Write::flush)
    }
}

/// A line on stderr.
pub(crate) fn note(text: Arguments<'_>) {
    // There is nowhere left to say that stderr is closed.
    writeln!(io::stderr().lock(), "{}", plain(&text.to_string())).ok();
}

/// Text of an endpoint's or a server's for a terminal: control characters are shown and not obeyed.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    let obeyed = |c: char| c.is_control() && c != '\n';
    if !text.contains(obeyed) {
        return Cow::Borrowed(text);
    }
    let shown = text.chars().map(|c| if obeyed(c) { c.escape_default().to_string() } else { c.to_string() });
    Cow::Owned(shown.collect())
}

/// A table as wide as the terminal; as wide as it needs to be in a pipe.
pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic).set_header(header.to_vec());
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_are_shown() {
        assert_eq!(plain("web-1 \u{fc}\n"), "web-1 \u{fc}\n");
        assert_eq!(plain("\u{1b}[2J\u{9b}x\r"), "\\u{1b}[2J\\u{9b}x\\r");
    }
}
