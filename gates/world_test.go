package gates

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gatewarden/gatewarden"
)

// t0 is the beginning of all tests, between two whole seconds.
var t0 = time.Date(2026, 11, 22, 2, 15, 0, 300e6, time.UTC)

const delay = 3 * time.Second

// fakeJudge judges by counting: each failure of the canary is evidence of 0.1 for a fail,
// each of its requests of 0.01 for a pass. Like the real one it closes seconds in order,
// and what comes later does not count.
type fakeJudge struct {
	Start, Next   int64
	Open          map[int64][3]int // by second: baseline's requests, canary's requests, its failures
	History       int
	Baseline      int
	Canary        int
	Failures      int
	Late          uint64
	FailAt        int64
	PassAt        int64
	Splits        []split
	Minimum, Dead time.Duration
	Delay         time.Duration

	verdicts int // asked for
}

func newFakeJudge(c *gatewarden.Canary, start time.Time) (Judge, error) {
	if c.FalseAlarm == 0 {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "false_alarm is 0")
	}
	return &fakeJudge{Start: start.Unix(), Open: map[int64][3]int{}, Minimum: c.MinDuration, Dead: c.Deadline, Delay: delay}, nil
}

func loadFakeJudge(_ *gatewarden.Canary, state []byte) (Judge, error) {
	j := &fakeJudge{}
	if err := json.Unmarshal(state, (*fakeState)(j)); err != nil {
		return nil, err
	}
	return j, nil
}

type fakeState fakeJudge

func (j *fakeJudge) MarshalJSON() ([]byte, error) { return json.Marshal((*fakeState)(j)) }
func (j *fakeJudge) Wait(delay time.Duration)     { j.Delay = delay }
func (j *fakeJudge) Begin(at time.Time)           { j.Start = at.Unix() }
func (j *fakeJudge) SetSplit(at time.Time, share float64) {
	j.Splits = append(j.Splits, split{At: at, Share: share})
}

func (j *fakeJudge) Add(o *gatewarden.Observation) {
	second := o.At.Unix()
	if second < j.Next {
		j.Late++
		return
	}
	c := j.Open[second]
	n := int(max(o.Weight, 1))
	if o.Track == gatewarden.TrackCanary {
		c[1] += n
		if o.Failed {
			c[2] += n
		}
	} else {
		c[0] += n
	}
	j.Open[second] = c
}

func (j *fakeJudge) Advance(at time.Time) {
	limit := at.Add(-j.Delay).Unix()
	for _, second := range slices.Sorted(maps.Keys(j.Open)) {
		if second >= limit {
			break
		}
		j.close(second, j.Open[second])
		delete(j.Open, second)
	}
	j.Next = max(j.Next, limit)
}

func (j *fakeJudge) close(second int64, c [3]int) {
	if second < j.Start {
		j.History += c[0]
		return
	}
	j.Baseline += c[0]
	j.Canary += c[1]
	j.Failures += c[2]
	if j.FailAt == 0 && j.fail() >= 2 {
		j.FailAt = second + 1
	}
	age := time.Duration(second+1-j.Start) * time.Second
	if j.PassAt == 0 && j.FailAt == 0 && j.pass() >= 1.3 && age >= j.Minimum && age <= j.Dead {
		j.PassAt = second + 1
	}
}

func (j *fakeJudge) fail() float64 { return float64(j.Failures) / 10 }
func (j *fakeJudge) pass() float64 { return float64(j.Canary)/100 - float64(j.Failures)/5 }

func (j *fakeJudge) Standing(at time.Time) (gatewarden.State, float64) {
	j.Advance(at)
	switch {
	case j.FailAt != 0:
		return gatewarden.Breach, j.fail()
	case j.PassAt != 0:
		return gatewarden.Healthy, j.fail()
	}
	return gatewarden.Inconclusive, j.fail()
}

func (j *fakeJudge) Verdict(at time.Time) gatewarden.CanaryVerdict {
	j.verdicts++
	state, evidence := j.Standing(at)
	pass := j.pass()
	v := gatewarden.CanaryVerdict{
		At: at, Start: time.Unix(j.Start, 0).UTC(), State: state, Evidence: evidence, Needed: 2, PassNeeded: 1.3, Late: j.Late,
		Reason:   fmt.Sprintf("%d of %d requests failed", j.Failures, j.Canary),
		Baseline: gatewarden.TrackCounts{Requests: uint64(j.Baseline)},
		Canary:   gatewarden.TrackCounts{Requests: uint64(j.Canary), Failures: uint64(j.Failures)},
		Checks:   []gatewarden.CheckEvidence{{Name: "errors", Evidence: evidence, Pass: &pass}},
		History:  gatewarden.Duration(time.Duration(j.History) * time.Second),
	}
	if at := j.FailAt + j.PassAt; at != 0 {
		since := time.Unix(max(j.FailAt, j.PassAt), 0).UTC()
		v.Since = &since
	}
	return v
}

