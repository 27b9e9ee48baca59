// Go's net/http as server and client, with its own TLS and HTTP/2; see README.md.
package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptrace"
	"os"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
	"unsafe"
)

var (
	logPath     = flag.String("log", "", "where to write what was done")
	certificate = flag.String("certificate", "", "certificate for TLS")
	key         = flag.String("key", "", "its key")
	url         = flag.String("url", "", "the server")
	planPath    = flag.String("plan", "", "what to ask for")
	http2       = flag.Bool("http2", false, "HTTP/2, which needs TLS")
)

var (
	bodies   = map[string]int{"/small": 100, "/medium": 5000, "/large": 100000}
	statuses = map[string]int{"/empty": 204, "/upload": 201, "/moved": 301, "/error": 500}
)

type request struct {
	Method string `json:"method"`
	Path   string `json:"path"`
	Body   int    `json:"body"`
	Fresh  bool   `json:"fresh"`
}

type exchange struct {
	Side   string `json:"side"`
	Method string `json:"method"`
	Path   string `json:"path"`
	Status int    `json:"status"`
	*took
}

// When it began, and how long it was.
type took struct {
	Start   float64 `json:"start"`
	Seconds float64 `json:"seconds"`
}

type notes struct {
	lock sync.Mutex
	file *os.File
}

func (n *notes) write(of any) {
	line, err := json.Marshal(of)
	if err != nil {
		log.Fatal(err)
	}
	n.lock.Lock()
	defer n.lock.Unlock()
	if _, err := n.file.Write(append(line, '\n')); err != nil {
		log.Fatal(err)
	}
}

// CLOCK_MONOTONIC, which package time has but does not tell.
func monotonic() float64 {
	var now syscall.Timespec
	_, _, errno := syscall.Syscall(syscall.SYS_CLOCK_GETTIME, 1, uintptr(unsafe.Pointer(&now)), 0)
	if errno != 0 {
		log.Fatal(errno)
	}
	return float64(now.Sec) + float64(now.Nsec)/1e9
}

// The frames that package http2 reads and writes, as it tells when it debugs itself: its own clock, next to its connection. What a handler or a caller sees is some
// goroutines away from that.
type frames struct {
	notes *notes
	// Who asks: a client writes requests, a server reads them.
	asks string
	open map[string]float64
}

var frame = regexp.MustCompile(`^http2: Framer (\S+): (read|wrote) (HEADERS|DATA|RST_STREAM) (?:flags=(\S+) )?stream=(\d+)`)

// The logger calls it for one line at a time.
func (f *frames) Write(line []byte) (int, error) {
	now := monotonic()
	parts := frame.FindSubmatch(line)
	if parts == nil {
		return len(line), nil
	}
	stream := string(parts[1]) + " " + string(parts[5])
	start, open := f.open[stream]
	if string(parts[2]) == f.asks {
		if !open && string(parts[3]) == "HEADERS" {
			f.open[stream] = now
		}
	} else if open && (bytes.Contains(parts[4], []byte("END_STREAM")) || string(parts[3]) == "RST_STREAM") {
		delete(f.open, stream)
		f.notes.write(took{start, now - start})
	}
	return len(line), nil
}

// Has package http2 tell its frames, which it looks for in the environment before this program runs.
func watchFrames(n *notes, asks string) {
	const setting = "http2debug=2"
	if !strings.Contains(os.Getenv("GODEBUG"), setting) {
		environment := append(os.Environ(), "GODEBUG="+setting)
		log.Fatal(syscall.Exec("/proc/self/exe", os.Args, environment))
	}
	log.SetFlags(0)
	log.SetOutput(&frames{notes: n, asks: asks, open: map[string]float64{}})
}

// None over HTTP/2, where the frames tell.
func tookFrom(start, seconds float64) *took {
	if *http2 {
		return nil
	}
	return &took{start, seconds}
}

func say(more map[string]any) {
	more["library"] = "net/http of " + strings.Replace(runtime.Version(), "go", "Go ", 1)
	if *certificate != "" {
		more["tls"] = "crypto/tls of " + strings.Replace(runtime.Version(), "go", "Go ", 1)
	}
	if err := json.NewEncoder(os.Stdout).Encode(more); err != nil {
		log.Fatal(err)
	}
}

