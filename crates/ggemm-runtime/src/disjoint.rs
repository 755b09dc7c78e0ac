//! An output, written by many threads at once.

use std::marker::PhantomData;
use std::ops::Range;

/// A slice of which threads write parts that they never share.
pub(crate) struct DisjointRows<'a, T> {
    start: *mut T,
    len: usize,
    slice: PhantomData<&'a mut [T]>,
}

// SAFETY: it stands for a `&mut [T]`, and its only access is `get`, whose callers promise that no two live parts
// overlap; so to share it among threads is to send each its own `&mut T`s.
unsafe impl<T: Send> Sync for DisjointRows<'_, T> {}

impl<'a, T> DisjointRows<'a, T> {
    pub(crate) fn new(slice: &'a mut [T]) -> Self {
        DisjointRows { start: slice.as_mut_ptr(), len: slice.len(), slice: PhantomData }
    }

    /// The elements of `range`; none where the range passes the end.
    ///
    /// # Safety
    /// No element of `range` is in another part that is still in use.
    #[allow(clippy::mut_from_ref, reason = "callers keep the parts disjoint")]
    pub(crate) unsafe fn get(&self, range: Range<usize>) -> &mut [T] {
        if range.start >= range.end || range.end > self.len {
            return &mut [];
        }
        // SAFETY: the range lies within the slice that `self` borrows mutably, and by the caller's promise nobody else
        // refers to these elements.
        unsafe { std::slice::from_raw_parts_mut(self.start.add(range.start), range.len()) }
    }
}
