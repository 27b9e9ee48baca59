// A server whose handlers ask another server before they answer, for tests of which request an outgoing one is a part of.
//
// For GET /in/ID it asks BACKEND for /users/ID, so that the two paths say which belong together. How it does so:
//
//	handler   the handler's goroutine asks, over connections that all handlers share
//	tls       the same through TLS; BACKEND is then reached by way of a process of its own that ends it
//	started   the handler starts a goroutine that asks, and waits for it
//
// It ends with its standard input.
package main

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"log"
	random "math/rand"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// What a handler does besides: long enough for requests to be under way at the same time.
const work = 4 * time.Millisecond

func pause() {
	time.Sleep(time.Duration(random.Int63n(int64(work))))
}

func ask(client *http.Client, url string) ([]byte, error) {
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	return io.ReadAll(response.Body)
}

func serve(port, backend string, client *http.Client, starts bool) error {
	handler := func(w http.ResponseWriter, r *http.Request) {
		id := strings.TrimPrefix(r.URL.Path, "/in/")
		pause()
		var body []byte
		var err error
		if starts {
			done := make(chan struct{})
			go func() {
				body, err = ask(client, backend+"/users/"+id)
				close(done)
			}()
			<-done
		} else {
			body, err = ask(client, backend+"/users/"+id)
		}
		if err != nil {
			log.Print(err)
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		pause()
		w.Write(body)
	}
	return http.ListenAndServe("127.0.0.1:"+port, http.HandlerFunc(handler))
}

// Takes TLS off, in front of a server without it. Says its address in one line.
func terminate(backend string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(24 * time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	listener, err := tls.Listen("tcp", "127.0.0.1:0", config)
	if err != nil {
		return err
	}
	fmt.Println(listener.Addr())
	for {
		from, err := listener.Accept()
		if err != nil {
			return err
		}
		to, err := net.Dial("tcp", backend)
		if err != nil {
			return err
		}
		for _, ends := range [][2]net.Conn{{from, to}, {to, from}} {
			go func(from, to net.Conn) {
				io.Copy(to, from)
				to.Close()
			}(ends[0], ends[1])
		}
	}
}

// Starts one that ends with this process.
func terminator(backend string) (string, error) {
	child := exec.Command("/proc/self/exe", "terminate", "0", backend)
	child.Env = append(os.Environ(), "OTEL_SERVICE_NAME=terminator")
	child.Stderr = os.Stderr
	child.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	output, err := child.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := child.Start(); err != nil {
		return "", err
	}
	line, err := bufio.NewReader(output).ReadString('\n')
	return strings.TrimSpace(line), err
}

func main() {
	if len(os.Args) != 4 {
		log.Fatal("usage: parents_go handler|tls|started PORT BACKEND")
	}
	kind, port, backend := os.Args[1], os.Args[2], os.Args[3]
	if kind == "terminate" {
		log.Fatal(terminate(backend))
	}
	transport := &http.Transport{MaxIdleConnsPerHost: 4}
	url := "http://" + backend
	if kind == "tls" {
		address, err := terminator(backend)
		if err != nil {
			log.Fatal(err)
		}
		transport.TLSClientConfig = &tls.Config{InsecureSkipVerify: true}
		url = "https://" + address
	}
	go func() { log.Fatal(serve(port, url, &http.Client{Transport: transport}, kind == "started")) }()
	io.Copy(io.Discard, os.Stdin)
}
