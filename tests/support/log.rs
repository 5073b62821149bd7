//! What the proxy logs while a test of this process runs.

use std::io;
use std::sync::Arc;
use std::sync::Mutex;

use tracing::Dispatch;
use tracing::dispatcher;
use tracing::subscriber::DefaultGuard;
use tracing::subscriber::NoSubscriber;
use tracing_subscriber::EnvFilter;

/// What was logged on this thread, at every level, as long as this lives.
#[derive(Debug)]
pub(crate) struct Log {
    written: Written,
    _guard: DefaultGuard,
    _second: Dispatch,
}

/// Where the lines go.
#[derive(Clone, Debug, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl Log {
    /// Begins to listen. A test's runtime is of one thread, so it hears all of its own proxy and nothing of another test's.
    pub(crate) fn capture() -> Self {
        let written = Written::default();
        let writer = written.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_env_filter(EnvFilter::new("warn,vestibule=trace"))
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let first = Dispatch::new(subscriber);
        // With one alone, tracing asks whichever thread meets a place of the code first whether anybody listens there, and
        // the thread of another test has nobody who does; with two, it asks both.
        let second = Dispatch::new(NoSubscriber::default());
        Self { written, _guard: dispatcher::set_default(&first), _second: second }
    }

    /// What was said so far.
    pub(crate) fn text(&self) -> String {
        let bytes = self.written.0.lock().expect("nobody panics with it");
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("nobody panics with it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
