//! An actor: a chat that keeps its context between messages.
//!   driftwood actor spawn --state state --guest ./actor.wasm > id
//!   driftwood actor send --state state $(cat id) "Name a sea."
use std::cell::RefCell;

use driftwood::{Chat, Model, Result};

thread_local! {
    // Made for the first message, saved with the actor's memory behind each.
    static CHAT: RefCell<Option<Chat<'static>>> = const { RefCell::new(None) };
}

driftwood::actor!(|message: Vec<u8>| -> Result<()> {
    CHAT.with_borrow_mut(|chat| {
        let chat = match chat {
            Some(chat) => chat,
            none => none.insert(Chat::new(Box::leak(Box::new(Model::open("")?)))),
        };
        chat.add("user", &String::from_utf8_lossy(&message));
        chat.answer(24, driftwood::print)?;
        println!();
        Ok(())
    })
});
