package completeness

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

func config() Config {
	return Config{Limit: 0.95, Window: time.Minute, Settle: 10 * time.Second, MinRequests: 50}
}

// world is a gateway and its log: requests happen at instants, each is counted by a
// node and logged, or not.
type world struct {
	book    *Book
	logged  map[string]*[3600]uint64 // by service and second since noon
	pending map[string]uint64        // counted since the last look
	last    time.Time
	at      time.Time
	every   time.Duration // between looks
}

func newWorld(cfg Config) *world {
	w := &world{logged: map[string]*[3600]uint64{}, pending: map[string]uint64{}, at: noon, every: time.Second}
	w.book = New(cfg, func(service string, from, to time.Time) (n uint64, ever bool) {
		seconds := w.logged[service]
		if seconds == nil {
			return 0, false
		}
		for s := max(from.Unix()-noon.Unix(), 0); s < min(to.Unix()-noon.Unix(), int64(len(seconds))); s++ {
			n += seconds[s]
		}
		return n, true
	})
	return w
}

// request lets n requests to a service happen, of which so many are logged.
func (w *world) request(service string, n, logged uint64) {
	w.pending[service] += n
	if logged > 0 {
		w.log(service, w.at, logged)
	}
}

func (w *world) log(service string, at time.Time, n uint64) {
	if w.logged[service] == nil {
		w.logged[service] = &[3600]uint64{}
	}
	w.logged[service][max(at.Unix()-noon.Unix(), 0)] += n
}

// pass lets d pass, with so many requests to orders in each second.
func (w *world) pass(d time.Duration, n, logged uint64) {
	for end := w.at.Add(d); w.at.Before(end); {
		w.request("orders", n, logged)
		w.at = w.at.Add(time.Second)
		if w.at.Sub(w.last) >= w.every {
			w.look()
		}
	}
}

func (w *world) look() {
	w.book.Looked("kong:8100", "a", w.last, w.at, w.pending)
	w.last = w.at
	clear(w.pending)
}

func (w *world) judge() Service { return w.book.Judge(w.at).Services["orders"] }

func TestWhatIsIncomplete(t *testing.T) {
	cases := map[string]struct {
		live func(w *world)
		want bool
		why  string
	}{
		"all is logged":                    {func(w *world) { w.pass(5*time.Minute, 20, 20) }, false, ""},
		"one in a hundred is lost":         {func(w *world) { w.pass(20*time.Minute, 100, 99) }, false, ""},
		"one in ten is lost, for a minute": {func(w *world) { w.pass(9*time.Minute, 20, 20); w.pass(time.Minute, 20, 18) }, false, ""},
		"one in ten is lost, for long": {
			func(w *world) { w.pass(12*time.Minute, 20, 18) }, true,
			"of 12000 requests to orders that Kong counted in 10m, the log brought 10800 (90 %, the limit is 95 %)",
		},
		"one in ten was lost, and no longer is": {func(w *world) { w.pass(12*time.Minute, 20, 18); w.pass(2*time.Minute, 20, 20) }, false, ""},
		"nothing is logged any more": {
			func(w *world) { w.pass(5*time.Minute, 20, 20); w.pass(30*time.Second, 20, 0) }, true,
			"of 1200 requests to orders that Kong counted in 1m, the log brought 800 (66.7 %, the limit is 95 %)",
		},
		"the log is back": {func(w *world) { w.pass(5*time.Minute, 20, 0); w.pass(80*time.Second, 20, 20) }, false, ""},
		"it was never logged": {
			func(w *world) { w.pass(5*time.Minute, 20, 0) }, true,
			"Kong counted 1200 requests to orders in 1m, and the log has never brought one: is a log plugin enabled there?",
		},
		"too few requests to tell":    {func(w *world) { w.pass(2*time.Minute, 0, 0); w.request("orders", 49, 0); w.pass(20*time.Second, 0, 0) }, false, ""},
		"no requests at all":          {func(w *world) { w.pass(5*time.Minute, 0, 0) }, false, ""},
		"more is logged than counted": {func(w *world) { w.pass(5*time.Minute, 10, 20) }, false, ""},
		"a burst in one second": {func(w *world) {
			w.pass(3*time.Minute, 0, 0)
			w.request("orders", 5000, 5000)
			w.pass(40*time.Second, 0, 0)
		}, false, ""},
		"a burst, and a look each 15 seconds": {func(w *world) {
			w.every = 15 * time.Second
			w.pass(3*time.Minute, 0, 0)
			w.request("orders", 5000, 5000)
			w.pass(70*time.Second, 0, 0)
		}, false, ""},
		"a look each 15 seconds, nothing logged": {func(w *world) {
			w.every = 15 * time.Second
			w.pass(5*time.Minute, 20, 20)
			w.pass(2*time.Minute, 20, 0)
		}, true, ""},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(config())
			c.live(w)
			got := w.judge()
			if got.Lacking != c.want || got.Lacking != (got.Why != "") {
				t.Fatalf("lacking is %v, want %v: %+v", got.Lacking, c.want, got)
			}
			if c.why != "" && got.Why != c.why {
				t.Errorf("it says %q\nwant     %q", got.Why, c.why)
			}
		})
	}
}

