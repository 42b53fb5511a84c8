package export

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/journal"
)

var _ Journal = (*journal.Journal)(nil)

func event(n int) gatewarden.Event {
	return gatewarden.Event{
		At: time.Date(2026, 11, 22, 5, 0, n, 7000, time.UTC), Type: gatewarden.EventAction, Name: fmt.Sprint("action-", n), State: "applied", Reason: "<b>why</b>",
		Action: &gatewarden.Action{ID: fmt.Sprint("action-", n), Ladder: "shed-1", Change: "weight: 100 → 0", Undo: "curl ..."},
	}
}

func filled(t testing.TB, n int) *journal.Journal {
	t.Helper()
	j := journal.NewMemory()
	for i := range n {
		if _, err := j.Append(t.Context(), event(i)); err != nil {
			t.Fatal(err)
		}
	}
	return j
}

// peer is a target that fails as peers do: before it has written, after a part, or after
// all of it.
type peer struct {
	random *rand.Rand
	events []gatewarden.Event
}

func (p *peer) Mark(context.Context) (Mark, error) {
	if p.random.IntN(4) == 0 {
		return Mark{}, errors.New("not now")
	}
	if len(p.events) == 0 {
		return Mark{}, nil
	}
	last := p.events[len(p.events)-1]
	return Mark{last.Seq, last.At.Truncate(time.Millisecond)}, nil
}

func (p *peer) Write(_ context.Context, events []gatewarden.Event) error {
	n := len(events)
	if p.random.IntN(2) == 0 {
		n = p.random.IntN(n + 1)
	}
	p.events = append(p.events, events[:n]...)
	if n < len(events) || p.random.IntN(4) == 0 {
		return errors.New("the connection was lost")
	}
	return nil
}

func TestEachEventIsExportedOnceWhateverFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, j := &peer{random: rand.New(rand.NewPCG(1, 2))}, filled(t, 40)
		random := rand.New(rand.NewPCG(3, 4))
		for n := 40; n < 200; n += 20 {
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- New(Config{Name: "peer", Batch: 7}, j, p).Run(ctx) }()
			for i := range 20 {
				if _, err := j.Append(ctx, event(n+i)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Duration(random.IntN(3)) * time.Second)
			}
			time.Sleep(time.Duration(random.IntN(20)) * time.Second)
			cancel()
			if err := <-ended; err != nil {
				t.Error(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() { ended <- New(Config{Name: "peer"}, j, p).Run(ctx) }()
		time.Sleep(time.Hour)
		cancel()
		<-ended
		for i := range p.events {
			if p.events[i].Seq != uint64(i+1) {
				t.Fatalf("event %d is in place %d", p.events[i].Seq, i+1)
			}
		}
		if len(p.events) != 200 {
			t.Errorf("%d of 200 events were exported", len(p.events))
		}
	})
}

// trimmed is a journal that no longer has its first events.
type trimmed struct {
	*journal.Journal
	first uint64
}

func (j trimmed) After(ctx context.Context, position uint64) iter.Seq2[gatewarden.Event, error] {
	return j.Journal.After(ctx, max(position, j.first-1))
}

func TestWhereAnExportGoesOn(t *testing.T) {
	j := filled(t, 10)
	for name, c := range map[string]struct {
		journal Journal
		mark    Mark
		want    uint64
	}{
		"a target that has nothing":               {j, Mark{}, 0},
		"one that has the first four":             {j, Mark{4, event(3).At}, 4},
		"in milliseconds":                         {j, Mark{4, event(3).At.Truncate(time.Millisecond)}, 4},
		"one that has all":                        {j, Mark{10, event(9).At}, 10},
		"a journal that forgot what it had":       {trimmed{j, 6}, Mark{3, event(2).At}, 3},
		"another journal, with as many events":    {j, Mark{4, event(100).At}, 0},
		"another journal, with more events":       {j, Mark{99, event(98).At}, 0},
		"another journal, later, that was longer": {trimmed{j, 6}, Mark{3, event(300).At}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			e := New(Config{}, c.journal, nil)
			got, err := e.positionOf(t.Context(), c.mark)
			if err != nil || got != c.want {
				t.Errorf("position %d, %v; want %d", got, err, c.want)
			}
		})
	}
}

