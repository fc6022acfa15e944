//! Tells our own options from pytest's arguments.
//!
//! Options of pytest-xdist are only looked at here and stay among the arguments: they may also come from configuration
//! files, so Python parses them all. What is seen here early lets the workers start at once.

use std::ffi::OsString;
use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::time::Duration;
use xdist_proto::message::Start;
use xdist_proto::sync::Files;

/// What `xdist run` was asked to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Invocation {
    /// `--python`, as typed.
    pub(crate) python: Option<String>,
    /// `--report-log`.
    pub(crate) report_log: Option<PathBuf>,
    /// `-n` with a number; the last one counts.
    pub(crate) workers: Option<u32>,
    /// Whether there is a `-n` of any form, even one that only Python understands.
    pub(crate) counts_workers: bool,
    /// `--maxprocesses`; the last one counts.
    pub(crate) most_workers: Option<u32>,
    /// Every `--tx`.
    pub(crate) tx: Vec<String>,
    /// Every `--px`.
    pub(crate) px: Vec<String>,
    /// `--dist`, or what `-d` stands for; the last one counts.
    pub(crate) dist: Option<String>,
    /// `--start`; the last one counts.
    pub(crate) start: Start,
    /// `--pytest-host`; the last one counts.
    pub(crate) pytest_host: HostChoice,
    /// Every `--listen`.
    pub(crate) listen: Vec<String>,
    /// Every `--advertise`.
    pub(crate) advertise: Vec<String>,
    /// `--join-file`.
    pub(crate) join_file: Option<PathBuf>,
    /// `--min-workers`.
    pub(crate) min_workers: Option<u32>,
    /// `--wait-for-workers`.
    pub(crate) wait_for_workers: Option<Duration>,
    /// `--host-timeout`.
    pub(crate) host_timeout: Option<Duration>,
    /// `--controller-fd`: the descriptor of the link to the pytest that started this program and is its host.
    pub(crate) controller: Option<i32>,
    /// `--worker-specs`: what the pytest that started this program has made of `-n` and `--tx`, one for each worker.
    pub(crate) worker_specs: Option<Vec<String>>,
    /// `--found-rootdir`: the root directory that the pytest that started this program has found.
    pub(crate) rootdir: Option<String>,
    /// `--found-inifile`: the configuration file that it has found.
    pub(crate) inifile: Option<String>,
    /// `--terminal`: the path of the terminal that the pytest that started this program has, and workers may borrow.
    pub(crate) terminal: Option<String>,
    /// Every `--sync`.
    pub(crate) sync: Vec<String>,
    /// Every `--rsyncdir`.
    pub(crate) rsync: Vec<String>,
    /// Every `--rsyncignore`.
    pub(crate) rsync_ignore: Vec<String>,
    /// `--found-files`: what the pytest that started this program has made of these and of its settings.
    pub(crate) found_files: Option<Files>,
    /// The argument that makes this an invocation of plain pytest.
    pub(crate) plain: Option<String>,
    /// What pytest gets.
    pub(crate) pytest_args: Vec<String>,
}

/// Whether the pytest host takes part.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum HostChoice {
    /// If a plugin or a conftest has something to do there.
    #[default]
    Auto,
    /// From the start.
    Always,
    /// Not at all.
    Never,
}

/// Arguments that make no sense even before pytest sees them.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum InvocationError {
    /// An option of ours stands at the end.
    #[error("{option} needs a value")]
    MissingValue {
        /// The option.
        option: String,
    },
    /// An option of ours has a value that it does not take.
    #[error("{option} takes {expected}, not {value:?}")]
    WrongValue {
        /// The option.
        option: String,
        /// What it takes.
        expected: &'static str,
        /// What it was given.
        value: String,
    },
    /// Arguments travel as text.
    #[error("argument {argument:?} is not valid Unicode")]
    NotUnicode {
        /// The argument.
        argument: OsString,
    },
}

/// Arguments with which pytest lists or explains instead of running tests. Given in configuration files they are found
/// in Python, a little later.
const PLAIN: [&str; 11] = [
    "--collect-only",
    "--collectonly",
    "--co",
    "--fixtures",
    "--funcargs",
    "--fixtures-per-test",
    "--markers",
    "--setup-plan",
    "--cache-show",
    "--version",
    "-V",
];

