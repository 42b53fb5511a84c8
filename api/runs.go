package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/gatewarden/gatewarden"
)

// CanaryList is the answer of GET /api/v1/canaries, in the order of the rules.
type CanaryList struct {
	Canaries []Canary `json:"canaries"`
}

func (s *Server) canaries(*http.Request) (any, error) {
	return CanaryList{Canaries: emptyNotNull(s.gates.Canaries())}, nil
}

func (s *Server) canary(r *http.Request) (any, error) { return s.gates.Canary(r.PathValue("name")) }

// RunList is the answer of GET /api/v1/runs, the newest first.
type RunList struct {
	Runs []gatewarden.Run `json:"runs"`
}

func (s *Server) runs(r *http.Request) (any, error) {
	q, err := readRunQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	return RunList{Runs: emptyNotNull(s.gates.Runs(q))}, nil
}

func (s *Server) runsOf(r *http.Request) (any, error) {
	q, err := readRunQuery(r.URL.Query())
	if err != nil {
		return nil, err
	}
	q.Canary = r.PathValue("name")
	list := s.gates.Runs(q)
	if len(list) == 0 { // a canary that is gone may have runs, and one that is there may have none
		if _, err := s.gates.Canary(q.Canary); err != nil {
			return nil, err
		}
	}
	return RunList{Runs: emptyNotNull(list)}, nil
}

const maxRuns = 1000

func readRunQuery(v url.Values) (RunQuery, error) {
	q := RunQuery{State: gatewarden.RunState(v.Get("state")), Limit: 100}
	if limit := v.Get("limit"); limit != "" {
		var err error
		if q.Limit, err = strconv.Atoi(limit); err != nil || q.Limit < 1 || q.Limit > maxRuns {
			return q, gatewarden.Errorf(gatewarden.Invalid, "limit=%q is not a number from 1 to %d", limit, maxRuns)
		}
	}
	states := []gatewarden.RunState{
		"", gatewarden.RunRunning, gatewarden.RunPass, gatewarden.RunFail, gatewarden.RunInconclusive, gatewarden.RunCancelled,
	}
	if !slices.Contains(states, q.State) {
		return q, gatewarden.Errorf(gatewarden.Invalid, "state=%q is no state of a run", q.State).
			WithHint("the states are running, pass, fail, inconclusive, cancelled")
	}
	return q, nil
}

func (s *Server) run(r *http.Request) (any, error) { return s.lookAtRun(r, r.PathValue("id")) }

func (s *Server) latestRun(r *http.Request) (any, error) {
	run, err := s.gates.LatestRun(r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return s.lookAtRun(r, run.ID)
}

// maxWait is the longest that a long poll may ask for. Proxies cut what is silent longer.
const maxWait = 5 * time.Minute

// lookAtRun answers with a run, with wait= once there is something new.
func (s *Server) lookAtRun(r *http.Request, id string) (any, error) {
	v := r.URL.Query()
	wait := v.Get("wait")
	if wait == "" {
		return s.gates.Run(id)
	}
	d, err := gatewarden.ParseDuration(wait)
	if err != nil || time.Duration(d) > maxWait {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "wait=%q is not a duration up to %s", wait, gatewarden.Duration(maxWait)).
			WithHint("write a number and a unit: 30s")
	}
	ctx, cancel := context.WithTimeout(r.Context(), time.Duration(d))
	defer cancel()
	return s.gates.WaitRun(ctx, id, v.Get("seen"))
}

func (s *Server) startRun(r *http.Request) (any, error) {
	var req RunRequest
	if err := readBody(r, &req, `{"key": "build-7", "parameters": {"version": "v2"}, "by": "your name"}`); err != nil {
		return nil, err
	}
	req.By = signed(r, req.By)
	run, created, err := s.gates.StartRun(r.Context(), r.PathValue("name"), req)
	if err != nil {
		return nil, err
	}
	if created {
		return answered{http.StatusCreated, run}, nil
	}
	return run, nil
}

func (s *Server) cancelRun(r *http.Request) (any, error) {
	o, err := readOrder(r)
	if err != nil {
		return nil, err
	}
	return s.gates.CancelRun(r.Context(), r.PathValue("id"), o.By, o.Reason)
}

// decision is the body of an override.
type decision struct {
	State gatewarden.RunState `json:"state"`
	order
}

func (s *Server) overrideRun(r *http.Request) (any, error) {
	var d decision
	if err := readBody(r, &d, `{"state": "pass", "by": "your name", "reason": "why"}`); err != nil {
		return nil, err
	}
	if err := d.sign(r); err != nil {
		return nil, err
	}
	if d.State != gatewarden.RunPass && d.State != gatewarden.RunFail {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "%q is no answer for a run", d.State).WithHint(`"state" is pass or fail`)
	}
	return s.gates.OverrideRun(r.Context(), r.PathValue("id"), d.State, d.By, d.Reason)
}

const (
	runEventEvery = time.Second      // at most one a second
	runEventAlive = 15 * time.Second // a comment, so that nobody takes the silence for an end
)

// runEvents streams a run, without its trail, whenever there is something new, until it is
// over.
func (s *Server) runEvents(w http.ResponseWriter, r *http.Request) {
	run, err := s.gates.Run(r.PathValue("id"))
	leave := func() {}
	if err == nil {
		leave, err = s.follows.take(maxFollowers, "streams are followed already")
	}
	if err != nil {
		s.fail(w, r, err)
		return
	}
	defer leave()
	out := newStream(w, "text/event-stream")
	for last := uint64(0); ; {
		if run.Version != last || last == 0 {
			err = writeRunEvent(out, run)
		} else {
			err = out.write(": nothing new\n\n")
		}
		if err != nil || run.Over() || !pause(r.Context(), runEventEvery) {
			return // the client is gone, or knows the end
		}
		last = run.Version
		ctx, cancel := context.WithTimeout(r.Context(), runEventAlive)
		run, err = s.gates.WaitRun(ctx, run.ID, strconv.FormatUint(last, 10))
		cancel()
		if err != nil {
			s.logger.Debug("a follower of a run ended", "run", r.PathValue("id"), "error", err)
			return
		}
	}
}

func writeRunEvent(out stream, run gatewarden.Run) error {
	run.Trail = nil
	line, err := json.Marshal(run)
	if err != nil {
		return fmt.Errorf("encoding the run %s: %w", run.ID, err)
	}
	return out.write("id: %d\nevent: run\ndata: %s\n\n", run.Version, line)
}

// pause waits, and reports false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
