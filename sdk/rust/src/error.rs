use alloc::string::String;
use core::fmt;

use crate::raw;

/// A status below zero, and the host's words on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Error {
    /// One of `raw::DW_E_...`.
    pub code: i32,
    pub message: String,
}

pub type Result<T> = core::result::Result<T, Error>;

impl Error {
    pub(crate) fn last(code: i32) -> Self {
        let mut words = [0u8; 256];
        let length = unsafe { raw::last_error(words.as_mut_ptr(), words.len() as u32) };
        let length = length.clamp(0, words.len() as i32 - 1) as usize;
        Self { code, message: String::from_utf8_lossy(&words[..length]).into_owned() }
    }

    /// An error of a guest's own, which an actor's sender gets as it gets the host's.
    pub fn new(code: i32, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (status {})", self.message, self.code)
    }
}

impl core::error::Error for Error {}

pub(crate) fn check(result: i32) -> Result<i32> {
    if result < 0 {
        Err(Error::last(result))
    } else {
        Ok(result)
    }
}

pub(crate) fn status(result: i32) -> Result<()> {
    check(result).map(|_| ())
}
