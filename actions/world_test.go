package actions

import (
	"context"
	"encoding/json"
	"fmt"
	"iter"
	"maps"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
)

// outside is a stand-in for everything that executors change. It survives the
// crashes of engines.
type outside struct {
	mu       sync.Mutex
	inPlace  map[string]bool // ids of reversible actions whose change is there
	ran      map[string]int  // how often a job was run, by action id
	applied  map[string]int  // how often a change was really made
	reverted []string        // in order, changes that were really put back
	delay    time.Duration   // of each call
	fault    func(call, id string) error
	outcome  func(id string) *gatewarden.Outcome // of Apply, instead of what would be
	after    func(call, id string) error         // like fault, once the call has had its effect
	sign     *gatewarden.Sign                    // how changes show in the traffic
}

func newOutside() *outside {
	return &outside{inPlace: make(map[string]bool), ran: make(map[string]int), applied: make(map[string]int)}
}

func (o *outside) enter(ctx context.Context, call, id string) error {
	o.mu.Lock()
	delay := o.delay
	o.mu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	if o.fault != nil {
		return o.fault(call, id)
	}
	return ctx.Err()
}

func (o *outside) leave(call, id string) error {
	if o.after != nil {
		return o.after(call, id)
	}
	return nil
}

// executor works on the outside, as long as the engine that it belongs to lives.
type executor struct {
	outside *outside
	alive   func() bool
}

func (x *executor) Prepare(ctx context.Context, a gatewarden.Action) (json.RawMessage, error) {
	if err := x.outside.enter(ctx, "prepare", a.ID); err != nil {
		return nil, err
	}
	return json.RawMessage(`{"before":"` + a.ID + `"}`), nil
}

func (x *executor) Apply(ctx context.Context, a gatewarden.Action, save func(json.RawMessage) error) (gatewarden.Outcome, error) {
	o := x.outside
	if err := o.enter(ctx, "apply", a.ID); err != nil {
		return gatewarden.Outcome{}, err
	}
	if len(a.Memo) == 0 {
		return gatewarden.Outcome{}, fmt.Errorf("%s has no memo", a.ID)
	}
	if !x.alive() {
		return gatewarden.Outcome{}, context.Canceled
	}
	o.mu.Lock()
	if o.outcome != nil {
		if out := o.outcome(a.ID); out != nil {
			o.mu.Unlock()
			return *out, nil
		}
	}
	if a.Spec.Kind.Reversible() {
		if !o.inPlace[a.ID] {
			o.inPlace[a.ID] = true
			o.applied[a.ID]++
		}
	} else if o.ran[a.ID] == 0 {
		o.ran[a.ID]++
	}
	o.mu.Unlock()
	if err := save(json.RawMessage(`{"before":"` + a.ID + `","number":7}`)); err != nil {
		return gatewarden.Outcome{}, err
	}
	if err := o.leave("apply", a.ID); err != nil {
		return gatewarden.Outcome{}, err
	}
	return gatewarden.Outcome{Status: gatewarden.ActionApplied, Reason: "done", Change: "it changed", Undo: "undo it"}, nil
}

func (x *executor) Revert(ctx context.Context, a gatewarden.Action) (gatewarden.Outcome, error) {
	o := x.outside
	if err := o.enter(ctx, "revert", a.ID); err != nil {
		return gatewarden.Outcome{}, err
	}
	if !x.alive() {
		return gatewarden.Outcome{}, context.Canceled
	}
	o.mu.Lock()
	if o.inPlace[a.ID] {
		delete(o.inPlace, a.ID)
		o.reverted = append(o.reverted, a.ID)
	}
	o.mu.Unlock()
	if err := o.leave("revert", a.ID); err != nil {
		return gatewarden.Outcome{}, err
	}
	return gatewarden.Outcome{Status: gatewarden.ActionReverted, Reason: "put back"}, nil
}

func (x *executor) Sign(ctx context.Context, a gatewarden.Action) (gatewarden.Sign, bool, error) {
	if x.outside.sign == nil {
		return gatewarden.Sign{}, false, nil
	}
	if err := x.outside.enter(ctx, "sign", a.ID); err != nil {
		return gatewarden.Sign{}, false, err
	}
	return *x.outside.sign, true, nil
}

func (o *outside) left() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Sorted(maps.Keys(o.inPlace))
}

// ledger is a durable journal: what it took survives the engine.
type ledger struct {
	mu    sync.Mutex
	lines [][]byte
	fault func() error

	unheard string // of the next event of this state, the answer is lost
}

func (j *ledger) append(e gatewarden.Event) (gatewarden.Event, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.fault != nil {
		if err := j.fault(); err != nil {
			return e, err
		}
	}
	line, err := json.Marshal(e)
	if err != nil {
		return e, err
	}
	j.lines = append(j.lines, line)
	e.Seq = uint64(len(j.lines))
	if e.State == j.unheard {
		j.unheard = ""
		return e, gatewarden.Errorf(gatewarden.Unavailable, "no answer in time")
	}
	return e, nil
}

