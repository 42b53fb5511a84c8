package kong

import (
	"context"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/gatewarden/gatewarden"
)

// List returns all entities of a path of the Admin API ("/plugins"), whatever their pages,
// each as Kong wrote it. It changes nothing.
func (e *Executor) List(ctx context.Context, path string) ([]json.RawMessage, error) {
	return e.client.list(ctx, path)
}

// Has reports whether an entity of a table ("services", "upstreams") has that name, and
// changes nothing. An error means that Kong did not say.
func (e *Executor) Has(ctx context.Context, table, name string) (bool, error) {
	raw, err := e.client.get(ctx, "/"+table+"/"+url.PathEscape(name))
	return raw != nil, err
}

// noConfiguration is the hash that a node without a database has before its first
// configuration.
const noConfiguration = "00000000000000000000000000000000"

// Node asks the node that answers what it is, what it can run and which configuration it
// runs; a control plane of its data planes too. At and Address are left to the caller.
// What a node of that kind does not say is left open; an error means that it gave no
// answer at all.
func (e *Executor) Node(ctx context.Context) (gatewarden.Node, error) {
	var root struct {
		Version       string `json:"version"`
		ID            string `json:"node_id"`
		Configuration struct {
			Role string `json:"role"`
		} `json:"configuration"`
		Plugins struct {
			Available map[string]json.RawMessage `json:"available_on_server"`
		} `json:"plugins"`
	}
	raw, err := e.client.do(ctx, http.MethodGet, "/", nil, nil)
	if err != nil {
		return gatewarden.Node{}, err
	}
	if err := json.Unmarshal(raw, &root); err != nil || root.Version == "" {
		return gatewarden.Node{}, gatewarden.Errorf(gatewarden.Invalid, "%s does not answer as Kong's Admin API does", e.client.url)
	}
	n := gatewarden.Node{ID: root.ID, Version: root.Version, Plugins: slices.Sorted(maps.Keys(root.Plugins.Available))}
	if raw, err = e.client.do(ctx, http.MethodGet, "/status", nil, nil); err != nil {
		return n, err
	}
	var status struct {
		ConfigurationHash string `json:"configuration_hash"`
		Database          struct {
			Reachable *bool `json:"reachable"`
		} `json:"database"`
	}
	if json.Unmarshal(raw, &status) == nil {
		n.Datastore = status.Database.Reachable
		if status.ConfigurationHash != noConfiguration {
			n.ConfigHash = status.ConfigurationHash
		}
	}
	if root.Configuration.Role == "control_plane" {
		n.DataPlanes, err = e.dataPlanes(ctx)
	}
	return n, err
}

// dataPlanes asks a control plane for the data planes that it knows.
func (e *Executor) dataPlanes(ctx context.Context) ([]gatewarden.DataPlane, error) {
	list, err := e.client.list(ctx, "/clustering/data-planes")
	if err != nil {
		return nil, err
	}
	planes := make([]gatewarden.DataPlane, 0, len(list))
	for _, raw := range list {
		var p struct {
			ID         string  `json:"id"`
			Hostname   string  `json:"hostname"`
			IP         string  `json:"ip"`
			Version    string  `json:"version"`
			ConfigHash string  `json:"config_hash"`
			LastSeen   float64 `json:"last_seen"`
		}
		if json.Unmarshal(raw, &p) != nil {
			continue // of a shape that this version does not know
		}
		plane := gatewarden.DataPlane{ID: p.ID, Hostname: p.Hostname, IP: p.IP, Version: p.Version, ConfigHash: p.ConfigHash}
		if strings.Trim(p.ConfigHash, "0") == "" {
			plane.ConfigHash = "" // it has none yet
		}
		if p.LastSeen > 0 {
			plane.Seen = time.Unix(int64(p.LastSeen), 0).UTC()
		}
		planes = append(planes, plane)
	}
	return planes, nil
}

// nobody is the id of a plugin that does not exist, nor ever will: no random id has it.
const nobody = "00000000-0000-4000-8000-000000000000"

// MayWrite returns why the guard may not change plugins and targets, nil when it may. It
// changes nothing: it asks for a change of a plugin that does not exist, which is refused
// for want of permission or of a database before it is refused for want of the plugin.
func (e *Executor) MayWrite(ctx context.Context) error {
	info, err := e.Info(ctx)
	if err != nil {
		return err
	}
	if err := e.client.takes(info); err != nil {
		return err
	}
	if info.DBLess {
		return e.client.redeclarable(ctx)
	}
	_, err = e.client.do(ctx, http.MethodPatch, "/plugins/"+nobody, nil, map[string]any{"enabled": true})
	if gatewarden.ErrorCode(err) == gatewarden.NotFound {
		return nil
	}
	return err
}
