// Package elasticsearch reads the records of Kong's log out of an Elasticsearch or
// OpenSearch that some shipper has put them into. It is one of the sources under
// collector.
//
//	index ─┬─ documents, as they are indexed ──────────────→ records ──────────┬→ Sink, with a mark
//	       ├─ buckets of closed seconds, aggregated anew ──→ records of weight ┤
//	       └─ the past: buckets as wide as the store's slots ─────────────────┘
//
// # What is counted, and when
//
// Read as documents, every record is what it would be had Kong sent it here: with its
// tries, headers and exact latencies. Where documents say when they were indexed
// (event.ingested), they are followed by that: late ones come in their turn. Where they
// do not, they are followed by their event time, second by second, and the seconds of
// the last minutes (lateness) are looked at again: one that has grown is read again, and
// what was counted before is left out.
//
// Read as buckets, Elasticsearch counts: by second, service, route and status, and by
// ranges of latency whose bounds are the thresholds that the rules name, so that every
// SLI of availability and latency is exact. Buckets are aggregated again until they are
// older than lateness, and what they have grown by is counted.
//
// The past, before the first document that is followed, is filled in by such buckets, the
// newest first, each as wide as the store keeps what is so old. It ends where somebody
// else has counted. Rules that look at a single record (good:) need documents: the
// past is then read as these, which takes longer.
//
// Each piece is counted in one step with the mark that says so (collector.Checkpoints):
// after a crash nothing is missing and nothing is counted twice.
//
// # Not all data is no data
//
// An answer that lacks a shard, that timed out or that skipped a remote cluster counts
// nothing and is asked for again, later and later, up to a minute.
package elasticsearch

import (
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/collector"
)

// Factory returns the factory of this kind of source.
func Factory() collector.Factory { return collector.Of("elasticsearch", DefaultSettings(), New) }

// Settings are those of one elasticsearch source.
type Settings struct {
	URL   string   `yaml:"url"`   // "http://es:9200", with its path prefix if it has one
	URLs  []string `yaml:"urls"`  // more nodes of the same cluster, asked in turn
	Index string   `yaml:"index"` // a pattern, an alias, a data stream; several with commas
	Query string   `yaml:"query"` // which documents: Lucene's syntax, or a query as JSON

	Read      string              `yaml:"read"`     // documents, buckets or nothing (the past only)
	Prefix    string              `yaml:"prefix"`   // where Kong's object is: "kong", "" at the top; found out when auto
	Time      string              `yaml:"time"`     // the field of the event time
	Ingested  string              `yaml:"ingested"` // the field of the time of indexing; "" for none, used if it is mapped
	Past      string              `yaml:"past"`     // how the past is read: auto, buckets or documents
	PastReach gatewarden.Duration `yaml:"history"`

	Poll     gatewarden.Duration `yaml:"poll"`     // between looks
	Lag      gatewarden.Duration `yaml:"lag"`      // how far behind now it stays: refresh, clocks, one bulk
	Lateness gatewarden.Duration `yaml:"lateness"` // how late documents may be, when they are followed by event time
	Bucket   gatewarden.Duration `yaml:"bucket"`   // read: buckets: how long one is
	Timeout  gatewarden.Duration `yaml:"timeout"`  // of one request
	Page     int                 `yaml:"page"`     // documents in one answer; index.max_result_window bounds it
	Buckets  int                 `yaml:"buckets"`  // in one answer; search.max_buckets bounds it
	MaxBody  collector.ByteSize  `yaml:"max_body"` // of one answer

	User         string            `yaml:"user"`
	Password     gatewarden.Secret `yaml:"password"`
	PasswordFile string            `yaml:"password_file"` // read for each request
	APIKey       gatewarden.Secret `yaml:"api_key"`       // as Elasticsearch encodes it
	APIKeyFile   string            `yaml:"api_key_file"`
	CAFile       string            `yaml:"ca_file"`
	CertFile     string            `yaml:"cert_file"`
	KeyFile      string            `yaml:"key_file"`
}

// The values of Settings.Read and Settings.Past.
const (
	readDocuments = "documents"
	readBuckets   = "buckets"
	readNothing   = "nothing"
	auto          = "auto"
)

// DefaultSettings returns what holds where the configuration is silent.
func DefaultSettings() Settings {
	return Settings{
		Read: readDocuments, Prefix: auto, Time: "@timestamp", Ingested: "event.ingested", Past: auto,
		PastReach: gatewarden.Duration(30 * 24 * time.Hour),
		Poll:      gatewarden.Duration(2 * time.Second),
		Lag:       gatewarden.Duration(15 * time.Second),
		Lateness:  gatewarden.Duration(5 * time.Minute),
		Bucket:    gatewarden.Duration(5 * time.Second),
		Timeout:   gatewarden.Duration(30 * time.Second),
		Page:      5000, Buckets: 50_000, MaxBody: 256 * collector.MiB,
	}
}

