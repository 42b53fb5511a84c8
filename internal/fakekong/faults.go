package fakekong

import (
	"encoding/json"
	"net/http"
	"time"
)

// Faults are what can be wrong with a gateway. They are switched at any time.
type Faults struct {
	DatabaseDown bool          `json:"database_down,omitempty"` // Admin API 500, proxying goes on
	Delay        time.Duration `json:"delay,omitempty"`         // before each answer of the Admin API
	Hang         bool          `json:"hang,omitempty"`          // half-open: takes Admin API requests and never answers
	Reset        bool          `json:"reset,omitempty"`         // cuts the Admin API's connections without an answer
	Status       int           `json:"status,omitempty"`        // answers every Admin API request with this status
}

// Call is one request that the Admin API was asked.
type Call struct {
	At     time.Time `json:"at"`
	Method string    `json:"method"`
	Path   string    `json:"path"`
	Query  string    `json:"query,omitempty"`
	Body   string    `json:"body,omitempty"`
	Status int       `json:"status"` // 0 when it was never answered
}

// SetFaults replaces the faults in force. Requests that hang because of the old
// ones stay hanging until their client gives up.
func (k *Kong) SetFaults(f Faults) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.faults = f
}

// Calls returns the requests that the Admin API was asked, in the order of their
// answers.
func (k *Kong) Calls() []Call {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]Call(nil), k.calls...)
}

// ResetCalls forgets the calls so far.
func (k *Kong) ResetCalls() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.calls = nil
}

// Control returns a small API for processes that stand elsewhere: GET and PUT
// /faults, GET and DELETE /calls, POST /flush.
func (k *Kong) Control() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /faults", func(w http.ResponseWriter, _ *http.Request) {
		k.mu.Lock()
		f := k.faults
		k.mu.Unlock()
		writeControl(w, f)
	})
	mux.HandleFunc("PUT /faults", func(w http.ResponseWriter, r *http.Request) {
		var f Faults
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<16))
		d.DisallowUnknownFields()
		if err := d.Decode(&f); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		k.SetFaults(f)
		writeControl(w, f)
	})
	mux.HandleFunc("GET /calls", func(w http.ResponseWriter, _ *http.Request) { writeControl(w, k.Calls()) })
	mux.HandleFunc("DELETE /calls", func(w http.ResponseWriter, _ *http.Request) {
		k.ResetCalls()
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /flush", func(w http.ResponseWriter, r *http.Request) {
		if err := k.Flush(r.Context()); err != nil {
			http.Error(w, err.Error(), http.StatusGatewayTimeout)
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	return mux
}

func writeControl(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(v); err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
	}
}
