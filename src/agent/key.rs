//! Keys and secrets in files: only their owner may read what we write, and there is a place for a key before it is asked for.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

/// Bytes of a key or a secret; a larger file is something else.
const SECRET_MAX: u64 = 4096;

#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("`{}` {why}: it must hold one key or secret and nothing else", path.display())]
    Content { path: PathBuf, why: &'static str },
    #[error("cannot write `{}`: {source}; its folder must be there and writable", path.display())]
    Write { path: PathBuf, source: io::Error },
}

/// A key or secret from a file, without blanks around it; none where there is no file.
pub fn read_secret(path: &Path) -> Result<Option<String>, KeyError> {
    let fail = |source| KeyError::Read { path: path.to_owned(), source };
    let content = |why| Err(KeyError::Content { path: path.to_owned(), why });
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(e) => return Err(fail(e)),
    };
    let mut bytes = Vec::new();
    file.take(SECRET_MAX).read_to_end(&mut bytes).map_err(fail)?;
    let Ok(text) = String::from_utf8(bytes) else { return content("is not text") };
    match text.trim() {
        "" => content("is empty"),
        secret if secret.chars().any(|c| c.is_whitespace() || c.is_control()) => content("holds several words"),
        secret => Ok(Some(secret.to_owned())),
    }
}

/// A place for a key that does not exist yet: made before enrolling, so that a key is never given out and then lost.
#[derive(Debug)]
pub struct KeySlot {
    aside: NamedTempFile,
    path: PathBuf,
}

impl KeySlot {
    pub fn prepare(path: &Path) -> Result<KeySlot, KeyError> {
        let folder = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let made = NamedTempFile::new_in(folder);
        let aside = made.map_err(|source| KeyError::Write { path: path.to_owned(), source })?;
        Ok(KeySlot { aside, path: path.to_owned() })
    }

    /// Mode 0600, as temporary files are made.
    pub fn keep(mut self, key: &str) -> Result<(), KeyError> {
        let path = self.path;
        let fail = |source| KeyError::Write { path: path.clone(), source };
        writeln!(self.aside, "{key}").map_err(fail)?;
        self.aside.as_file().sync_all().map_err(fail)?;
        self.aside.persist(&path).map_err(|e| fail(e.error))?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_come_back_and_are_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("key");
        assert_eq!(read_secret(&path).unwrap(), None);
        KeySlot::prepare(&path).unwrap().keep("mk_abc").unwrap();
        assert_eq!(read_secret(&path).unwrap().as_deref(), Some("mk_abc"));
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        for (content, says) in [("", "is empty"), ("a b", "several words"), ("a\nb", "several words")] {
            std::fs::write(&path, content).unwrap();
            assert!(read_secret(&path).unwrap_err().to_string().contains(says));
        }
        assert!(KeySlot::prepare(Path::new("/nowhere/at/all")).unwrap_err().to_string().contains("/nowhere/at/all"));
    }
}
