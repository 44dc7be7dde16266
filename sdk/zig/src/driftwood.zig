//! Driftwood's guest API for Zig. Every function of the ABI is described in docs/guest-abi.md; `raw`
//! has them as they are. What has a close() is open until that is called, or the guest ends.
const std = @import("std");
pub const raw = @import("raw.zig");
pub const actor = @import("actor.zig");
pub const Graph = @import("graph.zig").Graph;
pub const Chat = @import("chat.zig").Chat;
pub const TextStream = @import("chat.zig").TextStream;

const Allocator = std.mem.Allocator;

/// This package's version, which is Driftwood's.
pub const version = "0.1.0";
/// Where every device uses tokens, logits and tensors in place.
pub const alignment: std.mem.Alignment = .fromByteUnits(raw.DW_TENSOR_ALIGN);

// ---- errors --------------------------------------------------------------------------------

/// The statuses of the ABI. `lastMessage` has the host's words.
pub const Error = error{
    Argument,
    Range,
    Alignment,
    Handle,
    Type,
    Shape,
    Overlap,
    Limit,
    Memory,
    Busy,
    State,
    Unsupported,
    Format,
    NotFound,
    Io,
    Device,
    Trap,
    Numeric,
    Cancelled,
    Space,
    Denied,
    End,
    Unknown,
    OutOfMemory,
};

const statuses = [_]struct { code: i32, err: Error }{
    .{ .code = raw.DW_E_ARG, .err = error.Argument },
    .{ .code = raw.DW_E_RANGE, .err = error.Range },
    .{ .code = raw.DW_E_ALIGN, .err = error.Alignment },
    .{ .code = raw.DW_E_HANDLE, .err = error.Handle },
    .{ .code = raw.DW_E_TYPE, .err = error.Type },
    .{ .code = raw.DW_E_SHAPE, .err = error.Shape },
    .{ .code = raw.DW_E_OVERLAP, .err = error.Overlap },
    .{ .code = raw.DW_E_LIMIT, .err = error.Limit },
    .{ .code = raw.DW_E_MEMORY, .err = error.Memory },
    .{ .code = raw.DW_E_BUSY, .err = error.Busy },
    .{ .code = raw.DW_E_STATE, .err = error.State },
    .{ .code = raw.DW_E_UNSUPPORTED, .err = error.Unsupported },
    .{ .code = raw.DW_E_FORMAT, .err = error.Format },
    .{ .code = raw.DW_E_NOT_FOUND, .err = error.NotFound },
    .{ .code = raw.DW_E_IO, .err = error.Io },
    .{ .code = raw.DW_E_DEVICE, .err = error.Device },
    .{ .code = raw.DW_E_TRAP, .err = error.Trap },
    .{ .code = raw.DW_E_NUMERIC, .err = error.Numeric },
    .{ .code = raw.DW_E_CANCELLED, .err = error.Cancelled },
    .{ .code = raw.DW_E_SPACE, .err = error.Space },
    .{ .code = raw.DW_E_DENIED, .err = error.Denied },
    .{ .code = raw.DW_E_END, .err = error.End },
};

/// The result, if it is not negative.
pub fn check(result: i32) Error!u32 {
    if (result >= 0) return @intCast(result);
    for (statuses) |one| if (one.code == result) return one.err;
    return error.Unknown;
}

pub fn status(result: i32) Error!void {
    _ = try check(result);
}

/// The status of an error, for an actor's result.
pub fn codeOf(err: anyerror) i32 {
    for (statuses) |one| if (one.err == err) return one.code;
    return if (err == error.OutOfMemory) raw.DW_E_MEMORY else raw.DW_E_ARG;
}

/// The host's words on the last failure, in `buffer`.
pub fn lastMessage(buffer: []u8) []const u8 {
    const length = raw.last_error(buffer.ptr, @intCast(buffer.len));
    return if (length > 0) buffer[0..@min(@as(usize, @intCast(length)), buffer.len)] else "";
}

