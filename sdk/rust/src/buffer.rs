use alloc::alloc::{alloc_zeroed, dealloc, handle_alloc_error, Layout};
use core::marker::PhantomData;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

use crate::raw;

/// Types of which every pattern of bits is a value, zero among them.
///
/// # Safety
/// Only for such types.
pub unsafe trait Plain: Copy {}
unsafe impl Plain for u8 {}
unsafe impl Plain for u16 {}
unsafe impl Plain for i32 {}
unsafe impl Plain for u32 {}
unsafe impl Plain for f32 {}

/// Elements, zero at first, at an address that every device uses in place. A slice otherwise.
pub struct Buffer<T: Plain> {
    data: NonNull<T>,
    len: usize,
    bytes: usize,
    own: PhantomData<T>,
}

unsafe impl<T: Plain + Send> Send for Buffer<T> {}
unsafe impl<T: Plain + Sync> Sync for Buffer<T> {}

impl<T: Plain> Buffer<T> {
    pub fn new(len: usize) -> Self {
        let bytes = len.checked_mul(core::mem::size_of::<T>()).expect("a buffer's size").max(1);
        let layout = Self::layout(bytes);
        let data = unsafe { alloc_zeroed(layout) }.cast::<T>();
        let data = NonNull::new(data).unwrap_or_else(|| handle_alloc_error(layout));
        Self { data, len, bytes, own: PhantomData }
    }

    fn layout(bytes: usize) -> Layout {
        Layout::from_size_align(bytes, raw::DW_TENSOR_ALIGN as usize).expect("a buffer's size")
    }

    /// Forgets the elements from `len` on.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }
}

impl<T: Plain> From<&[T]> for Buffer<T> {
    fn from(from: &[T]) -> Self {
        let mut buffer = Self::new(from.len());
        buffer.copy_from_slice(from);
        buffer
    }
}

impl<T: Plain> Drop for Buffer<T> {
    fn drop(&mut self) {
        unsafe { dealloc(self.data.as_ptr().cast(), Self::layout(self.bytes)) }
    }
}

impl<T: Plain> Deref for Buffer<T> {
    type Target = [T];
    fn deref(&self) -> &[T] {
        unsafe { core::slice::from_raw_parts(self.data.as_ptr(), self.len) }
    }
}

impl<T: Plain> DerefMut for Buffer<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        unsafe { core::slice::from_raw_parts_mut(self.data.as_ptr(), self.len) }
    }
}

impl<T: Plain> Clone for Buffer<T> {
    fn clone(&self) -> Self {
        Self::from(&self[..])
    }
}

impl<T: Plain + core::fmt::Debug> core::fmt::Debug for Buffer<T> {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        (**self).fmt(f)
    }
}

/// Tokens where every device reads them: as they are, or a copy.
pub(crate) enum Aligned<'a> {
    There(&'a [i32]),
    Copy(Buffer<i32>),
}

impl<'a> Aligned<'a> {
    pub(crate) fn of(tokens: &'a [i32]) -> Self {
        if tokens.as_ptr() as usize % raw::DW_TENSOR_ALIGN as usize == 0 {
            Self::There(tokens)
        } else {
            Self::Copy(Buffer::from(tokens))
        }
    }

    pub(crate) fn as_ptr(&self) -> *const i32 {
        match self {
            Self::There(tokens) => tokens.as_ptr(),
            Self::Copy(tokens) => tokens.as_ptr(),
        }
    }

    pub(crate) fn count(&self) -> u32 {
        match self {
            Self::There(tokens) => tokens.len() as u32,
            Self::Copy(tokens) => tokens.len() as u32,
        }
    }
}
