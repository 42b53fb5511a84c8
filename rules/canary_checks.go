package rules

import (
	"fmt"
	"math"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// The margins unless they are written; the judge's own, as the defaults in canary.go. A
// margin for passing that is not written keeps its distance from the one for failing.
const (
	defaultErrorRatio       = 1.1
	defaultErrorDifference  = 1e-4
	defaultPassErrorRatio   = 1.5
	defaultPassDifference   = 1e-3
	defaultLatencyRatio     = 1.1
	defaultPassLatencyRatio = 1.25

	greatestMargin = 100 // as a ratio

	errorRatioRoom   = 1.25 // of pass_ratio over max_ratio, at least
	differenceRoom   = 2
	latencyRatioRoom = 1.1
)

// soonestPass is how long it takes at least to show that latencies are well: the judge
// bets once in two seconds, and a bet gains at most a factor of 1.95.
func soonestPass(falsePass float64) time.Duration {
	const block, gain = 2 * time.Second, 1.95
	return time.Duration(math.Ceil(-math.Log(falsePass)/math.Log(gain))) * block
}

// checkSpec is `errors`, `latency`, or one of them with its margins.
type checkSpec struct {
	Errors  *errorsSpec `yaml:"errors"`
	Latency *slowerSpec `yaml:"latency"`
}

func (c *checkSpec) decodeNode(d *document, n *yaml.Node, name string) {
	if n.Kind != yaml.ScalarNode || isNull(n) {
		type shape checkSpec
		d.decode(n, (*shape)(c), name)
		return
	}
	switch n.Value {
	case "errors":
		c.Errors = &errorsSpec{}
	case "latency":
		c.Latency = &slowerSpec{}
	default:
		hint := "it is one of: errors, latency"
		if guess := nearest(n.Value, []string{"errors", "latency"}); guess != "" {
			hint = fmt.Sprintf("did you mean %q?", guess)
		}
		d.reject(n, hint, "there is no check %q", n.Value)
	}
}

// errorsSpec are the margins of failures.
type errorsSpec struct {
	MaxRatio       float64    `yaml:"max_ratio"`
	MaxDifference  difference `yaml:"max_difference"`
	PassRatio      float64    `yaml:"pass_ratio"`
	PassDifference difference `yaml:"pass_difference"`
}

// slowerSpec are the margins of latencies.
type slowerSpec struct {
	MaxRatio  float64 `yaml:"max_ratio"`
	PassRatio float64 `yaml:"pass_ratio"`
}

// sortChecks finds out which checks there are: both, unless a list is written.
func (c *canarySpec) sortChecks(d *document) {
	if c.checked {
		return
	}
	c.checked = true
	if d.find(&c.Checks) == nil {
		c.errors, c.latency = &errorsSpec{}, &slowerSpec{}
		return
	}
	for i := range c.Checks {
		k := &c.Checks[i]
		at := d.find(k)
		switch {
		case k.Errors != nil && k.Latency != nil:
			d.errorf(at, "put a dash before each", "a check has one kind, here are 2")
		case k.Errors != nil && c.errors != nil, k.Latency != nil && c.latency != nil:
			d.errorf(at, "keep one of them", "this check is there twice")
		case k.Errors != nil:
			c.errors = k.Errors
		case k.Latency != nil:
			c.latency = k.Latency
		case !d.hasProblemIn(at):
			d.errorf(at, "it is one of: errors, latency", "the check is empty")
		}
	}
	if len(c.Checks) == 0 {
		d.errorf(d.find(&c.Checks), "remove the key for errors and latency", "the canary checks nothing")
	}
}

func (e *errorsSpec) build(d *document) *gatewarden.ErrorMargins {
	m := &gatewarden.ErrorMargins{
		MaxRatio:      orDefault(d, &e.MaxRatio, defaultErrorRatio),
		MaxDifference: float64(orDefault(d, &e.MaxDifference, defaultErrorDifference)),
	}
	m.PassRatio = orDefault(d, &e.PassRatio, min(max(defaultPassErrorRatio, tidy(errorRatioRoom*m.MaxRatio)), greatestMargin))
	roomy := difference(min(max(defaultPassDifference, tidy(differenceRoom*m.MaxDifference)), (1+m.MaxDifference)/2))
	m.PassDifference = float64(orDefault(d, &e.PassDifference, roomy))

	checkMargin(d, "max_ratio", &e.MaxRatio, m.MaxRatio, "more failures")
	checkMargin(d, "pass_ratio", &e.PassRatio, m.PassRatio, "more failures")
	if at := d.find(&e.PassRatio); at != nil && m.PassRatio >= 1 && m.PassRatio < m.MaxRatio {
		d.errorf(at, fmt.Sprintf("what does not fail must be able to pass: write %g or more", m.MaxRatio), "pass_ratio %g is below max_ratio, which is %g", m.PassRatio, m.MaxRatio)
	}
	if at := d.find(&e.PassDifference); at != nil && m.PassDifference == 0 {
		d.errorf(at, "the default is 0.1%", "pass_difference must be above 0: that two ratios are equal can't be shown")
	} else if at != nil && m.PassDifference < m.MaxDifference {
		d.errorf(at, "what does not fail must be able to pass: write that or more", "pass_difference %s is below max_difference, which is %s", inPercent(m.PassDifference), inPercent(m.MaxDifference))
	}
	return m
}

func (l *slowerSpec) build(d *document) *gatewarden.LatencyMargins {
	m := &gatewarden.LatencyMargins{MaxRatio: orDefault(d, &l.MaxRatio, defaultLatencyRatio)}
	m.PassRatio = orDefault(d, &l.PassRatio, min(max(defaultPassLatencyRatio, tidy(latencyRatioRoom*m.MaxRatio)), greatestMargin))
	checkMargin(d, "max_ratio", &l.MaxRatio, m.MaxRatio, "slower")
	checkMargin(d, "pass_ratio", &l.PassRatio, m.PassRatio, "slower")
	switch at := d.find(&l.PassRatio, &l.MaxRatio); {
	case m.PassRatio < 1 || m.PassRatio > greatestMargin || m.PassRatio > m.MaxRatio:
	case d.find(&l.PassRatio) == nil:
		d.errorf(at, "choose less", "max_ratio %g leaves no room for a pass_ratio above it", m.MaxRatio)
	default:
		d.errorf(at, "what does not fail must be able to pass: write more", "pass_ratio %g is not above max_ratio, which is %g", m.PassRatio, m.MaxRatio)
	}
	return m
}

// checkMargin refuses ratios that are meant as something else.
func checkMargin(d *document, name string, written *float64, is float64, what string) {
	if at := d.find(written); at != nil && !(is >= 1 && is <= greatestMargin) {
		d.errorf(at, "1.2 tolerates a fifth "+what+" than on the baseline", "%s is a ratio from 1 to %d, canary over baseline", name, greatestMargin)
	}
}

// tidy rounds away what floating point leaves of a product.
func tidy(f float64) float64 { return math.Round(f*1e9) / 1e9 }

// difference is a share as ratio is, which may be 0.
type difference float64

// UnmarshalText reads either way of writing.
func (x *difference) UnmarshalText(b []byte) error {
	if f, err := hundredth(strings.TrimSuffix(strings.TrimSpace(string(b)), "%")); err == nil && f == 0 {
		*x = 0
		return nil
	}
	return (*ratio)(x).UnmarshalText(b)
}
