//! Finds the far side's answers among whatever its login shell prints.

use super::script::Answer;
use std::io::{self, BufRead, Read};

/// The longest line that an answer is looked for in as one. What is printed without line feeds comes in parts.
const MAX_LINE_BYTES: u64 = 64 << 10;

/// Looks for lines with a marker.
#[derive(Debug)]
pub(super) struct Listener {
    marker: String,
}

/// What was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// An answer.
    Answer(Answer),
    /// There will be none.
    End,
}

impl Listener {
    pub(super) fn new(marker: &str) -> Self {
        Self { marker: marker.to_owned() }
    }

    /// Reads up to the end of the line of the next answer, and no further.
    ///
    /// # Errors
    /// When reading fails.
    pub(super) fn next(&self, reader: &mut impl BufRead) -> io::Result<Heard> {
        let mut line = Vec::new();
        loop {
            line.clear();
            if reader.by_ref().take(MAX_LINE_BYTES).read_until(b'\n', &mut line)? == 0 {
                return Ok(Heard::End);
            }
            let text = String::from_utf8_lossy(&line);
            let answer = text.rsplit_once(&self.marker).and_then(|(_, answer)| Answer::parse(answer));
            match answer {
                Some(answer) => return Ok(Heard::Answer(answer)),
                None => {
                    tracing::debug!(line = text.trim_end(), "printed on the far side before the link is open")
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_found_among_noise() {
        let mut heard =
            &b"Welcome!\nxdist:8:ready\n\xff\xfe> xdist:7:unusable 1\r\nxdist:7:ready\n\0rest"[..];
        let listener = Listener::new("xdist:7:");
        assert_eq!(listener.next(&mut heard).unwrap(), Heard::Answer(Answer::Unusable(1)));
        assert_eq!(listener.next(&mut heard).unwrap(), Heard::Answer(Answer::Ready));
        assert_eq!(heard, b"\0rest", "what follows is the protocol's");
    }

    #[test]
    fn noise_alone_comes_to_an_end() {
        let noise = vec![b'x'; 3 * usize::try_from(MAX_LINE_BYTES).unwrap()];
        assert_eq!(Listener::new("xdist:7:").next(&mut &noise[..]).unwrap(), Heard::End);
    }
}
