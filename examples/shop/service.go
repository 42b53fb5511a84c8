package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// service is one instance of one service of the shop. What customers ask for lies
// below its name, which is also the path that Kong routes here; what operators do lies
// below /-/, where no route leads.
type service struct {
	name   string
	peers  map[string]string // base URLs of the services that it calls, by name
	client *http.Client
	logger *slog.Logger
	chance func() float64 // from 0 to 1

	release atomic.Pointer[release]
	faults  atomic.Pointer[faults]
}

// newService returns an instance that runs a version. client carries its calls to
// peers.
func newService(name, version string, peers map[string]string, client *http.Client, logger *slog.Logger) (*service, error) {
	s := &service{name: name, peers: peers, client: client, logger: logger, chance: rand.Float64}
	r, err := releaseOf(version)
	if err != nil {
		return nil, err
	}
	s.release.Store(&r)
	s.faults.Store(&faults{})
	return s, nil
}

// handler returns what the instance serves. trace wraps what customers ask for.
func (s *service) handler(trace func(http.Handler) http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /-/healthy", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.release.Load()) })
	mux.HandleFunc("GET /-/release", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.release.Load()) })
	mux.HandleFunc("PUT /-/release", s.deploy)
	mux.HandleFunc("GET /-/faults", func(w http.ResponseWriter, _ *http.Request) { answer(w, http.StatusOK, s.faults.Load()) })
	mux.HandleFunc("PUT /-/faults", s.breakDown)
	mux.HandleFunc("DELETE /-/faults", func(w http.ResponseWriter, _ *http.Request) {
		s.faults.Store(&faults{})
		s.logger.Info("faults are gone")
		answer(w, http.StatusOK, s.faults.Load())
	})
	mux.Handle("/"+s.name, trace(http.HandlerFunc(s.ask)))
	mux.Handle("/"+s.name+"/", trace(http.HandlerFunc(s.ask)))
	return mux
}

// maxOrder bounds the body of what operators send.
const maxOrder = 64 << 10

// read decodes the body of an operator's request strictly, and answers when it can't.
func read(w http.ResponseWriter, r *http.Request, v any) bool {
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, maxOrder))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return false
	}
	return true
}

// deploy puts another version in the place of the one that runs.
func (s *service) deploy(w http.ResponseWriter, r *http.Request) {
	var wanted struct {
		Version string `json:"version"`
	}
	if !read(w, r, &wanted) {
		return
	}
	next, err := releaseOf(wanted.Version)
	if err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	s.release.Store(&next)
	s.logger.Info("deployed", "version", next.Version)
	answer(w, http.StatusOK, next)
}

// breakDown makes the instance fail or slow, whatever it runs.
func (s *service) breakDown(w http.ResponseWriter, r *http.Request) {
	var wanted faults
	if !read(w, r, &wanted) {
		return
	}
	if err := wanted.check(); err != nil {
		answer(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
		return
	}
	s.faults.Store(&wanted)
	s.logger.Info("faults", "errors", wanted.Errors, "slow", wanted.Slow)
	answer(w, http.StatusOK, wanted)
}

// ask answers a customer: a few milliseconds of work, the peers, and what the release
// and the faults of the day make of it.
func (s *service) ask(w http.ResponseWriter, r *http.Request) {
	// What the customer sent is not looked at; read it so that the connection lives on.
	if _, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, maxOrder)); err != nil {
		answer(w, http.StatusRequestEntityTooLarge, map[string]string{"error": "the order is too large"})
		return
	}
	current := s.release.Load()
	w.Header().Set("X-Shop-Version", current.Version)
	took := time.Duration(2+s.chance()*8) * time.Millisecond
	failed := false
	for _, f := range []faults{current.flaw, *s.faults.Load()} {
		if f.Slow > 0 && s.chance() < f.Slow {
			took += time.Duration(f.DelayMillis) * time.Millisecond
		}
		failed = failed || (f.Errors > 0 && s.chance() < f.Errors)
	}
	if pause(r.Context(), took) != nil {
		return // the customer is gone
	}
	if failed {
		answer(w, http.StatusInternalServerError, map[string]string{"error": "cannot read the price of a basket", "version": current.Version})
		return
	}
	if err := s.askPeers(r.Context(), r.Method); err != nil {
		s.logger.Debug("a peer failed", "error", err)
		answer(w, http.StatusBadGateway, map[string]string{"error": "a service behind this one failed", "version": current.Version})
		return
	}
	answer(w, http.StatusOK, map[string]string{"service": s.name, "version": current.Version})
}

// askPeers calls the services that this one needs: all of them to write, and the
// inventory to read.
func (s *service) askPeers(ctx context.Context, method string) error {
	var calls sync.WaitGroup
	errs := make([]error, 0, len(s.peers))
	var mu sync.Mutex
	for name, base := range s.peers {
		if method == http.MethodGet && name != "inventory" {
			continue
		}
		calls.Go(func() {
			if _, err := call(ctx, s.client, method, strings.TrimSuffix(base, "/")+"/"+name, nil, nil); err != nil {
				mu.Lock()
				errs = append(errs, err)
				mu.Unlock()
			}
		})
	}
	calls.Wait()
	if len(errs) > 0 {
		return fmt.Errorf("%s: %w", s.name, errs[0])
	}
	return nil
}

// answer writes v as JSON.
func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // whoever asked may be gone, and then there is nobody to tell
}
