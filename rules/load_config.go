package rules

import (
	"maps"
	"net"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"

	"github.com/gatewarden/gatewarden"
)

// LoadConfig reads the configuration file at path. ${NAME} in a value is replaced by
// what env (os.LookupEnv) knows. The Config is what could be understood, never nil;
// use it only when the problems' Err is nil.
func LoadConfig(path string, env func(string) (string, bool)) (*Config, Problems) {
	if env == nil {
		env = func(string) (string, bool) { return "", false }
	}
	return loadConfig(openDocument(path, env))
}

func loadConfig(d *document) (*Config, Problems) {
	c := Defaults()
	c.File = d.name
	if d.root != nil {
		d.decode(d.root, c, "the configuration")
	}
	if d.overfull {
		return c, d.finish() // half of it was not read
	}
	if d.root == nil && len(d.problems) > 0 {
		c.Rules = nil // what is wrong with the default folder would only distract
		return c, d.finish()
	}
	checkListen(d, &c.Listen)
	checkState(d, c)
	checkKong(d, &c.Kong)
	checkJenkins(d, &c.Jenkins)
	checkBlindAfter(d, c)
	checkTracing(d, &c.Tracing)
	checkWeb(d, &c.Web)
	checkAudit(d, c.Audit)
	d.choice(d.find(&c.Log.Level), "level", c.Log.Level, "debug", "info", "warn", "error")
	d.choice(d.find(&c.Log.Format), "format", c.Log.Format, "text", "json")
	if len(c.Rules) == 0 {
		d.errorf(d.find(&c.Rules), "name a file or a folder, such as rules/", "rules names nothing, so there is nothing to guard")
	}
	c.absolve()
	return c, d.finish()
}

// absolve turns every path into one that is ready to open.
func (c *Config) absolve() {
	for _, p := range []*string{
		&c.State.Dir, &c.Kong.TokenFile, &c.Kong.CAFile, &c.Kong.CertFile, &c.Kong.KeyFile, &c.Web.ConfigFile, &c.PauseFile, &c.Tracing.CAFile,
		&c.Jenkins.TokenFile, &c.Jenkins.PasswordFile, &c.Jenkins.CAFile,
	} {
		*p = siblingPath(c.File, *p)
	}
	if n := c.State.NATS; n != nil {
		n.CredentialsFile = siblingPath(c.File, n.CredentialsFile)
	}
	if k := c.State.Cluster; k != nil {
		for _, p := range []*string{&k.SecretFile, &k.CAFile, &k.CertFile, &k.KeyFile} {
			*p = siblingPath(c.File, *p)
		}
	}
	for i := range c.Audit {
		c.Audit[i].absolve(c.File)
	}
	c.Web.TokenFiles = maps.Clone(c.Web.TokenFiles)
	for name, file := range c.Web.TokenFiles {
		c.Web.TokenFiles[name] = siblingPath(c.File, file)
	}
	c.Rules = slices.Clone(c.Rules)
	for i := range c.Rules {
		c.Rules[i] = siblingPath(c.File, c.Rules[i])
	}
}

func checkTracing(d *document, t *Tracing) {
	if d.find(&t.Endpoint) != nil {
		checkURL(d, d.find(&t.Endpoint), "endpoint", t.Endpoint, "http", "https")
		return
	}
	if at := d.find(t); at != nil {
		d.errorf(at, "add endpoint: http://jaeger:4318/v1/traces", "tracing has no endpoint")
	}
}

// shortestBlindAfter is above the second that Kong may hold a record back, several
// times over.
const shortestBlindAfter = 5 * time.Second

func checkBlindAfter(d *document, c *Config) {
	if c.BlindAfter < shortestBlindAfter {
		d.errorf(d.find(&c.BlindAfter), "write something like 1m: longer than the longest pause between two requests at night",
			"blind_after must be at least %s", gatewarden.Duration(shortestBlindAfter))
	}
}

func checkWeb(d *document, w *Web) {
	for name, file := range w.TokenFiles {
		if strings.TrimSpace(name) == "" || file == "" {
			d.errorf(d.find(&w.TokenFiles), "write token_files: {jenkins: /run/secrets/guard-token}", "token_files has a name or a file that is empty")
		}
	}
	at := d.find(&w.TraceURL)
	if w.TraceURL == "" {
		return
	}
	if checkURL(d, at, "trace_url", w.TraceURL, "http", "https"); !strings.Contains(w.TraceURL, "{trace_id}") {
		d.errorf(at, "write http://jaeger:16686/trace/{trace_id}", "trace_url does not say where the trace's id goes")
	}
}

