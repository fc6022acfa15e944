//! What a run starts from.

use crate::scheduler::Mode;
use crate::sync::Root;
use crate::workers::spec::{HostSpec, WorkerSpec};
use std::time::Duration;
use xdist_proto::RunId;
use xdist_proto::message::{Ready, Start, Wants};
use xdist_proto::sync::Files;

/// What is known before the first worker has read its options. Whatever is `None` comes from the options that the first
/// worker reports ([`xdist_proto::message::RunOptions`]); what is given here was given on the command line, which wins.
#[derive(Clone, Debug)]
pub struct Config {
    /// The name of the run, unless an option names it otherwise.
    pub run: RunId,
    /// The workers to start with, where the command line says so. Otherwise one worker is started first, and its
    /// options say how many more. There need not be any where others may dial in.
    pub workers: Option<Vec<WorkerSpec>>,
    /// How items are handed out, where the command line says so.
    pub mode: Option<Mode>,
    /// The arguments as the user gave them.
    pub args: Vec<String>,
    /// The command that starts the default interpreter.
    pub python: Vec<String>,
    /// How test processes come up, as far as the command line says.
    pub start: Start,
    /// Where the run was started.
    pub place: Place,
    /// What frontends want to be told.
    pub wants: Wants,
    /// Which hosts may dial in, and how long they are waited for.
    pub joining: Joining,
    /// Whether a frontend answers for plugins on this side.
    pub pytest_host: PytestHost,
    /// The path of the terminal that a person sits at and workers may borrow, if there is one.
    pub terminal: Option<String>,
    /// Times after which something is taken to have failed.
    pub timeouts: Timeouts,
}

/// Hosts that dial in, while the run goes on or before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// Whether anybody may who can prove to be invited. Those that a launcher starts may in any case.
    pub open: bool,
    /// Tests begin when there are so many workers; at least 1. Of interest only where hosts may dial in.
    pub min_workers: u32,
    /// How long to wait for so many workers, or for another one when none is left.
    pub patience: Duration,
}

impl Default for Joining {
    fn default() -> Self {
        Self { open: false, min_workers: 1, patience: Duration::from_secs(300) }
    }
}

/// Where the run was started, for workers elsewhere. Empty where it is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Place {
    /// The coordinator's directory, absolute.
    pub directory: String,
    /// The root directory that the pytest which started the coordinator has found, absolute.
    pub rootdir: Option<String>,
    /// Its configuration file, absolute.
    pub inifile: Option<String>,
    /// What is copied to workers elsewhere.
    pub files: Files,
    /// The same, as directories ([`crate::sync::roots`]).
    pub roots: Vec<Root>,
    /// The directory for what is of use to later runs.
    pub cache: Option<String>,
    /// What the copies of this project are known by on a host: a name that no other project has.
    pub project: String,
}

/// A directory and its copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The directory, absolute.
    pub here: String,
    /// Its copy on a host, absolute.
    pub there: String,
}

impl Place {
    /// The directory that a worker is to start in; `None` for its host's own. Whoever had a host dial in chose that one.
    pub(super) fn directory_of(&self, spec: &WorkerSpec, copies: &[Copied]) -> Option<String> {
        if let Some(directory) = there(copies, &self.directory) {
            return Some(directory);
        }
        if let (None, Some(copied)) = (&spec.chdir, copies.first()) {
            // Beside the copies, as the original has it.
            return copied.there.rsplit_once('/').map(|(parent, _)| parent.to_owned());
        }
        let same = matches!(spec.host, HostSpec::Ssh(_)) && !self.directory.is_empty();
        spec.chdir.clone().or_else(|| same.then(|| self.directory.clone()))
    }

    /// What pytest is to be told of the root directory before any other argument. On another machine and in another
    /// directory the same tree begins elsewhere, so there it is told from that directory.
    pub(super) fn arguments(
        &self,
        spec: &WorkerSpec,
        copies: &[Copied],
    ) -> impl Iterator<Item = String> + use<> {
        if !copies.is_empty() {
            return self.arguments_in_copies(copies).into_iter();
        }
        let moved = match spec.host {
            HostSpec::Ssh(_) => spec.chdir.is_some(),
            HostSpec::Joined(_) => true,
            HostSpec::Local | HostSpec::Exec(_) | HostSpec::Launcher(_) => false,
        };
        let seen = |path: &String| match moved {
            true => relative(&self.directory, path),
            false => path.clone(),
        };
        let rootdir = self.rootdir.as_ref().map(|path| format!("--rootdir={}", seen(path)));
        let inifile = self.inifile.as_ref().map(|path| ["-c".to_owned(), seen(path)]);
        rootdir.into_iter().chain(inifile.into_iter().flatten()).collect::<Vec<_>>().into_iter()
    }