impl Invocation {
    /// Tells the arguments apart.
    ///
    /// # Errors
    /// [`InvocationError`] names the argument that makes no sense.
    pub(crate) fn parse(arguments: Vec<OsString>) -> Result<Self, InvocationError> {
        let mut invocation = Self::default();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let argument =
                argument.into_string().map_err(|argument| InvocationError::NotUnicode { argument })?;
            if argument == "--" {
                invocation.pytest_args.push(argument);
                for rest in arguments.by_ref() {
                    let rest =
                        rest.into_string().map_err(|argument| InvocationError::NotUnicode { argument })?;
                    invocation.pytest_args.push(rest);
                }
                break;
            }
            invocation.take(argument, &mut arguments)?;
        }
        Ok(invocation)
    }

    fn take(
        &mut self,
        argument: String,
        rest: &mut impl Iterator<Item = OsString>,
    ) -> Result<(), InvocationError> {
        let (option, attached) = match argument.split_once('=') {
            Some((option, value)) if option.starts_with("--") => (option, Some(value.to_owned())),
            Some(_) | None => (argument.as_str(), None),
        };
        match option {
            "--python" => self.python = Some(value_of(option, attached, rest)?),
            "--report-log" => self.report_log = Some(value_of(option, attached, rest)?.into()),
            "--listen" => self.listen.push(value_of(option, attached, rest)?),
            "--advertise" => self.advertise.push(address(option, value_of(option, attached, rest)?)?),
            "--join-file" => self.join_file = Some(value_of(option, attached, rest)?.into()),
            "--min-workers" => self.min_workers = Some(number(option, value_of(option, attached, rest)?)?),
            "--wait-for-workers" => {
                self.wait_for_workers = Some(duration(option, value_of(option, attached, rest)?)?);
            }
            "--host-timeout" => {
                self.host_timeout = Some(duration(option, value_of(option, attached, rest)?)?);
            }
            "--pytest-host" => self.pytest_host = host_choice(value_of(option, attached, rest)?)?,
            "--worker-specs" => {
                let specs = value_of(option, attached, rest)?;
                self.worker_specs = Some(specs.lines().map(str::to_owned).collect());
            }
            "--found-rootdir" => self.rootdir = Some(value_of(option, attached, rest)?),
            "--found-inifile" => self.inifile = Some(value_of(option, attached, rest)?),
            "--found-files" => self.found_files = Some(found_files(&value_of(option, attached, rest)?)),
            "--terminal" => self.terminal = Some(value_of(option, attached, rest)?),
            "--controller-fd" => self.controller = value_of(option, attached, rest)?.parse().ok(),
            "-n" | "--numprocesses" | "--maxprocesses" | "--tx" | "--px" | "--dist" | "--start"
            | "--sync" | "--rsyncdir" | "--rsyncignore" => {
                let option = option.to_owned();
                let separate = attached.is_none();
                // Without a value it is left to argparse, whose words people know.
                let value = value_of(&option, attached, rest).ok();
                self.note(&option, value.as_deref().unwrap_or_default());
                self.pytest_args.push(argument);
                self.pytest_args.extend(value.filter(|_| separate));
            }
            _ => {
                if let Some(number) = argument.strip_prefix("-n") {
                    self.note("-n", number.strip_prefix('=').unwrap_or(number));
                } else if argument == "-d" {
                    self.note("--dist", "load");
                } else if PLAIN.contains(&argument.as_str()) {
                    self.plain = Some(argument.clone());
                }
                self.pytest_args.push(argument);
            }
        }
        Ok(())
    }

    fn note(&mut self, option: &str, value: &str) {
        match option {
            "--tx" => self.tx.push(value.to_owned()),
            "--px" => self.px.push(value.to_owned()),
            "--sync" => self.sync.push(value.to_owned()),
            "--rsyncdir" => self.rsync.push(value.to_owned()),
            "--rsyncignore" => self.rsync_ignore.push(value.to_owned()),
            "--maxprocesses" => self.most_workers = value.parse().ok().filter(|&most| most > 0),
            "--dist" => self.dist = Some(value.to_owned()),
            "--start" => {
                self.start = match value {
                    "fork" => Start::Fork,
                    "spawn" => Start::Spawn,
                    _ => Start::Auto,
                }
            }
            _ => {
                self.counts_workers = true;
                self.workers = value.parse().ok();
            }
        }
    }
}

