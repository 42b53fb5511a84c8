package kong

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/gatewarden/gatewarden"
)

// answering returns an executor for an Admin API that answers GETs with these texts, 404
// to others and a status to every PATCH.
func answering(t *testing.T, patch int, answers map[string]string) *Executor {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		text, ok := answers[r.URL.Path]
		switch {
		case r.Method == http.MethodPatch:
			w.WriteHeader(patch)
			fmt.Fprint(w, `{"message":"no"}`)
		case r.Method != http.MethodGet:
			t.Errorf("%s %s", r.Method, r.URL.Path)
		case !ok:
			w.WriteHeader(http.StatusNotFound)
			fmt.Fprint(w, `{"message":"Not found"}`)
		default:
			fmt.Fprint(w, text)
		}
	}))
	t.Cleanup(server.Close)
	e, err := New(Config{AdminURL: server.URL})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func root(database, role string) string {
	return fmt.Sprintf(`{"version":"3.9.1","node_id":"n1","configuration":{"database":%q,"role":%q},"plugins":{"available_on_server":{"cors":{},"acl":{}},"enabled_in_cluster":{}}}`, database, role)
}

func TestANodeSaysWhatItIs(t *testing.T) {
	reachable := true
	for sentence, c := range map[string]struct {
		answers map[string]string
		want    gatewarden.Node
	}{
		"one with a database": {
			map[string]string{"/": root("postgres", "traditional"), "/status": `{"database":{"reachable":true}}`},
			gatewarden.Node{ID: "n1", Version: "3.9.1", Plugins: []string{"acl", "cors"}, Datastore: &reachable},
		},
		"one without": {
			map[string]string{"/": root("off", "traditional"), "/status": `{"configuration_hash":"779742c3d7afee2e38f977d2d2ed7703"}`},
			gatewarden.Node{ID: "n1", Version: "3.9.1", Plugins: []string{"acl", "cors"}, ConfigHash: "779742c3d7afee2e38f977d2d2ed7703"},
		},
		"one without a configuration yet": {
			map[string]string{"/": root("off", "traditional"), "/status": `{"configuration_hash":"00000000000000000000000000000000"}`},
			gatewarden.Node{ID: "n1", Version: "3.9.1", Plugins: []string{"acl", "cors"}},
		},
		"a control plane": {
			map[string]string{
				"/": root("postgres", "control_plane"), "/status": `{}`,
				"/clustering/data-planes": `{"data":[{"id":"d1","hostname":"dp-1","ip":"10.0.0.3","version":"3.8.0","config_hash":"a9a166c5","last_seen":1580623199},{"id":"d2","config_hash":"00000000"},7]}`,
			},
			gatewarden.Node{ID: "n1", Version: "3.9.1", Plugins: []string{"acl", "cors"}, DataPlanes: []gatewarden.DataPlane{
				{ID: "d1", Hostname: "dp-1", IP: "10.0.0.3", Version: "3.8.0", ConfigHash: "a9a166c5", Seen: time.Unix(1580623199, 0).UTC()}, {ID: "d2"},
			}},
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			got, err := answering(t, http.StatusNotFound, c.answers).Node(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
	if _, err := answering(t, http.StatusNotFound, map[string]string{"/": `{}`}).Node(t.Context()); err == nil {
		t.Error("what is no Kong passes as a node")
	}
}

func TestWhetherItMayWriteIsFoundOutWithoutWriting(t *testing.T) {
	for sentence, c := range map[string]struct {
		status   int
		database string
		want     gatewarden.Code
	}{
		"it may":                  {http.StatusNotFound, "postgres", ""},
		"the token may not":       {http.StatusForbidden, "postgres", gatewarden.Invalid},
		"there is no token":       {http.StatusUnauthorized, "postgres", gatewarden.Invalid},
		"the database is away":    {http.StatusInternalServerError, "postgres", gatewarden.Unavailable},
		"there is no database":    {http.StatusNotFound, "off", gatewarden.Invalid},
		"it takes no such method": {http.StatusMethodNotAllowed, "postgres", gatewarden.Invalid},
	} {
		t.Run(sentence, func(t *testing.T) {
			err := answering(t, c.status, map[string]string{"/": root(c.database, "traditional")}).MayWrite(t.Context())
			if got := gatewarden.ErrorCode(err); got != c.want {
				t.Errorf("%q (%v), want %q", got, err, c.want)
			}
		})
	}
}

func TestWhetherSomethingIsThere(t *testing.T) {
	e := answering(t, http.StatusNotFound, map[string]string{"/services/a": `{"id":"1"}`})
	for name, want := range map[string]bool{"a": true, "b": false} {
		if got, err := e.Has(t.Context(), "services", name); err != nil || got != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
}
