//! Signals as bytes on a socket that the poll waits for.

use mio::net::UnixStream;
use mio::{Interest, Registry, Token};
use signal_hook::SigId;
use signal_hook::consts::{SIGCONT, SIGHUP, SIGINT, SIGTERM, SIGWINCH};
use std::io::{self, Read};
use std::os::unix::net::UnixStream as StdUnixStream;

/// The signals that ask for the run to end.
const ENDING: [i32; 3] = [SIGINT, SIGTERM, SIGHUP];

/// The signals after which the terminal is not as it was.
const TERMINAL: [i32; 2] = [SIGCONT, SIGWINCH];

/// Signals received since the last look. The handlers are gone when this is dropped.
#[derive(Debug)]
pub(super) struct Signals {
    ending: UnixStream,
    terminal: UnixStream,
    handlers: Vec<SigId>,
}

impl Signals {
    pub(super) fn new(registry: &Registry, token: Token) -> io::Result<Self> {
        let mut handlers = Vec::new();
        let mut ending = register(&ENDING, &mut handlers)?;
        let mut terminal = register(&TERMINAL, &mut handlers)?;
        registry.register(&mut ending, token, Interest::READABLE)?;
        registry.register(&mut terminal, token, Interest::READABLE)?;
        Ok(Self { ending, terminal, handlers })
    }

    /// How many signals asked for the run to end.
    pub(super) fn ending(&mut self) -> usize {
        drain(&mut self.ending)
    }

    /// Whether the terminal may have changed.
    pub(super) fn terminal_changed(&mut self) -> bool {
        drain(&mut self.terminal) > 0
    }
}

impl Drop for Signals {
    fn drop(&mut self) {
        for handler in self.handlers.drain(..) {
            signal_hook::low_level::unregister(handler);
        }
    }
}

fn register(signals: &[i32], handlers: &mut Vec<SigId>) -> io::Result<UnixStream> {
    let (reader, writer) = StdUnixStream::pair()?;
    reader.set_nonblocking(true)?;
    for signal in signals {
        handlers.push(signal_hook::low_level::pipe::register(*signal, writer.try_clone()?)?);
    }
    Ok(UnixStream::from_std(reader))
}

fn drain(reader: &mut UnixStream) -> usize {
    let mut bytes = [0; 64];
    let mut total = 0;
    while let Ok(count @ 1..) = reader.read(&mut bytes) {
        total += count;
    }
    total
}
