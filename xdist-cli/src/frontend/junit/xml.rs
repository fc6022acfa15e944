//! XML as Python's `xml.etree` writes it, so that files compare equal to pytest's.
//!
//! Written by hand, because pytest's files have what no JUnit writer at hand produces: several results and outputs in
//! one test case, in the order they came, and no count attributes on the root.

use std::fmt::Write;

/// An element.
#[derive(Clone, Debug, Default)]
pub(super) struct Element {
    tag: &'static str,
    attributes: Vec<(String, String)>,
    text: String,
    children: Vec<Self>,
}

impl Element {
    pub(super) fn new(tag: &'static str) -> Self {
        Self { tag, ..Self::default() }
    }

    pub(super) const fn tag(&self) -> &'static str {
        self.tag
    }

    pub(super) fn with(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.attributes.push((name.into(), value.into()));
        self
    }

    pub(super) fn containing(mut self, text: impl Into<String>) -> Self {
        self.text = text.into();
        self
    }

    pub(super) fn push(&mut self, child: Self) {
        self.children.push(child);
    }

    /// Appends the element to `out`.
    pub(super) fn write(&self, out: &mut String) {
        self.write_around(out, |out| self.children.iter().for_each(|child| child.write(out)));
    }

    /// Appends the element to `out`, with what `children` appends in place of its own children.
    pub(super) fn write_around(&self, out: &mut String, children: impl FnOnce(&mut String)) {
        let _ = write!(out, "<{}", self.tag);
        for (name, value) in &self.attributes {
            let _ = write!(out, " {name}=\"{}\"", escaped_attribute(value));
        }
        let head = out.len();
        out.push('>');
        out.push_str(&escaped(&self.text));
        children(out);
        if out.len() == head + 1 {
            out.truncate(head);
            out.push_str(" />");
        } else {
            let _ = write!(out, "</{}>", self.tag);
        }
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

fn escaped_attribute(text: &str) -> String {
    let text = escaped(text).replace('"', "&quot;");
    text.replace('\r', "&#13;").replace('\n', "&#10;").replace('\t', "&#09;")
}

/// The text with every character that XML does not allow made visible: `#x1B`.
pub(super) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '\t' | '\n' | '\r' | ' '..='~' | '\u{80}'..='\u{fffd}' | '\u{10000}'.. => shown.push(letter),
            letter => {
                let code = u32::from(letter);
                let digits = if code <= 0xff { 2 } else { 4 };
                let _ = write!(shown, "#x{code:0digits$X}");
            }
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn elements_are_written_as_python_writes_them() {
        let mut case = Element::new("testcase").with("name", "a<\"b\">\n&");
        case.push(Element::new("skipped"));
        case.push(Element::new("failure").containing("1 < 2 & \"3\""));
        let mut out = String::new();
        case.write(&mut out);
        let expected = "<testcase name=\"a&lt;&quot;b&quot;&gt;&#10;&amp;\"><skipped />\
                        <failure>1 &lt; 2 &amp; \"3\"</failure></testcase>";
        assert_eq!(out, expected);
    }

    #[test]
    fn what_xml_does_not_allow_is_made_visible() {
        assert_eq!(printable("a\x1b[0m\x7f\u{ffff}\u{1f600}\té"), "a#x1B[0m#x7F#xFFFF\u{1f600}\té");
    }
}
