use alloc::ffi::CString;
use alloc::string::String;
use alloc::vec::Vec;
use core::mem::MaybeUninit;

use crate::buffer::Aligned;
use crate::{check, growing, raw, status, text_of, Buffer, Error, ModelInfo, Result};

/// A granted model.
#[derive(Debug)]
pub struct Model {
    handle: i32,
    info: ModelInfo,
}

/// A message for [`Model::chat_template`].
#[derive(Clone, Copy, Debug)]
pub struct Message<'a> {
    pub role: &'a str,
    pub content: &'a str,
}

/// How one embedding is made of all tokens' hidden states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// As the model's file says.
    Model = raw::DW_POOLING_MODEL as isize,
    /// A row for each token.
    None = raw::DW_POOLING_NONE as isize,
    Mean = raw::DW_POOLING_MEAN as isize,
    First = raw::DW_POOLING_FIRST as isize,
    Last = raw::DW_POOLING_LAST as isize,
}

impl Drop for Model {
    fn drop(&mut self) {
        unsafe { raw::model_close(self.handle) };
    }
}

impl Model {
    /// By a granted name; "": the first.
    pub fn open(name: &str) -> Result<Self> {
        let handle = check(unsafe { raw::model_open(name.as_ptr(), name.len() as u32) })?;
        Self::from_handle(handle)
    }

    /// How many models were granted.
    pub fn count() -> u32 {
        unsafe { raw::model_count() }.max(0) as u32
    }

    /// The name that opens the granted model of this index.
    pub fn name(index: u32) -> Result<String> {
        growing(256, false, |to, room| unsafe { raw::model_name(index, to, room) }).map(text_of)
    }

    /// How many LoRA adapters the host has loaded for it.
    pub fn lora_count(&self) -> u32 {
        unsafe { raw::lora_count(self.handle) }.max(0) as u32
    }

    /// The name of the adapter of this index.
    pub fn lora_name(&self, index: u32) -> Result<String> {
        growing(256, false, |to, room| unsafe { raw::lora_name(self.handle, index, to, room) })
            .map(text_of)
    }

    /// Of a handle that the caller owns, such as one that was kept over an upgrade.
    pub fn from_handle(handle: i32) -> Result<Self> {
        let mut info = MaybeUninit::<ModelInfo>::zeroed();
        status(unsafe { raw::model_info(handle, info.as_mut_ptr()) })?;
        Ok(Self { handle, info: unsafe { info.assume_init() } })
    }

    /// The number the host knows it by.
    pub fn handle(&self) -> i32 {
        self.handle
    }

    pub fn info(&self) -> &ModelInfo {
        &self.info
    }

    /// The tokens of a text, BOS in front where the model wants it.
    pub fn tokenize(&self, text: &str) -> Result<Buffer<i32>> {
        self.tokenize_with(text, raw::DW_TOKENIZE_SPECIAL)
    }

    /// `flags`: `raw::DW_TOKENIZE_...`.
    pub fn tokenize_with(&self, text: &str, flags: i32) -> Result<Buffer<i32>> {
        growing(text.len() + 16, true, |to, room| unsafe {
            let bytes = text.len() as u32;
            raw::tokenize(self.handle, text.as_ptr(), bytes, to, room, flags as u32)
        })
    }

    /// The bytes of tokens, which may begin or end within a character. `flags`:
    /// `raw::DW_DETOKENIZE_SPECIAL` or 0.
    pub fn detokenize_bytes(&self, tokens: &[i32], flags: i32) -> Result<Vec<u8>> {
        growing(tokens.len() * 16 + 16, false, |to, room| unsafe {
            let count = tokens.len() as u32;
            raw::detokenize(self.handle, tokens.as_ptr(), count, to, room, flags as u32)
        })
        .map(|bytes| bytes.to_vec())
    }

