//! Worker specifications: what `--tx` says.

mod launchers;

mod proxies;

pub use launchers::{CommandSpec, LauncherSpec, SlurmSpec};
use proxies::Proxies;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The most workers that one specification may ask for, so that a slip of the finger does not take the machine down.
pub const MAX_WORKERS: u32 = 4096;

/// Keys of execnet that are refused, and what to do instead.
const REFUSED: [(&str, &str); 3] = [
    (
        "socket",
        "pytest-xdist's socket server runs whatever anybody sends to its port, so there is none here; use ssh=[USER@]HOST",
    ),
    (
        "vagrant_ssh",
        "write what `vagrant ssh-config NAME` prints to a file, and use ssh=NAME//ssh_config=FILE",
    ),
    (
        "installvia",
        "name the machine in between with --px ssh=[USER@]HOST//id=NAME, and use ssh=[USER@]HOST//via=NAME",
    ),
];

/// Options of OpenSSH's `ssh` (10.0) that take a value, by letter.
const SSH_OPTIONS_WITH_VALUES: &str = "BbcDEeFIiJLlmOoPpQRSWw";

/// The keys there are, for messages.
const KEYS: &str = "popen, ssh, exec, slurm, ssh_config, hosts, cpus, partition, account, qos, time, gres, slurm_args, \
                    via, python, chdir, env:NAME, nice and id";

/// Where and how one worker runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerSpec {
    /// `id=`: what it is called instead of `gwN`.
    pub id: Option<String>,
    /// How its host comes up.
    pub host: HostSpec,
    /// `via=`: the name of the `--px` in between. Of those in between [`Self::host`] knows too.
    pub via: Option<String>,
    /// `python=`: the interpreter, instead of the default.
    pub python: Option<Vec<String>>,
    /// `chdir=`.
    pub chdir: Option<String>,
    /// `env:NAME=`.
    pub env: BTreeMap<String, String>,
    /// `nice=`: how much less the processes of its tests matter than the host's own; negative for more.
    pub nice: i32,
}

/// How a worker host comes up.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum HostSpec {
    /// `popen`: this machine; all such workers share one host process.
    #[default]
    Local,
    /// `exec=`: a command that speaks the protocol on the socket whose descriptor is in `XDIST_LINK_FD`; a host of its
    /// own for every worker.
    Exec(Vec<String>),
    /// `ssh=`: another machine; all workers with the same words share one connection and one host process.
    Ssh(SshSpec),
    /// `exec=` with `hosts=`, or `slurm=`: has hosts dial in. It describes the workers of those.
    Launcher(LauncherSpec),
    /// A host that has dialled in. No text means this one.
    Joined(JoinedSpec),
}

/// A host that has dialled in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct JoinedSpec {
    /// Tells it from others with its name.
    pub number: u32,
    /// What it calls itself.
    pub name: String,
}

/// How another machine is reached.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SshSpec {
    /// What `ssh` is given: `[USER@]HOST`, and options of its own before it.
    pub words: Vec<String>,
    /// `ssh_config=`: a file in place of the user's configuration.
    pub config: Option<String>,
    /// The machines in between, the first of which is reached from here and each from the one before.
    pub via: Vec<Self>,
}

