//! Colours, rules and widths of terminal text, as pytest draws them.

use std::borrow::Cow;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// A foreground colour, by its ANSI code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Color {
    /// Failures.
    Red = 31,
    /// Passed tests.
    Green = 32,
    /// Everything in between.
    Yellow = 33,
    /// Progress and the short summary's title.
    Cyan = 36,
}

/// How a piece of text looks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Markup {
    color: Option<Color>,
    bold: bool,
}

impl Markup {
    /// Nothing special.
    pub(crate) const PLAIN: Self = Self { color: None, bold: false };
    /// Bold, in the terminal's own colour.
    pub(crate) const BOLD: Self = Self { color: None, bold: true };

    /// The same colour, bold.
    pub(crate) const fn bold(self) -> Self {
        Self { bold: true, ..self }
    }
}

impl From<Color> for Markup {
    fn from(color: Color) -> Self {
        Self { color: Some(color), bold: false }
    }
}

/// Whether to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Palette {
    /// Escape sequences are left out.
    #[default]
    Plain,
    /// ANSI escape sequences.
    Ansi,
}

impl Palette {
    /// The text with the escape sequences of `markup`, the colour before the weight as pytest has them.
    pub(crate) fn paint<'t>(self, text: &'t str, markup: Markup) -> Cow<'t, str> {
        let start = self.start(markup);
        if start.is_empty() { Cow::Borrowed(text) } else { Cow::Owned(format!("{start}{text}\x1b[0m")) }
    }

    /// The escape sequences that begin `markup`.
    pub(crate) fn start(self, markup: Markup) -> String {
        if self == Self::Plain {
            return String::new();
        }
        let color = markup.color.map(|color| format!("\x1b[{}m", color as u8)).unwrap_or_default();
        color + if markup.bold { "\x1b[1m" } else { "" }
    }
}

/// A line of `separator`s, `width` columns wide, around a title.
pub(crate) fn rule(separator: char, title: &str, width: usize) -> String {
    rule_around(separator, title, visible_width(title), width)
}

/// As [`rule`], for a title whose visible width is known.
pub(crate) fn rule_around(separator: char, title: &str, title_width: usize, width: usize) -> String {
    let each_side = (width.saturating_sub(title_width + 2) / 2).max(1);
    let fill: String = std::iter::repeat_n(separator, each_side).collect();
    // An odd column is filled on the right.
    let last = if 2 * each_side + title_width + 2 < width { separator.to_string() } else { String::new() };
    format!("{fill} {title} {fill}{last}")
}

/// How many columns the text takes, escape sequences not counted.
pub(crate) fn visible_width(text: &str) -> usize {
    if !text.contains('\x1b') {
        return text.width();
    }
    without_escapes(text).width()
}

/// The text without its ANSI colour sequences.
pub(crate) fn without_escapes(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(start) = rest.find("\x1b[") {
        plain.push_str(&rest[..start]);
        let sequence = &rest[start + 2..];
        let end = sequence.find(|letter: char| letter.is_ascii_alphabetic());
        rest = end.map_or("", |end| &sequence[end + 1..]);
    }
    plain.push_str(rest);
    plain
}

/// As much of the text's beginning as fits into `width` columns.
pub(crate) fn cut(text: &str, width: usize) -> &str {
    let mut used = 0;
    for (position, letter) in text.char_indices() {
        used += letter.width().unwrap_or(0);
        if used > width {
            return &text[..position];
        }
    }
    text
}

/// The first line of `message` behind `before` and in front of `after`, cut with an ellipsis to fit into `width`
/// columns; `None` if not even the ellipsis fits.
pub(crate) fn trimmed(before: &str, message: &str, after: &str, width: usize) -> Option<String> {
    const ELLIPSIS: &str = "...";
    let line = message.split('\n').next().unwrap_or_default();
    let room = width.checked_sub(before.width() + after.width())?;
    if room < ELLIPSIS.len() {
        return None;
    }
    if line.width() <= room {
        return Some(format!("{before}{line}{after}"));
    }
    Some(format!("{before}{}{ELLIPSIS}{after}", cut(line, room - ELLIPSIS.len())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_fills_the_width_and_an_odd_column_goes_to_the_right() {
        assert_eq!(rule('=', "ab", 10), "=== ab ===");
        assert_eq!(rule('=', "abc", 10), "== abc ===");
        assert_eq!(rule('=', "longer than the line", 10), "= longer than the line =");
    }

    #[test]
    fn wide_characters_count_twice() {
        assert_eq!(rule('-', "中", 8), "-- 中 --");
        assert_eq!(cut("中中中", 5), "中中");
    }

    #[test]
    fn escapes_have_no_width() {
        let painted = Palette::Ansi.paint("abc", Markup::from(Color::Red).bold());
        assert_eq!(painted, "\x1b[31m\x1b[1mabc\x1b[0m");
        assert_eq!(visible_width(&painted), 3);
        assert_eq!(without_escapes(&painted), "abc");
        assert_eq!(Palette::Plain.paint("abc", Markup::BOLD), "abc");
    }

    #[test]
    fn messages_are_trimmed_to_the_width() {
        assert_eq!(trimmed(" - ", "short\nsecond", "", 20).as_deref(), Some(" - short"));
        assert_eq!(trimmed(" - ", "a longer message", "", 12).as_deref(), Some(" - a long..."));
        assert_eq!(trimmed(" - ", "a longer message", "", 5), None);
        assert_eq!(trimmed("(", "中中中中", ")", 8).as_deref(), Some("(中...)"));
    }
}
