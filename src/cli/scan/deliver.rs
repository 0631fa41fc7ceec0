//! Where a scan goes: to a file, or to a server under an endpoint's key.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use clap::ValueEnum;
use muster::agent::{KeySlot, Server, Uploaded, compress, read_secret};
use muster::client::{Client, Options};
use muster::scan::inflate::Encoding;
use muster::scan::{Scan, native};

use crate::cli::Usage;
use crate::cli::output::{self, note};

#[derive(Debug, clap::Args)]
pub(super) struct Deliver {
    /// The endpoint's id [default: the host name]
    #[arg(long, value_name = "ID")]
    endpoint: Option<String>,
    /// Where to write the scan; - is stdout [default: stdout, or nowhere with --server]
    #[arg(long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Upload to this server
    #[arg(long, value_name = "URL", requires = "key_file")]
    server: Option<String>,
    /// The endpoint's key; written when it enrols
    #[arg(long, value_name = "FILE", requires = "server")]
    key_file: Option<PathBuf>,
    /// The secret to enrol with when there is no key yet
    #[arg(long, value_name = "FILE", requires = "server")]
    enroll_secret_file: Option<PathBuf>,
    /// Certificates to trust next to the public ones (PEM)
    #[arg(long, value_name = "FILE", requires = "server")]
    ca: Option<PathBuf>,
    /// Print the server's answer as JSON
    #[arg(long, requires = "server")]
    json: bool,
    /// How to compress the scan [default: zstd to a server, none to a file]
    #[arg(long, value_enum)]
    compress: Option<Compress>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(super) enum Compress {
    Zstd,
    Gzip,
    None,
}

impl Compress {
    fn encoding(self) -> Encoding {
        match self {
            Compress::Zstd => Encoding::Zstd,
            Compress::Gzip => Encoding::Gzip,
            Compress::None => Encoding::Identity,
        }
    }
}

impl Deliver {
    pub(super) fn is_upload(&self) -> bool {
        self.server.is_some()
    }

    pub(super) fn endpoint_id(&self, hostname: Option<&str>) -> Result<String, Usage> {
        let id = self.endpoint.as_deref().or(hostname).filter(|id| !id.is_empty());
        id.map(str::to_owned).ok_or_else(|| Usage("this host has no name, give --endpoint".to_owned()))
    }

    pub(super) fn to_file(&self, scan: &Scan) -> anyhow::Result<()> {
        let output = self.output.as_deref().unwrap_or(Path::new("-"));
        keep(&native::encode(scan, None, |_| true), output, self.compress)
    }

    /// Uploads what `collect` finds for this server, as an endpoint that is enrolled first if it has no key yet. The name is that of the host.
    pub(super) fn upload(
        &self,
        hostname: Option<String>,
        collect: impl AsyncFnOnce(&mut Server) -> anyhow::Result<Scan>,
    ) -> anyhow::Result<()> {
        let (Some(url), Some(key_file)) = (&self.server, &self.key_file) else { bail!("--server needs --key-file") };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
        runtime.block_on(async {
            let client = Client::new(&Options { ca: self.ca.clone() })?;
            let key = read_secret(key_file)?;
            let is_known = key.is_some();
            let mut server = Server::new(client, url, key)?;
            let endpoint = if is_known { None } else { Some(self.enroll(&mut server, key_file, hostname.as_deref()).await?) };
            let mut scan = collect(&mut server).await?;
            if let Some(endpoint) = endpoint {
                scan.endpoint = endpoint;
            }
            let body = native::encode(&scan, None, |_| true);
            if let Some(output) = &self.output {
                keep(&body, output, self.compress)?;
            }
            let encoding = self.compress.map_or(Encoding::Zstd, Compress::encoding);
            let uploaded = server.upload(&scan.endpoint, &body, encoding).await.context("the upload failed")?;
            print_answer(&uploaded, self.json)
        })
    }

    /// Makes this host known to the server and keeps its key. The id that the server gave it.
    async fn enroll(&self, server: &mut Server, key_file: &Path, hostname: Option<&str>) -> anyhow::Result<String> {
        let Some(secret_file) = &self.enroll_secret_file else {
            bail!("there is no key in `{}`; give --enroll-secret-file to enrol this host", key_file.display());
        };
        let secret = read_secret(secret_file)?.with_context(|| format!("there is no file `{}`", secret_file.display()))?;
        // Before the server is asked, so that no key is given out that cannot be kept.
        let slot = KeySlot::prepare(key_file)?;
        let endpoint = self.endpoint_id(hostname)?;
        let enrolled = server.enroll(&secret, &endpoint, hostname).await.context("the enrolment failed")?;
        slot.keep(&enrolled.key)?;
        note(format_args!("enrolled as {}, the key is in {}", enrolled.endpoint, key_file.display()));
        if enrolled.endpoint != endpoint {
            note(format_args!("from now on give --endpoint {}", enrolled.endpoint));
        }
        Ok(enrolled.endpoint)
    }
}

fn keep(scan: &[u8], output: &Path, how: Option<Compress>) -> anyhow::Result<()> {
    let bytes = compress(scan, how.map_or(Encoding::Identity, Compress::encoding)).context("cannot compress the scan")?;
    if output == Path::new("-") {
        let mut out = output::stdout();
        out.write_all(&bytes)?;
        return Ok(out.flush()?);
    }
    std::fs::write(output, bytes).with_context(|| format!("cannot write `{}`", output.display()))
}

fn print_answer(uploaded: &Uploaded, json: bool) -> anyhow::Result<()> {
    let mut out = output::stdout();
    if json {
        out.json(uploaded)?;
        return Ok(out.flush()?);
    }
    let there = uploaded.verdicts.iter().filter(|(_, n)| **n > 0);
    let verdicts: Vec<String> = there.map(|(verdict, n)| format!("{n} {verdict}")).collect();
    writeln!(out, "scan:     {}", uploaded.scan)?;
    writeln!(out, "sequence: {}{}", uploaded.sequence, if uploaded.changed { "" } else { " (nothing changed)" })?;
    writeln!(out, "verdicts: {}", if verdicts.is_empty() { "none".to_owned() } else { verdicts.join(", ") })?;
    writeln!(out, "tasks:    {} waiting", uploaded.tasks)?;
    Ok(out.flush()?)
}
