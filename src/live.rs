//! A value that is replaced as a whole while others go by it: each of them takes it once, and is not of two minds.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::RwLock;

/// What holds now, until something else does.
#[derive(Debug, Default)]
pub struct Live<T>(RwLock<Arc<T>>);

impl<T> Live<T> {
    /// Holds from the first.
    #[must_use]
    pub fn new(value: T) -> Self {
        Self(RwLock::new(Arc::new(value)))
    }

    /// What holds now; it stays what it is in the hands of who has taken it.
    #[must_use]
    pub fn now(&self) -> Arc<T> {
        // Nothing that can panic is done under the lock.
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// `value` holds from now on.
    pub fn replace(&self, value: T) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(value);
    }
}
