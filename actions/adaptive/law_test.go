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

// seen is a sight of so many events under a limit that keeps requests back.
func seen(good, bad uint64) *sight {
	return &sight{
		good: good, bad: bad, passed: good + bad, shed: good + bad,
		earned:  func(time.Time) (uint64, uint64) { return good, bad },
		borne:   func() float64 { return 100 },
		through: func(time.Time) float64 { return math.Inf(1) },
	}
}

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
		Known: 100, Best: 200, Raise: firstRaise, Lesson: firstLesson, Since: noon.Add(-10 * time.Minute), Changes: bucket, Filled: noon,
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
		"what is well and keeps requests back is raised": {nil, seen(300, 0), 105, 100, raise},
		"what keeps none back stays":                     {func(_ *place, s *sight) { s.shed = 6 }, seen(300, 0), 100, 100, stay},
		"what cannot be told stays":                      {nil, seen(3, 3), 100, 100, stay},
		"what hurts is cut, and remembered as too much":  {nil, seen(270, 30), 70, 93, cut},
		"what hurts much is cut by half":                 {nil, seen(0, 300), 50, 93, cut},
		"what hurts after a raise is known to be half-way": {
			func(p *place, s *sight) {
				p.Raised, p.limit = true, 110
				s.borne = func() float64 { return 200 }
			}, seen(270, 30), 77, math.Sqrt(90 * 110), cut,
		},
		"what hurts on is cut on, and nothing is learnt from it": {func(p *place, _ *sight) { p.Cut = true }, seen(0, 300), 50, 100, cut},
		"a queue is drained at a fifth of what is known":         {func(p *place, _ *sight) { p.Cut, p.limit = true, 30 }, seen(0, 300), 20, 100, cut},
		"if it drains too slowly, less is known":                 {func(p *place, _ *sight) { p.Cut, p.limit = true, 20 }, seen(0, 300), 15, 75, cut},
		"it is given a while to drain": {
			func(p *place, _ *sight) { p.Cut, p.limit, p.since = true, 20, noon.Add(-7*time.Second) }, seen(0, 300), 20, 100, stay,
		},
		"what is well again goes back to what is known": {func(p *place, _ *sight) { p.Cut, p.limit = true, 20 }, seen(50, 0), 100, 100, regain},
		"nothing goes below the floor":                  {func(p *place, _ *sight) { p.Cut, p.Known, p.limit = true, 9, 7 }, seen(0, 300), 5, 9, cut},
		"at the floor it stays":                         {func(p *place, _ *sight) { p.Cut, p.Known, p.limit = true, 9, 5 }, seen(0, 300), 5, 9, stay},
		"nothing goes above the ceiling":                {func(p *place, _ *sight) { p.limit = 490 }, seen(300, 0), 500, 490, raise},
		"at the ceiling it stays":                       {func(p *place, _ *sight) { p.limit = 500 }, seen(300, 0), 500, 100, stay},
		"a raise waits for the one before to show":      {func(p *place, _ *sight) { p.since = noon.Add(-14 * time.Second) }, seen(300, 0), 100, 100, stay},
		"a raise waits until the last attempt is paid":  {func(p *place, _ *sight) { p.Owed = 301 }, seen(300, 0), 100, 100, stay},
		"paid is paid":                                  {func(p *place, _ *sight) { p.Owed = 300 }, seen(300, 0), 105, 100, raise},
		"what hurt a while ago is kept away from":       {func(p *place, _ *sight) { p.Hurt, p.HurtAt = 104, noon.Add(-time.Minute) }, seen(300, 0), 0.97 * 104, 100, raise},
		"what hurt long ago is tried again":             {func(p *place, _ *sight) { p.Hurt, p.HurtAt = 104, noon.Add(-time.Hour) }, seen(300, 0), 105, 100, raise},
		"a raise that brought nothing is given up": {
			func(p *place, s *sight) { p.Raised, s.through = true, func(time.Time) float64 { return 94 } }, seen(300, 0), 90, 100, giveUp,
		},
		"a raise that brought what it let through is followed by the next": {
			func(p *place, s *sight) { p.Raised, s.through = true, func(time.Time) float64 { return 99 } }, seen(300, 0), 105, 100, raise,
		},
		"when little is kept back it cannot be told what a raise brought": {
			func(p *place, s *sight) {
				p.Raised, s.shed, s.through = true, 30, func(time.Time) float64 { return 50 }
			}, seen(300, 0), 105, 100, raise,
		},
		"raises leave changes for cuts": {func(p *place, _ *sight) { p.Changes = leftForRaise - 1 }, seen(300, 0), 100, 100, stay},
		"a cut takes the last change":   {func(p *place, _ *sight) { p.Changes = 1 }, seen(0, 300), 50, 93, cut},
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
		"an outage is cut by half":         {100, 1, 48.5, 97},
		"a tenth of it by a tenth":         {100, 0.1, 97 * 0.9, 97},
		"nothing was seen to be borne":     {0, 1, 5, 5},
		"more was borne than is let to be": {1000, 0, 500, 500},
	} {
		limit, m := begin(b, c.borne, c.bad, noon)
		if math.Abs(limit-c.limit) > 1e-9 || math.Abs(m.Known-c.known) > 1e-9 || !m.Cut {
			t.Errorf("%s: %v of %v, want %v of %v", name, limit, m.Known, c.limit, c.known)
		}
	}
}

// Whatever the service does, a limit stays within its bounds, is never changed twice
// within Settle, and never more often than the bucket allows.
func TestALimitStaysWithinItsBoundsAndSeldomMoves(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		floor := rapid.IntRange(1, 100).Draw(t, "floor")
		b := &bounds{floor: float64(floor), ceiling: float64(rapid.IntRange(floor, 10_000).Draw(t, "ceiling")), budget: rapid.Float64Range(1e-4, 0.5).Draw(t, "budget"), settle: defaultSettle}
		limit, m := begin(b, rapid.Float64Range(0, 1e5).Draw(t, "borne"), rapid.Float64Range(0, 1).Draw(t, "bad"), noon)
		now := gatewarden.Limit{}
		if l, err := write(now, place{limit: limit, memory: m}, noon); err == nil {
			now = l
		}
		changes := 0
		for at := noon; at.Before(noon.Add(time.Hour)); {
			at = at.Add(b.settle + time.Duration(rapid.IntRange(0, 20).Draw(t, "seconds"))*time.Second)
			p, err := read(now)
			if err != nil {
				t.Fatal(err)
			}
			s := seen(rapid.Uint64Range(0, 1000).Draw(t, "good"), rapid.Uint64Range(0, 1000).Draw(t, "bad"))
			s.shed = rapid.Uint64Range(0, 100).Draw(t, "shed")
			s.borne = func() float64 { return rapid.Float64Range(0, 1e6).Draw(t, "borne") }
			s.through = func(time.Time) float64 { return rapid.Float64Range(0, 1e6).Draw(t, "through") }
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
