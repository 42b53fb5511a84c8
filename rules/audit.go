package rules

import (
	"regexp"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// Audit is one entry of the list of those who are told what the journal says. Exactly one
// of its fields is set.
type Audit struct {
	File          *AuditFile          `yaml:"file"`
	Elasticsearch *AuditElasticsearch `yaml:"elasticsearch"`
	Grafana       *AuditGrafana       `yaml:"grafana"`
}

// AuditFile is a file that gets each event as one JSON object a line.
type AuditFile struct {
	Path string `yaml:"path"`
}

// AuditElasticsearch is an Elasticsearch or OpenSearch that gets each event as a document.
type AuditElasticsearch struct {
	URL          string            `yaml:"url"`
	User         string            `yaml:"user"`
	Password     gatewarden.Secret `yaml:"password"`
	PasswordFile string            `yaml:"password_file"` // the same from a file, read for each request
	APIKey       gatewarden.Secret `yaml:"api_key"`       // instead of a user
	APIKeyFile   string            `yaml:"api_key_file"`
	CAFile       string            `yaml:"ca_file"`     // PEM; the system's roots when ""
	DataStream   string            `yaml:"data_stream"` // default gatewarden-audit
	Guard        string            `yaml:"guard"`       // which of the guards that share the stream; default gatewarden
}

// AuditGrafana is a Grafana that gets what was seen and done as annotations.
type AuditGrafana struct {
	URL          string            `yaml:"url"`
	Token        gatewarden.Secret `yaml:"token"`      // of a service account
	TokenFile    string            `yaml:"token_file"` // the same from a file, read for each request
	User         string            `yaml:"user"`       // instead of a token
	Password     gatewarden.Secret `yaml:"password"`
	PasswordFile string            `yaml:"password_file"` // the same from a file, read for each request
	CAFile       string            `yaml:"ca_file"`       // PEM; the system's roots when ""
	Guard        string            `yaml:"guard"`         // which of the guards that share the Grafana, as one more tag; default none
}

// Kind is the key that is set, "" when none is.
func (a *Audit) Kind() string {
	switch {
	case a.File != nil:
		return "file"
	case a.Elasticsearch != nil:
		return "elasticsearch"
	case a.Grafana != nil:
		return "grafana"
	default:
		return ""
	}
}

// AuditNames returns what the entries are called: by their kind, the second of a kind with
// -2 behind it and so on.
func AuditNames(list []Audit) []string {
	sources := make([]Source, len(list))
	for i := range list {
		sources[i].Kind = list[i].Kind()
	}
	return SourceNames(sources)
}

func checkAudit(d *document, list []Audit) {
	paths := map[string]bool{}
	for i := range list {
		a := &list[i]
		if at := d.find(a); !checkOneAudit(d, at, a) {
			continue
		}
		switch {
		case a.File != nil:
			at := d.find(&a.File.Path, a.File)
			switch path := siblingPath(d.name, a.File.Path); {
			case path == "" && !d.hasProblemIn(d.find(a.File)):
				d.errorf(at, "add path: audit.jsonl", "path is missing")
			case path == "":
			case paths[path]:
				d.errorf(at, "give each its own file", "another entry writes to %s already", a.File.Path)
			default:
				paths[path] = true
			}
		case a.Elasticsearch != nil:
			checkAuditElasticsearch(d, a.Elasticsearch)
		default:
			g := a.Grafana
			checkURL(d, d.find(&g.URL, g), "url", g.URL, "http", "https")
			checkWay(d, "grafana", d.find(g), userKeyed{g.User, d.find(&g.User)},
				secretKeyed{"password", d.find(&g.Password)}, secretKeyed{"password_file", d.find(&g.PasswordFile)},
				secretKeyed{"token", d.find(&g.Token)}, secretKeyed{"token_file", d.find(&g.TokenFile)})
		}
	}
}

// checkOneAudit reports whether an entry is of one kind, and says so when it is not.
func checkOneAudit(d *document, at *yaml.Node, a *Audit) bool {
	n := 0
	for _, set := range []bool{a.File != nil, a.Elasticsearch != nil, a.Grafana != nil} {
		if set {
			n++
		}
	}
	switch {
	case n == 1:
		return true
	case n > 1:
		d.errorf(at, "put a dash before each kind; indent its settings below it", "an entry of audit has one kind, here are %d", n)
	case !d.hasProblemIn(at):
		d.errorf(at, "write - file: {path: audit.jsonl}", "an entry of audit must be file, elasticsearch or grafana, with its settings")
	}
	return false
}

// streamName is what Elasticsearch takes for a data stream, less what nobody needs.
var streamName = regexp.MustCompile(`^[a-z0-9][a-z0-9._-]{0,199}$`)

func checkAuditElasticsearch(d *document, e *AuditElasticsearch) {
	if d.find(&e.DataStream) == nil {
		e.DataStream = "gatewarden-audit"
	}
	if d.find(&e.Guard) == nil {
		e.Guard = "gatewarden"
	}
	checkURL(d, d.find(&e.URL, e), "url", e.URL, "http", "https")
	if !streamName.MatchString(e.DataStream) {
		d.errorf(d.find(&e.DataStream), "small letters, digits, -, _ and .", "data_stream: %q can't be the name of one", e.DataStream)
	}
	if e.Guard == "" {
		d.errorf(d.find(&e.Guard), "leave it out, or name this guard", "guard is empty")
	}
	checkWay(d, "elasticsearch", d.find(e), userKeyed{e.User, d.find(&e.User)},
		secretKeyed{"password", d.find(&e.Password)}, secretKeyed{"password_file", d.find(&e.PasswordFile)},
		secretKeyed{"api_key", d.find(&e.APIKey)}, secretKeyed{"api_key_file", d.find(&e.APIKeyFile)})
}

// userKeyed is a user, and where it stands, nil for nowhere.
type userKeyed struct {
	name string
	at   *yaml.Node
}

// checkWay reports what does not fit together in the way that an entry gives itself to be
// known: a user with a password, or something that says itself whose it is.
func checkWay(d *document, name string, at *yaml.Node, user userKeyed, keys ...secretKeyed) {
	way := checkEither(d, name, keys...)
	withPassword := strings.HasPrefix(way, "password")
	switch {
	case withPassword && user.name == "":
		d.errorf(at, "add user: NAME, the one that the password belongs to", "%s has a %s, but no user", name, way)
	case way != "" && !withPassword && user.name != "":
		d.errorf(user.at, "remove it: "+way+" says whose it is", "%s has both user and %s", name, way)
	case way == "" && user.name != "":
		d.errorf(user.at, "add password_file: PATH", "%s has a user, but no password", name)
	}
}

// secretKeyed is a key for a secret, and where it stands, nil for nowhere.
type secretKeyed struct {
	key string
	at  *yaml.Node
}

// checkEither returns the key that is there, "" for none, and reports a second one.
func checkEither(d *document, name string, keys ...secretKeyed) string {
	first := ""
	for _, k := range keys {
		switch {
		case k.at == nil:
		case first != "":
			d.errorf(k.at, "keep one of them", "%s has both %s and %s", name, first, k.key)
		default:
			first = k.key
		}
	}
	return first
}

// absolve turns the paths of an entry into those that are ready to open in the folder of
// the configuration.
func (a *Audit) absolve(file string) {
	var paths []*string
	switch {
	case a.File != nil:
		paths = append(paths, &a.File.Path)
	case a.Elasticsearch != nil:
		paths = append(paths, &a.Elasticsearch.PasswordFile, &a.Elasticsearch.APIKeyFile, &a.Elasticsearch.CAFile)
	case a.Grafana != nil:
		paths = append(paths, &a.Grafana.TokenFile, &a.Grafana.PasswordFile, &a.Grafana.CAFile)
	}
	for _, p := range paths {
		*p = siblingPath(file, *p)
	}
}
