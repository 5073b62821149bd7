//! What becomes of one attempt to send a request: when it arrives, whether its connection breaks, when its answer is read.

/// The fate of an attempt; times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fate {
    /// How long the request is on its way; none if it is lost.
    pub(crate) arrives: Option<u32>,
    /// How long after that its connection breaks, unless it was answered before.
    pub(crate) breaks: Option<u32>,
    /// How long the answer is on its way; none if it is lost.
    pub(crate) read: Option<u32>,
    /// How long the browser takes to notice what was lost.
    pub(crate) noticed: u32,
    /// How the edge learns that a connection broke before there was an answer.
    pub(crate) told: Told,
}

/// How the edge learns that a connection broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Told {
    /// Not at all.
    Never,
    /// After so many milliseconds, if it has not answered by then.
    After(u32),
    /// When it answers.
    WithTheAnswer,
}

impl Fate {
    /// Everything arrives, soon.
    pub(crate) const GOOD: Self =
        Self { arrives: Some(20), breaks: None, read: Some(20), noticed: 0, told: Told::Never };
}
