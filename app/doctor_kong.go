package app

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions/kong"
)

// gatewayAnswer is what Kong's Admin API said of what is in it.
type gatewayAnswer struct {
	url      string
	version  string // "" of a Konnect, which has no "/", and of what is no Admin API
	services []kongEntity
	routes   []kongEntity
	plugins  []kongPlugin
}

// kongEntity is a service or a route.
type kongEntity struct {
	ID      string   `json:"id"`
	Name    string   `json:"name"`
	Enabled *bool    `json:"enabled"` // of a service
	Tags    []string `json:"tags"`
	Service *idOf    `json:"service"` // of a route
}

type idOf struct {
	ID string `json:"id"`
}

// kongPlugin is a plugin that is configured somewhere.
type kongPlugin struct {
	ID       string         `json:"id"`
	Name     string         `json:"name"`
	Enabled  bool           `json:"enabled"`
	Service  *idOf          `json:"service"`
	Route    *idOf          `json:"route"`
	Consumer *idOf          `json:"consumer"`
	Config   map[string]any `json:"config"`
}

// global reports whether it applies to every request.
func (p *kongPlugin) global() bool { return p.Service == nil && p.Route == nil && p.Consumer == nil }

// kong asks the gateway.
func (d *doctor) kong(ctx context.Context) {
	d.peer = "kong"
	cfg := d.set.config.Kong
	if cfg.AdminURL == "" {
		d.doubt("admin-api", "kong: {admin_url: \"http://kong:8001\"}   # in "+d.set.config.File, "no Admin API is configured: the guard judges, and can neither act at the gateway nor look whether it is set up for it")
		return
	}
	e, err := kongExecutor(cfg, mark{}, slog.New(slog.DiscardHandler), nil)
	if err != nil {
		d.failed("admin-api", err)
		return
	}
	info, err := e.Info(ctx)
	if err != nil {
		d.failed("admin-api", err)
		return
	}
	g := gatewayAnswer{url: withoutUser(cfg.AdminURL), version: info.Version}
	if g.version != "" {
		d.fine("admin-api", "Kong %s answers at %s", g.version, g.url)
	}
	if t, err := transport(cfg.CAFile); err == nil {
		d.clock(ctx, cfg.AdminURL, t)
	}
	if g.version != "" {
		d.kongNode(info)
	}
	if !d.kongLists(ctx, e, &g) {
		return
	}
	if g.version == "" {
		d.fine("admin-api", "an Admin API that does not say its version, as Konnect's, answers at %s", g.url)
	}
	d.kongWrites(ctx, e, info)
	d.kongNames(ctx, e, &g)
	d.kongSteps(ctx, e)
	d.kongPlugins(&g)
	d.kongNodes(ctx)
}

// kongNode looks at how the node runs.
func (d *doctor) kongNode(info kong.Info) {
	if major, _, _ := strings.Cut(info.Version, "."); major == "0" || major == "1" || major == "2" {
		d.doubt("version", "see docs/kong.md for what is used", "Kong %s is older than what the guard is tested with, which is 3.9", info.Version)
	}
	switch {
	case info.DBLess:
	case info.Consistency != "strict" && info.Tick > time.Second:
		d.doubt("speed", "worker_consistency = strict          # in kong.conf; or, on every node:\nworker_state_update_frequency = 1\ndb_update_frequency = 1",
			"a plugin that is put in place takes up to %s to be enforced on this node and twice that on others; weights are at once", gatewarden.Duration(info.Tick))
	default:
		d.fine("speed", "a change of a plugin is enforced within a second or so")
	}
}

// kongActions returns the steps of policies that are for Kong.
func (d *doctor) kongActions() (steps []policyStep) {
	for i := range d.set.rules.Policies {
		p := &d.set.rules.Policies[i]
		for k := range p.Steps {
			if s := p.Steps[k]; !s.Kind.Tells() && s.Jenkins == nil {
				steps = append(steps, policyStep{p, k, s})
			}
		}
	}
	return steps
}

// policyStep is a step with its policy.
type policyStep struct {
	policy *gatewarden.ActionPolicy
	index  int
	step   gatewarden.Step
}

func (s *policyStep) String() string {
	return fmt.Sprintf("step %d (%s) of the action %s", s.index+1, s.step.Kind, s.policy.Name)
}

func (s *policyStep) observes() bool { return s.policy.Mode == gatewarden.ModeObserve }