/// A specification that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A key that nobody knows.
    #[error("{spec:?}: unknown key {key:?}; known are {KEYS}")]
    UnknownKey {
        /// The specification.
        spec: String,
        /// The key.
        key: String,
    },
    /// A key of pytest-xdist that there is something better for.
    #[error("{spec:?}: {key:?} is not supported: {instead}")]
    Refused {
        /// The specification.
        spec: String,
        /// The key.
        key: String,
        /// Why, and what to do.
        instead: &'static str,
    },
    /// Something else where a number is needed.
    #[error("{spec:?}: \"nice\" needs a whole number from -20 to 19")]
    Nice {
        /// The specification.
        spec: String,
    },
    /// Something else where the number of hosts is needed.
    #[error("{spec:?}: \"hosts\" needs a whole number from 1 to {MAX_WORKERS}")]
    Hosts {
        /// The specification.
        spec: String,
    },
    /// `hosts=` without `exec=`.
    #[error("{spec:?}: \"hosts\" says how many hosts exec=COMMAND starts, and needs that")]
    Launcher {
        /// The specification.
        spec: String,
    },
    /// What only Slurm is asked for.
    #[error("{spec:?}: {key:?} goes together with slurm=N only")]
    NoSlurm {
        /// The specification.
        spec: String,
        /// The key.
        key: String,
    },
    /// Something else than Slurm can be asked for.
    #[error("{spec:?}: {key:?} needs {wanted}")]
    Slurm {
        /// The specification.
        spec: String,
        /// The key.
        key: String,
        /// What it needs.
        wanted: String,
    },
    /// `via=` names nothing, or leads in a circle.
    #[error(
        "{spec:?}: no --px has the id {id:?}, or it leads in a circle; name the machine in between with --px ssh=HOST//id={id}"
    )]
    Via {
        /// The specification.
        spec: String,
        /// The name.
        id: String,
    },
    /// `via=` with a host that cannot be beyond another.
    #[error("{spec:?}: \"via\" goes together with popen and ssh=[USER@]HOST only")]
    ViaKind {
        /// The specification.
        spec: String,
    },
    /// A `--px` of no use.
    #[error("{spec:?}: a --px needs an id, and is popen or ssh=[USER@]HOST: for example ssh=HOST//id=NAME")]
    Proxy {
        /// The specification.
        spec: String,
    },
    /// `ssh_config=` without `ssh=`.
    #[error("{spec:?}: \"ssh_config\" needs ssh=[USER@]HOST")]
    Config {
        /// The specification.
        spec: String,
    },
    /// A key that needs a value and has none, or the reverse.
    #[error("{spec:?}: {key:?} {}", if *.wanted { "needs a value" } else { "takes no value" })]
    Value {
        /// The specification.
        spec: String,
        /// The key.
        key: String,
        /// Whether a value is wanted.
        wanted: bool,
    },
    /// A key that is there twice.
    #[error("{spec:?}: {key:?} is given twice")]
    Repeated {
        /// The specification.
        spec: String,
        /// The key.
        key: String,
    },
    /// A command with an open quotation mark.
    #[error("{spec:?}: the command of {key:?} has an unfinished quotation or escape")]
    Quotation {
        /// The specification.
        spec: String,
        /// The key.
        key: String,
    },
    /// None of `popen`, `ssh=`, `exec=` and `slurm=`, or several.
    #[error("{spec:?}: exactly one of popen, ssh=[USER@]HOST, exec=COMMAND and slurm=N is needed")]
    Kind {
        /// The specification.
        spec: String,
    },
    /// A multiplier out of range.
    #[error("{spec:?}: the number of workers must be from 1 to {MAX_WORKERS}")]
    Count {
        /// The specification.
        spec: String,
    },
    /// Two workers with one name.
    #[error(
        "{spec:?}: another worker is called {id:?} already; give each --tx an id of its own, or one --tx a number: \
         2*popen//id=x makes x0 and x1"
    )]
    SameId {
        /// The specification that came second.
        spec: String,
        /// The name.
        id: String,
    },
}

impl WorkerSpec {
    /// Reads one `--tx` value: `[K*]KEY[=VALUE]//…`, for example `3*popen//python=python3.11//env:TZ=UTC`. Of several workers
    /// each has its number behind its `id=`.
    ///
    /// # Errors
    /// [`SpecError`], which names the specification and the key.
    pub fn parse_tx(text: &str) -> Result<Vec<Self>, SpecError> {
        let (count, text) = split_count(text)?;
        let spec = Self::parse_one(text)?;
        let numbered =
            |number| Self { id: spec.id.as_ref().map(|id| format!("{id}{number}")), ..spec.clone() };
        match count {
            1 => Ok(vec![spec]),
            count => Ok((0..count).map(numbered).collect()),
        }
    }