/// What a call writes, with as much room as it turns out to take: the caller frees it. `told`: it
/// leaves the number needed in the first four bytes where the room is too small.
pub fn growing(
    comptime T: type,
    allocator: Allocator,
    room: usize,
    told: bool,
    context: anytype,
    comptime fill: fn (@TypeOf(context), [*]T, u32) i32,
) Error![]align(alignment.toByteUnits()) T {
    var count = @max(room, 4);
    while (true) {
        const out = try allocator.alignedAlloc(T, alignment, count);
        const result = fill(context, out.ptr, @intCast(count));
        if (result >= 0) {
            const length: usize = @intCast(result);
            if (length == out.len) return out;
            defer allocator.free(out);
            const exact = try allocator.alignedAlloc(T, alignment, length);
            @memcpy(exact, out[0..length]);
            return exact;
        }
        const needed = std.mem.readInt(u32, @as(*const [4]u8, @ptrCast(out.ptr)), .little);
        allocator.free(out);
        if (result != raw.DW_E_SPACE or count > 1 << 28) {
            _ = try check(result);
        }
        count = if (told) needed else 2 * count;
    }
}

// ---- memory --------------------------------------------------------------------------------

pub const Floats = []align(alignment.toByteUnits()) f32;
pub const Tokens = []align(alignment.toByteUnits()) i32;
pub const Bytes = []align(alignment.toByteUnits()) u8;

/// Zeros where every device uses them in place.
pub fn floats(allocator: Allocator, count: usize) Error!Floats {
    const out = try allocator.alignedAlloc(f32, alignment, count);
    @memset(out, 0);
    return out;
}
pub fn tokens(allocator: Allocator, count: usize) Error!Tokens {
    const out = try allocator.alignedAlloc(i32, alignment, count);
    @memset(out, 0);
    return out;
}

/// Tokens where every device reads them: as they are, or a copy.
pub const Aligned = struct {
    list: []const i32,
    copy: ?Tokens,
    allocator: Allocator,

    pub fn of(allocator: Allocator, list: []const i32) Error!Aligned {
        if (@intFromPtr(list.ptr) % raw.DW_TENSOR_ALIGN == 0) {
            return .{ .list = list, .copy = null, .allocator = allocator };
        }
        const copy = try tokens(allocator, list.len);
        @memcpy(copy, list);
        return .{ .list = copy, .copy = copy, .allocator = allocator };
    }
    pub fn free(self: Aligned) void {
        if (self.copy) |copy| self.allocator.free(copy);
    }
    pub fn count(self: Aligned) u32 {
        return @intCast(self.list.len);
    }
};

// ---- the host ------------------------------------------------------------------------------

// The standard library's own: where two declarations of a function differ, calls of one of them trap.
const wasi = std.os.wasi;

/// Text to a descriptor: 1 is standard output, 2 standard error.
pub fn write(fd: i32, text: []const u8) void {
    var rest = text;
    while (rest.len > 0) {
        const piece = [1]wasi.ciovec_t{.{ .base = rest.ptr, .len = rest.len }};
        var written: usize = 0;
        if (wasi.fd_write(fd, &piece, 1, &written) != .SUCCESS or written == 0) return;
        rest = rest[written..];
    }
}

/// Text to standard output, at once.
pub fn print(text: []const u8) void {
    write(1, text);
}

/// "what: the host's words" on standard error, and the end of the guest.
pub fn die(what: []const u8, err: anyerror) noreturn {
    var words: [256]u8 = undefined;
    write(2, what);
    write(2, ": ");
    const message = lastMessage(&words);
    write(2, if (message.len > 0) message else @errorName(err));
    write(2, "\n");
    wasi.proc_exit(1);
}

/// A variable of the guest's environment, such as DRIFTWOOD_PROMPT; it stays allocated.
pub fn env(allocator: Allocator, name: []const u8) Error!?[]const u8 {
    var count: usize = 0;
    var bytes: usize = 0;
    if (wasi.environ_sizes_get(&count, &bytes) != .SUCCESS or count == 0) return null;
    const places = try allocator.alloc([*:0]u8, count);
    defer allocator.free(places);
    const texts = try allocator.alloc(u8, bytes);
    if (wasi.environ_get(places.ptr, texts.ptr) != .SUCCESS) return null;
    for (places) |place| {
        const entry = std.mem.span(place);
        if (entry.len > name.len and entry[name.len] == '=' and std.mem.eql(u8, entry[0..name.len], name)) {
            return entry[name.len + 1 ..];
        }
    }
    allocator.free(texts);
    return null;
}

