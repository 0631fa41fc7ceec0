//! `muster scan import`: what a host without an agent printed of itself becomes a scan.

use std::io::Read;
use std::path::{Path, PathBuf};

use anyhow::{Context, bail};
use muster::limits::Limits;
use muster::patch::systeminfo;

use super::deliver::Deliver;
use crate::cli::output::note;

/// Turn what another program tells of a host into a scan
#[derive(Debug, clap::Subcommand)]
pub(super) enum Kind {
    Systeminfo(Systeminfo),
}

/// What `systeminfo` printed on a Windows host, in any language: the tables os and hotfix
///
/// The table, list and CSV formats are read, in UTF-8, UTF-16 or any code page. What the file does not tell was not collected: only patches can be
/// judged by it.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  systeminfo > systeminfo.txt & ver >> systeminfo.txt & wmic qfe list > qfe.txt      (on the Windows host)
  muster scan import systeminfo systeminfo.txt --qfe qfe.txt --output scan.json
  muster scan import systeminfo systeminfo.txt --server https://muster.example --key-file desk-07.key --enroll-secret-file /etc/muster/enroll")]
pub(super) struct Systeminfo {
    /// What `systeminfo` printed; - is stdin
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// What `wmic qfe` or `Get-HotFix` printed: more updates, and when they were installed
    #[arg(long, value_name = "FILE")]
    qfe: Option<PathBuf>,
    #[command(flatten)]
    deliver: Deliver,
}

pub(super) fn run(kind: Kind, limits: &Limits) -> anyhow::Result<()> {
    let Kind::Systeminfo(args) = kind;
    let text = bytes(&args.file, limits)?;
    let updates = args.qfe.as_deref().map(|path| bytes(path, limits)).transpose()?;
    let imported = systeminfo::read(&text, updates.as_deref());
    let imported = imported.with_context(|| format!("`{}`", args.file.display()))?;
    for text in &imported.notes {
        note(format_args!("{text}"));
    }
    let mut scan = imported.scan;
    scan.endpoint = args.deliver.endpoint_id(scan.hostname.as_deref())?;
    scan.collected_at = Some(super::now());
    for (table, data) in &scan.tables {
        if let muster::scan::TableData::Rows(rows) = data {
            note(format_args!("{}: {} {}", scan.endpoint, table.name(), rows.len()));
        }
    }
    if args.deliver.is_upload() {
        return args.deliver.upload(scan.hostname.clone(), async |_| Ok(scan));
    }
    args.deliver.to_file(&scan)
}

/// At most one byte over the limit is read.
fn bytes(path: &Path, limits: &Limits) -> anyhow::Result<Vec<u8>> {
    let most = u64::try_from(limits.inflated_bytes).unwrap_or(u64::MAX);
    let read = |from: &mut dyn Read| {
        let mut bytes = Vec::new();
        from.take(most.saturating_add(1)).read_to_end(&mut bytes).map(|_| bytes)
    };
    let name = path.display();
    let result = if path == Path::new("-") {
        read(&mut std::io::stdin().lock())
    } else {
        std::fs::File::open(path).and_then(|mut file| read(&mut file))
    };
    let bytes = result.with_context(|| format!("cannot read `{name}`"))?;
    if bytes.len() > limits.inflated_bytes {
        bail!("`{name}` is larger than {most} bytes (limits.inflated_bytes)");
    }
    Ok(bytes)
}