    /// Reads all `--tx` values, and all `--px` values that they may name.
    ///
    /// # Errors
    /// [`SpecError`], also when two workers have the same `id=`.
    pub fn parse_all<'a>(
        texts: impl IntoIterator<Item = &'a str>,
        proxies: impl IntoIterator<Item = &'a str>,
    ) -> Result<Vec<Self>, SpecError> {
        let proxies = Proxies::parse(proxies)?;
        let mut specs = Vec::new();
        let mut ids = BTreeSet::new();
        for text in texts {
            for spec in Self::parse_tx(text)? {
                if let Some(id) = spec.id.clone().filter(|id| !ids.insert(id.clone())) {
                    return Err(SpecError::SameId { spec: text.to_owned(), id });
                }
                specs.push(proxies.resolve(spec)?);
            }
        }
        Ok(specs)
    }

    fn parse_one(text: &str) -> Result<Self, SpecError> {
        let mut spec = Self::default();
        let mut seen = BTreeSet::new();
        for part in text.split("//") {
            let (key, value) = match part.split_once('=') {
                Some((key, value)) => (key, Some(value)),
                None => (part, None),
            };
            if !seen.insert(key) {
                return Err(SpecError::Repeated { spec: text.to_owned(), key: key.to_owned() });
            }
            spec.set(text, key, value)?;
        }
        if ["popen", "ssh", "exec", "slurm"].iter().filter(|kind| seen.contains(*kind)).count() != 1 {
            return Err(SpecError::Kind { spec: text.to_owned() });
        }
        if seen.contains("ssh_config") && !seen.contains("ssh") {
            return Err(SpecError::Config { spec: text.to_owned() });
        }
        if seen.contains("hosts") && !seen.contains("exec") {
            return Err(SpecError::Launcher { spec: text.to_owned() });
        }
        if let Some(key) = seen.iter().find(|key| SlurmSpec::knows(key) && !seen.contains("slurm")) {
            return Err(SpecError::NoSlurm { spec: text.to_owned(), key: (*key).to_owned() });
        }
        if let HostSpec::Launcher(LauncherSpec::Slurm(slurm)) = &mut spec.host {
            slurm.chdir = spec.chdir.take();
        }
        Ok(spec)
    }

    fn set(&mut self, text: &str, key: &str, value: Option<&str>) -> Result<(), SpecError> {
        let value_error = |wanted| SpecError::Value { spec: text.to_owned(), key: key.to_owned(), wanted };
        let needed = || value.filter(|value| !value.is_empty()).ok_or_else(|| value_error(true));
        match key {
            "popen" if value.is_some() => return Err(value_error(false)),
            // The last two are about execnet's threads and Python's byte-code, and matter to nobody here.
            "popen" | "execmodel" | "dont_write_bytecode" => {}
            "exec" => self.set_command(command(text, key, needed()?)?),
            "via" => self.via = Some(needed()?.to_owned()),
            "hosts" => self.set_hosts(text, needed()?)?,
            "slurm" if value.is_none() => _ = self.slurm_mut(),
            "slurm" => self.set_slurm(text, key, needed()?)?,
            _ if SlurmSpec::knows(key) => self.set_slurm(text, key, needed()?)?,
            "ssh" => {
                let ssh = self.ssh_mut();
                ssh.words = command(text, key, needed()?)?;
                if ssh.machine().is_empty() {
                    return Err(value_error(true));
                }
            }
            "ssh_config" => self.ssh_mut().config = Some(needed()?.to_owned()),
            "python" => self.python = Some(command(text, key, needed()?)?),
            "chdir" => self.chdir = Some(needed()?.to_owned()),
            "nice" => self.nice = nice(text, needed()?)?,
            "id" => self.id = Some(needed()?.to_owned()),
            _ => match key.strip_prefix("env:").filter(|name| !name.is_empty()) {
                Some(name) => {
                    let value = value.ok_or_else(|| value_error(true))?;
                    self.env.insert(name.to_owned(), value.to_owned());
                }
                None => return Err(strange_key(text, key)),
            },
        }
        Ok(())
    }

    /// `exec=`, before or after `hosts=`.
    fn set_command(&mut self, words: Vec<String>) {
        match &mut self.host {
            HostSpec::Launcher(LauncherSpec::Command(command)) => command.words = words,
            _ => self.host = HostSpec::Exec(words),
        }
    }

    /// `hosts=`, before or after `exec=`.
    fn set_hosts(&mut self, text: &str, value: &str) -> Result<(), SpecError> {
        let hosts = value.parse().ok().filter(|hosts| (1..=MAX_WORKERS).contains(hosts));
        let hosts = hosts.ok_or_else(|| SpecError::Hosts { spec: text.to_owned() })?;
        let words = match std::mem::take(&mut self.host) {
            HostSpec::Exec(words) => words,
            _ => Vec::new(),
        };
        self.host = HostSpec::Launcher(LauncherSpec::Command(CommandSpec { words, hosts }));
        Ok(())
    }

    /// `slurm=`, or what goes with it.
    fn set_slurm(&mut self, text: &str, key: &str, value: &str) -> Result<(), SpecError> {
        let (spec, name) = (text.to_owned(), key.to_owned());
        let wrong = || SpecError::Slurm { spec, key: name, wanted: SlurmSpec::wanted(key) };
        self.slurm_mut().set(key, value).ok_or_else(wrong)
    }

    /// What Slurm is asked for, whichever of its keys comes first.
    fn slurm_mut(&mut self) -> &mut SlurmSpec {
        if !matches!(self.host, HostSpec::Launcher(LauncherSpec::Slurm(_))) {
            self.host = HostSpec::Launcher(LauncherSpec::Slurm(SlurmSpec::default()));
        }
        let HostSpec::Launcher(LauncherSpec::Slurm(slurm)) = &mut self.host else {
            unreachable!("it was just made one")
        };
        slurm
    }

    /// The connection, whichever of its keys comes first.
    fn ssh_mut(&mut self) -> &mut SshSpec {
        if !matches!(self.host, HostSpec::Ssh(_)) {
            self.host = HostSpec::Ssh(SshSpec::default());
        }
        let HostSpec::Ssh(ssh) = &mut self.host else { unreachable!("it was just made one") };
        ssh
    }
}

