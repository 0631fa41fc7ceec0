//! Who may do what: bearer tokens in, `Who` or `Denied` out. One function decides.
//!
//! Two secrets are made at the first start: the administrator's token and the enrolment secret. They lie in the data folder as bare files
//! that the administrator may take away; what the daemon needs are the SHA-256 hashes in `access.json`. An endpoint gets a key of its own when it
//! is enrolled, and the shard keeps that key's hash. Tokens are 256 random bits, so a plain hash of them is as good as a slow one.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hyper::header::{AUTHORIZATION, HeaderMap};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

pub const ADMIN_FILE: &str = "admin.token";
pub const ENROLL_FILE: &str = "enroll.secret";
const HASHES_FILE: &str = "access.json";

const ADMIN_PREFIX: &str = "mad_";
const ENROLL_PREFIX: &str = "men_";
/// An endpoint's key says whose it is, so that no index of keys is needed.
const KEY_PREFIX: &str = "mep_";
/// A value of the administrator's own choice is at least this long.
const SHORTEST: usize = 32;

pub type Hash = [u8; 32];

/// The hashes that access is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct Access {
    admin: Hash,
    enroll: Hash,
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access(..)")
    }
}

#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    #[error("`{}` cannot be used: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
    #[error("`{}` is damaged; take it away to have it made again from `{ADMIN_FILE}` and `{ENROLL_FILE}`, or anew", path.display())]
    Damaged { path: PathBuf },
    #[error("the value in `{}` is shorter than {SHORTEST} characters; take the file away to have one made", path.display())]
    Short { path: PathBuf },
    #[error("no randomness: {0}")]
    Random(#[from] getrandom::Error),
}

