//! The image: a process that has collected and forks runners. It is forked itself from the first runner, by
//! `image.py`, and serves the host over a socket of its own.
//!
//! Image and runners are not forked by this process, but orphaned into it: the host adopts orphans while it waits for one
//! ([`adopt_orphans`]), so that it can wait for their ends as for those of its own children. Only Linux can do so.

use crate::sys;
use crossbeam_channel::{Receiver, Sender, unbounded};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketFlags, SocketType,
};
use rustix::process::{Pid, Signal};
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use xdist_proto::WorkerId;

/// How long the image may take to answer. Far more than it does, unless the machine is out of memory.
const FORK_PATIENCE: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// How many descriptors a forked runner gets: commands, events, status, configuration, standard output and error.
pub(crate) const RUNNER_DESCRIPTORS: usize = 6;

/// The host's end of a socket over which an image may come to be served.
#[derive(Debug)]
pub(crate) struct ImageOffer(OwnedFd);

/// A process that forks runners. Killed when dropped.
#[derive(Debug)]
pub(crate) struct Image {
    pid: Pid,
    socket: OwnedFd,
    /// Whose runners it was asked for, for whoever waits for its answers.
    asked: Sender<WorkerId>,
}

/// What an image answers, in the order of the requests.
#[derive(Debug)]
pub(crate) struct ImageAnswers {
    socket: OwnedFd,
    asked: Receiver<WorkerId>,
}

impl ImageOffer {
    /// The offer, and what the runner gets of it.
    #[cfg(target_os = "linux")]
    pub(crate) fn new() -> io::Result<(Self, OwnedFd)> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) =
            rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        Ok((Self(ours), theirs))
    }

    /// The image, if there is one by now.
    pub(crate) fn accept(self) -> Option<(Image, ImageAnswers)> {
        let pid = read_pid(&self.0, RecvFlags::DONTWAIT).ok()?;
        let socket = self.0.try_clone().ok()?;
        let (sender, asked) = unbounded();
        Some((Image { pid, socket: self.0, asked: sender }, ImageAnswers { socket, asked }))
    }
}

impl Image {
    /// Asks for a runner with these descriptors. Whoever has the [`ImageAnswers`] learns its process id; it is a child of
    /// this process then, which has to adopt orphans until that.
    ///
    /// # Errors
    /// When the image is gone, or has as much to do already as its socket holds: some hundred runners.
    pub(crate) fn ask(
        &self,
        worker: WorkerId,
        descriptors: &[OwnedFd; RUNNER_DESCRIPTORS],
    ) -> io::Result<()> {
        let descriptors = descriptors.each_ref().map(AsFd::as_fd);
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(RUNNER_DESCRIPTORS))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        ancillary.push(SendAncillaryMessage::ScmRights(&descriptors));
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        rustix::net::sendmsg(&self.socket, &[IoSlice::new(b"F")], &mut ancillary, flags)?;
        self.asked.send(worker).map_err(|_| io::Error::other("nobody waits for its answers"))
    }
}

impl ImageAnswers {
    /// Tells of every runner that was asked for, until the image is dropped. Blocks.
    pub(crate) fn tell(self, tell: impl Fn(WorkerId, io::Result<Pid>)) {
        // After one that did not come, nobody knows whose the next would be.
        let mut is_broken = false;
        for worker in &self.asked {
            let answer = if is_broken { Err(image_has_ended()) } else { self.wait() };
            is_broken |= answer.is_err();
            tell(worker, answer);
        }
    }

    fn wait(&self) -> io::Result<Pid> {
        let mut answer = [PollFd::new(&self.socket, PollFlags::IN)];
        loop {
            match poll(&mut answer, Some(&FORK_PATIENCE)) {
                Ok(0) => return Err(Errno::TIMEDOUT.into()),
                Ok(_) => return read_pid(&self.socket, RecvFlags::DONTWAIT),
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

impl Drop for Image {
    fn drop(&mut self) {
        // It is our child, and reaped nowhere else, so the id cannot belong to anybody else.
        if let Err(error) = rustix::process::kill_process(self.pid, Signal::KILL) {
            tracing::debug!(pid = ?self.pid, %error, "cannot kill an image");
        }
        // If it takes longer to end, init reaps it when the host has ended.
        let _ = sys::reap(self.pid);
    }
}

/// Sets whether processes whose parents have ended become children of this one. It does so only while one is expected,
/// since it would have to reap those that tests leave behind.
pub(crate) fn adopt_orphans(adopt: bool) {
    #[cfg(target_os = "linux")]
    {
        let reaper = adopt.then(rustix::process::getpid);
        if let Err(error) = rustix::process::set_child_subreaper(reaper) {
            tracing::warn!(%error, "orphans cannot be adopted");
        }
    }
    #[cfg(not(target_os = "linux"))]
    let _ = adopt;
}

fn read_pid(socket: &OwnedFd, flags: RecvFlags) -> io::Result<Pid> {
    let mut answer = [0; 4];
    let (length, _) = rustix::net::recv(socket, &mut answer, flags)?;
    let pid = i32::from_le_bytes(answer);
    match Pid::from_raw(pid) {
        Some(pid) if length == answer.len() && pid.as_raw_pid() > 1 => Ok(pid),
        Some(_) | None => Err(image_has_ended()),
    }
}

fn image_has_ended() -> io::Error {
    io::Error::other("the image has ended")
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use std::cell::RefCell;

    fn descriptors() -> [OwnedFd; RUNNER_DESCRIPTORS] {
        [(); RUNNER_DESCRIPTORS].map(|()| io::pipe().unwrap().0.into())
    }

    /// What is told of as many runners, by an image that answers with these ids and then ends.
    fn told(runners: u32, answers: &[i32]) -> Vec<(u32, Option<i32>)> {
        let (offer, image_end) = ImageOffer::new().unwrap();
        // Dropped below, without being killed.
        rustix::net::send(&image_end, &i32::MAX.to_le_bytes(), SendFlags::empty()).unwrap();
        let (image, answering) = offer.accept().unwrap();
        for worker in 0..runners {
            image.ask(WorkerId(worker), &descriptors()).unwrap();
            rustix::net::recv(&image_end, &mut [0], RecvFlags::empty()).unwrap();
        }
        for answer in answers {
            rustix::net::send(&image_end, &answer.to_le_bytes(), SendFlags::empty()).unwrap();
        }
        drop(image_end);
        drop(image);
        let told = RefCell::new(Vec::new());
        answering.tell(|worker, pid| {
            told.borrow_mut().push((worker.0, pid.ok().map(Pid::as_raw_pid)));
        });
        RefCell::into_inner(told)
    }

    #[test]
    fn answers_are_told_in_the_order_of_the_requests() {
        assert_eq!(told(3, &[70, 71, 72]), [(0, Some(70)), (1, Some(71)), (2, Some(72))]);
    }

    #[test]
    fn after_one_that_did_not_come_no_answer_is_believed() {
        assert_eq!(told(3, &[70, 0, 72]), [(0, Some(70)), (1, None), (2, None)]);
    }

    #[test]
    fn an_image_that_has_ended_is_told_to_all_who_asked() {
        assert_eq!(told(2, &[]), [(0, None), (1, None)]);
    }
}
