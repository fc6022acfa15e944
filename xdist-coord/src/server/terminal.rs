//! The terminal that a person sits at, which workers can borrow.

use nix::sys::signal::{SigSet, Signal};
use rustix::termios::{OptionalActions, Termios, tcgetattr, tcgetpgrp, tcsetattr, tcsetpgrp, ttyname};

/// The path of the terminal on standard input, if there is one and it is this program that a person talks to.
#[must_use]
pub fn path() -> Option<String> {
    if !in_foreground() {
        return None;
    }
    ttyname(rustix::stdio::stdin(), Vec::new()).ok()?.into_string().ok()
}

/// Whether this process may read from the terminal on standard input. One in the background that touches its terminal
/// is stopped by the system.
pub(super) fn in_foreground() -> bool {
    tcgetpgrp(rustix::stdio::stdin()).is_ok_and(|group| group == rustix::process::getpgrp())
}

/// A terminal that somebody else has.
#[derive(Debug)]
pub(super) struct Lent {
    /// How it was set.
    before: Option<Termios>,
}

impl Lent {
    pub(super) fn lend() -> Self {
        Self { before: tcgetattr(rustix::stdio::stdin()).ok() }
    }

    /// Takes it back from a worker that may have died and left it in any state.
    pub(super) fn take_back(self) {
        let Some(before) = self.before else { return };
        // This process is in the background now, which may not do this unless it does not hear the signal for it.
        let mut background = SigSet::empty();
        background.add(Signal::SIGTTOU);
        if background.thread_block().is_err() {
            return;
        }
        // If it is not our terminal any more there is nobody to tell.
        let _ = tcsetpgrp(rustix::stdio::stdin(), rustix::process::getpgrp());
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &before);
        let _ = background.thread_unblock();
    }
}
