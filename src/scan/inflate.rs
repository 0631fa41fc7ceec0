//! Decompression of uploads and content: gzip, bzip2, zstd and xz, with a cap on the result and on its ratio to what was sent.
//!
//! `compressed bytes -> at most limits.inflated_bytes`. The only place that may name a raw decoder.

#![expect(clippy::disallowed_types, reason = "this is where the decoders are capped")]

use std::io::Read;

use zstd::zstd_safe::DDict;

use crate::limits::Limits;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    Identity,
    Gzip,
    Bzip2,
    Zstd,
    /// With a dictionary that both sides know (RFC 9842).
    Dcz,
    Xz,
}

impl Encoding {
    /// From a `Content-Encoding` value; `None` for what is not known.
    pub fn by_name(name: &str) -> Option<Encoding> {
        match name.trim().to_ascii_lowercase().as_str() {
            "" | "identity" => Some(Encoding::Identity),
            "gzip" | "x-gzip" => Some(Encoding::Gzip),
            "bzip2" | "x-bzip2" => Some(Encoding::Bzip2),
            "zstd" => Some(Encoding::Zstd),
            "dcz" => Some(Encoding::Dcz),
            _ => None,
        }
    }

    /// From the first bytes of a file.
    pub fn sniff(bytes: &[u8]) -> Encoding {
        match bytes {
            [0x1f, 0x8b, ..] => Encoding::Gzip,
            [b'B', b'Z', b'h', b'1'..=b'9', ..] => Encoding::Bzip2,
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Encoding::Zstd,
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Encoding::Xz,
            _ => Encoding::Identity,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum InflateError {
    #[error("the body is not valid {0}: {1}")]
    Damaged(&'static str, std::io::Error),
    #[error("the body is more than {limit} bytes when decompressed (limits.inflated_bytes)")]
    TooLarge { limit: usize },
    #[error("the body grows more than {limit} times when decompressed (limits.inflate_ratio)")]
    TooDense { limit: usize },
    #[error("the body was compressed with a dictionary that this server does not have, or has no more; send it without one")]
    UnknownDictionary,
}

/// What any upload may grow to, whatever its ratio.
const FREE: usize = 64 << 10;

/// What a body says that it is when it is decompressed, before it is; none for encodings that do not say it.
pub fn inflated_size(encoding: Encoding, body: &[u8]) -> Option<usize> {
    match encoding {
        Encoding::Identity => Some(body.len()),
        Encoding::Zstd => zstd::zstd_safe::get_frame_content_size(body).ok()?.and_then(|size| usize::try_from(size).ok()),
        Encoding::Dcz => inflated_size(Encoding::Zstd, split(body)?.1),
        Encoding::Gzip | Encoding::Bzip2 | Encoding::Xz => None,
    }
}

/// What a body begins with that was compressed with a dictionary; the SHA-256 of that follows.
pub const DCZ_MAGIC: [u8; 8] = [0x5e, 0x2a, 0x4d, 0x18, 0x20, 0, 0, 0];
pub type DictionaryId = [u8; 32];

/// The dictionary that a body names, and its frame.
pub fn split(body: &[u8]) -> Option<(DictionaryId, &[u8])> {
    let (head, frame) = body.split_at_checked(DCZ_MAGIC.len() + 32)?;
    Some((head.strip_prefix(&DCZ_MAGIC)?.try_into().ok()?, frame))
}

/// Decompresses a frame that was made with a dictionary, as [`inflate`] does others. What the dictionary itself may bring, `brought` bytes, is no bomb.
pub fn inflate_with(dictionary: &DDict<'_>, brought: usize, frame: &[u8], limits: &Limits, out: &mut Vec<u8>) -> Result<(), InflateError> {
    thread_local! {
        static CONTEXT: std::cell::RefCell<Option<zstd::zstd_safe::DCtx<'static>>> = const { std::cell::RefCell::new(None) };
    }
    out.clear();
    let damaged = |why: &str| InflateError::Damaged("dcz", std::io::Error::other(why.to_owned()));
    let by_ratio = FREE.max(frame.len().saturating_mul(limits.inflate_ratio)).saturating_add(brought);
    let size = inflated_size(Encoding::Zstd, frame).ok_or_else(|| damaged("its frame does not say how large it is"))?;
    if size > limits.inflated_bytes {
        return Err(InflateError::TooLarge { limit: limits.inflated_bytes });
    }
    if size > by_ratio {
        return Err(InflateError::TooDense { limit: limits.inflate_ratio });
    }
    if zstd::zstd_safe::find_frame_compressed_size(frame) != Ok(frame.len()) {
        return Err(damaged("it is not one whole frame"));
    }
    out.reserve(size);
    CONTEXT.with_borrow_mut(|context| {
        let context = match context {
            Some(c) => c,
            none => none.insert(zstd::zstd_safe::DCtx::try_create().ok_or_else(|| damaged("no memory for a decoder"))?),
        };
        context.decompress_using_ddict(out, frame, dictionary).map(|_| ()).map_err(|code| {
            let why = damaged(zstd::zstd_safe::get_error_name(code));
            out.clear();
            why
        })
    })
}

/// Decompresses into `out`, which is emptied first and keeps its memory.
pub fn inflate(encoding: Encoding, body: &[u8], limits: &Limits, out: &mut Vec<u8>) -> Result<(), InflateError> {
    out.clear();
    // Enforced before the memory is spent: the reader is cut one byte past what is allowed.
    let by_ratio = FREE.max(body.len().saturating_mul(limits.inflate_ratio));
    let allowed = limits.inflated_bytes.min(by_ratio);
    let cut = u64::try_from(allowed).unwrap_or(u64::MAX).saturating_add(1);
    let (name, read) = match encoding {
        Encoding::Identity => ("text", body.take(cut).read_to_end(out)),
        Encoding::Gzip => ("gzip", flate2::read::GzDecoder::new(body).take(cut).read_to_end(out)),
        Encoding::Bzip2 => ("bzip2", bzip2::read::MultiBzDecoder::new(body).take(cut).read_to_end(out)),
        Encoding::Zstd => ("zstd", zstd(body, allowed, cut, out)),
        Encoding::Dcz => return Err(InflateError::UnknownDictionary),
        Encoding::Xz => ("xz", xz(body).take(cut).read_to_end(out)),
    };
    read.map_err(|e| InflateError::Damaged(name, e))?;
    if out.len() <= allowed {
        return Ok(());
    }
    out.clear();
    Err(if allowed < limits.inflated_bytes {
        InflateError::TooDense { limit: limits.inflate_ratio }
    } else {
        InflateError::TooLarge { limit: limits.inflated_bytes }
    })
}

/// A dictionary of at most 64 MiB, which is what the strongest preset asks for, bounds the decoder's own memory.
fn xz(body: &[u8]) -> lzma_rust2::XzReader<&[u8]> {
    lzma_rust2::XzReader::new_mem_limit(body, true, (64 << 10) + 1024)
}

/// The decompressed bytes as a stream, for feeds that are larger than memory should be. Reading more than `cap` of them is an error.
pub fn stream<'a>(body: &'a [u8], cap: u64) -> std::io::Result<Capped<Box<dyn Read + 'a>>> {
    let inner: Box<dyn Read + 'a> = match Encoding::sniff(body) {
        Encoding::Identity => Box::new(body),
        Encoding::Gzip => Box::new(flate2::read::MultiGzDecoder::new(body)),
        Encoding::Bzip2 => Box::new(bzip2::read::MultiBzDecoder::new(body)),
        // No file is known to be compressed with a dictionary.
        Encoding::Dcz => return Err(std::io::Error::other("compressed with a dictionary")),
        Encoding::Zstd => {
            let mut decoder = zstd::stream::read::Decoder::new(body)?;
            // 128 MiB: what `zstd --long` makes and Red Hat's archives use.
            decoder.window_log_max(27)?;
            Box::new(decoder)
        }
        Encoding::Xz => Box::new(xz(body)),
    };
    Ok(Capped { inner, left: cap })
}

/// A reader that fails where more than a cap would come out, so that what is cut off is never taken for the end.
pub struct Capped<R> {
    inner: R,
    left: u64,
}

impl<R> Capped<R> {
    pub fn new(inner: R, cap: u64) -> Capped<R> {
        Capped { inner, left: cap }
    }
}

impl<R: Read> Read for Capped<R> {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        let read = self.inner.read(buf)?;
        match self.left.checked_sub(u64::try_from(read).unwrap_or(u64::MAX)) {
            Some(left) => self.left = left,
            None => return Err(std::io::Error::new(std::io::ErrorKind::FileTooLarge, "more bytes than are allowed")),
        }
        Ok(read)
    }
}

