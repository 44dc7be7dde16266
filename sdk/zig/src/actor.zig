//! What actors ask for. An actor exports driftwood_receive:
//!
//!     export fn driftwood_receive() i32 {
//!         return driftwood.actor.receive(handle);
//!     }
//!
//! Variables keep their values between messages.
const std = @import("std");
const driftwood = @import("driftwood.zig");
const raw = driftwood.raw;
const check = driftwood.check;
const status = driftwood.status;
const Allocator = std.mem.Allocator;

/// An actor's id.
pub const Id = struct {
    text: [64]u8 = @splat(0),

    pub fn slice(self: *const Id) []const u8 {
        return self.text[0 .. std.mem.indexOfScalar(u8, &self.text, 0) orelse self.text.len];
    }
};

/// Hands the message to a function; the sender gets the status of its error, which is told on standard
/// error too.
pub fn receive(allocator: Allocator, comptime handle: fn ([]const u8) anyerror!void) i32 {
    const message = driftwood.input(allocator) catch |err| return driftwood.codeOf(err);
    defer allocator.free(message);
    handle(message) catch |err| {
        var words: [256]u8 = undefined;
        const message_of_host = driftwood.lastMessage(&words);
        driftwood.write(2, @errorName(err));
        if (message_of_host.len > 0) driftwood.write(2, ": ");
        driftwood.write(2, message_of_host);
        driftwood.write(2, "\n");
        return driftwood.codeOf(err);
    };
    return 0;
}

pub fn id() driftwood.Error!Id {
    var own = Id{};
    try status(raw.actor_id(&own.text, own.text.len));
    return own;
}
/// Who sent the message: this one's own for timers, "" for outside.
pub fn messageFrom() driftwood.Error!Id {
    var own = Id{};
    try status(raw.message_from(&own.text, own.text.len));
    return own;
}
/// The next piece of the answer.
pub fn reply(bytes: []const u8) driftwood.Error!void {
    try status(raw.reply(bytes.ptr, @intCast(bytes.len)));
}
/// The message is answered later: the ticket for replyTo.
pub fn replyLater() driftwood.Error!i64 {
    const ticket = raw.reply_later();
    if (ticket < 0) try status(@intCast(ticket));
    return ticket;
}
/// The next piece of the answer that a ticket is for; last: it is whole.
pub fn replyTo(ticket: i64, bytes: []const u8, last: bool) driftwood.Error!void {
    try status(raw.reply_to(ticket, bytes.ptr, @intCast(bytes.len), if (last) raw.DW_REPLY_LAST else 0));
}
/// To an actor by its id, in a runtime also "@NAME" and "#GROUP".
pub fn send(to: []const u8, message: []const u8) driftwood.Error!void {
    try status(raw.actor_send(to.ptr, @intCast(to.len), message.ptr, @intCast(message.len)));
}
/// raw.DW_MESSAGE_PLAIN, or raw.DW_MESSAGE_WATCH: the host's word about an actor that is watched.
pub fn messageKind() i32 {
    return raw.message_kind();
}
/// A message once that actor has ended or could not be made; events raw.DW_WATCH_ON_*: also when
/// that happens.
pub fn watch(whom: []const u8, events: u32) driftwood.Error!void {
    try status(raw.actor_watch(whom.ptr, @intCast(whom.len), events));
}
pub fn unwatch(whom: []const u8) driftwood.Error!void {
    try status(raw.actor_unwatch(whom.ptr, @intCast(whom.len)));
}
/// guest "": this one's own module.
pub fn spawn(guest: []const u8, message: []const u8) driftwood.Error!Id {
    var own = Id{};
    try status(raw.actor_spawn(guest.ptr, @intCast(guest.len), message.ptr, @intCast(message.len), &own.text, own.text.len));
    return own;
}
/// A copy of this actor as it is after this message.
pub fn fork(message: []const u8) driftwood.Error!Id {
    var own = Id{};
    try status(raw.actor_fork(message.ptr, @intCast(message.len), &own.text, own.text.len));
    return own;
}
pub fn timer(wait_ms: u64, message: []const u8) driftwood.Error!void {
    try status(raw.actor_timer(wait_ms, message.ptr, @intCast(message.len)));
}
pub fn join(group: []const u8) driftwood.Error!void {
    try status(raw.group_join(group.ptr, @intCast(group.len)));
}
pub fn leave(group: []const u8) driftwood.Error!void {
    try status(raw.group_leave(group.ptr, @intCast(group.len)));
}
/// Ends this actor for good, after the message.
pub fn stop() driftwood.Error!void {
    try status(raw.actor_stop());
}
/// In driftwood_state: appends to what is handed over to another module.
pub fn giveState(bytes: []const u8) driftwood.Error!void {
    try status(raw.state_give(bytes.ptr, @intCast(bytes.len)));
}
/// In driftwood_upgrade: all that the module before handed over.
pub fn takeState(allocator: Allocator) driftwood.Error![]u8 {
    const bytes = raw.state_bytes();
    if (bytes < 0) try status(@intCast(bytes));
    const all = try allocator.alloc(u8, @intCast(bytes));
    errdefer allocator.free(all);
    var taken: usize = 0;
    while (taken < all.len) {
        const more = try check(raw.state_take(all.ptr + taken, @intCast(all.len - taken)));
        if (more == 0) break;
        taken += more;
    }
    return all;
}
/// In driftwood_upgrade: a model, context or sampler of the module before stays open.
pub fn keep(handle: i32) driftwood.Error!void {
    try status(raw.handle_keep(handle));
}