func (j *ledger) events() []gatewarden.Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	events := make([]gatewarden.Event, len(j.lines))
	for i, line := range j.lines {
		if err := json.Unmarshal(line, &events[i]); err != nil {
			panic(err)
		}
		events[i].Seq = uint64(i + 1)
	}
	return events
}

// connection is a ledger as one engine sees it: nothing once that is dead.
type connection struct {
	ledger *ledger
	alive  func() bool
}

func (c *connection) Append(_ context.Context, e gatewarden.Event) (gatewarden.Event, error) {
	if !c.alive() {
		return e, gatewarden.Errorf(gatewarden.Conflict, "this engine is dead")
	}
	return c.ledger.append(e)
}

func (c *connection) All(_ context.Context, t gatewarden.EventType) iter.Seq2[gatewarden.Event, error] {
	return func(yield func(gatewarden.Event, error) bool) {
		for _, e := range c.ledger.events() {
			if e.Type == t && !yield(e, nil) {
				return
			}
		}
	}
}

// deadLeases are leases as one engine sees them.
type deadLeases struct {
	Leases
	alive func() bool
}

func (l *deadLeases) Put(ctx context.Context, id string, until time.Time) error {
	if !l.alive() {
		return gatewarden.Errorf(gatewarden.Conflict, "this engine is dead")
	}
	return l.Leases.Put(ctx, id, until)
}

func (l *deadLeases) Delete(ctx context.Context, id string) error {
	if !l.alive() {
		return gatewarden.Errorf(gatewarden.Conflict, "this engine is dead")
	}
	return l.Leases.Delete(ctx, id)
}

// world is an outside, a journal and leases, with one engine at a time.
type world struct {
	outside *outside
	ledger  *ledger
	leases  Leases
	engine  *Engine
	config  Config
	begun   time.Time

	mu      sync.Mutex
	dead    *bool             // of the engine at hand
	crashAt func(string) bool // whether to die at a failpoint

	onFailpoint func(string)        // called without the lock
	beforeStart func(*Engine) error // of each engine
}

func newWorld(policies []gatewarden.ActionPolicy, slos []gatewarden.SLO) *world {
	return &world{
		outside: newOutside(), ledger: &ledger{}, leases: NewMemoryLeases(),
		config: Config{Policies: policies, SLOs: slos}, begun: time.Now(),
	}
}

// boot starts an engine on what the last one left.
func (w *world) boot(ctx context.Context) error {
	dead := new(bool)
	alive := func() bool {
		w.mu.Lock()
		defer w.mu.Unlock()
		return !*dead
	}
	w.mu.Lock()
	w.dead = dead
	w.mu.Unlock()
	x := &executor{w.outside, alive}
	cfg := w.config
	cfg.Journal, cfg.Leases = &connection{w.ledger, alive}, &deadLeases{w.leases, alive}
	cfg.Executors = make(map[gatewarden.StepKind]Executor)
	for _, kind := range []gatewarden.StepKind{
		gatewarden.StepPlugin, gatewarden.StepWeight, gatewarden.StepDrain, gatewarden.StepShare, gatewarden.StepDivert, gatewarden.StepService, gatewarden.StepJenkins, gatewarden.StepWebhook,
	} {
		cfg.Executors[kind] = x
	}
	maps.Copy(cfg.Executors, w.config.Executors)
	cfg.Failpoint = func(name string) {
		if w.onFailpoint != nil {
			w.onFailpoint(name)
		}
		w.mu.Lock()
		if !*dead && w.crashAt != nil && w.crashAt(name) {
			*dead = true
		}
		gone := *dead
		w.mu.Unlock()
		if gone {
			runtime.Goexit()
		}
	}
	engine, err := New(cfg)
	if err != nil {
		return err
	}
	w.engine = engine
	if w.beforeStart != nil {
		if err := w.beforeStart(engine); err != nil {
			return err
		}
	}
	// In a goroutine of its own, because a crash ends the goroutine.
	return w.apart(func() error { return engine.Start(ctx, time.Now()) })
}

// apart runs f in a goroutine of its own and returns what it did, nil when it died.
func (w *world) apart(f func() error) error {
	var err error
	var wg sync.WaitGroup
	wg.Go(func() { err = f() })
	wg.Wait()
	return err
}

// crashed reports whether the engine at hand is dead.
func (w *world) crashed() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return *w.dead
}

// kill ends the engine at hand as kill -9 would: nothing it still does counts.
func (w *world) kill() {
	w.mu.Lock()
	*w.dead = true
	w.mu.Unlock()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_ = w.engine.Close(ctx) // only to end its goroutines
}
