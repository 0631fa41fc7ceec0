//! Carries tasks out with the host's package manager. `Action -> Plan -> Runner -> Ran`.
//!
//! Names come from the server: they are held to what packages are called before they reach a command line, and no shell reads it. Nothing
//! here says that a task is done; the next scan does.

use std::fmt;
use std::os::unix::fs::PermissionsExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::deploy::{Action, PatchAction};
use crate::rule::FixState;

/// A package manager may wait for locks and slow mirrors; longer than this it hangs.
const TIMEOUT: Duration = Duration::from_secs(15 * 60);
/// From asking a package manager to end to killing it.
const GRACE: Duration = Duration::from_secs(10);
/// How long what a command left running may hold its output open.
const LINGER: Duration = Duration::from_secs(1);
/// Bytes of output that are kept: the last ones, for they say what went wrong. The server keeps 4096 of a message.
const OUTPUT_MAX: usize = 3000;
/// Bytes of a package's name.
const NAME_MAX: usize = 255;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    Apt,
    Dnf,
    Yum,
    Zypper,
    Apk,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InstallError {
    #[error("`{}` is not the name of a package: letters, digits and + . _ : - are, with a letter or digit first and no - last", .0.escape_debug())]
    Name(String),
    #[error("there is no package manager that the agent knows (apt-get, dnf, yum, zypper, apk)")]
    NoManager,
    #[error(
        "the agent cannot install Windows updates ({0}): let Windows Update do it, or another tool; the next scan shows when it is done"
    )]
    WindowsUpdate(String),
    #[error("no installed package lacks `{0}` as far as the server can tell: nothing here would bring it")]
    NothingToUpgrade(String),
}

/// One command, run without a shell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommandLine {
    pub program: &'static str,
    pub args: Vec<String>,
    pub env: &'static [(&'static str, &'static str)],
}

impl fmt::Display for CommandLine {
    /// As it would be typed into a shell.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.env.iter().try_for_each(|(name, value)| write!(f, "{name}={value} "))?;
        f.write_str(self.program)?;
        for arg in &self.args {
            // INVARIANT: no argument holds a quote; names are checked and the rest is ours.
            if arg.contains(['^', '$', '\\']) { write!(f, " '{arg}'")? } else { write!(f, " {arg}")? }
        }
        Ok(())
    }
}

/// What a task comes to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Learns what there is to install, where the manager does not do so by itself. May fail: what is known already can be enough.
    pub refresh: Option<CommandLine>,
    pub command: CommandLine,
}

impl Manager {
    /// In the order in which they are looked for.
    pub const ALL: [Manager; 5] = [Manager::Apt, Manager::Dnf, Manager::Yum, Manager::Zypper, Manager::Apk];

