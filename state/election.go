package state

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"log/slog"
	"sync"
	"time"
)

const (
	// beatPause is between two heartbeats of who leads.
	beatPause = 500 * time.Millisecond
	// confirmPause is between two confirmations of who leads.
	confirmPause = time.Second
	// silence of who leads after which another guard tries to: six heartbeats.
	silence = 3 * time.Second
	// confirmWithin is for how long one leads on without a confirmation. An election among
	// the servers takes 4 to 9 s, and must not look like being deposed.
	confirmWithin = 12 * time.Second
	// ballotTimeout bounds one reading or writing of the ballot.
	ballotTimeout = 2 * time.Second
	campaignPause = 250 * time.Millisecond
	// standBack is how long one who has resigned leaves to the others.
	standBack = 2 * time.Second
)

// Candidate is a guard that may lead.
type Candidate struct {
	Name string `json:"name"`
	API  string `json:"api"` // URL at which the others reach this one's API
}

// errDeposed is why the context of one who leads has ended when another guard leads now,
// or may.
var errDeposed = errors.New("another guard leads now, or may")

// Deposed reports whether ctx, which a lead function was given, has ended because this
// guard leads no more.
func Deposed(ctx context.Context) bool { return errors.Is(context.Cause(ctx), errDeposed) }

// term is one guard's time of leading: what is on the ballot.
type term struct {
	Candidate
	Token  string    `json:"token"`            // another for each term
	Since  time.Time `json:"since"`            // by the clock of who leads
	Vacant bool      `json:"vacant,omitempty"` // who led has resigned
}

// note is what the guards tell each other: that a term goes on, or that it is over; or,
// without the token of a term, that the teller is there.
type note struct {
	term
	Revision uint64 `json:"revision"`       // of the ballot, as far as the teller knows
	Life     string `json:"life,omitempty"` // of who says that it is there: another for each start
}

// ballot is the one value that says who leads. Its revisions grow.
type ballot interface {
	// read returns the newest value and its revision, 0 when there is none. It may be a
	// while old.
	read(ctx context.Context) (value []byte, revision uint64, err error)
	// write replaces the value when its revision is still the given one, and errOvertaken is
	// its error when not. Any other error leaves open what became of it.
	write(ctx context.Context, value []byte, after uint64) (revision uint64, err error)
}

var errOvertaken = errors.New("the ballot has been written since")

// voice reaches the other guards, those that are there.
type voice interface {
	tell(data []byte) error
	hear(heard func(data []byte)) (stop func(), err error)
}

// Election decides which of the guards that share a state leads.
//
// Who leads is on a ballot that is only ever replaced by compare-and-set. Who leads
// tells the others twice a second, and confirms the ballot every second by writing it
// again: it steps down when somebody else has written it, or when it could not write
// for twelve seconds. The others take the ballot when they neither heard who leads nor
// saw the ballot confirmed for three seconds. No clocks are compared. For a moment two
// may believe that they lead: the journal takes the decisions of one of them only.
type Election struct {
	me     Candidate
	ballot ballot // nil: alone
	voice  voice
	logger *slog.Logger
	now    func() time.Time
	nudged chan struct{} // something was heard that may change who leads
	life   string        // another for each start, to tell this guard from one of the same name

	mu         sync.Mutex
	known      term      // the newest that was read or heard
	revision   uint64    // of known
	alive      time.Time // when known was last heard of, or seen to change
	leads      bool
	complained time.Time // about a guard of the same name
}

func newElection(me Candidate, b ballot, v voice, logger *slog.Logger) *Election {
	if logger == nil {
		logger = slog.New(slog.DiscardHandler)
	}
	return &Election{me: me, ballot: b, voice: v, logger: logger, now: time.Now, nudged: make(chan struct{}, 1), life: rand.Text()}
}

// Run campaigns until ctx ends, which is no error. Each time this guard is elected it
// calls lead, with a context that ends when it is deposed (see Deposed) or ctx ends.
// When lead returns it resigns at once. It campaigns again after nil, and returns an
// error of lead, except that of a context that has ended. Alone, it leads at once.
func (e *Election) Run(ctx context.Context, lead func(ctx context.Context) error) error {
	if e.ballot == nil {
		return e.runAlone(ctx, lead)
	}
	stop, err := e.voice.hear(e.heard)
	if err != nil {
		return err
	}
	defer stop()
	var there sync.WaitGroup
	defer there.Wait()
	telling, leave := context.WithCancel(context.WithoutCancel(ctx)) // as long as this guard does anything
	defer leave()
	there.Go(func() { e.here(telling) })
	for again := false; ctx.Err() == nil; again = true {
		mine := term{Candidate: e.me, Token: rand.Text()}
		held, ok := e.campaign(ctx, mine, again)
		if !ok {
			break
		}
		if err := e.hold(ctx, held, lead); err != nil {
			return err
		}
	}
	return nil
}

