//! Writing to the terminal: lines that stay, an unfinished last line, and below it rows that are drawn anew.

use super::style::{cut, visible_width};
use std::fmt;
use std::io::{self, Write};

/// Whether rows can be drawn anew.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Drawing {
    /// Text is only ever appended.
    Append,
    /// The last lines are erased and drawn again, by escape sequences.
    Redraw,
}

/// The two output streams.
pub(crate) struct Streams {
    /// Standard output.
    pub(crate) stdout: Box<dyn Write>,
    /// Standard error.
    pub(crate) stderr: Box<dyn Write>,
    /// Whether both end up in the same place, so that each has to respect the other's unfinished line.
    pub(crate) shared: bool,
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Streams").field("shared", &self.shared).finish_non_exhaustive()
    }
}

/// The terminal, or whatever standard output is.
///
/// Nothing is written before [`Screen::flush`]. The first error of standard output is kept, and nothing is written
/// to it any more; the run goes on without.
#[derive(Debug)]
pub(crate) struct Screen {
    streams: Streams,
    drawing: Drawing,
    width: usize,
    /// Text that is not written yet: whole lines, and in [`Drawing::Append`] any part of one.
    pending: String,
    /// The last line, as far as it goes.
    unfinished: String,
    /// Rows below the unfinished line.
    live: Vec<String>,
    /// Visible widths of the rows that are on the screen from the unfinished line on, the cursor being in the last.
    drawn: Vec<usize>,
    /// Whether somebody else has the terminal.
    suspended: bool,
    /// What waits for standard error meanwhile.
    pending_errors: String,
    error: Option<io::Error>,
}

impl Screen {
    /// A screen of `width` columns that only appends, until [`Screen::set_drawing`].
    pub(crate) const fn new(streams: Streams, width: usize) -> Self {
        Self {
            streams,
            drawing: Drawing::Append,
            width,
            pending: String::new(),
            unfinished: String::new(),
            live: Vec::new(),
            drawn: Vec::new(),
            suspended: false,
            pending_errors: String::new(),
            error: None,
        }
    }

    /// Columns of the screen.
    pub(crate) const fn width(&self) -> usize {
        self.width
    }

    /// Tells that the screen has this many columns now.
    pub(crate) const fn set_width(&mut self, width: usize) {
        self.width = width;
    }

    /// Changes how the last lines are treated. Call it between two lines.
    pub(crate) const fn set_drawing(&mut self, drawing: Drawing) {
        self.drawing = drawing;
    }

    /// Whether rows can be drawn anew.
    pub(crate) const fn drawing(&self) -> Drawing {
        self.drawing
    }

    /// How many columns of the unfinished line are taken.
    pub(crate) fn column(&self) -> usize {
        visible_width(&self.unfinished)
    }

    /// Appends text, which may have line breaks and colours.
    pub(crate) fn write(&mut self, text: &str) {
        let Some(end) = text.rfind('\n') else {
            self.unfinished.push_str(text);
            if self.drawing == Drawing::Append {
                self.pending.push_str(text);
            }
            return;
        };
        if self.drawing == Drawing::Redraw {
            self.pending.push_str(&self.unfinished);
            self.pending.push_str(&text[..=end]);
        } else {
            self.pending.push_str(text);
        }
        self.unfinished.clear();
        self.unfinished.push_str(&text[end + 1..]);
    }

    /// Ends the unfinished line, if there is one.
    pub(crate) fn end_line(&mut self) {
        if !self.unfinished.is_empty() {
            self.write("\n");
        }
    }

    /// Writes a line of its own.
    pub(crate) fn line(&mut self, text: &str) {
        self.end_line();
        self.write(text);
        self.write("\n");
    }

    /// Writes a line above the unfinished one; only in [`Drawing::Redraw`].
    pub(crate) fn insert_line(&mut self, text: &str) {
        debug_assert_eq!(self.drawing, Drawing::Redraw, "a line that was written cannot be pushed down");
        self.pending.push_str(text);
        self.pending.push('\n');
    }

