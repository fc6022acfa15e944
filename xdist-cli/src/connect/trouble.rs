//! Why there is no way to a machine, in words that say what to do.

use super::script::{DAMAGED, Other, our_platform};
use crate::args::SshArgs;
use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;
use xdist_coord::workers::spec::SshSpec;

/// What ssh itself ends with when it fails; otherwise it passes on what the far side ended with.
const SSH_FAILED: i32 = 255;

/// What shells end with for a command that does not exist.
const NOT_FOUND: i32 = 127;

/// Why there is no way. Reads after the name of the machine.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Trouble(String);

/// How far it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing has come from our own script.
    Login,
    /// The script has answered.
    Sending,
    /// The worker host is up.
    Open,
}

/// What the far side is called.
#[derive(Debug)]
pub(super) struct Far {
    /// The machine.
    pub(super) machine: String,
    /// What a person would type to get there.
    by_hand: String,
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Trouble {
    /// Something failed here.
    pub(super) fn local(what: &str, error: &io::Error) -> Self {
        Self(format!("{what}: {error}"))
    }

    /// The program ssh cannot be started.
    pub(super) fn no_ssh(program: &str, error: &io::Error) -> Self {
        Self(format!("cannot start {program:?}: {error}; install an ssh client, or name one with XDIST_SSH"))
    }

    /// `XDIST_SSH` names no program.
    pub(super) fn no_words(command: &str) -> Self {
        Self(format!("XDIST_SSH={command:?} is no command"))
    }
}

impl Far {
    pub(super) fn new(args: &SshArgs) -> Self {
        let spec = SshSpec { words: args.words.clone(), ..SshSpec::default() };
        let config = args.ssh_config.iter().flat_map(|file| ["-F", file]);
        let words = config.chain(args.words.iter().map(String::as_str));
        let by_hand = shlex::try_join(words).unwrap_or_default();
        let hops: String = args.via.iter().map(|words| format!("{words} ssh ")).collect();
        Self { machine: spec.machine().to_owned(), by_hand: format!("{} {hops}{by_hand}", args.ssh) }
    }

    /// ssh has ended.
    pub(super) fn ended(&self, stage: Stage, status: Option<ExitStatus>, said: &VecDeque<String>) -> Trouble {
        let last = last_line(said);
        let code = status.and_then(|status| status.code());
        let how = status.map_or_else(|| "without an end".to_owned(), in_words);
        Trouble(match (stage, code) {
            (Stage::Login, Some(SSH_FAILED)) => self.no_login(said),
            (Stage::Login, Some(NOT_FOUND)) => {
                format!(
                    "the login shell there cannot run sh{last}; a POSIX shell and ssh's `exec` are needed"
                )
            }
            (Stage::Login, _) => format!(
                "the login there ended ({how}) without running a command{last}; check with: {} echo works",
                self.by_hand
            ),
            (Stage::Sending | Stage::Open, Some(SSH_FAILED)) => format!("the connection broke{last}"),
            (Stage::Sending | Stage::Open, None) => format!("ssh was ended here ({how}){last}"),
            (Stage::Sending, _) => format!("the worker host did not start ({how}){last}"),
            (Stage::Open, _) => format!("the worker host there ended ({how}){last}"),
        })
    }

    /// ssh could not log in.
    fn no_login(&self, said: &VecDeque<String>) -> String {
        let by_hand = &self.by_hand;
        let find = |patterns: &[&str]| {
            said.iter().rev().find(|line| patterns.iter().any(|pattern| line.contains(pattern)))
        };
        if find(&["Host key verification failed", "HOST IDENTIFICATION HAS CHANGED"]).is_some() {
            return format!(
                "its host key is not the known one, or none is known; log in once by hand ({by_hand}) and compare the key, \
                 or take the old one out with ssh-keygen -R if it was changed for a reason"
            );
        }
        if let Some(line) = find(&["Permission denied", "Too many authentication failures", "No more auth"]) {
            return format!(
                "cannot log in ({line}); nobody is asked for a password here: set up a key or an agent, until this works: \
                 {by_hand} -o BatchMode=yes true"
            );
        }
        if let Some(line) = find(&["Could not resolve hostname"]) {
            return format!(
                "there is no such machine ({line}); check the name, and Host in ssh's configuration"
            );
        }
        if let Some(line) = find(&["refused", "timed out", "No route to host", "unreachable"]) {
            return format!(
                "it cannot be reached ({line}); check that it is up and sshd runs there, and the port (-p, or Port in \
                 ssh's configuration)"
            );
        }
        if let Some(line) = find(&["onfig", "Bad owner or permissions", "usage: ssh", "unknown option"]) {
            return format!(
                "ssh does not take its options or configuration ({line}); check with: {by_hand} true"
            );
        }
        format!("ssh failed{}; check with: {by_hand} true", last_line(said))
    }

    /// Nothing was heard for this long.
    pub(super) fn silent(&self, stage: Stage, patience: Duration) -> Trouble {
        let what = match stage {
            Stage::Login => "no login",
            Stage::Sending => "the program could not be sent on",
            Stage::Open => "no sign of life",
        };
        let check = format!("check with: {} true", self.by_hand);
        Trouble(format!("{what}: nothing came from it for {} s; {check}", patience.as_secs_f64()))
    }

