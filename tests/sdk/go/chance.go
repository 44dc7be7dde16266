// An actor that tells whatever Go leaves to chance, and the time.
package main

import (
	crypto "crypto/rand"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"time"

	"driftwood"
)

var kept string
var started = time.Now()

// The order in which Go walks a map, chooses among channels, and its random numbers.
func look() string {
	told := strings.Builder{}
	names := map[int]bool{}
	for i := 0; i < 20; i++ {
		names[i] = true
	}
	for name := range names {
		fmt.Fprintf(&told, "%d,", name)
	}
	channels := [2]chan bool{make(chan bool, 8), make(chan bool, 8)}
	for i := 0; i < 8; i++ {
		channels[0] <- true
		channels[1] <- true
	}
	for i := 0; i < 8; i++ {
		select {
		case <-channels[0]:
			told.WriteByte('a')
		case <-channels[1]:
			told.WriteByte('b')
		}
	}
	secret := make([]byte, 8)
	crypto.Read(secret)
	before := time.Now()
	time.Sleep(3 * time.Millisecond)
	fmt.Fprintf(&told, " %x %x %d %d %d", rand.Uint64(), secret, before.UnixNano(),
		time.Since(before), time.Since(started))
	return told.String()
}

//go:wasmexport driftwood_receive
func receive() int32 { return driftwood.Receive(handle) }

func handle(message []byte) error {
	switch string(message) {
	case "look":
		kept = look()
	case "work": // which is long enough to be killed at
		kept = look()
		fmt.Fprintln(os.Stderr, kept)
		time.Sleep(2 * time.Second)
	}
	fmt.Println(kept)
	return nil
}

func main() {}
