//! Scenarios as text: what happens on the left, what the slot does about it on the right. The socket is part of the
//! scenario: `read N` is the runner taking N datagrams.

use super::*;

/// A slot with a socket that the scenario reads from.
struct World {
    slot: Slot,
    unread: VecDeque<Command>,
}

impl World {
    /// Lets one thing happen and tells what the slot did.
    fn step(&mut self, line: &str) -> Vec<String> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let (head, numbers) = rest.split_once(':').unwrap_or((rest, ""));
        let number = || head.trim().parse::<u32>().unwrap();
        let items = || numbers.split_whitespace().map(|item| ItemIndex(item.parse().unwrap())).collect();
        let event = match verb {
            "read" => {
                self.unread.drain(..number() as usize);
                return Vec::new();
            }
            "collect" => Event::Collect,
            "send_collection" => Event::SendCollection,
            "run" => Event::Run { lease: LeaseId(number()), items: items() },
            "steal" => Event::Steal { request: number(), items: items() },
            "cancel" => Event::Cancel { request: number() },
            "park" => Event::Park,
            "drain" => Event::Drain,
            "interrupt" => Event::Interrupt,
            "shutdown" => Event::Shutdown { grace: Duration::from_millis(number().into()) },
            "finished" => {
                let (item, lease) = head.split_once('/').unwrap_or((head, "1"));
                Event::Finished {
                    item: ItemIndex(item.parse().unwrap()),
                    lease: LeaseId(lease.parse().unwrap()),
                }
            }
            "asks" => Event::Asks,
            "answer" => Event::Answer,
            "suspend" => Event::Suspend,
            "resume" => Event::Resume,
            "limit" => Event::Limit { items: number() },
            "recycle" => Event::Recycle,
            "expired" => Event::Expired,
            "stop_requested" => Event::StopRequested,
            "session_ended" => Event::SessionEnded,
            other => panic!("no such step: {other}"),
        };
        self.slot.handle(event);
        let mut trace = Vec::new();
        while let Some(action) = self.slot.poll_action() {
            trace.push(self.perform(action));
        }
        trace
    }

    fn perform(&mut self, action: Action) -> String {
        match action {
            Action::Send(command) => {
                self.unread.push_back(command);
                format!("send {}", name(command))
            }
            Action::ClawBack => {
                let unread: Vec<_> = self.unread.drain(..).collect();
                let text =
                    format!("claw back [{}]", unread.iter().copied().map(name).collect::<Vec<_>>().join(" "));
                self.slot.handle(Event::ClawedBack { untaken: u32::try_from(unread.len()).unwrap() });
                text
            }
            Action::GiveUp { items } => {
                let items: Vec<_> = items.iter().map(|item| item.0.to_string()).collect();
                format!("give up [{}]", items.join(" "))
            }
            Action::Unscheduled { request, items } => {
                let items: Vec<_> = items.iter().map(|item| item.0.to_string()).collect();
                format!("unscheduled {request} [{}]", items.join(" "))
            }
            Action::Interrupt => "SIGINT".to_owned(),
            Action::Terminate { .. } => "SIGTERM".to_owned(),
            Action::KillAfter { delay, .. } => format!("kill after {} ms", delay.as_millis()),
            Action::Fault(text) => format!("fault: {text}"),
        }
    }
}

fn name(command: Command) -> String {
    match command {
        Command::Proceed => "proceed".to_owned(),
        Command::Answer => "A".to_owned(),
        Command::Collect => "C".to_owned(),
        Command::SendCollection => "S".to_owned(),
        Command::Item(item, LeaseId(1)) => item.0.to_string(),
        Command::Item(item, lease) => format!("{}/{}", item.0, lease.0),
        Command::Park => "P".to_owned(),
        Command::Drain => "D".to_owned(),
        Command::Interrupt => "X".to_owned(),
    }
}

/// Enough to have something behind it in scenarios that can be read.
const WINDOW: usize = 8;

