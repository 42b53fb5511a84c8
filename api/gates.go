package api

import (
	"context"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Gates is what the API needs to know of canaries and their runs. Runs come with their
// trail, except in lists.
type Gates interface {
	Canaries() []Canary
	Canary(name string) (Canary, error) // with its plan
	Runs(q RunQuery) []gatewarden.Run   // the newest first
	Run(id string) (gatewarden.Run, error)
	LatestRun(canary string) (gatewarden.Run, error)
	// WaitRun returns the run once it is over or no longer as seen, which is a state or a
	// version, running when it is "", and as it is when ctx ends.
	WaitRun(ctx context.Context, id, seen string) (gatewarden.Run, error)
	// StartRun starts a run, or returns the one that the key names.
	StartRun(ctx context.Context, canary string, req RunRequest) (run gatewarden.Run, created bool, err error)
	CancelRun(ctx context.Context, id, by, reason string) (gatewarden.Run, error)
	OverrideRun(ctx context.Context, id string, state gatewarden.RunState, by, reason string) (gatewarden.Run, error)
}

// RunQuery selects runs. Zero fields select all.
type RunQuery struct {
	Canary string
	State  gatewarden.RunState
	Limit  int // the newest so many
}

// RunRequest is the body that starts a run. Everything may be left out.
type RunRequest struct {
	Key        string               `json:"key"` // the asker's own: the same key finds the same run
	By         string               `json:"by"`
	Parameters map[string]string    `json:"parameters"` // such as version and build URL
	Callback   *gatewarden.Callback `json:"callback"`   // called when the run is over
	Replace    bool                 `json:"replace"`    // cancel a run under another key first
}

// Canary is a canary as the rules define it, with what is known of it. Ratios are in
// (0, 1), not per cent.
type Canary struct {
	Name        string            `json:"name"`
	Description string            `json:"description,omitempty"`
	Series      gatewarden.Series `json:"series"`
	Upstream    string            `json:"upstream,omitempty"`
	Baseline    Track             `json:"baseline"`
	Canary      Track             `json:"canary"`

	Errors         *gatewarden.ErrorMargins    `json:"errors,omitempty"`
	Latency        *gatewarden.LatencyMargins  `json:"latency,omitempty"`
	FalseAlarm     float64                     `json:"false_alarm"`
	FalsePass      float64                     `json:"false_pass"`
	WarmUp         gatewarden.Duration         `json:"warm_up"`
	MinDuration    gatewarden.Duration         `json:"min_duration"`
	Deadline       gatewarden.Duration         `json:"deadline"`
	Steps          []int                       `json:"steps,omitempty"` // in per cent
	OnInconclusive gatewarden.Inconclusiveness `json:"on_inconclusive"`
	OnFail         []string                    `json:"on_fail,omitempty"`
	OnPass         []string                    `json:"on_pass,omitempty"`
	Mode           gatewarden.Mode             `json:"mode,omitempty"`

	Share   *float64            `json:"share,omitempty"` // that it is configured to take now, where that is known
	History gatewarden.Duration `json:"history"`         // of the baseline, that the next run begins with
	Run     *gatewarden.Run     `json:"run,omitempty"`   // the newest, without its trail
	Plan    *Plan               `json:"plan,omitempty"`
	Trouble string              `json:"trouble,omitempty"` // why Kong could not be asked for the targets the last time
}

// Track is one side of a canary, with what was seen of it since the guard started.
type Track struct {
	Selector string     `json:"selector"` // as the rules have it
	Targets  []string   `json:"targets,omitempty"`
	Requests uint64     `json:"requests"`
	Failures uint64     `json:"failures"`
	Rate     float64    `json:"rate"` // requests a second in the last minute
	Newest   *time.Time `json:"newest,omitempty"`
	// Downstream is what traces say of the services that the track's targets called, since
	// the newest run began; absent when the track is not one of targets, or nothing is traced.
	Downstream []Downstream `json:"downstream,omitempty"`
}

// Downstream is a service below a track, with the target's own among them.
type Downstream struct {
	Service string `json:"service"`
	Calls   uint64 `json:"calls"`
	Failed  uint64 `json:"failed"`
}

// CanaryOf returns what the rules say of a canary; the rest is for the caller to fill in.
func CanaryOf(c *gatewarden.Canary) Canary {
	return Canary{
		Name: c.Name, Description: c.Description, Series: c.Series, Upstream: c.Upstream,
		Baseline: Track{Selector: c.Tracks[gatewarden.TrackBaseline].String()},
		Canary:   Track{Selector: c.Tracks[gatewarden.TrackCanary].String()},
		Errors:   c.Errors, Latency: c.Latency, FalseAlarm: c.FalseAlarm, FalsePass: c.FalsePass,
		WarmUp: gatewarden.Duration(c.WarmUp), MinDuration: gatewarden.Duration(c.MinDuration), Deadline: gatewarden.Duration(c.Deadline),
		Steps: c.Steps, OnInconclusive: c.OnInconclusive, OnFail: c.OnFail, OnPass: c.OnPass, Mode: c.Mode,
	}
}

// WithGates makes the server answer for canaries and their runs. Without, it says that
// there are none.
func (s *Server) WithGates(g Gates) *Server {
	s.gates = g
	return s
}

// noGates answers for a guard that judges no canaries.
type noGates struct{}

var _ Gates = noGates{}

func (noGates) Canaries() []Canary             { return nil }
func (noGates) Runs(RunQuery) []gatewarden.Run { return nil }
func (noGates) Canary(string) (Canary, error)  { return Canary{}, errNoGates() }

func (noGates) Run(string) (gatewarden.Run, error)       { return gatewarden.Run{}, errNoGates() }
func (noGates) LatestRun(string) (gatewarden.Run, error) { return gatewarden.Run{}, errNoGates() }

func (noGates) WaitRun(context.Context, string, string) (gatewarden.Run, error) {
	return gatewarden.Run{}, errNoGates()
}

func (noGates) StartRun(context.Context, string, RunRequest) (gatewarden.Run, bool, error) {
	return gatewarden.Run{}, false, errNoGates()
}

func (noGates) CancelRun(context.Context, string, string, string) (gatewarden.Run, error) {
	return gatewarden.Run{}, errNoGates()
}

func (noGates) OverrideRun(context.Context, string, gatewarden.RunState, string, string) (gatewarden.Run, error) {
	return gatewarden.Run{}, errNoGates()
}

func errNoGates() error {
	return gatewarden.Errorf(gatewarden.NotFound, "this guard judges no canaries").WithHint("write them into the rules under canaries")
}