// Follows reports whether what is indexed from now on is read: it is not when the past is all
// that is asked for.
func (s *Settings) Follows() bool { return s.Read != readNothing }

// Late returns how late records come by these settings, besides what the shipper takes: what
// was indexed, or happened, so long ago has been read. It is 0 when nothing is followed.
func (s *Settings) Late() time.Duration {
	switch late := time.Duration(s.Lag) + time.Duration(s.Poll); s.Read {
	case readNothing:
		return 0
	case readBuckets:
		return late + time.Duration(s.Bucket)
	default:
		return late
	}
}

// nodes returns the addresses of the cluster's nodes.
func (s *Settings) nodes() []string {
	var all []string
	for _, u := range append([]string{s.URL}, s.URLs...) {
		if u != "" && !slices.Contains(all, u) {
			all = append(all, strings.TrimRight(u, "/"))
		}
	}
	return all
}

// Validate returns an error with the code Invalid for settings that cannot work.
func (s *Settings) Validate() error {
	if err := s.validatePeer(); err != nil {
		return err
	}
	for _, of := range []struct {
		key, value string
		known      []string
	}{
		{"read", s.Read, []string{readDocuments, readBuckets, readNothing}},
		{"past", s.Past, []string{auto, readBuckets, readDocuments}},
	} {
		if !slices.Contains(of.known, of.value) {
			return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: %s is %q", of.key, of.value).
				WithHint("write %s", strings.Join(of.known, ", "))
		}
	}
	second := gatewarden.Duration(time.Second)
	switch {
	case s.Time == "":
		return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: time names no field").WithHint(`write time: "@timestamp"`)
	case s.Poll < gatewarden.Duration(100*time.Millisecond) || s.Timeout < second || s.Lag < 0 || s.PastReach < 0:
		return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: poll must be at least 100ms, timeout 1s; lag and history may not be negative")
	case s.Lateness < 10*second || s.Lateness > gatewarden.Duration(time.Hour):
		return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: lateness must be between 10s and 1h")
	case s.Bucket < second || s.Bucket > gatewarden.Duration(time.Minute) || s.Bucket%second != 0:
		return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: bucket must be whole seconds, between 1s and 1m")
	case s.Page < 10 || s.Page > 10_000:
		return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: page must be between 10 and 10000")
	case s.Buckets < 1000 || s.Buckets > 1_000_000 || s.MaxBody < collector.MiB:
		return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: buckets must be between 1000 and 1000000, and max_body at least 1MiB")
	}
	return nil
}

// validatePeer checks what says whom to ask, for what, and as whom.
func (s *Settings) validatePeer() error {
	nodes := s.nodes()
	if len(nodes) == 0 {
		return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: url is missing").WithHint(`write url: "http://elasticsearch:9200"`)
	}
	for _, node := range nodes {
		u, err := url.Parse(node)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.RawQuery != "" {
			return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: a url is no address of Elasticsearch").WithHint(`write "http://elasticsearch:9200"`)
		}
		if u.User != nil {
			return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: a url holds credentials, which would be seen").
				WithHint("write user: and password_file: instead")
		}
	}
	key, password := !s.APIKey.IsZero() || s.APIKeyFile != "", !s.Password.IsZero() || s.PasswordFile != ""
	switch {
	case strings.TrimSpace(s.Index) == "":
		return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: index is missing").WithHint(`write index: "kong-*"`)
	case strings.HasPrefix(strings.TrimSpace(s.Query), "{") && !isObject(s.Query):
		return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: query begins as JSON and is none").
			WithHint(`write Lucene's syntax, kubernetes.namespace:shop, or an object: {"term": {"kubernetes.namespace": "shop"}}`)
	case key && (password || s.User != ""):
		return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: there is an api_key and a user: only one can be sent")
	case !s.APIKey.IsZero() && s.APIKeyFile != "" || !s.Password.IsZero() && s.PasswordFile != "":
		return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: a secret stands here and in a file: only one can be right")
	case (s.User != "") != password:
		return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: user and password (or password_file) belong together")
	case (s.CertFile != "") != (s.KeyFile != ""):
		return gatewarden.Errorf(gatewarden.Invalid, "elasticsearch: cert_file and key_file belong together")
	}
	return nil
}
