//! What test processes ask, one question at a time each. Every one is answered once.

use super::Session;
use super::violation::Violation;
use xdist_proto::WorkerId;
use xdist_proto::message::{Answer, Ask, AskWithdrawn, CoordinatorMessage, Question, Reply};

/// What a worker is told that waits no more.
const WITHDRAWN: &str = "it was interrupted while it waited";

impl Session {
    /// A test process waits for an answer.
    pub(super) fn asked(&mut self, ask: &Ask) -> Result<(), Violation> {
        let id = ask.worker;
        if self.shared.is_waiting(id) || self.terminal.is_waiting(id) {
            return Err(self.unexpected(id, "ask"));
        }
        match &ask.question {
            Question::Terminal => self.terminal_asked(id)?,
            Question::Shared(shared) => self.shared_asked(id, shared),
            Question::Leaving => self.leaves_values(id),
        }
        Ok(())
    }

    /// It waits no more. What was handed to it meanwhile it gives back.
    pub(super) fn ask_withdrawn(&mut self, withdrawn: &AskWithdrawn) {
        let id = withdrawn.worker;
        if self.shared.wait_no_more(id) || self.terminal.wait_no_more(id) {
            self.reply(id, Reply::Refused(WITHDRAWN.to_owned()));
        }
    }

    pub(super) fn reply(&mut self, worker: WorkerId, reply: Reply) {
        self.send(worker, CoordinatorMessage::Answer(Answer { worker, reply }));
    }
}
