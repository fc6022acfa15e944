//! The end of what a runner wrote to standard error, for the report of its death.

/// How much is kept while the runner lives: room for a stack dump of many threads besides the tail.
const KEPT_BYTES: usize = 64 << 10;

/// How much of it is reported, without the stack dump.
const TAIL_BYTES: usize = 16 << 10;

/// How many lines of it are reported, without the stack dump.
const TAIL_LINES: usize = 30;

/// What Python's faulthandler writes first when a process dies.
const DUMP_START: &str = "Fatal Python error: ";

/// What it writes first when it is asked for a dump. `DUMP_START` too, since the process may die otherwise meanwhile.
const ASKED_DUMP_STARTS: [&str; 3] = [DUMP_START, "Current thread", "Thread 0x"];

/// Collects standard error and keeps the end of it.
#[derive(Debug, Default)]
pub(crate) struct StderrTail {
    bytes: Vec<u8>,
    /// What began as a stack dump and has not been passed on.
    withheld: Vec<u8>,
    /// How much was dropped at the front.
    dropped: usize,
    /// How much there was when a stack dump was asked for, which comes after that.
    asked_at: Option<usize>,
}

/// What is worth telling about a dead runner.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct LastWords {
    /// The last lines, stack dumps left out.
    pub(crate) tail: String,
    /// The last stack dump.
    pub(crate) stack: Option<String>,
}

impl StderrTail {
    /// A stack dump was asked for.
    pub(crate) fn expect_dump(&mut self) {
        self.asked_at = Some(self.dropped + self.bytes.len());
    }

    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Cutting only every other time makes the copying cheap.
        if self.bytes.len() > 2 * KEPT_BYTES {
            let surplus = self.bytes.len() - KEPT_BYTES;
            self.bytes.drain(..surplus);
            self.dropped += surplus;
        }
    }

    /// Keeps the bytes, and answers those that are to be shown now. A stack dump is withheld: the report of the death that
    /// it announces has it.
    pub(crate) fn take_in(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        self.push(&bytes);
        if self.withheld.is_empty() {
            let dump = start_of_dump(&bytes, self.starts()).unwrap_or(bytes.len());
            self.withheld = bytes.split_off(dump);
            return bytes;
        }
        self.withheld.append(&mut bytes);
        if self.withheld.len() > KEPT_BYTES { self.take_withheld() } else { Vec::new() }
    }

    /// What was withheld although no death followed: it was another process that died.
    pub(crate) fn take_withheld(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.withheld)
    }

    pub(crate) fn last_words(&self) -> LastWords {
        let from = self.bytes.len().saturating_sub(KEPT_BYTES);
        // Where a dump was asked for, there may be others before it.
        let asked = self.asked_at.map_or(from, |at| at.saturating_sub(self.dropped).max(from));
        let text = |bytes| String::from_utf8_lossy(bytes);
        let (before, since) = (text(&self.bytes[from..asked]), text(&self.bytes[asked..]));
        let lines: Vec<&str> = since.lines().collect();
        let start = match self.asked_at {
            Some(_) => lines.iter().position(|line| starts_dump(line, self.starts())),
            None => lines.iter().rposition(|line| starts_dump(line, self.starts())),
        };
        let (earlier, rest) = lines.split_at(start.unwrap_or(lines.len()));
        let length = rest.iter().take_while(|line| is_dump_line(line)).count();
        let (dump, after) = rest.split_at(length);
        let tail = tail_of(before.lines().chain(earlier.iter().chain(after).copied()).collect());
        let stack = (!dump.is_empty()).then(|| dump.join("\n").trim_end().to_owned());
        LastWords { tail, stack }
    }

    fn starts(&self) -> &'static [&'static str] {
        if self.asked_at.is_some() { &ASKED_DUMP_STARTS } else { &[DUMP_START] }
    }
}

/// Where the first line is that begins a stack dump.
fn start_of_dump(bytes: &[u8], starts: &[&str]) -> Option<usize> {
    let mut at = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if starts.iter().any(|start| line.starts_with(start.as_bytes())) {
            return Some(at);
        }
        at += line.len();
    }
    None
}

