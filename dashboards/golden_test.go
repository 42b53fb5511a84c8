package dashboards

import (
	"bytes"
	"encoding/json"
	"flag"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the dashboards' JSON anew")

func TestCommittedJSON(t *testing.T) {
	want := map[string]bool{}
	for _, d := range All() {
		file := path.Join("grafana", d.UID+".json")
		want[file] = true
		code, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if *update {
			if err := os.WriteFile(filepath.FromSlash(file), code, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		committed, err := os.ReadFile(filepath.FromSlash(file))
		if err != nil {
			t.Fatalf("%v; go generate ./dashboards writes it", err)
		}
		if diff := cmp.Diff(string(committed), string(code)); diff != "" {
			t.Errorf("%s is not what the code says; go generate ./dashboards writes it (-committed +code):\n%s", file, diff)
		}
	}
	if *update {
		return // what is embedded is from before
	}
	embedded, err := fs.Glob(Files(), "grafana/*")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range embedded {
		if !want[file] {
			t.Errorf("%s belongs to no dashboard", file)
		}
		delete(want, file)
	}
	for file := range want {
		t.Errorf("%s is not embedded", file)
	}
}

// TestJSONIsComplete reads a dashboard back and wants nothing lost or unknown, so that
// the other tests, which look at All, look at what Grafana gets.
func TestJSONIsComplete(t *testing.T) {
	for _, d := range All() {
		text, err := d.JSON()
		if err != nil {
			t.Fatal(err)
		}
		decode := json.NewDecoder(bytes.NewReader(text))
		decode.DisallowUnknownFields()
		var back Dashboard
		if err := decode.Decode(&back); err != nil {
			t.Fatal(err)
		}
		again, err := back.JSON()
		if err != nil {
			t.Fatal(err)
		}
		var a, b any // options come back as maps, with other orders of keys
		if err := json.Unmarshal(text, &a); err != nil {
			t.Fatal(err)
		}
		if err := json.Unmarshal(again, &b); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(a, b); diff != "" {
			t.Errorf("%s (-written +read):\n%s", d.UID, diff)
		}
	}
}
