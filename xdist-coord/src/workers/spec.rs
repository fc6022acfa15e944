//! Worker specifications: what `--tx` says.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The most workers that one specification may ask for, so that a slip of the finger does not take the machine down.
pub const MAX_WORKERS: u32 = 4096;

/// Keys of pytest-xdist and execnet that have no effect here yet.
const UNSUPPORTED: [&str; 9] = [
    "ssh",
    "socket",
    "vagrant_ssh",
    "via",
    "installvia",
    "ssh_config",
    "nice",
    "dont_write_bytecode",
    "execmodel",
];

/// Where and how one worker runs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerSpec {
    /// `id=`: what it is called instead of `gwN`.
    pub id: Option<String>,
    /// How its host comes up.
    pub host: HostSpec,
    /// `python=`: the interpreter, instead of the default.
    pub python: Option<Vec<String>>,
    /// `chdir=`.
    pub chdir: Option<String>,
    /// `env:NAME=`.
    pub env: BTreeMap<String, String>,
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
}

/// A specification that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SpecError {
    /// A key that nobody knows.
    #[error("{spec:?}: unknown key {key:?}; known are popen, exec, python, chdir, env:NAME and id")]
    UnknownKey {
        /// The specification.
        spec: String,
        /// The key.
        key: String,
    },
    /// A key that pytest-xdist knows and this program does not yet.
    #[error("{spec:?}: {key:?} is not supported yet; use popen or exec=COMMAND")]
    Unsupported {
        /// The specification.
        spec: String,
        /// The key.
        key: String,
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
    /// Neither `popen` nor `exec=`, or both.
    #[error("{spec:?}: exactly one of popen and exec=COMMAND is needed")]
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
    #[error("two workers are called {id:?}")]
    SameId {
        /// The name.
        id: String,
    },
}

impl WorkerSpec {
    /// Reads one `--tx` value: `[K*]KEY[=VALUE]//…`, for example `3*popen//python=python3.11//env:TZ=UTC`.
    ///
    /// # Errors
    /// [`SpecError`], which names the specification and the key.
    pub fn parse_tx(text: &str) -> Result<Vec<Self>, SpecError> {
        let (count, text) = split_count(text)?;
        let spec = Self::parse_one(text)?;
        match (&spec.id, count) {
            (Some(id), 2..) => Err(SpecError::SameId { id: id.clone() }),
            (_, count) => Ok(vec![spec; count as usize]),
        }
    }

    /// Reads all `--tx` values.
    ///
    /// # Errors
    /// [`SpecError`], also when two workers have the same `id=`.
    pub fn parse_all<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Vec<Self>, SpecError> {
        let mut specs = Vec::new();
        for text in texts {
            specs.extend(Self::parse_tx(text)?);
        }
        let mut ids = BTreeSet::new();
        match specs.iter().filter_map(|spec| spec.id.as_ref()).find(|id| !ids.insert(*id)) {
            Some(id) => Err(SpecError::SameId { id: id.clone() }),
            None => Ok(specs),
        }
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
        if seen.contains("popen") == seen.contains("exec") {
            return Err(SpecError::Kind { spec: text.to_owned() });
        }
        Ok(spec)
    }

    fn set(&mut self, text: &str, key: &str, value: Option<&str>) -> Result<(), SpecError> {
        let value_error = |wanted| SpecError::Value { spec: text.to_owned(), key: key.to_owned(), wanted };
        let needed = || value.filter(|value| !value.is_empty()).ok_or_else(|| value_error(true));
        match key {
            "popen" if value.is_some() => return Err(value_error(false)),
            "popen" => {}
            "exec" => self.host = HostSpec::Exec(command(text, key, needed()?)?),
            "python" => self.python = Some(command(text, key, needed()?)?),
            "chdir" => self.chdir = Some(needed()?.to_owned()),
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
}

impl fmt::Display for WorkerSpec {
    /// As `--tx` takes it, for one worker.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            HostSpec::Local => f.write_str("popen")?,
            HostSpec::Exec(words) => write!(f, "exec={}", words.join(" "))?,
        }
        if let Some(python) = &self.python {
            write!(f, "//python={}", python.join(" "))?;
        }
        if let Some(chdir) = &self.chdir {
            write!(f, "//chdir={chdir}")?;
        }
        for (name, value) in &self.env {
            write!(f, "//env:{name}={value}")?;
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
        }
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

fn strange_key(text: &str, key: &str) -> SpecError {
    let (spec, key) = (text.to_owned(), key.to_owned());
    match UNSUPPORTED.contains(&key.as_str()) {
        true => SpecError::Unsupported { spec, key },
        false => SpecError::UnknownKey { spec, key },
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
            host: HostSpec::Local,
            python: Some(vec!["py".to_owned(), "a b".to_owned()]),
            chdir: Some("/x".to_owned()),
            env: env.into(),
        };
        assert_eq!(specs, [expected]);
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
        check("popen//nice=3", r#""popen//nice=3": "nice" is not supported yet; use popen or exec=COMMAND"#);
        check("ssh=host", r#""ssh=host": "ssh" is not supported yet; use popen or exec=COMMAND"#);
        check(
            "popen//pyton=x",
            r#""popen//pyton=x": unknown key "pyton"; known are popen, exec, python, chdir, env:NAME and id"#,
        );
        check("popen=1", r#""popen=1": "popen" takes no value"#);
        check("popen//chdir", r#""popen//chdir": "chdir" needs a value"#);
        check("popen//chdir=", r#""popen//chdir=": "chdir" needs a value"#);
        check("popen//popen", r#""popen//popen": "popen" is given twice"#);
        check("exec=a 'b", r#""exec=a 'b": the command of "exec" has an unfinished quotation or escape"#);
        check("exec= ", r#""exec= ": "exec" needs a value"#);
        check("python=x", r#""python=x": exactly one of popen and exec=COMMAND is needed"#);
        check("popen//exec=x", r#""popen//exec=x": exactly one of popen and exec=COMMAND is needed"#);
        check("2*popen//id=a", r#"two workers are called "a""#);
        check("", r#""": unknown key ""; known are popen, exec, python, chdir, env:NAME and id"#);
    }

    #[test]
    fn ids_are_unique_over_all_specifications() {
        assert_eq!(
            WorkerSpec::parse_all(["popen//id=a", "popen", "popen//id=a"]),
            Err(SpecError::SameId { id: "a".to_owned() })
        );
        assert_eq!(WorkerSpec::parse_all(["2*popen", "popen//id=a"]).unwrap().len(), 3);
    }
}