    /// The text of tokens.
    pub fn detokenize(&self, tokens: &[i32]) -> Result<String> {
        let bytes = self.detokenize_bytes(tokens, 0)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Whether a generation ends at this token.
    pub fn is_end(&self, token: i32) -> bool {
        unsafe { raw::token_is_end(self.handle, token) == 1 }
    }

    /// Messages as the model's own template has them. Texts without NUL.
    pub fn chat_template(&self, messages: &[Message], open_answer: bool) -> Result<String> {
        let terminated = |text: &str| {
            CString::new(text)
                .map_err(|_| Error::new(raw::DW_E_ARG, "a zero byte in a message: this is no text"))
        };
        let mut texts = Vec::new();
        for message in messages {
            texts.push((terminated(message.role)?, terminated(message.content)?));
        }
        let list: Vec<raw::Message> = texts
            .iter()
            .map(|(role, content)| raw::Message {
                role: role.as_ptr().cast(),
                content: content.as_ptr().cast(),
            })
            .collect();
        growing(4096, false, |to, room| unsafe {
            let count = list.len() as u32;
            raw::chat_template(self.handle, list.as_ptr(), count, open_answer as i32, to, room)
        })
        .map(text_of)
    }

    /// A request (JSON) as the model reads it.
    pub fn chat_render(&self, request: &str) -> Result<String> {
        growing(4096, true, |to, room| unsafe {
            raw::chat_render(self.handle, request.as_ptr(), request.len() as u32, to, room)
        })
        .map(text_of)
    }

    /// The tokens of that text from its byte `skip` on.
    pub fn chat_tokenize(&self, request: &str, skip: u32) -> Result<Buffer<i32>> {
        growing(1024, true, |to, room| unsafe {
            raw::chat_tokenize(self.handle, request.as_ptr(), request.len() as u32, skip, to, room)
        })
    }

    /// The model's answer, with its special tokens, as a message of JSON. `partial`: it goes on.
    pub fn chat_parse(&self, request: &str, answer: &[u8], partial: bool) -> Result<String> {
        let flags = if partial { raw::DW_CHAT_PARTIAL as u32 } else { 0 };
        growing(answer.len() + 1024, true, |to, room| unsafe {
            let (bytes, answer_bytes) = (request.len() as u32, answer.len() as u32);
            let (request, answer) = (request.as_ptr(), answer.as_ptr());
            raw::chat_parse(self.handle, request, bytes, answer, answer_bytes, flags, to, room)
        })
        .map(text_of)
    }

    /// How answers to the request are written, as JSON.
    pub fn chat_info(&self, request: &str) -> Result<String> {
        growing(4096, true, |to, room| unsafe {
            raw::chat_info(self.handle, request.as_ptr(), request.len() as u32, to, room)
        })
        .map(text_of)
    }

    /// A text's embedding, of length 1: `embedding_length` floats, with [`Pooling::None`] for each
    /// token.
    pub fn embed(&self, tokens: &[i32], pooling: Pooling) -> Result<Buffer<f32>> {
        let rows = if pooling == Pooling::None { tokens.len() } else { 1 };
        let mut out = Buffer::new(rows * self.info.embedding_length as usize);
        self.embed_into(tokens, pooling, raw::DW_EMBED_NORMALIZE, &mut out)?;
        Ok(out)
    }

    /// The same into memory of the caller's. `flags`: `raw::DW_EMBED_NORMALIZE` or 0.
    pub fn embed_into(
        &self,
        tokens: &[i32],
        pooling: Pooling,
        flags: i32,
        out: &mut [f32],
    ) -> Result<()> {
        let rows = if pooling == Pooling::None { tokens.len() } else { 1 };
        room_for(out, rows * self.info.embedding_length as usize)?;
        let tokens = Aligned::of(tokens);
        status(unsafe {
            let (list, count) = (tokens.as_ptr(), tokens.count());
            raw::embed(self.handle, list, count, pooling as i32, flags as u32, out.as_mut_ptr())
        })
    }

    /// Rows of the model's table, `embedding_length` floats for each token.
    pub fn token_embeddings(&self, tokens: &[i32]) -> Result<Buffer<f32>> {
        let mut out = Buffer::new(tokens.len() * self.info.embedding_length as usize);
        let tokens = Aligned::of(tokens);
        check(unsafe {
            let (list, count) = (tokens.as_ptr(), tokens.count());
            raw::token_embeddings(self.handle, list, count, out.as_mut_ptr())
        })?;
        Ok(out)
    }

    /// The likeliest token of a row of logits.
    pub fn greedy(&self, logits: &[f32]) -> Result<i32> {
        room_for(logits, self.info.vocab_count as usize)?;
        check(unsafe { raw::greedy(self.handle, logits.as_ptr()) })
    }
}

/// What the host reads or writes lies within the slice.
pub(crate) fn room_for(slice: &[f32], needed: usize) -> Result<()> {
    if slice.len() < needed {
        return Err(Error::new(
            raw::DW_E_RANGE,
            alloc::format!("room for {} floats, {needed} are needed", slice.len()),
        ));
    }
    Ok(())
}
