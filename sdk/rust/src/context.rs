use alloc::boxed::Box;
use alloc::vec::Vec;
use core::ptr;

use crate::buffer::Aligned;
use crate::model::room_for;
use crate::{check, raw, status, Buffer, Error, Model, Result, Sampler};

/// Tokens, and what a model has computed of them.
#[derive(Debug)]
pub struct Context {
    handle: i32,
    vocab_count: usize,
    embedding_length: usize,
}

/// The likeliest tokens, the likeliest first, with their log probabilities.
#[derive(Clone, Debug)]
pub struct Top {
    pub tokens: Buffer<i32>,
    pub log_probabilities: Buffer<f32>,
}

impl Drop for Context {
    fn drop(&mut self) {
        // A generation that was forgotten has it still; its memory is leaked, and so stays.
        if unsafe { raw::context_close(self.handle) } == raw::DW_E_STATE {
            unsafe {
                raw::generate_end(self.handle);
                raw::context_close(self.handle);
            }
        }
    }
}

impl Context {
    /// `tokens_max` 0: as long as the model and this guest's limits allow.
    pub fn new(model: &Model, tokens_max: u32) -> Result<Self> {
        let handle = check(unsafe { raw::context_create(model.handle(), tokens_max) })?;
        Ok(Self::from_handle(handle, model))
    }

    /// What was saved under the name ([`Context::save`]), here or in another guest.
    pub fn open(model: &Model, name: &str, tokens_max: u32) -> Result<Self> {
        let (text, bytes) = (name.as_ptr(), name.len() as u32);
        let handle = check(unsafe { raw::context_open(model.handle(), text, bytes, tokens_max) })?;
        Ok(Self::from_handle(handle, model))
    }

    /// Under a name, in the place of what had it.
    pub fn save(&self, name: &str) -> Result<()> {
        status(unsafe { raw::context_save(self.handle, name.as_ptr(), name.len() as u32) })
    }

    /// Removes what was saved under the name; it needs the grant to save under it.
    pub fn remove(name: &str) -> Result<()> {
        status(unsafe { raw::context_remove(name.as_ptr(), name.len() as u32) })
    }

    /// Of a handle that the caller owns, such as one that was kept over an upgrade.
    pub fn from_handle(handle: i32, model: &Model) -> Self {
        Self {
            handle,
            vocab_count: model.info().vocab_count as usize,
            embedding_length: model.info().embedding_length as usize,
        }
    }

    pub fn handle(&self) -> i32 {
        self.handle
    }

    fn like(&self, handle: i32) -> Self {
        Self { handle, vocab_count: self.vocab_count, embedding_length: self.embedding_length }
    }

    /// A context that holds the same and is independent from now on; nothing is computed again.
    pub fn fork(&self) -> Result<Self> {
        Ok(self.like(check(unsafe { raw::context_fork(self.handle) })?))
    }

    /// Tokens held.
    pub fn length(&self) -> u32 {
        unsafe { raw::context_length(self.handle) }.max(0) as u32
    }

    /// Tokens it can hold.
    pub fn capacity(&self) -> u32 {
        unsafe { raw::context_capacity(self.handle) }.max(0) as u32
    }

    /// Forgets all tokens from `length` on.
    pub fn trim(&mut self, length: u32) -> Result<()> {
        status(unsafe { raw::context_trim(self.handle, length) })
    }

    /// Forgets tokens `keep..keep + drop` and moves the later ones forward: the new length.
    pub fn shift(&mut self, keep: u32, drop: u32) -> Result<u32> {
        check(unsafe { raw::context_shift(self.handle, keep, drop) }).map(|length| length as u32)
    }

    /// Holds its first `sink` tokens and at most `window` more from now on; 0 and 0: all.
    pub fn window(&mut self, sink: u32, window: u32) -> Result<()> {
        status(unsafe { raw::context_window(self.handle, sink, window) })
    }

    /// While it is empty: these adapters of its model, by index, each times its scale.
    pub fn set_loras(&mut self, loras: &[(u32, f32)]) -> Result<()> {
        let indices: Vec<u32> = loras.iter().map(|lora| lora.0).collect();
        let scales: Vec<f32> = loras.iter().map(|lora| lora.1).collect();
        let count = loras.len() as u32;
        status(unsafe {
            raw::context_set_loras(self.handle, indices.as_ptr(), scales.as_ptr(), count)
        })
    }

