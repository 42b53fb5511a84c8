package app

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions/kong"
)

const (
	// tracksEvery is how often Kong is asked for the targets of canaries: a change of the
	// weights, or of the targets that Consul or Kubernetes feed, shows within this and the
	// time of the call.
	tracksEvery = time.Second
	// tracksWithin bounds one round of asking.
	tracksWithin = 2 * time.Second
)

// tracks knows which target belongs to which track of which canary, and how Kong divides
// the requests between the two. It asks Kong for what is selected by target; other tracks
// need no asking.
type tracks struct {
	// targets returns an upstream's targets; nil when no Kong is configured.
	targets func(ctx context.Context, upstream string) ([]kong.Target, error)
	resolve func(ctx context.Context, host string) ([]string, error)
	kept    blobs       // over a restart; nil for not at all
	keeps   func() bool // whether this guard is the one to write it down
	logger  *slog.Logger

	mu       sync.RWMutex
	news     bool // known has changed and is not yet in kept
	canaries []gatewarden.Canary
	known    map[string]*division // by the canary's name
}

// division is what is known of one canary's tracks.
type division struct {
	of     map[string]gatewarden.Track // by "ip:port", and by how Kong lists the target
	share  float64                     // of the canary
	fixed  bool                        // share is known
	failed string                      // why Kong could not be asked the last time, "" when it could
}

func newTracks(targets func(context.Context, string) ([]kong.Target, error), logger *slog.Logger) *tracks {
	return &tracks{
		targets: targets, resolve: net.DefaultResolver.LookupHost, logger: logger, known: map[string]*division{},
		keeps: func() bool { return true },
	}
}

// SetCanaries replaces the canaries. What is known of one that stays is kept until Kong
// is asked again.
func (t *tracks) SetCanaries(list []gatewarden.Canary) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.canaries = list
	known := make(map[string]*division, len(list))
	for i := range list {
		c := &list[i]
		if !c.Tracks[gatewarden.TrackCanary].Targets() {
			continue
		}
		d := t.known[c.Name]
		if d == nil {
			d = &division{of: map[string]gatewarden.Track{}}
			for track, s := range c.Tracks {
				d.add(s.Kind, s.Values, gatewarden.Track(track))
			}
		}
		known[c.Name] = d
	}
	t.known, t.news = known, true
}

// add makes addresses known that the rules name themselves.
func (d *division) add(kind gatewarden.SelectorKind, values []string, track gatewarden.Track) {
	if kind != gatewarden.ByTarget {
		return
	}
	for _, v := range values {
		d.of[v] = track
	}
}

// Track returns the track of a canary that a target ("ip:port") belongs to.
func (t *tracks) Track(canary, target string) (gatewarden.Track, bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	d, ok := t.known[canary]
	if !ok {
		return 0, false
	}
	track, ok := d.of[target]
	return track, ok
}

// tracksOf returns the tracks of canaries that a target ("ip:port") belongs to.
func (t *tracks) tracksOf(target string) []trackOf {
	t.mu.RLock()
	defer t.mu.RUnlock()
	var list []trackOf
	for name, d := range t.known {
		if track, ok := d.of[target]; ok {
			list = append(list, trackOf{name, track})
		}
	}
	return list
}

// Share returns the share of the requests that Kong gives to the canary now, in [0, 1],
// and whether that is known.
func (t *tracks) Share(canary string) (share float64, known bool) {
	t.mu.RLock()
	defer t.mu.RUnlock()
	d, ok := t.known[canary]
	if !ok || !d.fixed {
		return 0, false
	}
	return d.share, true
}

// trouble returns why Kong could not be asked for a canary's targets the last time, ""
// when it could.
func (t *tracks) trouble(canary string) string {
	t.mu.RLock()
	defer t.mu.RUnlock()
	if d, ok := t.known[canary]; ok {
		return d.failed
	}
	return ""
}

// Run asks Kong again and again until ctx ends.
func (t *tracks) Run(ctx context.Context) error {
	every := time.NewTicker(tracksEvery)
	defer every.Stop()
	for {
		t.ask(ctx)
		select {
		case <-ctx.Done():
			return nil
		case <-every.C:
		}
	}
}

// ask brings what is known of all canaries up to date. Of one that Kong says nothing about
// the last answer stays: its targets are still the likeliest ones.
func (t *tracks) ask(ctx context.Context) {
	if t.targets == nil {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, tracksWithin)
	defer cancel()
	t.mu.RLock()
	canaries := t.canaries
	t.mu.RUnlock()
	type answer struct {
		list []kong.Target
		err  error
	}
	answers := map[string]answer{} // by upstream
	for i := range canaries {
		c := &canaries[i]
		if !c.Tracks[gatewarden.TrackCanary].Targets() {
			continue
		}
		a, asked := answers[c.Upstream]
		if !asked {
			a.list, a.err = t.targets(ctx, c.Upstream)
			answers[c.Upstream] = a
		}
		t.learn(ctx, c, a.list, a.err)
	}
	t.save(ctx)
}