impl fmt::Display for WorkerSpec {
    /// As `--tx` takes it, for one worker.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostSpec::Local => f.write_str("popen")?,
            HostSpec::Exec(words) => write!(f, "exec={}", words.join(" "))?,
            HostSpec::Launcher(launcher) => write!(f, "{launcher}")?,
            HostSpec::Joined(joined) => write!(f, "join={}", joined.name)?,
            HostSpec::Ssh(ssh) => {
                write!(f, "ssh={}", ssh.words.join(" "))?;
                if let Some(config) = &ssh.config {
                    write!(f, "//ssh_config={config}")?;
                }
            }
        }
        if let Some(python) = &self.python {
            write!(f, "//python={}", python.join(" "))?;
        }
        if let Some(chdir) = &self.chdir {
            write!(f, "//chdir={chdir}")?;
        }
        if let Some(via) = &self.via {
            write!(f, "//via={via}")?;
        }
        for (name, value) in &self.env {
            write!(f, "//env:{name}={value}")?;
        }
        if self.nice != 0 {
            write!(f, "//nice={}", self.nice)?;
        }
        self.id.as_ref().map_or(Ok(()), |id| write!(f, "//id={id}"))
    }
}

impl HostSpec {
    /// What to call such a host before it has told its name.
    pub(crate) fn describe(&self) -> String {
        match self {
            Self::Local => "the local worker host".to_owned(),
            Self::Exec(command) => format!("the worker host {:?}", command.join(" ")),
            Self::Ssh(ssh) => format!("the worker host on {}", ssh.machine()),
            Self::Launcher(launcher) => launcher.describe(),
            Self::Joined(joined) => format!("the worker host on {}", joined.name),
        }
    }

