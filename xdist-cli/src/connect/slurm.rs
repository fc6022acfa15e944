//! What Slurm is asked for, and why it could not give that.

use super::launcher::{self, Failure};
use crate::args::SlurmArgs;
use std::collections::VecDeque;
use std::env;
use std::ffi::OsString;
use std::io;
use std::os::fd::OwnedFd;
use std::process::Command;

/// What runs on every node, in a POSIX shell: a message that names the node says more than what `execve` failed with. Its
/// arguments are the program, the directory, the interpreter as words and as a program, and how many workers there are to be.
const ON_NODE: &str = r#"
fail() { echo "xdist: ${SLURMD_NODENAME:-$(uname -n)}: $1" >&2; exit 4; }
cd -- "$2" 2>/dev/null ||
    fail "there is no directory $2 here; start in one that the nodes have too, or name theirs with //chdir=DIRECTORY"
[ -x "$1" ] || found=$(command -v xdist) ||
    fail "there is no program $1 here; install xdist where all nodes see it, or on every node's PATH"
program=${found:-$1} words=$3 interpreter=$4 slots=${5:-$SLURM_CPUS_ON_NODE}
set -- worker --join
[ -n "$slots" ] && set -- "$@" --slots "$slots"
[ -n "$interpreter" ] && command -v -- "$interpreter" >/dev/null && set -- "$@" --python "$words"
exec "$program" "$@"
"#;

/// Step ids from here on are no steps that somebody has started (Slurm's `slurm.h`: the batch script, an interactive shell).
const FIRST_SPECIAL_STEP: u32 = 0xffff_fff0;

/// What Slurm has told about where we are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Surroundings {
    /// How many nodes the allocation has that we are in, if we are in one.
    nodes: Option<u32>,
    /// Whether we are in one of its steps, which has taken what would be ours.
    in_step: bool,
}

impl Surroundings {
    /// From the environment.
    fn read(variable: impl Fn(&str) -> Option<String>) -> Self {
        let number = |name| variable(name).and_then(|text| text.parse::<u32>().ok());
        let nodes = number("SLURM_JOB_NUM_NODES").or_else(|| number("SLURM_NNODES"));
        let is_there = variable("SLURM_JOB_ID").is_some();
        Self {
            nodes: nodes.filter(|_| is_there),
            in_step: is_there && number("SLURM_STEP_ID").is_some_and(|step| step < FIRST_SPECIAL_STEP),
        }
    }
}

/// Has Slurm start the hosts, and looks after that.
///
/// # Errors
/// Why that does not go on, in words.
pub(super) fn run(args: &SlurmArgs, link: OwnedFd) -> Result<(), String> {
    launcher::run(command(args)?, link).map_err(|failure| explain(&failure))
}

/// `srun`, as it is to be run; or why that makes no sense.
fn command(args: &SlurmArgs) -> Result<Command, String> {
    #[expect(clippy::disallowed_methods, reason = "where Slurm tells what there is")]
    let surroundings = Surroundings::read(|name| env::var(name).ok());
    let here = |error: io::Error| format!("cannot find out where this program is: {error}");
    let program = env::current_exe().map_err(here)?;
    let directory = env::current_dir().map_err(here)?;
    let mut python = shlex::split(&args.python).unwrap_or_default();
    if let Some(interpreter) = python.first_mut().filter(|interpreter| interpreter.contains('/')) {
        *interpreter = directory.join(&interpreter).to_string_lossy().into_owned();
    }
    let mut command = Command::new("srun");
    command.args(options(args, surroundings)?).args(&args.options);
    command.args(["sh", "-c", ON_NODE, "xdist"]).arg(program);
    command.arg(args.chdir.as_ref().map_or_else(|| directory.clone(), |chdir| directory.join(chdir)));
    command.arg(shlex::try_join(python.iter().map(String::as_str)).unwrap_or_default());
    command.arg(python.first().map_or("", String::as_str));
    command.args(args.cpus.map(|cpus| cpus.to_string()));
    Ok(command)
}

/// What comes before the user's own options, which win.
fn options(args: &SlurmArgs, surroundings: Surroundings) -> Result<Vec<OsString>, String> {
    let Some(hosts) = args.hosts.or(surroundings.nodes) else {
        return Err(
            "there is no allocation here (no SLURM_JOB_ID), so say how many hosts: --tx slurm=N".to_owned()
        );
    };
    let mut options = vec![
        "--job-name=xdist".to_owned(),
        format!("--nodes={hosts}"),
        format!("--ntasks={hosts}"),
        "--ntasks-per-node=1".to_owned(),
        // The script goes where it has to, and says so if it cannot.
        "--chdir=/".to_owned(),
        // The token travels there.
        "--export=ALL".to_owned(),
        // The others go on when one host or its machine is lost.
        "--kill-on-bad-exit=0".to_owned(),
        "--wait=0".to_owned(),
        "--no-kill".to_owned(),
        // The hosts are no MPI program, though their tests may be.
        "--mpi=none".to_owned(),
        "--input=none".to_owned(),
    ];
    options.extend(args.cpus.map(|cpus| format!("--cpus-per-task={cpus}")));
    options.extend(surroundings.in_step.then(|| "--overlap".to_owned()));
    Ok(options.into_iter().map(OsString::from).collect())
}