// errCrashed is what a disk says once the process is dead.
var errCrashed = errors.New("the process is dead")

// disk is what outlives a process: a store, a log and a journal that keep what they
// acknowledged, and the world outside.
type disk struct {
	mu       sync.Mutex
	blobs    map[string][]byte
	messages map[uint64][]byte
	seq      uint64
	events   []gatewarden.Event
	answers  []string
	moves    []string
	notes    []gatewarden.Run

	ops      int
	dieAt    int   // this operation is the last, 0 never
	dieAfter bool  // it still happens, but nobody learns of it
	dead     bool  // nothing happens any more
	broken   error // what the log and the store answer instead

	share    map[string]float64
	held     error
	answered error
	journal  error
	gate     chan struct{} // an append waits for it when set
}

func newDisk() *disk {
	return &disk{blobs: map[string][]byte{}, messages: map[uint64][]byte{}, share: map[string]float64{}}
}

// op counts an operation, and does it unless the process dies before.
func (d *disk) op(do func()) error {
	d.ops++
	if d.dead {
		return errCrashed
	}
	if d.ops == d.dieAt {
		d.dead = true
		if d.dieAfter {
			do()
		}
		return errCrashed
	}
	do()
	return nil
}

type fakeStore struct{ *disk }

func (d fakeStore) Put(_ context.Context, name string, blob []byte) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return d.broken
	}
	return d.op(func() { d.blobs[name] = slices.Clone(blob) })
}

func (d fakeStore) Delete(_ context.Context, name string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.op(func() { delete(d.blobs, name) })
}

func (d fakeStore) All(_ context.Context, visit func(string, []byte) error) error {
	for name, blob := range d.blobs {
		if err := visit(name, blob); err != nil {
			return err
		}
	}
	return nil
}

type fakeLog struct{ *disk }

func (d fakeLog) Append(_ context.Context, data []byte) (uint64, error) {
	d.mu.Lock()
	gate := d.gate
	d.mu.Unlock()
	if gate != nil {
		<-gate
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.broken != nil {
		return 0, d.broken
	}
	err := d.op(func() {
		d.seq++
		d.messages[d.seq] = slices.Clone(data)
	})
	return d.seq, err
}

func (d fakeLog) Read(_ context.Context, after uint64, visit func(uint64, []byte) error) error {
	for _, seq := range slices.Sorted(maps.Keys(d.messages)) {
		if seq > after {
			if err := visit(seq, d.messages[seq]); err != nil {
				return err
			}
		}
	}
	return nil
}

func (d fakeLog) Trim(_ context.Context, upTo uint64) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.op(func() { maps.DeleteFunc(d.messages, func(seq uint64, _ []byte) bool { return seq <= upTo }) })
}

type fakeJournal struct{ *disk }

func (d fakeJournal) Append(_ context.Context, e gatewarden.Event) (gatewarden.Event, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.journal != nil {
		return e, d.journal
	}
	return e, d.op(func() { d.events = append(d.events, e) })
}

// Track says that targets whose port is 2 are the canary's.
func (d *disk) Track(_, target string) (gatewarden.Track, bool) {
	if target[len(target)-1] == '2' {
		return gatewarden.TrackCanary, true
	}
	return gatewarden.TrackBaseline, true
}

func (d *disk) Share(canary string) (float64, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	share, ok := d.share[canary]
	return share, ok
}

func (d *disk) Move(_ context.Context, _ time.Time, run *gatewarden.Run, percent float64) (bool, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held != nil {
		return false, d.held
	}
	err := d.op(func() {
		d.moves = append(d.moves, fmt.Sprintf("%s %g", run.Canary, percent))
		d.share[run.Canary] = percent / 100
	})
	return err == nil, err
}

func (d *disk) answer(_ context.Context, _ time.Time, run *gatewarden.Run, policy string) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.answered != nil {
		return d.answered
	}
	return d.op(func() { d.answers = append(d.answers, fmt.Sprintf("%s %s %s", policy, run.Canary, run.State)) })
}

func (d *disk) Notify(_ context.Context, _ gatewarden.Callback, run gatewarden.Run) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.op(func() { d.notes = append(d.notes, run) })
}

