package gates

import (
	"cmp"
	"context"
	"encoding/json"
	"log/slog"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// Judge judges one run. The same observations between the same instants give the same
// states. Its methods are not called concurrently, and instants never go back.
type Judge interface {
	Add(o *gatewarden.Observation)
	// Wait changes how long a second stays open for records that come late. It is called
	// before Begin only.
	Wait(delay time.Duration)
	// Begin fixes the start, to a whole second, of a judge that was made with one far in
	// the future: what it was shown of the baseline before is the history.
	Begin(at time.Time)
	// SetSplit says that from at on the canary is to take this share of the requests.
	SetSplit(at time.Time, share float64)
	// Advance closes the seconds that are over at the given instant. Its cost does not
	// depend on how often it is called in between.
	Advance(at time.Time)
	// Standing advances and returns the state, and the evidence for a fail as a common
	// logarithm.
	Standing(at time.Time) (gatewarden.State, float64)
	// Verdict advances and tells everything.
	Verdict(at time.Time) gatewarden.CanaryVerdict
	// MarshalJSON writes the judge with all that it knows; Config.LoadJudge reads it.
	json.Marshaler
}

// RunStore keeps a blob by name, durable when Put returns.
type RunStore interface {
	Put(ctx context.Context, name string, blob []byte) error
	Delete(ctx context.Context, name string) error // one that is not there is no error
	// All visits every blob in any order, one that is damaged as nil. An error of visit ends
	// it and is returned.
	All(ctx context.Context, visit func(name string, blob []byte) error) error
}

// ObservationLog is a log of opaque messages.
type ObservationLog interface {
	// Append returns the message's position when it is durable. An error leaves open
	// whether it was added.
	Append(ctx context.Context, data []byte) (seq uint64, err error)
	// Read visits the messages after a position, in order.
	Read(ctx context.Context, after uint64, visit func(seq uint64, data []byte) error) error
	// Trim drops the messages up to and including a position.
	Trim(ctx context.Context, upTo uint64) error
}

// Journal is where the timeline learns what became of a run.
type Journal interface {
	Append(ctx context.Context, e gatewarden.Event) (gatewarden.Event, error)
}

// Tracks knows what Kong does with a canary's targets.
type Tracks interface {
	// Track returns the track of the canary that a target ("ip:port") belongs to.
	Track(canary, target string) (gatewarden.Track, bool)
	// Share returns the share of the requests, in [0, 1], that the canary is configured to
	// take now, and whether that is known.
	Share(canary string) (share float64, known bool)
}

// Mover gives the canary its share of the requests.
type Mover interface {
	// Move is called at each tick until it is done, and must be idempotent and quick. While
	// a mode, a pause or Kong keeps it from moving, its error says so in words that a person
	// can read; they become part of the run's reason. With the code unavailable the run waits
	// with its steps; with any other the weights are not for the guard to move, and the evidence
	// alone decides. What follows from the end of a run is given up after an hour.
	Move(ctx context.Context, at time.Time, run *gatewarden.Run, percent float64) (done bool, err error)
}

// Notifier calls whoever asked for it when a run is over.
type Notifier interface {
	// Notify delivers the run. An error is worth another try later; it must not contain the
	// callback's secret.
	Notify(ctx context.Context, callback gatewarden.Callback, run gatewarden.Run) error
}

// Config is what a Book is made of. NewJudge, LoadJudge and Journal are needed. Whoever
// passes a canary to a function of it must not change the canary.
type Config struct {
	// NewJudge makes the judge of a run that starts at the given instant.
	NewJudge func(c *gatewarden.Canary, start time.Time) (Judge, error)
	// LoadJudge reads what a judge's MarshalJSON wrote.
	LoadJudge func(c *gatewarden.Canary, state []byte) (Judge, error)
	// Delay returns how long the seconds of a run that begins now are to stay open for records
	// that come late; nil leaves that to NewJudge. It must be quick and not call the Book.
	Delay func() time.Duration

	Runs    RunStore       // nil: runs live and die with the process
	Log     ObservationLog // nil: likewise
	Journal Journal
	Tracks  Tracks // nil: nothing is known of targets and weights
	Mover   Mover  // nil: weights are never moved, as if somebody else did
	// Answer starts an action policy for a run that is over, or for one that broke after
	// its pass. It is called again until it returns no error that is worth a retry, for an
	// hour at most, so it must be idempotent by run and policy, and quick.
	Answer func(ctx context.Context, at time.Time, run *gatewarden.Run, policy string) error
	Notify Notifier // by HTTP unless set
	// Lacks reports whether too much is missing of the records of a series to judge a
	// canary by the rest, and why. A run gets no answer then, takes no step, and has none
	// at its deadline. It must be quick and not call the Book. Nil: nothing is known of it.
	Lacks func(series gatewarden.Series, at time.Time) (bool, string)
	// Late reports whether what Observers elsewhere saw is on its way for too long, and why.
	// A run does not pass then and takes no step, and has no answer at its deadline; one that
	// fails by what is here fails. It must be quick and not call the Book. Nil: it never is.
	Late func(at time.Time) (bool, string)

	// NewID returns a few characters that make an id unique, random unless set.
	NewID func() string
	// Keep is how many runs that are over are remembered, 1000 unless set. A key is known
	// as long as its run.
	Keep int

	Logger     *slog.Logger          // discarded when nil
	Registerer prometheus.Registerer // not registered when nil
}

func (c Config) withDefaults() (Config, error) {
	if c.NewJudge == nil || c.LoadJudge == nil || c.Journal == nil {
		return c, gatewarden.Errorf(gatewarden.Internal, "the book of runs needs judges and a journal")
	}
	if (c.Runs == nil) != (c.Log == nil) {
		return c, gatewarden.Errorf(gatewarden.Internal, "the book of runs needs a store and a log, or neither")
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.Notify == nil {
		c.Notify = newCaller(nil)
	}
	if c.NewID == nil {
		c.NewID = randomID
	}
	c.Keep = cmp.Or(c.Keep, 1000)
	return c, nil
}

// Request asks for a run.
type Request struct {
	Canary     string
	Key        string // the asker's own: the same key finds the same run
	By         string
	Parameters map[string]string
	Callback   *gatewarden.Callback
	Replace    bool // a run of the canary under another key is cancelled first
}

// Filter selects runs. Zero fields select all.
type Filter struct {
	Canary string
	State  gatewarden.RunState
	Limit  int // the newest so many
}

// View is a canary as it stands.
type View struct {
	Canary  gatewarden.Canary
	Share   float64         // of the requests that it is configured to take, where that is known
	Known   bool            // Share is known
	Tracks  [2]TrackView    // what was seen of them since the guard started
	History time.Duration   // how much of the baseline was seen, for the next run
	Run     *gatewarden.Run // the newest, without its trail; nil when there is none
}

// TrackView is what was seen of a track since the guard started.
type TrackView struct {
	Requests uint64
	Failures uint64
	Rate     float64   // requests a second in the last minute
	Newest   time.Time // when the newest request ended, zero without one
	Targets  []string  // that served it, sorted, at most 100
}
