package main

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// startListener starts somebody who takes in what is posted, answers 200, and tells it
// again, a body a line, to whoever asks with GET.
func startListener(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: listener NAME")
	}
	var mu sync.Mutex
	var heard strings.Builder
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		mu.Lock()
		defer mu.Unlock()
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusBadRequest)
		case r.Method == http.MethodGet:
			_, _ = io.WriteString(w, heard.String())
		default:
			fmt.Fprintf(&heard, "%s %s %s\n", r.Method, r.URL.Path, body)
		}
	}))
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
}

// send posts a file as it is. The answer must be 200, or something else after a "!", and
// becomes the stdout of the session.
func send(ts *testscript.TestScript, neg bool, args []string) {
	if len(args) != 2 {
		ts.Fatalf("usage: [!] send FILE URL")
	}
	resp, err := http.Post(args[1], "application/json", strings.NewReader(ts.ReadFile(args[0])))
	ts.Check(err)
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	ts.Check(err)
	_, err = ts.Stdout().Write(answer)
	ts.Check(err)
	if (resp.StatusCode == http.StatusOK) == neg {
		ts.Fatalf("it was answered with %s: %s", resp.Status, answer)
	}
}
