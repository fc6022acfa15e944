//! Exit codes: pytest's, with pytest-xdist's choices where its own tests pin them.

use crate::frontend::Unwritten;
use std::process::ExitStatus;
use xdist_coord::session::event::{RunEnd, RunSummary, StopReason};

/// What the process exits with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ExitCode {
    /// 0: everything passed.
    Ok,
    /// 1: a test or a collector failed, a test process crashed, workers collected different tests, or, with
    /// `--flaky=fail`, a test failed first.
    TestsFailed,
    /// 2: stopped by the user, by `-x` or `--maxfail`, or by the session itself.
    Interrupted,
    /// 3: something failed that is no test: a worker's machinery, every worker, or a report that could not be written.
    InternalError,
    /// 4: arguments or configuration are wrong.
    UsageError,
    /// 5: there was nothing to run.
    NothingCollected,
    /// What a test gave to `pytest.exit`, or a plugin's own code.
    Own(u8),
}

impl ExitCode {
    /// The code that follows from how the run ended.
    pub(crate) fn of(summary: &RunSummary) -> Self {
        match &summary.end {
            RunEnd::Plain(_) => Self::Ok,
            RunEnd::UsageError(code) => Self::from_code(*code),
            RunEnd::Mismatch => Self::TestsFailed,
            RunEnd::Completed => Self::of_results(summary),
            RunEnd::Stopped(reason) => match reason {
                StopReason::Failures(_)
                | StopReason::Session(_)
                | StopReason::Interrupted
                | StopReason::KeyboardInterrupt(_)
                | StopReason::Exit { code: None, .. } => Self::Interrupted,
                StopReason::Exit { code: Some(code), .. } => Self::from_code(*code),
                StopReason::InternalError | StopReason::NoWorkers(_) | StopReason::PytestHostLost => {
                    Self::InternalError
                }
                // Nobody came as far as collecting: that says nothing of the tests.
                StopReason::RestartsExhausted(_) if summary.collected == 0 => Self::InternalError,
                StopReason::RestartsExhausted(_) => Self::TestsFailed,
            },
        }
    }

    /// What the pytest host, which is pytest, ended with.
    pub(crate) fn of_pytest_host(status: ExitStatus) -> Self {
        status.code().map_or(Self::InternalError, Self::from_code)
    }

    fn of_results(summary: &RunSummary) -> Self {
        let flaky = summary.flaky_fails && summary.flaky > 0;
        if summary.failed > 0 || summary.crashed > 0 || summary.collect_errors > 0 || flaky {
            Self::TestsFailed
        } else if summary.not_run > 0 {
            // Whatever the reason, a part that was not run is no success.
            Self::InternalError
        } else if summary.collected == 0 {
            Self::NothingCollected
        } else {
            Self::Ok
        }
    }

    /// The same, unless something that was asked for could not be written: then no run is a success.
    pub(crate) fn unless_unwritten(self, unwritten: &[Unwritten]) -> Self {
        if self == Self::Ok && !unwritten.is_empty() { Self::InternalError } else { self }
    }

    /// The meaning of a code that Python gave. Only its lowest eight bits reach the system.
    fn from_code(code: i32) -> Self {
        match code.to_le_bytes()[0] {
            0 => Self::Ok,
            1 => Self::TestsFailed,
            2 => Self::Interrupted,
            3 => Self::InternalError,
            4 => Self::UsageError,
            5 => Self::NothingCollected,
            own => Self::Own(own),
        }
    }

    /// The number.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::TestsFailed => 1,
            Self::Interrupted => 2,
            Self::InternalError => 3,
            Self::UsageError => 4,
            Self::NothingCollected => 5,
            Self::Own(code) => code,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn summary(end: RunEnd) -> RunSummary {
        RunSummary {
            end,
            collected: 3,
            finished: 3,
            crashed: 0,
            not_run: 0,
            failed: 0,
            flaky: 0,
            flaky_fails: false,
            collect_errors: 0,
        }
    }

    #[test]
    fn completed_runs_are_judged_by_their_results() {
        let done = summary(RunEnd::Completed);
        assert_eq!(ExitCode::of(&done).code(), 0);
        assert_eq!(ExitCode::of(&RunSummary { failed: 1, ..done.clone() }).code(), 1);
        assert_eq!(ExitCode::of(&RunSummary { crashed: 1, ..done.clone() }).code(), 1);
        assert_eq!(ExitCode::of(&RunSummary { collect_errors: 1, collected: 0, ..done.clone() }).code(), 1);
        assert_eq!(ExitCode::of(&RunSummary { collected: 0, finished: 0, ..done.clone() }).code(), 5);
        assert_eq!(ExitCode::of(&RunSummary { not_run: 1, ..done.clone() }).code(), 3);
        assert_eq!(ExitCode::of(&RunSummary { flaky: 1, ..done.clone() }).code(), 0);
        assert_eq!(ExitCode::of(&RunSummary { flaky_fails: true, ..done.clone() }).code(), 0);
        assert_eq!(ExitCode::of(&RunSummary { flaky: 1, flaky_fails: true, ..done }).code(), 1);
    }

    #[test]
    fn stopped_runs_are_judged_by_their_reason() {
        let exit = |code| StopReason::Exit { reason: String::new(), code };
        let table = [
            (StopReason::Failures(1), 2),
            (StopReason::Session("enough".to_owned()), 2),
            (StopReason::Interrupted, 2),
            (StopReason::KeyboardInterrupt(xdist_proto::WorkerId(0)), 2),
            (exit(None), 2),
            (exit(Some(7)), 7),
            (exit(Some(0)), 0),
            (exit(Some(256 + 4)), 4),
            (exit(Some(-1)), 255),
            (StopReason::InternalError, 3),
            (StopReason::NoWorkers("all gone".to_owned()), 3),
            (StopReason::RestartsExhausted(2), 1),
        ];
        for (reason, code) in table {
            assert_eq!(ExitCode::of(&summary(RunEnd::Stopped(reason.clone()))).code(), code, "{reason:?}");
        }
        let nothing =
            RunSummary { collected: 0, ..summary(RunEnd::Stopped(StopReason::RestartsExhausted(0))) };
        assert_eq!(ExitCode::of(&nothing), ExitCode::InternalError);
        assert_eq!(ExitCode::of(&summary(RunEnd::UsageError(4))), ExitCode::UsageError);
        assert_eq!(ExitCode::of(&summary(RunEnd::Mismatch)), ExitCode::TestsFailed);
    }

    #[test]
    fn a_report_that_was_not_written_spoils_a_success_only() {
        let error = std::io::ErrorKind::StorageFull.into();
        let unwritten = [Unwritten { target: "report.xml".to_owned(), error }];
        assert_eq!(ExitCode::Ok.unless_unwritten(&unwritten), ExitCode::InternalError);
        assert_eq!(ExitCode::TestsFailed.unless_unwritten(&unwritten), ExitCode::TestsFailed);
        assert_eq!(ExitCode::Ok.unless_unwritten(&[]), ExitCode::Ok);
    }
}