    /// Whether all workers with this specification are one process' to drive.
    pub(crate) const fn is_shared(&self) -> bool {
        match self {
            Self::Local | Self::Ssh(_) | Self::Joined(_) => true,
            Self::Exec(_) | Self::Launcher(_) => false,
        }
    }

    /// What the user calls the machine, if it is another one than this.
    pub(crate) fn other_machine(&self) -> Option<&str> {
        match self {
            Self::Ssh(ssh) => Some(ssh.machine()),
            Self::Joined(joined) => Some(&joined.name),
            Self::Local | Self::Exec(_) | Self::Launcher(_) => None,
        }
    }

    /// Whether hosts on other machines are to dial in.
    pub(crate) const fn wants_others_in(&self) -> bool {
        match self {
            Self::Launcher(launcher) => launcher.leaves_this_machine(),
            Self::Local | Self::Exec(_) | Self::Ssh(_) | Self::Joined(_) => false,
        }
    }

    /// Whether what happens to the machine may have nothing to do with the tests that run there, so that those run
    /// again elsewhere.
    pub(crate) const fn is_elsewhere(&self) -> bool {
        match self {
            Self::Ssh(_) | Self::Joined(_) => true,
            Self::Local | Self::Exec(_) | Self::Launcher(_) => false,
        }
    }
}

impl SshSpec {
    /// What `ssh` is given, quoted as a shell wants it.
    pub(crate) fn arguments(&self) -> String {
        let config = self.config.iter().flat_map(|config| ["-F", config]);
        let words = config.chain(self.words.iter().map(String::as_str));
        // Words come from a specification, where no NUL can be.
        shlex::try_join(words).unwrap_or_default()
    }

    /// What to call the machine: its name or address as the user wrote it, without the user's own.
    #[must_use]
    pub fn machine(&self) -> &str {
        let destination = self.destination();
        let plain = destination.strip_prefix("ssh://");
        let named = plain.unwrap_or(destination);
        let machine = named.rsplit_once('@').map_or(named, |(_, machine)| machine);
        match (plain, machine.rsplit_once(':')) {
            (Some(_), Some((machine, _port))) => machine,
            _ => machine,
        }
    }

    /// The first word that is neither an option nor the value of one.
    fn destination(&self) -> &str {
        let mut words = self.words.iter().map(String::as_str);
        while let Some(word) = words.next() {
            match word.strip_prefix('-') {
                None => return word,
                Some(option) if SSH_OPTIONS_WITH_VALUES.contains(option) && option.len() == 1 => {
                    words.next();
                }
                Some(_) => {}
            }
        }
        ""
    }
}

/// The multiplier in front of the first `*`, if what stands there is a number.
fn split_count(text: &str) -> Result<(u32, &str), SpecError> {
    let Some((count, rest)) = text.split_once('*') else { return Ok((1, text)) };
    if count.is_empty() || !count.bytes().all(|byte| byte.is_ascii_digit()) {
        return Ok((1, text));
    }
    match count.parse() {
        Ok(count @ 1..=MAX_WORKERS) => Ok((count, rest)),
        Ok(_) | Err(_) => Err(SpecError::Count { spec: text.to_owned() }),
    }
}

/// Splits a command as a shell does.
fn command(text: &str, key: &str, value: &str) -> Result<Vec<String>, SpecError> {
    match shlex::split(value) {
        Some(words) if words.is_empty() => {
            Err(SpecError::Value { spec: text.to_owned(), key: key.to_owned(), wanted: true })
        }
        Some(words) => Ok(words),
        None => Err(SpecError::Quotation { spec: text.to_owned(), key: key.to_owned() }),
    }
}

/// A change of priority, as the system knows it.
fn nice(text: &str, value: &str) -> Result<i32, SpecError> {
    let number = value.parse().ok().filter(|number| (-20..=19).contains(number));
    number.ok_or_else(|| SpecError::Nice { spec: text.to_owned() })
}

