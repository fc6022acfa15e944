//! Schedulers: which worker gets which items. They see the collection and what is pending, and answer with
//! assignments; they never see links, bytes or time.

/// How items are handed out: `--dist`, as in pytest-xdist 3.8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Mode {
    /// Every item on every worker.
    Each,
    /// Items in batches to whoever has few left.
    Load,
    /// All items of a class or module to one worker.
    LoadScope,
    /// All items of a file to one worker.
    LoadFile,
    /// All items of an `xdist_group` to one worker.
    LoadGroup,
    /// Items split at the start, then stolen by whoever runs out. Groups stay together.
    #[default]
    WorkSteal,
}

impl Mode {
    /// The name that `--dist` takes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Each => "each",
            Self::Load => "load",
            Self::LoadScope => "loadscope",
            Self::LoadFile => "loadfile",
            Self::LoadGroup => "loadgroup",
            Self::WorkSteal => "worksteal",
        }
    }
}
