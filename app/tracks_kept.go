package app

import (
	"context"
	"encoding/json"
	"maps"
	"reflect"

	"github.com/gatewarden/gatewarden"
)

// tracksName is the blob that says which targets the canaries had last. A guard that comes
// back while Kong's Admin API is away would otherwise take records for nobody's.
const tracksName = "tracks"

// blobs keeps a blob by name over a restart.
type blobs interface {
	Put(ctx context.Context, name string, blob []byte) error
	Get(ctx context.Context, name string) ([]byte, error)
}

// keptTracks are the tracks of a canary as they are written down. They are of use only
// while the rules select them in the same way.
type keptTracks struct {
	Upstream  string                      `json:"upstream"`
	Selectors [2]gatewarden.Selector      `json:"selectors"`
	Targets   map[string]gatewarden.Track `json:"targets"`
}

// restore takes up what was known when the guard ended. What cannot be read is asked of
// Kong anew.
func (t *tracks) restore(ctx context.Context) {
	blob, err := t.kept.Get(ctx, tracksName)
	if gatewarden.ErrorCode(err) == gatewarden.NotFound {
		return
	}
	kept := map[string]keptTracks{}
	if err == nil {
		err = json.Unmarshal(blob, &kept)
	}
	if err != nil {
		t.logger.Warn("which targets the canaries had before the restart is lost; Kong is asked", "error", err)
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	for i := range t.canaries {
		c := &t.canaries[i]
		d, k := t.known[c.Name], kept[c.Name]
		if d == nil || k.Upstream != c.Upstream || !reflect.DeepEqual(k.Selectors, c.Tracks) {
			continue
		}
		maps.Copy(d.of, k.Targets)
	}
}

// save writes down what is known, if it is news.
func (t *tracks) save(ctx context.Context) {
	if t.kept == nil || !t.keeps() {
		return
	}
	t.mu.Lock()
	news := t.news
	t.news = false
	kept := map[string]keptTracks{}
	for i := range t.canaries {
		c := &t.canaries[i]
		if d := t.known[c.Name]; news && d != nil {
			kept[c.Name] = keptTracks{Upstream: c.Upstream, Selectors: c.Tracks, Targets: maps.Clone(d.of)}
		}
	}
	t.mu.Unlock()
	if !news {
		return
	}
	blob, err := json.Marshal(kept)
	if err == nil {
		err = t.kept.Put(ctx, tracksName, blob)
	}
	if err != nil && ctx.Err() == nil {
		t.logger.Warn("which targets the canaries have could not be written down; a restart has to ask Kong first", "error", err)
		t.mu.Lock()
		t.news = true
		t.mu.Unlock()
	}
}
