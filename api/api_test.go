package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// guard is a Guard of recorded calls and canned answers.
type guard struct {
	calls  []string
	err    error
	ready  error
	events []gatewarden.Event
	live   chan gatewarden.Event
}

var _ Guard = (*guard)(nil)

func (g *guard) Status() Status { return Status{Version: "test"} }
func (g *guard) SLOs() []SLO    { return []SLO{{Name: "orders", Objective: 99.9}} }
func (g *guard) Events(_ context.Context, q EventQuery) ([]gatewarden.Event, error) {
	return g.events[min(int(q.Since), len(g.events)):], g.err
}

func (g *guard) Follow(ctx context.Context, q EventQuery) iter.Seq2[gatewarden.Event, error] {
	return func(yield func(gatewarden.Event, error) bool) {
		for _, e := range g.events[q.Since:] {
			if !yield(e, nil) {
				return
			}
		}
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-g.live:
				if !yield(e, nil) {
					return
				}
			}
		}
	}
}

func (g *guard) Actions() []gatewarden.Action { return []gatewarden.Action{{ID: "shed-1"}} }
func (g *guard) call(words ...string) error {
	g.calls = append(g.calls, strings.Join(words, " "))
	return g.err
}
func (g *guard) Approve(_ context.Context, id, by string) error { return g.call("approve", id, by) }
func (g *guard) Reject(_ context.Context, id, by, reason string) error {
	return g.call("reject", id, by, reason)
}
func (g *guard) Revert(_ context.Context, id, by string) error { return g.call("revert", id, by) }
func (g *guard) Pause(_ context.Context, by, reason string) error {
	return g.call("pause", by, reason)
}
func (g *guard) Resume(_ context.Context, by string) error { return g.call("resume", by) }
func (g *guard) Reload(context.Context) error              { return g.call("reload") }
func (g *guard) Ready() error                              { return g.ready }

func serve(g *guard) http.Handler {
	return New(g, prometheus.NewRegistry(), slog.New(slog.DiscardHandler)).Handler()
}

