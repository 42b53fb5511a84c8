package jenkins

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/internal/fakejenkins"
)

var (
	crashRuns = flag.Int("crash.runs", 200, "how many seeded lives TestOnceWhateverHappens plays")
	crashSeed = flag.Uint64("crash.seed", 0, "the first seed")
)

// TestOnceWhateverHappens plays many lives of one action: the guard dies before,
// in the middle of or after any request and any save, and starts again with the
// memo that was durable; Jenkins restarts, loses its queue, stalls; the network
// loses requests and answers. No life may see two builds, and one that ends in
// applied, or in failed by its build, must have seen exactly one.
func TestOnceWhateverHappens(t *testing.T) {
	ends := map[gatewarden.ActionStatus]int{}
	deaths := 0
	for seed := *crashSeed; seed < *crashSeed+uint64(*crashRuns); seed++ {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			job := rollback()
			job.Serial = rng.IntN(2) == 0
			job.Pipeline = lasting(time.Duration(rng.IntN(120)) * time.Second)
			if rng.IntN(3) == 0 {
				job.Pipeline = func(context.Context, *fakejenkins.Build) error { return fmt.Errorf("kubectl: no") }
			}
			jc := fakejenkins.Config{StartGap: time.Duration(rng.IntN(1000)) * time.Millisecond}
			inWorld(t, jc, job, func(t *testing.T, w *world) {
				life := &life{world: w, rng: rng}
				out, err := life.live()
				// What was sent while the guard died, or was left queued, comes to its end.
				w.ClearFaults()
				time.Sleep(time.Hour)
				builds := w.ours()
				byBuild := out.Status == gatewarden.ActionApplied || out.Status == gatewarden.ActionFailed && out.Change != ""
				if len(builds) > 1 || byBuild && len(builds) != 1 {
					t.Errorf("%d builds, and in the end %+v, %v", len(builds), out, err)
					w.tell()
				}
				if byBuild && (out.Status == gatewarden.ActionApplied) != (builds[0].Result == fakejenkins.Success) {
					t.Errorf("the outcome %s of a build that ended as %s", out.Status, builds[0].Result)
				}
				ends[out.Status]++
				deaths += life.deaths
			})
		})
	}
	t.Logf("%d deaths; ends: %v", deaths, ends)
	if *crashRuns >= 100 && (ends[gatewarden.ActionApplied] < *crashRuns/4 || ends[gatewarden.ActionFailed] == 0 || deaths < *crashRuns/2) {
		t.Error("the lives are too easy or too hard to prove anything")
	}
}

// life is one action's, over the deaths of the guard.
type life struct {
	*world
	rng    *rand.Rand
	deaths int
	orphan sync.WaitGroup // requests that a dead guard had sent
}

// died is what a dying guard panics with.
type died struct{}

func (l *life) chance(percent int) bool { return l.rng.IntN(100) < percent }

func (l *life) live() (gatewarden.Outcome, error) {
	defer l.orphan.Wait()
	inner := l.cfg.HTTPClient.Transport
	l.cfg.Timeout = 5 * time.Second
	l.cfg.HTTPClient = &http.Client{Transport: roundTripper(func(r *http.Request) (*http.Response, error) { return l.carry(inner, r) })}
	end := time.Now().Add(time.Hour)
	for {
		l.rebuild()
		out, alive, err := l.once()
		switch {
		case !alive:
			l.deaths++
			time.Sleep(l.upTo(20 * time.Second))
		case gatewarden.ErrorCode(err) == gatewarden.Unavailable && time.Now().Before(end):
			time.Sleep(time.Second)
		default:
			return out, err
		}
	}
}

// once is one start of the guard; alive is false when it died.
func (l *life) once() (out gatewarden.Outcome, alive bool, err error) {
	defer func() {
		if p := recover(); p != nil {
			if _, ok := p.(died); !ok {
				panic(p)
			}
			alive = false
		}
	}()
	if l.memo == nil {
		m, err := l.exec.Prepare(l.t.Context(), l.action())
		if err != nil {
			return out, true, err
		}
		l.memo = m
	}
	out, err = l.exec.Apply(l.t.Context(), l.action(), func(b json.RawMessage) error {
		l.mayDie()
		_ = l.save(b)
		l.mayDie()
		return nil
	})
	return out, true, err
}

const maxDeaths = 6

func (l *life) mayDie() {
	if l.deaths < maxDeaths && l.chance(6) {
		panic(died{})
	}
}

// carry makes one request, or dies before it, after it, or while it is under way.
func (l *life) carry(inner http.RoundTripper, r *http.Request) (*http.Response, error) {
	l.mishap()
	l.mayDie()
	if l.deaths < maxDeaths && l.chance(4) {
		l.arriveLate(inner, r)
		panic(died{})
	}
	if r.Method == http.MethodPost && l.chance(10) { // a proxy gives up, and hands it on all the same
		l.arriveLate(inner, r)
		return &http.Response{StatusCode: http.StatusGatewayTimeout, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	}
	resp, err := inner.RoundTrip(r)
	if err == nil && l.deaths < maxDeaths && l.chance(4) {
		resp.Body.Close()
		panic(died{})
	}
	return resp, err
}

// A trigger may be late on its way and stall at Jenkins, but both together are
// shorter than Settle: beyond that nobody can promise once.
const (
	maxLate  = 4 * time.Second
	maxStall = 10 * time.Second
)

// upTo returns a random duration below d.
func (l *life) upTo(d time.Duration) time.Duration { return time.Duration(l.rng.Int64N(int64(d))) }

// arriveLate has Jenkins see the request though nobody waits for its answer.
func (l *life) arriveLate(inner http.RoundTripper, r *http.Request) {
	delay := l.upTo(maxLate)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), time.Minute)
	sent := r.Clone(ctx)
	if r.GetBody != nil {
		sent.Body, _ = r.GetBody()
	}
	l.orphan.Go(func() {
		defer cancel()
		time.Sleep(delay)
		if resp, err := inner.RoundTrip(sent); err == nil {
			resp.Body.Close()
		}
	})
}

// mishap lets something happen to Jenkins or to the network, now and then.
func (l *life) mishap() {
	f := fakejenkins.Fault{Times: 1 + l.rng.IntN(3), Handled: l.chance(50), Status: []int{500, 502, 503, 504, 200, 404}[l.rng.IntN(6)]}
	f.Spoil = fakejenkins.Spoiling(l.rng.IntN(5))
	if f.Spoil == fakejenkins.Instead && f.Status == 503 {
		f.Handled = false // Jenkins says that it is not there
	}
	if l.chance(30) {
		f.Delay = l.upTo(maxStall)
	}
	switch n := l.rng.IntN(100); {
	case n < 6:
		l.Inject(f)
	case n < 12:
		f.When, f.Times = fakejenkins.Triggers, 1
		l.Inject(f)
	case n < 14:
		l.Restart(time.Duration(l.rng.IntN(60)) * time.Second)
	case n < 15:
		l.Kill(time.Duration(l.rng.IntN(60)) * time.Second)
	case n < 16:
		l.LoseQueue()
	}
}
