//! What actors ask for. An actor is a `cdylib` that says what it does with a message:
//!
//! ```no_run
//! driftwood::actor!(|message: Vec<u8>| -> Result<(), driftwood::Error> {
//!     driftwood::actor::reply(&message)
//! });
//! ```
//!
//! Statics keep their values between messages; the host saves them with the memory.

use alloc::string::String;
use alloc::vec::Vec;

use crate::{check, growing, raw, status, text_of, Buffer, Error, Result};

/// Exports `driftwood_receive`, which reads the message and hands it to the function. An error is
/// told on standard error, and the sender gets its code.
#[macro_export]
macro_rules! actor {
    ($receive:expr) => {
        #[no_mangle]
        pub extern "C" fn driftwood_receive() -> i32 {
            $crate::actor::receive($receive)
        }
    };
}

#[doc(hidden)]
pub fn receive(act: impl FnOnce(Vec<u8>) -> Result<()>) -> i32 {
    let done = match crate::input() {
        Ok(message) => act(message.unwrap_or_default()),
        Err(error) => Err(error),
    };
    match done {
        Ok(()) => 0,
        Err(error) => {
            #[cfg(feature = "std")]
            std::eprintln!("{error}");
            error.code.min(-1)
        }
    }
}

fn id_of(write: impl FnMut(*mut u8, u32) -> i32) -> Result<String> {
    growing(64, false, write).map(text_of)
}

/// This actor's id.
pub fn id() -> Result<String> {
    id_of(|to, room| unsafe { raw::actor_id(to, room) })
}

/// Who sent the message: an actor's id, this one's own for timers, "" for outside.
pub fn message_from() -> Result<String> {
    id_of(|to, room| unsafe { raw::message_from(to, room) })
}

/// The next piece of the answer.
pub fn reply(bytes: &[u8]) -> Result<()> {
    status(unsafe { raw::reply(bytes.as_ptr(), bytes.len() as u32) })
}

/// The message is answered later: the ticket for [`reply_to`].
pub fn reply_later() -> Result<i64> {
    let ticket = unsafe { raw::reply_later() };
    if ticket < 0 {
        return Err(Error::last(ticket as i32));
    }
    Ok(ticket)
}

/// The next piece of the answer that a ticket is for; `last`: it is whole.
pub fn reply_to(ticket: i64, bytes: &[u8], last: bool) -> Result<()> {
    let flags = if last { raw::DW_REPLY_LAST as u32 } else { 0 };
    status(unsafe { raw::reply_to(ticket, bytes.as_ptr(), bytes.len() as u32, flags) })
}

/// To an actor by its id, in a runtime also "@NAME" and "#GROUP".
pub fn send(to: &str, message: &[u8]) -> Result<()> {
    status(unsafe {
        let (bytes, count) = (message.as_ptr(), message.len() as u32);
        raw::actor_send(to.as_ptr(), to.len() as u32, bytes, count)
    })
}

/// What the message is: `raw::DW_MESSAGE_PLAIN`, or `raw::DW_MESSAGE_WATCH`, the host's word about
/// an actor that is watched.
pub fn message_kind() -> Result<i32> {
    check(unsafe { raw::message_kind() })
}

/// A message once that actor has ended or could not be made; `events`, `raw::DW_WATCH_ON_*`: also
/// when that happens.
pub fn watch(whom: &str, events: u32) -> Result<()> {
    status(unsafe { raw::actor_watch(whom.as_ptr(), whom.len() as u32, events) })
}

pub fn unwatch(whom: &str) -> Result<()> {
    status(unsafe { raw::actor_unwatch(whom.as_ptr(), whom.len() as u32) })
}

/// The result of a call that writes an id and returns a status.
fn new_id(write: impl FnOnce(*mut u8, u32) -> i32) -> Result<String> {
    let mut id = [0u8; 64];
    check(write(id.as_mut_ptr(), id.len() as u32))?;
    let length = id.iter().position(|&byte| byte == 0).unwrap_or(id.len());
    Ok(String::from_utf8_lossy(&id[..length]).into_owned())
}

/// A new actor of the guest with this name ("": of this one's module), and its first message: its
/// id.
pub fn spawn(guest: &str, message: &[u8]) -> Result<String> {
    new_id(|to, room| unsafe {
        let (bytes, count) = (message.as_ptr(), message.len() as u32);
        raw::actor_spawn(guest.as_ptr(), guest.len() as u32, bytes, count, to, room)
    })
}

/// A copy of this actor as it is after this message, and its first message: its id.
pub fn fork(message: &[u8]) -> Result<String> {
    new_id(|to, room| unsafe {
        raw::actor_fork(message.as_ptr(), message.len() as u32, to, room)
    })
}

/// Sends this actor `message` in `wait_ms` milliseconds.
pub fn timer(wait_ms: u64, message: &[u8]) -> Result<()> {
    status(unsafe { raw::actor_timer(wait_ms, message.as_ptr(), message.len() as u32) })
}

/// Into a group of its tenant's.
pub fn join(group: &str) -> Result<()> {
    status(unsafe { raw::group_join(group.as_ptr(), group.len() as u32) })
}

pub fn leave(group: &str) -> Result<()> {
    status(unsafe { raw::group_leave(group.as_ptr(), group.len() as u32) })
}

/// Ends this actor for good, after the message.
pub fn stop() -> Result<()> {
    status(unsafe { raw::actor_stop() })
}

/// In `driftwood_state`: appends to what is handed over to another module.
pub fn give_state(bytes: &[u8]) -> Result<()> {
    status(unsafe { raw::state_give(bytes.as_ptr(), bytes.len() as u32) })
}

/// In `driftwood_upgrade`: all that the module before handed over.
pub fn take_state() -> Result<Vec<u8>> {
    let bytes = unsafe { raw::state_bytes() };
    if bytes < 0 {
        return Err(Error::last(bytes as i32));
    }
    let mut all = Buffer::<u8>::new(bytes as usize);
    let mut taken = 0;
    while taken < all.len() {
        let rest = &mut all[taken..];
        let more = check(unsafe { raw::state_take(rest.as_mut_ptr(), rest.len() as u32) })?;
        if more == 0 {
            break;
        }
        taken += more as usize;
    }
    Ok(all[..taken].to_vec())
}

/// In `driftwood_upgrade`: a model, context or sampler of the module before stays open; hand the
/// number to `from_handle`.
pub fn keep(handle: i32) -> Result<()> {
    status(unsafe { raw::handle_keep(handle) })
}
