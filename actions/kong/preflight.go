package kong

import (
	"context"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/gatewarden/gatewarden"
)

// Info is what a Kong says about itself.
type Info struct {
	Version     string
	DBLess      bool          // takes only a whole configuration by its Admin API
	Consistency string        // of workers: "eventual" or "strict"
	Role        string        // "traditional", "control_plane" or "data_plane"
	Tick        time.Duration // how often workers take up changes, and other nodes learn of them
	Plugins     []string      // that this Kong can run
	Configured  []string      // that are configured somewhere
}

// defaultTick is how often workers and nodes take up changes unless Kong says otherwise.
const defaultTick = 5 * time.Second

// root returns what Kong says of itself, nil when it says nothing: a token that belongs to a
// workspace may see it only there, and a Konnect's API, which lies below a path of its own,
// has no root.
func (c *client) root(ctx context.Context) (raw json.RawMessage, err error) {
	for _, path := range []string{"/", "/kong"} {
		raw, err = c.get(ctx, path)
		if _, none := errors.AsType[*notOfKong](err); !none && (err != nil || raw != nil) {
			return raw, err
		}
	}
	return nil, nil
}

// Info asks Kong about itself. Of one that does not say what it is, only Tick is set, to
// Kong's default.
func (e *Executor) Info(ctx context.Context) (Info, error) {
	raw, err := e.client.root(ctx)
	if err != nil || raw == nil {
		return Info{Tick: defaultTick}, err
	}
	var root struct {
		Version       string `json:"version"`
		Configuration struct {
			Database    string  `json:"database"`
			Role        string  `json:"role"`
			Consistency string  `json:"worker_consistency"`
			Workers     float64 `json:"worker_state_update_frequency"`
			Nodes       float64 `json:"db_update_frequency"`
		} `json:"configuration"`
		Plugins struct {
			Available map[string]json.RawMessage `json:"available_on_server"`
			Enabled   json.RawMessage            `json:"enabled_in_cluster"` // a list, or {} when empty
		} `json:"plugins"`
	}
	if err := json.Unmarshal(raw, &root); err != nil || root.Version == "" {
		return Info{}, gatewarden.Errorf(gatewarden.Invalid, "%s does not answer as Kong's Admin API does", e.client.url).WithHint("kong.admin_url must be the Admin API, usually on port 8001")
	}
	info := Info{
		Version:     root.Version,
		DBLess:      root.Configuration.Database == "off",
		Consistency: root.Configuration.Consistency,
		Role:        root.Configuration.Role,
		Tick:        time.Duration(max(root.Configuration.Workers, root.Configuration.Nodes) * float64(time.Second)),
		Plugins:     slices.Sorted(maps.Keys(root.Plugins.Available)),
	}
	if json.Unmarshal(root.Plugins.Enabled, &info.Configured) != nil {
		info.Configured = nil
	}
	return info, nil
}

// Preflight checks, without changing anything, that the step could be done now:
// that Kong takes changes, has the plugin and accepts its configuration, and that
// what the step names exists. Steps that are not for Kong are fine.
func (e *Executor) Preflight(ctx context.Context, step gatewarden.Step) error {
	switch step.Kind {
	case gatewarden.StepPlugin, gatewarden.StepWeight, gatewarden.StepDrain, gatewarden.StepShare, gatewarden.StepDivert, gatewarden.StepService, gatewarden.StepAdaptive:
	default:
		return nil
	}
	info, err := e.Info(ctx)
	if err != nil {
		return err
	}
	if err := e.client.takes(info); err != nil {
		return err
	}
	a := gatewarden.Action{ID: "preflight", Spec: step}
	if step.Kind == gatewarden.StepAdaptive {
		a = asPlugin(a)
		step = a.Spec
	}
	switch step.Kind {
	case gatewarden.StepShare:
		_, err = e.prepareShare(ctx, a)
		return err
	case gatewarden.StepDivert, gatewarden.StepService:
		_, err = e.prepareField(ctx, a)
		return err
	case gatewarden.StepPlugin:
	default:
		_, err = e.prepareWeight(ctx, a)
		return err
	}
	if info.Version != "" && !slices.Contains(info.Plugins, step.Plugin.Name) {
		return gatewarden.Errorf(gatewarden.Invalid, "Kong has no plugin %q", step.Plugin.Name).WithHint("add it to plugins in kong.conf; %s", suggest(step.Plugin.Name, info.Plugins))
	}
	s, err := e.client.resolve(ctx, step.Plugin)
	if err != nil {
		return err
	}
	raw, err := plain(step.Plugin.Config)
	if err != nil {
		return err
	}
	config, _ := raw.(object)
	_, err = e.client.do(ctx, http.MethodPost, "/schemas/plugins/validate", nil, e.ownBody(a, s, config))
	if _, none := errors.AsType[*notOfKong](err); info.Version == "" && (none || gatewarden.ErrorCode(err) == gatewarden.NotFound) {
		return nil // it has no such endpoint; the write will tell
	}
	if gatewarden.ErrorCode(err) == gatewarden.Invalid {
		return gatewarden.Errorf(gatewarden.Invalid, "plugin %s %s: %w", step.Plugin.Name, where(step.Plugin), err)
	}
	return err
}
