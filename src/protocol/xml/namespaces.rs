//! The namespace prefixes in scope while an element is scanned (Namespaces in XML 1.0).

use std::borrow::Cow;

use crate::protocol::xml::error::Error;
use crate::protocol::xml::names::Name;
use crate::protocol::xml::references;

/// The prefixes that are declared where the scanner stands.
#[derive(Debug, Default)]
pub(super) struct Scopes<'a> {
    declared: Vec<Declared<'a>>,
}

#[derive(Debug)]
struct Declared<'a> {
    prefix: &'a [u8],
    namespace: Cow<'a, str>,
    identity: Identity,
    depth: usize,
}

/// Which namespace it is: equal for two prefixes in scope exactly when they are bound to the same one.
///
/// Comparing the names themselves for each pair of attributes would let a browser buy much work with few bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(usize);

impl<'a> Scopes<'a> {
    /// Declares `prefix` for the element at `depth`; an empty prefix is the default namespace.
    ///
    /// # Errors
    /// [`Error::Namespace`] for what Namespaces in XML forbids, [`Error::Prefixes`] when more than `limit` are in scope.
    pub(super) fn declare(
        &mut self,
        prefix: &'a [u8],
        raw: &'a [u8],
        depth: usize,
        limit: u16,
    ) -> Result<(), Error> {
        let namespace = references::value(raw)?;
        let is_xml = namespace == XML;
        // Control characters can only come from references; servers use them as separators inside their parsers.
        let forbidden = namespace == XMLNS || namespace.contains(|character| character < ' ');
        if forbidden || is_xml != (prefix == b"xml") || prefix == b"xmlns" {
            return Err(Error::Namespace);
        }
        if prefix.is_empty() || is_xml {
            return Ok(());
        }
        if namespace.is_empty() {
            return Err(Error::Namespace);
        }
        if self.declared.len() >= usize::from(limit) {
            return Err(Error::Prefixes);
        }
        // Scopes end in the order opposite to their beginning, so the place of the first of equal names stays taken
        // for as long as one of them is in scope.
        let place = self.declared.iter().position(|other| other.namespace == namespace);
        let identity = Identity(place.unwrap_or(self.declared.len()));
        self.declared.push(Declared { prefix, namespace, identity, depth });
        Ok(())
    }

    /// The namespace that `name`'s prefix is bound to; `name` has one.
    ///
    /// # Errors
    /// [`Error::Undeclared`].
    pub(super) fn resolve(&self, name: &Name<'a>) -> Result<Identity, Error> {
        if name.prefix == b"xml" {
            return Ok(Identity(usize::MAX));
        }
        let bound = self.declared.iter().rev().find(|declared| declared.prefix == name.prefix);
        bound.map(|declared| declared.identity).ok_or(Error::Undeclared)
    }

    /// Forgets what the element at `depth` declared.
    #[inline]
    pub(super) fn leave(&mut self, depth: usize) {
        while self.declared.last().is_some_and(|declared| declared.depth >= depth) {
            self.declared.pop();
        }
    }
}

/// The namespace of the prefix `xml`, which nobody needs to declare.
pub(super) const XML: &str = "http://www.w3.org/XML/1998/namespace";

/// The namespace of declarations, which nobody may declare.
const XMLNS: &str = "http://www.w3.org/2000/xmlns/";