    /// The adapters that it has, by index, and their scales.
    pub fn loras(&self) -> Result<Vec<(u32, f32)>> {
        let mut indices = [0u32; raw::DW_LORAS_MAX as usize];
        let mut scales = [0f32; raw::DW_LORAS_MAX as usize];
        let count = check(unsafe {
            raw::context_loras(
                self.handle,
                indices.as_mut_ptr(),
                scales.as_mut_ptr(),
                raw::DW_LORAS_MAX as u32,
            )
        })?;
        Ok(indices.iter().copied().zip(scales).take(count as usize).collect())
    }

    /// Keeps rows of logits of the last `count` tokens from now on.
    pub fn keep_rows(&mut self, count: u32) -> Result<()> {
        status(unsafe { raw::context_rows(self.handle, count) })
    }

    /// The last token's row once more, where it is kept.
    pub fn logits(&self, row: &mut [f32]) -> Result<()> {
        room_for(row, self.vocab_count)?;
        status(unsafe { raw::context_logits(self.handle, row.as_mut_ptr()) })
    }

    /// Appends tokens and computes them.
    pub fn append(&mut self, tokens: &[i32]) -> Result<u32> {
        let tokens = Aligned::of(tokens);
        check(unsafe {
            raw::forward(self.handle, tokens.as_ptr(), tokens.count(), ptr::null_mut(), 0)
        })
        .map(|length| length as u32)
    }

    /// The same, and the last token's logits into `logits`, of which a whole number of rows (`vocab_count`
    /// floats) are for the last so many tokens.
    pub fn forward(&mut self, tokens: &[i32], logits: &mut [f32]) -> Result<u32> {
        room_for(logits, self.vocab_count)?;
        let rows = (logits.len() / self.vocab_count).min(tokens.len()) as u32;
        let tokens = Aligned::of(tokens);
        check(unsafe {
            let (list, count) = (tokens.as_ptr(), tokens.count());
            raw::forward(self.handle, list, count, logits.as_mut_ptr(), rows)
        })
        .map(|length| length as u32)
    }

    /// Likewise hidden states, rows of `embedding_length` floats.
    pub fn forward_hidden(&mut self, tokens: &[i32], hidden: &mut [f32]) -> Result<u32> {
        room_for(hidden, self.embedding_length)?;
        let rows = (hidden.len() / self.embedding_length).min(tokens.len()) as u32;
        let tokens = Aligned::of(tokens);
        check(unsafe {
            let (list, count) = (tokens.as_ptr(), tokens.count());
            raw::forward_hidden(self.handle, list, count, hidden.as_mut_ptr(), rows)
        })
        .map(|length| length as u32)
    }

    /// [`Context::forward`] of rows of floats in the place of tokens; `logits` may be empty.
    pub fn forward_embeddings(&mut self, embeddings: &[f32], logits: &mut [f32]) -> Result<u32> {
        let count = embeddings.len() / self.embedding_length;
        let rows = (logits.len() / self.vocab_count).min(count) as u32;
        let to = if rows > 0 { logits.as_mut_ptr() } else { ptr::null_mut() };
        let count = count as u32;
        check(unsafe {
            raw::forward_embeddings(self.handle, embeddings.as_ptr(), count, to, rows)
        })
        .map(|length| length as u32)
    }

    /// Computes a tree of tokens behind the context, which [`Context::keep`] appends a path of.
    pub fn forward_tree(&mut self, tree: &Tree, logits: &mut [f32]) -> Result<u32> {
        let tokens = Aligned::of(tree.tokens);
        let mut step: raw::ForwardTreeStep = unsafe { core::mem::zeroed() };
        let shape = Shape::of(tree, self)?;
        step.context = self.handle;
        step.tokens = tokens.as_ptr();
        step.token_count = tokens.count();
        step.parents = shape.raw.parents;
        step.positions = shape.raw.positions;
        step.mask = shape.raw.mask;
        step.row_count = (logits.len() / self.vocab_count).min(tree.tokens.len()) as u32;
        step.rows = if step.row_count > 0 { logits.as_mut_ptr() } else { ptr::null_mut() };
        check(unsafe { raw::forward_tree(&step) }).map(|length| length as u32)
    }