fn strange_key(text: &str, key: &str) -> SpecError {
    let (spec, name) = (text.to_owned(), key.to_owned());
    match REFUSED.iter().find(|(refused, _)| *refused == key) {
        Some((_, instead)) => SpecError::Refused { spec, key: name, instead },
        None => SpecError::UnknownKey { spec, key: name },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match WorkerSpec::parse_tx(text) {
            Ok(specs) => format!("{} of {:?}", specs.len(), specs[0]),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "for {text:?}");
    }

    #[test]
    fn specifications_are_read_key_by_key() {
        let specs =
            WorkerSpec::parse_tx("popen//python=py 'a b'//chdir=/x//env:K=V=1//env:E=//id=a").unwrap();
        let env = [("K", "V=1"), ("E", "")].map(|(key, value)| (key.to_owned(), value.to_owned()));
        let expected = WorkerSpec {
            id: Some("a".to_owned()),
            via: None,
            host: HostSpec::Local,
            python: Some(vec!["py".to_owned(), "a b".to_owned()]),
            chdir: Some("/x".to_owned()),
            env: env.into(),
            nice: 0,
        };
        assert_eq!(specs, [expected]);
    }

    #[test]
    fn specifications_of_pytest_xdist_for_ssh_are_read() {
        let text = "3*ssh=-p 2222 me@host//ssh_config=f//python=py//chdir=/srv/t//env:K=V//nice=5\
                    //execmodel=thread//dont_write_bytecode";
        let ssh = SshSpec {
            words: ["-p", "2222", "me@host"].map(str::to_owned).to_vec(),
            via: Vec::new(),
            config: Some("f".to_owned()),
        };
        assert_eq!(ssh.machine(), "host");
        let specs = WorkerSpec::parse_tx(text).unwrap();
        assert_eq!(specs.len(), 3);
        assert_eq!((&specs[0].host, specs[0].nice), (&HostSpec::Ssh(ssh), 5));
        assert_eq!(
            specs[0].to_string(),
            "ssh=-p 2222 me@host//ssh_config=f//python=py//chdir=/srv/t//env:K=V//nice=5"
        );
        assert_eq!(
            WorkerSpec::parse_tx("ssh_config=f//ssh=h").unwrap()[0].to_string(),
            "ssh=h//ssh_config=f"
        );
    }

    #[test]
    fn the_machine_is_found_among_the_words_for_ssh() {
        for (words, machine) in [
            ("host", "host"),
            ("-p 2222 me@host", "host"),
            ("me@host -p 2222", "host"),
            ("-4 -oPort=7 -i key me@a@host", "host"),
            ("ssh://me@host:2222", "host"),
            ("-p 22", ""),
        ] {
            let words = words.split(' ').map(str::to_owned).collect();
            assert_eq!(SshSpec { words, ..SshSpec::default() }.machine(), machine);
        }
    }

    #[test]
    fn what_is_refused_says_what_to_use() {
        for (text, instead) in [
            ("socket=h:8888", "ssh=[USER@]HOST"),
            ("vagrant_ssh=box", "vagrant ssh-config"),
            ("socket=h//installvia=gw", "ssh=[USER@]HOST"),
        ] {
            let error = WorkerSpec::parse_tx(text).unwrap_err().to_string();
            assert!(error.contains("is not supported: ") && error.contains(instead), "{error}");
        }
    }

    #[test]
    fn a_number_multiplies_and_a_star_elsewhere_does_not() {
        assert_eq!(WorkerSpec::parse_tx("3*popen"), Ok(vec![WorkerSpec::default(); 3]));
        let host = HostSpec::Exec(vec!["run".to_owned(), "*".to_owned()]);
        assert_eq!(
            WorkerSpec::parse_tx("exec=run *"),
            Ok(vec![WorkerSpec { host, ..WorkerSpec::default() }])
        );
    }

    #[test]
    fn mistakes_are_named() {
        check("0*popen", r#""0*popen": the number of workers must be from 1 to 4096"#);
        check("99999999999*popen", r#""99999999999*popen": the number of workers must be from 1 to 4096"#);
        check(
            "popen//hosts=2",
            r#""popen//hosts=2": "hosts" says how many hosts exec=COMMAND starts, and needs that"#,
        );
        check("exec=x//hosts=0", r#""exec=x//hosts=0": "hosts" needs a whole number from 1 to 4096"#);
        check("popen//nice=x", r#""popen//nice=x": "nice" needs a whole number from -20 to 19"#);
        check("popen//nice=20", r#""popen//nice=20": "nice" needs a whole number from -20 to 19"#);
        check("popen//ssh_config=f", r#""popen//ssh_config=f": "ssh_config" needs ssh=[USER@]HOST"#);
        check("ssh_config=f//exec=x", r#""ssh_config=f//exec=x": "ssh_config" needs ssh=[USER@]HOST"#);
        check(
            "popen//pyton=x",
            r#""popen//pyton=x": unknown key "pyton"; known are popen, ssh, exec, slurm, ssh_config, hosts, cpus, partition, account, qos, time, gres, slurm_args, via, python, chdir, env:NAME, nice and id"#,
        );
        check("popen=1", r#""popen=1": "popen" takes no value"#);
        check("popen//chdir", r#""popen//chdir": "chdir" needs a value"#);
        check("popen//chdir=", r#""popen//chdir=": "chdir" needs a value"#);
        check("popen//popen", r#""popen//popen": "popen" is given twice"#);
        check("exec=a 'b", r#""exec=a 'b": the command of "exec" has an unfinished quotation or escape"#);
        check("exec= ", r#""exec= ": "exec" needs a value"#);
        check("ssh=-p 22", r#""ssh=-p 22": "ssh" needs a value"#);
        check(
            "python=x",
            r#""python=x": exactly one of popen, ssh=[USER@]HOST, exec=COMMAND and slurm=N is needed"#,
        );
        check(
            "popen//exec=x",
            r#""popen//exec=x": exactly one of popen, ssh=[USER@]HOST, exec=COMMAND and slurm=N is needed"#,
        );
        check(
            "",
            r#""": unknown key ""; known are popen, ssh, exec, slurm, ssh_config, hosts, cpus, partition, account, qos, time, gres, slurm_args, via, python, chdir, env:NAME, nice and id"#,
        );
    }

    #[test]
    fn several_workers_of_one_specification_are_told_apart_by_numbers_behind_their_id() {
        let ids = |texts: &[&str]| {
            let specs = WorkerSpec::parse_all(texts.iter().copied(), []).unwrap();
            specs.into_iter().map(|spec| spec.id.unwrap_or_default()).collect::<Vec<_>>()
        };
        assert_eq!(ids(&["3*ssh=host//python=py//id=x"]), ["x0", "x1", "x2"]);
        assert_eq!(ids(&["popen//id=x", "1*popen//id=y", "2*popen//id=x"]), ["x", "y", "x0", "x1"]);
        assert_eq!(ids(&["2*popen"]), ["", ""]);
    }

    #[test]
    fn ids_are_unique_over_all_specifications() {
        let clash = |texts: &[&str]| WorkerSpec::parse_all(texts.iter().copied(), []).unwrap_err();
        let same = |spec: &str, id: &str| SpecError::SameId { spec: spec.to_owned(), id: id.to_owned() };
        assert_eq!(clash(&["popen//id=a", "popen", "popen//id=a"]), same("popen//id=a", "a"));
        assert_eq!(clash(&["popen//id=a1", "2*popen//id=a"]), same("2*popen//id=a", "a1"));
        assert_eq!(
            same("popen//id=a", "a").to_string(),
            r#""popen//id=a": another worker is called "a" already; give each --tx an id of its own, or one --tx a number: 2*popen//id=x makes x0 and x1"#
        );
        assert_eq!(WorkerSpec::parse_all(["2*popen", "popen//id=a"], []).unwrap().len(), 3);
    }
}
