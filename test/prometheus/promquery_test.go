package prometheus_test

import (
	"context"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/common/model"
	"github.com/prometheus/common/route"
	"github.com/prometheus/prometheus/config"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/tsdb"
	v1 "github.com/prometheus/prometheus/web/api/v1"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/collector/promquery"
	"github.com/gatewarden/gatewarden/store"
)

// What is scraped of the shop: three nodes of a gateway, every 15 seconds. Node b
// restarts an hour before now; node c goes 40 minutes before now; errors begin 3 hours
// before now, on node a.
const scrapeEvery = 15 * time.Second

const (
	history  = 26 * time.Hour
	restart  = time.Hour
	goes     = 40 * time.Minute
	troubles = 3 * time.Hour
)

// shopHistory appends all that, up to ten minutes after now, and returns how many requests
// and errors there were between two instants, as far as scrapes saw them.
func shopHistory(t *testing.T, db *tsdb.DB, now time.Time) func(from, to time.Time) (all, bad float64) {
	t.Helper()
	type counter struct {
		node, code string
		value      float64
		grew       map[int64]float64 // by scrape
	}
	counters := []*counter{{node: "a", code: "200"}, {node: "b", code: "200"}, {node: "c", code: "200"}, {node: "a", code: "500"}}
	for _, c := range counters {
		c.grew = map[int64]float64{}
	}
	app := db.Appender(t.Context())
	n := 0
	for at := now.Add(-history); at.Before(now.Add(10 * time.Minute)); at = at.Add(scrapeEvery) {
		for _, c := range counters {
			age := now.Sub(at)
			grew := 30.0
			switch {
			case c.code == "500" && age > troubles:
				grew = 0 // it is there from the beginning: what a rate misses of a first one is not the point
			case c.code == "500":
				grew = 3
			case c.node == "c" && age < goes:
				continue
			}
			if c.node == "b" && age == restart {
				c.value = 0
			}
			c.value += grew
			c.grew[at.Unix()] = grew
			if _, err := app.Append(0, labels.FromStrings("__name__", "shop_requests_total", "node", c.node, "code", c.code), at.UnixMilli(), c.value); err != nil {
				t.Fatal(err)
			}
		}
		if n++; n%1000 == 0 {
			if err := app.Commit(); err != nil {
				t.Fatal(err)
			}
			app = db.Appender(t.Context())
		}
	}
	if err := app.Commit(); err != nil {
		t.Fatal(err)
	}
	return func(from, to time.Time) (all, bad float64) {
		for _, c := range counters {
			for at, grew := range c.grew {
				if at > from.Unix() && at <= to.Unix() {
					all += grew
					if c.code == "500" {
						bad += grew
					}
				}
			}
		}
		return all, bad
	}
}

// queryAPI serves the real API of Prometheus over a database.
func queryAPI(t *testing.T, db *tsdb.DB) *httptest.Server {
	t.Helper()
	logger := slog.New(slog.DiscardHandler)
	engine := promql.NewEngine(promql.EngineOpts{Logger: logger, Reg: prometheus.NewRegistry(), MaxSamples: 5e6, Timeout: patience})
	api := v1.NewAPI(
		engine, db, nil, nil, nil,
		func(context.Context) v1.ScrapePoolsRetriever { return nil },
		func(context.Context) v1.TargetRetriever { return nil },
		func(context.Context) v1.AlertmanagerRetriever { return nil },
		func() config.Config { return config.Config{} }, nil, v1.GlobalURLOptions{},
		func(h http.HandlerFunc) http.HandlerFunc { return h },
		nil, "", false, logger,
		func(context.Context) v1.RulesRetriever { return nil },
		0, 0, 0, false, nil, nil, &v1.PrometheusVersion{}, nil, nil,
		prometheus.NewRegistry(), prometheus.NewRegistry(), nil, false, nil, false, false, false, false,
		time.Duration(model.Duration(5*time.Minute)), false, false, nil, nil, v1.OpenAPIOptions{},
	)
	r := route.New()
	api.Register(r)
	server := httptest.NewServer(http.StripPrefix("/api/v1", r))
	t.Cleanup(server.Close)
	return server
}