// The stated time: from the end of the log to the first verdict that says so, and from
// its return to the first that does not.
func TestSilenceIsFoundAndItsEndToo(t *testing.T) {
	w := newWorld(config())
	w.pass(11*time.Minute, 20, 20)
	found := 0
	for !w.judge().Lacking && found < 600 {
		w.pass(time.Second, 20, 0)
		found++
	}
	if found > 20 {
		t.Errorf("a silent log was found after %d s", found)
	}
	w.pass(5*time.Minute, 20, 0)
	over := 0
	for w.judge().Lacking && over < 600 {
		w.pass(time.Second, 20, 20)
		over++
	}
	if over > 75 {
		t.Errorf("it was over after %d s", over)
	}
	t.Logf("found after %d s, over after %d s", found, over)
}

func TestAllTogetherAreThoseThatAreLogged(t *testing.T) {
	w := newWorld(config())
	for range 300 {
		w.request("orders", 10, 10)
		w.request("unlogged", 1000, 0)
		w.pass(time.Second, 0, 0)
	}
	r := w.book.Judge(w.at)
	if r.All.Lacking || r.All.Counted != 600 || r.All.Ratio < 0.99 || !r.Services["unlogged"].Lacking {
		t.Errorf("%+v", r)
	}
}

func TestAGapInTheLooksIsSaid(t *testing.T) {
	w := newWorld(config())
	w.pass(5*time.Minute, 20, 20)
	if r := w.book.Judge(w.at); !r.Whole {
		t.Error("every second was looked at, and it says otherwise")
	}
	w.book.Failed("kong-2:8100")
	if r := w.book.Judge(w.at); r.Whole {
		t.Error("a node that never answered is not missed")
	}
	w.book.Gone("kong-2:8100")
	if r := w.book.Judge(w.at); !r.Whole {
		t.Error("a node that is asked no more is missed")
	}
	w.book.Looked("kong:8100", "a", time.Time{}, w.at, nil) // its counters were lost
	w.last = w.at
	w.pass(30*time.Second, 20, 20)
	if r := w.book.Judge(w.at); r.Whole || r.Services["orders"].Lacking {
		t.Errorf("after a gap of counters: %+v", r)
	}
	w.pass(time.Minute, 20, 20)
	if r := w.book.Judge(w.at); !r.Whole {
		t.Error("the gap is over, and still it is not whole")
	}
}

// slept returns what a clock with two opinions says when the machine has slept for d: the
// time of day has gone on, the time since the start has not.
func slept(at time.Time, d time.Duration) time.Time {
	before := at.Unix()
	*(*uint64)(unsafe.Pointer(&at)) += uint64(d/time.Second) << 30 // time.Time's wall, with a monotonic reading
	if at.Unix() != before+int64(d/time.Second) {
		panic("time.Time is made in another way now")
	}
	return at
}