pub fn abiVersion() i32 {
    return raw.abi_version();
}
pub fn clockNs() u64 {
    return raw.clock_ns();
}
pub fn hostCopiedBytes() u64 {
    return raw.host_copied_bytes();
}
pub fn deviceName(allocator: Allocator) Error!Bytes {
    return growing(u8, allocator, 256, false, {}, struct {
        fn call(_: void, to: [*]u8, room: u32) i32 {
            return raw.device_name(to, room);
        }
    }.call);
}
/// The next message from outside. error.End: there are no more.
pub fn input(allocator: Allocator) Error!Bytes {
    return growing(u8, allocator, 4096, false, {}, struct {
        fn call(_: void, to: [*]u8, room: u32) i32 {
            return raw.input(to, room);
        }
    }.call);
}
/// A granted tool's answer.
pub fn call(allocator: Allocator, name: []const u8, request: []const u8) Error!Bytes {
    const Call = struct { name: []const u8, request: []const u8, first: bool };
    var own = Call{ .name = name, .request = request, .first = true };
    return growing(u8, allocator, 4096, false, &own, struct {
        fn ask(self: *Call, to: [*]u8, room: u32) i32 {
            if (!self.first) return raw.call_answer(to, room);
            self.first = false;
            return raw.call(self.name.ptr, @intCast(self.name.len), self.request.ptr, @intCast(self.request.len), to, room);
        }
    }.ask);
}

// ---- models --------------------------------------------------------------------------------

