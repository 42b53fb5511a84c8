package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
)

// audience is as much of an Elasticsearch and of a Grafana as an export needs: it keeps
// documents by their ids and annotations in their order.
type audience struct {
	mu    sync.Mutex
	ids   []string
	docs  []json.RawMessage
	notes []json.RawMessage
}

// startAudience sets $NAME to where an Elasticsearch, whose API key is es-key, and a
// Grafana, whose token is grafana-token, answer both. GET $NAME/heard tells what they have.
func startAudience(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: audience NAME")
	}
	a := &audience{}
	with := func(credentials string, next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != credentials {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			a.mu.Lock()
			defer a.mu.Unlock()
			w.Header().Set("Content-Type", "application/json")
			next(w, r)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /{stream}/_search", with("ApiKey es-key", a.search))
	mux.HandleFunc("POST /{stream}/_bulk", with("ApiKey es-key", a.bulk))
	mux.HandleFunc("GET /_index_template/{name}", with("ApiKey es-key", func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusNotFound)
	}))
	mux.HandleFunc("PUT /_index_template/{name}", with("ApiKey es-key", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, `{"acknowledged":true}`)
	}))
	mux.HandleFunc("GET /api/annotations", with("Bearer grafana-token", func(w http.ResponseWriter, _ *http.Request) {
		newest := slices.Clone(a.notes)
		slices.Reverse(newest)
		_ = json.NewEncoder(w).Encode(append([]json.RawMessage{}, newest...))
	}))
	mux.HandleFunc("POST /api/annotations", with("Bearer grafana-token", func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		a.notes = append(a.notes, body)
		_, _ = io.WriteString(w, `{"id":1}`)
	}))
	mux.HandleFunc("GET /heard", with("", func(w http.ResponseWriter, _ *http.Request) {
		for _, text := range slices.Concat(a.docs, a.notes) {
			_, _ = fmt.Fprintf(w, "%s\n", text)
		}
	}))
	server := httptest.NewServer(mux)
	ts.Defer(server.Close)
	ts.Setenv(args[0], server.URL)
}

// search answers with the newest document.
func (a *audience) search(w http.ResponseWriter, _ *http.Request) {
	hits := []any{}
	if n := len(a.docs); n > 0 {
		hits = append(hits, map[string]any{"_id": a.ids[n-1], "_source": a.docs[n-1]})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{
		"timed_out": false, "_shards": map[string]int{"total": 1, "successful": 1, "failed": 0}, "hits": map[string]any{"hits": hits},
	})
}

// bulk creates documents, each once.
func (a *audience) bulk(w http.ResponseWriter, r *http.Request) {
	items, lines := []any{}, bufio.NewScanner(r.Body)
	for lines.Scan() {
		var head struct {
			Create struct {
				ID string `json:"_id"`
			} `json:"create"`
		}
		if err := json.Unmarshal(lines.Bytes(), &head); err != nil || !lines.Scan() {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		status := http.StatusCreated
		if slices.Contains(a.ids, head.Create.ID) {
			status = http.StatusConflict
		} else {
			a.ids, a.docs = append(a.ids, head.Create.ID), append(a.docs, json.RawMessage(lines.Text()))
		}
		items = append(items, map[string]any{"create": map[string]any{"_id": head.Create.ID, "status": status}})
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"errors": false, "items": items})
}
