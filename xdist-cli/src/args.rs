//! The command line's shape. What `run` takes is pytest's business but for a few options ([`crate::invocation`]).

use clap::{Args, Parser, Subcommand};
use std::ffi::OsString;
use std::path::PathBuf;

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
    /// Be a worker host: join a run on another machine, or serve the coordinator that started this process
    Worker(WorkerArgs),
    /// Be the door through which worker hosts join a run
    #[command(hide = true)]
    Gate(GateArgs),
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
    /// Join the run whose token (printed by `xdist run --listen`) is in this file, or `-` for standard input; without
    /// WHERE, in the environment variable XDIST_JOIN
    #[arg(long, value_name = "WHERE", num_args = 0..=1)]
    pub(crate) join: Option<Option<OsString>>,
    /// The descriptor of the link to the coordinator
    #[arg(long, value_name = "NUMBER", env = xdist_coord::launch::LINK_FD_VARIABLE)]
    pub(crate) link_fd: Option<i32>,
    /// Take standard input and output for the link
    #[arg(long)]
    pub(crate) stdio: bool,
    /// With --stdio: a line to write before anything else
    #[arg(long, value_name = "TEXT", default_value = "", hide = true)]
    pub(crate) greeting: String,
    /// How many workers this host offers [default: one for each processor]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) slots: Option<u32>,
    /// The command that starts Python, where the run names none [default: python3]
    #[arg(long, value_name = "COMMAND")]
    pub(crate) python: Option<String>,
    /// The directory with the tests, where the run names none [default: the current one]
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) chdir: Option<PathBuf>,
    /// With --join: how many seconds to look for a way in before giving up
    #[arg(long, value_name = "SECONDS", default_value_t = 15.0)]
    pub(crate) patience: f64,
    /// The coordinator's files are not here, so a directory that is missing is an error
    #[arg(long, hide = true)]
    pub(crate) elsewhere: bool,
}

/// What `gate` was given.
#[derive(Args, Debug)]
pub(crate) struct GateArgs {
    /// Where to listen: HOST:PORT, or a port alone for this machine only
    #[arg(long, value_name = "ADDRESS", required_unless_present = "listen_at_own_name")]
    pub(crate) listen: Vec<String>,
    /// Listen at the addresses that others know this machine by
    #[arg(long)]
    pub(crate) listen_at_own_name: bool,
    /// What the token says instead, where the gate is reached another way
    #[arg(long, value_name = "HOST[:PORT]")]
    pub(crate) advertise: Vec<String>,
    /// The run's name
    #[arg(long, value_name = "NAME")]
    pub(crate) run: String,
    /// How many seconds a host may be away
    #[arg(long, value_name = "SECONDS", default_value_t = 15.0)]
    pub(crate) hold: f64,
    /// The descriptor on which the coordinator is told what happens
    #[arg(long, value_name = "NUMBER", env = xdist_coord::launch::LINK_FD_VARIABLE)]
    pub(crate) link_fd: i32,
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
    /// By a command that has worker hosts dial in
    Launch(LaunchArgs),
    /// By Slurm, which has worker hosts dial in
    Slurm(SlurmArgs),
}

/// What `connect launch` was given.
#[derive(Args, Debug)]
pub(crate) struct LaunchArgs {
    /// The command
    #[arg(required = true, last = true)]
    pub(crate) words: Vec<String>,
}

/// What `connect slurm` was given.
#[derive(Args, Debug, Default)]
pub(crate) struct SlurmArgs {
    /// How many hosts [default: as many as the allocation has nodes]
    #[arg(long, value_name = "N")]
    pub(crate) hosts: Option<u32>,
    /// How many processors each of them gets, and how many workers it has [default: Slurm's]
    #[arg(long, value_name = "N")]
    pub(crate) cpus: Option<u32>,
    /// The directory with the tests, from the current one
    #[arg(long, value_name = "DIRECTORY")]
    pub(crate) chdir: Option<PathBuf>,
    /// The command that starts Python, if it is there too
    #[arg(long, value_name = "COMMAND", default_value = "")]
    pub(crate) python: String,
    /// Options of srun
    #[arg(last = true)]
    pub(crate) options: Vec<String>,
}

/// What `connect ssh` was given.
#[derive(Args, Debug)]
pub(crate) struct SshArgs {
    /// A file in place of the user's configuration of ssh
    #[arg(long, value_name = "FILE")]
    pub(crate) ssh_config: Option<String>,
    /// What ssh is given to reach a machine in between, quoted as for a shell; from the nearest to the farthest
    #[arg(long, value_name = "ARGUMENTS")]
    pub(crate) via: Vec<String>,
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
                         workers on another machine, slurm=N//cpus=C//partition=NAME for N nodes of
                         a cluster (slurm alone for all of an allocation), exec=COMMAND//hosts=N for
                         what starts N times xdist worker --join, or exec=COMMAND for a program
                         that speaks the worker protocol
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

Other machines:
      --listen [HOST:]PORT
                         Let workers join while the run goes on: xdist worker --join FILE. Without -n
                         and --tx, they are all there are. A port alone is for this machine only
      --advertise HOST[:PORT]
                         Where others reach this machine, if that is not where it listens
      --join-file FILE   Where to write the token that lets workers join (default: a temporary file)
      --min-workers N    Begin with the tests when there are so many workers (default: 1)
      --wait-for-workers DURATION
                         How long to wait for workers that may join (default: 5m)
      --host-timeout DURATION
                         Give up a machine that is silent for so long, and run its tests elsewhere
                         (default: 15s)

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

Other machines:
      --fetch GLOB       When the run is over, get files back that fit this: 'shots/**/*.png'
      --fetch-to DIR     Where they come to, by machine (default: xdist-fetched)

Reports:
      --report-log FILE  Write every event as a line of JSON
      --junitxml FILE    Write JUnit XML, as pytest does

Everything else is pytest's: paths, node ids, -k, -m, -x, -v, --lf, -p, a plugin's own options,
addopts and PYTEST_ADDOPTS. On a terminal, the key t shows what is running.
Exit codes: 0 all passed, 1 failures, 2 stopped (-x, Ctrl-C), 3 internal error, 4 usage error,
5 no tests.";