/// What a request needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need<'n> {
    Anyone,
    Admin,
    /// The key of this endpoint, and nobody else's.
    Endpoint(&'n str),
    /// The key of this endpoint, or the administrator.
    EndpointOrAdmin(&'n str),
    /// The key of some endpoint, which is told in [`Who`].
    AnyEndpoint,
    AnyEndpointOrAdmin,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Who {
    Anyone,
    Admin,
    Endpoint(String),
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    #[error("this needs a token: `Authorization: Bearer <token>`")]
    Missing,
    #[error("the token is not known here")]
    Unknown,
    #[error("{0}")]
    Forbidden(&'static str),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    admin_sha256: String,
    enroll_sha256: String,
}

impl Access {
    /// The hashes of a data folder; on the first start the secrets are made, and said where.
    pub fn open(data: &Path) -> Result<Access, AccessError> {
        let path = data.join(HASHES_FILE);
        match fs::read(&path) {
            Ok(bytes) => return parse(&bytes).ok_or(AccessError::Damaged { path }),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(source) => return Err(AccessError::Io { path, source }),
        }
        let admin = adopt_or_make(&data.join(ADMIN_FILE), ADMIN_PREFIX, "the administrator's token")?;
        let enroll = adopt_or_make(&data.join(ENROLL_FILE), ENROLL_PREFIX, "the enrolment secret")?;
        let access = Access { admin, enroll };
        access.write(data, &path)?;
        Ok(access)
    }

    fn write(&self, data: &Path, path: &Path) -> Result<(), AccessError> {
        let fail = |source| AccessError::Io { path: path.to_owned(), source };
        let stored = Stored { admin_sha256: to_hex(&self.admin), enroll_sha256: to_hex(&self.enroll) };
        let text = serde_json::to_vec_pretty(&stored).map_err(|e| fail(e.into()))?;
        // A temporary file has the mode 0600.
        let mut aside = tempfile::NamedTempFile::new_in(data).map_err(fail)?;
        aside.write_all(&text).and_then(|()| aside.as_file().sync_all()).map_err(fail)?;
        aside.persist(path).map_err(|e| fail(e.error))?;
        fs::File::open(data).and_then(|d| d.sync_all()).map_err(fail)
    }

    /// Whether this is the enrolment secret.
    pub fn may_enroll(&self, secret: &str) -> bool {
        same(&hash(secret.trim()), &self.enroll)
    }

    /// THE decision. `known` is the hash of the key of the endpoint that [`claims`] names, if there is one.
    pub fn authorise(&self, headers: &HeaderMap, need: Need<'_>, known: Option<Hash>) -> Result<Who, Denied> {
        if need == Need::Anyone {
            return Ok(Who::Anyone);
        }
        let token = bearer(headers).ok_or(Denied::Missing)?;
        let who = self.who(token, known).ok_or(Denied::Unknown)?;
        let allowed = match (&who, need) {
            (_, Need::Anyone) => true,
            (Who::Admin, Need::Admin | Need::EndpointOrAdmin(_) | Need::AnyEndpointOrAdmin) => true,
            (Who::Endpoint(id), Need::Endpoint(wanted) | Need::EndpointOrAdmin(wanted)) => id == wanted,
            (Who::Endpoint(_), Need::AnyEndpoint | Need::AnyEndpointOrAdmin) => true,
            _ => false,
        };
        match (allowed, &who) {
            (true, _) => Ok(who),
            (false, Who::Admin) => Err(Denied::Forbidden("only the endpoint's own key may do this, not the administrator's token")),
            (false, _) if need == Need::Admin => Err(Denied::Forbidden("this needs the administrator's token, not an endpoint's key")),
            (false, _) => Err(Denied::Forbidden("the key is another endpoint's")),
        }
    }

    fn who(&self, token: &str, known: Option<Hash>) -> Option<Who> {
        let given = hash(token);
        if same(&given, &self.admin) {
            return Some(Who::Admin);
        }
        let id = key_endpoint(token)?;
        same(&given, &known?).then_some(Who::Endpoint(id))
    }
}

/// Whose key a request brings, if it says the truth.
pub fn claims(headers: &HeaderMap) -> Option<String> {
    key_endpoint(bearer(headers)?)
}

/// Whose key this says that it is.
pub fn key_endpoint(key: &str) -> Option<String> {
    let (id, _) = key.strip_prefix(KEY_PREFIX)?.split_once('.')?;
    String::from_utf8(URL_SAFE_NO_PAD.decode(id).ok()?).ok()
}

/// A new key for an endpoint, and the hash to keep of it.
pub fn endpoint_key(id: &str) -> Result<(String, Hash), AccessError> {
    let key = format!("{KEY_PREFIX}{}.{}", URL_SAFE_NO_PAD.encode(id), random()?);
    let hash = hash(&key);
    Ok((key, hash))
}

fn bearer(headers: &HeaderMap) -> Option<&str> {
    let (scheme, token) = headers.get(AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}

fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

/// Takes the same time wherever two hashes differ.
fn same(a: &Hash, b: &Hash) -> bool {
    std::hint::black_box(a.iter().zip(b).fold(0, |differences, (x, y)| differences | (x ^ y))) == 0
}

/// 256 random bits as text.
fn random() -> Result<String, AccessError> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes)?;
    Ok(URL_SAFE_NO_PAD.encode(bytes))
}

/// The hash of the value in a file, which is made if it is not there.
fn adopt_or_make(path: &Path, prefix: &str, what: &str) -> Result<Hash, AccessError> {
    let fail = |source| AccessError::Io { path: path.to_owned(), source };
    match fs::read_to_string(path) {
        Ok(text) if text.trim().len() < SHORTEST => return Err(AccessError::Short { path: path.to_owned() }),
        Ok(text) => return Ok(hash(text.trim())),
        Err(e) if e.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(fail(source)),
    }
    let value = format!("{prefix}{}", random()?);
    let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).map_err(fail)?;
    file.write_all(value.as_bytes()).and_then(|()| file.sync_all()).map_err(fail)?;
    tracing::info!(path = %path.display(), "made {what}");
    Ok(hash(&value))
}

fn to_hex(hash: &Hash) -> String {
    hash.iter().map(|b| format!("{b:02x}")).collect()
}

fn parse(bytes: &[u8]) -> Option<Access> {
    let stored: Stored = serde_json::from_slice(bytes).ok()?;
    let from_hex = |text: &str| blake3::Hash::from_hex(text).ok().map(|h| *h.as_bytes());
    Some(Access { admin: from_hex(&stored.admin_sha256)?, enroll: from_hex(&stored.enroll_sha256)? })
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn headers(token: &str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(AUTHORIZATION, format!("Bearer {token}").parse().unwrap());
        headers
    }

    fn read(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap().trim().to_owned()
    }

    #[test]
    fn secrets_are_made_once_and_only_their_hashes_are_needed() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path()).unwrap();
        let (admin, enroll) = (read(folder.path(), ADMIN_FILE), read(folder.path(), ENROLL_FILE));
        for name in [ADMIN_FILE, ENROLL_FILE, HASHES_FILE] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{name}");
        }
        assert!(!read(folder.path(), HASHES_FILE).contains(&admin));
        // The hashes are made again from the files, and the files are not needed with the hashes.
        fs::remove_file(folder.path().join(HASHES_FILE)).unwrap();
        assert_eq!(Access::open(folder.path()).unwrap(), access);
        fs::remove_file(folder.path().join(ADMIN_FILE)).unwrap();
        fs::remove_file(folder.path().join(ENROLL_FILE)).unwrap();
        let access = Access::open(folder.path()).unwrap();
        assert!(!folder.path().join(ADMIN_FILE).exists());
        assert_eq!(access.authorise(&headers(&admin), Need::Admin, None), Ok(Who::Admin));
        assert!(access.may_enroll(&enroll) && !access.may_enroll(&admin));
    }

    #[test]
    fn what_is_damaged_or_too_short_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(ADMIN_FILE), "letmein").unwrap();
        assert!(matches!(Access::open(folder.path()), Err(AccessError::Short { .. })));
        fs::write(folder.path().join(HASHES_FILE), "{}").unwrap();
        assert!(matches!(Access::open(folder.path()), Err(AccessError::Damaged { .. })));
    }

    #[test]
    fn one_table_of_who_may_what() {
        let folder = tempfile::tempdir().unwrap();
        let access = Access::open(folder.path()).unwrap();
        let admin = read(folder.path(), ADMIN_FILE);
        let (key, hash) = endpoint_key("web:1").unwrap();
        let known = |token: &str| claims(&headers(token)).filter(|id| id == "web:1").map(|_| hash);
        let ask = |token: &str, need| access.authorise(&headers(token), need, known(token));
        assert_eq!(key_endpoint(&key).as_deref(), Some("web:1"));
        let me = || Ok(Who::Endpoint("web:1".into()));
        assert_eq!(ask(&key, Need::Endpoint("web:1")), me());
        assert_eq!(ask(&key, Need::EndpointOrAdmin("web:1")), me());
        assert_eq!(ask(&key, Need::AnyEndpointOrAdmin), me());
        assert_eq!(ask(&admin, Need::EndpointOrAdmin("web:1")), Ok(Who::Admin));
        for (token, need) in [
            (&key, Need::Admin),
            (&key, Need::Endpoint("web:2")),
            (&key, Need::EndpointOrAdmin("web:2")),
            (&admin, Need::Endpoint("web:1")),
            (&admin, Need::AnyEndpoint),
        ] {
            assert!(matches!(ask(token, need), Err(Denied::Forbidden(_))), "{need:?}");
        }
        let (stranger, _) = endpoint_key("web:2").unwrap();
        for wrong in [stranger.as_str(), "mep_", "mep_x.y", "", &format!("{key}x")] {
            assert_eq!(ask(wrong, Need::Endpoint("web:1")), Err(Denied::Unknown), "{wrong}");
        }
        assert_eq!(access.authorise(&HeaderMap::new(), Need::Admin, None), Err(Denied::Missing));
        assert_eq!(access.authorise(&HeaderMap::new(), Need::Anyone, None), Ok(Who::Anyone));
    }
}