/// One of `sync`, `rsync` and `ignore`, and what it is about, for each line.
pub(crate) fn found_files(text: &str) -> Files {
    let mut files = Files::default();
    for (kind, value) in text.lines().filter_map(|line| line.split_once('=')) {
        match kind {
            "sync" => files.sync.push(value.to_owned()),
            "rsync" => files.rsync.push(value.to_owned()),
            _ => files.ignore.push(value.to_owned()),
        }
    }
    files
}

fn host_choice(value: String) -> Result<HostChoice, InvocationError> {
    match value.as_str() {
        "auto" => Ok(HostChoice::Auto),
        "always" => Ok(HostChoice::Always),
        "never" => Ok(HostChoice::Never),
        _ => Err(InvocationError::WrongValue {
            option: "--pytest-host".to_owned(),
            expected: "auto, always or never",
            value,
        }),
    }
}

/// What may be an address; more is found out where it is used.
fn address(option: &str, value: String) -> Result<String, InvocationError> {
    let expected = "HOST or HOST:PORT";
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let port = value.rsplit_once(':').map(|(_, port)| port).filter(|port| digits(port));
    let is_impossible = value.parse::<Ipv6Addr>().is_err()
        && port.is_some_and(|port| port.parse::<u16>().map_or(true, |port| port == 0));
    if value.is_empty() || value.contains(char::is_whitespace) || is_impossible {
        return Err(InvocationError::WrongValue { option: option.to_owned(), expected, value });
    }
    Ok(value)
}

/// A number greater than 0.
fn number(option: &str, value: String) -> Result<u32, InvocationError> {
    let expected = "a whole number greater than 0";
    let number = value.parse().ok().filter(|&number| number > 0);
    number.ok_or_else(|| InvocationError::WrongValue { option: option.to_owned(), expected, value })
}

/// Seconds, or a number with the unit `s`, `m` or `h`; at least a second, and less than a year.
fn duration(option: &str, value: String) -> Result<Duration, InvocationError> {
    let (digits, unit) = match value.char_indices().last() {
        Some((at, 's')) => (&value[..at], 1.0),
        Some((at, 'm')) => (&value[..at], 60.0),
        Some((at, 'h')) => (&value[..at], 3600.0),
        Some(_) | None => (value.as_str(), 1.0),
    };
    let seconds = digits.trim().parse::<f64>().ok().map(|number| number * unit);
    let bounded = seconds.filter(|seconds| (1.0..3e7).contains(seconds)).map(Duration::from_secs_f64);
    let expected = "a duration of at least a second, such as 10, 10s, 5m or 1h";
    bounded.ok_or_else(|| InvocationError::WrongValue { option: option.to_owned(), expected, value })
}

