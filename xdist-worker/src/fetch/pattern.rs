//! Patterns for paths, as shells have them.

/// A pattern for a path, name by name.
#[derive(Debug)]
pub(super) struct Pattern {
    names: Vec<Name>,
}

/// A pattern for one name of a path.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Name {
    /// This one.
    Literal(String),
    /// Names of this form.
    Wild(Vec<Piece>),
    /// Any number of directories (`**`).
    AnyDirectories,
}

/// A piece of a pattern for a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Char(char),
    /// `?`
    AnyChar,
    /// `*`
    AnyChars,
    /// `[a-z]`, or `[!a-z]` for all others.
    Set {
        ranges: Vec<(char, char)>,
        negated: bool,
    },
}

impl Pattern {
    /// Every text is a pattern. A bracket that is not closed stands for itself.
    pub(super) fn new(text: &str) -> Self {
        let names = text.split('/').filter(|name| !matches!(*name, "" | "."));
        let mut names: Vec<Name> = names.map(Name::new).collect();
        if names.last() == Some(&Name::AnyDirectories) {
            // Only files are meant in the end.
            names.push(Name::Wild(vec![Piece::AnyChars]));
        }
        Self { names }
    }

    pub(super) fn names(&self) -> &[Name] {
        &self.names
    }
}

impl Name {
    fn new(text: &str) -> Self {
        if text == "**" {
            return Self::AnyDirectories;
        }
        let pieces = pieces(text);
        let chars = pieces.iter().map(|piece| if let Piece::Char(char) = piece { Some(*char) } else { None });
        match chars.collect::<Option<String>>() {
            Some(name) => Self::Literal(name),
            None => Self::Wild(pieces),
        }
    }

    /// Whether a name that stands in a directory fits. A `.` at its beginning fits only one.
    pub(super) fn fits(&self, name: &str) -> bool {
        match self {
            Self::Literal(own) => own == name,
            Self::AnyDirectories => !name.starts_with('.'),
            Self::Wild(pieces) => {
                let is_shown = !name.starts_with('.') || pieces.first() == Some(&Piece::Char('.'));
                let chars: Vec<char> = name.chars().collect();
                is_shown && fits(pieces, &chars)
            }
        }
    }
}

/// Whether the pieces stand for the name. Goes back to the latest `*` only, which is enough, and takes no more than the
/// product of both lengths.
fn fits(pieces: &[Piece], name: &[char]) -> bool {
    let (mut piece, mut at) = (0, 0);
    let mut star = None;
    while at < name.len() {
        match pieces.get(piece) {
            Some(Piece::AnyChars) => {
                star = Some((piece, at));
                piece += 1;
            }
            Some(one) if one.takes(name[at]) => {
                piece += 1;
                at += 1;
            }
            Some(_) | None => {
                let Some((of, from)) = star else { return false };
                star = Some((of, from + 1));
                (piece, at) = (of + 1, from + 1);
            }
        }
    }
    pieces[piece..].iter().all(|piece| *piece == Piece::AnyChars)
}

impl Piece {
    /// Whether it stands for this one character.
    fn takes(&self, char: char) -> bool {
        match self {
            Self::Char(own) => *own == char,
            Self::AnyChar => true,
            Self::AnyChars => false,
            Self::Set { ranges, negated } => {
                ranges.iter().any(|(from, to)| (*from..=*to).contains(&char)) != *negated
            }
        }
    }
}

fn pieces(text: &str) -> Vec<Piece> {
    let chars: Vec<char> = text.chars().collect();
    let mut pieces = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        let (piece, length) = match chars[at] {
            '*' => (Piece::AnyChars, 1),
            '?' => (Piece::AnyChar, 1),
            '[' => set(&chars[at..]).unwrap_or((Piece::Char('['), 1)),
            char => (Piece::Char(char), 1),
        };
        pieces.push(piece);
        at += length;
    }
    pieces
}

/// The set that begins here, and its length.
fn set(chars: &[char]) -> Option<(Piece, usize)> {
    let negated = matches!(chars.get(1), Some('!' | '^'));
    let begin = 1 + usize::from(negated);
    // A `]` in the first place belongs to it.
    let close = begin + 1 + chars.get(begin + 1..)?.iter().position(|char| *char == ']')?;
    let mut ranges = Vec::new();
    let mut inside = &chars[begin..close];
    while let Some((&from, rest)) = inside.split_first() {
        inside = match rest {
            ['-', to, rest @ ..] => {
                ranges.push((from, *to));
                rest
            }
            rest => {
                ranges.push((from, from));
                rest
            }
        };
    }
    Some((Piece::Set { ranges, negated }, close + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, fitting: &[&str], others: &[&str]) {
        let name = Name::new(pattern);
        for text in fitting {
            assert!(name.fits(text), "{pattern} and {text}");
        }
        for text in others {
            assert!(!name.fits(text), "{pattern} and not {text}");
        }
    }

    #[test]
    fn names_fit_as_in_a_shell() {
        check("*.png", &["a.png", "a.b.png"], &[".png", ".a.png", "a.pn", "a.pngx"]);
        check(".cov*", &[".coverage", ".cov"], &["coverage", "x.cov"]);
        check("a*b*c", &["abc", "axbxc", "abbbc", "abcbc"], &["ab", "acb"]);
        check("?[0-9][!a-c]", &["x1d", "é0é"], &["x1a", "xad", ".1d", "x1"]);
        check("[]]x", &["]x"], &["x", "[]]x"]);
        check("[x", &["[x"], &["x"]);
        check("*", &["a"], &[".a"]);
    }

    #[test]
    fn paths_are_taken_name_by_name() {
        let pattern = Pattern::new("./out//**/*.xml");
        let literal = Name::Literal("out".to_owned());
        assert_eq!(pattern.names()[..2], [literal, Name::AnyDirectories]);
        assert!(pattern.names()[2].fits("a.xml"));
        assert_eq!(pattern.names().len(), 3);
    }
}
