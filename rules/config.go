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
	// MaxConnections bounds those to Ingest, which asks nobody for a password. Default 4096.
	MaxConnections int `yaml:"max_connections"`
}

// State is where what must survive a restart is kept: in a folder of this guard alone, in
// folders that several guards keep alike, or in a NATS that exists already. NATS excludes
// Dir and Cluster.
type State struct {
	Dir     string   `yaml:"dir"` // default data
	NATS    *NATS    `yaml:"nats"`
	Cluster *Cluster `yaml:"cluster"`
	// Name is what this guard is called among those that share the state; "" for the name
	// of the host. Each needs one of its own.
	Name string `yaml:"name"`
	// API is where the others reach this guard's API; "" for http, the port of listen.api,
	// and the host of the own entry in Cluster.Peers or, without a cluster, Name.
	API string `yaml:"api"`
	// Acknowledge is when Kong is told that its log came: AckCounted or AckDurable. "" is
	// durable where guards share the state, and counted where one is alone.
	Acknowledge string `yaml:"acknowledge"`
}

// The values of State.Acknowledge.
const (
	AckCounted = "counted" // at once; a guard that is killed can lose the last second
	AckDurable = "durable" // when no death of a guard can lose it: after a write to the disk
)

// Shared reports whether other guards may work on the same state.
func (s *State) Shared() bool { return s.NATS != nil || s.Cluster != nil }

// Durable reports whether records are acknowledged only when they are durable.
func (s *State) Durable() bool {
	return s.Acknowledge == AckDurable || s.Acknowledge == "" && s.Shared()
}

// NATS names a NATS server or cluster with JetStream.
type NATS struct {
	URL             string `yaml:"url"`
	CredentialsFile string `yaml:"credentials_file"`
	Replicas        int    `yaml:"replicas"` // of what is kept there; default 1
}

// Cluster joins the guards' embedded servers: what one writes is in the folders of most.
type Cluster struct {
	Listen string            `yaml:"listen"` // for the other guards; default ":" and the port of the own entry in Peers
	Peers  map[string]string `yaml:"peers"`  // every guard's name, this one's too, and the host:port where the others reach it
	// Secret is what all of them know and nobody else.
	Secret     gatewarden.Secret `yaml:"secret"`
	SecretFile string            `yaml:"secret_file"` // the same from a file
	// With the three of TLS the guards show each other certificates. CAFile is also what the
	// API of another guard is trusted by.
	CAFile   string `yaml:"ca_file"`
	CertFile string `yaml:"cert_file"`
	KeyFile  string `yaml:"key_file"`
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
	// TokenFiles have a token each, read anew for each request, by the names of who bears
	// them. With any, nobody is let in who has neither a token nor a user of ConfigFile.
	TokenFiles map[string]string `yaml:"token_files"`
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
		Listen:  Listen{API: "127.0.0.1:8080", Ingest: ":8081", MaxConnections: 4096},
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
