const std = @import("std");

pub fn build(b: *std.Build) void {
    const target = b.resolveTargetQuery(.{ .cpu_arch = .wasm32, .os_tag = .wasi });
    const driftwood = b.createModule(.{ .root_source_file = b.path("driftwood/src/driftwood.zig"), .target = target });
    const guest = b.addExecutable(.{ .name = "@NAME@", .root_module = b.createModule(.{
        .root_source_file = b.path("main.zig"),
        .target = target,
        .optimize = .ReleaseSmall,
        .imports = &.{.{ .name = "driftwood", .module = driftwood }},
    }) });
    b.installArtifact(guest);
}
