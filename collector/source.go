package collector

import (
	"context"
	"log/slog"
	"net/http"
	"path/filepath"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
)

// Source is a way for records to come in.
type Source interface {
	// Run works until ctx is done, and returns nil then. An error means that the
	// source cannot work at all; what can be tried again, Run tries again itself.
	Run(ctx context.Context) error
}

// MostAhead is how far ahead of the clock the time may be up to which a source has asked: a
// clock that is kept by NTP is set by less. Beyond it that time was of a clock that was wrong,
// and nothing would be asked for until the right one has caught up.
const MostAhead = time.Minute

// Sink takes the records of a source.
type Sink interface {
	// Accept counts all of records, or none of them and says why. It returns nil only
	// when they are counted: the source then tells its sender that they need not
	// come again. The records, with all that they point to, are valid until Accept
	// returns: whoever keeps a string clones it.
	Accept(ctx context.Context, source string, records []gatewarden.Record) error
}

// Mux is the part of the ingest listener that a source may use. The patterns are
// those of http.ServeMux, which is one.
type Mux interface {
	Handle(pattern string, handler http.Handler)
}

// Env is what a source is given to work with.
type Env struct {
	Name    string // the source's own name, which Sink.Accept is told; unique in the program
	Sink    Sink
	Mux     Mux
	Log     *slog.Logger
	Metrics prometheus.Registerer
	Headers *Headers // the headers that records are to carry; nil for none
	Dir     string   // the folder that relative paths are meant from
	// Checkpoints remembers how far sources have read; nil when nothing outlives the
	// process.
	Checkpoints Checkpoints
	// Spans takes what was traced; nil when nobody asks.
	Spans Spans
	// Gateway takes what nodes of the gateway say of themselves; nil when nobody asks.
	Gateway Gateway
	// Queries returns the SLOs whose SLI.Query the source is to ask for, as of now: a
	// reload changes them. Nil when there can be none.
	Queries func() []gatewarden.SLO
	// Covered is told that all events of an SLO in [from, to) are counted, or are about to
	// be, and who but the source itself could know: nobody sees traffic in between. Nil
	// when nobody asks.
	Covered func(slo *gatewarden.SLO, from, to time.Time)
	// Logged says that another source brings the gateway's log: its counters are then
	// there to check the log by, and must not count the same requests again.
	Logged bool
	// Past takes what was counted before the guard was there; nil when nobody asks for it.
	Past Past
}

// Path returns a path of the configuration, ready to open.
func (e Env) Path(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(e.Dir, path)
}

// Past is what a source needs to fill in the time before the guard, or this source, was
// there, by counts instead of by single records.
type Past interface {
	// Resolution returns how long the slots are in which what is so old is kept: a record
	// of weight need be no better placed than at the beginning of its slot.
	Resolution(age time.Duration) time.Duration
	// SLOs returns what the records will be judged by. Nobody changes them.
	SLOs() []gatewarden.SLO
	// Since returns since when requests were counted as they came, by whatever source; zero
	// when none was. What completed later is not of the past.
	Since() time.Time
	// Watched notes that what completed in [from, to) has been counted, all of it.
	Watched(from, to time.Time)
}

// Checkpoints remembers how far sources have read, in step with what they have counted:
// after a crash, both are as of the same instant.
type Checkpoints interface {
	// Load returns every value that is kept under a name with the prefix, by name. The
	// values must not be changed.
	Load(prefix string) map[string][]byte
	// Accept counts records as Sink.Accept does, and in the same step keeps the values
	// under their names, for good once the records are; a nil value forgets its name. It
	// keeps the values and changes nothing in them. There may be no records.
	Accept(ctx context.Context, source string, records []gatewarden.Record, values map[string][]byte) error
}

// Factory makes sources of one kind.
type Factory struct {
	// Kind is the key in the configuration, such as "httplog".
	Kind string
	// Defaults are the settings where the configuration is silent.
	Defaults any
	// Check reports whether the settings that decode fills in are good, without
	// building anything.
	Check func(decode func(into any) error) error
	// Build makes a source of the settings that decode fills in.
	Build func(env Env, decode func(into any) error) (Source, error)
}

// Of returns the factory of a kind whose settings are a C. The configuration is
// decoded over a copy of defaults, so a key that is absent keeps its default; a
// slice or map in defaults is shared and must not be changed in place. Where *C has
// a method Validate() error, it is called on the result.
func Of[C any](kind string, defaults C, build func(Env, C) (Source, error)) Factory {
	load := func(decode func(any) error) (C, error) {
		settings := defaults
		if err := decode(&settings); err != nil {
			return settings, err
		}
		if v, ok := any(&settings).(interface{ Validate() error }); ok {
			return settings, v.Validate()
		}
		return settings, nil
	}
	return Factory{
		Kind: kind, Defaults: defaults,
		Check: func(decode func(any) error) error {
			_, err := load(decode)
			return err
		},
		Build: func(env Env, decode func(any) error) (Source, error) {
			settings, err := load(decode)
			if err != nil {
				return nil, err
			}
			return build(env, settings)
		},
	}
}
