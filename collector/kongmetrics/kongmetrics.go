// Package kongmetrics looks at what Kong's nodes say of themselves at /metrics, each
// second unless told otherwise. It is one of the sources under collector.
//
//	nodes (list, DNS) ─look→ exposition ─since the look before→ growth ─┬→ Gateway: requests by service, health
//	                                                                    └→ Sink: records of weight, without a log
//
// A node's counters are compared with those of the look before at the same node, known
// by Kong's own id for it, at whatever address that was; a node that restarted counts from
// 0 again. What was counted before the first look is not ours, nor is what a guard slept
// through, nor, without a log, what came while a node could not be reached: nobody can tell
// when it happened.
//
// Where a log comes in too, the counters are the measure of its completeness, and count
// nothing by themselves: a request would count twice. Without a log they are records:
// of the right number by service, route, status and consumer, and of the right latencies
// as far as Kong's buckets tell, but which request had which latency they do not know
// (see records).
package kongmetrics

import (
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Factory returns the factory of this kind of source.
func Factory() collector.Factory { return collector.Of("kongmetrics", DefaultSettings(), New) }

// Settings are those of one kongmetrics source.
type Settings struct {
	Targets   []string                     `yaml:"targets"`  // URLs, each of one node
	DNS       []string                     `yaml:"dns"`      // URLs, whose host has an address for each node
	SRV       []string                     `yaml:"srv"`      // URLs, whose host has an SRV record for each node
	Refresh   gatewarden.Duration          `yaml:"refresh"`  // between looks at the names
	Interval  gatewarden.Duration          `yaml:"interval"` // between looks at a node
	Timeout   gatewarden.Duration          `yaml:"timeout"`  // of a look
	MaxBody   collector.ByteSize           `yaml:"max_body"` // of an answer
	MaxSeries int                          `yaml:"max_series"`
	MaxNodes  int                          `yaml:"max_nodes"`
	Headers   map[string]gatewarden.Secret `yaml:"headers"` // sent along
	CAFile    string                       `yaml:"ca_file"`

	Completeness Completeness `yaml:"completeness"`
}

// Completeness says when the log is taken to be too incomplete to judge by.
type Completeness struct {
	Limit       Share               `yaml:"limit"`        // of the requests that must be in the log; 0 switches it off
	Window      gatewarden.Duration `yaml:"window"`       // over which both are counted
	Settle      gatewarden.Duration `yaml:"settle"`       // how long a record may be on its way
	MinRequests int                 `yaml:"min_requests"` // below so many nothing is said
}

// Share is a ratio that reads as per cent: "95%".
type Share float64

// UnmarshalText reads "95%".
func (s *Share) UnmarshalText(text []byte) error {
	number, per := strings.CutSuffix(string(text), "%")
	v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
	if err != nil || !per && v != 0 || !(v >= 0 && v <= 100) { // NaN is neither
		return gatewarden.Errorf(gatewarden.Invalid, "%q is no share", text).WithHint("write per cent: 95%%")
	}
	*s = Share(v / 100)
	return nil
}

// MarshalText writes "95%".
func (s Share) MarshalText() ([]byte, error) {
	return []byte(strconv.FormatFloat(float64(s)*100, 'g', 6, 64) + "%"), nil
}

// DefaultSettings returns what holds where the configuration is silent.
func DefaultSettings() Settings {
	return Settings{
		Refresh:   gatewarden.Duration(10 * time.Second),
		Interval:  gatewarden.Duration(time.Second),
		Timeout:   gatewarden.Duration(5 * time.Second),
		MaxBody:   64 * collector.MiB,
		MaxSeries: 50_000,
		MaxNodes:  200,
		Completeness: Completeness{
			Limit: 0.95, Window: gatewarden.Duration(time.Minute), Settle: gatewarden.Duration(10 * time.Second), MinRequests: 50,
		},
	}
}

// Validate returns an error with the code Invalid for settings that cannot work.
func (s *Settings) Validate() error {
	if len(s.Targets)+len(s.DNS)+len(s.SRV) == 0 {
		return gatewarden.Errorf(gatewarden.Invalid, "kongmetrics: no node is named").
			WithHint(`write targets: ["http://kong:8100/metrics"], or dns: with a name that has an address for each node`)
	}
	for _, list := range []struct {
		key  string
		urls []string
	}{{"targets", s.Targets}, {"dns", s.DNS}, {"srv", s.SRV}} {
		for _, text := range list.urls {
			u, err := url.Parse(text)
			if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil {
				return gatewarden.Errorf(gatewarden.Invalid, "kongmetrics: %s: an item is no address of Kong's metrics", list.key).
					WithHint(`write "http://kong:8100/metrics"; the status listener (status_listen) is the one to ask, and what must be sent along goes into headers`)
			}
		}
	}
	c := &s.Completeness
	switch {
	case s.Refresh < gatewarden.Duration(time.Second) || s.Interval < gatewarden.Duration(100*time.Millisecond) || s.Timeout <= 0:
		return gatewarden.Errorf(gatewarden.Invalid, "kongmetrics: refresh must be at least 1s, interval 100ms, and timeout above zero")
	case s.MaxBody < 64*collector.KiB || s.MaxSeries <= 0 || s.MaxNodes <= 0:
		return gatewarden.Errorf(gatewarden.Invalid, "kongmetrics: max_body must be at least 64KiB, max_series and max_nodes above zero")
	case c.Window < gatewarden.Duration(10*time.Second) || c.Window > gatewarden.Duration(5*time.Minute):
		return gatewarden.Errorf(gatewarden.Invalid, "kongmetrics: completeness: window must be between 10s and 5m")
	case time.Duration(c.Window) < 4*time.Duration(s.Interval):
		return gatewarden.Errorf(gatewarden.Invalid, "kongmetrics: completeness: window must be at least four times the interval of looks")
	case c.Settle < 0 || c.Settle > gatewarden.Duration(5*time.Minute) || c.MinRequests < 1:
		return gatewarden.Errorf(gatewarden.Invalid, "kongmetrics: completeness: settle must be between 0s and 5m, and min_requests at least 1")
	case c.Limit > 0.99:
		return gatewarden.Errorf(gatewarden.Invalid, "kongmetrics: completeness: limit must be at most 99%%").
			WithHint("counters and log are compared over a minute, and are never read at quite the same instant")
	}
	return nil
}
