package app

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/api"
	"github.com/gatewarden/gatewarden/rules"
)

const (
	lookEvery        = 2 * time.Second  // at the files
	preflightTimeout = 20 * time.Second // for all steps together
)

// reloader brings new files into force: it builds the new world whole, asks the
// peers whether its steps would work, and only then swaps it in. A bad file changes
// nothing, and shows.
type reloader struct {
	app    *App
	logger *slog.Logger

	began     *rules.Config // what this process was started with
	reloading sync.Mutex    // one reload, or beginning of a term, at a time

	mu        sync.Mutex
	inForce   settings
	term      *term // nil while another guard leads
	loadedAt  time.Time
	failure   error    // why the newest files are not in force
	preflight []string // steps that would not work, as of the last look

	successful prometheus.Gauge
	successAt  prometheus.Gauge
	unfit      prometheus.Gauge
}

func newReloader(a *App, set settings) *reloader {
	r := &reloader{
		app: a, logger: a.logger.With("component", "reload"), inForce: set, began: set.config, loadedAt: a.started,
		successful: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_config_last_reload_successful", Help: "Whether the newest configuration and rules are in force.",
		}),
		successAt: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_config_last_reload_success_timestamp_seconds", Help: "When the configuration and rules in force were loaded.",
		}),
		unfit: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "gatewarden_app_unfit_steps", Help: "Steps that Kong or Jenkins would refuse, as of the last look.",
		}),
	}
	a.registry.MustRegister(r.successful, r.successAt, r.unfit)
	r.successful.Set(1)
	r.successAt.Set(float64(a.started.Unix()))
	return r
}

func (r *reloader) current() settings {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.inForce
}

// lead makes a term heed what is in force, from now on; nil is none. The term is begun with
// it, and no reload comes in between.
func (r *reloader) lead(begin func(set settings) (*term, error)) (*term, error) {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	set := r.current()
	set.config = r.began // of what is not rules, nothing else is in force
	t, err := begin(set)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.term = t
	return t, nil
}

// follow makes what is in force matter to no term any more.
func (r *reloader) follow() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.term = nil
}

// leading returns the term, nil when there is none.
func (r *reloader) leading() *term {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.term
}

// status says what is in force, and why something newer is not.
func (r *reloader) status() api.ConfigStatus {
	r.mu.Lock()
	defer r.mu.Unlock()
	s := api.ConfigStatus{File: r.app.opts.ConfigFile, LoadedAt: r.loadedAt, Unfit: slices.Clone(r.preflight)}
	if r.failure != nil {
		s.Error = r.failure.Error()
	}
	return s
}

// Run reloads on SIGHUP and when a file changes, until ctx ends.
func (r *reloader) Run(ctx context.Context) error {
	defer signal.Stop(r.app.hup)
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	seen := r.current().prints // not of now: a file may have changed since it was read
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-r.app.hup:
			r.logger.Info("reloading", "because", "SIGHUP")
		case <-look.C:
			now := takeFingerprint(r.app.opts.ConfigFile, r.current().config.Rules)
			if now == seen {
				continue
			}
			seen = now
			r.logger.Info("reloading", "because", "a file has changed")
		}
		if err := r.Reload(ctx); err != nil && ctx.Err() == nil {
			r.logger.Error("the new files are not taken; what was in force stays", "error", err)
		}
	}
}