func (e *Election) runAlone(ctx context.Context, lead func(ctx context.Context) error) error {
	for ctx.Err() == nil {
		e.set(note{term: term{Candidate: e.me, Token: rand.Text(), Since: e.now()}}, true)
		err := lead(ctx)
		e.set(note{}, false)
		if err = ended(ctx, err); err != nil {
			return err
		}
		sleep(ctx, standBack)
	}
	return nil
}

// Leader returns who leads and since when, by its clock, as far as this guard knows
// now. It is not ok when nobody does, or when nothing was heard of who did for so long
// that it leads no more. It knows while Run runs.
func (e *Election) Leader() (leader Candidate, since time.Time, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	k := e.known
	ok = e.leads || k.Token != "" && !k.Vacant && e.now().Sub(e.alive) < confirmWithin
	if !ok {
		return Candidate{}, time.Time{}, false
	}
	return k.Candidate, k.Since, true
}

// Leads reports whether this guard leads.
func (e *Election) Leads() bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.leads
}

func (e *Election) set(n note, leads bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.known, e.revision, e.alive, e.leads = n.term, n.Revision, e.now(), leads
}

// holding is a term that has begun.
type holding struct {
	note
	confirmed time.Time // when the newest write that succeeded was begun
}

// campaign returns when this guard is elected, or not ok when ctx ended.
func (e *Election) campaign(ctx context.Context, mine term, again bool) (holding, bool) {
	notBefore := e.now()
	if again {
		notBefore = notBefore.Add(standBack)
	}
	var tried time.Time
	for ctx.Err() == nil {
		current, seen := e.look(ctx)
		switch {
		case !seen:
		case current.Token == mine.Token: // an answer was lost
			e.set(current, true)
			return holding{note: current, confirmed: tried}, true
		case !e.now().Before(notBefore) && e.free(current, again):
			tried = e.now()
			mine.Since = tried.UTC()
			if revision, err := e.write(ctx, mine, current.Revision, ballotTimeout); err == nil {
				held := note{term: mine, Revision: revision}
				e.set(held, true)
				return holding{note: held, confirmed: tried}, true
			} else if errors.Is(err, errOvertaken) {
				e.forget()
			}
		}
		again = again || seen
		e.wait(ctx, e.patience())
	}
	return holding{}, false
}

// free reports whether the ballot may be taken: nobody leads, who led is silent, or who
// led was this guard in an earlier life.
func (e *Election) free(current note, again bool) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if current.Token == "" || current.Vacant || current.Name == e.me.Name && !again {
		return true
	}
	return e.now().Sub(e.alive) >= silence
}

// patience returns when to look at the ballot next: often once who leads has missed
// heartbeats.
func (e *Election) patience() time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.known.Token == "" || e.known.Vacant || e.now().Sub(e.alive) > confirmPause {
		return campaignPause
	}
	return confirmPause
}

// look returns what is on the ballot.
func (e *Election) look(ctx context.Context) (current note, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, ballotTimeout)
	defer cancel()
	value, revision, err := e.ballot.read(ctx)
	if err != nil {
		return note{}, false
	}
	read := note{Revision: revision}
	_ = json.Unmarshal(value, &read.term) // what is none is nobody's
	e.see(read)
	e.mu.Lock()
	defer e.mu.Unlock()
	return note{term: e.known, Revision: e.revision}, true
}

// see takes in what was read or heard, unless something newer is known. It reports
// whether that is news.
func (e *Election) see(n note) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	if n.Revision < e.revision || e.leads {
		return false
	}
	news := n.Revision > e.revision || n.Vacant && !e.known.Vacant
	if news || e.alive.IsZero() {
		e.known, e.revision, e.alive = n.term, n.Revision, e.now()
	}
	return news
}

// forget lets the next reading count, whatever its revision.
func (e *Election) forget() {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.revision = 0
}

// heard takes in what another guard tells.
func (e *Election) heard(data []byte) {
	var n note
	if json.Unmarshal(data, &n) != nil {
		return
	}
	if n.Token == "" {
		if e.twin(n) {
			e.complain(n)
		}
		return
	}
	e.mu.Lock()
	other := n.Token != e.known.Token
	if !other && !n.Vacant {
		e.alive = e.now()
	}
	e.mu.Unlock()
	if e.see(n) && n.Vacant || other {
		e.nudge()
	}
}

func (e *Election) nudge() {
	select {
	case e.nudged <- struct{}{}:
	default:
	}
}

// wait pauses until something was heard.
func (e *Election) wait(ctx context.Context, pause time.Duration) {
	timer := time.NewTimer(pause)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-e.nudged:
	case <-timer.C:
	}
}

func (e *Election) write(ctx context.Context, t term, after uint64, timeout time.Duration) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	value, err := json.Marshal(t)
	if err != nil {
		return 0, err
	}
	return e.ballot.write(ctx, value, after)
}

// ended returns err unless it only says that ctx has ended.
func ended(ctx context.Context, err error) error {
	if ctx.Err() != nil && (errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, errDeposed)) {
		return nil
	}
	return err
}
