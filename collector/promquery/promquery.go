// Package promquery asks Prometheus, or what speaks its query API (Thanos, Mimir,
// VictoriaMetrics), for the events of SLOs that are counted there. It is one of the
// sources under collector.
//
//	SLI.Query ─parse→ query ─query_range over closed steps→ answer ─spread→ records of weight ─┬→ Checkpoints
//	                                                                  covered [from, to) ─────┴→ Coverage
//
// Time is cut into steps. A step is asked for once it has been over for Settings.Delay,
// so that what is scraped and written late is in it; how far each query has been counted
// is a checkpoint, in step with the counts. So every step counts once, also over a crash,
// and a guard that was away catches up. A query that is new begins Settings.Backfill ago,
// in steps as wide as the store's resolution at that age: the windows of its SLO are
// filled within a few questions.
//
// No data is never good and never bad. A step for which there is no answer, only a part
// of one, no number, or several series, counts nothing and covers nothing; Silent says
// why. What a query may look like, and what its numbers mean, is said at Parse.
package promquery

import (
	"net/url"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Factory returns the factory of this kind of source.
func Factory() collector.Factory { return collector.Of("prometheus", DefaultSettings(), New) }

// Settings are those of one prometheus source.
type Settings struct {
	// URL is where the API is, without /api/v1: http://prometheus:9090, Mimir's
	// http://mimir/prometheus, VictoriaMetrics' http://vmselect:8481/select/0/prometheus.
	URL string `yaml:"url"`

	Step        gatewarden.Duration `yaml:"step"`     // how long a step is
	Window      gatewarden.Duration `yaml:"window"`   // what {{.window}} is, unless a step is longer
	Delay       gatewarden.Duration `yaml:"delay"`    // how long a step is over before it is asked for
	Backfill    gatewarden.Duration `yaml:"backfill"` // how far back a new query begins; 0 for now
	Timeout     gatewarden.Duration `yaml:"timeout"`  // of one question
	Concurrency int                 `yaml:"concurrency"`
	MaxBody     collector.ByteSize  `yaml:"max_body"` // of an answer

	Tenant       string                       `yaml:"tenant"` // sent as X-Scope-OrgID
	User         string                       `yaml:"user"`
	Password     gatewarden.Secret            `yaml:"password"`
	PasswordFile string                       `yaml:"password_file"`
	Token        gatewarden.Secret            `yaml:"token"` // sent as a bearer token
	TokenFile    string                       `yaml:"token_file"`
	Headers      map[string]gatewarden.Secret `yaml:"headers"` // sent along
	CAFile       string                       `yaml:"ca_file"`
	CertFile     string                       `yaml:"cert_file"`
	KeyFile      string                       `yaml:"key_file"`
}

// DefaultSettings returns what holds where the configuration is silent.
func DefaultSettings() Settings {
	return Settings{
		Step:        gatewarden.Duration(15 * time.Second),
		Window:      gatewarden.Duration(time.Minute),
		Delay:       gatewarden.Duration(30 * time.Second),
		Backfill:    gatewarden.Duration(30 * 24 * time.Hour),
		Timeout:     gatewarden.Duration(10 * time.Second),
		Concurrency: 4,
		MaxBody:     16 * collector.MiB,
	}
}

// longestBackfill is how far back the store keeps counts.
const longestBackfill = gatewarden.Duration(92 * 24 * time.Hour)

// Validate returns an error with the code Invalid for settings that cannot work.
func (s *Settings) Validate() error {
	if err := s.validateURL(); err != nil {
		return err
	}
	wrong := func(format string, args ...any) error {
		return gatewarden.Errorf(gatewarden.Invalid, "prometheus: "+format, args...)
	}
	step := time.Duration(s.Step)
	switch {
	case step < time.Second || step > middleWidth || middleWidth%step != 0:
		return gatewarden.Errorf(gatewarden.Invalid, "prometheus: step must divide 5m into whole seconds").WithHint("write step: 15s, 30s, 1m or 5m")
	case s.Window < s.Step || s.Window > gatewarden.Duration(time.Hour) || time.Duration(s.Window)%time.Second != 0:
		return gatewarden.Errorf(gatewarden.Invalid, "prometheus: window must be whole seconds, at least a step and at most 1h").
			WithHint("rate() needs two scrapes in it and is better with four: 1m for a scrape interval of 15s")
	case s.Delay < 0 || s.Delay > gatewarden.Duration(time.Hour):
		return wrong("delay must be between 0s and 1h")
	case s.Backfill < 0 || s.Backfill > longestBackfill:
		return wrong("backfill must be at most 92d, which is how long counts are kept")
	case s.Timeout <= 0 || s.Timeout > gatewarden.Duration(5*time.Minute):
		return wrong("timeout must be above zero and at most 5m")
	case s.Concurrency < 1 || s.Concurrency > 64:
		return wrong("concurrency must be between 1 and 64")
	case s.MaxBody < 64*collector.KiB:
		return wrong("max_body must be at least 64KiB")
	}
	return s.validateAuth()
}

func (s *Settings) validateURL() error {
	u, err := url.Parse(s.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return gatewarden.Errorf(gatewarden.Invalid, "prometheus: url is no address of a query API").
			WithHint(`write url: "http://prometheus:9090", with what stands before /api/v1; who asks goes into user and password_file, or token_file`)
	}
	return nil
}

func (s *Settings) validateAuth() error {
	ways := 0
	for _, set := range []bool{!s.Password.IsZero(), s.PasswordFile != "", !s.Token.IsZero(), s.TokenFile != ""} {
		if set {
			ways++
		}
	}
	password := !s.Password.IsZero() || s.PasswordFile != ""
	switch {
	case ways > 1:
		return gatewarden.Errorf(gatewarden.Invalid, "prometheus: it has more than one of password, password_file, token and token_file").WithHint("keep one")
	case password != (s.User != ""):
		return gatewarden.Errorf(gatewarden.Invalid, "prometheus: user and password belong together").WithHint("add user, and password_file")
	case (s.CertFile == "") != (s.KeyFile == ""):
		return gatewarden.Errorf(gatewarden.Invalid, "prometheus: cert_file and key_file belong together")
	}
	return nil
}