pub const Model = struct {
    handle: i32,
    info: raw.ModelInfo,

    /// By a granted name; "": the first.
    pub fn open(name: []const u8) Error!Model {
        return of(@intCast(try check(raw.model_open(name.ptr, @intCast(name.len)))));
    }
    /// Of a handle, such as one that was kept over an upgrade.
    pub fn of(handle: i32) Error!Model {
        var info = [1]raw.ModelInfo{.{}};
        try status(raw.model_info(handle, &info));
        return .{ .handle = handle, .info = info[0] };
    }
    /// How many models were granted, and the name that opens the one of an index.
    pub fn granted() u32 {
        return check(raw.model_count()) catch 0;
    }
    pub fn nameOf(allocator: Allocator, index: u32) Error!Bytes {
        return growing(u8, allocator, 256, false, index, struct {
            fn get(at: u32, to: [*]u8, room: u32) i32 {
                return raw.model_name(at, to, room);
            }
        }.get);
    }
    /// LoRA adapters that the host has loaded for it, and the name of the one of this index.
    pub fn loraCount(self: Model) u32 {
        return check(raw.lora_count(self.handle)) catch 0;
    }
    pub fn loraName(self: Model, allocator: Allocator, index: u32) Error!Bytes {
        return growing(u8, allocator, 256, false, Text{ .handle = self.handle, .text = "", .number = index }, struct {
            fn get(a: Text, to: [*]u8, room: u32) i32 {
                return raw.lora_name(a.handle, a.number, to, room);
            }
        }.get);
    }
    pub fn close(self: Model) void {
        _ = raw.model_close(self.handle);
    }

    const Text = struct { handle: i32, text: []const u8, more: []const u8 = "", number: u32 = 0, tokens: []const i32 = &.{} };

    /// flags: raw.DW_TOKENIZE_...
    pub fn tokenize(self: Model, allocator: Allocator, text: []const u8, flags: u32) Error!Tokens {
        return growing(i32, allocator, text.len + 16, true, Text{ .handle = self.handle, .text = text, .number = flags }, struct {
            fn get(a: Text, to: [*]i32, room: u32) i32 {
                return raw.tokenize(a.handle, a.text.ptr, @intCast(a.text.len), to, room, a.number);
            }
        }.get);
    }
    /// flags: raw.DW_DETOKENIZE_SPECIAL or 0. May begin or end within a character.
    pub fn detokenize(self: Model, allocator: Allocator, list: []const i32, flags: u32) Error!Bytes {
        return growing(u8, allocator, list.len * 16 + 16, false, Text{ .handle = self.handle, .text = "", .number = flags, .tokens = list }, struct {
            fn get(a: Text, to: [*]u8, room: u32) i32 {
                return raw.detokenize(a.handle, a.tokens.ptr, @intCast(a.tokens.len), to, room, a.number);
            }
        }.get);
    }
    pub fn isEnd(self: Model, token: i32) bool {
        return raw.token_is_end(self.handle, token) == 1;
    }
    pub const Message = struct { role: [:0]const u8, content: [:0]const u8 };
    /// Messages as the model's own template has them.
    pub fn chatTemplate(self: Model, allocator: Allocator, messages: []const Message, open_answer: bool) Error!Bytes {
        const list = try allocator.alloc(raw.Message, messages.len);
        defer allocator.free(list);
        for (list, messages) |*to, from| to.* = .{ .role = from.role.ptr, .content = from.content.ptr };
        const Call = struct { handle: i32, list: []raw.Message, open: i32 };
        return growing(u8, allocator, 4096, false, Call{ .handle = self.handle, .list = list, .open = @intFromBool(open_answer) }, struct {
            fn get(a: Call, to: [*]u8, room: u32) i32 {
                return raw.chat_template(a.handle, a.list.ptr, @intCast(a.list.len), a.open, to, room);
            }
        }.get);
    }
    /// Requests are JSON.
    pub fn chatRender(self: Model, allocator: Allocator, request: []const u8) Error!Bytes {
        return growing(u8, allocator, 4096, true, Text{ .handle = self.handle, .text = request }, struct {
            fn get(a: Text, to: [*]u8, room: u32) i32 {
                return raw.chat_render(a.handle, a.text.ptr, @intCast(a.text.len), to, room);
            }
        }.get);
    }
    pub fn chatTokenize(self: Model, allocator: Allocator, request: []const u8, skip: u32) Error!Tokens {
        return growing(i32, allocator, 1024, true, Text{ .handle = self.handle, .text = request, .number = skip }, struct {
            fn get(a: Text, to: [*]i32, room: u32) i32 {
                return raw.chat_tokenize(a.handle, a.text.ptr, @intCast(a.text.len), a.number, to, room);
            }
        }.get);
    }
    /// The model's answer, with its special tokens, as a message of JSON. partial: it goes on.
    pub fn chatParse(self: Model, allocator: Allocator, request: []const u8, answer: []const u8, partial: bool) Error!Bytes {
        const flags: u32 = if (partial) raw.DW_CHAT_PARTIAL else 0;
        return growing(u8, allocator, answer.len + 1024, true, Text{ .handle = self.handle, .text = request, .more = answer, .number = flags }, struct {
            fn get(a: Text, to: [*]u8, room: u32) i32 {
                return raw.chat_parse(a.handle, a.text.ptr, @intCast(a.text.len), a.more.ptr, @intCast(a.more.len), a.number, to, room);
            }
        }.get);
    }
    pub fn chatInfo(self: Model, allocator: Allocator, request: []const u8) Error!Bytes {
        return growing(u8, allocator, 4096, true, Text{ .handle = self.handle, .text = request }, struct {
            fn get(a: Text, to: [*]u8, room: u32) i32 {
                return raw.chat_info(a.handle, a.text.ptr, @intCast(a.text.len), to, room);
            }
        }.get);
    }
    /// pooling: raw.DW_POOLING_..., flags: raw.DW_EMBED_NORMALIZE or 0.
    pub fn embed(self: Model, allocator: Allocator, list: []const i32, pooling: i32, flags: u32) Error!Floats {
        const own = try Aligned.of(allocator, list);
        defer own.free();
        const rows = if (pooling == raw.DW_POOLING_NONE) list.len else 1;
        const out = try floats(allocator, rows * self.info.embedding_length);
        errdefer allocator.free(out);
        try status(raw.embed(self.handle, own.list.ptr, own.count(), pooling, flags, out.ptr));
        return out;
    }
    pub fn tokenEmbeddings(self: Model, allocator: Allocator, list: []const i32) Error!Floats {
        const own = try Aligned.of(allocator, list);
        defer own.free();
        const out = try floats(allocator, list.len * self.info.embedding_length);
        errdefer allocator.free(out);
        try status(raw.token_embeddings(self.handle, own.list.ptr, own.count(), out.ptr));
        return out;
    }
    pub fn greedy(self: Model, logits: []const f32) Error!i32 {
        if (logits.len < self.info.vocab_count) return error.Range;
        return @intCast(try check(raw.greedy(self.handle, logits.ptr)));
    }
};

// ---- sampling ------------------------------------------------------------------------------

pub const Params = raw.SamplerParams;

