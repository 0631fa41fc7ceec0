//! Which server a command asks as its administrator.

use std::path::PathBuf;

pub(in crate::cli) use super::patch::server::{Server, query};

/// Which server, and who asks.
#[derive(Debug, clap::Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct Remote {
    /// The server to ask
    #[arg(long, value_name = "URL", requires = "token_file")]
    pub(crate) server: Option<String>,
    /// A file with the administrator's token
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(crate) token_file: Option<PathBuf>,
    /// A PEM file of certificates to trust beside the public ones
    #[arg(long, value_name = "FILE", requires = "server")]
    pub(crate) ca: Option<PathBuf>,
}

impl Remote {
    /// The server, if one is named.
    pub(in crate::cli) fn connect(&self) -> anyhow::Result<Option<Server>> {
        let (Some(url), Some(token_file)) = (&self.server, &self.token_file) else { return Ok(None) };
        Server::new(url, token_file, self.ca.as_deref()).map(Some)
    }
}
