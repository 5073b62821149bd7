//! Which resources a visitor's browsers are bound to, so that no two sessions of his take one from each other for ever.
//!
//! A browser that duplicates a tab copies what the tab had stored, its resource among it. A server that binds a resource a second
//! time ends the first session (RFC 6120 §7.7.2.2), whose page comes back with the same wish and ends the second.

use std::sync::Arc;

use crate::session::roll::Entry;
use crate::session::roll::Present;
use crate::session::roll::Stay;
use crate::session::roll::Who;

impl Stay {
    /// Takes this resource for the session, unless another one of the visitor has it; whether it did.
    #[must_use]
    pub fn take_resource(&self, resource: &str) -> bool {
        let Some(who) = &self.visitor else { return true };
        self.roll.lock().take_resource(who, self.number, resource)
    }

    /// Notes the resource that the server has given.
    pub fn note_resource(&self, resource: &str) {
        if let Some(who) = &self.visitor {
            self.roll.lock().note_resource(who, self.number, resource);
        }
    }
}

impl Present {
    fn take_resource(&mut self, who: &Arc<Who>, number: u64, resource: &str) -> bool {
        let mut others = self.by_visitor.get(who).into_iter().flatten();
        let has_it =
            |entry: &Entry| entry.number != number && entry.resource.as_deref() == Some(resource);
        if others.any(has_it) {
            return false;
        }
        self.note_resource(who, number, resource);
        true
    }

    fn note_resource(&mut self, who: &Arc<Who>, number: u64, resource: &str) {
        let mut entries = self.by_visitor.get_mut(who).into_iter().flatten();
        if let Some(own) = entries.find(|entry| entry.number == number) {
            own.resource = Some(resource.into());
        }
    }
}