    /// This program is not there and does not run there.
    pub(super) fn other_platform(&self, other: &Other) -> Trouble {
        Trouble(format!(
            "it is {}, and the xdist of this machine is for {}; install xdist {} there, so that it is on the PATH of \
             `{} xdist --version`{}",
            other.platform,
            our_platform(),
            env!("CARGO_PKG_VERSION"),
            self.by_hand,
            installed(other),
        ))
    }

    /// There is no place for this program there.
    pub(super) fn unwritable(&self, other: &Other, said: &VecDeque<String>) -> Trouble {
        Trouble(format!(
            "the program cannot be put into the cache directory there{}; make ~/.cache/xdist writable and your own, or set \
             XDIST_CACHE_DIR for logins there to a directory that is, or install xdist {} on their PATH{}",
            last_line(said),
            env!("CARGO_PKG_VERSION"),
            installed(other),
        ))
    }

    /// There is not enough space for this program there.
    pub(super) fn full(&self, said: &VecDeque<String>) -> Trouble {
        Trouble(format!(
            "the program cannot be written there{}; free space in ~/.cache/xdist, or set XDIST_CACHE_DIR for logins there",
            last_line(said)
        ))
    }

    /// The copy of this program does not run there.
    pub(super) fn unusable(&self, code: u8, other: &Other, said: &VecDeque<String>) -> Trouble {
        if code == DAMAGED {
            let text = "the program that arrived there is not the one that was sent; try again, and check the disk there";
            return Trouble(text.to_owned());
        }
        Trouble(format!(
            "the program that was sent there does not run (exit code {code}){}; install xdist {} there, so that it is on the \
             PATH of `{} xdist --version`{}",
            last_line(said),
            env!("CARGO_PKG_VERSION"),
            self.by_hand,
            installed(other),
        ))
    }
}

fn installed(other: &Other) -> String {
    match other.installed.as_str() {
        "" => String::new(),
        version => format!(" (it is {version} now)"),
    }
}

pub(super) fn in_words(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

/// The last line that says something, after a colon.
fn last_line(said: &VecDeque<String>) -> String {
    let line = said.iter().rev().find(|line| !line.trim().is_empty());
    line.map_or(String::new(), |line| format!(": {}", line.trim()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn far() -> Far {
        let words = ["-p", "22", "me@box"].map(str::to_owned).to_vec();
        Far::new(&SshArgs {
            ssh_config: Some("my config".to_owned()),
            ssh: "ssh".to_owned(),
            words,
            via: Vec::new(),
        })
    }

    fn check(stage: Stage, code: i32, said: &str, expected: &[&str]) {
        let said: VecDeque<String> = said.lines().map(str::to_owned).collect();
        let status = ExitStatus::from_raw(code << 8);
        let text = far().ended(stage, Some(status), &said).to_string();
        for part in expected {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
    }

    #[test]
    fn what_ssh_says_becomes_what_to_do() {
        let login = |said: &str, expected: &[&str]| check(Stage::Login, SSH_FAILED, said, expected);
        login(
            "banner\nme@box: Permission denied (publickey).",
            &[
                "cannot log in (me@box: Permission denied (publickey).)",
                "ssh -F 'my config' -p 22 me@box -o BatchMode",
            ],
        );
        login(
            "No ED25519 host key is known for box\nHost key verification failed.",
            &["host key", "ssh-keygen -R"],
        );
        login("ssh: Could not resolve hostname box: Name or service not known", &["no such machine"]);
        login(
            "ssh: connect to host box port 22: Connection refused",
            &["cannot be reached", "Connection refused"],
        );
        login("ssh: connect to host box port 22: Connection timed out", &["cannot be reached", "timed out"]);
        login("f: line 1: Bad configuration option: x", &["configuration", "Bad configuration option"]);
        login("kex_exchange_identification: Connection closed by remote host", &["ssh failed: kex_exchange"]);
        login("", &["ssh failed; check with: ssh -F"]);
    }

    #[test]
    fn ends_are_told_by_how_far_it_came() {
        check(
            Stage::Login,
            1,
            "This account is currently not available.",
            &["ended (exit code 1)", "not available"],
        );
        check(Stage::Login, NOT_FOUND, "sh: not found", &["cannot run sh", "sh: not found"]);
        check(Stage::Sending, 126, "noexec", &["did not start (exit code 126): noexec"]);
        check(Stage::Open, SSH_FAILED, "client_loop: Broken pipe", &["the connection broke: client_loop"]);
        check(
            Stage::Open,
            4,
            "xdist: error: why",
            &["the worker host there ended (exit code 4): xdist: error: why"],
        );
        let signal = far().ended(Stage::Open, Some(ExitStatus::from_raw(9)), &VecDeque::new());
        assert_eq!(signal.to_string(), "ssh was ended here (signal 9)");
    }

    #[test]
    fn a_program_that_cannot_be_there_has_to_be_installed() {
        let other = Other { platform: "Darwin arm64".to_owned(), installed: "xdist 0.1".to_owned() };
        let text = far().other_platform(&other).to_string();
        for part in ["it is Darwin arm64", &our_platform(), "install xdist", "(it is xdist 0.1 now)"] {
            assert!(text.contains(part), "{part:?} is not in {text:?}");
        }
        let said = VecDeque::from(["mkdir: Permission denied".to_owned()]);
        assert!(
            far().unwritable(&other, &said).to_string().contains("there: mkdir: Permission denied; make")
        );
        assert!(far().unusable(DAMAGED, &other, &said).to_string().contains("not the one that was sent"));
        assert!(far().unusable(1, &other, &said).to_string().contains("does not run (exit code 1)"));
    }
}
