package state

import (
	"context"
	"encoding/base64"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// TestABlobThatIsDamagedInAnyWayKeepsNobodyFromStarting has blobs that lost parts, and one of
// which not even what it is can be read; they are listed beside the whole ones and can be removed.
func TestABlobThatIsDamagedInAnyWayKeepsNobodyFromStarting(t *testing.T) {
	s := open(t, Config{Dir: t.TempDir()})
	runs, err := s.Runs(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"whole", "parts"} {
		if err := runs.Put(t.Context(), name, []byte(name)); err != nil {
			t.Fatal(err)
		}
	}
	stream, err := s.js.Stream(t.Context(), "OBJ_gatewarden_runs")
	if err != nil {
		t.Fatal(err)
	}
	if err := stream.DeleteMsg(t.Context(), 3); err != nil { // each has a chunk, then what it is
		t.Fatal(err)
	}
	subject := "$O.gatewarden_runs.M." + base64.URLEncoding.EncodeToString([]byte("unknown"))
	if _, err := s.js.Publish(t.Context(), subject, []byte("{")); err != nil {
		t.Fatal(err)
	}
	list := func() map[string]string {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		got := map[string]string{}
		if err := runs.All(ctx, func(name string, blob []byte) error { got[name] = string(blob); return nil }); err != nil {
			t.Fatal(err)
		}
		return got
	}
	if diff := cmp.Diff(map[string]string{"whole": "whole", "parts": "", "unknown": ""}, list()); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	if _, err := runs.Get(t.Context(), "unknown"); gatewarden.ErrorCode(err) != gatewarden.Internal {
		t.Errorf("reading it says %v", err)
	}
	if err := runs.Sweep(t.Context()); err != nil {
		t.Error(err)
	}
	if err := runs.Put(t.Context(), "unknown", []byte("new")); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff(map[string]string{"whole": "whole", "parts": "", "unknown": "new"}, list()); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	if _, err := s.js.Publish(t.Context(), subject, []byte("[")); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"parts", "unknown", "unknown"} {
		if err := runs.Delete(t.Context(), name); err != nil {
			t.Errorf("removing %s: %v", name, err)
		}
	}
	if diff := cmp.Diff(map[string]string{"whole": "whole"}, list()); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
}
