//! `xdist run`: from arguments to an exit code.
#![expect(
    clippy::disallowed_methods,
    reason = "a shell module: it reads the clock and the environment for others"
)]

use crate::args::RunArgs;
use crate::exit_code::ExitCode;
use crate::files;
use crate::frontend::{self, Frontend, Frontends, Setup};
use crate::invocation::{HostChoice, Invocation};
use crate::join_file::JoinFile;
use crate::python;
use anyhow::{Context, bail};
use std::env;
use std::ffi::OsString;
use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};
use xdist_coord::launch::{Invitation, Launcher};
use xdist_coord::scheduler::History;
use xdist_coord::server::{self, Observer, Outcome, PytestHostSource};
use xdist_coord::session::event::{RunEnd, RunEvent};
use xdist_coord::session::{Config, Joining, Place, PytestHost, Timeouts};
use xdist_coord::workers::spec::{HostSpec, WorkerSpec};
use xdist_proto::RunId;
use xdist_proto::message::Wants;
use xdist_worker::python_half::PythonHalf;

/// After how long a running test is told of, so that a terminal can show what takes long.
const STARTED_AFTER_MS: u64 = 500;

/// Bytes of the run's name, and of the seed that its randomness grows from.
const RUN_ID_BYTES: usize = 16;

/// Runs a suite.
///
/// # Errors
/// When nothing could be run; the text says what to do.
pub(crate) fn run(args: RunArgs) -> anyhow::Result<ExitCode> {
    let invocation = Invocation::parse(args.arguments)?;
    let workers = workers(&invocation)?;
    let python = match python::find(invocation.python.as_deref()) {
        Err(_) if workers.as_deref().is_some_and(brings_its_own_programs) => Vec::new(),
        found => found?,
    };
    // Nobody is there who could find out that nothing is distributed.
    let is_for_nobody =
        invocation.dist.as_deref() == Some("no") && workers.as_ref().is_some_and(Vec::is_empty);
    if invocation.plain.is_some() || invocation.workers == Some(0) || is_for_nobody {
        return plain(&python, invocation.pytest_args);
    }
    refuse_idle_options(&invocation, workers.as_deref())?;
    let files = files::given(&invocation, workers.as_deref(), &python)?;
    let pytest_args = invocation.pytest_args.clone();
    let random = random_bytes();
    let run = RunId(random.iter().map(|byte| format!("{byte:02x}")).collect());
    let mut watcher = Watcher::new(invocation.report_log.clone())?;
    watcher.join_file = JoinFile::new(&invocation, &run)?;
    let launcher = launcher(&invocation, &run, &python)?;
    let controller = invocation.controller.map(xdist_worker::inherited_link).transpose()?;
    let has_controller = controller.is_some();
    let parent = rustix::process::getppid();
    if has_controller {
        end_with_parent();
    }
    let mut config = config(invocation, workers, python.clone(), run, watcher.interactive);
    config.place = files::place(files, config.place, &hostname())?;
    let seed = random.iter().take(size_of::<u64>()).fold(0, |seed, byte| seed << 8 | u64::from(*byte));
    let half = PythonHalf::unpack(None)?;
    let start_host = || Ok(half.host_command(&python, &pytest_args));
    let pytest_host = match (controller, config.pytest_host) {
        (Some(link), _) => PytestHostSource::Link(link.into()),
        (None, PytestHost::Never) => PytestHostSource::None,
        (None, PytestHost::OnDemand | PytestHost::Present) => PytestHostSource::Command(&start_host),
    };
    let Outcome { summary, pytest_host } = server::run(config, seed, &launcher, pytest_host, &mut watcher)?;
    if let (RunEnd::Plain(reason), None, false) = (&summary.end, &pytest_host, has_controller) {
        tracing::debug!(reason, "handing over to plain pytest");
        return plain(&python, pytest_args);
    }
    let explained = match &pytest_host {
        Some(status) => matches!(status.code(), Some(2..=4)),
        // It is the one who started us, and is still there.
        None => has_controller && rustix::process::getppid() == parent,
    };
    if explained {
        watcher.frontends.loss_is_explained();
    }
    watcher.frontends.finish(&summary, Instant::now());
    let code = match pytest_host {
        // Its plugins have the last word, as pytest's have.
        Some(status) => ExitCode::of_pytest_host(status),
        None => ExitCode::of(&summary),
    };
    Ok(code.unless_unwritten(watcher.frontends.unwritten()))
}

