//! `xdist worker`: a worker host.

use crate::args::WorkerArgs;
use crate::exit_code::ExitCode;
use crate::join;
use anyhow::{Context, anyhow, bail};
use xdist_worker::{HostError, HostOptions};

/// Serves one coordinator until its link ends.
///
/// # Errors
/// When the link cannot be used or the coordinator refuses it, or there is no run to join.
pub(crate) fn work(args: &WorkerArgs) -> anyhow::Result<ExitCode> {
    if let Some(place) = &args.join {
        return join::join(args, place.as_deref());
    }
    let options = options(args)?;
    if args.link_fd.is_none() && !args.stdio {
        bail!(
            "name the run to work for: --join FILE, with the file of `xdist run --listen 0 --join-file FILE`"
        );
    }
    match args.link_fd.filter(|_| !args.stdio) {
        Some(descriptor) => {
            let link = xdist_worker::inherited_link(descriptor)
                .with_context(|| format!("descriptor {descriptor} is no link to a coordinator"))?;
            match xdist_worker::run_host(link, options) {
                // The coordinator is on this machine, where it is seen what it does.
                Err(HostError::Abandoned) if args.elsewhere => return Ok(ExitCode::Own(ABANDONED)),
                Err(HostError::Abandoned) => {}
                result => result.map_err(cannot)?,
            }
        }
        None => {
            let options = HostOptions { existing_directories: true, ..options };
            match xdist_worker::run_on_stdio(&args.greeting, options) {
                // What is said here is seen, if at all, where the coordinator was.
                Err(HostError::Abandoned) => {}
                result => result.map_err(cannot)?,
            }
        }
    }
    Ok(ExitCode::Ok)
}

/// What a host that has joined ends with when the run breaks off. Whoever started it knows more, and tells.
pub(crate) const ABANDONED: u8 = 75;

/// A sentence from an error that says what could not be done.
pub(crate) fn cannot(error: impl std::error::Error + Send + Sync + 'static) -> anyhow::Error {
    anyhow!("cannot {:#}", anyhow::Error::new(error))
}

fn options(args: &WorkerArgs) -> anyhow::Result<HostOptions> {
    let default = HostOptions::default();
    let python = match &args.python {
        Some(command) => {
            shlex::split(command).with_context(|| format!("--python: {command:?} is no command"))?
        }
        None => Vec::new(),
    };
    Ok(HostOptions {
        slots: args.slots.unwrap_or(default.slots),
        existing_directories: args.elsewhere,
        python,
        directory: args.chdir.clone(),
        ..default
    })
}
