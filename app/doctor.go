package app

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/rules"
)

// Diagnosis is one thing that was looked at.
type Diagnosis struct {
	Peer   string    // who was asked: "files", "host", "kong", "jenkins", the name of a source, "audit file"
	Check  string    // what was looked at, in a word that stays: "http-log"
	State  Condition // how it is
	Reason string    // one plain sentence
	Fix    string    // what to do: a command or YAML to paste where there is one; several lines
}

// Condition says how something is.
type Condition string

// The conditions.
const (
	Fine    Condition = "ok"
	Doubt   Condition = "warn" // it works, and not as well as it could, or it could not be found out
	Trouble Condition = "fail" // it does not work
)

// DoctorOptions say whom to examine, and to whom to tell.
type DoctorOptions struct {
	ConfigFile string
	Env        func(string) (string, bool) // os.LookupEnv
	Now        func() time.Time            // time.Now unless set
	// Tell is called with each diagnosis, as it is made.
	Tell func(Diagnosis)
}

const (
	peerWithin  = 30 * time.Second // bounds what is asked of one peer
	clockWithin = 5 * time.Second  // bounds the question for its clock, which is no reason to ask it nothing else
)

// Doctor reads the files and asks every peer that they name whether what the rules need
// is there. It changes nothing anywhere. The error is ctx's; all else is a diagnosis.
func Doctor(ctx context.Context, opts DoctorOptions) error {
	if opts.Now == nil {
		opts.Now = time.Now
	}
	set, problems := load(opts.ConfigFile, opts.Env)
	d := &doctor{opts: opts, set: set, guard: address(set.config.Listen.Ingest)}
	if !d.files(problems) {
		return ctx.Err() // nobody knows what to ask
	}
	d.host(ctx)
	for _, peer := range []func(context.Context){d.state, d.kong, d.jenkins, d.tells} {
		within(ctx, peer)
	}
	d.sources(ctx)
	within(ctx, d.audit)
	return ctx.Err()
}

// within asks one peer.
func within(ctx context.Context, peer func(context.Context)) {
	ctx, cancel := context.WithTimeout(ctx, peerWithin)
	defer cancel()
	peer(ctx)
}

// doctor is one examination.
type doctor struct {
	opts  DoctorOptions
	set   settings
	guard string // how peers may reach the ingest listener, as far as the files tell
	peer  string // that is examined
}

func (d *doctor) fine(check, format string, args ...any) {
	d.opts.Tell(Diagnosis{Peer: d.peer, Check: check, State: Fine, Reason: fmt.Sprintf(format, args...)})
}

func (d *doctor) doubt(check, fix, format string, args ...any) {
	d.opts.Tell(Diagnosis{Peer: d.peer, Check: check, State: Doubt, Reason: fmt.Sprintf(format, args...), Fix: fix})
}

func (d *doctor) trouble(check, fix, format string, args ...any) {
	d.opts.Tell(Diagnosis{Peer: d.peer, Check: check, State: Trouble, Reason: fmt.Sprintf(format, args...), Fix: fix})
}

// failed tells of an error, with its hint as what to do.
func (d *doctor) failed(check string, err error) { d.trouble(check, hintOf(err), "%s", messageOf(err)) }

// doubtful tells of an error that keeps something from being found out.
func (d *doctor) doubtful(check string, err error) {
	d.doubt(check, hintOf(err), "%s", messageOf(err))
}

// messageOf is an error's text without the hint of the Error in it.
func messageOf(err error) string {
	if hint := hintOf(err); hint != "" {
		return strings.ReplaceAll(err.Error(), " ("+hint+")", "")
	}
	return err.Error()
}

func hintOf(err error) string {
	if e, ok := errors.AsType[*gatewarden.Error](err); ok {
		return e.Hint
	}
	return ""
}

// files tells what the loader says, and whether the files can be used.
func (d *doctor) files(problems rules.Problems) bool {
	d.peer = "files"
	for _, p := range problems {
		place := strings.TrimSuffix(p.String(), ": "+string(p.Severity)+": "+p.Message)
		if p.Severity == rules.SeverityError {
			d.trouble("rules", p.Hint, "%s: %s", place, p.Message)
		} else {
			d.doubt("rules", p.Hint, "%s: %s", place, p.Message)
		}
	}
	if problems.Err() != nil {
		return false
	}
	r := d.set.rules
	if len(r.SLOs)+len(r.Canaries) == 0 {
		d.trouble("rules", "write slos: into "+strings.Join(d.set.config.Rules, ", "), "the rules have no slo and no canary, so there is nothing to guard")
		return true
	}
	d.fine("rules", "%s with %s: %s, %s, %s", d.set.config.File, many(len(r.Files), "file of rules", "files of rules"),
		many(len(r.SLOs), "SLO", "SLOs"), many(len(r.Canaries), "canary", "canaries"), many(len(r.Policies), "action", "actions"))
	return true
}

func many(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// address is a listener's address as others may reach it: of one that listens on every
// interface nobody here knows the name that they use.
func address(listen string) string {
	host, port, found := strings.Cut(listen, ":")
	if i := strings.LastIndex(listen, ":"); i >= 0 {
		host, port = listen[:i], listen[i+1:]
	}
	if !found || host == "" || host == "0.0.0.0" || host == "[::]" {
		host = "GUARD"
	}
	return host + ":" + port
}

const (
	// skewDoubt and skewTrouble are how far another clock may be off. A record from further
	// ahead than 10 s is not counted; below 3 s nothing can be said, because a Date header has
	// whole seconds and the answer takes its time.
	skewDoubt   = 3 * time.Second
	skewTrouble = 10 * time.Second
)

// clock compares a peer's clock with this one, by the Date header of any answer.
func (d *doctor) clock(ctx context.Context, address string, transport http.RoundTripper) {
	ctx, cancel := context.WithTimeout(ctx, clockWithin)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodHead, address, nil)
	if err != nil {
		return // whoever else asks says what is wrong with the address
	}
	sent := d.opts.Now()
	resp, err := transport.RoundTrip(req)
	if err != nil {
		return
	}
	resp.Body.Close()
	got := d.opts.Now()
	date, err := http.ParseTime(resp.Header.Get("Date"))
	if err != nil {
		return // it does not tell
	}
	// It was somewhere between the request and the answer, and the header is cut to a second.
	early, late := sent.Add(-time.Second), got
	var skew time.Duration
	switch {
	case date.Before(early):
		skew = early.Sub(date)
	case date.After(late):
		skew = date.Sub(late)
	}
	direction := "behind"
	if date.After(late) {
		direction = "ahead of"
	}
	const fix = "timedatectl set-ntp true   # on both machines"
	said := gatewarden.Duration(skew.Round(time.Second))
	switch {
	case skew >= skewTrouble:
		d.trouble("clock", fix, "its clock is %s %s this machine's: records count in the second in which a request ended, by its clock", said, direction)
	case skew >= skewDoubt:
		d.doubt("clock", fix, "its clock is %s %s this machine's", said, direction)
	default:
		d.fine("clock", "its clock agrees with this machine's")
	}
}

// withoutUser is an address as it may be printed.
func withoutUser(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return "(unreadable)"
	}
	u.User = nil
	return strings.TrimSuffix(u.String(), "/")
}
