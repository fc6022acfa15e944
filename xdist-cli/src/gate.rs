//! `xdist gate`: lets worker hosts from elsewhere in. The coordinator starts it, and is told what happens.

mod own_name;

use crate::args::GateArgs;
use crate::exit_code::ExitCode;
use crate::worker::cannot;
use anyhow::Context;
use std::time::Duration;
use xdist_link::gate::{self, GateError, GateOptions, Limits};

/// Lets hosts in until the coordinator is gone.
///
/// # Errors
/// When the control socket cannot be used, or the system has nothing left to give.
pub(crate) fn keep(args: GateArgs) -> anyhow::Result<ExitCode> {
    let control = xdist_worker::inherited_link(args.link_fd)
        .with_context(|| format!("descriptor {} is no socket to a coordinator", args.link_fd))?;
    let listen = if args.listen_at_own_name { own_name::addresses() } else { Vec::new() };
    let options = GateOptions {
        listen: args.listen.into_iter().chain(listen).collect(),
        advertise: args.advertise,
        run: args.run,
        hold: Duration::try_from_secs_f64(args.hold).context("--hold")?,
        limits: Limits::default(),
    };
    match gate::run(control, options) {
        Ok(()) => Ok(ExitCode::Ok),
        // The coordinator has been told, and tells the user.
        Err(GateError::Listen(_)) => Ok(ExitCode::UsageError),
        Err(error) => Err(cannot(error)),
    }
}