    /// Appends a path of the tree's tokens, and drops the rest: the new length.
    pub fn keep(&mut self, path: &[i32]) -> Result<u32> {
        check(unsafe { raw::context_keep(self.handle, path.as_ptr(), path.len() as u32) })
            .map(|length| length as u32)
    }

    /// Appends tokens: the `count` likeliest to follow.
    pub fn forward_top(&mut self, tokens: &[i32], count: u32) -> Result<Top> {
        let tokens = Aligned::of(tokens);
        let mut top = Top {
            tokens: Buffer::new(count as usize),
            log_probabilities: Buffer::new(count as usize),
        };
        check(unsafe {
            let (list, list_count) = (tokens.as_ptr(), tokens.count());
            let (to, chances) = (top.tokens.as_mut_ptr(), top.log_probabilities.as_mut_ptr());
            raw::forward_top(self.handle, list, list_count, to, chances, count)
        })?;
        Ok(top)
    }

    /// Appends tokens and chooses the next one, which is not appended.
    pub fn forward_sample(&mut self, tokens: &[i32], sampler: &mut Sampler) -> Result<i32> {
        let tokens = Aligned::of(tokens);
        check(unsafe {
            let (list, count) = (tokens.as_ptr(), tokens.count());
            raw::forward_sample(self.handle, list, count, sampler.handle())
        })
    }

    /// Lets the device generate by itself; context and sampler are taken until that has ended.
    pub fn generate<'a>(
        &'a mut self,
        sampler: &'a mut Sampler,
        prompt: &[i32],
        request: Request,
    ) -> Result<Generation<'a>> {
        Generation::begin(self, sampler, prompt, request)
    }
}

/// A tree of tokens for [`Context::forward_tree`].
#[derive(Clone, Copy, Debug, Default)]
pub struct Tree<'a> {
    pub tokens: &'a [i32],
    /// The earlier token that each hangs on, -1: the context's end. [`None`]: on the one before.
    pub parents: Option<&'a [i32]>,
    /// In the place of those that follow from the parents.
    pub positions: Option<&'a [i32]>,
    /// `[tokens][length + tokens]`, 1: it sees that token; in the place of what parents say.
    pub mask: Option<&'a [u8]>,
}

/// How a tree's tokens hang on one another, as the host reads it; and what keeps that where it lies.
struct Shape<'a> {
    raw: Box<raw::TreeShape>,
    _lists: [Option<Aligned<'a>>; 2],
}

impl<'a> Shape<'a> {
    fn of(tree: &Tree<'a>, context: &Context) -> Result<Self> {
        let count = tree.tokens.len();
        let lists = [tree.parents, tree.positions];
        let mask_bytes = || count * (context.length() as usize + count);
        if lists.iter().flatten().any(|list| list.len() != count)
            || tree.mask.is_some_and(|mask| mask.len() != mask_bytes())
        {
            let words = "a tree's lists are not as long as its tokens";
            return Err(Error::new(raw::DW_E_ARG, words));
        }
        let lists = lists.map(|list| list.map(Aligned::of));
        let raw = Box::new(raw::TreeShape {
            parents: lists[0].as_ref().map_or(ptr::null(), Aligned::as_ptr),
            positions: lists[1].as_ref().map_or(ptr::null(), Aligned::as_ptr),
            mask: tree.mask.map_or(ptr::null(), <[u8]>::as_ptr),
            reserved: 0,
        });
        Ok(Self { raw, _lists: lists })
    }
}

/// What [`Context::generate`] is asked for.
#[derive(Clone, Debug)]
pub struct Request<'a> {
    pub tokens_max: u32,
    pub stop_tokens: &'a [i32],
    pub stop_strings: &'a [&'a str],
    /// `raw::DW_GENERATE_...`
    pub flags: i32,
    /// [`Generation::wait`] waits for so many new tokens; 0: for the end.
    pub wake_tokens: u32,
}

impl Request<'_> {
    pub fn new(tokens_max: u32) -> Self {
        Self { tokens_max, stop_tokens: &[], stop_strings: &[], flags: 0, wake_tokens: 1 }
    }
}

