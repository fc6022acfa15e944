//! How things are to be shown: the display options, interpreted once.

use crate::frontend::style::{self, Markup, Palette};
use crate::frontend::words;
use std::path::PathBuf;
use xdist_proto::message::DisplayOptions;

/// Where the output goes and who reads it, as known before any option is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Surroundings {
    /// The current directory, absolute.
    pub(crate) cwd: PathBuf,
    /// Whether this is a continuous integration service, where messages are not trimmed.
    pub(crate) on_ci: bool,
}

/// How far along the run the progress shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ProgressStyle {
    /// Nothing.
    Classic,
    /// `[ 33%]`.
    Percent,
    /// `[1/3]`.
    Count,
    /// The time that the test took.
    Times,
}

/// The display options, interpreted.
#[derive(Clone, Debug)]
pub(super) struct View {
    pub(super) options: DisplayOptions,
    pub(super) surroundings: Surroundings,
    pub(super) palette: Palette,
    pub(super) progress: ProgressStyle,
    /// pytest's root directory, which node ids are relative to.
    rootdir: PathBuf,
}

impl View {
    /// What is used until the options are known.
    pub(super) fn preliminary(surroundings: Surroundings) -> Self {
        let options = DisplayOptions { report_chars: "fE".to_owned(), ..DisplayOptions::default() };
        let rootdir = surroundings.cwd.clone();
        Self::new(options, surroundings, rootdir)
    }

    pub(super) fn new(options: DisplayOptions, surroundings: Surroundings, rootdir: PathBuf) -> Self {
        let palette = if options.color { Palette::Ansi } else { Palette::Plain };
        let progress = match (options.progress_style.as_str(), options.capture.as_str()) {
            ("progress-even-when-capture-no", _) => ProgressStyle::Percent,
            // Tests print between the dots then.
            (_, "no") | ("classic", _) => ProgressStyle::Classic,
            ("count", _) => ProgressStyle::Count,
            ("times", _) => ProgressStyle::Times,
            _ => ProgressStyle::Percent,
        };
        Self { options, surroundings, palette, progress, rootdir }
    }

    pub(super) const fn verbosity(&self) -> i32 {
        self.options.verbosity
    }

    /// Whether this option was given, however it is spelled.
    pub(super) fn flag(&self, name: &str) -> bool {
        let plain = |flag: &str| flag.trim_start_matches('-').replace('_', "-");
        self.options.flags.iter().any(|flag| plain(flag) == name)
    }

    /// Whether `-r` asks for this kind of report.
    pub(super) fn reports(&self, kind: char) -> bool {
        self.options.report_chars.contains(kind)
    }

    /// Whether tracebacks are shown at all.
    pub(super) fn tracebacks(&self) -> bool {
        self.options.traceback_style != "no"
    }

    /// Whether `--show-capture` lets a captured section with this title through.
    pub(super) fn shows_section(&self, title: &str) -> bool {
        match self.options.show_capture.as_str() {
            "no" => false,
            "" | "all" => true,
            kind => title.contains(kind),
        }
    }

    /// The node id as seen from the current directory.
    pub(super) fn node_id(&self, node_id: &str) -> String {
        if self.rootdir == self.surroundings.cwd {
            return node_id.to_owned();
        }
        let (path, rest) = words::split_node_id(node_id);
        let path = words::relative_path(&self.surroundings.cwd, &self.rootdir.join(path));
        let path = path.display();
        rest.map_or_else(|| path.to_string(), |rest| format!("{path}::{rest}"))
    }

    /// The path as seen from the current directory; a relative one is left alone.
    pub(super) fn path(&self, path: &str) -> String {
        words::relative_path(&self.surroundings.cwd, path.as_ref()).display().to_string()
    }
}

/// Text of the summaries, put together before it is written.
#[derive(Debug)]
pub(super) struct Page {
    palette: Palette,
    width: usize,
    text: String,
}

impl Page {
    pub(super) const fn new(palette: Palette, width: usize) -> Self {
        Self { palette, width, text: String::new() }
    }

    pub(super) const fn width(&self) -> usize {
        self.width
    }

    /// A line of separators around a title.
    pub(super) fn rule(&mut self, separator: char, title: &str, markup: impl Into<Markup>) {
        let rule = style::rule(separator, title, self.width);
        let painted = self.palette.paint(&rule, markup.into());
        self.text.push_str(&painted);
        self.text.push('\n');
    }

    /// A line, or several.
    pub(super) fn line(&mut self, text: &str) {
        self.text.push_str(text);
        self.text.push('\n');
    }

    pub(super) fn into_text(self) -> String {
        self.text
    }
}
