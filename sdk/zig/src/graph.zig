const driftwood = @import("driftwood.zig");
const raw = driftwood.raw;
const check = driftwood.check;
const status = driftwood.status;

/// A graph over memory that must stay: docs/guest-abi-tensors.md.
pub const Graph = struct {
    handle: i32,

    pub const Tensor = i32;
    pub const Sizes = [4]u32;

    pub fn create() driftwood.Error!Graph {
        return .{ .handle = @intCast(try check(raw.graph_create())) };
    }
    pub fn close(self: Graph) void {
        _ = raw.graph_destroy(self.handle);
    }
    fn elements(ne: Sizes) usize {
        return @as(usize, ne[0]) * ne[1] * ne[2] * ne[3];
    }
    /// An F32 tensor of these sizes, unused ones 1.
    pub fn floats(self: Graph, ne: Sizes, data: []const f32) driftwood.Error!Tensor {
        if (elements(ne) > data.len) return error.Range;
        return self.tensor(raw.DW_F32, ne, @ptrCast(data.ptr));
    }
    pub fn ints(self: Graph, ne: Sizes, data: []const i32) driftwood.Error!Tensor {
        if (elements(ne) > data.len) return error.Range;
        return self.tensor(raw.DW_I32, ne, @ptrCast(data.ptr));
    }
    /// Of any type (raw.DW_F16 ...) over memory that holds such a tensor.
    pub fn tensor(self: Graph, kind: i32, ne: Sizes, data: [*]const u8) driftwood.Error!Tensor {
        return @intCast(try check(raw.graph_tensor(self.handle, kind, &ne, data)));
    }
    /// raw.DW_OP_..., unused inputs 0.
    pub fn op(self: Graph, what: i32, inputs: [4]Tensor, params: ?raw.OpParams) driftwood.Error!Tensor {
        if (params) |given| {
            const own = [1]raw.OpParams{given};
            return @intCast(try check(raw.graph_op(self.handle, what, &inputs, &own)));
        }
        return @intCast(try check(raw.graph_op(self.handle, what, &inputs, null)));
    }
    pub fn shape(self: Graph, of: Tensor) driftwood.Error!raw.Shape {
        var own = [1]raw.Shape{.{}};
        try status(raw.tensor_shape(self.handle, of, &own));
        return own[0];
    }
    /// Where an F32 result goes.
    pub fn output(self: Graph, of: Tensor, data: []f32) driftwood.Error!void {
        if (elements((try self.shape(of)).ne) > data.len) return error.Range;
        try status(raw.graph_output(self.handle, of, @ptrCast(data.ptr)));
    }
    pub fn build(self: Graph) driftwood.Error!void {
        try status(raw.graph_build(self.handle));
    }
    pub fn run(self: Graph) driftwood.Error!void {
        try status(raw.graph_run(self.handle));
    }
};
