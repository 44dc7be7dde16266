use alloc::string::String;
use alloc::vec::Vec;
use core::str;

use crate::{json, raw, Buffer, Context, Model, Params, Request, Result, Sampler};

/// Text that comes token by token, given out in whole characters.
#[derive(Debug, Default)]
pub struct TextStream {
    held: Vec<u8>,
}

impl TextStream {
    /// The token's text, as far as its characters are whole.
    pub fn put(&mut self, model: &Model, token: i32) -> Result<String> {
        self.held.extend(model.detokenize_bytes(&[token], 0)?);
        let whole = match str::from_utf8(&self.held) {
            Ok(_) => self.held.len(),
            // Bytes that no character begins with are given out as U+FFFD; only the end may go on.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => self.held.len(),
        };
        let rest = self.held.split_off(whole);
        let text = String::from_utf8_lossy(&self.held).into_owned();
        self.held = rest;
        Ok(text)
    }
}

/// A conversation whose context keeps what it has computed: an answer costs the tokens that are
/// new. For models with a chat template.
pub struct Chat<'m> {
    model: &'m Model,
    params: Params,
    options: String,
    messages: String,
    context: Option<Context>,
    held: Vec<i32>,
}

impl<'m> Chat<'m> {
    pub fn new(model: &'m Model) -> Self {
        Self::with(model, Params::default(), "")
    }

    /// `options`: further members of the requests, such as `"tools":[...],"tool_choice":"auto"`.
    pub fn with(model: &'m Model, params: Params, options: &str) -> Self {
        Self {
            model,
            params,
            options: options.into(),
            messages: String::new(),
            context: None,
            held: Vec::new(),
        }
    }

    pub fn set_options(&mut self, options: &str) {
        self.options = options.into();
    }

    pub fn add(&mut self, role: &str, content: &str) {
        let (role, content) = (json::quote(role), json::quote(content));
        self.add_json(&alloc::format!("{{\"role\":{role},\"content\":{content}}}"));
    }

    /// A message as an object of JSON.
    pub fn add_json(&mut self, message: &str) {
        if !self.messages.is_empty() {
            self.messages.push(',');
        }
        self.messages.push_str(message);
    }

    fn request(&self) -> String {
        let comma = if self.options.is_empty() { "" } else { "," };
        alloc::format!("{{\"messages\":[{}]{comma}{}}}", self.messages, self.options)
    }

    /// Has the model answer, gives its text to `out` as it comes, and adds the answer to the
    /// conversation. The answer as JSON: `role`, `content`, `tool_calls` if there are some.
    pub fn answer(&mut self, tokens_max: u32, mut out: impl FnMut(&str)) -> Result<String> {
        let request = self.request();
        let tokens = self.model.chat_tokenize(&request, 0)?;
        let mut sampler = Sampler::new(self.model, self.params)?;
        for &token in tokens.iter() {
            sampler.accept(token)?;
        }
        sampler.chat(self.model, &request)?;
        let context = match &mut self.context {
            Some(context) => context,
            none => none.insert(Context::new(self.model, 0)?),
        };
        let same = self.held.iter().zip(&tokens[..tokens.len() - 1]);
        let same = same.take_while(|(held, token)| held == token).count();
        context.trim(same as u32)?;
        self.held.truncate(same);
        let fresh = Buffer::from(&tokens[same..]);
        let mut speech = context.generate(&mut sampler, &fresh, Request::new(tokens_max))?;
        let mut said = Vec::new();
        let mut stream = TextStream::default();
        while let Some(token) = speech.next_token()? {
            said.extend(self.model.detokenize_bytes(&[token], raw::DW_DETOKENIZE_SPECIAL)?);
            let text = stream.put(self.model, token)?;
            if !text.is_empty() {
                out(&text);
            }
        }
        self.held.extend_from_slice(&fresh);
        let chosen = speech.tokens();
        if !chosen.is_empty() {
            self.held.extend_from_slice(&chosen[..chosen.len() - 1]); // the last is not held
        }
        drop(speech);
        let message = self.model.chat_parse(&request, &said, false)?;
        self.add_json(&message);
        Ok(message)
    }
}
