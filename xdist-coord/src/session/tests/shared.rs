//! Scenarios with what workers share: who gets what, in which order, and what happens when they die.

use super::*;
use xdist_proto::message::{Ask, AskWithdrawn, Made, Question, Released, Shared};

fn value() -> Shared {
    Shared::Value("v".to_owned())
}

fn lock(name: &str) -> Shared {
    Shared::Lock(name.to_owned())
}

impl Bench {
    /// Workers that have agreed on some items.
    fn sharing(workers: u32) -> Self {
        let mut bench = Self::running(workers, "a b c d e f g h", &options());
        bench.said.clear();
        bench
    }

    fn want(&mut self, worker: u32, shared: Shared) {
        let question = Question::Shared(shared);
        self.tell(WorkerMessage::Ask(Ask { worker: WorkerId(worker), question }));
    }

    fn leave(&mut self, worker: u32) {
        self.tell(WorkerMessage::Ask(Ask { worker: WorkerId(worker), question: Question::Leaving }));
    }

    fn made(&mut self, worker: u32) {
        let made = Made { worker: WorkerId(worker), key: "v".to_owned(), value: Value::from(7) };
        self.tell(WorkerMessage::Made(made));
    }

    fn release(&mut self, worker: u32, shared: Shared) {
        self.tell(WorkerMessage::Released(Released { worker: WorkerId(worker), shared }));
    }

    fn withdraw(&mut self, worker: u32) {
        self.tell(WorkerMessage::AskWithdrawn(AskWithdrawn { worker: WorkerId(worker) }));
    }

    /// Its link is closed for a breach of the protocol.
    fn expect_breach(&self) {
        assert!(self.said.iter().any(|said| said.starts_with("close 0 Protocol")), "{:?}", self.said);
    }
}

#[test]
fn one_worker_makes_a_value_and_all_others_get_it() {
    let mut bench = Bench::sharing(4);
    bench.want(1, value());
    bench.expect("gw1 answer Make");
    bench.want(3, value());
    bench.want(0, value());
    bench.expect("");
    bench.made(1);
    bench.expect("gw3 answer Value(Integer(PosInt(7)))\ngw0 answer Value(Integer(PosInt(7)))");
    bench.want(2, value());
    bench.expect("gw2 answer Value(Integer(PosInt(7)))");
}

#[test]
fn who_waits_first_makes_what_another_one_could_not() {
    let mut bench = Bench::sharing(3);
    (0..3).for_each(|worker| bench.want(worker, value()));
    bench.release(0, value());
    bench.expect("gw0 answer Make\ngw1 answer Make");
    bench.down(1, EndCause::Exited(9), Some((1, 2)));
    bench.expect_among("gw2 answer Make");
    bench.want(0, value());
    bench.expect("");
    bench.made(2);
    bench.expect("gw0 answer Value(Integer(PosInt(7)))");
}

#[test]
fn what_nobody_could_make_and_nobody_waits_for_is_made_when_it_is_asked_for() {
    let mut bench = Bench::sharing(2);
    bench.want(0, value());
    bench.release(0, value());
    bench.want(1, value());
    bench.expect("gw0 answer Make\ngw1 answer Make");
}

#[test]
fn a_lock_goes_to_those_who_wait_in_the_order_of_asking() {
    let mut bench = Bench::sharing(4);
    for worker in [2, 3, 0] {
        bench.want(worker, lock("x"));
    }
    bench.want(1, lock("y"));
    bench.expect("gw2 answer Locked\ngw1 answer Locked");
    bench.release(2, lock("x"));
    bench.expect("gw3 answer Locked");
    bench.release(3, lock("x"));
    bench.expect("gw0 answer Locked");
    bench.release(0, lock("x"));
    bench.want(3, lock("x"));
    bench.expect("gw3 answer Locked");
}

#[test]
fn a_worker_that_dies_has_no_lock_and_waits_for_none() {
    let mut bench = Bench::sharing(4);
    (0..4).for_each(|worker| bench.want(worker, lock("x")));
    bench.said.clear();
    bench.down(1, EndCause::Signaled(9), None);
    assert!(!bench.said.iter().any(|said| said.contains("answer")), "{:?}", bench.said);
    bench.down(0, EndCause::Signaled(9), None);
    bench.expect_among("gw2 answer Locked");
}

