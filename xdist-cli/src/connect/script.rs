//! What runs on the far side before the worker host does, and how it is answered.

use super::greeting::Listener;
use rustix::rand::{GetRandomFlags, getrandom};
use std::env::consts::{ARCH, OS};
use std::fs::File;
use std::io;

/// What `xdist verify` exits with if it is not what was sent.
pub(crate) const DAMAGED: u8 = 77;

/// For a POSIX shell, but quoted for any login shell that it may have to pass (fish and csh among them): hence no single
/// quotation marks, backslashes, exclamation marks and line feeds. Whatever it reads from standard input it has asked for
/// before, so that it does no harm if it reads ahead.
///
/// A program that is there is run only if nobody else can have put it there, and only as far as to have it verify itself
/// before it is trusted. It has to say so, since shells take a file that is empty or full of zeros for a script that ends
/// well. That takes 35 ms for a release build of 13 MB. A shell whose `[` has no `-O` (all that are in use have it) trusts nothing.
const SCRIPT: &str = "\
d=${XDIST_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/xdist}/bin/@VERSION@-@HASH@; x=$d/xdist; t=$d/.$$; \
say() { echo \"@MARKER@$*\"; }; \
mine() { [ -h \"$1\" ] && return 1; [ -O \"$1\" ]; }; \
{ mine \"$d\" && mine \"$x\" && [ -x \"$x\" ] && [ \"$(\"$x\" verify @HASH@ </dev/null)\" = @HASH@ ]; } 2>/dev/null || { \
w=absent; ( umask 077; mkdir -p \"$d\" || exit 1; \
mine \"$d\" || { echo \"$d belongs to somebody else or is a link\" >&2; exit 1; }; : >\"$t\" ) || { w=unwritable; t=; }; \
say $w \"$(uname -sm)\" $(xdist --version 2>/dev/null); \
while :; do \
read -r how n || { rm -f \"$t\"; exit 1; }; \
if [ \"$how\" = installed ]; then x=xdist; break; fi; \
head -c \"$n\" >\"$t\" || { rm -f \"$t\"; say full; exit 1; }; \
chmod 700 \"$t\"; v=$(\"$t\" verify @HASH@ </dev/null); r=$?; \
if [ \"$v\" = @HASH@ ]; then mv -f \"$t\" \"$x\" && break; rm -f \"$t\"; say full; exit 1; fi; \
if [ $r = 0 ]; then r=@DAMAGED@; fi; \
rm -f \"$t\"; say unusable $r; \
done; rm -f \"$t\"; }; \
exec \"$x\" worker --stdio --greeting @MARKER@ready";

/// Bytes of the number that makes our lines unmistakable.
const NONCE_BYTES: usize = 8;

/// What identifies this program, and this conversation.
#[derive(Clone, Debug)]
pub(super) struct Key {
    hash: String,
    marker: String,
}

/// What the far side says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This program is not there.
    Absent {
        /// Whether a copy can be put there.
        writable: bool,
        /// The other program of our name there.
        other: Other,
    },
    /// There is no space for a copy.
    Full,
    /// The copy does not run there, or is not what was sent; the shell's code says which.
    Unusable(u8),
    /// The worker host is up.
    Ready,
}

/// What there is on the far side.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Other {
    /// `uname -sm`.
    pub(super) platform: String,
    /// `xdist --version` of what is installed there; empty if nothing is.
    pub(super) installed: String,
}

impl Key {
    /// Of this program, and new for every conversation.
    ///
    /// # Errors
    /// When this program's file cannot be read.
    pub(super) fn new() -> io::Result<Self> {
        let mut nonce = [0; NONCE_BYTES];
        getrandom(&mut nonce, GetRandomFlags::empty())?;
        let nonce: String = nonce.iter().map(|byte| format!("{byte:02x}")).collect();
        Ok(Self { hash: xdist_worker::own_hash()?, marker: format!("xdist:{nonce}:") })
    }

