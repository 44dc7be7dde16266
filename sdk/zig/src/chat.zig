const std = @import("std");
const driftwood = @import("driftwood.zig");
const raw = driftwood.raw;
const Allocator = std.mem.Allocator;

/// Bytes that grow.
const Bytes = struct {
    allocator: Allocator,
    data: []u8 = &.{},
    len: usize = 0,

    fn deinit(self: *Bytes) void {
        self.allocator.free(self.data);
        self.* = .{ .allocator = self.allocator };
    }
    fn add(self: *Bytes, more: []const u8) driftwood.Error!void {
        if (self.data.len - self.len < more.len) {
            const larger = try self.allocator.alloc(u8, 2 * (self.len + more.len));
            @memcpy(larger[0..self.len], self.slice());
            self.allocator.free(self.data);
            self.data = larger;
        }
        @memcpy(self.data[self.len..][0..more.len], more);
        self.len += more.len;
    }
    /// Text as a string of JSON, with its quotes.
    fn quote(self: *Bytes, text: []const u8) driftwood.Error!void {
        try self.add("\"");
        for (text) |c| {
            const hex = "0123456789abcdef";
            if (c == '"' or c == '\\') {
                try self.add(&.{ '\\', c });
            } else if (c < 0x20) {
                try self.add(&.{ '\\', 'u', '0', '0', hex[c >> 4], hex[c & 15] });
            } else {
                try self.add(&.{c});
            }
        }
        try self.add("\"");
    }
    fn slice(self: *const Bytes) []const u8 {
        return self.data[0..self.len];
    }
};

/// Text that comes token by token, given out in whole characters.
pub const TextStream = struct {
    allocator: Allocator,
    model: driftwood.Model,
    held: [4]u8 = undefined,
    held_len: usize = 0,

    pub fn put(self: *TextStream, token: i32, out: *const fn ([]const u8) void) driftwood.Error!void {
        const piece = try self.model.detokenize(self.allocator, &.{token}, 0);
        defer self.allocator.free(piece);
        const all = try self.allocator.alloc(u8, self.held_len + piece.len);
        defer self.allocator.free(all);
        @memcpy(all[0..self.held_len], self.held[0..self.held_len]);
        @memcpy(all[self.held_len..], piece);
        var whole = all.len;
        var back: usize = 1;
        while (back <= 3 and back <= all.len) : (back += 1) {
            const byte = all[all.len - back];
            if (byte & 0xc0 != 0x80) {
                const length: usize = if (byte >= 0xf0) 4 else if (byte >= 0xe0) 3 else if (byte >= 0xc0) 2 else 1;
                if (length > back) whole -= back;
                break;
            }
        }
        if (whole > 0) out(all[0..whole]);
        self.held_len = all.len - whole;
        @memcpy(self.held[0..self.held_len], all[whole..]);
    }
};

/// A conversation whose context keeps what it has computed: an answer costs the tokens that are new.
/// For models with a chat template.
pub const Chat = struct {
    allocator: Allocator,
    model: driftwood.Model,
    params: driftwood.Params = .{},
    /// Further members of the requests, as "\"tools\":[...],\"tool_choice\":\"auto\"".
    options: []const u8 = "",
    messages: Bytes,
    context: ?driftwood.Context = null,
    held: driftwood.Tokens,

    pub fn init(allocator: Allocator, model: driftwood.Model) driftwood.Error!Chat {
        return .{ .allocator = allocator, .model = model, .messages = .{ .allocator = allocator }, .held = try driftwood.tokens(allocator, 0) };
    }
    pub fn deinit(self: *Chat) void {
        if (self.context) |context| context.close();
        self.messages.deinit();
        self.allocator.free(self.held);
    }
    pub fn add(self: *Chat, role: []const u8, content: []const u8) driftwood.Error!void {
        if (self.messages.len > 0) try self.messages.add(",");
        try self.messages.add("{\"role\":");
        try self.messages.quote(role);
        try self.messages.add(",\"content\":");
        try self.messages.quote(content);
        try self.messages.add("}");
    }
    /// A message as an object of JSON.
    pub fn addJson(self: *Chat, message: []const u8) driftwood.Error!void {
        if (self.messages.len > 0) try self.messages.add(",");
        try self.messages.add(message);
    }
    /// Has the model answer, gives its text to `out` as it comes, and adds the answer. The answer as
    /// JSON, which the caller frees.
    pub fn answer(self: *Chat, tokens_max: u32, out: *const fn ([]const u8) void) driftwood.Error!driftwood.Bytes {
        var request = Bytes{ .allocator = self.allocator };
        defer request.deinit();
        try request.add("{\"messages\":[");
        try request.add(self.messages.slice());
        try request.add("]");
        if (self.options.len > 0) try request.add(",");
        try request.add(self.options);
        try request.add("}");
        const list = try self.model.chatTokenize(self.allocator, request.slice(), 0);
        defer self.allocator.free(list);
        const sampler = try driftwood.Sampler.create(self.model, self.params);
        defer sampler.close();
        for (list) |token| try sampler.accept(token);
        _ = try sampler.chat(request.slice());
        var said = Bytes{ .allocator = self.allocator };
        defer said.deinit();
        try self.speak(sampler, list, tokens_max, &said, out);
        const message = try self.model.chatParse(self.allocator, request.slice(), said.slice(), false);
        errdefer self.allocator.free(message);
        try self.addJson(message);
        return message;
    }
    fn speak(self: *Chat, sampler: driftwood.Sampler, list: []const i32, tokens_max: u32, said: *Bytes, out: *const fn ([]const u8) void) driftwood.Error!void {
        if (self.context == null) self.context = try driftwood.Context.create(self.allocator, self.model, 0);
        const context = self.context.?;
        var same: usize = 0;
        while (same < self.held.len and same + 1 < list.len and self.held[same] == list[same]) same += 1;
        try context.trim(@intCast(same));
        const speech = try driftwood.Generation.create(context, tokens_max);
        defer speech.destroy();
        try speech.begin(sampler, list[same..]);
        var stream = TextStream{ .allocator = self.allocator, .model = self.model };
        while (try speech.next()) |token| {
            const piece = try self.model.detokenize(self.allocator, &.{token}, raw.DW_DETOKENIZE_SPECIAL);
            defer self.allocator.free(piece);
            try said.add(piece);
            try stream.put(token, out);
        }
        const chosen = speech.chosen();
        const more = if (chosen.len > 0) chosen[0 .. chosen.len - 1] else chosen; // the last is not held
        const all = try driftwood.tokens(self.allocator, list.len + more.len);
        @memcpy(all[0..list.len], list);
        @memcpy(all[list.len..], more);
        self.allocator.free(self.held);
        self.held = all;
    }
};