fn starts_dump(line: &str, starts: &[&str]) -> bool {
    starts.iter().any(|start| line.starts_with(start))
}

/// Whether a line is one of those that faulthandler writes (CPython 3.9 to 3.14, and PyPy).
fn is_dump_line(line: &str) -> bool {
    let starts = [
        DUMP_START,
        "Python runtime state: ",
        "Current thread",
        "Thread 0x",
        "Stack (most recent call first)",
        "  File \"",
        "  Binary file \"",
        "  <",
        "  ...",
        "Extension modules: ",
    ];
    line.is_empty() || starts.iter().any(|start| line.starts_with(start))
}

fn tail_of(mut lines: Vec<&str>) -> String {
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    let text = lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n");
    let mut start = text.len().saturating_sub(TAIL_BYTES);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_words(text: &str) -> LastWords {
        let mut tail = StderrTail::default();
        text.as_bytes().chunks(7).for_each(|chunk| tail.push(chunk));
        tail.last_words()
    }

    #[test]
    fn the_dump_is_split_off() {
        let words = last_words(
            "free(): invalid pointer\nFatal Python error: Aborted\n\nCurrent thread 0x00007f (most recent call first):\n  \
             File \"a.py\", line 3 in f\n  File \"a.py\", line 5 in <module>\n\nExtension modules: a, b (total: 2)\n\
             said at the end\n",
        );
        assert_eq!(words.tail, "free(): invalid pointer\nsaid at the end");
        let stack = words.stack.unwrap();
        assert!(stack.starts_with("Fatal Python error: Aborted\n\nCurrent thread"), "{stack}");
        assert!(stack.ends_with("(total: 2)"), "{stack}");
    }

    #[test]
    fn a_dump_is_not_shown_before_the_report_of_the_death() {
        let mut tail = StderrTail::default();
        assert_eq!(tail.take_in(b"one\nFatal Python error: Aborted\n".to_vec()), b"one\n");
        assert_eq!(tail.take_in(b"  File \"a.py\", line 3 in f\n".to_vec()), b"");
        assert_eq!(tail.take_withheld(), b"Fatal Python error: Aborted\n  File \"a.py\", line 3 in f\n");
        assert_eq!(tail.take_in(b"two\n".to_vec()), b"two\n");
        assert!(tail.last_words().stack.is_some());
    }

    #[test]
    fn the_dump_that_was_asked_for_is_told_from_earlier_ones() {
        let mut tail = StderrTail::default();
        let earlier = b"Current thread 0x01 (most recent call first):\n  File \"old.py\", line 1 in f\n";
        assert_eq!(tail.take_in(earlier.to_vec()), earlier);
        tail.expect_dump();
        assert_eq!(tail.take_in(b"one\nThread 0x02 (most recent call first):\n".to_vec()), b"one\n");
        tail.take_in(b"  File \"new.py\", line 2 in g\n".to_vec());
        let words = tail.last_words();
        assert_eq!(words.tail, format!("{}one", str::from_utf8(earlier).unwrap()));
        let stack = "Thread 0x02 (most recent call first):\n  File \"new.py\", line 2 in g";
        assert_eq!(words.stack.as_deref(), Some(stack));

        let mut unanswered = StderrTail::default();
        unanswered.push(earlier);
        unanswered.expect_dump();
        assert_eq!(unanswered.last_words().stack, None);
    }

    #[test]
    fn without_a_dump_there_is_only_the_tail() {
        assert_eq!(last_words(""), LastWords::default());
        let words = last_words("one\ntwo\n\n");
        assert_eq!(words, LastWords { tail: "one\ntwo".to_owned(), stack: None });
    }

    #[test]
    fn the_tail_is_bounded_in_lines_and_bytes() {
        let many: String = (0..100_000).map(|n| format!("line {n}\n")).collect();
        let words = last_words(&many);
        assert_eq!(words.tail.lines().count(), TAIL_LINES);
        assert!(words.tail.ends_with("line 99999"));
        let words = last_words(&"ä".repeat(100_000));
        assert!(words.tail.len() <= TAIL_BYTES && words.tail.len() > TAIL_BYTES - 8);
    }
}