    pub fn program(self) -> &'static str {
        match self {
            Manager::Apt => "apt-get",
            Manager::Dnf => "dnf",
            Manager::Yum => "yum",
            Manager::Zypper => "zypper",
            Manager::Apk => "apk",
        }
    }

    /// The `format` of the packages that it installs, as the table `package` names it.
    fn format(self) -> &'static str {
        match self {
            Manager::Apt => "deb",
            Manager::Dnf | Manager::Yum | Manager::Zypper => "rpm",
            Manager::Apk => "apk",
        }
    }

    /// The manager of this host. A manager of another format may be there as well (dnf on Debian, apt-get on Fedora); it is not meant.
    pub fn find(format: Option<&str>, has: impl Fn(&str) -> bool) -> Result<Manager, InstallError> {
        let fits = |m: &Manager| format.is_none_or(|f| f == m.format()) && has(m.program());
        Manager::ALL.into_iter().find(fits).ok_or(InstallError::NoManager)
    }

    /// The commands for an action. A minimum version is not in them: the latest candidate is installed, and the next scan decides.
    pub fn plan(self, action: &Action) -> Result<Plan, InstallError> {
        if let Some(patch) = &action.patch {
            return self.plan_patch(patch);
        }
        let name = checked(&action.package)?;
        let installs = action.state == FixState::Installed;
        // No `--` for dnf: dnf 5 refuses it (rpm-software-management/dnf5#700). A name never begins with `-`.
        let words: &[&str] = match (self, installs) {
            (Manager::Apt, true) => &["install", "-y", "--no-install-recommends"],
            (Manager::Apt, false) => &["remove", "-y"],
            (Manager::Dnf, true) => &["install", "-y", "--setopt=install_weak_deps=False"],
            (Manager::Yum, true) => &["install", "-y"],
            (Manager::Dnf | Manager::Yum, false) => &["remove", "-y"],
            (Manager::Zypper, true) => &["--non-interactive", "install", "--no-recommends", "--"],
            (Manager::Zypper, false) => &["--non-interactive", "remove", "--"],
            (Manager::Apk, true) => &["add", "--upgrade", "--"],
            (Manager::Apk, false) => &["del", "--"],
        };
        let mut command = self.command(words);
        self.name(&mut command, std::iter::once(name));
        Ok(Plan { refresh: self.refresh().filter(|_| installs), command })
    }

    /// The commands for a patch: installed packages are upgraded, and none is installed that was not there.
    fn plan_patch(self, patch: &PatchAction) -> Result<Plan, InstallError> {
        if patch.packages.is_empty() {
            return Err(match patch.kbs.as_slice() {
                [] => InstallError::NothingToUpgrade(patch.id.chars().take(NAME_MAX).collect()),
                kbs => InstallError::WindowsUpdate(kbs.join(", ").chars().take(NAME_MAX).collect()),
            });
        }
        let names: Vec<&str> = patch.packages.iter().map(|p| checked(&p.name)).collect::<Result<_, _>>()?;
        let words: &[&str] = match self {
            Manager::Apt => &["install", "-y", "--only-upgrade", "--no-install-recommends"],
            Manager::Dnf => &["upgrade", "-y", "--setopt=install_weak_deps=False"],
            Manager::Yum => &["update", "-y"],
            Manager::Zypper => &["--non-interactive", "update", "--no-recommends", "--"],
            Manager::Apk => &["add", "--upgrade", "--"],
        };
        let mut command = self.command(words);
        self.name(&mut command, names.into_iter());
        Ok(Plan { refresh: self.refresh(), command })
    }

    /// Ends a command with the names of packages.
    fn name<'n>(self, command: &mut CommandLine, names: impl Iterator<Item = &'n str>) {
        if self == Manager::Apt {
            // Somebody else's run is waited for, and files that the administrator changed stay.
            let options = ["DPkg::Lock::Timeout=300", "Dpkg::Options::=--force-confdef", "Dpkg::Options::=--force-confold"];
            options.iter().for_each(|option| command.args.extend(["-o".to_owned(), (*option).to_owned()]));
            command.args.push("--".to_owned());
        }
        command.args.extend(names.map(|name| if self == Manager::Apt { exactly(name) } else { name.to_owned() }));
    }

    /// What tells the manager what there is. The others do so by themselves when what they know is old.
    fn refresh(self) -> Option<CommandLine> {
        match self {
            Manager::Apt => Some(self.command(&["update", "-q"])),
            Manager::Apk => Some(self.command(&["update"])),
            Manager::Dnf | Manager::Yum | Manager::Zypper => None,
        }
    }

    fn command(self, words: &[&str]) -> CommandLine {
        let env: &'static [(&str, &str)] = match self {
            Manager::Apt => &[("DEBIAN_FRONTEND", "noninteractive")],
            _ => &[],
        };
        CommandLine { program: self.program(), args: words.iter().map(|w| (*w).to_owned()).collect(), env }
    }
}

/// The name of a package and nothing else: no option, no path, no pattern, no version (`=`). A `-` at the end would tell apt-get to remove.
fn checked(name: &str) -> Result<&str, InstallError> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"+._:-".contains(&b);
    let first = name.as_bytes().first().is_some_and(u8::is_ascii_alphanumeric);
    if first && name.len() <= NAME_MAX && name.bytes().all(fits) && !name.ends_with('-') {
        Ok(name)
    } else {
        Err(InstallError::Name(name.chars().take(NAME_MAX).collect()))
    }
}

/// A name as apt-get takes it. One that it does not know and that has a `.` or `+` in it, it would read as a regular expression
/// (`lib.` is hundreds of packages) or as the wish to install (`remove name+`); so such a name is written as the expression that only
/// it fits.
fn exactly(name: &str) -> String {
    if !name.contains(['.', '+']) {
        return name.to_owned();
    }
    let (name, architecture) = name.split_once(':').map_or((name, String::new()), |(name, of)| (name, format!(":{of}")));
    let escaped = name.replace('.', "\\.").replace('+', "\\+");
    format!("^{escaped}${architecture}")
}

/// How a command ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ran {
    pub ok: bool,
    /// For people: how it ended and the end of its output.
    pub message: String,
}

/// What runs commands; tests bring their own.
pub trait Runner: Send {
    /// Why nothing can be installed.
    fn refuses(&self) -> Option<String>;
    /// Whether there is such a program.
    fn has(&self, program: &str) -> bool;
    fn run(&mut self, command: &CommandLine) -> impl Future<Output = Ran> + Send;
}

/// Runs commands on this host.
#[derive(Clone, Copy, Debug)]
pub struct System {
    timeout: Duration,
}

impl Default for System {
    fn default() -> System {
        System { timeout: TIMEOUT }
    }
}

impl Runner for System {
    fn refuses(&self) -> Option<String> {
        let uid = rustix::process::geteuid();
        (!uid.is_root()).then(|| format!("to install needs root, and the agent runs as user {}", uid.as_raw()))
    }