    /// Replaces the unfinished line; only in [`Drawing::Redraw`].
    pub(crate) fn replace_line(&mut self, text: String) {
        debug_assert_eq!(self.drawing, Drawing::Redraw, "a line that was written cannot be taken back");
        self.unfinished = text;
    }

    /// Sets the rows below the unfinished line, each cut to the width; none in [`Drawing::Append`].
    pub(crate) fn set_live(&mut self, rows: Vec<String>) {
        self.live = rows;
    }

    /// Writes lines to standard error, the last one's line break included if it has one.
    pub(crate) fn error_text(&mut self, text: &str) {
        if self.suspended {
            return self.pending_errors.push_str(text);
        }
        if self.drawing == Drawing::Redraw {
            let erase = self.erase();
            let finished = std::mem::take(&mut self.pending);
            self.send(&(erase + &finished));
        } else if self.streams.shared {
            self.end_line();
            self.flush();
        }
        // There is no better place to tell that standard error is gone.
        let _ = self.streams.stderr.write_all(text.as_bytes()).and_then(|()| self.streams.stderr.flush());
    }

    /// Writes what there is to write.
    pub(crate) fn flush(&mut self) {
        if self.suspended {
            return;
        }
        let text = match self.drawing {
            Drawing::Append => std::mem::take(&mut self.pending),
            Drawing::Redraw => self.redrawn(),
        };
        if !text.is_empty() {
            self.send(&text);
        }
    }

    /// Leaves the terminal to somebody else until [`Screen::resume`], in a new line. What is written meanwhile waits.
    pub(crate) fn suspend(&mut self) {
        let mut text = self.erase();
        text.push_str(&std::mem::take(&mut self.pending));
        if !self.unfinished.is_empty() {
            if self.drawing == Drawing::Redraw {
                text.push_str(&self.unfinished);
            }
            text.push('\n');
        }
        self.send(&text);
        self.suspended = true;
    }

    /// Writes again, beginning with what has waited.
    pub(crate) fn resume(&mut self) {
        self.suspended = false;
        let errors = std::mem::take(&mut self.pending_errors);
        if !errors.is_empty() {
            self.error_text(&errors);
        }
        self.flush();
    }

    /// The first error of standard output, once.
    pub(crate) const fn take_error(&mut self) -> Option<io::Error> {
        self.error.take()
    }

    fn redrawn(&mut self) -> String {
        let mut text = self.erase();
        text.push_str(&std::mem::take(&mut self.pending));
        text.push_str(&self.unfinished);
        self.drawn.push(visible_width(&self.unfinished));
        for row in &self.live {
            // The last column stays free: a character there leaves some terminals in the next row.
            let row = if visible_width(row) < self.width { row } else { cut(row, self.width - 1) };
            text.push('\n');
            text.push_str(row);
            self.drawn.push(visible_width(row));
        }
        text
    }

    /// Escape sequences that erase what is drawn anew, the cursor being left where the unfinished line begins.
    fn erase(&mut self) -> String {
        let drawn = std::mem::take(&mut self.drawn);
        // A terminal that became narrower has wrapped what was drawn for the width before.
        let rows: usize = drawn.iter().map(|columns| columns.div_ceil(self.width.max(1)).max(1)).sum();
        match rows {
            0 => String::new(),
            1 => "\r\x1b[J".to_owned(),
            rows => format!("\r\x1b[{}A\x1b[J", rows - 1),
        }
    }

    fn send(&mut self, text: &str) {
        if self.error.is_some() {
            return;
        }
        let stdout = &mut self.streams.stdout;
        self.error = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()).err();
    }
}

#[cfg(test)]
pub(crate) mod testing {
    use super::Streams;
    use std::cell::RefCell;
    use std::io::{self, Write};
    use std::rc::Rc;

    /// A stream that can be looked at.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct Tape(Rc<RefCell<Vec<u8>>>);

