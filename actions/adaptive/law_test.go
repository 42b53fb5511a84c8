package adaptive

import (
	"encoding/json"
	"math"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/gatewarden/gatewarden"
)

var noon = time.Date(2026, 7, 2, 12, 0, 0, 0, time.UTC)

// seen is a sight of so many events under a limit that keeps requests back, all of which
// come back as fast as ever.
func seen(good, bad uint64) *sight {
	return &sight{
		good: good, bad: bad, passed: good + bad, shed: good + bad,
		earned:  func(time.Time) (uint64, uint64) { return good, bad },
		bore:    func() float64 { return 60 },
		through: func(p *place) flow { return flow{6, p.limit, p.limit, half, half, half / 5} },
	}
}

const half = 500 * time.Millisecond

// flows has something else come back.
func (s *sight) flows(f flow) { s.through = func(*place) flow { return f } }

func TestAnSLOIsHurtWhenItsBadEventsAreASurprise(t *testing.T) {
	for name, c := range map[string]struct {
		good, bad uint64
		budget    float64
		want      state
	}{
		"nothing at all says nothing":               {0, 0, 0.01, unknown},
		"a handful says nothing":                    {0, 9, 0.01, unknown},
		"none bad is well":                          {300, 0, 0.01, well},
		"just at the budget is well":                {297, 3, 0.01, well},
		"a little above it is no surprise":          {294, 6, 0.01, well},
		"far above it is":                           {270, 30, 0.01, hurt},
		"all bad":                                   {0, 300, 0.01, hurt},
		"one in a thousand at three nines, by luck": {299, 1, 0.001, well},
		"four in 300 at three nines":                {296, 4, 0.001, well},
		"six in 300 at three nines":                 {294, 6, 0.001, hurt},
		"half of ten":                               {5, 5, 0.01, hurt},
	} {
		if got := seen(c.good, c.bad).judge(c.budget); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
}

// settled is a limit of 100 requests a second that is well known to be borne.
func settled() place {
	return place{limit: 100, before: 90, since: noon.Add(-time.Hour), memory: memory{
		Known: 100, Best: 100, Raise: firstRaise, Lesson: firstLesson, Usual: half / 5,
		Since: noon.Add(-10 * time.Minute), Rest: noon.Add(-time.Minute), Changes: bucket, Filled: noon,
	}}
}

func TestTheLaw(t *testing.T) {
	b := &bounds{floor: 5, ceiling: 500, budget: 0.01, settle: 6 * time.Second}
	for name, c := range map[string]struct {
		change func(*place, *sight)
		sight  *sight
		limit  float64
		known  float64
		moved  move
	}{
		"what is well and keeps requests back is raised": {nil, seen(300, 0), 103, 100, raise},
		"what keeps none back stays":                     {func(_ *place, s *sight) { s.shed = 6 }, seen(300, 0), 100, 100, stay},
		"what cannot be told stays":                      {nil, seen(3, 3), 100, 100, stay},
		"what hurts is cut, and remembered as too much":  {nil, seen(270, 30), 85, 95, cut},
		"what hurts is cut by the share of what is bad":  {nil, seen(210, 90), 70, 95, cut},
		"what hurts much is drained":                     {nil, seen(0, 300), 15, 95, cut},
		"what hurts and comes back no more is cut by how fast the queue grows, to what comes back": {
			func(_ *place, s *sight) { s.flows(flow{6, 80, 80, half, 2 * half, half}) }, seen(270, 30), 50, 0.97 * 80, cut,
		},
		"when clients leave in number, what was answered before counts": {
			func(_ *place, s *sight) { s.flows(flow{6, 20, 80, half, 2 * half, half}) }, seen(0, 300), 15, 0.97 * 60, cut,
		},
		"what hurts after a raise is known to be what was before": {
			func(p *place, _ *sight) { p.Raised, p.limit, p.before = true, 106, 100 }, seen(270, 30), 106 * 0.85, 106 * 0.95, cut,
		},
		"what hurts after a raise need not be more than a little less than what was before": {
			func(p *place, s *sight) {
				p.Raised, p.limit, p.before = true, 106, 100
				s.flows(flow{6, 70, 80, half, half, half})
			}, seen(270, 30), 106 * (1 - 0.1 - 2*(1-70./106)), 97, cut,
		},
		"what hurts just after a way up may be the change itself": {
			func(p *place, s *sight) { s.flows(flow{}) }, seen(270, 30), 85, 97.5, cut,
		},
		"what hurts just after a cut has come before": {
			func(p *place, _ *sight) { p.before, p.since = 110, noon.Add(-10*time.Second) }, seen(270, 30), 100, 100, stay,
		},
		"unless it gets worse": {
			func(p *place, s *sight) {
				p.before, p.since = 110, noon.Add(-10*time.Second)
				s.flows(flow{6, 100, 100, half, 2 * half, half})
			}, seen(270, 30), 85, 95, cut,
		},
		"what hurts on is cut on, and nothing is learnt from it": {func(p *place, _ *sight) { p.Cut = true }, seen(210, 90), 70, 100, cut},
		"a queue is drained at a share of what is known":         {func(p *place, _ *sight) { p.Cut, p.limit = true, 30 }, seen(0, 300), 15, 100, cut},
		"if it drains too slowly, less is known":                 {func(p *place, _ *sight) { p.Cut, p.limit, p.before = true, 15, 0 }, seen(0, 300), 7.5, 50, cut},
		"it is given a while to drain": {
			func(p *place, _ *sight) { p.Cut, p.limit, p.before, p.since = true, 15, 0, noon.Add(-19*time.Second) }, seen(0, 300), 15, 100, stay,
		},
		"what is well again goes back to what is known": {func(p *place, _ *sight) { p.Cut, p.limit = true, 20 }, seen(50, 0), 100, 100, regain},
		"what has drained goes back at once": {
			func(p *place, s *sight) {
				p.Cut, p.limit, p.since, s.drained = true, 20, noon.Add(-5*time.Second), true
				s.flows(flow{})
			}, seen(50, 50), 100, 100, regain,
		},
		"not while there is a queue": {
			func(p *place, s *sight) {
				p.Cut, p.limit, p.since = true, 20, noon.Add(-10*time.Second)
				s.flows(flow{6, 20, 20, half, half, half})
			}, seen(50, 0), 20, 100, stay,
		},
		"a queue that stays is none of the limit's": {
			func(p *place, s *sight) {
				p.Cut, p.limit, p.since = true, 20, noon.Add(-15*time.Second)
				s.flows(flow{6, 20, 20, half, half, half})
			}, seen(50, 0), 100, 100, regain,
		},
		"nothing goes below the floor":                 {func(p *place, _ *sight) { p.Cut, p.Known, p.limit = true, 9, 7 }, seen(0, 300), 5, 9, cut},
		"at the floor it stays":                        {func(p *place, _ *sight) { p.Cut, p.Known, p.limit = true, 9, 5 }, seen(0, 300), 5, 9, stay},
		"nothing goes above the ceiling":               {func(p *place, _ *sight) { p.limit = 490 }, seen(300, 0), 500, 490, raise},
		"at the ceiling it stays":                      {func(p *place, _ *sight) { p.limit = 500 }, seen(300, 0), 500, 100, stay},
		"a raise waits for the one before to show":     {func(_ *place, s *sight) { s.flows(flow{3, 100, 100, half, half, half / 5}) }, seen(300, 0), 100, 100, stay},
		"a raise waits until the last attempt is paid": {func(p *place, _ *sight) { p.Owed = 301 }, seen(300, 0), 100, 100, stay},
		"paid is paid":                                 {func(p *place, _ *sight) { p.Owed = 300 }, seen(300, 0), 103, 100, raise},
		"what hurt a while ago is kept away from":      {func(p *place, _ *sight) { p.Hurt, p.HurtAt = 104, noon.Add(-time.Minute) }, seen(300, 0), 0.97 * 104, 100, raise},
		"what hurt long ago is tried again":            {func(p *place, _ *sight) { p.Hurt, p.HurtAt = 104, noon.Add(-time.Hour) }, seen(300, 0), 103, 100, raise},
		"the first raise is a larger one":              {func(p *place, _ *sight) { p.Rest = time.Time{} }, seen(300, 0), 106, 100, raise},
		"far from what came back at most each raise doubles the next": {
			func(p *place, _ *sight) { p.Best, p.Raise, p.Raised = 200, 0.12, true }, seen(300, 0), 112, 100, raise,
		},
		"beyond it too, while the quickest wait for nothing": {
			func(p *place, _ *sight) { p.Best, p.Raise, p.Raised = 80, 0.12, true }, seen(300, 0), 112, 100, raise,
		},
		"when little is kept back there is little to lose": {
			func(p *place, s *sight) { p.Rest, s.shed = noon.Add(time.Minute), 30 }, seen(300, 0), 112, 100, raise,
		},
		"what is idle for a good part of each second, and was not, is raised by much, whatever hurt": {
			func(p *place, s *sight) {
				p.Busy, p.Hurt, p.HurtAt, p.Owed, p.Rest, s.shed = true, 101, noon.Add(-2*time.Minute), 1e6, noon.Add(time.Minute), 3000
				s.flows(flow{6, 100, 100, half / 2, half / 2, half / 5})
			}, seen(300, 0), 125, 100, raise,
		},
		"what was always idle may be no other than it was": {
			func(p *place, s *sight) {
				s.shed = 3000
				s.flows(flow{6, 100, 100, half / 2, half / 2, half / 5})
			}, seen(300, 0), 103, 100, raise,
		},
		"a raise rests after one that was given up": {func(p *place, _ *sight) { p.Rest = noon.Add(time.Second) }, seen(300, 0), 100, 100, stay},
		"nothing is raised while a queue stands": {
			func(_ *place, s *sight) { s.flows(flow{6, 100, 100, half, half, half / 2}) }, seen(300, 0), 100, 100, stay,
		},
		"a queue that grows is given up, though it is well yet": {
			func(_ *place, s *sight) { s.flows(flow{6, 92, 94, half, half * 13 / 10, half / 5}) }, seen(300, 0), 0.97 * 94, 0.97 * 94, giveUp,
		},
		"less may come back by chance": {
			func(_ *place, s *sight) { s.flows(flow{6, 97, 94, half, half * 13 / 10, half / 5}) }, seen(300, 0), 103, 100, raise,
		},
		"a raise that makes a queue stand is given up, for little less than what was before": {
			func(p *place, s *sight) {
				p.Raised, p.before = true, 98
				s.flows(flow{6, 90, 90, half, half + 1, half * 3 / 5})
			}, seen(300, 0), 98 * 0.94, 98 * 0.94, giveUp,
		},
		"a long queue is drained": {
			func(p *place, s *sight) {
				p.Raised = true
				s.flows(flow{6, 100, 100, half, 2 * half, half/5 + 600*time.Millisecond})
			}, seen(300, 0), 97 * 0.9, 97, giveUp,
		},
		"raises leave changes for cuts": {func(p *place, _ *sight) { p.Changes = leftForRaise - 1 }, seen(300, 0), 100, 100, stay},
		"a cut takes the last change":   {func(p *place, _ *sight) { p.Changes = 1 }, seen(0, 300), 15, 95, cut},
		"without any nothing moves":     {func(p *place, _ *sight) { p.Changes = 0.5 }, seen(0, 300), 100, 100, stay},
	} {
		t.Run(name, func(t *testing.T) {
			p := settled()
			if c.change != nil {
				c.change(&p, c.sight)
			}
			to, moved := p.next(b, c.sight, noon)
			if moved != c.moved || math.Abs(to.limit-c.limit) > 1e-9 {
				t.Errorf("move %d to %v, want %d to %v", moved, to.limit, c.moved, c.limit)
			}
			if math.Abs(to.Known-c.known) > 1e-9 {
				t.Errorf("known %v, want %v", to.Known, c.known)
			}
		})
	}
}

func TestALimitBeginsAtWhatWasBorneLessACut(t *testing.T) {
	b := &bounds{floor: 5, ceiling: 500}
	for name, c := range map[string]struct{ borne, bad, limit, known float64 }{
		"an outage is drained":             {100, 1, 97 * 0.15, 97},
		"a tenth of it is cut thrice that": {100, 0.1, 97 * 0.7, 97},
		"what is not spoilt is let be":     {100, 0, 97, 97},
		"nothing was seen to be borne":     {0, 1, 5, 5},
		"more was borne than is let to be": {1000, 0, 500, 500},
	} {
		limit, m := begin(b, c.borne, c.bad, noon)
		if math.Abs(limit-c.limit) > 1e-9 || math.Abs(m.Known-c.known) > 1e-9 || !m.Cut {
			t.Errorf("%s: %v of %v, want %v of %v", name, limit, m.Known, c.limit, c.known)
		}
	}
}

// Whatever the service does, a limit stays within its bounds, and is never changed more
// often than the bucket allows.
func TestALimitStaysWithinItsBoundsAndSeldomMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		floor := rapid.IntRange(1, 100).Draw(t, "floor")
		b := &bounds{floor: float64(floor), ceiling: float64(rapid.IntRange(floor, 10_000).Draw(t, "ceiling")), budget: rapid.Float64Range(1e-4, 0.5).Draw(t, "budget"), settle: defaultSettle}
		limit, m := begin(b, rapid.Float64Range(0, 1e5).Draw(t, "borne"), rapid.Float64Range(0, 1).Draw(t, "bad"), noon)
		m.Usual = time.Duration(rapid.Int64Range(0, int64(time.Second)).Draw(t, "usual"))
		now := gatewarden.Limit{}
		if l, err := write(now, place{limit: limit, memory: m}, noon); err == nil {
			now = l
		}
		changes := 0
		for at := noon; at.Before(noon.Add(time.Hour)); {
			at = at.Add(time.Duration(rapid.IntRange(2, 25).Draw(t, "after")) * time.Second)
			p, err := read(now)
			if err != nil {
				t.Fatal(err)
			}
			s := seen(rapid.Uint64Range(0, 1000).Draw(t, "good"), rapid.Uint64Range(0, 1000).Draw(t, "bad"))
			s.shed = rapid.Uint64Range(0, 100).Draw(t, "shed")
			s.bore = func() float64 { return rapid.Float64Range(0, 1e6).Draw(t, "bore") }
			rate, took := rapid.Float64Range(0, 1e6), rapid.Int64Range(0, int64(time.Minute))
			s.flows(flow{
				rapid.IntRange(0, 6).Draw(t, "seconds"), rate.Draw(t, "rate"), rate.Draw(t, "long"),
				time.Duration(took.Draw(t, "first")), time.Duration(took.Draw(t, "last")), time.Duration(took.Draw(t, "quick")),
			})
			s.drained = rapid.Bool().Draw(t, "drained")
			next, moved := p.next(b, s, at)
			if !(next.limit >= b.floor && next.limit <= b.ceiling) && moved != stay {
				t.Fatalf("the limit is %v, out of [%v, %v]", next.limit, b.floor, b.ceiling)
			}
			if moved == stay {
				continue
			}
			changes++
			if now, err = write(now, next, at); err != nil {
				t.Fatal(err)
			}
			if float64(now.Value) < b.floor || float64(now.Value) > b.ceiling {
				t.Fatalf("the limit is written as %d, out of [%v, %v]", now.Value, b.floor, b.ceiling)
			}
		}
		if most := int(bucket) + int(time.Hour/fillEvery) + 1; changes > most {
			t.Errorf("%d changes in an hour, want at most %d", changes, most)
		}
	})
}