/// Plays lines of `what happens -> what the slot does, …`, each after the other.
#[track_caller]
fn check(scenario: &str) {
    let mut world = World { slot: Slot::new(WINDOW), unread: VecDeque::new() };
    for line in scenario.lines().map(str::trim).filter(|line| !line.is_empty()) {
        let (step, expected) = line.split_once("->").unwrap_or((line, ""));
        assert_eq!(world.step(step.trim()).join(", "), expected.trim(), "at {line:?}");
    }
}

#[test]
fn after_an_item_that_took_too_long_nothing_is_begun() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 2 3 4 5 6 7 8 9 -> send 0, send 1, send 2, send 3, send 4, send 5, send 6, send 7
         read 1
         expired -> claw back [1 2 3 4 5 6 7]
         run 2: 10
         steal 1: 9 -> unscheduled 1 []
         cancel 2 -> unscheduled 2 []
         drain",
    );
}

#[test]
fn a_runner_that_asks_sees_nothing_but_the_answer() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 2 -> send 0, send 1, send 2
         read 1
         asks -> claw back [1 2]
         run 1: 3
         drain
         answer -> send A, send 1, send 2, send 3, send D
         read 2
         finished 0",
    );
    check(
        "collect -> send C
         read 1
         run 1: 0 1 -> send 0, send 1
         read 1
         asks -> claw back [1]
         interrupt -> claw back [], send X, SIGINT",
    );
}

#[test]
fn an_answer_that_was_not_taken_is_sent_again() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 -> send 0, send 1
         read 1
         asks -> claw back [1]
         suspend -> claw back []
         answer -> send A
         steal 1: 1 -> unscheduled 1 [1]
         run 1: 2
         suspend -> claw back [A], send A
         resume -> send 2",
    );
}

#[test]
fn a_suspended_worker_begins_nothing() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 2 -> send 0, send 1, send 2
         read 1
         suspend -> claw back [1 2]
         finished 0
         steal 1: 2 -> unscheduled 1 [2]
         resume -> send 1",
    );
}

#[test]
fn no_more_items_begin_than_may() {
    check(
        "limit 3
         collect -> send C
         read 1
         run 1: 0 1 -> send 0, send 1
         run 1: 2 3 4 -> send 2, give up [3 4], send D
         run 2: 5 -> give up [5]
         read 2
         finished 0
         steal 1: 2 -> claw back [2 D], unscheduled 1 [2], send D
         finished 1",
    );
}

#[test]
fn a_worker_at_its_limit_goes_on_living_until_there_is_more_to_do() {
    check(
        "limit 2
         collect -> send C
         read 1
         run 1: 0 1 -> send 0, send 1
         park -> send P
         read 3
         finished 0
         finished 1
         run 1: 2 -> claw back [], give up [2], send D
         drain",
    );
    check(
        "limit 1
         collect -> send C
         read 1
         run 1: 0 -> send 0
         park -> send P
         run 1: 1 -> claw back [0 P], send 0, give up [1], send D",
    );
}

#[test]
fn the_limit_holds_behind_a_full_window() {
    check(
        "limit 9
         collect -> send C
         read 1
         run 1: 0 1 2 3 4 5 6 7 8 9 -> send 0, send 1, send 2, send 3, send 4, send 5, send 6, send 7
         read 2
         finished 0 -> send 8, give up [9], send D
         cancel 3 -> claw back [2 3 4 5 6 7 8 D], unscheduled 3 [2 3 4 5 6 7 8], send D",
    );
}

#[test]
fn a_recycled_worker_gives_up_whatever_has_not_begun() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 2 3 4 5 6 7 8 9 -> send 0, send 1, send 2, send 3, send 4, send 5, send 6, send 7
         read 2
         finished 0 -> send 8
         recycle -> claw back [2 3 4 5 6 7 8], give up [2 3 4 5 6 7 8 9], send D
         finished 1",
    );
    check(
        "collect -> send C
         read 1
         run 1: 0 -> send 0
         read 1
         recycle -> claw back []
         finished 0
         run 1: 1 -> give up [1], send D",
    );
}

