//! The documents of a feed file: a zip, a tar or one document, compressed or not, in; each document as a stream out.
//!
//! Nothing is unpacked: an archive is read once, from front to back, with one document in memory at most.

use std::cell::Cell;
use std::io::{Cursor, Read};
use std::rc::Rc;

use super::{Reading, Sink};
use crate::limits::Limits;
use crate::scan::inflate::{Capped, stream};

/// Calls `visit` for each document whose name `wanted` says yes to; a file that is no archive is one document, wanted by any name.
pub(crate) fn each(
    file: &str,
    bytes: &[u8],
    limits: &Limits,
    sink: &mut dyn Sink,
    wanted: &dyn Fn(&str) -> bool,
    visit: &mut dyn FnMut(&mut Reading, &mut dyn Read),
) {
    if bytes.starts_with(b"PK\x03\x04") || bytes.starts_with(b"PK\x05\x06") {
        return each_of_zip(file, bytes, limits, sink, wanted, visit);
    }
    let mut whole = Reading::new(file, limits, sink);
    let mut input = match stream(bytes, limits.feed_bytes) {
        Ok(input) => input,
        Err(e) => return whole.refuse("archive", "", format!("cannot be decompressed: {e}")),
    };
    let mut head = Vec::new();
    if let Err(e) = input.by_ref().take(512).read_to_end(&mut head) {
        return whole.refuse("archive", "", format!("cannot be decompressed: {e}"));
    }
    let tar = head.get(257..262) == Some(b"ustar");
    let mut input = Cursor::new(head).chain(input);
    if tar { each_of_tar(&mut whole, &mut input, wanted, visit) } else { visit(&mut whole, &mut input) }
}

/// The same with each document whole, which is what JSON and XML need.
pub(crate) fn each_whole(
    file: &str,
    bytes: &[u8],
    limits: &Limits,
    sink: &mut dyn Sink,
    wanted: &dyn Fn(&str) -> bool,
    visit: &mut dyn FnMut(&mut Reading, &[u8]),
) {
    let mut buffer = Vec::new();
    each(file, bytes, limits, sink, wanted, &mut |reading, input| {
        if read_whole(reading, input, &mut buffer) {
            visit(reading, buffer.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&buffer));
        }
    });
}

fn read_whole(reading: &mut Reading, input: &mut dyn Read, buffer: &mut Vec<u8>) -> bool {
    let most = reading.limits.feed_document_bytes;
    buffer.clear();
    let cut = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    if let Err(e) = input.take(cut).read_to_end(buffer) {
        reading.refuse("archive", "", format!("cannot be read to its end: {e}"));
        return false;
    }
    if buffer.len() > most {
        reading.refuse("limit", "", format!("over {most} bytes (limits.feed_document_bytes)"));
        return false;
    }
    true
}

pub(crate) fn is_json(name: &str) -> bool {
    name.ends_with(".json")
}

fn each_of_zip(
    file: &str,
    bytes: &[u8],
    limits: &Limits,
    sink: &mut dyn Sink,
    wanted: &dyn Fn(&str) -> bool,
    visit: &mut dyn FnMut(&mut Reading, &mut dyn Read),
) {
    let mut whole = Reading::new(file, limits, sink);
    let mut zip = match zip::ZipArchive::new(Cursor::new(bytes)) {
        Ok(zip) => zip,
        Err(e) => return whole.refuse("archive", "", format!("not a zip file that can be read: {e}")),
    };
    let mut left = limits.feed_bytes;
    for at in 0..zip.len() {
        if at >= limits.feed_documents {
            return whole.refuse("limit", "", format!("over {} documents (limits.feed_documents)", limits.feed_documents));
        }
        let entry = match zip.by_index(at) {
            Ok(entry) => entry,
            Err(e) => {
                whole.refuse("archive", &format!("entry {at}"), e.to_string());
                continue;
            }
        };
        let name = String::from_utf8_lossy(entry.name_raw()).into_owned();
        if !entry.is_file() || !wanted(&name) {
            continue;
        }
        let name = format!("{file}/{name}");
        let mut counted = Counted { inner: Capped::new(entry, left), read: 0 };
        visit(&mut Reading::new(&name, limits, &mut *whole.sink), &mut counted);
        left = left.saturating_sub(counted.read);
    }
}