func TestAMachineThatSlept(t *testing.T) {
	book := New(config(), func(string, time.Time, time.Time) (uint64, bool) { return 0, true })
	since := time.Now() // only such a time has both
	at := slept(since.Add(time.Second), 29*time.Second)
	book.Looked("kong", "a", time.Time{}, since, nil)
	book.Looked("kong", "a", since, at, map[string]uint64{"orders": 1000})
	if n := book.Judge(at.Round(0).Add(15 * time.Second)).Services["orders"].Counted; n != 1000 {
		t.Errorf("%d requests are counted of 1000", n)
	}
}

func TestAClockThatIsSetBack(t *testing.T) {
	for name, back := range map[string]time.Duration{"half a minute": 30 * time.Second, "four minutes": 4 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(config())
			w.pass(5*time.Minute, 20, 20)
			w.at = w.at.Add(-back)
			w.look()
			if w.book.Judge(w.at).Whole {
				t.Error("of the window nothing is known by this clock, and it is said to be whole")
			}
			w.pass(30*time.Second, 20, 20)
			if s := w.judge(); s.Counted > 20*20 || s.Lacking {
				t.Errorf("in 20 s of 20 requests each: %+v", s)
			}
			w.pass(time.Minute, 20, 20)
			if r := w.book.Judge(w.at); !r.Whole || r.Services["orders"].Counted != 60*20 {
				t.Errorf("in a minute of 20 requests each, whole: %v, %+v", r.Whole, r.Services["orders"])
			}
		})
	}
}

// However nodes are looked at, and whatever the clocks do within skew: a log that lost
// nothing is never found incomplete.
func TestACompleteLogIsNeverIncomplete(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		cfg := config()
		cfg.MinRequests = 1
		cfg.Settle = time.Duration(rapid.IntRange(2, 20).Draw(t, "settle")) * time.Second
		w := newWorld(cfg)
		rng := rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 1))
		nodes := rapid.IntRange(1, 3).Draw(t, "nodes")
		off := time.Duration(rapid.IntRange(-900, 900).Draw(t, "clock")) * time.Millisecond
		pending, last := make([]uint64, nodes), make([]time.Time, nodes)
		for range rapid.IntRange(60, 200).Draw(t, "seconds") {
			for i := range nodes {
				n := uint64(rng.IntN(50))
				if rng.IntN(20) == 0 {
					n *= 200
				}
				pending[i] += n
				w.log("orders", w.at.Add(time.Duration(rng.IntN(1000))*time.Millisecond+off), n)
			}
			w.at = w.at.Add(time.Second)
			for i := range nodes {
				if rng.IntN(4) > 0 {
					w.book.Looked(fmt.Sprint(i), "", last[i], w.at, map[string]uint64{"orders": pending[i]})
					last[i], pending[i] = w.at, 0
				}
			}
			if s := w.judge(); s.Lacking {
				t.Fatalf("at %v: %+v", w.at, s)
			}
		}
	})
}

func TestHostileInstantsAndNames(t *testing.T) {
	w := newWorld(config())
	for i := range 3 * maxServices {
		w.book.Looked("kong", "a", noon, noon.Add(time.Second), map[string]uint64{strings.Repeat("x", i%7) + fmt.Sprint(i): 1 << 40})
	}
	if len(w.book.cells) > maxServices {
		t.Errorf("%d services are kept", len(w.book.cells))
	}
	w.book.Looked("kong", "a", noon.Add(-time.Hour), noon.Add(24*time.Hour), map[string]uint64{"a": 5})
	w.book.Looked("kong", "a", noon.Add(time.Hour), noon, map[string]uint64{"a": 5})
	w.book.Looked("kong", "a", noon.Add(-2*time.Hour), noon.Add(-time.Hour), map[string]uint64{"a": 5})
	w.book.Judge(noon)
	w.book.Judge(noon.AddDate(100, 0, 0))
	before := w.book.Judge(noon.AddDate(100, 0, 1))
	if diff := cmp.Diff(uint64(0), before.All.Counted); diff != "" {
		t.Error(diff)
	}
}