/// Why a generation has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    EndToken,
    /// The stop token with this index.
    StopToken(usize),
    /// The stop string with this index.
    StopString(usize),
    Maximum,
    Full,
    Left,
}

/// A generation that goes on while the guest looks at what there is; dropping it ends it.
pub struct Generation<'a> {
    context: &'a mut Context,
    _sampler: &'a mut Sampler,
    /// The host writes to these while it goes on, so they stay where they are.
    request: Box<raw::GenerateRequest>,
    tokens: Buffer<i32>,
    taken: usize,
}

impl<'a> Generation<'a> {
    fn begin(
        context: &'a mut Context,
        sampler: &'a mut Sampler,
        prompt: &[i32],
        wanted: Request,
    ) -> Result<Self> {
        let prompt = Aligned::of(prompt);
        let mut tokens = Buffer::<i32>::new(wanted.tokens_max as usize);
        let strings: Vec<raw::StopString> = wanted
            .stop_strings
            .iter()
            .map(|text| raw::StopString { text: text.as_ptr(), bytes: text.len() as u32 })
            .collect();
        let mut request: Box<raw::GenerateRequest> = Box::new(unsafe { core::mem::zeroed() });
        request.struct_bytes = core::mem::size_of::<raw::GenerateRequest>() as u32;
        request.flags = wanted.flags as u32;
        request.prompt = prompt.as_ptr();
        request.prompt_count = prompt.count();
        request.tokens = tokens.as_mut_ptr();
        request.tokens_max = wanted.tokens_max;
        request.wake_tokens = wanted.wake_tokens;
        request.stop_tokens = wanted.stop_tokens.as_ptr();
        request.stop_token_count = wanted.stop_tokens.len() as u32;
        request.stop_strings = strings.as_ptr();
        request.stop_string_count = strings.len() as u32;
        status(unsafe {
            raw::generate_begin(context.handle(), sampler.handle(), &mut *request)
        })?;
        Ok(Self { context, _sampler: sampler, request, tokens, taken: 0 })
    }

    fn read(&self) -> raw::GenerateRequest {
        unsafe { ptr::read_volatile(&*self.request) }
    }

    /// Tokens chosen so far.
    pub fn tokens(&self) -> &[i32] {
        &self.tokens[..self.read().token_count as usize]
    }

    /// [`None`]: it goes on.
    pub fn why(&self) -> Option<Why> {
        let request = self.read();
        let index = request.stop_index.max(0) as usize;
        match request.end {
            raw::DW_GENERATE_END_TOKEN => Some(Why::EndToken),
            raw::DW_GENERATE_STOP_TOKEN => Some(Why::StopToken(index)),
            raw::DW_GENERATE_STOP_STRING => Some(Why::StopString(index)),
            raw::DW_GENERATE_MAXIMUM => Some(Why::Maximum),
            raw::DW_GENERATE_FULL => Some(Why::Full),
            raw::DW_GENERATE_GOES_ON => None,
            _ => Some(Why::Left),
        }
    }

    /// Waits for more, or for the end: how many tokens there are.
    pub fn wait(&mut self) -> Result<usize> {
        self.told(raw::generate_wait)
    }

    /// Ends it, if it goes on: how many tokens there are.
    pub fn end(&mut self) -> Result<usize> {
        self.told(raw::generate_end)
    }

    fn told(&mut self, call: unsafe extern "C" fn(i32) -> i32) -> Result<usize> {
        if self.read().end != raw::DW_GENERATE_GOES_ON {
            return Ok(self.tokens().len());
        }
        check(unsafe { call(self.context.handle()) }).map(|count| count as usize)
    }

    /// The next token; [`None`]: it has ended. A token that ended it as an end token is not given.
    pub fn next_token(&mut self) -> Result<Option<i32>> {
        while self.taken >= self.tokens().len() {
            if self.read().end != raw::DW_GENERATE_GOES_ON {
                return Ok(None);
            }
            self.wait()?;
        }
        let token = self.tokens()[self.taken];
        self.taken += 1;
        let last = self.taken == self.tokens().len();
        Ok(if last && self.why() == Some(Why::EndToken) { None } else { Some(token) })
    }
}

