// Works off the messages of a topic:  go run examples/go/worker/main.go billing orders
//
// What handle finishes is acknowledged, after the work and never before. When it returns an error the message is given back
// with the reason: it comes again after the group's retry delay, or becomes a dead letter when its attempts are used up. If
// this program is killed, the lease runs out and the message comes again, so the work must bear to see a message twice.
//
// With STOP_WHEN_EMPTY=1 it ends when nothing came for WAIT (20s). Nothing but the standard library.
package main

import (
	"bytes"
	"cmp"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"os"
	"slices"
	"time"
)

var (
	url    = cmp.Or(os.Getenv("WHIMBREL_URL"), "http://127.0.0.1:8080")
	client = &http.Client{Timeout: 90 * time.Second}
)

type message struct {
	ID, Topic, Body, Encoding, Receipt string
	Attempt                            int
	Properties                         map[string]string
}

type settle struct {
	Receipt string `json:"receipt"`
	Reason  string `json:"reason,omitempty"`
}

// handle is the work.
func handle(body []byte, _ message) error {
	if len(body) == 0 {
		return errors.New("an empty order")
	}
	fmt.Printf("billed: %s\n", body)
	return nil
}

// call POSTs JSON until there is an answer. Safe here: receiving and settling may be repeated, unlike sending.
func call(path string, form, answer any) {
	body, err := json.Marshal(form)
	if err != nil {
		log.Fatal(err)
	}
	for pause := 250 * time.Millisecond; ; pause = min(pause*2, 5*time.Second) {
		response, err := client.Post(url+"/v1/groups/"+path, "application/json", bytes.NewReader(body))
		if err == nil {
			var text []byte
			text, err = io.ReadAll(response.Body)
			response.Body.Close()
			if err == nil && response.StatusCode == http.StatusOK {
				if err = json.Unmarshal(text, answer); err == nil {
					return
				}
			} else if !slices.Contains([]int{200, 429, 502, 503, 504}, response.StatusCode) {
				log.Fatalf("refused with %d: %s", response.StatusCode, text)
			}
		}
		if err != nil {
			log.Printf("%v; trying again", err)
		}
		time.Sleep(pause)
	}
}

func main() {
	log.SetFlags(0)
	log.SetPrefix("work.go: ")
	if len(os.Args) != 3 {
		log.Fatal("usage: main.go GROUP TOPIC")
	}
	group, wait := os.Args[1], cmp.Or(os.Getenv("WAIT"), "20s")
	// Ten messages at most: the work on all of them has to fit into one lease (a minute, unless the group says otherwise).
	form := map[string]any{"topic": os.Args[2], "wait": wait, "max_messages": 10}
	for {
		var received struct{ Messages []message }
		call(group+"/receive", form, &received)
		if len(received.Messages) == 0 {
			if os.Getenv("STOP_WHEN_EMPTY") == "1" {
				return
			}
			continue
		}
		acks, nacks := []settle{}, []settle{}
		for _, message := range received.Messages {
			body, err := []byte(message.Body), error(nil)
			if message.Encoding == "base64" {
				body, err = base64.StdEncoding.DecodeString(message.Body)
			}
			if err == nil {
				err = handle(body, message)
			}
			if err == nil {
				acks = append(acks, settle{Receipt: message.Receipt})
			} else {
				nacks = append(nacks, settle{message.Receipt, err.Error()})
			}
		}
		var settled struct{ Results []struct{ Status string } }
		call(group+"/settle", map[string]any{"acks": acks, "nacks": nacks}, &settled)
		for _, result := range settled.Results {
			if result.Status != "ok" && result.Status != "already" {
				log.Print("settled too late, the message comes again")
			}
		}
	}
}
