//! The command line's shape. What `run` takes is pytest's business but for a few options ([`crate::invocation`]).

use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;

/// Runs a pytest suite on many workers.
#[derive(Debug, Parser)]
#[command(name = "xdist", version, about, long_about = None, max_term_width = 100)]
pub(crate) struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run a suite: takes every argument that pytest takes
    #[command(after_help = RUN_HELP, override_usage = "xdist run [OPTIONS] [PYTEST ARGUMENTS]")]
    Run(RunArgs),
    /// Be a worker host for a coordinator that started this process
    Worker(WorkerArgs),
    /// Be the way to a worker host on another machine
    #[command(hide = true)]
    Connect(ConnectArgs),
    /// Say whether this program's file has this hash, by the exit code
    #[command(hide = true)]
    Verify(VerifyArgs),
}

/// What `run` was given, before it is told apart.
#[derive(Args, Debug)]
pub(crate) struct RunArgs {
    /// Options of xdist and of pytest, files and node ids, in any order
    #[arg(value_name = "ARGUMENTS", trailing_var_arg = true, allow_hyphen_values = true)]
    pub(crate) arguments: Vec<OsString>,
}

/// What `worker` was given.
#[derive(Args, Debug)]
pub(crate) struct WorkerArgs {
    /// The descriptor of the link to the coordinator
    #[arg(long, value_name = "NUMBER", env = xdist_coord::launch::LINK_FD_VARIABLE, required_unless_present = "stdio")]
    pub(crate) link_fd: Option<i32>,
    /// Take standard input and output for the link
    #[arg(long)]
    pub(crate) stdio: bool,
    /// With --stdio: a line to write before anything else
    #[arg(long, value_name = "TEXT", default_value = "", hide = true)]
    pub(crate) greeting: String,
}

/// What `connect` was given.
#[derive(Args, Debug)]
pub(crate) struct ConnectArgs {
    /// The descriptor of the link to the coordinator
    #[arg(long, value_name = "NUMBER", env = xdist_coord::launch::LINK_FD_VARIABLE)]
    pub(crate) link_fd: i32,
    /// How many seconds there may be no sign of life before the worker host is up
    #[arg(long, value_name = "SECONDS", default_value_t = 60.0)]
    pub(crate) patience: f64,
    /// By which means.
    #[command(subcommand)]
    pub(crate) means: Means,
}

/// The ways to another machine.
#[derive(Debug, Subcommand)]
pub(crate) enum Means {
    /// Over ssh
    Ssh(SshArgs),
}

/// What `connect ssh` was given.
#[derive(Args, Debug)]
pub(crate) struct SshArgs {
    /// A file in place of the user's configuration of ssh
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_config: Option<String>,
    /// The program, in words
    #[arg(long, value_name = "COMMAND", env = "XDIST_SSH", default_value = "ssh")]
    pub(crate) ssh: String,
    /// Options of ssh, and the destination
    #[arg(required = true, last = true)]
    pub(crate) words: Vec<String>,
}

/// What `verify` was given.
#[derive(Args, Debug)]
pub(crate) struct VerifyArgs {
    /// The hash that the file is to have
    pub(crate) hash: String,
}

/// The options that mean something to us. Those of pytest-xdist are parsed in Python, since they may also stand in
/// configuration files; they are explained here because this is where people look.
const RUN_HELP: &str = "\
Workers:
  -n, --numprocesses N   Number of workers: a number, auto (the default), logical, or 0: plain pytest
      --maxprocesses N   Most workers that -n may mean
      --tx [K*]SPEC      K workers as SPEC says; may be repeated. For example
                         popen//python=python3.12//chdir=DIR//env:NAME=VALUE, ssh=[USER@]HOST for
                         workers on another machine, or exec=COMMAND for a program that speaks the
                         worker protocol
      --sync DIR         Copy a directory to workers elsewhere, without what ignore files name
      --rsyncdir DIR, --rsyncignore GLOB
                         The same as pytest-xdist has it; what is left out of both
      --python COMMAND   The interpreter (default: of the active virtual environment, else python3)
      --max-worker-restart N
                         How many crashed workers are replaced (default: 4 for each of -n; 0: none)
      --testrunuid ID    Name of the run, the same in all workers
      --ramp DURATION    Spread the workers' first tests over this time: 10, 10s, 5m, 1h
      --start auto|fork|spawn
                         Whether workers are forked from one that has collected (default: where nobody can tell)
      --isolate          Every test in a process of its own
      --no-freeze        Let the garbage collector see what was collected during the tests too
      --max-tests-per-worker N, --worker-memory-limit SIZE
                         Replace a worker that has run so many tests, or has more memory (2G, 25%)

Distribution:
      --dist MODE        worksteal (the default), load, loadscope, loadfile, loadgroup, each, or no:
                         plain pytest
  -d                     The same as --dist=load
      --maxschedchunk N  With load: most tests handed out at once
      --loadscope-reorder, --no-loadscope-reorder
                         With loadscope, loadfile and loadgroup: biggest scope first (the default),
                         or as collected
      --durations-from FILE
                         Take durations of earlier runs from this file, not from pytest's cache

Tests that fail, hang or are slow:
      --retries N        Run tests that fail, crash or take too long again, on another worker
      --flaky pass|fail  What becomes of a run with tests that passed only then (default: pass)
      --timeout SECONDS  Fail every test that takes longer, whatever it is doing, and go on
      --slow-after SECONDS
                         Say so of a test that has been running for longer (default: 60)
      --pdb, --trace     Debug in any worker; breakpoint() too

Plugins:
      --pytest-host auto|always|never
                         Whether a pytest beside the coordinator does what plugins have to do there

Reports:
      --report-log FILE  Write every event as a line of JSON
      --junitxml FILE    Write JUnit XML, as pytest does

Everything else is pytest's: paths, node ids, -k, -m, -x, -v, --lf, -p, a plugin's own options,
addopts and PYTEST_ADDOPTS. On a terminal, the key t shows what is running.
Exit codes: 0 all passed, 1 failures, 2 stopped (-x, Ctrl-C), 3 internal error, 4 usage error,
5 no tests.";