    impl Tape {
        /// What was written since the last look.
        pub(crate) fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.borrow_mut())).unwrap()
        }
    }

    impl Write for Tape {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.borrow_mut().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// Two tapes as standard output and standard error.
    pub(crate) fn tapes() -> (Streams, Tape, Tape) {
        let (stdout, stderr) = (Tape::default(), Tape::default());
        let streams =
            Streams { stdout: Box::new(stdout.clone()), stderr: Box::new(stderr.clone()), shared: true };
        (streams, stdout, stderr)
    }
}

#[cfg(test)]
mod tests {
    use super::testing::tapes;
    use super::*;

    #[test]
    fn appended_text_goes_out_as_it_is() {
        let (streams, stdout, stderr) = tapes();
        let mut screen = Screen::new(streams, 80);
        screen.write("ab");
        assert_eq!(screen.column(), 2);
        screen.write("c\nde");
        screen.flush();
        assert_eq!(stdout.take(), "abc\nde");
        screen.error_text("oops\n");
        assert_eq!((stdout.take(), stderr.take()), ("\n".to_owned(), "oops\n".to_owned()));
    }

    #[test]
    fn live_rows_are_erased_before_anything_else_is_written() {
        let (streams, stdout, stderr) = tapes();
        let mut screen = Screen::new(streams, 20);
        screen.set_drawing(Drawing::Redraw);
        screen.write("one\n..");
        screen.set_live(vec!["bar".to_owned(), "a row that is too long for it".to_owned()]);
        screen.flush();
        assert_eq!(stdout.take(), "one\n..\nbar\na row that is too l");
        screen.write(".\n");
        screen.flush();
        assert_eq!(stdout.take(), "\r\x1b[2A\x1b[J...\n\nbar\na row that is too l");
        screen.error_text("oops\n");
        assert_eq!((stdout.take(), stderr.take()), ("\r\x1b[2A\x1b[J".to_owned(), "oops\n".to_owned()));
        screen.set_live(Vec::new());
        screen.flush();
        assert_eq!(stdout.take(), "");
    }

    #[test]
    fn nothing_is_written_while_somebody_else_has_the_terminal() {
        let (streams, stdout, stderr) = tapes();
        let mut screen = Screen::new(streams, 20);
        screen.write("..");
        screen.suspend();
        assert_eq!(stdout.take(), "..\n");
        screen.write(".\nmore");
        screen.error_text("oops\n");
        screen.flush();
        assert_eq!((stdout.take(), stderr.take()), Default::default());
        screen.resume();
        assert_eq!((stdout.take(), stderr.take()), (".\nmore\n".to_owned(), "oops\n".to_owned()));

        screen.set_drawing(Drawing::Redraw);
        screen.write("one\n..");
        screen.set_live(vec!["bar".to_owned()]);
        screen.flush();
        assert_eq!(stdout.take(), "one\n..\nbar");
        screen.suspend();
        assert_eq!(stdout.take(), "\r\x1b[1A\x1b[J..\n");
        screen.resume();
        assert_eq!(stdout.take(), "..\nbar");
    }

    #[test]
    fn a_narrower_terminal_has_wrapped_what_was_drawn() {
        let (streams, stdout, _) = tapes();
        let mut screen = Screen::new(streams, 20);
        screen.set_drawing(Drawing::Redraw);
        screen.set_live(vec!["0123456789".to_owned()]);
        screen.flush();
        stdout.take();
        screen.set_width(6);
        screen.flush();
        assert_eq!(stdout.take(), "\r\x1b[2A\x1b[J\n01234");
    }

    #[test]
    fn after_an_error_nothing_more_is_written() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let streams = Streams { stdout: Box::new(Full), stderr: Box::new(Full), shared: false };
        let mut screen = Screen::new(streams, 80);
        screen.line("text");
        screen.flush();
        assert_eq!(screen.take_error().map(|error| error.kind()), Some(io::ErrorKind::StorageFull));
    }
}
