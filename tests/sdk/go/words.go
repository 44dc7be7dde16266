// An actor in which something goes wrong.
package main

import "driftwood"

func sail(message []byte) error {
	var tides map[string]int
	if string(message) == "fail" {
		panic("no tide today")
	}
	if string(message) == "nil" {
		tides["high"] = 1
	}
	if message[0] == '=' {
		answer, err := driftwood.Call("echo", message[1:])
		if err != nil {
			return err
		}
		return driftwood.Reply(answer)
	}
	return driftwood.Reply([]byte("well"))
}

//go:wasmexport driftwood_receive
func receive() int32 { return driftwood.Receive(sail) }

func main() {}