pub const Sampler = struct {
    handle: i32,
    model: Model,

    /// Of Params{}: greedy; zero turns each setting off.
    pub fn create(model: Model, params: Params) Error!Sampler {
        var own = [1]Params{params};
        own[0].struct_bytes = @sizeOf(Params);
        return .{ .handle = @intCast(try check(raw.sampler_create(model.handle, &own))), .model = model };
    }
    pub fn close(self: Sampler) void {
        _ = raw.sampler_close(self.handle);
    }
    pub fn logitBias(self: Sampler, biases: []const raw.LogitBias) Error!void {
        try status(raw.sampler_logit_bias(self.handle, biases.ptr, @intCast(biases.len)));
    }
    pub fn dryBreakers(self: Sampler, breakers: []const [*:0]const u8) Error!void {
        try status(raw.sampler_dry_breakers(self.handle, self.model.handle, @ptrCast(breakers.ptr), @intCast(breakers.len)));
    }
    /// GBNF; "": none.
    pub fn grammar(self: Sampler, text: []const u8) Error!void {
        try status(raw.sampler_grammar(self.handle, self.model.handle, text.ptr, @intCast(text.len)));
    }
    pub fn jsonSchema(self: Sampler, schema: []const u8) Error!void {
        try status(raw.sampler_json_schema(self.handle, self.model.handle, schema.ptr, @intCast(schema.len)));
    }
    /// Whether the request asks for tool calls or an answer to be held to a schema.
    pub fn chat(self: Sampler, request: []const u8) Error!bool {
        return try check(raw.sampler_chat(self.handle, self.model.handle, request.ptr, @intCast(request.len))) == 1;
    }
    pub fn mask(self: Sampler, logits: []f32) Error!void {
        if (logits.len < self.model.info.vocab_count) return error.Range;
        try status(raw.sampler_mask(self.handle, logits.ptr));
    }
    /// With seed 0 it draws as this one would.
    pub fn fork(self: Sampler, seed: u64) Error!Sampler {
        return .{ .handle = @intCast(try check(raw.sampler_fork(self.handle, seed))), .model = self.model };
    }
    pub fn sample(self: Sampler, logits: []const f32) Error!i32 {
        if (logits.len < self.model.info.vocab_count) return error.Range;
        return @intCast(try check(raw.sample(self.handle, logits.ptr)));
    }
    pub fn accept(self: Sampler, token: i32) Error!void {
        try status(raw.sampler_accept(self.handle, token));
    }
};

// ---- contexts ------------------------------------------------------------------------------

/// A tree of tokens for Context.forwardTree. What is null follows from the rest.
pub const Tree = struct {
    tokens: []const i32,
    parents: ?[]const i32 = null,
    positions: ?[]const i32 = null,
    mask: ?[]const u8 = null,
};