// book counts the events of each query.
type book struct {
	mu     sync.Mutex
	events map[string]*counted // by signal
	marks  map[string][]byte
}

type counted struct {
	good, bad  float64
	covered    time.Duration
	from, upTo time.Time
}

// of returns what is counted of a signal. b.mu is held.
func (b *book) of(signal string) *counted {
	if b.events[signal] == nil {
		b.events[signal] = &counted{}
	}
	return b.events[signal]
}

func (b *book) Load(prefix string) map[string][]byte {
	b.mu.Lock()
	defer b.mu.Unlock()
	found := map[string][]byte{}
	for name, value := range b.marks {
		if strings.HasPrefix(name, prefix) {
			found[name] = value
		}
	}
	return found
}

func (b *book) Accept(_ context.Context, _ string, records []gatewarden.Record, values map[string][]byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range records {
		if r.Failed() {
			b.of(r.Signal).bad += float64(r.Weight)
		} else {
			b.of(r.Signal).good += float64(r.Weight)
		}
	}
	maps.Copy(b.marks, values)
	return nil
}

func (b *book) Covered(slo *gatewarden.SLO, from, to time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	c := b.of(slo.Series.Signal)
	if c.from.IsZero() {
		c.from = from
	}
	c.covered, c.upTo = c.covered+to.Sub(from), to
}

// The rest of collector.Past.
func (*book) Resolution(age time.Duration) time.Duration { return store.Resolution(age) }
func (*book) SLOs() []gatewarden.SLO                     { return nil }
func (*book) Since() time.Time                           { return time.Time{} }
func (*book) Watched(time.Time, time.Time)               {}

const (
	allRate  = `sum(rate(shop_requests_total[{{.window}}]))`
	badRate  = `sum(rate(shop_requests_total{code=~"5.."}[{{.window}}]))`
	goodRate = `sum(rate(shop_requests_total{code!~"5.."}[{{.window}}]))`
)