// learn takes what Kong said about the targets of a canary's upstream.
func (t *tracks) learn(ctx context.Context, c *gatewarden.Canary, list []kong.Target, err error) {
	var fresh *division
	if err == nil {
		fresh = t.divide(ctx, c, list)
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	d, ok := t.known[c.Name]
	if !ok {
		return // gone by a reload meanwhile
	}
	if err != nil {
		if d.failed == "" && !errors.Is(err, context.Canceled) {
			t.logger.Warn("Kong does not say which targets a canary has; the last answer stays", "canary", c.Name, "upstream", c.Upstream, "error", err)
		}
		d.failed, d.fixed = err.Error(), false
		return
	}
	// A target that is gone may still be in records that come late.
	for address, track := range d.of {
		if _, ok := fresh.of[address]; !ok && len(fresh.of) < maxAddresses {
			fresh.of[address] = track
		}
	}
	t.news = t.news || !maps.Equal(d.of, fresh.of)
	t.known[c.Name] = fresh
}

// maxAddresses bounds what is remembered of targets that come and go.
const maxAddresses = 10_000

// divide says which target belongs to which track, and how the weights divide the
// requests. A target that both selectors pick belongs to neither.
func (t *tracks) divide(ctx context.Context, c *gatewarden.Canary, list []kong.Target) *division {
	d := &division{of: map[string]gatewarden.Track{}}
	var weights, counts [2]int // by track
	for _, target := range list {
		addresses := t.addresses(ctx, target.Target)
		var in [2]bool
		for track, s := range c.Tracks {
			in[track] = picks(s, target, addresses)
		}
		if in[gatewarden.TrackBaseline] == in[gatewarden.TrackCanary] {
			continue
		}
		track := gatewarden.TrackBaseline
		if in[gatewarden.TrackCanary] {
			track = gatewarden.TrackCanary
		}
		counts[track]++
		weights[track] += target.Weight
		for _, a := range addresses {
			d.of[a] = track
		}
	}
	for track, s := range c.Tracks {
		d.add(s.Kind, s.Values, gatewarden.Track(track)) // an address that Kong lists by name
	}
	if all := weights[0] + weights[1]; all > 0 && counts[0] > 0 && counts[1] > 0 {
		d.share, d.fixed = float64(weights[gatewarden.TrackCanary])/float64(all), true
	}
	return d
}

func picks(s gatewarden.Selector, target kong.Target, addresses []string) bool {
	if s.Kind == gatewarden.ByTargetTag {
		return slices.ContainsFunc(target.Tags, s.Has)
	}
	return slices.ContainsFunc(addresses, s.Has)
}

// addresses returns how a target may stand in a record: as Kong lists it, and as what its
// name stands for.
func (t *tracks) addresses(ctx context.Context, target string) []string {
	list := []string{target}
	host, port, err := net.SplitHostPort(target)
	if err != nil || net.ParseIP(strings.Trim(host, "[]")) != nil {
		return list
	}
	ips, err := t.resolve(ctx, host)
	if err != nil {
		return list // Kong can't resolve it either, or will log another address soon
	}
	for _, ip := range ips {
		list = append(list, net.JoinHostPort(ip, port))
	}
	return list
}

// pinned returns tracks that never ask: they know what the rules name by address, and the
// targets of a recorded answer of the Admin API (GET /upstreams/NAME/targets) when there is
// one. A replay uses them.
func pinned(ctx context.Context, canaries []gatewarden.Canary, answer []byte, logger *slog.Logger) (*tracks, error) {
	t := newTracks(nil, logger)
	t.SetCanaries(canaries)
	if answer == nil {
		return t, nil
	}
	list, err := recordedTargets(answer)
	if err != nil {
		return nil, err
	}
	for i := range canaries {
		if canaries[i].Tracks[gatewarden.TrackCanary].Targets() {
			t.learn(ctx, &canaries[i], list, nil)
		}
	}
	for _, d := range t.known {
		d.fixed = false // the weights of then are not those of the whole recording
	}
	return t, nil
}

// recordedTargets reads an answer of GET /upstreams/NAME/targets.
func recordedTargets(answer []byte) ([]kong.Target, error) {
	var page struct {
		Data []kong.Target `json:"data"`
	}
	if err := json.Unmarshal(answer, &page); err != nil {
		return nil, gatewarden.Errorf(gatewarden.Invalid, `the targets: they are not as Kong answers, {"data": [...]}`).
			WithHint(`save what "curl $KONG_ADMIN/upstreams/NAME/targets" answers`)
	}
	if len(page.Data) == 0 {
		return nil, gatewarden.Errorf(gatewarden.Invalid, "the targets: there are none under data").
			WithHint(`save what "curl $KONG_ADMIN/upstreams/NAME/targets" answers`)
	}
	return page.Data, nil
}