func TestWhatTheLawKnowsOutlivesARestart(t *testing.T) {
	want := settled()
	want.Rest, want.Tried, want.HurtAt = noon.Add(time.Minute), noon, noon
	limit, err := write(gatewarden.Limit{Value: 90}, want, noon)
	if err != nil {
		t.Fatal(err)
	}
	line, err := json.Marshal(limit)
	if err != nil {
		t.Fatal(err)
	}
	var back gatewarden.Limit
	if err := json.Unmarshal(line, &back); err != nil {
		t.Fatal(err)
	}
	got, err := read(back)
	if err != nil {
		t.Fatal(err)
	}
	want.since = noon
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(place{}), cmp.AllowUnexported(memory{})); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// FuzzRead feeds what a journal of another version, or a broken one, may hold.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"known":100,"best":100,"raise":0.05,"lesson":0.05,"since":"2026-07-02T12:00:00Z","changes":40,"filled":"2026-07-02T12:00:00Z"}`), 100)
	f.Add([]byte(`{"known":100,"best":100,"cut":true,"usual":-9223372036854775808}`), 20)
	f.Add([]byte(`{}`), 0)
	f.Add([]byte(`{"known":-1e308,"best":-0,"raise":-5,"changes":1e308,"owed":-1}`), -7)
	f.Add([]byte(`{"known":1e308,"best":1e308,"raise":1e308,"lesson":1e308,"hurt":1e308,"changes":1e308}`), 1<<62)
	b := &bounds{floor: 5, ceiling: 500, budget: 0.01, settle: defaultSettle}
	f.Fuzz(func(t *testing.T, law []byte, value int) {
		p, err := read(gatewarden.Limit{Value: value, Law: law})
		if err != nil {
			return
		}
		for _, s := range []*sight{seen(300, 0), seen(0, 300), seen(1, 1)} {
			next, moved := p.next(b, s, noon)
			if moved != stay && !(next.limit >= b.floor && next.limit <= b.ceiling) {
				t.Errorf("%s, %d: goes to %v", law, value, next.limit)
			}
		}
	})
}