    /// The command for the far side's login shell.
    pub(super) fn command(&self) -> String {
        let script = SCRIPT
            .replace("@VERSION@", env!("CARGO_PKG_VERSION"))
            .replace("@HASH@", &self.hash)
            .replace("@DAMAGED@", &DAMAGED.to_string())
            .replace("@MARKER@", &self.marker);
        format!("exec sh -c '{script}'")
    }

    /// Hears the answers.
    pub(super) fn listener(&self) -> Listener {
        Listener::new(&self.marker)
    }
}

/// This program's file, and its length.
pub(super) fn program() -> io::Result<(File, u64)> {
    let file = xdist_worker::own_file()?;
    let length = file.metadata()?.len();
    Ok((file, length))
}

impl Answer {
    /// Reads what stands behind the marker.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split_whitespace();
        let kind = words.next()?;
        match kind {
            "absent" | "unwritable" => {
                let platform = words.by_ref().take(2).collect::<Vec<_>>().join(" ");
                let installed = words.collect::<Vec<_>>().join(" ");
                Some(Self::Absent { writable: kind == "absent", other: Other { platform, installed } })
            }
            "full" => Some(Self::Full),
            "unusable" => Some(Self::Unusable(words.next()?.parse().ok()?)),
            "ready" => Some(Self::Ready),
            _ => None,
        }
    }
}

impl Other {
    /// Whether what is installed there is of this version.
    pub(super) fn has_our_version(&self) -> bool {
        self.installed == concat!("xdist ", env!("CARGO_PKG_VERSION"))
    }

    /// Whether this program could run there.
    pub(super) fn is_our_platform(&self) -> bool {
        self.platform.replace("arm64", "aarch64").replace("amd64", "x86_64") == our_platform()
    }
}

/// This machine, in the words of `uname -sm`.
pub(super) fn our_platform() -> String {
    let system = match OS {
        "linux" => "Linux",
        "macos" => "Darwin",
        other => other,
    };
    format!("{system} {ARCH}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_passes_every_login_shell() {
        let key = Key { hash: "0123".to_owned(), marker: "xdist:7:".to_owned() };
        let command = key.command();
        let script = command.strip_prefix("exec sh -c '").and_then(|rest| rest.strip_suffix('\'')).unwrap();
        assert!(!script.contains(['\'', '\\', '!', '\n', '@']), "{script}");
        assert!(script.ends_with("exec \"$x\" worker --stdio --greeting xdist:7:ready"));
    }

    #[test]
    fn answers_are_read_word_by_word() {
        let absent = |writable, platform: &str, installed: &str| {
            let (platform, installed) = (platform.to_owned(), installed.to_owned());
            Some(Answer::Absent { writable, other: Other { platform, installed } })
        };
        assert_eq!(Answer::parse("absent Linux x86_64"), absent(true, "Linux x86_64", ""));
        assert_eq!(
            Answer::parse("unwritable Darwin arm64 xdist 1.0"),
            absent(false, "Darwin arm64", "xdist 1.0")
        );
        assert_eq!(Answer::parse("unusable 126"), Some(Answer::Unusable(126)));
        assert_eq!(Answer::parse("ready"), Some(Answer::Ready));
        for nonsense in ["", "unusable", "unusable x", "what"] {
            assert_eq!(Answer::parse(nonsense), None);
        }
    }

    #[test]
    fn platforms_and_versions_are_compared() {
        let other = |platform: String, installed: &str| Other { platform, installed: installed.to_owned() };
        assert!(other(our_platform(), "").is_our_platform());
        assert!(other(our_platform().replace("aarch64", "arm64"), "").is_our_platform());
        assert!(!other("Plan9 mips".to_owned(), "").is_our_platform());
        assert!(other(String::new(), concat!("xdist ", env!("CARGO_PKG_VERSION"))).has_our_version());
        assert!(!other(String::new(), "xdist 0.0.1").has_our_version());
    }
}
