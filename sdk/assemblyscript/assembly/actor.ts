// What actors ask for. An actor exports driftwood_receive:
//
//   export function driftwood_receive(): i32 {
//     const message = input().must("input");
//     ...
//     return 0;
//   }
//
// Variables keep their values between messages.
import * as raw from "./raw";
import { Failure, Result, Room, Utf8, number } from "./core";

const ID_BYTES = 64;

function newId(result: i32, id: StaticArray<u8>): Result<string> {
  return result < 0
    ? new Result<string>("", Failure.last(result))
    : new Result<string>(String.UTF8.decodeUnsafe(changetype<usize>(id), ID_BYTES, true));
}

/** This actor's. */
export function id(): Result<string> {
  const own = new StaticArray<u8>(ID_BYTES);
  return newId(raw.actor_id(changetype<usize>(own), ID_BYTES), own);
}
/** Who sent the message: an actor's id, this one's own for timers, "" for outside. */
export function messageFrom(): Result<string> {
  const own = new StaticArray<u8>(ID_BYTES);
  return newId(raw.message_from(changetype<usize>(own), ID_BYTES), own);
}
/** The next piece of the answer. */
export function reply(message: string): Result<i32> {
  const own = new Utf8(message);
  return number(raw.reply(own.at, own.bytes));
}
export function replyBytes(bytes: Uint8Array): Result<i32> {
  return number(raw.reply(bytes.dataStart, bytes.length));
}
/** The message is answered later: the ticket for replyTo. */
export function replyLater(): Result<i64> {
  const ticket = raw.reply_later();
  return new Result<i64>(ticket, ticket < 0 ? Failure.last(<i32>ticket) : null);
}
/** The next piece of the answer that a ticket is for; last: it is whole. */
export function replyTo(ticket: i64, message: string, last: bool): Result<i32> {
  const own = new Utf8(message);
  return number(raw.reply_to(ticket, own.at, own.bytes, last ? raw.REPLY_LAST : 0));
}
export function replyToBytes(ticket: i64, bytes: Uint8Array, last: bool): Result<i32> {
  return number(raw.reply_to(ticket, bytes.dataStart, bytes.length, last ? raw.REPLY_LAST : 0));
}
/** To an actor by its id, in a runtime also "@NAME" and "#GROUP". */
export function send(to: string, message: string): Result<i32> {
  const whom = new Utf8(to);
  const own = new Utf8(message);
  return number(raw.actor_send(whom.at, whom.bytes, own.at, own.bytes));
}
export function sendBytes(to: string, bytes: Uint8Array): Result<i32> {
  const whom = new Utf8(to);
  return number(raw.actor_send(whom.at, whom.bytes, bytes.dataStart, bytes.length));
}
/** MESSAGE_PLAIN, or MESSAGE_WATCH: the host's word about an actor that is watched. */
export function messageKind(): Result<i32> {
  return number(raw.message_kind());
}
/** A message once that actor has ended or could not be made; events WATCH_ON_*: also when that happens. */
export function watch(whom: string, events: i32 = 0): Result<i32> {
  const own = new Utf8(whom);
  return number(raw.actor_watch(own.at, own.bytes, events));
}
export function unwatch(whom: string): Result<i32> {
  const own = new Utf8(whom);
  return number(raw.actor_unwatch(own.at, own.bytes));
}
/** guest "": this one's own module. The new actor's id. */
export function spawn(guest: string, message: string): Result<string> {
  const what = new Utf8(guest);
  const own = new Utf8(message);
  const made = new StaticArray<u8>(ID_BYTES);
  return newId(raw.actor_spawn(what.at, what.bytes, own.at, own.bytes, changetype<usize>(made), ID_BYTES), made);
}
/** A copy of this actor as it is after this message: its id. */
export function fork(message: string): Result<string> {
  const own = new Utf8(message);
  const made = new StaticArray<u8>(ID_BYTES);
  return newId(raw.actor_fork(own.at, own.bytes, changetype<usize>(made), ID_BYTES), made);
}
export function timer(waitMs: u64, message: string): Result<i32> {
  const own = new Utf8(message);
  return number(raw.actor_timer(waitMs, own.at, own.bytes));
}
export function join(group: string): Result<i32> {
  const own = new Utf8(group);
  return number(raw.group_join(own.at, own.bytes));
}
export function leave(group: string): Result<i32> {
  const own = new Utf8(group);
  return number(raw.group_leave(own.at, own.bytes));
}
/** Ends this actor for good, after the message. */
export function stop(): Result<i32> {
  return number(raw.actor_stop());
}
/** In driftwood_state: appends to what is handed over to another module. */
export function giveState(bytes: Uint8Array): Result<i32> {
  return number(raw.state_give(bytes.dataStart, bytes.length));
}
/** In driftwood_upgrade: all that the module before handed over. */
export function takeState(): Result<Uint8Array> {
  const bytes = raw.state_bytes();
  if (bytes < 0) return new Result<Uint8Array>(new Uint8Array(0), Failure.last(<i32>bytes));
  const room = new Room(<u32>bytes, 1, false);
  let taken: i32 = 0;
  while (taken < <i32>bytes) {
    const more = raw.state_take(room.at + taken, <u32>bytes - taken);
    if (more < 0) return new Result<Uint8Array>(new Uint8Array(0), Failure.last(more));
    if (more == 0) break;
    taken += more;
  }
  room.result = taken;
  return room.data();
}
/** In driftwood_upgrade: a model, context or sampler of the module before stays open. */
export function keep(handle: i32): Result<i32> {
  return number(raw.handle_keep(handle));
}
