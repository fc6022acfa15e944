//! A host whose link is its standard input and output, as over ssh.
//!
//! Two threads relay between these and a socket pair, so that the host has a socket as it always has, and no runner
//! inherits what ssh waits for the end of.

use crate::run::{HostError, HostOptions, run_host};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

/// How long nothing may come from the coordinator, which asks for a sign of life every few seconds. It may be stopped
/// for a while; but when the network between is gone nobody tells us so, and nobody could use what we do.
const LONGEST_SILENCE: Duration = Duration::from_secs(300);

const RELAY_BYTES: usize = 64 << 10;

/// As [`run_host`], on standard input and output. First of all it writes `greeting` and a line feed, which tells where
/// the protocol begins. Standard input is empty afterwards, and what is printed goes to standard error.
///
/// # Errors
/// As [`run_host`].
pub fn run_on_stdio(greeting: &str, options: HostOptions) -> Result<(), HostError> {
    let (input, mut output) = take_standard_streams().map_err(HostError::Resources)?;
    output.write_all(format!("{greeting}\n").as_bytes()).map_err(HostError::Link)?;
    let (ours, theirs) = UnixStream::pair().map_err(HostError::Resources)?;
    let (to_host, from_host) = (ours.try_clone().map_err(HostError::Resources)?, ours);
    let start = |name: &str, body: Box<dyn FnOnce() + Send>| {
        thread::Builder::new().name(name.to_owned()).spawn(body).map_err(HostError::Resources)
    };
    start("standard input", Box::new(move || relay_input(input, to_host, LONGEST_SILENCE)))?;
    let writer = start("standard output", Box::new(move || relay_output(from_host, output)))?;
    let result = run_host(theirs, options);
    // What the host has sent is still to be passed on.
    let _ = writer.join();
    result
}

/// Standard input and output under other numbers, which no child inherits; harmless things take their places.
fn take_standard_streams() -> io::Result<(File, File)> {
    let private = |stream: OwnedFd| -> io::Result<File> {
        rustix::io::fcntl_setfd(&stream, rustix::io::FdFlags::CLOEXEC)?;
        Ok(File::from(stream))
    };
    let input = private(rustix::io::dup(rustix::stdio::stdin())?)?;
    let output = private(rustix::io::dup(rustix::stdio::stdout())?)?;
    rustix::stdio::dup2_stdin(File::open("/dev/null")?)?;
    rustix::stdio::dup2_stdout(rustix::stdio::stderr())?;
    Ok((input, output))
}

/// Passes on what comes until the end, and then ends the host's link.
fn relay_input(mut input: File, mut host: UnixStream, longest_silence: Duration) {
    let mut buffer = vec![0; RELAY_BYTES];
    loop {
        if !is_readable_within(&input, longest_silence) {
            tracing::warn!("nothing came from the coordinator for {} s", longest_silence.as_secs());
            break;
        }
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => {
                if host.write_all(&buffer[..count]).is_err() {
                    break;
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => break,
        }
    }
    // The host may have closed it before.
    let _ = host.shutdown(Shutdown::Write);
}

fn is_readable_within(input: &File, limit: Duration) -> bool {
    let timeout = Timespec::try_from(limit).ok();
    // After an interrupt the wait begins anew, and a wait that fails is left to the reading.
    loop {
        match poll(&mut [PollFd::new(input, PollFlags::IN)], timeout.as_ref()) {
            Ok(ready) => return ready > 0,
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return true,
        }
    }
}

/// Passes on what the host says until the end, and ends its link if nobody takes it.
fn relay_output(mut host: UnixStream, mut output: File) {
    if relay(&mut host, &mut output).is_err() {
        let _ = host.shutdown(Shutdown::Both);
    }
}

/// Passes on what comes, as soon as it comes, until the end.
///
/// Not `io::copy`: on Linux that splices, and what was sent last was then seen to stay behind until more came.
///
/// # Errors
/// When reading or writing fails.
pub fn relay(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut buffer = vec![0; RELAY_BYTES];
    loop {
        match from.read(&mut buffer) {
            Ok(0) => return Ok(()),
            Ok(count) => {
                to.write_all(&buffer[..count])?;
                to.flush()?;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pipe() -> (File, File) {
        let (reader, writer) = io::pipe().unwrap();
        (File::from(OwnedFd::from(reader)), File::from(OwnedFd::from(writer)))
    }

    #[test]
    #[expect(clippy::disallowed_methods, reason = "the threads are what is tested")]
    fn bytes_pass_both_ways_and_ends_too() {
        let (input, mut coordinator) = pipe();
        let (mut seen, output) = pipe();
        let (ours, mut host) = UnixStream::pair().unwrap();
        let to_host = ours.try_clone().unwrap();
        let one = thread::spawn(move || relay_input(input, to_host, LONGEST_SILENCE));
        let other = thread::spawn(move || relay_output(ours, output));
        coordinator.write_all(b"ping").unwrap();
        drop(coordinator);
        let mut heard = String::new();
        host.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "ping");
        host.write_all(b"pong").unwrap();
        drop(host);
        heard.clear();
        seen.read_to_string(&mut heard).unwrap();
        assert_eq!(heard, "pong");
        one.join().unwrap();
        other.join().unwrap();
    }

    #[test]
    fn silence_ends_the_link() {
        let (input, _coordinator) = pipe();
        let (to_host, mut host) = UnixStream::pair().unwrap();
        relay_input(input, to_host, Duration::from_millis(1));
        assert_eq!(host.read(&mut [0]).unwrap(), 0);
    }

    #[test]
    fn a_host_that_nobody_hears_is_ended() {
        let (seen, output) = pipe();
        drop(seen);
        let (ours, mut host) = UnixStream::pair().unwrap();
        let kept = ours.try_clone().unwrap();
        host.write_all(b"anybody?").unwrap();
        relay_output(ours, output);
        assert_eq!(host.read(&mut [0]).unwrap(), 0);
        drop(kept);
    }
}