#[test]
fn a_normal_session() {
    check(
        "collect -> send C
         send_collection -> claw back [C], send C, send S
         read 2
         run 1: 0 1 -> send 0, send 1
         read 1
         read 1
         finished 0
         drain -> send D
         read 1
         finished 1
         session_ended -> kill after 10000 ms",
    );
}

#[test]
fn the_window_is_topped_up_as_items_finish() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 2 3 4 5 6 7 8 9 -> send 0, send 1, send 2, send 3, send 4, send 5, send 6, send 7
         drain
         read 2
         finished 0 -> send 8
         finished 1 -> send 9, send D",
    );
}

#[test]
fn items_that_lie_unread_can_be_stolen() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 2 3 -> send 0, send 1, send 2, send 3
         read 1
         steal 7: 3 1 -> claw back [1 2 3], unscheduled 7 [1 3], send 2",
    );
}

#[test]
fn a_steal_takes_all_or_nothing() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 2 -> send 0, send 1, send 2
         read 2
         steal 7: 1 2 -> claw back [2], unscheduled 7 [], send 2
         steal 8: 2 99 -> unscheduled 8 []
         finished 0
         steal 9: 0 2 -> unscheduled 9 []",
    );
}

#[test]
fn there_is_a_backlog_as_long_as_items_wait_behind_the_window() {
    let mut world = World { slot: Slot::new(WINDOW), unread: VecDeque::new() };
    let mut has_backlog = |step: &str| {
        world.step(step);
        world.slot.has_backlog()
    };
    assert!(!has_backlog("collect"));
    assert!(!has_backlog("run 1: 0 1 2 3 4 5 6 7"));
    assert!(has_backlog("run 1: 8"));
    assert!(!has_backlog("finished 0"), "the last one is in the socket");
    assert!(has_backlog("run 1: 9"));
    assert!(!has_backlog("steal 1: 9"));
    assert!(!has_backlog("drain"), "that is no item");
}

#[test]
fn a_steal_beyond_the_window_leaves_the_socket_alone() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 2 3 4 5 6 7 8 9 -> send 0, send 1, send 2, send 3, send 4, send 5, send 6, send 7
         steal 1: 9 -> unscheduled 1 [9]
         steal 2: -> unscheduled 2 []",
    );
}

#[test]
fn cancel_returns_everything_but_what_was_read() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 2 3 4 5 6 7 8 9 -> send 0, send 1, send 2, send 3, send 4, send 5, send 6, send 7
         read 1
         cancel 3 -> claw back [1 2 3 4 5 6 7], unscheduled 3 [1 2 3 4 5 6 7 8 9]
         finished 0
         cancel 4 -> unscheduled 4 []
         run 2: 5 -> send 5/2",
    );
}

#[test]
fn cancel_keeps_the_end_that_was_asked_for() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 -> send 0, send 1
         drain -> send D
         read 1
         cancel 3 -> claw back [1 D], unscheduled 3 [1], send D",
    );
}

#[test]
fn an_unread_park_gives_way_to_more_items() {
    check(
        "collect -> send C
         read 1
         run 1: 0 -> send 0
         park -> send P
         park
         read 1
         run 2: 1 -> claw back [P], send 1/2",
    );
}

#[test]
fn a_park_that_was_read_is_followed_by_items() {
    check(
        "collect -> send C
         read 1
         run 1: 0 -> send 0
         park -> send P
         read 2
         run 2: 1 -> claw back [], send 1/2
         finished 0
         read 1
         park -> send P
         finished 1/2
         run 3: 2 -> claw back [P], send 2/3",
    );
}

#[test]
fn a_park_behind_the_window_is_replaced_by_items() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 2 3 4 5 6 7 8 -> send 0, send 1, send 2, send 3, send 4, send 5, send 6, send 7
         park
         run 2: 9
         read 2
         finished 0 -> send 8
         finished 1 -> send 9/2",
    );
}

