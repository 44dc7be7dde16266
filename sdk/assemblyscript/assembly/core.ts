import * as raw from "./raw";
import { exit, printError } from "./wasi";

/** A status below zero, and the host's words. */
export class Failure {
  constructor(public code: i32, public message: string) {}

  static last(code: i32): Failure {
    const words = new StaticArray<u8>(256);
    const length = raw.last_error(changetype<usize>(words), 256);
    return new Failure(code, String.UTF8.decodeUnsafe(changetype<usize>(words), <usize>max(length, 0)));
  }
}

/** A value, or a failure in its place: AssemblyScript has no exceptions that could be caught. */
export class Result<T> {
  constructor(private own: T, public failure: Failure | null = null) {}

  get ok(): bool {
    return this.failure == null;
  }
  /** Only where it is ok. */
  get value(): T {
    return this.own;
  }
  /** The value; on failure "what: why" on standard error, and the end of the guest. */
  must(what: string): T {
    const failure = this.failure;
    if (failure != null) {
      printError(what + ": " + failure.message + "\n");
      exit(1);
    }
    return this.own;
  }
}

export function number(result: i32): Result<i32> {
  return new Result<i32>(result, result < 0 ? Failure.last(result) : null);
}

/** UTF-8 of a text, for a call. */
export class Utf8 {
  buffer: ArrayBuffer;
  constructor(text: string, terminated: bool = false) {
    this.buffer = String.UTF8.encode(text, terminated);
  }
  get at(): usize {
    return changetype<usize>(this.buffer);
  }
  get bytes(): u32 {
    return <u32>this.buffer.byteLength;
  }
}

/** Zeros where every device uses them in place. */
export function floats(count: i32): Float32Array {
  const buffer = new ArrayBuffer(count * 4 + raw.TENSOR_ALIGN);
  return Float32Array.wrap(buffer, padding(buffer), count);
}
export function tokens(count: i32): Int32Array {
  const buffer = new ArrayBuffer(count * 4 + raw.TENSOR_ALIGN);
  return Int32Array.wrap(buffer, padding(buffer), count);
}

function padding(buffer: ArrayBuffer): i32 {
  const rest = <i32>(changetype<usize>(buffer) % raw.TENSOR_ALIGN);
  return rest == 0 ? 0 : raw.TENSOR_ALIGN - rest;
}

/** Tokens where every device reads them: as they are, or a copy. */
export function aligned(list: Int32Array): Int32Array {
  if (list.dataStart % raw.TENSOR_ALIGN == 0) return list;
  const out = tokens(list.length);
  out.set(list);
  return out;
}

/** Room for what a call writes, as much as it turns out to take:
 * while (room.again(call(..., room.at, room.count))) {} */
export class Room {
  list: Int32Array;
  bytes: i32;
  result: i32 = 0;

  /** unit: bytes of an element. told: the call leaves the number needed in the first four bytes. */
  constructor(public count: u32, private unit: u32, private told: bool) {
    this.list = tokens(0);
    this.bytes = 0;
    this.make(max<u32>(count, 4));
  }
  private make(count: u32): void {
    this.count = count;
    this.list = tokens(<i32>((count * this.unit + 3) / 4));
  }
  get at(): usize {
    return this.list.dataStart;
  }
  again(result: i32): bool {
    this.result = result;
    if (result != raw.E_SPACE || this.count > 1 << 28) return false;
    this.make(this.told ? load<u32>(this.at) : 2 * this.count);
    return true;
  }
  text(): Result<string> {
    return this.result < 0
      ? new Result<string>("", Failure.last(this.result))
      : new Result<string>(String.UTF8.decodeUnsafe(this.at, this.result));
  }
  data(): Result<Uint8Array> {
    const out = new Uint8Array(max(this.result, 0));
    if (this.result < 0) return new Result<Uint8Array>(out, Failure.last(this.result));
    memory.copy(out.dataStart, this.at, this.result);
    return new Result<Uint8Array>(out);
  }
  tokens(): Result<Int32Array> {
    return this.result < 0
      ? new Result<Int32Array>(tokens(0), Failure.last(this.result))
      : new Result<Int32Array>(this.list.subarray(0, this.result));
  }
}
