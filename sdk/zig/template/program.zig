const std = @import("std");

pub fn build(b: *std.Build) void {
    const target = b.resolveTargetQuery(.{ .cpu_arch = .wasm32, .os_tag = .wasi });
    const driftwood = b.createModule(.{ .root_source_file = b.path("driftwood/src/driftwood.zig"), .target = target });
    const guest = b.addExecutable(.{ .name = "@NAME@", .root_module = b.createModule(.{
        .root_source_file = b.path("main.zig"),
        .target = target,
        .optimize = .ReleaseSafe, // .ReleaseSmall with .strip = true: a tenth of the size, and no checks
        .strip = false, // names and lines in the host's word on a trap
        .imports = &.{.{ .name = "driftwood", .module = driftwood }},
    }) });
    b.installArtifact(guest);
}
