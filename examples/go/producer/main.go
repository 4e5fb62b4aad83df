// Sends every line of standard input as one message:  printf 'a\nb\n' | go run examples/go/producer/main.go orders
//
// Exit code 0 means that every line is on the broker's disk. What was not stored for sure (503, 429, nothing listens) is
// sent again for a while. A 504, or a connection that broke, means "not known": the line is not sent again, because that
// could store it twice. Nothing but the standard library.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"errors"
	"io"
	"log"
	"net/http"
	"os"
	"syscall"
	"time"
)

var (
	url    = cmp.Or(os.Getenv("WHIMBREL_URL"), "http://127.0.0.1:8080")
	client = &http.Client{Timeout: 60 * time.Second}
)

// send returns once the broker has the message; it ends the program when it has not, or when nobody knows.
func send(topic string, body []byte) {
	for _, pause := range []time.Duration{250, 500, 1000, 2000, 4000, 8000, 0} {
		address := url + "/v1/topics/" + topic + "/messages"
		answer, err := client.Post(address, "text/plain; charset=utf-8", bytes.NewReader(body))
		switch {
		case err == nil:
			text, _ := io.ReadAll(answer.Body)
			answer.Body.Close()
			switch answer.StatusCode {
			case http.StatusCreated:
				return
			case http.StatusTooManyRequests, http.StatusServiceUnavailable:
			case http.StatusGatewayTimeout:
				log.Fatalf("not known whether this was stored: %s", body)
			default:
				log.Fatalf("refused with %d: %s", answer.StatusCode, text)
			}
		case !errors.Is(err, syscall.ECONNREFUSED):
			log.Fatalf("not known whether this was stored (%v): %s", err, body)
		}
		time.Sleep(pause * time.Millisecond)
	}
	log.Fatalf("not stored: %s", body)
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("send.go: ")
	if len(os.Args) != 2 {
		log.Fatal("usage: main.go TOPIC, one message a line on standard input")
	}
	lines := bufio.NewScanner(os.Stdin)
	lines.Buffer(nil, 4<<20) // a body has at most 4 MiB
	for lines.Scan() {
		send(os.Args[1], lines.Bytes())
	}
	if err := lines.Err(); err != nil {
		log.Fatal(err)
	}
}