/// Why Slurm has not started the hosts, or not kept them.
fn explain(failure: &Failure) -> String {
    match failure {
        Failure::Start(error) if error.kind() == io::ErrorKind::NotFound => {
            "there is no srun on the PATH here; run this \
             on a machine of the cluster that has Slurm's commands, such as its login node"
                .to_owned()
        }
        Failure::Start(_) => failure.describe("srun"),
        Failure::Ended(_, said) => match reason(said) {
            Some(reason) => reason,
            None => format!("srun failed: {}", failure.describe("srun")),
        },
    }
}

/// What srun or a node says the reason is, with what to do.
fn reason(said: &VecDeque<String>) -> Option<String> {
    if let Some((line, advice)) = advice(said) {
        let line = line.trim_start_matches("srun: ").trim_start_matches("error: ");
        return Some(format!("{line}; {advice}"));
    }
    // What the nodes say has what to do in it.
    let ours = said.iter().rev().find_map(|line| line.strip_prefix("xdist: "))?;
    Some(ours.trim_start_matches("error: ").to_owned())
}

/// What srun says (Slurm 22.05, `slurm_errno.c` and `srun`), and what to do about it.
fn advice(said: &VecDeque<String>) -> Option<(&str, &'static str)> {
    const ADVICE: [(&str, &str); 11] = [
        ("invalid partition", "`sinfo` lists the partitions there are"),
        (
            "invalid account or account/partition",
            "name yours with //account=; `sacctmgr show associations` lists them",
        ),
        ("invalid qos", "name another with //qos="),
        ("only allocated", "ask for as many hosts as the allocation has nodes: --tx slurm"),
        ("more processors requested", "ask for fewer processors with //cpus="),
        (
            "requested node configuration is not available",
            "ask for less; `sinfo -Nl` lists what the nodes have",
        ),
        ("could not establish a configuration source", "run this on a machine of the cluster"),
        ("unable to process configuration file", "see where SLURM_CONF leads"),
        ("unable to contact slurm controller", "see whether `scontrol ping` reaches it"),
        ("due to time limit", "ask for more time with //time="),
        ("job step aborted", "it was cancelled, or its machines are needed by others"),
    ];
    ADVICE.iter().find_map(|(words, advice)| {
        let is_it = |line: &&String| line.to_lowercase().contains(words);
        said.iter().rev().find(is_it).map(|line| (line.as_str(), *advice))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn surroundings(variables: &[(&str, &str)]) -> Surroundings {
        let variables: BTreeMap<_, _> = variables.iter().copied().collect();
        Surroundings::read(|name| variables.get(name).map(|&value| value.to_owned()))
    }

    fn asked(hosts: Option<u32>, cpus: Option<u32>, variables: &[(&str, &str)]) -> String {
        let args = SlurmArgs { hosts, cpus, ..SlurmArgs::default() };
        match options(&args, surroundings(variables)) {
            Ok(options) => {
                let options: Vec<_> = options.iter().map(|option| option.to_string_lossy()).collect();
                options.join(" ")
            }
            Err(error) => error,
        }
    }

    #[test]
    fn an_allocation_says_how_many_hosts_there_are_to_be() {
        let allocation = [("SLURM_JOB_ID", "7"), ("SLURM_JOB_NUM_NODES", "3"), ("SLURM_NNODES", "1")];
        let found = asked(None, None, &allocation);
        assert!(found.contains("--nodes=3 --ntasks=3 ") && !found.contains("--cpus-per-task"), "{found}");
        assert!(asked(Some(2), Some(8), &allocation).contains("--nodes=2 --ntasks=2 "));
        assert!(asked(Some(2), Some(8), &[]).ends_with("--cpus-per-task=8"));
        assert!(
            asked(None, None, &[("SLURM_NNODES", "3")]).contains("--tx slurm=N"),
            "left over from elsewhere"
        );
        assert!(asked(None, None, &[]).contains("--tx slurm=N"));
    }

    #[test]
    fn a_step_within_a_step_shares_what_that_has() {
        let in_step = |step| {
            let variables = [("SLURM_JOB_ID", "7"), ("SLURM_NNODES", "3"), ("SLURM_STEP_ID", step)];
            asked(None, None, &variables).contains("--overlap")
        };
        assert!(in_step("0"));
        assert!(!in_step("4294967290"), "an interactive shell has taken nothing");
    }

    #[test]
    fn what_srun_says_comes_with_what_to_do() {
        let explained = |lines: &[&str]| reason(&lines.iter().map(|&line| line.to_owned()).collect());
        assert_eq!(
            explained(&[
                "srun: error: invalid partition specified: p",
                "srun: error: Unable to allocate resources: Invalid partition name specified",
            ])
            .as_deref(),
            Some(
                "Unable to allocate resources: Invalid partition name specified; `sinfo` lists the partitions there are"
            )
        );
        let node = "xdist: n1: there is no directory /x here";
        assert_eq!(
            explained(&[node, "srun: error: n1: task 0: Exited with exit code 4"]).as_deref(),
            Some("n1: there is no directory /x here")
        );
        assert_eq!(explained(&["srun: something else"]), None);
    }
}
