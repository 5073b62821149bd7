//! A stack of names that allocates only for unusual elements.

/// Names, the first 16 of them without an allocation.
#[derive(Debug)]
pub(super) struct Stack<'a> {
    near: [&'a [u8]; 16],
    /// All of them, once they are more than `near` can hold.
    far: Vec<&'a [u8]>,
    count: usize,
}

impl<'a> Stack<'a> {
    pub(super) const fn new() -> Self {
        Self { near: [b""; 16], far: Vec::new(), count: 0 }
    }

    #[inline]
    pub(super) fn push(&mut self, name: &'a [u8]) {
        if let (true, Some(place)) = (self.far.is_empty(), self.near.get_mut(self.count)) {
            *place = name;
        } else {
            if self.far.is_empty() {
                self.far.extend_from_slice(&self.near);
            }
            self.far.push(name);
        }
        self.count += 1;
    }

    #[inline]
    pub(super) fn pop(&mut self) -> Option<&'a [u8]> {
        let name = self.as_slice().last().copied()?;
        self.far.pop();
        self.count -= 1;
        Some(name)
    }

    #[inline]
    pub(super) fn as_slice(&self) -> &[&'a [u8]] {
        let all = if self.far.is_empty() { &self.near } else { self.far.as_slice() };
        all.get(..self.count).unwrap_or_default()
    }

    #[inline]
    pub(super) fn clear(&mut self) {
        self.far.clear();
        self.count = 0;
    }

    #[inline]
    pub(super) fn len(&self) -> usize {
        self.count
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }
}