// kongLists reads what is in Kong, and reports whether it may.
func (d *doctor) kongLists(ctx context.Context, e *kong.Executor, g *gatewayAnswer) bool {
	for _, l := range []struct {
		path string
		into any
	}{{"/services", &g.services}, {"/routes", &g.routes}, {"/plugins", &g.plugins}} {
		list, err := e.List(ctx, l.path)
		if err == nil {
			var whole []byte
			if whole, err = json.Marshal(list); err == nil {
				err = json.Unmarshal(whole, l.into)
			}
		}
		if err != nil {
			hint := hintOf(err)
			if g.version == "" && gatewarden.ErrorCode(err) == gatewarden.Unavailable { // nothing says yet that this is Kong's
				hint = "is kong.admin_url the Admin API, usually on port 8001? Kong's proxy, usually on port 8000, answers like this"
			}
			d.trouble("read", hint, "%s", messageOf(err))
			return false
		}
	}
	d.fine("read", "%s, %s and %s can be read", many(len(g.services), "service", "services"), many(len(g.routes), "route", "routes"), many(len(g.plugins), "plugin", "plugins"))
	return true
}

// kongWrites looks whether the token may change what steps change.
func (d *doctor) kongWrites(ctx context.Context, e *kong.Executor, info kong.Info) {
	acting := slices.DeleteFunc(d.kongActions(), func(s policyStep) bool { return s.observes() })
	moving := slices.ContainsFunc(d.set.rules.Canaries, func(c gatewarden.Canary) bool { return len(c.Steps) > 0 && c.Mode != gatewarden.ModeObserve })
	if len(acting) == 0 && !moving {
		if info.DBLess && !d.set.config.Kong.DBLess {
			d.doubt("write", "kong: {dbless: true}   # in "+d.set.config.File+", if the guard may rewrite its whole configuration",
				"Kong runs without a database, so the guard could not change it; nothing in the rules would")
		}
		return
	}
	err := e.MayWrite(ctx)
	switch gatewarden.ErrorCode(err) {
	case "":
		if info.DBLess {
			d.wholeWrites()
			return
		}
		d.fine("write", "plugins and targets may be changed")
	case gatewarden.Unavailable:
		d.doubtful("write", err)
	default:
		d.failed("write", err)
	}
}

// wholeWrites tells how a Kong without a database is changed, and what can't be known of it.
func (d *doctor) wholeWrites() {
	d.fine("write", "Kong runs without a database: its configuration can be read, and changes are made by writing it as a whole (POST /config)")
	if n := len(d.set.config.Kong.Nodes); n > 1 {
		d.doubt("write", "push the changes from one place to all nodes: a webhook or a Jenkins job instead of steps at Kong",
			"each of %d nodes without a database has a configuration of its own, and only that behind kong.admin_url would be changed", n)
	}
}

// kongNames looks whether what SLOs and canaries name is in Kong.
func (d *doctor) kongNames(ctx context.Context, e *kong.Executor, g *gatewayAnswer) {
	for i := range d.set.rules.SLOs {
		if s := &d.set.rules.SLOs[i]; s.Series.Signal == "" {
			d.series(ctx, e, g, "the SLO "+s.Name, s.Series)
		}
	}
	for i := range d.set.rules.Canaries {
		c := &d.set.rules.Canaries[i]
		d.series(ctx, e, g, "the canary "+c.Name, c.Series)
		for track, s := range c.Tracks {
			d.track(ctx, e, g, c, gatewarden.Track(track), s)
		}
	}
}

// series looks for the names of a series.
func (d *doctor) series(ctx context.Context, e *kong.Executor, g *gatewayAnswer, who string, s gatewarden.Series) {
	missing := false
	want := func(kind, name string, list []kongEntity) {
		if name == "" || slices.ContainsFunc(list, func(o kongEntity) bool { return o.Name == name }) {
			return
		}
		missing = true
		d.trouble("names", "curl "+g.url+"/"+kind+"s   # "+namesOf(list), "%s is about the %s %s, and Kong has none of that name", who, kind, name)
	}
	want("service", s.Service, g.services)
	want("route", s.Route, g.routes)
	if s.Tag != "" && !slices.ContainsFunc(slices.Concat(g.services, g.routes), func(o kongEntity) bool { return slices.Contains(o.Tags, s.Tag) }) {
		missing = true
		d.trouble("names", fmt.Sprintf("curl -X PATCH %s/services/NAME -d tags=%s", g.url, s.Tag), "%s is about the tag %s, and no service and no route has it", who, s.Tag)
	}
	if s.Consumer != "" {
		switch there, err := e.Has(ctx, "consumers", s.Consumer); {
		case err != nil:
			d.doubtful("names", err)
		case !there:
			missing = true
			d.trouble("names", "curl "+g.url+"/consumers", "%s is about the consumer %s, and Kong has none of that name", who, s.Consumer)
		}
	}
	if !missing && s != (gatewarden.Series{}) {
		d.fine("names", "%s: %s is there", who, s)
	}
}

