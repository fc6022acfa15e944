//! What starts hosts that then dial in: a command, or Slurm.

use super::MAX_WORKERS;
use std::collections::BTreeMap;
use std::fmt;

/// Keys that say what Slurm is asked for, as its own `srun` calls them.
const SLURM_OPTIONS: [&str; 5] = ["partition", "account", "qos", "time", "gres"];

/// What has `xdist worker --join` started on other machines.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LauncherSpec {
    /// `exec=` with `hosts=`.
    Command(CommandSpec),
    /// `slurm=`.
    Slurm(SlurmSpec),
}

/// A command that has hosts dial in.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommandSpec {
    /// The command.
    pub words: Vec<String>,
    /// How many hosts are to dial in.
    pub hosts: u32,
}

/// What Slurm is asked for.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct SlurmSpec {
    /// `slurm=`: how many hosts; `None` for as many as the allocation has nodes that the run is in.
    pub hosts: Option<u32>,
    /// `cpus=`: how many processors each host gets, and so how many workers; `None` for what Slurm gives by itself.
    pub cpus: Option<u32>,
    /// `chdir=`, from the coordinator's directory.
    pub chdir: Option<String>,
    /// `partition=` and the like.
    pub options: BTreeMap<String, String>,
    /// `slurm_args=`: what `srun` is given besides.
    pub args: Vec<String>,
}

impl LauncherSpec {
    /// Whether what it starts is on other machines in any case.
    pub(crate) const fn leaves_this_machine(&self) -> bool {
        match self {
            Self::Command(_) => false,
            Self::Slurm(_) => true,
        }
    }

    /// What to call it.
    pub(super) fn describe(&self) -> String {
        match self {
            Self::Command(command) => format!("the launcher {:?}", command.words.join(" ")),
            Self::Slurm(_) => "Slurm".to_owned(),
        }
    }
}

impl SlurmSpec {
    /// Whether there is such a key, apart from `slurm` itself.
    pub(super) fn knows(key: &str) -> bool {
        SLURM_OPTIONS.contains(&key) || ["cpus", "slurm_args"].contains(&key)
    }

    /// Sets what the key is for; `None` if the value is of no use.
    pub(super) fn set(&mut self, key: &str, value: &str) -> Option<()> {
        match key {
            "slurm" => self.hosts = Some(number(value)?),
            "cpus" => self.cpus = Some(number(value)?),
            "slurm_args" => self.args = shlex::split(value)?,
            _ => {
                self.options.insert(key.to_owned(), value.to_owned());
            }
        }
        Some(())
    }

    /// What a value of this key has to be.
    pub(super) fn wanted(key: &str) -> String {
        match key {
            "slurm_args" => "options of srun, quoted as for a shell".to_owned(),
            _ => format!("a whole number from 1 to {MAX_WORKERS}"),
        }
    }
}

fn number(value: &str) -> Option<u32> {
    value.parse().ok().filter(|number| (1..=MAX_WORKERS).contains(number))
}

impl fmt::Display for LauncherSpec {
    /// As `--tx` takes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => write!(f, "exec={}//hosts={}", command.words.join(" "), command.hosts),
            Self::Slurm(slurm) => write!(f, "{slurm}"),
        }
    }
}

impl fmt::Display for SlurmSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("slurm")?;
        if let Some(hosts) = self.hosts {
            write!(f, "={hosts}")?;
        }
        if let Some(cpus) = self.cpus {
            write!(f, "//cpus={cpus}")?;
        }
        for (key, value) in &self.options {
            write!(f, "//{key}={value}")?;
        }
        if !self.args.is_empty() {
            write!(
                f,
                "//slurm_args={}",
                shlex::try_join(self.args.iter().map(String::as_str)).unwrap_or_default()
            )?;
        }
        self.chdir.as_ref().map_or(Ok(()), |chdir| write!(f, "//chdir={chdir}"))
    }
}

#[cfg(test)]
mod tests {
    use super::super::{HostSpec, WorkerSpec};
    use super::*;

    fn check(text: &str, expected: &str) {
        let found = match WorkerSpec::parse_tx(text) {
            Ok(specs) => specs[0].to_string(),
            Err(error) => error.to_string(),
        };
        assert_eq!(found, expected, "for {text:?}");
    }

    #[test]
    fn slurm_is_asked_for_what_the_keys_say() {
        let text = "slurm=4//cpus=8//partition=p//slurm_args=--mem=4G '-C a b'//chdir=t//python=py//nice=3";
        let spec = WorkerSpec::parse_tx(text).unwrap().remove(0);
        let expected = SlurmSpec {
            hosts: Some(4),
            cpus: Some(8),
            chdir: Some("t".to_owned()),
            options: [("partition".to_owned(), "p".to_owned())].into(),
            args: vec!["--mem=4G".to_owned(), "-C a b".to_owned()],
        };
        assert_eq!(spec.host, HostSpec::Launcher(LauncherSpec::Slurm(expected)));
        // The directory is where the hosts start, so that their workers need not be told of it.
        assert_eq!((spec.chdir, spec.nice), (None, 3));
        check(
            "partition=p//slurm=2//qos=q//time=1-00:00:00//account=a//gres=gpu:1",
            "slurm=2//account=a//gres=gpu:1//partition=p//qos=q//time=1-00:00:00",
        );
        check("slurm", "slurm");
        check("slurm//cpus=2//env:A=B", "slurm//cpus=2//env:A=B");
    }

    #[test]
    fn mistakes_are_named() {
        check("slurm=0", r#""slurm=0": "slurm" needs a whole number from 1 to 4096"#);
        check("slurm=2//cpus=all", r#""slurm=2//cpus=all": "cpus" needs a whole number from 1 to 4096"#);
        check(
            "slurm//slurm_args='",
            r#""slurm//slurm_args='": "slurm_args" needs options of srun, quoted as for a shell"#,
        );
        check("slurm//partition=", r#""slurm//partition=": "partition" needs a value"#);
        check("popen//partition=p", r#""popen//partition=p": "partition" goes together with slurm=N only"#);
        check(
            "exec=x//hosts=2//cpus=2",
            r#""exec=x//hosts=2//cpus=2": "cpus" goes together with slurm=N only"#,
        );
        check(
            "slurm=2//hosts=2",
            r#""slurm=2//hosts=2": "hosts" says how many hosts exec=COMMAND starts, and needs that"#,
        );
        check(
            "slurm=2//popen",
            r#""slurm=2//popen": exactly one of popen, ssh=[USER@]HOST, exec=COMMAND and slurm=N is needed"#,
        );
    }
}
