//! Whether a file is what its vendor published: checksums, and detached OpenPGP signatures through `gpgv`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use sha2::{Digest, Sha256, Sha512};

use super::folder::IoError;

/// `gpgv` reads the whole file; longer than this it hangs.
const GPGV: Duration = Duration::from_secs(600);

#[derive(Debug, thiserror::Error)]
pub enum VerifyError {
    #[error(
        "`{file}` has the {algorithm} {found}, and {wanted} was published; it is not used (if the vendor has just replaced it, the next sync will do)"
    )]
    Checksum { file: String, algorithm: &'static str, found: String, wanted: String },
    #[error("`{at}` holds no SHA-256 or SHA-512 for `{file}`")]
    NoChecksum { at: String, file: String },
    #[error(
        "signatures of feeds are verified by `gpgv`, which cannot be run ({0}): install it (package gpgv), or take `signature` or `keyring` out of the feed"
    )]
    NoGpgv(std::io::Error),
    #[error("the signature of `{file}` is not good by the keys of `{}`: {why}", keyring.display())]
    Signature { file: String, keyring: PathBuf, why: String },
    #[error(transparent)]
    Disk(#[from] IoError),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Sum {
    Sha256(String),
    Sha512(String),
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

pub(super) fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn digest<D: Digest>(path: &Path) -> Result<String, IoError> {
    let fail = |source| IoError { path: path.to_owned(), source };
    let mut file = File::open(path).map_err(fail)?;
    let mut hash = D::new();
    let mut buffer = vec![0; 1 << 20];
    loop {
        match file.read(&mut buffer).map_err(fail)? {
            0 => return Ok(hex(&hash.finalize())),
            n => hash.update(buffer.get(..n).unwrap_or_default()),
        }
    }
}

/// Hashes a file of any size.
pub(super) fn sha256_of(path: &Path) -> Result<String, IoError> {
    digest::<Sha256>(path)
}

/// Of a bare sum: which kind it is, by its length.
fn sum(text: &str) -> Option<Sum> {
    let hex = text.len().is_multiple_of(2) && text.bytes().all(|b| b.is_ascii_hexdigit());
    match text.len() {
        64 if hex => Some(Sum::Sha256(text.to_ascii_lowercase())),
        128 if hex => Some(Sum::Sha512(text.to_ascii_lowercase())),
        _ => None,
    }
}

/// `sha256:HEX` or `sha512:HEX`.
pub(super) fn pinned(text: &str) -> Option<Sum> {
    let (name, hex) = text.split_once(':')?;
    match (name, sum(hex)?) {
        ("sha256", s @ Sum::Sha256(_)) | ("sha512", s @ Sum::Sha512(_)) => Some(s),
        _ => None,
    }
}

/// The sum of a file in what `sha256sum` writes: the line that names it, or the only one.
pub(super) fn published(text: &str, file: &str) -> Option<Sum> {
    let lines: Vec<(&str, &str)> = text
        .lines()
        .map(|l| l.trim().split_once(char::is_whitespace).unwrap_or((l.trim(), "")))
        .map(|(hex, name)| (hex, name.trim_start_matches([' ', '\t', '*'])))
        .filter(|(hex, _)| sum(hex).is_some())
        .collect();
    let named = lines.iter().find(|(_, name)| name.rsplit('/').next() == Some(file));
    let found = named.or(lines.first().filter(|_| lines.len() == 1))?;
    sum(found.0)
}

/// Compares; `file` is what an error calls it.
pub(super) fn check(path: &Path, file: &str, wanted: &Sum) -> Result<(), VerifyError> {
    let (algorithm, wanted, found) = match wanted {
        Sum::Sha256(wanted) => ("SHA-256", wanted, digest::<Sha256>(path)?),
        Sum::Sha512(wanted) => ("SHA-512", wanted, digest::<Sha512>(path)?),
    };
    if *wanted == found {
        return Ok(());
    }
    Err(VerifyError::Checksum { file: file.to_owned(), algorithm, found, wanted: wanted.clone() })
}

/// Runs `gpgv`, which knows no keys but those of the keyring.
pub(super) async fn signed(keyring: &Path, signature: &Path, path: &Path, file: &str) -> Result<(), VerifyError> {
    let absolute = |path: &Path| std::path::absolute(path).map_err(|source| IoError { path: path.to_owned(), source });
    let mut command = tokio::process::Command::new("gpgv");
    command.arg("--keyring").arg(absolute(keyring)?).arg("--").arg(absolute(signature)?).arg(absolute(path)?);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true);
    let child = command.spawn().map_err(VerifyError::NoGpgv)?;
    let bad = |why: String| VerifyError::Signature { file: file.to_owned(), keyring: keyring.to_owned(), why };
    let output = match tokio::time::timeout(GPGV, child.wait_with_output()).await {
        Ok(output) => output.map_err(VerifyError::NoGpgv)?,
        Err(_) => return Err(bad(format!("gpgv did not end within {} s", GPGV.as_secs()))),
    };
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said: Vec<&str> = said.lines().map(|l| l.trim_start_matches("gpgv: ")).filter(|l| !l.is_empty()).take(5).collect();
    Err(bad(said.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_as_they_are_published() {
        let (a, b) = ("a".repeat(64), "B".repeat(128));
        assert_eq!(published(&a, "x.json"), Some(Sum::Sha256(a.clone())));
        assert_eq!(published(&format!("{a}  x.json\n"), "x.json"), Some(Sum::Sha256(a.clone())));
        assert_eq!(published(&format!("{b} *dir/x.json\n"), "x.json"), Some(Sum::Sha512("b".repeat(128))));
        let two = format!("{a}  y.json\n{b}  x.json\n");
        assert_eq!(published(&two, "x.json"), Some(Sum::Sha512("b".repeat(128))));
        assert_eq!(published(&two, "z.json"), None);
        assert_eq!(published("<html>not found</html>", "x.json"), None);
        assert_eq!(pinned(&format!("sha256:{a}")), Some(Sum::Sha256(a.clone())));
        assert_eq!(pinned(&format!("sha512:{a}")), None);
        assert_eq!(pinned(&a), None);
    }

    #[test]
    fn a_file_is_held_against_its_sum() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("x");
        std::fs::write(&path, "abc").expect("written");
        let good = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        check(&path, "x", &Sum::Sha256(good.to_owned())).expect("good");
        assert_eq!(sha256_of(&path).expect("hashed"), good);
        let error = check(&path, "x", &Sum::Sha512("0".repeat(128))).expect_err("bad").to_string();
        assert!(error.contains("`x` has the SHA-512 ddaf35a1"), "{error}");
    }
}