    /// The same where directories were copied. What was not copied cannot be told.
    fn arguments_in_copies(&self, copies: &[Copied]) -> Vec<String> {
        let there = |path: &Option<String>| path.as_ref().and_then(|path| there(copies, path));
        let rootdir = there(&self.rootdir).map(|path| format!("--rootdir={path}"));
        let inifile = there(&self.inifile).map(|path| ["-c".to_owned(), path]);
        rootdir.into_iter().chain(inifile.into_iter().flatten()).collect()
    }

    /// Where a path in a worker's tree is in the coordinator's: the same way from the directories that both started in.
    /// Paths that do not belong to the tree are the same everywhere.
    pub(super) fn path_here(
        &self,
        spec: &WorkerSpec,
        copies: &[Copied],
        ready: &Ready,
        path: &str,
    ) -> String {
        let copied = copies.iter().find(|copied| is_below(&copied.there, path));
        if let Some(Copied { here, there }) = copied {
            return joined(here, &relative(there, path));
        }
        let same = self.directory.is_empty() || ready.cwd == self.directory || !spec.host.is_elsewhere();
        let belongs = [&ready.cwd, &ready.rootdir].iter().any(|tree| is_below(tree, path));
        match belongs && !same {
            true => joined(&self.directory, &relative(&ready.cwd, path)),
            false => path.to_owned(),
        }
    }
}

/// Where the copy of something absolute is: of the smallest directory that it is in, if it is in one that was copied.
fn there(copies: &[Copied], path: &str) -> Option<String> {
    let inside = copies.iter().filter(|copied| is_below(&copied.here, path));
    let copied = inside.max_by_key(|copied| copied.here.len())?;
    Some(joined(&copied.there, &relative(&copied.here, path)))
}

/// An argument as it is for a worker that has copies: an absolute path into a directory that was copied, also one with a
/// node id's `::` behind it or an option's name and `=` before it, leads into the copy.
pub(super) fn argument_there(copies: &[Copied], argument: &str) -> String {
    let (option, value) = match argument.split_once('=') {
        Some((option, value)) if option.starts_with('-') && !option.contains('/') => (Some(option), value),
        Some(_) | None => (None, argument),
    };
    let (path, rest) = match value.find("::") {
        Some(at) => value.split_at(at),
        None => (value, ""),
    };
    match there(copies, path) {
        Some(path) => match option {
            Some(option) => format!("{option}={path}{rest}"),
            None => format!("{path}{rest}"),
        },
        None => argument.to_owned(),
    }
}

/// Whether the path is this absolute directory, or in it.
fn is_below(directory: &str, path: &str) -> bool {
    let directory = directory.trim_end_matches('/');
    let rest = path.strip_prefix(directory).filter(|_| !directory.is_empty());
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// The way from one absolute directory to another path.
fn relative(from: &str, to: &str) -> String {
    let names = |path: &'_ str| path.split('/').filter(|name| !name.is_empty()).map(str::to_owned).collect();
    let (from, to): (Vec<String>, Vec<String>) = (names(from), names(to));
    let common = from.iter().zip(&to).take_while(|(one, other)| one == other).count();
    let up = std::iter::repeat_n("..", from.len() - common);
    let way: Vec<&str> = up.chain(to[common..].iter().map(String::as_str)).collect();
    if way.is_empty() { ".".to_owned() } else { way.join("/") }
}

/// Where a way from an absolute directory leads.
fn joined(directory: &str, way: &str) -> String {
    let mut names: Vec<&str> = directory.split('/').filter(|name| !name.is_empty()).collect();
    for name in way.split('/') {
        match name {
            "." | "" => {}
            ".." => {
                names.pop();
            }
            name => names.push(name),
        }
    }
    format!("/{}", names.join("/"))
}

/// Whether a frontend takes part that answers for plugins on the coordinator's side: the pytest host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PytestHost {
    /// None does.
    #[default]
    Never,
    /// As soon as a worker has plugins that want one.
    OnDemand,
    /// From the start.
    Present,
}

