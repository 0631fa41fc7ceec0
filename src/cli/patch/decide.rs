//! `muster patch lists` and `muster patch exempt`: what people decide, kept by a server.

use std::path::PathBuf;

use clap::Subcommand;
use hyper::Method;
use muster::patch::filter::parse_time;
use serde_json::{Value, json};

use super::super::output::Format;
use super::super::{Outcome, Usage};
use super::server::{self, Server, path};
use super::{print, show};

/// Which server keeps them.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Where to look")]
struct At {
    #[arg(long, value_name = "URL", global = true)]
    server: Option<String>,
    /// The administrator's token
    #[arg(long, value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Certificates to trust next to the public ones (PEM)
    #[arg(long, value_name = "FILE", global = true)]
    ca: Option<PathBuf>,
    #[arg(long, value_enum, default_value_t, global = true)]
    output: Format,
}

impl At {
    fn open(&self) -> anyhow::Result<Server> {
        server::needed(self.server.as_deref(), self.token_file.as_deref(), self.ca.as_deref())
    }
}

#[derive(Debug, clap::Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    command: Option<ListCommand>,
}

#[derive(Debug, Subcommand)]
enum ListCommand {
    /// A list as it is now
    Show { name: String },
    /// Make a list from a filter, or a new version of it; the filter is resolved now and not again
    Make {
        name: String,
        /// Which patches (docs/PATCHES.md)
        #[arg(long, value_name = "TEXT")]
        filter: String,
        #[command(flatten)]
        signed: Signed,
    },
    /// Make a new version by hand
    Edit {
        name: String,
        /// Ids of patches to put in
        #[arg(long, num_args = 1.., value_name = "ID")]
        add: Vec<String>,
        /// Ids of patches to take out
        #[arg(long, num_args = 1.., value_name = "ID")]
        remove: Vec<String>,
        #[command(flatten)]
        signed: Signed,
    },
    /// Every version, the newest first
    History { name: String },
}

/// Who makes a version, and why.
#[derive(Debug, clap::Args)]
struct Signed {
    #[arg(long, value_name = "NAME")]
    author: String,
    /// Why
    #[arg(long, value_name = "TEXT", default_value = "")]
    note: String,
}

pub(super) fn lists(args: ListArgs) -> anyhow::Result<Outcome> {
    let server = args.at.open()?;
    let put = |name: &str, body: Value| server.send(Method::PUT, &path(&["patch-lists", name], &[]), Some(&body));
    let (document, table): (Value, print::Table) = match args.command {
        None => (server.pages("/v1/patch-lists", None)?, print::lists),
        Some(ListCommand::Show { name }) => (server.get(&path(&["patch-lists", &name], &[]))?, print::list),
        Some(ListCommand::Make { name, filter, signed }) => {
            (put(&name, json!({"filter": filter, "author": signed.author, "note": signed.note}))?, print::list)
        }
        Some(ListCommand::Edit { name, add, remove, signed }) => {
            if add.is_empty() && remove.is_empty() {
                return Err(Usage("nothing is changed: give --add or --remove".to_owned()).into());
            }
            (put(&name, json!({"add": add, "remove": remove, "author": signed.author, "note": signed.note}))?, print::list)
        }
        Some(ListCommand::History { name }) => (server.get(&path(&["patch-lists", &name, "versions"], &[]))?, print::versions),
    };
    show(&document, args.at.output, table)?;
    Ok(Outcome::Fine)
}

#[derive(Debug, clap::Args)]
pub(super) struct ExemptArgs {
    #[command(flatten)]
    at: At,
    #[command(subcommand)]
    command: ExemptCommand,
}

#[derive(Debug, Subcommand)]
enum ExemptCommand {
    /// The exemptions that there are
    List,
    /// Do not install these patches at an endpoint, at a group, or anywhere
    #[command(group = clap::ArgGroup::new("scope").required(true))]
    Add {
        /// Ids of patches; * and ? stand for more
        #[arg(long, required = true, num_args = 1.., value_name = "ID")]
        patch: Vec<String>,
        #[arg(long, value_name = "ID", group = "scope")]
        endpoint: Option<String>,
        #[arg(long, value_name = "NAME", group = "scope")]
        group: Option<String>,
        #[arg(long, group = "scope")]
        everywhere: bool,
        /// Why
        #[arg(long, value_name = "TEXT")]
        reason: String,
        /// Who takes the responsibility
        #[arg(long, value_name = "NAME")]
        approver: String,
        /// When it is over: 2026-12-31, or 30d (h, w) from now; without it: when somebody ends it
        #[arg(long, value_name = "TIME")]
        until: Option<String>,
    },
    /// End an exemption now
    End {
        id: String,
        /// Who ends it
        #[arg(long, value_name = "NAME")]
        by: String,
    },
}

pub(super) fn exempt(args: ExemptArgs) -> anyhow::Result<Outcome> {
    let server = args.at.open()?;
    let (document, table): (Value, print::Table) = match args.command {
        ExemptCommand::List => (server.pages("/v1/exemptions", None)?, print::exemptions),
        ExemptCommand::Add { patch, endpoint, group, everywhere, reason, approver, until } => {
            let expires =
                match &until {
                    Some(text) => Some(parse_time(text, muster::clock::now()).ok_or_else(|| {
                        Usage(format!("--until `{text}` is no time; write 2026-12-31, an instant, or 30d (h, w) from now"))
                    })?),
                    None => None,
                };
            let scope = match (endpoint, group) {
                (Some(id), _) => json!({"endpoint": id}),
                (_, Some(name)) => json!({"group": name}),
                _ => json!(everywhere.then_some("everywhere")),
            };
            let body = json!({"scope": scope, "patches": patch, "reason": reason, "approver": approver, "expires_at": expires});
            (server.send(Method::POST, "/v1/exemptions", Some(&body))?, print::exemption)
        }
        ExemptCommand::End { id, by } => {
            server.send(Method::DELETE, &path(&["exemptions", &id], &[("by", Some(&by))]), None)?;
            return Ok(Outcome::Fine);
        }
    };
    show(&document, args.at.output, table)?;
    Ok(Outcome::Fine)
}