func checkListen(d *document, l *Listen) {
	checkAddress(d, d.find(&l.API, l), "api", l.API)
	checkAddress(d, d.find(&l.Ingest, l), "ingest", l.Ingest)
	if l.Metrics != "" {
		checkAddress(d, d.find(&l.Metrics), "metrics", l.Metrics)
	}
	if l.MaxConnections <= 0 {
		d.errorf(d.find(&l.MaxConnections, l), "leave it out, and it is 4096", "max_connections must be above zero")
	}
	taken := map[string]string{}
	for _, x := range []struct {
		name, address string
		at            *yaml.Node
	}{{"api", l.API, d.find(&l.API, l)}, {"ingest", l.Ingest, d.find(&l.Ingest, l)}, {"metrics", l.Metrics, d.find(&l.Metrics)}} {
		if other, twice := taken[x.address]; twice && x.address != "" && !strings.HasSuffix(x.address, ":0") {
			d.errorf(x.at, "give each its own port", "%s listens at %s, where %s does already", x.name, x.address, other)
		}
		taken[x.address] = x.name
	}
}

func checkAddress(d *document, at *yaml.Node, name, address string) {
	host, port, err := net.SplitHostPort(address)
	if n, perr := strconv.Atoi(port); err == nil && perr == nil && n >= 0 && n <= 65535 && !strings.ContainsAny(host, "/ ") {
		return
	}
	d.errorf(at, `write "127.0.0.1:8080", or ":8080" for every interface`, "%s: %q is no address to listen at", name, address)
}

func checkKong(d *document, k *Kong) {
	if d.find(&k.AdminURL) != nil {
		checkURL(d, d.find(&k.AdminURL), "admin_url", k.AdminURL, "http", "https")
	}
	for i := range k.Nodes {
		checkURL(d, d.find(&k.Nodes[i]), "nodes", k.Nodes[i], "http", "https")
	}
	if d.find(&k.Token) != nil && k.TokenFile != "" {
		d.errorf(d.find(&k.TokenFile), "remove one of them", "kong has both token and token_file")
	}
	if (k.CertFile == "") != (k.KeyFile == "") {
		d.errorf(d.find(&k.CertFile, &k.KeyFile, k), "a certificate and its key belong together", "kong has only one of cert_file and key_file")
	}
	checkTimeout(d, d.find(&k.Timeout), k.Timeout)
}

func checkJenkins(d *document, j *Jenkins) {
	checkTimeout(d, d.find(&j.Timeout), j.Timeout)
	if d.find(&j.URL) == nil {
		if at := d.find(j); at != nil && (j.User != "" || j.TokenFile != "" || j.PasswordFile != "") {
			d.errorf(at, "add url: http://jenkins:8080", "jenkins has no url")
		}
		return
	}
	checkURL(d, d.find(&j.URL), "url", j.URL, "http", "https")
	var ways []string
	for _, w := range []struct {
		name string
		set  bool
	}{
		{"token", d.find(&j.Token) != nil}, {"token_file", j.TokenFile != ""},
		{"password", d.find(&j.Password) != nil}, {"password_file", j.PasswordFile != ""},
	} {
		if w.set {
			ways = append(ways, w.name)
		}
	}
	switch {
	case len(ways) > 1:
		d.errorf(d.find(j), "keep one of them", "jenkins has both %s", strings.Join(ways, " and "))
	case len(ways) == 1 && j.User == "":
		d.errorf(d.find(j), "add user: NAME, the one that the token belongs to", "jenkins has a %s, but no user", ways[0])
	case len(ways) == 0 && j.User != "":
		d.errorf(d.find(&j.User), "add token_file: PATH", "jenkins has a user, but no token")
	}
}

// longestCall bounds a timeout: a guard that waits longer is no guard.
const longestCall = 5 * time.Minute

func checkTimeout(d *document, at *yaml.Node, timeout time.Duration) {
	if timeout <= 0 || timeout > longestCall {
		d.errorf(at, "write something like 5s", "the timeout must be above 0 and at most %s", gatewarden.Duration(longestCall))
	}
}

func checkURL(d *document, at *yaml.Node, name, text string, schemes ...string) {
	u, err := url.Parse(text)
	hint := "write " + schemes[0] + "://host:port"
	switch {
	case text == "":
		d.errorf(at, hint, "%s is missing", name)
	case err != nil || u.Host == "":
		d.errorf(at, hint, "%s: %q is no URL", name, text)
	case !slices.Contains(schemes, u.Scheme):
		d.errorf(at, hint, "%s: the scheme must be %s, not %q", name, strings.Join(schemes, " or "), u.Scheme)
	case u.User != nil:
		if password, ok := u.User.Password(); ok {
			d.hide(password, gatewarden.Redacted)
		}
		d.warnf(at, "URLs end up in logs; use a *_file key or a header", "%s carries credentials", name)
	}
}

// CheckKinds reports the sources whose kind is not among the known ones.
func (c *Config) CheckKinds(known []string) Problems {
	var all []Problems
	for _, s := range c.Sources {
		if s.doc == nil || slices.Contains(known, s.Kind) {
			continue
		}
		d := s.doc.fork()
		d.errorf(s.at, didYouMean(s.Kind, known, "this version can't read it"), "there is no source of the kind %q", s.Kind)
		all = append(all, d.finish())
	}
	return Join(all...)
}
