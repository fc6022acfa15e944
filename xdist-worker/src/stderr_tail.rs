//! The end of what a runner wrote to standard error, for the report of its death.

/// How much is kept while the runner lives: room for a stack dump of many threads besides the tail.
const KEPT_BYTES: usize = 64 << 10;

/// How much of it is reported, without the stack dump.
const TAIL_BYTES: usize = 16 << 10;

/// How many lines of it are reported, without the stack dump.
const TAIL_LINES: usize = 30;

/// What Python's faulthandler writes first.
const DUMP_START: &str = "Fatal Python error: ";

/// Collects standard error and keeps the end of it.
#[derive(Debug, Default)]
pub(crate) struct StderrTail {
    bytes: Vec<u8>,
    /// What began as a stack dump and has not been passed on.
    withheld: Vec<u8>,
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
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
        // Cutting only every other time makes the copying cheap.
        if self.bytes.len() > 2 * KEPT_BYTES {
            self.bytes.drain(..self.bytes.len() - KEPT_BYTES);
        }
    }

    /// Keeps the bytes, and answers those that are to be shown now. A stack dump is withheld: the report of the death that
    /// it announces has it.
    pub(crate) fn take_in(&mut self, mut bytes: Vec<u8>) -> Vec<u8> {
        self.push(&bytes);
        if self.withheld.is_empty() {
            let dump = start_of_dump(&bytes).unwrap_or(bytes.len());
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
        let kept = &self.bytes[self.bytes.len().saturating_sub(KEPT_BYTES)..];
        let text = String::from_utf8_lossy(kept);
        let lines: Vec<&str> = text.lines().collect();
        let Some(start) = lines.iter().rposition(|line| line.starts_with(DUMP_START)) else {
            return LastWords { tail: tail_of(lines), stack: None };
        };
        let length = lines[start..].iter().take_while(|line| is_dump_line(line)).count();
        let (before, dump) = lines.split_at(start);
        let (dump, after) = dump.split_at(length);
        let tail = tail_of(before.iter().chain(after).copied().collect());
        LastWords { tail, stack: Some(dump.join("\n").trim_end().to_owned()) }
    }
}

/// Where the first line is that begins a stack dump.
fn start_of_dump(bytes: &[u8]) -> Option<usize> {
    let mut start = 0;
    for line in bytes.split_inclusive(|byte| *byte == b'\n') {
        if line.starts_with(DUMP_START.as_bytes()) {
            return Some(start);
        }
        start += line.len();
    }
    None
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