impl Drop for Generation<'_> {
    fn drop(&mut self) {
        if self.read().end == raw::DW_GENERATE_GOES_ON {
            unsafe { raw::generate_end(self.context.handle()) };
        }
    }
}

/// One context's part of [`forward_many`]; what comes back is in it afterwards.
pub struct Step<'a> {
    pub context: &'a mut Context,
    pub tokens: &'a [i32],
    /// In the place of `tokens`: computed, not appended, for `rows` alone; [`Context::keep`] appends a
    /// path of it.
    pub tree: Option<Tree<'a>>,
    /// Chooses a token behind these.
    pub sampler: Option<&'a mut Sampler>,
    /// How many of the likeliest tokens are wanted.
    pub top_count: u32,
    /// Rows of logits wanted for the last tokens; with `hidden` of hidden states.
    pub rows: u32,
    pub hidden: bool,

    /// The context's new length, or why it is as it was.
    pub result: Result<u32>,
    pub token: Option<i32>,
    pub log_probability: f32,
    pub top: Option<Top>,
    pub row_data: Buffer<f32>,
}

impl<'a> Step<'a> {
    pub fn new(context: &'a mut Context, tokens: &'a [i32]) -> Self {
        Self {
            context,
            tokens,
            tree: None,
            sampler: None,
            top_count: 0,
            rows: 0,
            hidden: false,
            result: Err(Error::new(raw::DW_E_STATE, "not computed yet")),
            token: None,
            log_probability: 0.0,
            top: None,
            row_data: Buffer::new(0),
        }
    }

    /// A tree behind the context, of which rows of logits are wanted for the last tokens.
    pub fn tree(context: &'a mut Context, tree: Tree<'a>, rows: u32) -> Self {
        Self { tree: Some(tree), rows, ..Self::new(context, tree.tokens) }
    }

    pub fn sample(mut self, sampler: &'a mut Sampler) -> Self {
        self.sampler = Some(sampler);
        self
    }
}

/// Steps of different contexts in one run of the device: how many went through. Each has its own
/// result.
pub fn forward_many(steps: &mut [Step]) -> Result<usize> {
    let mut lists = Vec::with_capacity(steps.len());
    let mut shapes = Vec::with_capacity(steps.len());
    for step in steps.iter() {
        lists.push(Aligned::of(step.tree.map_or(step.tokens, |tree| tree.tokens)));
        shapes.push(step.tree.map(|tree| Shape::of(&tree, step.context)).transpose()?);
    }
    let mut raws = Vec::with_capacity(steps.len());
    for ((step, tokens), shape) in steps.iter_mut().zip(&lists).zip(&shapes) {
        let mut one: raw::ForwardStep = unsafe { core::mem::zeroed() };
        one.context = step.context.handle();
        one.tokens = tokens.as_ptr();
        one.token_count = tokens.count();
        one.tree = shape.as_ref().map_or(ptr::null(), |shape| &*shape.raw);
        if step.rows > 0 {
            let width = if step.hidden {
                one.flags |= raw::DW_FORWARD_HIDDEN as u32;
                step.context.embedding_length
            } else {
                step.context.vocab_count
            };
            step.row_data = Buffer::new(width * step.rows as usize);
            one.rows = step.row_data.as_mut_ptr();
            one.row_count = step.rows;
        }
        if let Some(sampler) = &step.sampler {
            one.sampler = sampler.handle();
            one.flags |= raw::DW_FORWARD_LOG_PROBABILITY as u32;
        }
        if step.top_count > 0 {
            let top = step.top.insert(Top {
                tokens: Buffer::new(step.top_count as usize),
                log_probabilities: Buffer::new(step.top_count as usize),
            });
            one.top_count = step.top_count;
            one.top_tokens = top.tokens.as_mut_ptr();
            one.top_log_probabilities = top.log_probabilities.as_mut_ptr();
        }
        raws.push(one);
    }
    let through = check(unsafe { raw::forward_many(raws.as_mut_ptr(), raws.len() as u32) });
    for (step, one) in steps.iter_mut().zip(&raws) {
        step.result = check(one.status).map(|length| length as u32);
        step.token = (one.token >= 0 && one.sampler != 0).then_some(one.token);
        step.log_probability = one.log_probability;
    }
    through.map(|count| count as usize)
}