// canaryOf returns a canary that is told by its targets.
func canaryOf(name string) gatewarden.Canary {
	return gatewarden.Canary{
		Name: name, Series: gatewarden.Series{Service: name}, Upstream: name,
		Tracks: [2]gatewarden.Selector{
			{Kind: gatewarden.ByTargetTag, Values: []string{"v1"}}, {Kind: gatewarden.ByTargetTag, Values: []string{"v2"}},
		},
		FalseAlarm: 0.01, FalsePass: 0.05, MinDuration: 30 * time.Second, Deadline: 2 * time.Minute,
		OnInconclusive: gatewarden.Hold, OnFail: []string{"drain"}, OnPass: []string{"cheer"},
	}
}

// world is a book on a disk, with a clock that the test turns.
type world struct {
	t        testing.TB
	disk     *disk
	book     *Book
	now      time.Time
	canaries []gatewarden.Canary
	ids      int
	tickErr  error // of the last tick that had one
	lacking  bool  // too much of the log is missing
	late     bool  // what others saw is on its way
	logger   *slog.Logger
}

func newWorld(t testing.TB, canaries ...gatewarden.Canary) *world {
	w := &world{t: t, disk: newDisk(), now: t0, canaries: canaries}
	w.boot()
	return w
}

// boot starts a book on what the disk has.
func (w *world) boot() {
	w.t.Helper()
	d := w.disk
	d.dead, d.dieAt = false, 0
	book, err := New(Config{
		NewJudge: newFakeJudge, LoadJudge: loadFakeJudge, Runs: fakeStore{d}, Log: fakeLog{d}, Journal: fakeJournal{d},
		Tracks: d, Mover: d, Answer: d.answer, Notify: d, NewID: func() string { w.ids++; return fmt.Sprintf("x%d", w.ids) },
		Lacks: func(s gatewarden.Series, _ time.Time) (bool, string) {
			return w.lacking, "half of the log of " + s.Service + " is missing"
		},
		Late:   func(time.Time) (bool, string) { return w.late, "another guard is behind" },
		Logger: w.logger,
	})
	if err == nil {
		err = book.SetCanaries(w.canaries)
	}
	if err == nil {
		err = book.Restore(w.t.Context(), w.now)
	}
	if err != nil {
		w.t.Fatal(err)
	}
	w.book = book
}

// send gives the book n requests of a track that ended just now.
func (w *world) send(service string, track gatewarden.Track, n int, failed bool) {
	b := w.book.Batch(w.now)
	for i := range n {
		w.ids++
		b.Add(record(service, track, w.now, failed, fmt.Sprintf("r%d-%d", w.ids, i)))
	}
	b.Commit(w.t.Context())
}

func record(service string, track gatewarden.Track, at time.Time, failed bool, id string) *gatewarden.Record {
	r := &gatewarden.Record{
		ID: id, At: at, Service: service, Route: "list", ClientIP: "10.1.1.1", Status: 200, Weight: 1,
		Latency: gatewarden.Latency{Request: 20 * time.Millisecond, Upstream: 18 * time.Millisecond},
		Tries:   []gatewarden.Try{{Target: fmt.Sprintf("10.0.0.1:%d", track+1)}},
	}
	if failed {
		r.Status = 500
	}
	return r
}

// pass lets time pass with ticks, and with so many requests each half second of the canary
// and as many of the baseline.
func (w *world) pass(d time.Duration, service string, perTick int, failed bool) {
	for end := w.now.Add(d); w.now.Before(end); {
		w.now = w.now.Add(500 * time.Millisecond)
		if perTick > 0 {
			w.send(service, gatewarden.TrackBaseline, perTick, false)
			w.send(service, gatewarden.TrackCanary, perTick, failed)
		}
		w.tickErr = cmp.Or(w.book.Tick(w.t.Context(), w.now), w.book.Keep(w.t.Context(), w.now), w.tickErr)
	}
}

func (w *world) start(canary, key string) gatewarden.Run {
	w.t.Helper()
	run, created, err := w.book.Start(w.t.Context(), w.now, Request{Canary: canary, Key: key, By: "ada"})
	if err != nil || !created {
		w.t.Fatalf("starting a run of %s: created %v, %v", canary, created, err)
	}
	return run
}

func (w *world) run(id string) gatewarden.Run {
	w.t.Helper()
	run, err := w.book.Run(id)
	if err != nil {
		w.t.Fatal(err)
	}
	return run
}

// states returns the journal's events in short.
func (w *world) states() []string {
	w.disk.mu.Lock()
	defer w.disk.mu.Unlock()
	var list []string
	for _, e := range w.disk.events {
		list = append(list, fmt.Sprintf("%s %s %s", e.Type, e.Name, e.State))
	}
	return list
}
