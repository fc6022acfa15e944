//! Patterns of files as Python's `fnmatch` has them, which pytest-xdist uses: an asterisk stands for slashes too, braces and
//! backslashes for themselves, and so does a bracket that is never closed. There is no pattern that makes no sense.

/// A pattern, ready to be compared.
#[derive(Clone, Debug)]
pub(super) struct Pattern(Vec<Token>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Token {
    /// Any number of characters.
    Star,
    /// Any character.
    One,
    Literal(u32),
    /// A character within one of these bounds, or, if negated, within none.
    Set {
        negated: bool,
        ranges: Vec<(u32, u32)>,
    },
}

/// The characters of a name. Bytes that are not UTF-8 are one each, as Python has them (`surrogateescape`).
pub(super) fn characters(name: &[u8]) -> Vec<u32> {
    let mut characters = Vec::with_capacity(name.len());
    for chunk in name.utf8_chunks() {
        characters.extend(chunk.valid().chars().map(u32::from));
        characters.extend(chunk.invalid().iter().map(|byte| 0xdc00 + u32::from(*byte)));
    }
    characters
}

impl Pattern {
    pub(super) fn new(pattern: &str) -> Self {
        let characters: Vec<char> = pattern.chars().collect();
        let mut tokens = Vec::new();
        let mut rest = &characters[..];
        while let Some((&first, after)) = rest.split_first() {
            rest = after;
            tokens.push(match first {
                '*' => Token::Star,
                '?' => Token::One,
                '[' => match end_of_set(after) {
                    Some(end) => {
                        rest = &after[end + 1..];
                        set(&after[..end])
                    }
                    None => Token::Literal(u32::from(first)),
                },
                _ => Token::Literal(u32::from(first)),
            });
        }
        Self(tokens)
    }

    /// Whether this is all of such a name.
    pub(super) fn matches(&self, name: &[u32]) -> bool {
        let (mut token, mut at) = (0, 0);
        // Behind the last asterisk, and where what it does not stand for has begun: a longer share for an earlier one gains nothing.
        let mut retry: Option<(usize, usize)> = None;
        while at < name.len() {
            match self.0.get(token) {
                Some(Token::Star) => {
                    token += 1;
                    retry = Some((token, at));
                }
                Some(one) if one.stands_for(name[at]) => (token, at) = (token + 1, at + 1),
                _ => match &mut retry {
                    Some((behind, begun)) => {
                        *begun += 1;
                        (token, at) = (*behind, *begun);
                    }
                    None => return false,
                },
            }
        }
        self.0[token..].iter().all(|token| *token == Token::Star)
    }
}

impl Token {
    fn stands_for(&self, character: u32) -> bool {
        match self {
            Self::Star | Self::One => true,
            Self::Literal(literal) => *literal == character,
            Self::Set { negated, ranges } => {
                ranges.iter().any(|(first, last)| (*first..=*last).contains(&character)) != *negated
            }
        }
    }
}

/// Where the set that begins here ends, if it does. A bracket that is the first in it belongs to it.
fn end_of_set(characters: &[char]) -> Option<usize> {
    let negation = usize::from(characters.first() == Some(&'!'));
    let first = negation + usize::from(characters.get(negation) == Some(&']'));
    let end = characters.get(first..)?.iter().position(|&character| character == ']')?;
    Some(first + end)
}

fn set(characters: &[char]) -> Token {
    let (negated, mut rest) = match characters {
        ['!', rest @ ..] => (true, rest),
        rest => (false, rest),
    };
    let mut ranges = Vec::new();
    loop {
        let (first, last) = match rest {
            [] => return Token::Set { negated, ranges },
            [first, '-', last, after @ ..] => {
                rest = after;
                (*first, *last)
            }
            [only, after @ ..] => {
                rest = after;
                (*only, *only)
            }
        };
        ranges.push((u32::from(first), u32::from(last)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Python 3.11's `fnmatch.fnmatchcase` says of these.
    const CASES: [(&str, &str, &str); 24] = [
        ("", "", "a"),
        ("*", " a a/b", ""),
        ("*.log", ".log a.log a/b.log", "log a.logs"),
        ("a*b*c", "abc a1b2c abbcc", "ab abcd acb"),
        ("**/x", "a/x a/b/x /x", "x ax"),
        ("?", "a \u{e9} /", "ab"),
        ("[", "[", "a"),
        ("a[z", "a[z", "az a"),
        ("[]", "[]", "[ ]"),
        ("[!", "[!", "a"),
        ("[!]", "[!]", "a"),
        ("[]]", "]", "[ []"),
        ("[!]]", "a", "]"),
        ("[!a]", "b ! ^", "a ab"),
        ("[^a]", "^ a", "b"),
        ("[a!]", "a !", "b"),
        ("[a-c]", "a b c", "d -"),
        ("[a-c-e]", "b - e", "d"),
        ("[-a]", "- a", "b"),
        ("[a-]", "- a", "b"),
        ("[z-a]", "", "z a -"),
        ("[!z-a]", "z a -", "za"),
        (r"\*", r"\ \a", "* a"),
        ("{a,b}", "{a,b}", "a b {a}"),
    ];

    #[test]
    fn patterns_mean_what_they_mean_to_python() {
        for (pattern, like, unlike) in CASES {
            let compiled = Pattern::new(pattern);
            for name in like.split(' ') {
                // No name at all stands for no name that is like it.
                let is_none = name.is_empty() && !matches!(pattern, "" | "*");
                assert!(
                    is_none || compiled.matches(&characters(name.as_bytes())),
                    "{pattern} is like {name}"
                );
            }
            for name in unlike.split(' ').filter(|name| !name.is_empty()) {
                assert!(!compiled.matches(&characters(name.as_bytes())), "{pattern} is not like {name}");
            }
        }
        assert!(Pattern::new("caf?").matches(&characters(b"caf\xe9")));
        assert!(!Pattern::new("caf??").matches(&characters(b"caf\xe9")));
    }
}