func TestOnlyWhatIsAskedForIsExported(t *testing.T) {
	j := filled(t, 3)
	if _, err := j.Append(t.Context(), gatewarden.Event{At: event(4).At, Type: gatewarden.EventSource, Name: "x", State: "blind"}); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	reg := prometheus.NewRegistry()
	e := New(Config{
		Name: "file", Types: []gatewarden.EventType{gatewarden.EventAction}, Backlog: 1500 * time.Millisecond, Registerer: reg,
		Now: func() time.Time { return event(2).At },
	}, j, Lines{path})
	if err := e.step(t.Context()); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"action-1", "action-2"}, names(t, path)); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP gatewarden_export_events_total Events of the journal that a target has taken.
# TYPE gatewarden_export_events_total counter
gatewarden_export_events_total 2
`), "gatewarden_export_events_total"); err != nil {
		t.Error(err)
	}
	problems, err := testutil.GatherAndLint(reg)
	if err != nil || len(problems) > 0 {
		t.Errorf("%v, %v", problems, err)
	}
}

func names(t testing.TB, path string) (list []string) {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var e gatewarden.Event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			t.Errorf("%q: %v", line, err)
		}
		list = append(list, e.Name)
	}
	return list
}

func TestLinesGoOnAfterACrashAndARotation(t *testing.T) {
	path := filepath.Join(t.TempDir(), "audit.jsonl")
	j := filled(t, 6)
	export := func() {
		t.Helper()
		if err := New(Config{Batch: 2}, j, Lines{path}).step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	export()
	// A crash in the middle of a line, and before the position was written.
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text[:len(text)-20], 0o600); err != nil {
		t.Fatal(err)
	}
	stale, err := json.Marshal(Mark{2, event(1).At})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path+".position", stale, 0o600); err != nil {
		t.Fatal(err)
	}
	export()
	if got := names(t, path); len(got) != 6 || len(slices.Compact(got)) != 6 {
		t.Errorf("after a crash: %v", got)
	}
	if err := os.Rename(path, path+".1"); err != nil {
		t.Fatal(err)
	}
	if _, err := j.Append(t.Context(), event(6)); err != nil {
		t.Fatal(err)
	}
	export()
	if diff := cmp.Diff([]string{"action-6"}, names(t, path)); diff != "" {
		t.Errorf("after a rotation, -want +got\n%s", diff)
	}
}

// grafana keeps annotations as Grafana does.
type grafana struct {
	mu    sync.Mutex
	kept  []annotation
	token string
	lose  bool // the answer to the next post
}

func (g *grafana) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if r.Header.Get("Authorization") != "Bearer "+g.token || r.URL.Path != "/grafana/api/annotations" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if r.Method == http.MethodPost {
		var a annotation
		if err := json.NewDecoder(r.Body).Decode(&a); err != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		g.kept = append(g.kept, a)
		if g.lose {
			g.lose = false
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = io.WriteString(w, `{"message":"Annotation added","id":1}`)
		return
	}
	found := []annotation{}
	for _, a := range slices.Backward(g.kept) {
		at := fmt.Sprint(a.Time)
		if from := r.URL.Query().Get("from"); from == "" || from == at {
			found = append(found, a)
		}
	}
	if r.URL.Query().Get("limit") == "1" {
		found = found[:min(len(found), 1)]
	}
	_ = json.NewEncoder(w).Encode(found)
}

func TestGrafanaHasEachEventOnceAlsoWhenAnAnswerIsLost(t *testing.T) {
	peer := &grafana{token: "t"}
	server := httptest.NewServer(peer)
	defer server.Close()
	j := filled(t, 5)
	e := New(Config{Name: "grafana"}, j, NewGrafana(GrafanaConfig{
		URL: server.URL + "/grafana/", Tags: []string{"shop"}, Token: func() (string, error) { return "t", nil },
	}))
	peer.lose = true
	if err := e.step(t.Context()); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
		t.Fatalf("a lost answer: %v", err)
	}
	e.known = false
	for range 2 {
		if err := e.step(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	if len(peer.kept) != 5 {
		t.Fatalf("%d annotations of 5 events", len(peer.kept))
	}
	want := annotation{
		Time: event(1).At.UnixMilli(), Tags: []string{"gatewarden", "shop", "action", "action-1", "applied"},
		Text: "action-1: applied\n&lt;b&gt;why&lt;/b&gt;\nweight: 100 → 0\ngatewarden event 2",
	}
	if diff := cmp.Diff(want, peer.kept[1]); diff != "" {
		t.Errorf("-want +got\n%s", diff)
	}
	peer.token = "another"
	e.known = false
	if err := e.step(t.Context()); !strings.Contains(fmt.Sprint(err), "annotations:create") {
		t.Errorf("a token that is refused: %v", err)
	}
}

func TestElasticsearchThatDoesNotTakeAnEventIsTriedAgain(t *testing.T) {
	answers := map[string]string{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, ok := answers[r.Method+" "+r.URL.Path]
		if !ok {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, text)
	}))
	defer server.Close()
	for name, c := range map[string]struct {
		items string
		fails string
	}{
		"taken":            {`{"errors":false,"items":[{"create":{"_id":"a","status":201}}]}`, ""},
		"there already":    {`{"errors":true,"items":[{"create":{"_id":"a","status":409,"error":{"type":"version_conflict_engine_exception","reason":"exists"}}}]}`, ""},
		"not mapped so":    {`{"errors":true,"items":[{"create":{"_id":"a","status":400,"error":{"type":"mapper_parsing_exception","reason":"failed to parse"}}}]}`, "failed to parse"},
		"not spoken of":    {`{"errors":false,"items":[]}`, "spoke of 0"},
		"a page, not JSON": {`<html>`, "writing to Elasticsearch"},
	} {
		t.Run(name, func(t *testing.T) {
			answers["POST /gatewarden-audit/_bulk"] = c.items
			target, err := NewElasticsearch(ElasticsearchConfig{URLs: []string{server.URL}, Guard: "a", NoTemplate: true})
			if err != nil {
				t.Fatal(err)
			}
			err = target.Write(t.Context(), []gatewarden.Event{event(1)})
			if (err != nil) != (c.fails != "") || err != nil && !strings.Contains(err.Error(), c.fails) {
				t.Errorf("%v, want %q", err, c.fails)
			}
		})
	}
	answers["POST /gatewarden-audit/_search"] = `{"timed_out":false,"_shards":{"total":2,"successful":1,"failed":1},"hits":{"hits":[]}}`
	target, err := NewElasticsearch(ElasticsearchConfig{URLs: []string{server.URL}, Guard: "a"})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := target.Mark(t.Context()); gatewarden.ErrorCode(err) != gatewarden.Unavailable {
		t.Errorf("a mark from a part of the shards: %v", err)
	}
}

// away is a target that cannot be asked.
type away struct{}

func (away) Mark(context.Context) (Mark, error) { return Mark{}, errors.New("away") }

func (away) Write(context.Context, []gatewarden.Event) error { return errors.New("away") }

func TestATargetThatIsAwayShowsAsBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		reg := prometheus.NewRegistry()
		ctx, cancel := context.WithTimeout(t.Context(), 1500*time.Millisecond)
		defer cancel()
		if err := New(Config{Registerer: reg}, filled(t, 3), away{}).Run(ctx); err != nil {
			t.Fatal(err)
		}
		if err := testutil.GatherAndCompare(reg, strings.NewReader(`
# HELP gatewarden_export_behind_events Events of the journal that a target does not have yet, as far as it could be asked.
# TYPE gatewarden_export_behind_events gauge
gatewarden_export_behind_events 3
`), "gatewarden_export_behind_events"); err != nil {
			t.Error(err)
		}
	})
}