/// Notes how much was read.
struct Counted<R> {
    inner: R,
    read: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buf)?;
        self.read += u64::try_from(read).unwrap_or(u64::MAX);
        Ok(read)
    }
}

/// Lets a reader of records read only so much for one record: an unclosed quote would take in the rest of the file.
pub(crate) struct Leash<'r> {
    inner: &'r mut dyn Read,
    left: Rc<Cell<usize>>,
}

/// Given back for each record: [`Slack::renew`].
pub(crate) struct Slack(Rc<Cell<usize>>);

/// Bytes of one record, with what the reader takes in advance.
const RECORD: usize = 4 << 20;

impl Slack {
    pub(crate) fn renew(&self) {
        self.0.set(RECORD);
    }
}

impl<'r> Leash<'r> {
    pub(crate) fn new(inner: &'r mut dyn Read) -> (Leash<'r>, Slack) {
        let left = Rc::new(Cell::new(RECORD));
        (Leash { inner, left: left.clone() }, Slack(left))
    }
}

impl Read for Leash<'_> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buf)?;
        match self.left.get().checked_sub(read) {
            Some(left) => self.left.set(left),
            None => return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "a record of over 4 MiB; is a quote not closed?")),
        }
        Ok(read)
    }
}

/// One header of a tar file: POSIX, with GNU's and pax's long names.
struct Header {
    name: String,
    size: u64,
    kind: u8,
}

/// A number of a header: octal text, or GNU's big-endian binary for what that cannot hold.
fn number(field: &[u8]) -> Option<u64> {
    if let [0x80, rest @ ..] = field {
        return rest.iter().try_fold(0u64, |n, b| n.checked_mul(256)?.checked_add(u64::from(*b)));
    }
    let mut digits = field.iter().skip_while(|b| **b == b' ').take_while(|b| (b'0'..=b'7').contains(*b));
    digits.try_fold(0u64, |n, b| n.checked_mul(8)?.checked_add(u64::from(b - b'0')))
}

fn text(field: &[u8]) -> String {
    let end = field.iter().position(|b| *b == 0).unwrap_or(field.len());
    String::from_utf8_lossy(field.get(..end).unwrap_or_default()).into_owned()
}

fn header(block: &[u8; 512]) -> Option<Header> {
    let field = |from: usize, len: usize| block.get(from..from + len).unwrap_or_default();
    let sum: u64 = block.iter().enumerate().map(|(i, b)| if (148..156).contains(&i) { 32 } else { u64::from(*b) }).sum();
    if number(field(148, 8)) != Some(sum) {
        return None;
    }
    let (name, prefix) = (text(field(0, 100)), text(field(345, 155)));
    let posix = field(257, 6) == b"ustar\0";
    let name = if posix && !prefix.is_empty() { format!("{prefix}/{name}") } else { name };
    Some(Header { name, size: number(field(124, 12))?, kind: *block.get(156)? })
}

/// Of the records of a pax header (`length key=value`), the path.
fn pax_path(records: &[u8]) -> Option<String> {
    let mut rest = records;
    let mut path = None;
    while let Some(blank) = rest.iter().position(|b| *b == b' ') {
        let length: usize = std::str::from_utf8(rest.get(..blank)?).ok()?.parse().ok()?;
        let record = rest.get(blank + 1..length)?;
        if let Some(value) = record.strip_prefix(b"path=") {
            path = Some(String::from_utf8_lossy(value.strip_suffix(b"\n").unwrap_or(value)).into_owned());
        }
        rest = rest.get(length..)?;
    }
    path
}

/// Bytes of a long name or of extended headers: more is nothing that names a file.
const NAME: u64 = 1 << 20;

