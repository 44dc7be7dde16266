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
	return driftwood.Reply([]byte("well"))
}

//go:wasmexport driftwood_receive
func receive() int32 { return driftwood.Receive(sail) }

func main() {}