thread_local! {
    /// A zstd context costs more to make than a small upload to inflate.
    static ZSTD: std::cell::RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { std::cell::RefCell::new(None) };
}

/// At once where the frame says its size, as our own agents' do; as a stream otherwise.
fn zstd(body: &[u8], allowed: usize, cut: u64, out: &mut Vec<u8>) -> std::io::Result<usize> {
    if let Ok(Some(size)) = zstd::zstd_safe::get_frame_content_size(body)
        && let Ok(size) = usize::try_from(size)
    {
        if size > allowed {
            // One byte too many is all that the caller needs to know.
            out.resize(allowed + 1, 0);
            return Ok(allowed + 1);
        }
        if zstd::zstd_safe::find_frame_compressed_size(body) == Ok(body.len()) {
            out.reserve(size);
            return ZSTD.with_borrow_mut(|context| {
                let context = match context {
                    Some(c) => c,
                    none => none.insert(zstd::bulk::Decompressor::new()?),
                };
                context.decompress_to_buffer(body, out)
            });
        }
    }
    // Several frames, or one of unknown size. A window of at most 8 MiB bounds the decoder's own memory.
    let mut decoder = zstd::stream::read::Decoder::new(body)?;
    decoder.window_log_max(23)?;
    decoder.take(cut).read_to_end(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut w = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        w.write_all(bytes).expect("gzip");
        w.finish().expect("gzip")
    }

    fn stream(bytes: &[u8]) -> Vec<u8> {
        let mut w = zstd::stream::write::Encoder::new(Vec::new(), 3).expect("zstd");
        w.write_all(bytes).expect("zstd");
        w.finish().expect("zstd")
    }

    #[test]
    fn all_encodings_come_back() {
        let text: Vec<u8> = (0..200_000u32).flat_map(|i| i.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
        let limits = Limits::default();
        let mut out = Vec::new();
        for (encoding, body) in [
            (Encoding::Identity, text.clone()),
            (Encoding::Gzip, gzip(&text)),
            (Encoding::Zstd, zstd::bulk::compress(&text, 3).expect("zstd")),
            (Encoding::Zstd, stream(&text)),
        ] {
            inflate(encoding, &body, &limits, &mut out).expect("inflate");
            assert!(out == text, "{encoding:?}");
            assert_eq!(Encoding::sniff(&body), encoding);
        }
    }

    #[test]
    fn bombs_and_damage_are_refused() {
        let bomb = vec![0u8; 40 << 20];
        let limits = Limits { inflated_bytes: 32 << 20, ..Limits::default() };
        let mut out = Vec::new();
        for (encoding, body) in [
            (Encoding::Gzip, gzip(&bomb)),
            (Encoding::Zstd, zstd::bulk::compress(&bomb, 3).expect("zstd")),
            (Encoding::Zstd, stream(&bomb)),
        ] {
            let error = inflate(encoding, &body, &limits, &mut out).expect_err("bomb").to_string();
            assert!(error.contains("limits.inflate"), "{error}");
            assert!(out.is_empty());
            let error = inflate(encoding, &body[..body.len() / 2], &limits, &mut out);
            assert!(error.is_err(), "{encoding:?} cut short");
        }
        assert!(inflate(Encoding::Zstd, b"not zstd at all", &limits, &mut out).is_err());
    }
}