fn value_of(
    option: &str,
    attached: Option<String>,
    rest: &mut impl Iterator<Item = OsString>,
) -> Result<String, InvocationError> {
    if let Some(value) = attached {
        return Ok(value);
    }
    let value = rest.next().ok_or_else(|| InvocationError::MissingValue { option: option.to_owned() })?;
    value.into_string().map_err(|argument| InvocationError::NotUnicode { argument })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(arguments: &[&str]) -> Invocation {
        Invocation::parse(arguments.iter().map(OsString::from).collect()).unwrap()
    }

    #[test]
    fn our_options_are_taken_out_wherever_they_stand() {
        let invocation = parse(&["-x", "--python", "py", "tests", "--report-log=log", "-k", "a or b"]);
        assert_eq!(invocation.python.as_deref(), Some("py"));
        assert_eq!(invocation.report_log, Some("log".into()));
        assert_eq!(invocation.pytest_args, ["-x", "tests", "-k", "a or b"]);
    }

    #[test]
    fn the_number_of_workers_is_seen_and_stays_for_pytest() {
        for arguments in [vec!["-n", "4"], vec!["-n4"], vec!["--numprocesses=4"], vec!["-n", "2", "-n4"]] {
            let invocation = parse(&arguments);
            assert_eq!(invocation.workers, Some(4), "{arguments:?}");
            assert_eq!(invocation.pytest_args, arguments);
        }
    }

    #[test]
    fn the_most_workers_are_seen_and_stay_for_pytest() {
        let arguments = ["-n4", "--maxprocesses", "3", "--maxprocesses=2"];
        assert_eq!(parse(&arguments).most_workers, Some(2));
        assert_eq!(parse(&arguments).pytest_args, arguments);
        // As in pytest-xdist, 0 is no limit.
        assert_eq!(parse(&["--maxprocesses=0"]).most_workers, None);
    }

    #[test]
    fn other_words_for_the_number_of_workers_are_left_to_pytest() {
        for arguments in
            [vec!["-n", "auto"], vec!["-nauto"], vec!["-n", "-1"], vec!["-n"], vec!["-n4", "-nauto"]]
        {
            assert_eq!(parse(&arguments).workers, None, "{arguments:?}");
            assert_eq!(parse(&arguments).pytest_args, arguments);
        }
    }

    #[test]
    fn specifications_and_modes_are_seen_and_stay_for_pytest() {
        let arguments = ["--tx", "2*popen", "--dist=each", "--tx=exec=python3 w.py", "-d"];
        let invocation = parse(&arguments);
        assert_eq!(invocation.tx, ["2*popen", "exec=python3 w.py"]);
        assert_eq!(invocation.dist.as_deref(), Some("load"));
        assert_eq!(invocation.pytest_args, arguments);
    }

    #[test]
    fn what_is_for_hosts_that_join_is_taken_out() {
        let invocation = parse(&[
            "--listen=:0",
            "--listen",
            "10.0.0.1:7",
            "--advertise=ci.example:7",
            "--join-file=f",
            "--min-workers=3",
            "--wait-for-workers=1.5m",
            "--host-timeout",
            "20s",
            "-x",
        ]);
        assert_eq!(invocation.listen, [":0", "10.0.0.1:7"]);
        assert_eq!(invocation.advertise, ["ci.example:7"]);
        assert_eq!((invocation.join_file, invocation.min_workers), (Some("f".into()), Some(3)));
        let times = (invocation.wait_for_workers, invocation.host_timeout);
        assert_eq!(times, (Some(Duration::from_secs(90)), Some(Duration::from_secs(20))));
        assert_eq!(invocation.pytest_args, ["-x"]);
    }

    #[test]
    fn numbers_and_times_that_make_no_sense_are_told() {
        for argument in [
            "--advertise=",
            "--advertise=host:99999",
            "--advertise=host:0",
            "--advertise=a b",
            "--min-workers=0",
            "--min-workers=x",
            "--host-timeout=0",
            "--wait-for-workers=1d",
        ] {
            let error = Invocation::parse(vec![argument.into()]).unwrap_err().to_string();
            let (option, value) = argument.split_once('=').unwrap();
            assert!(error.contains(option) && error.contains(&format!("{value:?}")), "{error}");
        }
    }

    #[test]
    fn listing_is_for_plain_pytest() {
        assert_eq!(parse(&["tests", "--co", "-q"]).plain.as_deref(), Some("--co"));
    }

    #[test]
    fn everything_behind_two_dashes_is_pytests() {
        let invocation = parse(&["--", "--python", "-n4"]);
        assert_eq!(invocation.pytest_args, ["--", "--python", "-n4"]);
        assert_eq!((invocation.workers, invocation.python), (None, None));
    }

    #[test]
    fn an_option_of_ours_without_a_value_is_an_error() {
        let arguments = vec![OsString::from("--python")];
        assert_eq!(
            Invocation::parse(arguments),
            Err(InvocationError::MissingValue { option: "--python".to_owned() })
        );
    }
}
