use alloc::ffi::CString;
use alloc::vec::Vec;

use crate::model::room_for;
use crate::{check, raw, status, Error, Model, Result};

/// How a sampler chooses: `Params::default()` is greedy, and zero turns each setting off.
#[derive(Clone, Copy, Debug)]
pub struct Params(pub raw::SamplerParams);

impl Default for Params {
    fn default() -> Self {
        let mut params: raw::SamplerParams = unsafe { core::mem::zeroed() };
        params.struct_bytes = core::mem::size_of::<raw::SamplerParams>() as u32;
        Self(params)
    }
}

impl Params {
    pub fn temperature(temperature: f32, seed: u64) -> Self {
        let mut params = Self::default();
        params.0.temperature = temperature;
        params.0.seed = seed;
        params
    }
}

/// Chooses tokens, and remembers them.
#[derive(Debug)]
pub struct Sampler {
    handle: i32,
    vocab_count: usize,
}

impl Drop for Sampler {
    fn drop(&mut self) {
        unsafe { raw::sampler_close(self.handle) };
    }
}

impl Sampler {
    pub fn new(model: &Model, params: Params) -> Result<Self> {
        let handle = check(unsafe { raw::sampler_create(model.handle(), &params.0) })?;
        Ok(Self::from_handle(handle, model))
    }

    /// Of a handle that the caller owns, such as one that was kept over an upgrade.
    pub fn from_handle(handle: i32, model: &Model) -> Self {
        Self { handle, vocab_count: model.info().vocab_count as usize }
    }

    pub fn handle(&self) -> i32 {
        self.handle
    }

    /// Replaces what is added to the logits: (token, bias).
    pub fn logit_bias(&mut self, biases: &[(i32, f32)]) -> Result<()> {
        let list: Vec<raw::LogitBias> =
            biases.iter().map(|&(token, bias)| raw::LogitBias { token, bias }).collect();
        let count = list.len() as u32;
        status(unsafe { raw::sampler_logit_bias(self.handle, list.as_ptr(), count) })
    }

    /// Replaces the texts at which DRY stops looking back.
    pub fn dry_breakers(&mut self, model: &Model, breakers: &[&str]) -> Result<()> {
        let mut texts = Vec::new();
        for breaker in breakers {
            texts.push(
                CString::new(*breaker)
                    .map_err(|_| Error::new(raw::DW_E_ARG, "a zero byte in a breaker"))?,
            );
        }
        let list: Vec<*const u8> = texts.iter().map(|text| text.as_ptr().cast()).collect();
        let count = list.len() as u32;
        status(unsafe {
            raw::sampler_dry_breakers(self.handle, model.handle(), list.as_ptr(), count)
        })
    }

    /// Chooses only what the grammar (GBNF) allows from now on; "": anything.
    pub fn grammar(&mut self, model: &Model, text: &str) -> Result<()> {
        let bytes = text.len() as u32;
        status(unsafe { raw::sampler_grammar(self.handle, model.handle(), text.as_ptr(), bytes) })
    }

    /// Chooses only JSON that is valid against the schema.
    pub fn json_schema(&mut self, model: &Model, schema: &str) -> Result<()> {
        let bytes = schema.len() as u32;
        status(unsafe {
            raw::sampler_json_schema(self.handle, model.handle(), schema.as_ptr(), bytes)
        })
    }

    /// Holds tool calls, or the answer, to the request's schemas: whether it asks for that.
    pub fn chat(&mut self, model: &Model, request: &str) -> Result<bool> {
        let bytes = request.len() as u32;
        let result =
            unsafe { raw::sampler_chat(self.handle, model.handle(), request.as_ptr(), bytes) };
        Ok(check(result)? == 1)
    }

    /// Minus infinity where the grammar does not allow a token.
    pub fn mask(&mut self, logits: &mut [f32]) -> Result<()> {
        room_for(logits, self.vocab_count)?;
        status(unsafe { raw::sampler_mask(self.handle, logits.as_mut_ptr()) })
    }

    /// A copy; with `seed` 0 it draws as this one would.
    pub fn fork(&self, seed: u64) -> Result<Self> {
        let handle = check(unsafe { raw::sampler_fork(self.handle, seed) })?;
        Ok(Self { handle, vocab_count: self.vocab_count })
    }

    /// Chooses a token of a row of logits.
    pub fn sample(&mut self, logits: &[f32]) -> Result<i32> {
        room_for(logits, self.vocab_count)?;
        check(unsafe { raw::sample(self.handle, logits.as_ptr()) })
    }

    /// Remembers a token that was not chosen here.
    pub fn accept(&mut self, token: i32) -> Result<()> {
        status(unsafe { raw::sampler_accept(self.handle, token) })
    }
}