fn each_of_tar(
    whole: &mut Reading,
    input: &mut dyn Read,
    wanted: &dyn Fn(&str) -> bool,
    visit: &mut dyn FnMut(&mut Reading, &mut dyn Read),
) {
    let file = whole.document.clone();
    let mut long_name = None;
    let mut documents = 0usize;
    loop {
        let mut block = [0u8; 512];
        if let Err(e) = input.read_exact(&mut block) {
            return whole.refuse("archive", "", format!("the tar file ends before its end, after {documents} documents: {e}"));
        }
        if block.iter().all(|b| *b == 0) {
            return;
        }
        let Some(header) = header(&block) else {
            return whole.refuse("archive", "", format!("damaged tar header after {documents} documents"));
        };
        let mut entry = Counted { inner: (&mut *input).take(header.size), read: 0 };
        match header.kind {
            b'L' | b'x' if header.size <= NAME => {
                let mut name = Vec::new();
                if let Err(e) = entry.read_to_end(&mut name) {
                    return whole.refuse("archive", "", e.to_string());
                }
                long_name = if header.kind == b'L' { Some(text(&name)) } else { pax_path(&name).or(long_name) };
            }
            b'0' | 0 => {
                let name = long_name.take().unwrap_or(header.name);
                if wanted(&name) {
                    documents += 1;
                    if documents > whole.limits.feed_documents {
                        let most = whole.limits.feed_documents;
                        return whole.refuse("limit", "", format!("over {most} documents (limits.feed_documents)"));
                    }
                    visit(&mut Reading::new(&format!("{file}/{name}"), whole.limits, &mut *whole.sink), &mut entry);
                }
            }
            _ => long_name = None,
        }
        let read = entry.read;
        // To the next multiple of 512, whatever of the entry was read.
        let Some(padded) = header.size.checked_next_multiple_of(512) else {
            return whole.refuse("archive", "", "a tar entry of impossible size");
        };
        let rest = padded - read;
        match std::io::copy(&mut (&mut *input).take(rest), &mut std::io::sink()) {
            Ok(skipped) if skipped == rest => {}
            Ok(_) => return whole.refuse("archive", "", "the tar file ends inside an entry"),
            Err(e) => return whole.refuse("archive", "", e.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::Batch;

    fn tar(entries: &[(&str, u8, &[u8])]) -> Vec<u8> {
        let mut out = Vec::new();
        for (name, kind, body) in entries {
            let mut block = [0u8; 512];
            block[..name.len()].copy_from_slice(name.as_bytes());
            block[124..135].copy_from_slice(format!("{:011o}", body.len()).as_bytes());
            block[156] = *kind;
            block[257..263].copy_from_slice(b"ustar\0");
            block[148..156].copy_from_slice(b"        ");
            let sum: u32 = block.iter().map(|b| u32::from(*b)).sum();
            block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            out.extend(block);
            out.extend(*body);
            out.resize(out.len().next_multiple_of(512), 0);
        }
        out.resize(out.len() + 1024, 0);
        out
    }

    fn names(bytes: &[u8], limits: &Limits) -> (Vec<(String, usize)>, Vec<String>) {
        let mut batch = Batch::new(limits);
        let mut seen = Vec::new();
        each_whole("a", bytes, limits, &mut batch, &is_json, &mut |r, body| seen.push((r.document.to_string(), body.len())));
        (seen, batch.problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn documents_of_a_tar_with_long_names() {
        let limits = Limits::default();
        let long = format!("{}.json\0", "d/".repeat(80));
        let bytes = tar(&[
            ("d/", b'5', b""),
            ("x.json", b'0', &[7; 700]),
            ("y.txt", b'0', b"no"),
            ("././@LongLink", b'L', long.as_bytes()),
            ("d/d", b'0', b"{}"),
            ("p", b'x', b"15 path=q.json\n"),
            ("r", b'0', b"[]"),
        ]);
        let (seen, problems) = names(&bytes, &limits);
        assert_eq!(problems, Vec::<String>::new());
        assert_eq!(seen, [("a/x.json".to_owned(), 700), (format!("a/{}.json", "d/".repeat(80)), 2), ("a/q.json".into(), 2)]);
        let packed = zstd::bulk::compress(&bytes, 3).expect("zstd");
        assert_eq!(names(&packed, &limits).0.len(), 3);
        // Cut anywhere, it says so.
        for cut in [600, 1300, bytes.len() - 1024] {
            assert_eq!(names(&bytes[..cut], &limits).1.len(), 1, "{cut}");
        }
        let few = Limits { feed_documents: 1, feed_document_bytes: 100, ..limits };
        assert!(names(&bytes, &few).1.iter().all(|p| p.contains("limits.feed_document")));
    }

    #[test]
    fn a_file_that_is_no_archive_is_one_document() {
        assert_eq!(names(b"\xef\xbb\xbf{}", &Limits::default()).0, [("a".to_owned(), 2)]);
        assert_eq!(names(b"", &Limits::default()).0, [("a".to_owned(), 0)]);
        assert!(names(b"PK\x03\x04 and nothing more", &Limits::default()).1[0].contains("zip"));
    }
}
