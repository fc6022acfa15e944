//! Single keys from the terminal, without waiting for Enter.

use super::terminal::in_foreground;
use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use rustix::termios::{LocalModes, OptionalActions, SpecialCodeIndex, Termios, tcgetattr, tcsetattr};
use std::os::fd::AsRawFd;

/// The terminal on standard input, set to hand over single keys. It is put back when this is dropped.
#[derive(Debug)]
pub(super) struct Keyboard {
    before: Termios,
}

impl Keyboard {
    /// Takes the keyboard, if standard input is a terminal that is ours to read from.
    pub(super) fn take(registry: &Registry, token: Token) -> Option<Self> {
        if !in_foreground() {
            return None;
        }
        let before = tcgetattr(rustix::stdio::stdin()).ok()?;
        let keyboard = Self { before };
        keyboard.set_up();
        let stdin = rustix::stdio::stdin().as_raw_fd();
        registry.register(&mut SourceFd(&stdin), token, Interest::READABLE).ok()?;
        Some(keyboard)
    }

    /// Sets the terminal up (again: the shell resets it while a job is stopped).
    pub(super) fn set_up(&self) {
        if !in_foreground() {
            return;
        }
        let mut single_keys = self.before.clone();
        // Signals stay on, so that Ctrl-C and Ctrl-Z work as ever.
        single_keys.local_modes.remove(LocalModes::ICANON | LocalModes::ECHO);
        single_keys.special_codes[SpecialCodeIndex::VMIN] = 0;
        single_keys.special_codes[SpecialCodeIndex::VTIME] = 0;
        let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &single_keys);
    }

    /// The keys pressed since the last look. Reading never blocks (VMIN is 0).
    pub(super) fn keys(&self) -> Vec<u8> {
        let mut bytes = [0; 64];
        match in_foreground() {
            true => rustix::io::read(rustix::stdio::stdin(), &mut bytes)
                .map_or_else(|_| Vec::new(), |count| bytes[..count].to_vec()),
            false => Vec::new(),
        }
    }
}

impl Keyboard {
    /// Sets the terminal as it was before.
    pub(super) fn put_back(&self) {
        if in_foreground() {
            let _ = tcsetattr(rustix::stdio::stdin(), OptionalActions::Now, &self.before);
        }
    }
}

impl Drop for Keyboard {
    fn drop(&mut self) {
        self.put_back();
    }
}
