//! What happens in a session's life, and to each attempt to send a request.

use crate::network::Fate;
use crate::world::World;

/// How the session begins.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Beginning {
    /// It is bound before the browser comes.
    Prebound,
    /// The browser begins it, and signs in.
    ByBrowser,
}

/// Something happens; times in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// The browser has so many messages to send.
    Say(u8),
    /// Upstream sends so many stanzas at once.
    Hear(u8),
    /// Time passes.
    Pass(u32),
    /// The browser does and reads nothing for so long.
    Sleep(u32),
    /// The page is loaded anew, which takes so long.
    Reload(u32),
    /// The browser will be away for so many seconds, or until it has something to say.
    Pause(u32),
}

/// A session's life: what happens, and what becomes of one attempt after the other.
#[derive(Clone, Debug)]
pub(crate) struct Scenario {
    pub(crate) beginning: Beginning,
    /// The setting `gap`, in seconds.
    pub(crate) gap: u64,
    pub(crate) fates: Vec<Fate>,
    pub(crate) steps: Vec<Step>,
}

impl Scenario {
    /// Plays it, and then until all is well again; panics where a promise is broken.
    pub(crate) fn play(&self) {
        let mut world = World::new(self);
        for step in &self.steps {
            world.step(*step);
        }
        world.come_to_rest();
        world.judge();
    }
}
