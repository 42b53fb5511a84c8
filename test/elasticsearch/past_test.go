package elasticsearch_test

import (
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// spread makes requests over 30 days: most of them of late.
func spread(s *shop, now time.Time) []request {
	var all []request
	for _, part := range []struct {
		from, to time.Duration
		n        int
	}{{29 * 24 * time.Hour, 6 * 24 * time.Hour, 800}, {6 * 24 * time.Hour, 10 * time.Hour, 1000}, {10 * time.Hour, time.Hour, 1500}, {time.Hour, 10 * time.Second, 2000}} {
		all = append(all, s.between(now.Add(-part.from), now.Add(-part.to), part.n)...)
	}
	return all
}

var windows = []time.Duration{5 * time.Minute, time.Hour, 6 * time.Hour, 24 * time.Hour, 3 * 24 * time.Hour, 30 * 24 * time.Hour}

func TestThePastAndWhatComesAfterAreCountedAsTheLinesAre(t *testing.T) {
	each(t, func(t *testing.T, url string) {
		for name, c := range map[string]struct {
			shipper shipper
			index   string
			change  func(g *guard, read, past *string)
		}{
			"past by buckets, then documents by ingest time": {logstash, "kong-a", nil},
			"past by buckets, then documents by event time":  {eventTimeOnly, "kong-b", nil},
			"past by documents":                              {logstash, "kong-c", func(_ *guard, _, past *string) { *past = "documents" }},
			"nested by Filebeat":                             {filebeat, "kong-d", nil},
			"strings, by documents":                          {fluentbit, "kong-e", nil},
			"a rule on single records": {logstash, "kong-f", func(g *guard, _, _ *string) {
				g.slos = append(g.slos, gatewarden.SLO{Name: "gets", SLI: gatewarden.SLI{
					Kind: gatewarden.SLIGood, Expr: "x", Holds: func(r *gatewarden.Record) (bool, error) { return r.Method == "GET" && r.Status < 500, nil },
				}})
			}},
		} {
			t.Run(name, func(t *testing.T) {
				c.shipper.create(t, url, c.index)
				s, now := newShop(7), time.Now()
				all := spread(s, now)
				c.shipper.ship(t, url, c.index, all)
				g := newGuard(slos())
				set := settings(url, c.index)
				if c.change != nil {
					c.change(g, &set.Read, &set.Past)
					g.store = newStore(g.slos, time.Time{})
				}
				set.Page = 500 // several pages
				g.run(t, set)
				until(t, g, "the past", func() bool { return g.total() == uint64(len(all)) })
				now = time.Now()
				live := s.between(now.Add(-5*time.Second), now, 700)
				for i := range live {
					live[i].ingested = now // not before what is followed: that would be of the past
				}
				c.shipper.ship(t, url, c.index, live)
				all = append(all, live...)
				until(t, g, "what came after", func() bool { return g.total() >= uint64(len(all)) })
				at := time.Now().Truncate(time.Second)
				same(t, g, counted(t, g, all, at), at, windows...)
				if got := g.store.Count(gatewarden.Series{}, &gatewarden.SLI{}, at.Add(-9*time.Hour), at.Add(-30*time.Minute)); got.Coverage < 0.99 {
					t.Errorf("of the last hours %.3f is said to be watched", got.Coverage)
				}
			})
		}
	})
}