pub const Context = struct {
    handle: i32,
    model: Model,
    /// For copies of tokens that do not lie where devices read them.
    allocator: Allocator,

    /// tokens_max 0: as long as model and limits allow.
    pub fn create(allocator: Allocator, model: Model, tokens_max: u32) Error!Context {
        return .{ .handle = @intCast(try check(raw.context_create(model.handle, tokens_max))), .model = model, .allocator = allocator };
    }
    /// What was saved under the name, here or in another guest.
    pub fn open(allocator: Allocator, model: Model, name: []const u8, tokens_max: u32) Error!Context {
        return .{ .handle = @intCast(try check(raw.context_open(model.handle, name.ptr, @intCast(name.len), tokens_max))), .model = model, .allocator = allocator };
    }
    /// Under a name, in the place of what had it.
    pub fn save(self: Context, name: []const u8) Error!void {
        try status(raw.context_save(self.handle, name.ptr, @intCast(name.len)));
    }
    /// Removes what was saved under the name; it needs the grant to save under it.
    pub fn remove(name: []const u8) Error!void {
        try status(raw.context_remove(name.ptr, @intCast(name.len)));
    }
    /// Ends a generation that has it still.
    pub fn close(self: Context) void {
        if (raw.context_close(self.handle) == raw.DW_E_STATE) {
            _ = raw.generate_end(self.handle);
            _ = raw.context_close(self.handle);
        }
    }
    pub fn fork(self: Context) Error!Context {
        return .{ .handle = @intCast(try check(raw.context_fork(self.handle))), .model = self.model, .allocator = self.allocator };
    }
    /// Tokens held; 0 while a generation has it, and once it is closed.
    pub fn length(self: Context) u32 {
        return check(raw.context_length(self.handle)) catch 0;
    }
    pub fn capacity(self: Context) u32 {
        return check(raw.context_capacity(self.handle)) catch 0;
    }
    pub fn trim(self: Context, count: u32) Error!void {
        try status(raw.context_trim(self.handle, count));
    }
    pub fn shift(self: Context, keep_count: u32, drop: u32) Error!u32 {
        return check(raw.context_shift(self.handle, keep_count, drop));
    }
    /// Holds its first `sink` tokens and at most `count` more from now on; 0 and 0: all.
    pub fn window(self: Context, sink: u32, count: u32) Error!void {
        try status(raw.context_window(self.handle, sink, count));
    }
    /// While it is empty: these adapters of its model, by index, each times its scale.
    pub fn setLoras(self: Context, indices: []const u32, scales: []const f32) Error!void {
        if (indices.len != scales.len) return error.Argument;
        try status(raw.context_set_loras(self.handle, indices.ptr, scales.ptr, @intCast(indices.len)));
    }
    /// Those that it has, into the room that there is: how many.
    pub fn loras(self: Context, indices: []u32, scales: []f32) Error!u32 {
        return check(raw.context_loras(self.handle, indices.ptr, scales.ptr, @intCast(@min(indices.len, scales.len))));
    }
    /// Keeps rows of logits of the last `count` tokens from now on.
    pub fn keepRows(self: Context, count: u32) Error!void {
        try status(raw.context_rows(self.handle, count));
    }
    /// The last token's row once more, where it is kept.
    pub fn logitsAgain(self: Context, row: []f32) Error!void {
        if (row.len < self.model.info.vocab_count) return error.Range;
        try status(raw.context_logits(self.handle, row.ptr));
    }
    fn rows(list: []f32, width: u32, most: usize) u32 {
        return @intCast(@min(list.len / width, most));
    }
    /// Appends tokens: the new length. logits: whole rows, for the last so many tokens; or none.
    pub fn forward(self: Context, list: []const i32, logits: []f32) Error!u32 {
        const own = try Aligned.of(self.allocator, list);
        defer own.free();
        const count = rows(logits, self.model.info.vocab_count, list.len);
        return check(raw.forward(self.handle, own.list.ptr, own.count(), if (count > 0) logits.ptr else null, count));
    }
    pub fn forwardHidden(self: Context, list: []const i32, hidden: []f32) Error!u32 {
        const own = try Aligned.of(self.allocator, list);
        defer own.free();
        const count = rows(hidden, self.model.info.embedding_length, list.len);
        return check(raw.forward_hidden(self.handle, own.list.ptr, own.count(), hidden.ptr, count));
    }
    pub fn forwardEmbeddings(self: Context, embeddings: []const f32, logits: []f32) Error!u32 {
        const given = embeddings.len / self.model.info.embedding_length;
        const count = rows(logits, self.model.info.vocab_count, given);
        return check(raw.forward_embeddings(self.handle, embeddings.ptr, @intCast(given), if (count > 0) logits.ptr else null, count));
    }
    /// Appends tokens: the likeliest to follow, with their log probabilities.
    pub fn forwardTop(self: Context, list: []const i32, top: []i32, log_probabilities: []f32) Error!u32 {
        if (top.len != log_probabilities.len) return error.Range;
        const own = try Aligned.of(self.allocator, list);
        defer own.free();
        return check(raw.forward_top(self.handle, own.list.ptr, own.count(), top.ptr, log_probabilities.ptr, @intCast(top.len)));
    }
    /// Appends tokens and chooses the next one, which is not appended.
    pub fn forwardSample(self: Context, list: []const i32, sampler: Sampler) Error!i32 {
        const own = try Aligned.of(self.allocator, list);
        defer own.free();
        return @intCast(try check(raw.forward_sample(self.handle, own.list.ptr, own.count(), sampler.handle)));
    }
    /// Computes a tree behind the context; keep() appends a path of it.
    pub fn forwardTree(self: Context, tree: Tree, logits: []f32) Error!u32 {
        const own = try Aligned.of(self.allocator, tree.tokens);
        defer own.free();
        const parents = try Aligned.of(self.allocator, tree.parents orelse &.{});
        defer parents.free();
        const positions = try Aligned.of(self.allocator, tree.positions orelse &.{});
        defer positions.free();
        const count = tree.tokens.len;
        if ((tree.parents != null and parents.list.len != count) or (tree.positions != null and positions.list.len != count)) return error.Argument;
        if (tree.mask) |mask| if (mask.len != count * (self.length() + count)) return error.Argument;
        var step = [1]raw.ForwardTreeStep{.{ .context = self.handle, .tokens = own.list.ptr, .token_count = own.count() }};
        if (tree.parents != null) step[0].parents = parents.list.ptr;
        if (tree.positions != null) step[0].positions = positions.list.ptr;
        if (tree.mask) |mask| step[0].mask = mask.ptr;
        step[0].row_count = rows(logits, self.model.info.vocab_count, count);
        if (step[0].row_count > 0) step[0].rows = logits.ptr;
        return check(raw.forward_tree(&step));
    }
    pub fn keep(self: Context, path: []const i32) Error!u32 {
        return check(raw.context_keep(self.handle, path.ptr, @intCast(path.len)));
    }
};

