package elasticsearch_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
	"github.com/gatewarden/gatewarden/store"
)

var dayRate = flag.Int("day.rate", 500, "requests a second in the day that BenchmarkDay indexes")

// BenchmarkDay fills in the 24 hours before an instant, spread evenly, and holds what the
// SLOs make of them to the lines themselves. It indexes 43.2 million documents:
//
//	GATEWARDEN_TEST_HEAP=3g go test -run '^$' -bench Day -benchtime 3x -timeout 3h .
//
// A server that is given by its address keeps the day, and for two hours the benchmark
// measures again without indexing it anew.
func BenchmarkDay(b *testing.B) {
	d := &day{url: start(b, "elasticsearch"), rate: *dayRate}
	d.index(b)
	b.Run("services and routes", func(b *testing.B) { d.measure(b, plain(slos())) })
	b.Run("tags, consumers and workspaces too", func(b *testing.B) { d.measure(b, slos()) })
}

// plain returns the SLOs of the gateway, of services and of routes.
func plain(all []gatewarden.SLO) []gatewarden.SLO {
	return slices.DeleteFunc(all, func(slo gatewarden.SLO) bool {
		return slo.Series.Tag != "" || slo.Series.Consumer != "" || slo.Series.Workspace != ""
	})
}

// day is an index that holds a day of requests.
type day struct {
	url  string
	rate int // requests a second
	end  time.Time
	want *store.Store // counted the lines themselves
}

const dayIndex = "kong-day"

func (d *day) requests() int { return d.rate * 24 * 60 * 60 }

// index makes the day, unless the server has it.
func (d *day) index(b *testing.B) {
	b.Helper()
	known := d.known(b)
	if !known {
		d.end = time.Now().Truncate(time.Second)
		call(b, "DELETE", d.url+"/kong-*", "")
		logstash.create(b, d.url, dayIndex, `"refresh_interval":-1`, `"translog.durability":"async"`, `"translog.flush_threshold_size":"1gb"`, `"requests.cache.enable":false`)
	}
	d.want = newStore(slos(), d.end)
	began := time.Now()
	d.eachPart(b, func(requests []request) error {
		if known {
			return nil
		}
		answer, err := ask(b.Context(), "POST", d.url+"/"+dayIndex+"/_bulk?filter_path=errors,items.*.error", logstash.bulk(requests))
		if err != nil {
			return err
		}
		return indexed(answer)
	})
	b.Logf("made %d lines and shipped them (%t) in %s", d.requests(), !known, time.Since(began).Round(time.Second))
	if !known {
		call(b, "POST", d.url+"/"+dayIndex+"/_refresh", "")
		call(b, "PUT", d.url+"/"+dayIndex+"/_mapping", fmt.Sprintf(`{"_meta":{"end":%d,"rate":%d}}`, d.end.Unix(), d.rate))
	}
}

// known reports whether the server has the day, and takes its end from there.
func (d *day) known(b *testing.B) bool {
	b.Helper()
	one, _ := call(b, "GET", d.url+"/kong-*/_mapping", "")[dayIndex].(map[string]any)
	mappings, _ := one["mappings"].(map[string]any)
	meta, _ := mappings["_meta"].(map[string]any)
	end, _ := meta["end"].(float64)
	d.end = time.Unix(int64(end), 0)
	return meta["rate"] == float64(d.rate) && time.Since(d.end) < mostBehind
}

// mostBehind is how long after the end of the day it can be filled in as it would have been at
// its end: what is older than 26 hours is asked for without the distribution of its latencies.
const mostBehind = 2 * time.Hour

// inFlight is how many bulks are made and shipped at a time.
const inFlight = 3

// eachPart makes the requests, the oldest first, a bulk at a time, and counts them.
func (d *day) eachPart(b *testing.B, do func([]request) error) {
	b.Helper()
	var next atomic.Int64
	var working sync.WaitGroup
	errs := make([]error, inFlight)
	for worker := range inFlight {
		working.Go(func() {
			decoder := collector.NewDecoder(collector.Limits{MaxRecords: perBulk})
			for errs[worker] == nil {
				first := int(next.Add(perBulk)) - perBulk
				if first >= d.requests() {
					return
				}
				requests := d.part(first, min(perBulk, d.requests()-first))
				errs[worker] = errors.Join(count(d.want, decoder, requests, d.end), do(requests))
			}
		})
	}
	working.Wait()
	if err := errors.Join(errs...); err != nil {
		b.Fatal(err)
	}
}

// part makes n requests of the day, the same ones each time.
func (d *day) part(first, n int) []request {
	s := shop{random: rand.New(rand.NewPCG(11, uint64(first))), lean: true, made: first}
	list := make([]request, n)
	for i := range list {
		at := d.end.Add(-24*time.Hour + time.Duration(first+i)*time.Second/time.Duration(d.rate))
		list[i] = s.at(at, time.Duration(s.random.Int64N(int64(time.Second))))
	}
	return list
}

// measure lets new guards fill in the day, one after the other.
func (d *day) measure(b *testing.B, slos []gatewarden.SLO) {
	b.Helper()
	for b.Loop() {
		behind := time.Since(d.end)
		if behind > mostBehind {
			b.Fatalf("the day ended %s ago: index it anew", behind)
		}
		g := newGuard(slos)
		g.since, g.at = d.end, d.end
		set := settings(d.url, dayIndex)
		set.Read, set.PastReach = "nothing", gatewarden.Duration(behind+25*time.Hour)
		m := measuring(b, d.url)
		stop, reg := g.run(b, set)
		within(b, g, 30*time.Minute, "the day", func() bool { return g.total() >= uint64(d.requests()) })
		m.report(b, reg, d.requests())
		stop()
		same(b, g, d.want, d.end, windows...)
		if strings.Contains(g.said(), "level=WARN") {
			b.Logf("%.4000s", g.said())
		}
	}
}
