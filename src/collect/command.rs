//! A program of the host: arguments in, what it says out, in bounded time and memory.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const OUTPUT_BYTES: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Silence {
    /// The program is not installed.
    NotThere,
    /// With the program's name.
    Failed(String),
}

impl From<Silence> for String {
    fn from(silence: Silence) -> String {
        match silence {
            Silence::NotThere => "not installed".to_owned(),
            Silence::Failed(why) => why,
        }
    }
}

/// What it says in English without colours, once it has ended well.
pub(super) fn ask(program: &str, arguments: &[&str], patience: Duration) -> Result<String, Silence> {
    let said = |e: std::io::Error| Silence::Failed(format!("{program}: {e}"));
    let mut child = Command::new(program)
        .args(arguments)
        .env("LC_ALL", "C")
        .env("SYSTEMD_COLORS", "0")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| if e.kind() == std::io::ErrorKind::NotFound { Silence::NotThere } else { said(e) })?;
    let readers = [child.stdout.take().map(read_all), child.stderr.take().map(read_all)];
    let begun = Instant::now();
    let status = loop {
        match child.try_wait().map_err(said)? {
            Some(status) => break status,
            None if begun.elapsed() > patience => {
                let ended = child.kill().and_then(|()| child.wait());
                let end = if ended.is_ok() { "ended" } else { "left" };
                return Err(Silence::Failed(format!("{program}: no answer within {} s ({end})", patience.as_secs())));
            }
            None => std::thread::sleep(Duration::from_millis(5)),
        }
    };
    let [out, err] = readers.map(|reader| reader.and_then(|r| r.join().ok()).unwrap_or_default());
    match status.success() {
        true => Ok(out),
        false => Err(Silence::Failed(format!("{program}: {}", err.lines().map(str::trim).find(|l| !l.is_empty()).unwrap_or("failed")))),
    }
}

/// Reads beside the waiting, so that a full pipe holds nobody up.
fn read_all(from: impl Read + Send + 'static) -> std::thread::JoinHandle<String> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let read = from.take(OUTPUT_BYTES).read_to_end(&mut bytes);
        if read.is_ok() { String::from_utf8_lossy(&bytes).into_owned() } else { String::new() }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_and_silences() {
        let ask = |script: &str, patience: u64| ask("sh", &["-c", script], Duration::from_secs(patience));
        assert_eq!(ask("echo yes", 60), Ok("yes\n".to_owned()));
        assert_eq!(ask("echo; echo no >&2; exit 3", 60), Err(Silence::Failed("sh: no".to_owned())));
        assert_eq!(ask("sleep 60", 0), Err(Silence::Failed("sh: no answer within 0 s (ended)".to_owned())));
        assert_eq!(super::ask("no-such-program-of-muster", &[], Duration::from_secs(1)), Err(Silence::NotThere));
    }
}