func serve(n *notes) error {
	handler := func(w http.ResponseWriter, r *http.Request) {
		start := monotonic()
		path := r.URL.Path
		if _, err := io.Copy(io.Discard, r.Body); err != nil {
			log.Print(err)
		}
		status, known := statuses[path]
		size, sized := bodies[path]
		if !known {
			status = 404
			if sized || path == "/chunked" || strings.HasPrefix(path, "/users/") {
				status = 200
			}
		}
		if status == 301 {
			w.Header().Set("Location", "/small")
		}
		if status != 204 && path != "/chunked" {
			w.Header().Set("Content-Length", strconv.Itoa(size))
		}
		w.WriteHeader(status)
		flusher := w.(http.Flusher)
		if r.Method != "HEAD" {
			if path == "/chunked" {
				for piece := 0; piece < 3; piece++ {
					fmt.Fprint(w, strings.Repeat("x", 1000))
					flusher.Flush()
				}
			} else {
				fmt.Fprint(w, strings.Repeat("x", size))
			}
		}
		// Written out here, not when the handler is over, so that the time is that of the answer.
		flusher.Flush()
		n.write(exchange{"server", r.Method, path, status, tookFrom(start, monotonic()-start)})
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	server := &http.Server{Handler: http.HandlerFunc(handler), ErrorLog: log.New(io.Discard, "", 0)}
	if !*http2 {
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
	}
	go func() {
		if *certificate == "" {
			log.Fatal(server.Serve(listener))
		}
		log.Fatal(server.ServeTLS(listener, *certificate, *key))
	}()
	say(map[string]any{"listening": listener.Addr().(*net.TCPAddr).Port})
	_, err = io.Copy(io.Discard, bufio.NewReader(os.Stdin))
	return err
}

// When a connection was first written to, and last read from, since it was reset: what the library does before and after is none of
// the exchange's time.
type moment struct {
	lock       sync.Mutex
	start, end float64
}

func (m *moment) reset() {
	m.lock.Lock()
	defer m.lock.Unlock()
	m.start = 0
}

func (m *moment) get() (start, seconds float64) {
	m.lock.Lock()
	defer m.lock.Unlock()
	return m.start, m.end - m.start
}

type timed struct {
	net.Conn
	*moment
}

func (t timed) Write(bytes []byte) (int, error) {
	t.lock.Lock()
	if t.start == 0 {
		t.start = monotonic()
	}
	t.lock.Unlock()
	return t.Conn.Write(bytes)
}

func (t timed) Read(into []byte) (int, error) {
	count, err := t.Conn.Read(into)
	t.lock.Lock()
	t.end = monotonic()
	t.lock.Unlock()
	return count, err
}

func transport(m *moment) (*http.Transport, error) {
	dial := func(ctx context.Context, network, address string) (net.Conn, error) {
		connection, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return timed{connection, m}, nil
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 1}
	if *certificate != "" {
		pem, err := os.ReadFile(*certificate)
		if err != nil {
			return nil, err
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return nil, errors.New("no certificate in " + *certificate)
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	switch {
	case *http2:
		transport.ForceAttemptHTTP2 = true
	case *certificate != "":
		// The clock is around crypto/tls, which is to hold what it holds everywhere: *net.TCPConn.
		transport.DialTLSContext = func(ctx context.Context, network, address string) (net.Conn, error) {
			connection, err := (&tls.Dialer{Config: transport.TLSClientConfig}).DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			return timed{connection, m}, nil
		}
	default:
		transport.DialContext = dial
	}
	return transport, nil
}

func work(plan []request, n *notes) error {
	m := &moment{}
	connection, err := transport(m)
	if err != nil {
		return err
	}
	for _, ask := range plan {
		if ask.Fresh {
			connection.CloseIdleConnections()
			if connection, err = transport(m); err != nil {
				return err
			}
		}
		var body io.Reader
		if ask.Method == "POST" {
			body = bytes.NewReader(bytes.Repeat([]byte("x"), ask.Body))
		}
		request, err := http.NewRequest(ask.Method, *url+ask.Path, body)
		if err != nil {
			return err
		}
		// From when the connection stands.
		trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { m.reset() }}
		request = request.WithContext(httptrace.WithClientTrace(request.Context(), trace))
		response, err := connection.RoundTrip(request)
		if err != nil {
			return err
		}
		_, err = io.Copy(io.Discard, response.Body)
		if err != nil {
			return err
		}
		start, seconds := m.get()
		response.Body.Close()
		if want := map[bool]int{false: 1, true: 2}[*http2]; response.ProtoMajor != want {
			return fmt.Errorf("the server speaks %s", response.Proto)
		}
		n.write(exchange{"client", ask.Method, ask.Path, response.StatusCode, tookFrom(start, seconds)})
	}
	connection.CloseIdleConnections()
	return nil
}

func ask(n *notes) error {
	text, err := os.ReadFile(*planPath)
	if err != nil {
		return err
	}
	var plans [][]request
	if err := json.Unmarshal(text, &plans); err != nil {
		return err
	}
	say(map[string]any{})
	failed := make(chan error, len(plans))
	for _, plan := range plans {
		go func(plan []request) { failed <- work(plan, n) }(plan)
	}
	for range plans {
		if err := <-failed; err != nil {
			return err
		}
	}
	time.Sleep(300 * time.Millisecond)
	return nil
}

func main() {
	if len(os.Args) < 2 {
		log.Fatal("server or client?")
	}
	if err := flag.CommandLine.Parse(os.Args[2:]); err != nil {
		log.Fatal(err)
	}
	file, err := os.Create(*logPath)
	if err != nil {
		log.Fatal(err)
	}
	n := &notes{file: file}
	if *http2 {
		watchFrames(n, map[string]string{"server": "read", "client": "wrote"}[os.Args[1]])
	}
	role := map[string]func(*notes) error{"server": serve, "client": ask}[os.Args[1]]
	if err := role(n); err != nil {
		log.Fatal(err)
	}
}
