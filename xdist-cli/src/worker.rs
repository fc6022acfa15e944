//! `xdist worker`: a worker host.

use crate::args::WorkerArgs;
use crate::exit_code::ExitCode;
use anyhow::Context;
use xdist_worker::HostOptions;

/// Serves one coordinator until its link ends.
///
/// # Errors
/// When the link cannot be used or the coordinator refuses it.
pub(crate) fn work(args: &WorkerArgs) -> anyhow::Result<ExitCode> {
    let link = xdist_worker::inherited_link(args.link_fd)
        .with_context(|| format!("descriptor {} is no link to a coordinator", args.link_fd))?;
    xdist_worker::run_host(link, HostOptions::default())?;
    Ok(ExitCode::Ok)
}
