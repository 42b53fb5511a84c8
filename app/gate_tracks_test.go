package app

import (
	"context"
	"log/slog"
	"testing"

	"github.com/gatewarden/gatewarden"
	"github.com/gatewarden/gatewarden/actions/kong"
)

// drawer keeps blobs for as long as the test lasts.
type drawer map[string][]byte

func (d drawer) Put(_ context.Context, name string, blob []byte) error {
	d[name] = blob
	return nil
}

func (d drawer) Get(_ context.Context, name string) ([]byte, error) {
	if blob, ok := d[name]; ok {
		return blob, nil
	}
	return nil, gatewarden.Errorf(gatewarden.NotFound, "there is no blob %s", name)
}

func (d drawer) Delete(_ context.Context, name string) error {
	delete(d, name)
	return nil
}

func (d drawer) All(_ context.Context, visit func(string, []byte) error) error {
	for name, blob := range d {
		if err := visit(name, blob); err != nil {
			return err
		}
	}
	return nil
}

// TestTheTracksOutliveAGuard restarts what knows the tracks while Kong does not answer.
func TestTheTracksOutliveAGuard(t *testing.T) {
	const moved = "baseline: {target_tag: \"version:v2\"}\ncanary: {target_tag: \"version:v3\"}"
	for sentence, c := range map[string]struct {
		after string // the rules of the next life
		spoil func(drawer)
		known bool
	}{
		"as long as the rules select them so":    {after: byTag, known: true},
		"not when the rules select otherwise":    {after: moved},
		"not when what was written is damaged":   {after: byTag, spoil: func(d drawer) { d[tracksName] = []byte("{") }},
		"not when nothing has ever been written": {after: byTag, spoil: func(d drawer) { clear(d) }},
	} {
		t.Run(sentence, func(t *testing.T) {
			kept := drawer{}
			life := func(text string, targets func(context.Context, string) ([]kong.Target, error)) *tracks {
				tr := newTracks(targets, slog.New(slog.DiscardHandler))
				tr.kept = kept
				tr.SetCanaries(loadText(t, canaryRules(text)).Canaries)
				tr.restore(t.Context())
				tr.ask(t.Context())
				return tr
			}
			list, err := recordedTargets(recordedAnswer)
			if err != nil {
				t.Fatal(err)
			}
			first := life(byTag, func(context.Context, string) ([]kong.Target, error) { return list, nil })
			if track, ok := first.Track("orders", canaryTarget); !ok || track != gatewarden.TrackCanary {
				t.Fatalf("%s is %s, %t", canaryTarget, track, ok)
			}
			if c.spoil != nil {
				c.spoil(kept)
			}
			next := life(c.after, func(context.Context, string) ([]kong.Target, error) {
				return nil, gatewarden.Errorf(gatewarden.Unavailable, "Kong is away")
			})
			for target, want := range map[string]gatewarden.Track{stableTarget: gatewarden.TrackBaseline, canaryTarget: gatewarden.TrackCanary} {
				if track, ok := next.Track("orders", target); ok != c.known || ok && track != want {
					t.Errorf("%s is %s, %t; want %s, %t", target, track, ok, want, c.known)
				}
			}
			if _, known := next.Share("orders"); known {
				t.Error("nobody has said how Kong divides the requests now")
			}
		})
	}
}