fn config(
    invocation: Invocation,
    workers: Option<Vec<WorkerSpec>>,
    python: Vec<String>,
    run: RunId,
    interactive: bool,
) -> Config {
    let terminal = invocation.terminal.or_else(server::terminal::path);
    let joining = Joining::default();
    Config {
        run,
        workers,
        // A name that is no mode is left to argparse, whose words people know.
        mode: invocation.dist.and_then(|name| name.parse().ok()),
        args: invocation.pytest_args,
        python,
        start: invocation.start,
        place: Place {
            // Without a name for it nobody can start in the same one elsewhere; that a worker's host tells.
            directory: files::current_directory(),
            rootdir: invocation.rootdir,
            inifile: invocation.inifile,
            ..Place::default()
        },
        wants: Wants {
            started_after_ms: STARTED_AFTER_MS,
            passed_output: false,
            locations: invocation.report_log.is_some(),
            width: u16::try_from(columns()).unwrap_or(u16::MAX),
            debugger: terminal.is_some(),
            terminal: interactive,
            // The session's own business.
            hooks: false,
            full: false,
            files: false,
        },
        pytest_host: match (invocation.controller, invocation.pytest_host) {
            (Some(_), _) | (None, HostChoice::Always) => PytestHost::Present,
            (None, HostChoice::Auto) => PytestHost::OnDemand,
            (None, HostChoice::Never) => PytestHost::Never,
        },
        terminal,
        joining: Joining {
            open: !invocation.listen.is_empty(),
            min_workers: invocation.min_workers.unwrap_or(joining.min_workers),
            patience: invocation.wait_for_workers.unwrap_or(joining.patience),
        },
        timeouts: timeouts(invocation.host_timeout),
    }
}

fn timeouts(host: Option<Duration>) -> Timeouts {
    let usual = Timeouts::default();
    let host = host.unwrap_or(usual.host);
    // So often that it can be asked once more before it is given up.
    Timeouts { host, heartbeat: usual.heartbeat.min(host / 3), ..usual }
}

/// The workers, if the arguments alone say how many there are. Otherwise the first worker finds it out.
fn workers(invocation: &Invocation) -> anyhow::Result<Option<Vec<WorkerSpec>>> {
    let proxies = || invocation.px.iter().map(String::as_str);
    if let Some(specs) = &invocation.worker_specs {
        let specs = specs.iter().map(String::as_str);
        return Ok(Some(WorkerSpec::parse_all(specs, proxies()).context("--tx")?));
    }
    if let Some(count) = invocation.workers {
        let count = count.min(invocation.most_workers.unwrap_or(count));
        return Ok(Some(vec![WorkerSpec::default(); count as usize]));
    }
    // With another form of -n among the arguments, --tx counts for nothing.
    if invocation.counts_workers {
        return Ok(None);
    }
    if invocation.tx.is_empty() {
        // Those who dial in are enough, unless others are asked for.
        return Ok((!invocation.listen.is_empty()).then(Vec::new));
    }
    let specs = WorkerSpec::parse_all(invocation.tx.iter().map(String::as_str), proxies()).context("--tx")?;
    Ok(Some(specs))
}

/// Refuses what is about workers that join, where nobody can: whoever gives it expects something of it.
fn refuse_idle_options(invocation: &Invocation, workers: Option<&[WorkerSpec]>) -> anyhow::Result<()> {
    // What the settings say of workers is known later.
    let Some(workers) = workers else { return Ok(()) };
    let given = [
        ("--advertise", !invocation.advertise.is_empty()),
        ("--join-file", invocation.join_file.is_some()),
        ("--min-workers", invocation.min_workers.is_some()),
        ("--wait-for-workers", invocation.wait_for_workers.is_some()),
    ];
    let is_launcher = |spec: &WorkerSpec| matches!(spec.host, HostSpec::Launcher(_));
    if invocation.listen.is_empty()
        && !workers.iter().any(is_launcher)
        && let Some((option, _)) = given.iter().find(|(_, given)| *given)
    {
        bail!("{option}: nobody can join this run; let them with --listen ADDRESS, or leave it out");
    }
    Ok(())
}

/// Whether no worker needs an interpreter of ours.
fn brings_its_own_programs(workers: &[WorkerSpec]) -> bool {
    workers.iter().all(|spec| !matches!(spec.host, HostSpec::Local))
}

/// Ends the run as SIGTERM does when the pytest that started this program is gone: tests that are running would go on
/// for nobody.
fn end_with_parent() {
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::TERM))
    {
        tracing::debug!(%error, "the end of the pytest that started this is noticed by that of its link only");
    }
}

/// Becomes plain pytest.
fn plain(python: &[String], args: Vec<String>) -> anyhow::Result<ExitCode> {
    let args: Vec<OsString> = args.into_iter().map(OsString::from).collect();
    let error = xdist_worker::python_half::plain_command(python, &args)?.exec();
    Err(error).with_context(|| format!("cannot start {}", python.join(" ")))
}