/// Steps of different contexts in one run of the device: how many went through. Fill tokens (aligned),
/// sampler and so on as docs/guest-abi.md has it; each has its own status.
pub fn forwardMany(steps: []raw.ForwardStep) Error!u32 {
    return check(raw.forward_many(steps.ptr, @intCast(steps.len)));
}

/// A generation ahead of the guest. It is on the heap, since the host writes to it; destroy() ends it.
pub const Generation = struct {
    allocator: Allocator,
    context: Context,
    request: raw.GenerateRequest,
    room: Tokens,
    taken: usize = 0,
    begun: bool = false,

    pub fn create(context: Context, tokens_max: u32) Error!*Generation {
        const self = try context.allocator.create(Generation);
        errdefer context.allocator.destroy(self);
        self.* = .{ .allocator = context.allocator, .context = context, .request = .{}, .room = try tokens(context.allocator, tokens_max) };
        self.request.struct_bytes = @sizeOf(raw.GenerateRequest);
        self.request.tokens = self.room.ptr;
        self.request.tokens_max = tokens_max;
        self.request.wake_tokens = 1;
        return self;
    }
    pub fn destroy(self: *Generation) void {
        if (self.goes()) _ = raw.generate_end(self.context.handle);
        self.allocator.free(self.room);
        self.allocator.destroy(self);
    }
    /// What else is asked for is set in request before. Again once it has ended.
    pub fn begin(self: *Generation, sampler: Sampler, prompt: []const i32) Error!void {
        if (self.goes()) return error.State;
        const own = try Aligned.of(self.allocator, prompt);
        defer own.free();
        self.request.prompt = own.list.ptr;
        self.request.prompt_count = own.count();
        try status(raw.generate_begin(self.context.handle, sampler.handle, @ptrCast(&self.request)));
        self.begun = true;
        self.taken = 0;
    }
    fn goes(self: *Generation) bool {
        return self.begun and !self.ended();
    }
    fn now(self: *Generation) *volatile raw.GenerateRequest {
        return &self.request;
    }
    pub fn ended(self: *Generation) bool {
        return self.now().end != raw.DW_GENERATE_GOES_ON;
    }
    /// Tokens chosen so far.
    pub fn chosen(self: *Generation) []const i32 {
        return self.room[0..self.now().token_count];
    }
    /// Until there is more, or the end: how many tokens there are.
    pub fn wait(self: *Generation) Error!u32 {
        if (!self.goes()) return self.now().token_count; // the context may have another one by now
        return check(raw.generate_wait(self.context.handle));
    }
    /// Ends it, if it goes on: how many tokens there are.
    pub fn end(self: *Generation) Error!u32 {
        if (!self.goes()) return self.now().token_count;
        return check(raw.generate_end(self.context.handle));
    }
    /// The next token; null: it has ended. A token that ended it as an end token is not given.
    pub fn next(self: *Generation) Error!?i32 {
        while (self.taken >= self.now().token_count) {
            if (self.ended()) return null;
            _ = try self.wait();
        }
        const token = self.room[self.taken];
        self.taken += 1;
        const last = self.taken == self.now().token_count;
        return if (last and self.now().end == raw.DW_GENERATE_END_TOKEN) null else token;
    }
};
