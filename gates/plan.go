package gates

import (
	"crypto/sha256"
	"encoding/json"
	"slices"

	"github.com/gatewarden/gatewarden"
)

// plan says who is to be shown a record. It never changes once it is in use.
type plan struct {
	byService map[string][]*feed
	others    []*feed            // those that no service's name picks
	byName    map[string][]*feed // all of them, by the canary
}

// feed is a definition of a canary that somebody is interested in: the one in force, or
// the one that a run began with.
type feed struct {
	slot   *slot // nil in an Observer, which keeps nothing
	canary *gatewarden.Canary
	print  fingerprint
	track  func(target string) (gatewarden.Track, bool)
}

func newPlan() *plan { return &plan{byService: map[string][]*feed{}, byName: map[string][]*feed{}} }

func newFeed(c *gatewarden.Canary, tracks Tracks) *feed {
	f := &feed{canary: c, print: fingerprintOf(c), track: func(string) (gatewarden.Track, bool) { return 0, false }}
	if tracks != nil {
		f.track = func(target string) (gatewarden.Track, bool) { return tracks.Track(c.Name, target) }
	}
	return f
}

func (p *plan) add(f *feed) {
	p.byName[f.canary.Name] = append(p.byName[f.canary.Name], f)
	services := []string{f.canary.Series.Service}
	if services[0] == "" {
		services = nil
		for _, s := range f.canary.Tracks {
			if s.Kind != gatewarden.ByService {
				p.others = append(p.others, f)
				return
			}
			services = append(services, s.Values...)
		}
	}
	slices.Sort(services)
	for _, name := range slices.Compact(services) {
		p.byService[name] = append(p.byService[name], f)
	}
}

// fingerprint tells definitions of a canary apart by which requests they pick, and so by
// what is observed of them. It is the same in every guard, and outlives a change of
// margins, deadlines and all else that only the judge cares for.
type fingerprint [16]byte

func fingerprintOf(c *gatewarden.Canary) fingerprint {
	h := sha256.New()
	_ = json.NewEncoder(h).Encode(struct { // texts only, and a hash takes everything: there is no error
		Name     string
		Series   gatewarden.Series
		Upstream string
		Tracks   [2]gatewarden.Selector
	}{c.Name, c.Series, c.Upstream, c.Tracks})
	return fingerprint(h.Sum(nil))
}

// gathering is what the feeds of a plan make of records.
type gathering struct {
	plan  *plan
	shown []shown
}

// shown is what a feed made of the records.
type shown struct {
	feed         *feed
	observations []gatewarden.Observation
}

// add shows a record to every feed that may be interested.
func (g *gathering) add(r *gatewarden.Record) {
	if !datable(r.At) {
		return
	}
	for _, f := range g.plan.byService[r.Service] {
		g.show(f, r)
	}
	for _, f := range g.plan.others {
		g.show(f, r)
	}
}

func (g *gathering) show(f *feed, r *gatewarden.Record) {
	o, ok := f.canary.Observe(r, f.track)
	if !ok {
		return
	}
	// A batch is mostly about one service, so about one canary.
	for i := len(g.shown) - 1; i >= 0; i-- {
		if g.shown[i].feed == f {
			g.shown[i].observations = append(g.shown[i].observations, o)
			return
		}
	}
	g.shown = append(g.shown, shown{feed: f, observations: []gatewarden.Observation{o}})
}