    fn has(&self, program: &str) -> bool {
        let path = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&path).any(|folder| {
            let found = folder.join(program).metadata();
            found.is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        })
    }

    async fn run(&mut self, command: &CommandLine) -> Ran {
        let spawned = Command::new(command.program)
            .args(&command.args)
            .env("LC_ALL", "C")
            .envs(command.env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            // Ctrl-C is for the agent, which waits for the command to end.
            .process_group(0)
            .spawn();
        let mut child = match spawned {
            Ok(child) => child,
            Err(e) => return Ran { ok: false, message: format!("`{command}` cannot be run: {e}") },
        };
        let tail = Arc::new(Mutex::new(Vec::new()));
        let pumps = [
            child.stdout.take().map(|o| tokio::spawn(pump(o, tail.clone()))),
            child.stderr.take().map(|e| tokio::spawn(pump(e, tail.clone()))),
        ];
        let ended = timeout(self.timeout, child.wait()).await;
        let (ok, how) = match ended {
            Ok(Ok(status)) => (status.success(), said(status)),
            Ok(Err(e)) => (false, format!("cannot be waited for: {e}")),
            Err(_) => {
                end(&mut child).await;
                (false, format!("did not end within {} s and was ended", self.timeout.as_secs()))
            }
        };
        for mut pump in pumps.into_iter().flatten() {
            // A service that the package started may have inherited the pipe and never close it.
            if timeout(LINGER, &mut pump).await.is_err() {
                pump.abort();
            }
        }
        let output = tail.lock().unwrap_or_else(PoisonError::into_inner);
        Ran { ok, message: format!("`{command}` {how}\n{}", String::from_utf8_lossy(&output).trim()).trim().to_owned() }
    }
}

fn said(status: ExitStatus) -> String {
    match status.code() {
        Some(0) => "went well".to_owned(),
        Some(code) => format!("failed with exit code {code}"),
        None => format!("failed: {status}"),
    }
}

/// Asks the command and all that it started to end, and makes them.
async fn end(child: &mut Child) {
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    for signal in [Signal::TERM, Signal::KILL] {
        if let Some(group) = group {
            // One that has just ended by itself is what was wanted.
            kill_process_group(group, signal).ok();
        }
        if timeout(GRACE, child.wait()).await.is_ok() {
            return;
        }
    }
}

