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
    match args.link_fd.filter(|_| !args.stdio) {
        Some(descriptor) => {
            let link = xdist_worker::inherited_link(descriptor)
                .with_context(|| format!("descriptor {descriptor} is no link to a coordinator"))?;
            xdist_worker::run_host(link, HostOptions::default())?;
        }
        None => {
            let options = HostOptions { existing_directories: true, ..HostOptions::default() };
            xdist_worker::run_on_stdio(&args.greeting, options)?;
        }
    }
    Ok(ExitCode::Ok)
}