func namesOf(list []kongEntity) string {
	var names []string
	for _, o := range list {
		if o.Name != "" {
			names = append(names, o.Name)
		}
	}
	slices.Sort(names)
	if len(names) == 0 {
		return "there are none with a name"
	}
	if len(names) > 20 {
		names = append(names[:20], "…")
	}
	return "there are: " + strings.Join(names, ", ")
}

// track looks for the targets of a canary's track. A canary without any is no trouble:
// its release may be to come.
func (d *doctor) track(ctx context.Context, e *kong.Executor, g *gatewayAnswer, c *gatewarden.Canary, track gatewarden.Track, s gatewarden.Selector) {
	who := fmt.Sprintf("the %s of the canary %s", track, c.Name)
	switch s.Kind {
	case gatewarden.ByService, gatewarden.ByRoute:
		list := g.services
		if s.Kind == gatewarden.ByRoute {
			list = g.routes
		}
		for _, name := range s.Values {
			if !slices.ContainsFunc(list, func(o kongEntity) bool { return o.Name == name }) {
				d.absent(track, fmt.Sprintf("curl %s/%ss   # %s", g.url, s.Kind, namesOf(list)), "%s is the %s %s, and Kong has none of that name", who, s.Kind, name)
				return
			}
		}
	case gatewarden.ByTarget, gatewarden.ByTargetTag:
		targets, err := e.Targets(ctx, c.Upstream)
		if err != nil {
			d.failed("names", fmt.Errorf("%s: %w", who, err))
			return
		}
		n := 0
		for _, t := range targets {
			if s.Kind == gatewarden.ByTarget && s.Has(t.Target) || s.Kind == gatewarden.ByTargetTag && slices.ContainsFunc(t.Tags, s.Has) {
				n++
			}
		}
		if n == 0 && s.Kind == gatewarden.ByTargetTag {
			d.absent(track, fmt.Sprintf("curl -X PATCH %s/upstreams/%s/targets/TARGET -d tags=%s", g.url, c.Upstream, s.Values[0]), "no target of the upstream %s is %s (%s)", c.Upstream, who, s)
			return
		}
		if n == 0 { // a target may be written as what its name stands for
			d.absent(track, fmt.Sprintf("curl %s/upstreams/%s/targets", g.url, c.Upstream), "Kong lists no target of the upstream %s as it is written for %s (%s)", c.Upstream, who, s)
			return
		}
		d.fine("names", "%s: %s of the upstream %s", who, many(n, "target", "targets"), c.Upstream)
		return
	default:
		return // a header is in the log or not
	}
	d.fine("names", "%s: %s is there", who, s)
}

// absent tells of a track that has nothing.
func (d *doctor) absent(track gatewarden.Track, fix, format string, args ...any) {
	if track == gatewarden.TrackCanary {
		d.doubt("names", fix, format, args...)
		return
	}
	d.trouble("names", fix, format, args...)
}

// kongSteps asks whether the steps would work.
func (d *doctor) kongSteps(ctx context.Context, e *kong.Executor) {
	for _, s := range d.kongActions() {
		err := e.Preflight(ctx, s.step)
		switch {
		case err == nil:
			d.fine("steps", "%s would be done", &s)
		case s.observes() || gatewarden.ErrorCode(err) == gatewarden.Unavailable:
			d.doubtful("steps", fmt.Errorf("%s: %w", &s, err))
		default:
			d.failed("steps", fmt.Errorf("%s: %w", &s, err))
		}
	}
}

// kongNodes asks the single nodes.
func (d *doctor) kongNodes(ctx context.Context) {
	for _, node := range d.set.config.Kong.Nodes {
		one := d.set.config.Kong
		one.AdminURL = node
		e, err := kongExecutor(one, mark{}, slog.New(slog.DiscardHandler), nil)
		if err == nil {
			var n gatewarden.Node
			if n, err = e.Node(ctx); err == nil {
				d.fine("nodes", "the node %s runs Kong %s with %s", hostOf(node), n.Version, many(len(n.Plugins), "plugin", "plugins"))
				continue
			}
		}
		d.failed("nodes", fmt.Errorf("the node %s: %w", hostOf(node), err))
	}
}
