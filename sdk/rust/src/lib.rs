//! Driftwood's guest API: handles that close when they are dropped, [`Result`]s, and memory that
//! devices use in place. For `wasm32-wasip1`, and without `std` (feature off) for any wasm32
//! target.
//!
//! ```no_run
//! # fn main() -> Result<(), driftwood::Error> {
//! let model = driftwood::Model::open("")?;
//! let mut chat = driftwood::Chat::new(&model);
//! chat.add("user", "Name a sea.");
//! chat.answer(64, |text| driftwood::print(text))?;
//! # Ok(()) }
//! ```
//!
//! Every function of the ABI is described in docs/guest-abi.md; [`raw`] has them as they are.
#![cfg_attr(not(feature = "std"), no_std)]

extern crate alloc;

pub mod actor;
mod buffer;
mod chat;
mod context;
mod error;
mod graph;
pub mod json;
mod model;
pub mod raw;
mod sampler;

use alloc::string::String;
use alloc::vec::Vec;

pub use buffer::{Buffer, Plain};
pub use chat::{Chat, TextStream};
pub use context::{forward_many, Context, Generation, Request, Step, Top, Tree, Why};
pub use error::{Error, Result};
pub use graph::{Graph, Tensor};
pub use model::{Message, Model, Pooling};
pub use raw::{ModelInfo, OpParams, Shape};
pub use sampler::{Params, Sampler};

pub(crate) use error::{check, status};

/// What `write(room, capacity)` gives, with as much room as it turns out to take. `told`: it leaves
/// the number needed in the first four bytes where the room is too small.
pub(crate) fn growing<T: Plain>(
    room: usize,
    told: bool,
    mut write: impl FnMut(*mut T, u32) -> i32,
) -> Result<Buffer<T>> {
    let mut out = Buffer::<T>::new(room.max(4));
    loop {
        let result = write(out.as_mut_ptr(), out.len() as u32);
        if result >= 0 {
            out.truncate(result as usize);
            return Ok(out);
        }
        if result != raw::DW_E_SPACE || out.len() > 1 << 28 {
            return Err(Error::last(result));
        }
        let needed = unsafe { out.as_ptr().cast::<u32>().read() };
        out = Buffer::new(if told { needed as usize } else { 2 * out.len() });
    }
}

pub(crate) fn text_of(bytes: Buffer<u8>) -> String {
    String::from_utf8_lossy(&bytes).into_owned()
}

/// The version of the guest ABI that the host has.
pub fn abi_version() -> i32 {
    unsafe { raw::abi_version() }
}

/// Nanoseconds of a monotonic clock.
pub fn clock_ns() -> u64 {
    unsafe { raw::clock_ns() }
}

/// Payload bytes that were copied between this guest's memory and the device: 0 where the device
/// computes on it.
pub fn host_copied_bytes() -> u64 {
    unsafe { raw::host_copied_bytes() }
}

/// The device's name.
pub fn device_name() -> Result<String> {
    growing(256, false, |to, room| unsafe { raw::device_name(to, room) }).map(text_of)
}

/// The next message from outside, [`None`] where there are no more.
pub fn input() -> Result<Option<Vec<u8>>> {
    match growing(4096, false, |to, room| unsafe { raw::input(to, room) }) {
        Ok(bytes) => Ok(Some(bytes.to_vec())),
        Err(error) if error.code == raw::DW_E_END => Ok(None),
        Err(error) => Err(error),
    }
}

/// Calls a granted tool of the host's and waits for its answer.
pub fn call(name: &str, request: &[u8]) -> Result<Vec<u8>> {
    let mut answer = Buffer::<u8>::new(4096);
    let result = unsafe {
        raw::call(
            name.as_ptr(),
            name.len() as u32,
            request.as_ptr(),
            request.len() as u32,
            answer.as_mut_ptr(),
            answer.len() as u32,
        )
    };
    if result != raw::DW_E_SPACE {
        answer.truncate(check(result)? as usize);
        return Ok(answer.to_vec());
    }
    growing(1 << 16, false, |to, room| unsafe { raw::call_answer(to, room) })
        .map(|bytes| bytes.to_vec())
}

/// Writes text to standard output, at once.
#[cfg(feature = "std")]
pub fn print(text: &str) {
    use std::io::Write;
    let mut out = std::io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// Writes text to standard output, at once.
#[cfg(not(feature = "std"))]
pub fn print(text: &str) {
    #[repr(C)]
    struct Piece {
        from: *const u8,
        bytes: usize,
    }
    #[link(wasm_import_module = "wasi_snapshot_preview1")]
    extern "C" {
        fn fd_write(fd: i32, pieces: *const Piece, count: usize, written: *mut usize) -> i32;
    }
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let piece = Piece { from: rest.as_ptr(), bytes: rest.len() };
        let mut written = 0;
        if unsafe { fd_write(1, &piece, 1, &mut written) } != 0 || written == 0 {
            return;
        }
        rest = &rest[written..];
    }
}