// Reload reads the files anew and brings them into force, or changes nothing and
// says why.
func (r *reloader) Reload(ctx context.Context) error {
	r.reloading.Lock()
	defer r.reloading.Unlock()
	next, err := r.build(ctx)
	if err == nil {
		r.bring(next)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.failure = err; err != nil {
		r.successful.Set(0)
		return err
	}
	r.inForce, r.loadedAt = next, r.app.now()
	r.successful.Set(1)
	r.successAt.Set(float64(r.loadedAt.Unix()))
	r.logger.Info("reloaded", "slos", len(next.rules.SLOs), "policies", len(next.rules.Policies))
	return nil
}

// build does everything that can fail.
func (r *reloader) build(ctx context.Context) (settings, error) {
	next, problems := load(r.app.opts.ConfigFile, r.app.opts.Env)
	if err := problems.Err(); err != nil {
		return next, err
	}
	if len(next.rules.SLOs) == 0 && len(r.current().rules.SLOs) > 0 {
		return next, gatewarden.Errorf(gatewarden.Invalid, "the new rules have no slo at all, so there would be nothing to guard").
			WithHint("a folder that is being replaced? stop the guard to stop guarding")
	}
	if err := checkCanaries(next.rules.Canaries); err != nil {
		return next, err
	}
	if err := r.checkSteps(ctx, next.rules.Policies); err != nil && gatewarden.ErrorCode(err) != gatewarden.Unavailable {
		return next, err
	}
	for _, p := range problems {
		r.logger.Warn("the files can be used, but look at this", "problem", p.String(), "hint", p.Hint)
	}
	for _, c := range changedModes(r.current().rules.Policies, next.rules.Policies) {
		r.logger.Info("an action has another mode: what only observed a breach that lasts is done now, all else from the next answer on",
			"action", c.action, "was", c.was, "is", c.is)
	}
	for _, part := range needRestart(r.began, next.config) {
		r.logger.Warn("this part of the configuration changed, but only a restart brings it into force", "part", part)
	}
	return next, nil
}

// changedMode is an action that is to do less, or more, than before.
type changedMode struct {
	action  string
	was, is gatewarden.Mode
}

// changedModes finds the actions that both have, with another mode. What is
// under way with the old one is the engine's to say; see actions.Engine.SetRules.
func changedModes(before, after []gatewarden.ActionPolicy) []changedMode {
	var list []changedMode
	for i := range after {
		p := &after[i]
		for k := range before {
			if b := &before[k]; b.Name == p.Name && b.Mode != p.Mode {
				list = append(list, changedMode{p.Name, b.Mode, p.Mode})
			}
		}
	}
	return list
}

// bring brings next into force; it cannot fail. It waits for a tick under way, and nobody
// who asks what is in force waits with it.
func (r *reloader) bring(next settings) {
	if t := r.leading(); t != nil {
		t.setRules(next.rules)
	} else {
		r.app.setRules(next.rules)
	}
}

// setRules brings rules into force: no tick sees half of them.
func (t *term) setRules(next *rules.Rules) {
	t.loop.mu.Lock()
	defer t.loop.mu.Unlock()
	t.App.setRules(next)
	t.loop.engine.SetRules(next.Policies, answerable(next))
	t.loop.engine.SetGuardrails(next.Guardrails)
	t.loop.steerer.SetSLOs(next.SLOs)
	t.loop.replace(t.judges.of(next.SLOs))
	t.loop.releases.SetCanaries(next.Canaries)
	if err := t.loop.runs.SetCanaries(next.Canaries); err != nil {
		t.logger.Error("the canaries of the new rules are not in force", "error", err)
	}
	t.loop.drifts.SetRules(next)
}

// checkSteps asks the executors whether the steps would work, if this guard leads. The
// error joins what would be refused; when nothing would, but a peer did not answer, it is
// that.
func (r *reloader) checkSteps(ctx context.Context, policies []gatewarden.ActionPolicy) error {
	t := r.leading()
	if t == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, preflightTimeout)
	defer cancel()
	var refused, unknown []error
	var texts []string
	for _, p := range policies {
		if p.Mode == gatewarden.ModeObserve {
			continue // it will never be asked to work
		}
		for i, step := range p.Steps {
			err := t.checkStep(ctx, step)
			if err == nil {
				continue
			}
			err = fmt.Errorf("step %d (%s) of the action %s: %w", i+1, step.Kind, p.Name, err)
			texts = append(texts, err.Error())
			if gatewarden.ErrorCode(err) == gatewarden.Unavailable {
				unknown = append(unknown, err)
			} else {
				refused = append(refused, err)
			}
		}
	}
	r.unfit.Set(float64(len(texts)))
	r.mu.Lock()
	r.preflight = texts
	r.mu.Unlock()
	if len(refused) > 0 {
		return gatewarden.Errorf(gatewarden.Invalid, "%w", errors.Join(refused...))
	}
	if len(unknown) > 0 {
		return gatewarden.Errorf(gatewarden.Unavailable, "%w", errors.Join(unknown...))
	}
	return nil
}

// checkStep asks the executor of a step whether it would work.
func (t *term) checkStep(ctx context.Context, step gatewarden.Step) error {
	e, ok := t.executors[step.Kind]
	if !ok {
		return gatewarden.Errorf(gatewarden.Invalid, "this guard was started without a way to do that").
			WithHint("the address of the peer is new in the configuration: restart the guard")
	}
	if p, ok := e.(preflighter); ok {
		return p.Preflight(ctx, step)
	}
	return nil
}

// needRestart names the parts of the configuration that a reload does not change.
func needRestart(before, after *rules.Config) []string {
	var parts []string
	for _, p := range []struct {
		name          string
		before, after any
	}{
		{"listen", before.Listen, after.Listen},
		{"state", before.State, after.State},
		{"kong", before.Kong, after.Kong},
		{"jenkins", before.Jenkins, after.Jenkins},
		{"log", before.Log, after.Log},
		{"web", before.Web, after.Web},
		{"tracing", before.Tracing, after.Tracing},
		{"audit", before.Audit, after.Audit},
		{"pause_file", before.PauseFile, after.PauseFile},
		{"blind_after", before.BlindAfter, after.BlindAfter},
		{"sources", sourceText(before), sourceText(after)},
	} {
		if !reflect.DeepEqual(p.before, p.after) {
			parts = append(parts, p.name)
		}
	}
	return parts
}

// sourceText is the list of sources as text that is equal when they are.
func sourceText(c *rules.Config) []string {
	list := make([]string, len(c.Sources))
	for i, s := range c.Sources {
		list[i] = s.Kind + " " + s.Text()
	}
	return list
}

// fingerprint changes when a file does that load reads.
type fingerprint [sha256.Size]byte

func takeFingerprint(config string, ruleFiles []string) fingerprint {
	files := []string{config}
	for _, path := range ruleFiles {
		files = append(files, path)
		for _, pattern := range []string{"*.yaml", "*.yml"} {
			more, _ := filepath.Glob(filepath.Join(path, pattern)) // the pattern is a constant: it is well formed
			files = append(files, more...)
		}
	}
	h := sha256.New()
	for _, f := range files {
		data, err := os.ReadFile(f)
		fmt.Fprintf(h, "%s %d %t\n", f, len(data), err == nil)
		h.Write(data)
	}
	return fingerprint(h.Sum(nil))
}