func do(h http.Handler, method, target, contentType, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, strings.NewReader(body))
	if contentType != "" {
		r.Header.Set("Content-Type", contentType)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestReading(t *testing.T) {
	for sentence, c := range map[string]struct {
		target string
		status int
		want   string
	}{
		"the status is JSON":                    {"/api/v1/status", 200, `"version": "test"`},
		"SLOs are listed":                       {"/api/v1/slos", 200, `"name": "orders"`},
		"one SLO is shown":                      {"/api/v1/slos/orders", 200, `"objective": 99.9`},
		"an unknown SLO says where to look":     {"/api/v1/slos/nope", 404, `"hint": "GET /api/v1/slos lists them"`},
		"actions are listed":                    {"/api/v1/actions", 200, `"id": "shed-1"`},
		"an unknown action is not found":        {"/api/v1/actions/x", 404, `"code": "not_found"`},
		"no events are an empty list, not null": {"/api/v1/events", 200, `"events": []`},
		"a bad position is refused":             {"/api/v1/events?since=x", 400, `"code": "invalid"`},
		"a bad limit is refused":                {"/api/v1/events?limit=0", 400, `from 1 to 10000`},
		"an unknown type is refused":            {"/api/v1/events?type=slos", 400, `the types are slo,`},
		"metrics are exposed":                   {"/metrics", 200, ""},
		"the root says what there is":           {"/", 200, "/api/v1/slos"},
		"anything else is a JSON 404":           {"/nope", 404, `"hint": "GET / lists what does"`},
		"healthy":                               {"/-/healthy", 200, "healthy"},
		"ready":                                 {"/-/ready", 200, "ready"},
	} {
		t.Run(sentence, func(t *testing.T) {
			w := do(serve(&guard{}), "GET", c.target, "", "")
			if w.Code != c.status || !strings.Contains(w.Body.String(), c.want) {
				t.Errorf("GET %s: %d %s, want %d with %s", c.target, w.Code, w.Body, c.status, c.want)
			}
		})
	}
}

func TestNotReadyIs503WithTheReason(t *testing.T) {
	w := do(serve(&guard{ready: errors.New("the journal is being read")}), "GET", "/-/ready", "", "")
	if w.Code != 503 || !strings.Contains(w.Body.String(), "the journal is being read") {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
}

func TestTheWrongMethodIsToldTheRightOne(t *testing.T) {
	for target, allowed := range map[string]string{"/api/v1/pause": "POST", "/-/reload": "POST"} {
		w := do(serve(&guard{}), "GET", target, "", "")
		if w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != allowed {
			t.Errorf("GET %s: %d, Allow %q, want 405 and %s", target, w.Code, w.Header().Get("Allow"), allowed)
		}
	}
	if w := do(serve(&guard{}), "POST", "/api/v1/slos", "", ""); w.Code != http.StatusMethodNotAllowed || w.Header().Get("Allow") != "GET" {
		t.Errorf("POST /api/v1/slos: %d, Allow %q", w.Code, w.Header().Get("Allow"))
	}
}

func TestSteering(t *testing.T) {
	const by = `{"by":"ada","reason":"drill"}`
	for sentence, c := range map[string]struct {
		target, contentType, body string
		status                    int
		calls                     []string
	}{
		"approve names the person":               {"/api/v1/actions/shed-1/approve", "application/json", by, 200, []string{"approve shed-1 ada"}},
		"reject carries the reason":              {"/api/v1/actions/shed-1/reject", "application/json", by, 200, []string{"reject shed-1 ada drill"}},
		"revert":                                 {"/api/v1/actions/shed-1/revert", "application/json; charset=utf-8", by, 200, []string{"revert shed-1 ada"}},
		"pause":                                  {"/api/v1/pause", "application/json", by, 200, []string{"pause ada drill"}},
		"resume":                                 {"/api/v1/resume", "application/json", by, 200, []string{"resume ada"}},
		"reload needs no name":                   {"/-/reload", "", "", 200, []string{"reload"}},
		"a form from a foreign page is refused":  {"/api/v1/pause", "application/x-www-form-urlencoded", by, 400, nil},
		"no content type is refused":             {"/api/v1/pause", "", by, 400, nil},
		"nobody is refused":                      {"/api/v1/pause", "application/json", `{"by":" "}`, 400, nil},
		"an unknown field is refused":            {"/api/v1/pause", "application/json", `{"by":"ada","for":"1h"}`, 400, nil},
		"a cut body is refused":                  {"/api/v1/pause", "application/json", `{"by":"ada"`, 400, nil},
		"a body beyond any sense is cut, so 400": {"/api/v1/pause", "application/json", `{"by":"` + strings.Repeat("a", maxRequestBody) + `"}`, 400, nil},
	} {
		t.Run(sentence, func(t *testing.T) {
			g := &guard{}
			w := do(serve(g), "POST", c.target, c.contentType, c.body)
			if w.Code != c.status {
				t.Errorf("status %d %s, want %d", w.Code, w.Body, c.status)
			}
			if diff := cmp.Diff(c.calls, g.calls); diff != "" {
				t.Errorf("calls (-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrorCodesBecomeStatuses(t *testing.T) {
	for code, status := range statusOf {
		err := gatewarden.Errorf(code, "no luck").WithHint("try this")
		w := do(serve(&guard{err: err}), "POST", "/-/reload", "", "")
		var body ErrorBody
		if e := json.Unmarshal(w.Body.Bytes(), &body); e != nil {
			t.Fatal(e)
		}
		if w.Code != status || body.Error.Code != code || body.Error.Message != "no luck" || body.Error.Hint != "try this" {
			t.Errorf("%s: got %d %+v", code, w.Code, body)
		}
	}
}

func TestFollowingEvents(t *testing.T) {
	for sentence, c := range map[string]struct {
		header, target string
		want           string
	}{
		"as lines":                       {"", "/api/v1/events?follow=true", `{"seq":1,`},
		"as server-sent events":          {"text/event-stream", "/api/v1/events", "id: 1\nevent: slo\ndata: {\"seq\":1,"},
		"from a position":                {"", "/api/v1/events?follow=true&since=1", `{"seq":2,`},
		"what happens after the request": {"", "/api/v1/events?follow=true&since=2", `{"seq":3,`},
	} {
		t.Run(sentence, func(t *testing.T) {
			at := time.Date(2026, 11, 21, 20, 0, 0, 0, time.UTC)
			g := &guard{live: make(chan gatewarden.Event, 1), events: []gatewarden.Event{
				{Seq: 1, At: at, Type: gatewarden.EventSLO, Name: "orders"}, {Seq: 2, At: at, Type: gatewarden.EventSLO, Name: "orders"},
			}}
			g.live <- gatewarden.Event{Seq: 3, At: at, Type: gatewarden.EventSLO, Name: "orders"}
			server := httptest.NewServer(serve(g))
			defer server.Close()
			req, err := http.NewRequestWithContext(t.Context(), "GET", server.URL+c.target, nil)
			if err != nil {
				t.Fatal(err)
			}
			if c.header != "" {
				req.Header.Set("Accept", c.header)
			}
			resp, err := server.Client().Do(req)
			if err != nil {
				t.Fatal(err)
			}
			defer resp.Body.Close()
			got := make([]byte, len(c.want))
			if _, err := io.ReadFull(bufio.NewReader(resp.Body), got); err != nil {
				t.Fatal(err)
			}
			if string(got) != c.want {
				t.Errorf("the stream begins %q, want %q", got, c.want)
			}
		})
	}
}
