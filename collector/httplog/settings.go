package httplog

import (
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Settings are those of one httplog source.
type Settings struct {
	Path        string              `yaml:"path"`         // on the ingest listener
	MaxBody     collector.ByteSize  `yaml:"max_body"`     // of one body, compressed and decompressed
	MaxBatch    int                 `yaml:"max_batch"`    // elements in one body
	MaxBuffered collector.ByteSize  `yaml:"max_buffered"` // of all bodies at one time
	Timeout     gatewarden.Duration `yaml:"timeout"`      // to receive a body, and again to count it
}

// DefaultSettings returns what holds where the configuration is silent. Kong's
// http-log gives up on an answer after 10 s by default, so more time than that would be
// wasted.
func DefaultSettings() Settings {
	return Settings{
		Path:        "/ingest/kong",
		MaxBody:     32 * collector.MiB,
		MaxBatch:    collector.DefaultLimits().MaxRecords,
		MaxBuffered: 256 * collector.MiB,
		Timeout:     gatewarden.Duration(10 * time.Second),
	}
}

// Validate returns an error with the code Invalid for settings that cannot work.
func (s *Settings) Validate() error {
	switch {
	case !strings.HasPrefix(s.Path, "/") || strings.ContainsAny(s.Path, " \t{}?#"):
		return gatewarden.Errorf(gatewarden.Invalid, "httplog: path %q is not a path", s.Path).WithHint("write one such as /ingest/kong")
	case s.MaxBody <= 0 || s.MaxBatch <= 0 || s.Timeout <= 0:
		return gatewarden.Errorf(gatewarden.Invalid, "httplog: max_body, max_batch and timeout must be above zero")
	case s.MaxBuffered < s.MaxBody:
		return gatewarden.Errorf(gatewarden.Invalid, "httplog: max_buffered (%s) is below max_body (%s)", s.MaxBuffered, s.MaxBody)
	}
	return nil
}