#[test]
fn when_a_host_is_lost_nothing_is_sent_to_its_workers() {
    let mut bench = Bench::sharing(2);
    bench.want(0, lock("x"));
    bench.want(1, lock("x"));
    bench.said.clear();
    bench.input(Input::Closed { link: LINK, cause: CloseCause::EndOfStream });
    assert!(!bench.said.iter().any(|said| said.contains("answer")), "{:?}", bench.said);
}

#[test]
fn a_circle_is_refused_to_the_worker_that_would_close_it() {
    let mut bench = Bench::sharing(3);
    bench.want(0, lock("x"));
    bench.want(1, lock("y"));
    bench.want(2, value());
    bench.want(0, lock("y"));
    bench.want(1, value());
    bench.said.clear();
    bench.want(2, lock("x"));
    let text = "gw2 asks for the lock \"x\", which gw0 has, which waits for the lock \"y\", which gw1 has, which waits \
        for the value \"v\", which gw2 has: nobody could go on; take them in the same order everywhere";
    bench.expect(&format!("gw2 answer Refused({text:?})"));
    bench.release(2, value());
    bench.expect("gw1 answer Make");
}

#[test]
fn a_lock_is_not_had_twice() {
    let mut bench = Bench::sharing(2);
    bench.want(0, lock("x"));
    bench.said.clear();
    bench.want(0, lock("x"));
    let text = "gw0 asks for the lock \"x\", which it has already";
    bench.expect(&format!("gw0 answer Refused({text:?})"));
}

#[test]
fn who_waits_no_more_is_passed_over() {
    let mut bench = Bench::sharing(3);
    (0..3).for_each(|worker| bench.want(worker, lock("x")));
    bench.said.clear();
    bench.withdraw(1);
    bench.expect("gw1 answer Refused(\"it was interrupted while it waited\")");
    // Too late: it has been answered.
    bench.withdraw(0);
    bench.expect("");
    bench.release(0, lock("x"));
    bench.expect("gw2 answer Locked");
}

#[test]
fn the_last_worker_that_leaves_is_told_so_once_nothing_more_is_handed_out() {
    let mut bench = Bench::sharing(3);
    bench.want(0, value());
    bench.made(0);
    (1..3).for_each(|worker| bench.want(worker, value()));
    bench.stop(2, StopKind::ShouldStop);
    bench.said.clear();
    bench.leave(1);
    bench.expect("gw1 answer Last([])");
    bench.down(0, EndCause::Signaled(9), None);
    bench.said.clear();
    bench.leave(2);
    bench.expect("gw2 answer Last([\"v\"])");
    bench.want(1, value());
    bench.expect("gw1 answer Make");
}

#[test]
fn while_there_is_more_to_run_nobody_is_the_last() {
    let mut bench = Bench::sharing(2);
    bench.want(0, value());
    bench.made(0);
    bench.said.clear();
    bench.leave(0);
    bench.want(1, value());
    bench.expect("gw0 answer Last([])\ngw1 answer Value(Integer(PosInt(7)))");
}

#[test]
fn who_gives_away_what_it_does_not_have_or_asks_twice_breaks_the_protocol() {
    let mut bench = Bench::sharing(2);
    bench.release(0, lock("x"));
    bench.expect_breach();

    let mut bench = Bench::sharing(2);
    bench.want(1, value());
    bench.made(0);
    bench.expect_breach();

    let mut bench = Bench::sharing(2);
    bench.want(1, lock("x"));
    bench.want(0, lock("x"));
    bench.want(0, lock("y"));
    bench.expect_breach();
}

#[test]
fn what_fails_at_the_end_of_a_complete_run_makes_it_fail() {
    let mut bench = Bench::running(1, "a", &options());
    bench.finish(0, 0, 0, OutcomeClass::Pass);
    bench.said.clear();
    let text = "the cleanup failed".to_owned();
    bench.tell(WorkerMessage::InternalError(InternalError { worker: WorkerId(0), text }));
    bench.end(0);
    bench.expect(
        "* gw0 internal error: the cleanup failed
         * stopping: internal error
         * gw0 down
         close 0 Done
         finished Stopped(InternalError) 1 = 1 + 0 + 0, 0 failed",
    );
}
