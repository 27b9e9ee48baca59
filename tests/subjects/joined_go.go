// An HTTP server whose routes burn CPU in functions of their own: /alpha/... in burnAlpha, /beta/... in burnBeta, about 15 ms each.
//
// Handlers are goroutines on threads that all share, and each burns for longer than the runtime lets one run undisturbed.
// It ends with its standard input.
package main

import (
	"io"
	"log"
	"net/http"
	"os"
	"strings"
)

var sinks [2]uint64

func step(value uint64) uint64 {
	return value*6364136223846793005 + 1442695040888963407
}

//go:noinline
func burnAlpha() {
	value := sinks[0] | 1
	for at := 0; at < 12000000; at++ {
		value = step(value)
	}
	sinks[0] = value
}

//go:noinline
func burnBeta() {
	value := sinks[1] | 1
	for at := 0; at < 12000000; at++ {
		value = step(value)
	}
	sinks[1] = value
}

func main() {
	if len(os.Args) != 2 {
		log.Fatal("usage: joined_go PORT")
	}
	handler := func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/alpha/") {
			burnAlpha()
		} else {
			burnBeta()
		}
		io.WriteString(w, "ok")
	}
	go func() { log.Fatal(http.ListenAndServe("127.0.0.1:"+os.Args[1], http.HandlerFunc(handler))) }()
	io.Copy(io.Discard, os.Stdin)
}