/// Keeps the last bytes of an output. Both outputs go into one tail, as on a terminal.
async fn pump(mut from: impl AsyncRead + Unpin, tail: Arc<Mutex<Vec<u8>>>) {
    let mut buffer = [0; 4096];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let mut tail = tail.lock().unwrap_or_else(PoisonError::into_inner);
        tail.extend_from_slice(buffer.get(..n).unwrap_or_default());
        let over = tail.len().saturating_sub(OUTPUT_MAX);
        tail.drain(..over);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn action(package: &str, state: FixState) -> Action {
        Action { package: package.to_owned(), state, minimum: Some("1".to_owned()), scheme: None, patch: None }
    }

    #[test]
    fn commands_are_exact() {
        let apt = "-o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold --";
        for (manager, install, remove) in [
            (
                Manager::Apt,
                format!("DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends {apt} '^g\\+\\+$'"),
                format!("DEBIAN_FRONTEND=noninteractive apt-get remove -y {apt} '^g\\+\\+$'"),
            ),
            (Manager::Dnf, "dnf install -y --setopt=install_weak_deps=False g++".to_owned(), "dnf remove -y g++".to_owned()),
            (Manager::Yum, "yum install -y g++".to_owned(), "yum remove -y g++".to_owned()),
            (
                Manager::Zypper,
                "zypper --non-interactive install --no-recommends -- g++".to_owned(),
                "zypper --non-interactive remove -- g++".to_owned(),
            ),
            (Manager::Apk, "apk add --upgrade -- g++".to_owned(), "apk del -- g++".to_owned()),
        ] {
            let plan = |state| manager.plan(&action("g++", state)).unwrap();
            assert_eq!(plan(FixState::Installed).command.to_string(), install);
            assert_eq!(plan(FixState::Removed).command.to_string(), remove);
            assert_eq!(plan(FixState::Removed).refresh, None);
        }
        assert_eq!(exactly("chrony-4:amd64"), "chrony-4:amd64");
        assert_eq!(exactly("python3.11:amd64"), "^python3\\.11$:amd64");
        let refresh = Manager::Apt.plan(&action("a", FixState::Installed)).unwrap().refresh.unwrap();
        assert_eq!(refresh.to_string(), "DEBIAN_FRONTEND=noninteractive apt-get update -q");
    }

    fn patch(names: &[&str], kbs: &[&str]) -> Action {
        let package = |n: &&str| crate::deploy::PatchPackage { name: (*n).to_owned(), minimum: Some("2".to_owned()), scheme: None };
        let kbs = kbs.iter().map(|k| (*k).to_owned()).collect();
        Action::of_patch(PatchAction { id: "P-1".to_owned(), packages: names.iter().map(package).collect(), kbs })
    }

    #[test]
    fn a_patch_upgrades_what_is_there() {
        let apt = "-o DPkg::Lock::Timeout=300 -o Dpkg::Options::=--force-confdef -o Dpkg::Options::=--force-confold --";
        for (manager, line) in [
            (
                Manager::Apt,
                format!("DEBIAN_FRONTEND=noninteractive apt-get install -y --only-upgrade --no-install-recommends {apt} libssl3 openssl"),
            ),
            (Manager::Dnf, "dnf upgrade -y --setopt=install_weak_deps=False libssl3 openssl".to_owned()),
            (Manager::Yum, "yum update -y libssl3 openssl".to_owned()),
            (Manager::Zypper, "zypper --non-interactive update --no-recommends -- libssl3 openssl".to_owned()),
            (Manager::Apk, "apk add --upgrade -- libssl3 openssl".to_owned()),
        ] {
            let plan = manager.plan(&patch(&["libssl3", "openssl"], &[])).unwrap();
            assert_eq!(plan.command.to_string(), line);
            assert_eq!(plan.refresh.is_some(), matches!(manager, Manager::Apt | Manager::Apk));
        }
        assert!(matches!(Manager::Apt.plan(&patch(&["openssl", "-y"], &[])), Err(InstallError::Name(_))));
        let windows = Manager::Apt.plan(&patch(&[], &["KB5031364"])).unwrap_err();
        assert!(windows.to_string().contains("cannot install Windows updates (KB5031364)"), "{windows}");
        assert!(matches!(Manager::Apt.plan(&patch(&[], &[])), Err(InstallError::NothingToUpgrade(id)) if id == "P-1"));
    }

    #[test]
    fn only_names_reach_a_command_line() {
        for name in ["chrony", "libstdc++6", "python3.11", "kernel-rt", "libc6:amd64", "7zip", "Some_Thing"] {
            assert_eq!(checked(name), Ok(name));
        }
        let long = "a".repeat(NAME_MAX + 1);
        for name in
            ["", "-y", "--reinstall", "+a", ".a", "a b", "a;b", "$(a)", "a/b", "./a.deb", "a=1", "a*", "a-", "é", "a\n", "a\0", &long]
        {
            assert!(Manager::Apt.plan(&action(name, FixState::Installed)).is_err(), "{name:?}");
        }
        let error = checked("-o\nx").unwrap_err().to_string();
        assert!(error.starts_with("`-o\\nx` is not the name"), "{error}");
    }

    #[test]
    fn the_manager_is_the_one_of_the_packages() {
        let has = |there: &'static [&str]| move |program: &str| there.contains(&program);
        assert_eq!(Manager::find(Some("rpm"), has(&["apt-get", "yum"])), Ok(Manager::Yum));
        assert_eq!(Manager::find(Some("deb"), has(&["apt-get", "dnf"])), Ok(Manager::Apt));
        assert_eq!(Manager::find(None, has(&["apk"])), Ok(Manager::Apk));
        assert_eq!(Manager::find(Some("deb"), has(&["dnf"])), Err(InstallError::NoManager));
    }

    fn sh(script: &str) -> CommandLine {
        CommandLine { program: "sh", args: vec!["-c".to_owned(), script.to_owned()], env: &[("A", "b")] }
    }

    #[tokio::test]
    async fn output_and_time_are_bounded() {
        let mut system = System::default();
        assert!(system.has("sh") && !system.has("no-such-program"));
        let ran = system.run(&sh("echo $A; echo no >&2; exit 3")).await;
        assert!(!ran.ok && ran.message.contains("failed with exit code 3\n") && ran.message.contains("no"), "{ran:?}");
        let ran = system.run(&sh("yes 0123456789 | head -c 1000000; echo the end")).await;
        assert!(ran.ok && ran.message.len() < OUTPUT_MAX + 200 && ran.message.ends_with("the end"), "{}", ran.message.len());
        let ran = system.run(&sh("echo begun; sleep 30 & exit 0")).await;
        assert!(ran.ok && ran.message.ends_with("begun"), "what it left behind is not waited for: {ran:?}");
        let mut hasty = System { timeout: Duration::from_millis(200) };
        let ran = hasty.run(&sh("echo begun; sleep 30")).await;
        assert!(!ran.ok && ran.message.contains("did not end within"), "{ran:?}");
        let gone = CommandLine { program: "no-such-program", args: vec![], env: &[] };
        assert!(hasty.run(&gone).await.message.contains("cannot be run"));
    }
}