/// Times after which something is taken to have failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From a host's launch to its `hello`.
    pub connect: Duration,
    /// The same for a host on another machine, which may have to be sent the program first. What is amiss there is mostly
    /// noticed much earlier, by what connects.
    pub connect_far: Duration,
    /// Between two `ping`s on a link.
    pub heartbeat: Duration,
    /// From when a host was heard last until it is taken for lost, if it leaves a `ping` unanswered.
    pub host: Duration,
    /// From `drain` or `interrupt` until a worker that is not in the middle of an item is killed.
    pub finish: Duration,
    /// From the last part of a file that a host was asked for until it is given up.
    pub fetch: Duration,
    /// From `shutdown` until the link of a host that has not reported `down` is closed.
    pub shutdown: Duration,
}

impl Timeouts {
    /// How long a process that is shut down may take to end by itself: half of what its host has to report its end.
    pub(super) fn grace(&self) -> Duration {
        self.shutdown / 2
    }
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(30),
            connect_far: Duration::from_secs(600),
            heartbeat: Duration::from_secs(5),
            host: Duration::from_secs(15),
            finish: Duration::from_secs(60),
            fetch: Duration::from_secs(60),
            shutdown: Duration::from_secs(5),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> WorkerSpec {
        WorkerSpec::parse_tx(text).unwrap().remove(0)
    }

    #[test]
    fn the_same_tree_elsewhere_is_described_from_its_directory() {
        let place = Place {
            directory: "/home/me/project/sub".to_owned(),
            rootdir: Some("/home/me/project".to_owned()),
            inifile: Some("/home/me/project/sub/x/pytest.ini".to_owned()),
            ..Place::default()
        };
        let arguments = |text| place.arguments(&spec(text), &[]).collect::<Vec<_>>().join(" ");
        let here = "--rootdir=/home/me/project -c /home/me/project/sub/x/pytest.ini";
        assert_eq!(arguments("popen//chdir=/srv/t"), here);
        assert_eq!(arguments("ssh=h"), here);
        assert_eq!(arguments("ssh=h//chdir=/srv/t"), "--rootdir=.. -c x/pytest.ini");

        let directory = |text| place.directory_of(&spec(text), &[]);
        assert_eq!(directory("popen"), None);
        assert_eq!(directory("ssh=h").as_deref(), Some("/home/me/project/sub"));
        assert_eq!(directory("ssh=h//chdir=t").as_deref(), Some("t"));

        let found = |text, cwd: &str, path| {
            let ready = Ready { cwd: cwd.to_owned(), rootdir: "/srv".to_owned(), ..Ready::default() };
            place.path_here(&spec(text), &[], &ready, path)
        };
        assert_eq!(found("popen", "/srv/t", "/srv/t"), "/srv/t");
        assert_eq!(found("ssh=h", "/home/me/project/sub", "/srv"), "/srv");
        assert_eq!(found("ssh=h//chdir=/srv/t", "/srv/t", "/srv"), "/home/me/project");
        assert_eq!(found("ssh=h//chdir=/srv/t", "/srv/t", "/srv/t"), "/home/me/project/sub");
        assert_eq!(found("ssh=h//chdir=/srv/t", "/srv/t", "/srv/t/out.xml"), "/home/me/project/sub/out.xml");
        assert_eq!(found("ssh=h//chdir=/srv/t", "/srv/t", "/srv2/out.xml"), "/srv2/out.xml");
    }

    #[test]
    fn nothing_is_said_of_a_place_that_is_not_known() {
        let place = Place::default();
        assert_eq!(place.arguments(&spec("ssh=h"), &[]).count(), 0);
        assert_eq!(place.directory_of(&spec("ssh=h"), &[]), None);
        let ready = Ready { cwd: "/a".to_owned(), rootdir: "/a".to_owned(), ..Ready::default() };
        assert_eq!(place.path_here(&spec("ssh=h"), &[], &ready, "/a/b"), "/a/b");
    }
}