// What a real Prometheus says of queries is counted, filled in from history, or refused,
// and in either case for the right reason.
func TestPrometheusIsAskedForEvents(t *testing.T) {
	db, err := tsdb.Open(t.TempDir(), slog.New(slog.DiscardHandler), prometheus.NewRegistry(), tsdb.DefaultOptions(), nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	now := time.Now().Truncate(time.Minute)
	truth := shopHistory(t, db, now)
	cases := map[string]struct {
		query gatewarden.Query
		// within is how much of the events may be missed or counted beyond, of which
		// errors; lost is how much of the time is.
		within float64
		lost   time.Duration
		says   string // why nothing is counted; "" when it is
	}{
		"as Sloth writes it":   {query: gatewarden.Query{Total: allRate, Error: badRate}, within: 0.01},
		"what is good":         {query: gatewarden.Query{Total: allRate, Good: goodRate}, within: 0.01},
		"increases":            {query: gatewarden.Query{Total: strings.ReplaceAll(allRate, "rate", "increase"), Error: strings.ReplaceAll(badRate, "rate", "increase")}, within: 0.01},
		"errors that are none": {query: gatewarden.Query{Total: strings.ReplaceAll(allRate, "total[", `total{code="200"}[`), Error: `sum(rate(no_such_total[{{.window}}])) or vector(0)`}, within: 0.01},
		"bare counters":        {query: gatewarden.Query{Total: `shop_requests_total{node="a",code="200"}`, Error: `shop_requests_total{node="a",code="500"}`}, within: 0},
		// Of a sum, a step is lost where a node restarts and where one goes.
		"a sum of counters":       {query: gatewarden.Query{Total: `sum(shop_requests_total)`, Error: `sum(shop_requests_total{code=~"5.."})`}, within: 0.01, lost: 11 * time.Minute},
		"no errors and no zero":   {query: gatewarden.Query{Total: allRate, Error: `sum(rate(no_such_total[{{.window}}]))`}, says: "error_query gives nothing (if that means none"},
		"no such metric":          {query: gatewarden.Query{Total: `sum(rate(no_such_total[{{.window}}]))`, Error: badRate}, says: "total_query gives nothing"},
		"several series":          {query: gatewarden.Query{Total: `rate(shop_requests_total[{{.window}}])`, Error: badRate}, says: "total_query: it gives 4 series and must give one"},
		"no number":               {query: gatewarden.Query{Total: allRate + ` / 0`, Error: badRate}, says: "total_query gives no number"},
		"not PromQL":              {query: gatewarden.Query{Total: `sum(rate(shop_requests_total[{{.window}}])`, Error: badRate}, says: "parse error"},
		"many to many":            {query: gatewarden.Query{Total: `sum(rate(shop_requests_total[{{.window}}]) * on () shop_requests_total)`, Error: badRate}, says: "execution"},
		"more errors than events": {query: gatewarden.Query{Total: badRate, Error: allRate}, says: "error_query gives more events than total_query"},
	}
	var slos []gatewarden.SLO
	for name, c := range cases {
		slos = append(slos, gatewarden.SLO{
			Name: name, Series: gatewarden.Series{Signal: c.query.Signal()}, SLI: gatewarden.SLI{Query: &c.query},
			Window: gatewarden.BudgetWindow{Rolling: 30 * 24 * time.Hour},
		})
	}
	b := &book{events: map[string]*counted{}, marks: map[string][]byte{}}
	settings := promquery.DefaultSettings()
	settings.URL, settings.Timeout = queryAPI(t, db).URL+"/", gatewarden.Duration(time.Minute)
	settings.Backfill = gatewarden.Duration(24 * time.Hour)
	source, err := promquery.New(collector.Env{
		Name: "prometheus", Checkpoints: b, Covered: b.Covered, Past: b, Metrics: prometheus.NewRegistry(), Log: slog.New(slog.DiscardHandler),
		Queries: func() []gatewarden.SLO { return slos },
	}, settings)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var running sync.WaitGroup
	running.Go(func() {
		if err := source.Run(ctx); err != nil {
			t.Error(err)
		}
	})
	silent := source.(interface {
		Silent(gatewarden.Series, time.Time, time.Duration) (bool, string)
	}).Silent
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		waiting := ""
		for _, slo := range slos {
			is, why := silent(slo.Series, time.Now(), 30*time.Second)
			if want := cases[slo.Name].says; is != (want != "") || !strings.Contains(why, want) {
				waiting += "\n" + slo.Name + ": " + why
			}
		}
		if waiting == "" {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("after %s:%s", patience, waiting)
		}
	}
	stop()
	running.Wait()
	for _, slo := range slos {
		c := cases[slo.Name]
		if c.says != "" {
			if got, ok := b.events[slo.Series.Signal]; ok && got.good+got.bad > 0 && slo.Name != "more errors than events" {
				t.Errorf("%s: %+v were counted", slo.Name, got)
			}
			continue
		}
		got := b.of(slo.Series.Signal)
		all, bad := truth(got.from, got.upTo)
		switch slo.Name {
		case "errors that are none":
			all, bad = all-bad, 0
		case "bare counters":
			all = got.upTo.Sub(got.from).Seconds() * 2
			if got.bad != bad || got.good != all-bad {
				t.Errorf("%s: %v good and %v bad, want exactly %v and %v", slo.Name, got.good, got.bad, all-bad, bad)
			}
		}
		if lost := got.upTo.Sub(got.from) - got.covered; lost > c.lost || got.from.After(now.Add(-23*time.Hour)) {
			t.Errorf("%s: %s are covered from %s to %s", slo.Name, got.covered, got.from, got.upTo)
		}
		t.Logf("%s: %.0f of %.0f events, %.0f of %.0f errors, %s lost", slo.Name, got.good+got.bad, all, got.bad, bad, got.upTo.Sub(got.from)-got.covered)
		if sum := got.good + got.bad; math.Abs(sum-all) > c.within*all || math.Abs(got.bad-bad) > (c.within+0.02)*bad {
			t.Errorf("%s: %.0f events and %.0f errors, want %.0f and %.0f", slo.Name, sum, got.bad, all, bad)
		}
	}
}
