// What programs need of WASI preview 1: printing, the environment, the end.

@external("wasi_snapshot_preview1", "fd_write")
declare function fd_write(fd: i32, pieces: usize, count: usize, written: usize): i32;
@external("wasi_snapshot_preview1", "environ_sizes_get")
declare function environ_sizes_get(count: usize, bytes: usize): i32;
@external("wasi_snapshot_preview1", "environ_get")
declare function environ_get(places: usize, bytes: usize): i32;
@external("wasi_snapshot_preview1", "proc_exit")
declare function proc_exit(status: i32): void;

/** Bytes to a descriptor: 1 is standard output, 2 standard error. */
export function writeBytes(fd: i32, from: usize, bytes: usize): void {
  const piece = memory.data(12);
  while (bytes > 0) {
    store<u32>(piece, <u32>from);
    store<u32>(piece, <u32>bytes, 4);
    if (fd_write(fd, piece, 1, piece + 8) != 0) return;
    const written = <usize>load<u32>(piece, 8);
    if (written == 0) return;
    from += written;
    bytes -= written;
  }
}

/** Text to standard output, at once. */
export function print(text: string): void {
  const bytes = String.UTF8.encode(text);
  writeBytes(1, changetype<usize>(bytes), bytes.byteLength);
}

/** Text to standard error. */
export function printError(text: string): void {
  const bytes = String.UTF8.encode(text);
  writeBytes(2, changetype<usize>(bytes), bytes.byteLength);
}

/** Ends the guest. */
export function exit(status: i32): void {
  proc_exit(status);
}

/** A variable of the guest's environment, such as DRIFTWOOD_PROMPT; null: it is not set. */
export function env(name: string): string | null {
  const sizes = memory.data(8);
  if (environ_sizes_get(sizes, sizes + 4) != 0) return null;
  const count = load<u32>(sizes);
  const places = new StaticArray<u32>(count);
  const texts = new StaticArray<u8>(load<u32>(sizes, 4) + 1);
  if (environ_get(changetype<usize>(places), changetype<usize>(texts)) != 0) return null;
  const wanted = name + "=";
  for (let i: u32 = 0; i < count; i++) {
    let bytes: usize = 0;
    while (load<u8>(<usize>places[i] + bytes) != 0) bytes++;
    const entry = String.UTF8.decodeUnsafe(places[i], bytes);
    if (entry.startsWith(wanted)) return entry.substring(wanted.length);
  }
  return null;
}

/** The same, or what stands for it. */
export function setting(name: string, fallback: string): string {
  const value = env(name);
  return value != null ? value : fallback;
}

/** In the place of AssemblyScript's abort (asc --use abort=...): says what, and ends the guest. */
export function abort(message: string | null, file: string | null, line: u32, column: u32): void {
  printError((message != null ? message : "abort") + " in " + (file != null ? file : "?") + ":" +
    line.toString() + ":" + column.toString() + "\n");
  proc_exit(1);
}
