//! Scenarios with debuggers: who gets the terminal, and what the others do meanwhile.

use super::*;
use crate::session::config::Joining;
use xdist_proto::message::{Ask, Question, TerminalReturned};

impl Bench {
    /// Workers that have agreed on some items, in a run at a terminal.
    fn at_terminal(workers: u32) -> Self {
        let terminal = Some("/dev/tty1".to_owned());
        let mut bench = Self::connected(Config { terminal, ..config(Some(&format!("{workers}*popen"))) });
        let items = "a b c d e f g h";
        (0..workers).for_each(|worker| bench.tell_ready(worker, options()));
        (0..workers).for_each(|worker| bench.collect(worker, items));
        bench.list(0, items);
        bench.said.clear();
        bench
    }

    fn ask(&mut self, worker: u32) {
        self.tell(WorkerMessage::Ask(Ask { worker: WorkerId(worker), question: Question::Terminal }));
    }

    fn give_back(&mut self, worker: u32) {
        self.tell(WorkerMessage::TerminalReturned(TerminalReturned { worker: WorkerId(worker) }));
    }
}

#[test]
fn a_worker_gets_the_terminal_when_it_is_free_and_the_others_begin_nothing() {
    let mut bench = Bench::at_terminal(3);
    bench.ask(1);
    bench.expect("gw0 suspend\ngw2 suspend\n* gw1 has the terminal\nfree the terminal for gw1");
    bench.input(Input::TerminalFree);
    bench.expect("gw1 answer Terminal(\"/dev/tty1\")");
    bench.give_back(1);
    bench.expect("* gw1 has given the terminal back\ngw0 resume\ngw2 resume");
}

#[test]
fn who_asks_later_waits_and_is_next() {
    let mut bench = Bench::at_terminal(2);
    bench.ask(1);
    bench.input(Input::TerminalFree);
    bench.said.clear();
    bench.ask(0);
    bench.expect("");
    bench.give_back(1);
    bench.expect(
        "* gw1 has given the terminal back
         gw0 resume
         gw1 suspend
         * gw0 has the terminal
         free the terminal for gw0",
    );
    bench.input(Input::TerminalFree);
    bench.give_back(0);
    bench.expect("gw0 answer Terminal(\"/dev/tty1\")\n* gw0 has given the terminal back\ngw1 resume");
}

#[test]
fn the_terminal_is_taken_back_from_a_worker_that_died() {
    let mut bench = Bench::at_terminal(2);
    bench.ask(1);
    bench.input(Input::TerminalFree);
    bench.said.clear();
    bench.down(1, EndCause::Signaled(11), Some((1, 2)));
    bench.expect_among("* gw1 has given the terminal back\ngw0 resume");
}

#[test]
fn a_replacement_begins_nothing_while_somebody_has_the_terminal() {
    let mut bench = Bench::at_terminal(2);
    bench.ask(0);
    bench.input(Input::TerminalFree);
    bench.down(1, EndCause::Signaled(11), Some((1, 2)));
    bench.tell_ready(2, options());
    bench.said.clear();
    bench.collect(2, "a b c d e f g h");
    bench.expect_among("gw2 suspend");
}

#[test]
fn an_interrupted_run_waits_for_nobody_at_a_debugger() {
    let mut bench = Bench::at_terminal(3);
    bench.ask(1);
    bench.input(Input::TerminalFree);
    bench.ask(2);
    bench.said.clear();
    bench.input(Input::InterruptRequested);
    bench.expect(
        "* stopping: interrupted
         gw0 interrupt
         gw1 interrupt
         gw2 interrupt
         gw1 shutdown 2500 ms
         gw2 shutdown 2500 ms",
    );
    bench.ask(0);
    bench.expect("gw0 shutdown 2500 ms");
    bench.down(1, EndCause::Signaled(15), None);
    let lent = |said: &String| said.contains("has the terminal");
    assert!(!bench.said.iter().any(lent), "{:?}", bench.said);
    bench.expect_among("* gw1 has given the terminal back");
}

#[test]
fn without_a_terminal_there_is_nothing_to_lend() {
    let mut bench = Bench::running(2, "a b c d", &options());
    bench.said.clear();
    bench.ask(0);
    bench.expect("gw0 answer Refused(\"standard input of the run is no terminal; run it in one\")");
}

#[test]
fn a_host_that_gives_back_what_it_does_not_have_or_asks_twice_breaks_the_protocol() {
    let mut bench = Bench::at_terminal(2);
    bench.give_back(0);
    assert!(bench.said.iter().any(|said| said.starts_with("close 0 Protocol")), "{:?}", bench.said);

    let mut bench = Bench::at_terminal(2);
    bench.ask(0);
    bench.said.clear();
    bench.ask(0);
    assert!(bench.said.iter().any(|said| said.starts_with("close 0 Protocol")), "{:?}", bench.said);
}

#[test]
fn a_worker_on_another_machine_is_not_given_the_name_of_a_terminal_here() {
    let joining = Joining { open: true, min_workers: 1, patience: Duration::from_secs(10) };
    let terminal = Some("/dev/tty1".to_owned());
    let mut bench = Bench::new(Config { terminal, workers: Some(Vec::new()), joining, ..config(None) });
    bench.join(0, 1, None);
    bench.tell_ready(0, options());
    bench.collect(0, "a b");
    bench.list(0, "a b");
    bench.said.clear();
    bench.ask(0);
    let why = "the terminal of the run is on another machine; run this test on a worker there";
    bench.expect(&format!("gw0 answer Refused({why:?})"));
}