#[test]
fn a_park_with_nothing_before_it_is_not_sent() {
    check(
        "park
         collect -> send C
         park
         read 1
         run 1: 0 -> send 0
         park -> send P
         read 2
         finished 0
         park",
    );
}

#[test]
fn a_drain_supersedes_a_park_and_ends_the_queue() {
    check(
        "collect -> send C
         read 1
         run 1: 0 -> send 0
         park -> send P
         drain -> send D
         run 2: 1
         drain
         park
         steal 1: 0 -> claw back [0 P D], unscheduled 1 [0], send P, send D",
    );
}

#[test]
fn an_interrupt_drops_the_queue_and_is_announced_before_the_signal() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 2 -> send 0, send 1, send 2
         read 1
         drain -> send D
         interrupt -> claw back [1 2 D], send X, SIGINT
         interrupt
         run 2: 5
         steal 1: 1 -> unscheduled 1 []
         cancel 2 -> unscheduled 2 []
         finished 0
         session_ended -> kill after 10000 ms",
    );
}

#[test]
fn an_interrupt_during_collection_takes_an_unread_collect_back() {
    check("collect -> send C\n interrupt -> claw back [C], send X, SIGINT");
    check("collect -> send C\n read 1\n interrupt -> claw back [], send X, SIGINT");
    check("interrupt -> send X, SIGINT");
}

#[test]
fn a_stopping_session_has_given_its_queue_up() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 2 3 4 5 6 7 8 -> send 0, send 1, send 2, send 3, send 4, send 5, send 6, send 7
         read 1
         stop_requested
         steal 1: 8 -> unscheduled 1 []
         steal 2: 1 -> unscheduled 2 []
         cancel 3 -> unscheduled 3 []
         run 2: 9
         send_collection
         drain
         interrupt
         finished 0
         session_ended -> kill after 10000 ms",
    );
}

#[test]
fn shutdown_asks_first_unless_there_is_no_time() {
    check("shutdown 500: -> SIGTERM, kill after 500 ms");
    check("shutdown 0: -> kill after 0 ms");
    check("shutdown 500: -> SIGTERM, kill after 500 ms\n shutdown 0: -> kill after 0 ms");
}

#[test]
fn the_collection_is_sent_between_items_and_not_behind_them() {
    check(
        "collect -> send C
         send_collection -> claw back [C], send C, send S
         send_collection -> claw back [C S], send C, send S
         read 2
         send_collection -> claw back [], send S
         read 1
         run 1: 0 1 -> send 0, send 1
         read 1
         send_collection -> claw back [1], send S, send 1",
    );
}

#[test]
fn a_coordinator_that_breaks_the_order_does_no_harm() {
    check(
        "run 1: 0
         steal 1: 0 -> unscheduled 1 []
         cancel 2 -> unscheduled 2 []
         collect -> send C
         collect
         drain -> send D
         send_collection -> claw back [C D], send C, send S, send D",
    );
}

#[test]
fn a_runner_that_reports_out_of_turn_is_at_fault() {
    check(
        "collect -> send C
         read 1
         run 1: 0 1 -> send 0, send 1
         finished 1 -> fault: it reported item 1 (lease 1), which was not its turn
         finished 0/2 -> fault: it reported item 0 (lease 2), which was not its turn
         finished 0
         finished 0 -> fault: it reported item 0 (lease 1), which was not its turn",
    );
}

#[test]
fn what_is_unfinished_is_known() {
    let mut world = World { slot: Slot::new(WINDOW), unread: VecDeque::new() };
    for step in ["collect", "run 1: 0 1", "finished 0"] {
        world.step(step);
    }
    assert!(!world.slot.is_unfinished(ItemIndex(0), LeaseId(1)));
    assert!(world.slot.is_unfinished(ItemIndex(1), LeaseId(1)));
    assert!(!world.slot.is_unfinished(ItemIndex(1), LeaseId(2)));
    assert!(world.slot.has_unfinished());
}
