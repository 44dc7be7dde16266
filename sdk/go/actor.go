package driftwood

import (
	"fmt"
	"os"
	"unsafe"
)

// Receive hands an actor's message to a function. A program of -buildmode=c-shared exports it so:
//
//	//go:wasmexport driftwood_receive
//	func receive() int32 { return driftwood.Receive(handle) }
//
// Variables keep their values between messages. An error is told on standard error, and the sender
// gets its code.
func Receive(handle func(message []byte) error) int32 {
	message, err := Input()
	if err == nil {
		err = handle(message)
	}
	if err == nil {
		return 0
	}
	fmt.Fprintln(os.Stderr, err)
	if own, is := err.(*Error); is && own.Code < 0 {
		return own.Code
	}
	return E_ARG
}

func newID(write func(to unsafe.Pointer, room uint32) int32) (string, error) {
	id := make([]byte, 64)
	if err := status(write(at(id), uint32(len(id)))); err != nil {
		return "", err
	}
	for i, b := range id {
		if b == 0 {
			return string(id[:i]), nil
		}
	}
	return string(id), nil
}

// ActorID of this actor.
func ActorID() (string, error) { return newID(rawActorId) }

// MessageFrom is the sender's id: this actor's own for timers, "" for outside.
func MessageFrom() (string, error) { return newID(rawMessageFrom) }

// Reply gives the next piece of the answer.
func Reply(bytes []byte) error { return status(rawReply(at(bytes), uint32(len(bytes)))) }

// MessageKind is MESSAGE_PLAIN, or MESSAGE_WATCH: the host's word about an actor that is watched.
func MessageKind() (int, error) {
	kind := rawMessageKind()
	return int(kind), status(kind)
}

// Watch asks for a message once that actor has ended or could not be made; with events,
// WATCH_ON_FAILURE and WATCH_ON_ASIDE, also when that happens.
func Watch(whom string, events int) error {
	return status(rawActorWatch(textAt(whom), uint32(len(whom)), uint32(events)))
}

func Unwatch(whom string) error {
	return status(rawActorUnwatch(textAt(whom), uint32(len(whom))))
}

// ReplyLater answers the message later: the ticket for ReplyTo.
func ReplyLater() (int64, error) {
	ticket := rawReplyLater()
	if ticket < 0 {
		return 0, lastError(int32(ticket))
	}
	return ticket, nil
}

// ReplyTo gives the next piece of the answer that a ticket is for; last: it is whole.
func ReplyTo(ticket int64, bytes []byte, last bool) error {
	flags := uint32(0)
	if last {
		flags = REPLY_LAST
	}
	return status(rawReplyTo(ticket, at(bytes), uint32(len(bytes)), flags))
}

// Send to an actor by its id, in a runtime also "@NAME" and "#GROUP".
func Send(to string, message []byte) error {
	return status(rawActorSend(textAt(to), uint32(len(to)), at(message), uint32(len(message))))
}

// Spawn a new actor of the guest with this name ("": of this one's module), with its first message.
func Spawn(guest string, message []byte) (string, error) {
	return newID(func(to unsafe.Pointer, room uint32) int32 {
		return rawActorSpawn(textAt(guest), uint32(len(guest)), at(message), uint32(len(message)), to, room)
	})
}

// ForkActor makes a copy of this actor as it is after this message, with its first message.
func ForkActor(message []byte) (string, error) {
	return newID(func(to unsafe.Pointer, room uint32) int32 {
		return rawActorFork(at(message), uint32(len(message)), to, room)
	})
}

// Timer sends this actor a message in waitMs milliseconds.
func Timer(waitMs uint64, message []byte) error {
	return status(rawActorTimer(waitMs, at(message), uint32(len(message))))
}

// Join a group of this actor's tenant.
func Join(group string) error { return status(rawGroupJoin(textAt(group), uint32(len(group)))) }

// Leave it.
func Leave(group string) error { return status(rawGroupLeave(textAt(group), uint32(len(group)))) }

// Stop ends this actor for good, after the message.
func Stop() error { return status(rawActorStop()) }

// GiveState in driftwood_state: appends to what is handed over to another module.
func GiveState(bytes []byte) error { return status(rawStateGive(at(bytes), uint32(len(bytes)))) }

// TakeState in driftwood_upgrade: all that the module before handed over.
func TakeState() ([]byte, error) {
	bytes := rawStateBytes()
	if bytes < 0 {
		return nil, lastError(int32(bytes))
	}
	all := make([]byte, bytes)
	for taken := 0; taken < len(all); {
		more, err := check(rawStateTake(at(all[taken:]), uint32(len(all)-taken)))
		if err != nil || more == 0 {
			return all[:taken], err
		}
		taken += more
	}
	return all, nil
}

// KeepHandle in driftwood_upgrade: a model, context or sampler of the module before stays open; hand
// the number to ModelOf, ContextOf, SamplerOf.
func KeepHandle(handle int32) error { return status(rawHandleKeep(handle)) }
