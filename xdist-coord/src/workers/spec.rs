//! Worker specifications: what `--tx` says.

use std::collections::BTreeMap;

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