fn launcher(invocation: &Invocation, run: &RunId, python: &[String]) -> anyhow::Result<Launcher> {
    let host_program = env::current_exe().context("cannot find the path of this program")?;
    let connect = |means: &str| ["connect", means].map(OsString::from).to_vec();
    let mut slurm_args = connect("slurm");
    let python = shlex::try_join(python.iter().map(String::as_str)).context("--python")?;
    slurm_args.push(format!("--python={python}").into());
    let hold = timeouts(invocation.host_timeout).host.as_secs_f64();
    let mut gate_args = vec!["gate".to_owned(), format!("--run={run}"), format!("--hold={hold}")];
    gate_args.extend(invocation.listen.iter().map(|address| format!("--listen={address}")));
    gate_args.extend(invocation.advertise.iter().map(|address| format!("--advertise={address}")));
    let gate_args = gate_args.into_iter().map(OsString::from).collect();
    // Nothing listens beyond this machine unless told to; and where the user says where, there alone.
    let unless_said = |option: &str| match invocation.listen.is_empty() {
        true => vec![OsString::from(option)],
        false => Vec::new(),
    };
    Ok(Launcher {
        host_program,
        host_args: vec!["worker".into()],
        ssh_args: connect("ssh"),
        launch_args: connect("launch"),
        slurm_args,
        gate_args,
        gate_here: unless_said("--listen=127.0.0.1:0"),
        gate_elsewhere: unless_said("--listen-at-own-name"),
    })
}

fn random_bytes() -> [u8; RUN_ID_BYTES] {
    let mut bytes = [0; RUN_ID_BYTES];
    // The kernel's generator is ready long before anyone runs tests; without it, names of runs are merely not unique.
    let _ = rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty());
    bytes
}

/// The width of the terminal at the moment.
fn columns() -> usize {
    let measured = rustix::termios::tcgetwinsize(rustix::stdio::stdout()).ok().map(|size| size.ws_col);
    frontend::columns(env::var("COLUMNS").ok().as_deref(), measured.filter(|columns| *columns > 0))
}

/// Passes what the coordinator sees on to the frontends.
struct Watcher {
    frontends: Frontends,
    interactive: bool,
    /// Where hosts that dial in find out how, if they may.
    join_file: Option<JoinFile>,
}

impl Watcher {
    fn new(report_log: Option<PathBuf>) -> anyhow::Result<Self> {
        let dumb = env::var("TERM").is_ok_and(|term| term == "dumb");
        let interactive = std::io::stdout().is_terminal() && !dumb;
        let is_set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
        let frontends = Frontends::new(Setup {
            stdout: Box::new(std::io::stdout()),
            stderr: Box::new(std::io::stderr()),
            shared_streams: same_file(rustix::stdio::stdout(), rustix::stdio::stderr()),
            interactive,
            width: Box::new(columns),
            cwd: env::current_dir()
                .context("cannot find the current directory; change into one that exists")?,
            on_ci: is_set("CI") || is_set("BUILD_NUMBER"),
            hostname: hostname(),
            report_log,
            started: Instant::now(),
            started_at: SystemTime::now(),
        });
        Ok(Self { frontends, interactive, join_file: None })
    }
}

/// The name of this machine.
fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

fn same_file(one: rustix::fd::BorrowedFd<'_>, other: rustix::fd::BorrowedFd<'_>) -> bool {
    let identity = |file| rustix::fs::fstat(file).ok().map(|stat| (stat.st_dev, stat.st_ino));
    identity(one).is_some() && identity(one) == identity(other)
}

impl Observer for Watcher {
    fn event(&mut self, event: &RunEvent, now: Instant) {
        self.frontends.event(event, now);
    }

    fn history(&mut self) -> Option<History> {
        self.frontends.history()
    }

    fn next_tick(&self) -> Option<Instant> {
        self.frontends.next_tick()
    }

    fn tick(&mut self, now: Instant) {
        self.frontends.tick(now);
    }

    fn wants_keys(&self) -> bool {
        self.interactive
    }

    fn key(&mut self, key: u8, now: Instant) {
        self.frontends.key(key, now);
    }

    fn listening(&mut self, invitation: &Invitation) {
        if let Some(file) = &mut self.join_file {
            file.announce(invitation);
        }
    }

    fn handed_over(&mut self) {
        self.frontends.hand_over();
    }

    fn terminal_changed(&mut self, now: Instant) {
        self.frontends.tick(now);
    }
}
