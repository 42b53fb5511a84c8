package rules

import (
	"time"

	"github.com/gatewarden/gatewarden"
)

// Config is gatewarden.yaml with its defaults filled in. Paths in it are relative
// to the file's own folder there, and ready to open here.
type Config struct {
	File    string   `yaml:"-"` // where it was read from
	Listen  Listen   `yaml:"listen"`
	State   State    `yaml:"state"`
	Rules   []string `yaml:"rules"` // files, and folders of *.yaml
	Sources []Source `yaml:"sources"`
	Kong    Kong     `yaml:"kong"`
	Jenkins Jenkins  `yaml:"jenkins"`
	Log     Log      `yaml:"log"`
	Web     Web      `yaml:"web"`
	Tracing Tracing  `yaml:"tracing"`
	Audit   []Audit  `yaml:"audit"` // who is told what the journal says
	// PauseFile pauses the guard for as long as a file of that name is there; "" for none.
	PauseFile string `yaml:"pause_file"`
	// BlindAfter is how long all sources may be silent before silence can no longer be
	// told from peace: verdicts are inconclusive then. Default 1 m.
	BlindAfter time.Duration `yaml:"blind_after"`
}

// Listen is where the program listens, as "host:port" or ":port".
type Listen struct {
	API     string `yaml:"api"`     // default 127.0.0.1:8080
	Ingest  string `yaml:"ingest"`  // default :8081
	Metrics string `yaml:"metrics"` // "": on the API's listener
}

// State is where what must survive a restart is kept: in a folder, or in a NATS
// that exists already. Exactly one of the two is set.
type State struct {
	Dir  string `yaml:"dir"` // default data
	NATS *NATS  `yaml:"nats"`
}

// reserved says what is planned: the guards' own cluster.
func (*State) reserved() map[string]string {
	return map[string]string{"cluster": "use dir, or nats to share a NATS that exists"}
}

// NATS names a NATS server or cluster with JetStream.
type NATS struct {
	URL             string `yaml:"url"`
	CredentialsFile string `yaml:"credentials_file"`
}

// Kong is how to reach the gateway's Admin API. Without AdminURL the guard judges,
// but cannot act at the gateway.
type Kong struct {
	AdminURL  string                       `yaml:"admin_url"`
	Headers   map[string]gatewarden.Secret `yaml:"headers"`    // sent with every request
	Token     gatewarden.Secret            `yaml:"token"`      // sent as Kong-Admin-Token
	TokenFile string                       `yaml:"token_file"` // the same from a file, read once at start
	CAFile    string                       `yaml:"ca_file"`    // PEM; the system's roots when ""
	CertFile  string                       `yaml:"cert_file"`  // PEM; shown to an Admin API that asks clients for a certificate
	KeyFile   string                       `yaml:"key_file"`   // PEM; its key
	Workspace string                       `yaml:"workspace"`  // of an enterprise Kong
	DBLess    bool                         `yaml:"dbless"`     // it has no database: the guard rewrites its whole configuration
	Timeout   time.Duration                `yaml:"timeout"`    // of one call; default 5 s
	// Nodes are the Admin APIs of single nodes, asked for what they run and nothing else;
	// AdminURL may be a balancer before them.
	Nodes []string `yaml:"nodes"`
}

// Jenkins is how to reach Jenkins. Without URL no job can be run.
type Jenkins struct {
	URL          string            `yaml:"url"`
	User         string            `yaml:"user"`
	Token        gatewarden.Secret `yaml:"token"`         // an API token of the user
	TokenFile    string            `yaml:"token_file"`    // the same from a file
	Password     gatewarden.Secret `yaml:"password"`      // instead of a token; needs crumbs
	PasswordFile string            `yaml:"password_file"` // the same from a file
	CAFile       string            `yaml:"ca_file"`       // PEM; the system's roots when ""
	Timeout      time.Duration     `yaml:"timeout"`       // of one call; default 10 s
}

// Log says what is logged to stderr, and how.
type Log struct {
	Level  string `yaml:"level"`  // debug, info, warn or error; default info
	Format string `yaml:"format"` // text or json; default text
}

// Web configures the API's listener.
type Web struct {
	// ConfigFile is a web configuration of the Prometheus exporter-toolkit: TLS and
	// basic authentication. "" for neither.
	ConfigFile string `yaml:"config_file"`
	// TraceURL is where people look at a trace; {trace_id} in it stands for the id. "": the
	// page shows ids without a link.
	TraceURL string `yaml:"trace_url"`
}

// Tracing is where the guard's own traces go. Without Endpoint there are none.
type Tracing struct {
	Endpoint string                       `yaml:"endpoint"` // of OTLP over HTTP; /v1/traces unless it has a path
	Headers  map[string]gatewarden.Secret `yaml:"headers"`  // sent with every request
	CAFile   string                       `yaml:"ca_file"`  // PEM; the system's roots when ""
	Batches  Share                        `yaml:"batches"`  // of the batches that come in; default 1 %
}

// Defaults returns the configuration of an empty file in the current folder.
func Defaults() *Config {
	return &Config{
		Listen:  Listen{API: "127.0.0.1:8080", Ingest: ":8081"},
		State:   State{Dir: "data"},
		Rules:   []string{"rules"},
		Sources: []Source{{Kind: "httplog"}},
		Kong:    Kong{Timeout: 5 * time.Second},
		Jenkins: Jenkins{Timeout: 10 * time.Second},
		Log:     Log{Level: "info", Format: "text"},
		Tracing: Tracing{Batches: 0.01},

		BlindAfter: time.Minute,
	}
}
