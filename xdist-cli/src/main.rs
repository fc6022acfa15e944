//! The `xdist` program: parses, runs, and turns the outcome into an exit code. It decides nothing about scheduling.

#![forbid(unsafe_code)]

mod args;

mod connect;

mod invocation;

mod join_file;

mod python;

mod run;

mod exit_code;

mod files;

mod frontend;

mod worker;

mod gate;

mod join;

use args::{Cli, Command};
use clap::Parser;
use exit_code::ExitCode;

fn main() -> std::process::ExitCode {
    log_to_stderr();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return explain(&error),
    };
    let outcome = match cli.command {
        Command::Run(args) => run::run(args),
        Command::Worker(args) => worker::work(&args),
        Command::Gate(args) => gate::keep(args),
        Command::Connect(args) => connect::connect(args),
        Command::Verify(args) => connect::verify(&args),
    };
    match outcome {
        Ok(code) => code.code().into(),
        Err(error) => {
            #[expect(clippy::print_stderr, reason = "this is where a user meets errors")]
            {
                eprintln!("xdist: error: {error:#}");
            }
            ExitCode::UsageError.code().into()
        }
    }
}

/// Prints what was wrong with the arguments, or the help that was asked for.
fn explain(error: &clap::Error) -> std::process::ExitCode {
    // There is nobody to tell that it cannot be printed.
    let _ = error.print();
    let code = if error.use_stderr() { ExitCode::UsageError } else { ExitCode::Ok };
    code.code().into()
}

/// `XDIST_LOG=debug` tells what happens inside.
fn log_to_stderr() {
    let filter = tracing_subscriber::EnvFilter::builder()
        .with_env_var("XDIST_LOG")
        .with_default_directive(tracing::level_filters::LevelFilter::ERROR.into())
        .from_env_lossy();
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_target(false).init();
}
