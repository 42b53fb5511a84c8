// Package jaeger asks a Jaeger for the traces that it has: for those whose spans go to it
// and not to the guard. It is one of the sources under collector.
//
//	every interval: the window that closed settle ago ─search→ traces ─→ collector.Spans
//
// Jaeger has two query APIs. That under /api/v3 answers with OTLP in JSON and is there to
// stay; the older one under /api is what its page was made of, and is gone from 2.21 on.
// The source asks for the first, and takes the second where there is no first. It sends
// nothing but the service, the times and a limit: other filters work differently, or not
// at all, from version to version.
//
// There is no paging. An answer with as many traces as the limit may lack some: the window
// is cut in halves and asked for again. Traces come whole for each window that a span of
// them begins in, so spans come more than once; who counts them knows them by their ids.
package jaeger

import (
	"net/url"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Factory returns the factory of this kind of source.
func Factory() collector.Factory { return collector.Of("jaeger", DefaultSettings(), New) }

// Settings are those of one jaeger source.
type Settings struct {
	URL      string                       `yaml:"url"`      // of its page, such as http://jaeger:16686
	Services []string                     `yaml:"services"` // whose traces are asked for
	Interval gatewarden.Duration          `yaml:"interval"` // between questions, and the length of a window
	Settle   gatewarden.Duration          `yaml:"settle"`   // how long spans may take to arrive at Jaeger
	Limit    int                          `yaml:"limit"`    // traces in an answer
	MaxSpans int                          `yaml:"max_spans"`
	MaxBody  collector.ByteSize           `yaml:"max_body"` // of an answer
	Timeout  gatewarden.Duration          `yaml:"timeout"`
	Headers  map[string]gatewarden.Secret `yaml:"headers"` // sent along
	CAFile   string                       `yaml:"ca_file"`
}

// DefaultSettings returns what holds where the configuration is silent. Behind a gateway
// each trace has a span of its. What settle is made of: Kong's queue, an SDK's batch of
// 5 s, a collector's, and the storage's refresh.
func DefaultSettings() Settings {
	return Settings{
		Services: []string{"kong"},
		Interval: gatewarden.Duration(10 * time.Second),
		Settle:   gatewarden.Duration(30 * time.Second),
		Limit:    1500,
		MaxSpans: 50_000,
		MaxBody:  64 * collector.MiB,
		Timeout:  gatewarden.Duration(10 * time.Second),
	}
}

// Validate returns an error with the code Invalid for settings that cannot work.
func (s *Settings) Validate() error {
	u, err := url.Parse(s.URL)
	switch {
	case err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "":
		return gatewarden.Errorf(gatewarden.Invalid, "jaeger: url is no address of a Jaeger").
			WithHint(`write url: "http://jaeger:16686", the address of its page; what must be sent along goes into headers`)
	case len(s.Services) == 0:
		return gatewarden.Errorf(gatewarden.Invalid, "jaeger: services names none").
			WithHint("write services: [kong]: Jaeger is asked for traces by service, and gives each one whole")
	case strings.TrimSpace(strings.Join(s.Services, "")) == "":
		return gatewarden.Errorf(gatewarden.Invalid, "jaeger: services has an empty name")
	case s.Interval < gatewarden.Duration(time.Second) || s.Interval > gatewarden.Duration(5*time.Minute):
		return gatewarden.Errorf(gatewarden.Invalid, "jaeger: interval must be between 1s and 5m")
	case s.Settle < 0 || s.Settle > gatewarden.Duration(10*time.Minute):
		return gatewarden.Errorf(gatewarden.Invalid, "jaeger: settle must be between 0s and 10m")
	case s.Limit < 1 || s.MaxSpans < 1 || s.MaxBody < 64*collector.KiB || s.Timeout <= 0:
		return gatewarden.Errorf(gatewarden.Invalid, "jaeger: limit, max_spans and timeout must be above zero, max_body at least 64KiB")
	}
	return nil
}
