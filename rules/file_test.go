package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestTestsOfRulesAreNoRules(t *testing.T) {
	dir := t.TempDir()
	for name, text := range map[string]string{"shop.yaml": oneSLO("a"), "shop_test.yaml": "tests: []", "more_test.yml": "{"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r, problems := LoadRules([]string{dir})
	if len(problems) > 0 || len(r.Files) != 1 {
		t.Errorf("files %q, problems %s", r.Files, printed(problems))
	}
}

func TestAFileOfAnotherKindIsReadStrictly(t *testing.T) {
	var into struct {
		One  Words            `yaml:"one"`
		Many Words            `yaml:"many"`
		By   map[string]Words `yaml:"by"`
		None Words            `yaml:"none"`
	}
	f := ParseFile("dir/x.yaml", []byte("one: a\nmany: [a, b]\nby:\n  k: v\nwrong: 1\n"))
	f.Decode(&into, "a thing")
	if diff := cmp.Diff([]Words{{"a"}, {"a", "b"}, {"v"}}, []Words{into.One, into.Many, into.By["k"]}); diff != "" {
		t.Errorf("words (-want +got):\n%s", diff)
	}
	if !f.Has(&into.One) || f.Has(&into.None) || f.Line(&into.Many) != 2 || f.Line(&into.None) != 0 || f.Empty() || f.Name() != "dir/x.yaml" {
		t.Error("it does not know where things stand")
	}
	f.Errorf([]any{&into.None, &into.One}, "mend it", "it is wrong")
	f.Errorf([]any{KeyOf(&into.By, "k")}, "", "the key is wrong")
	got := printed(f.Problems())
	for _, want := range []string{"dir/x.yaml:1:6: error: it is wrong", "dir/x.yaml:4:3: error: the key is wrong", `dir/x.yaml:5:1: error: unknown key "wrong" in a thing`} {
		if !strings.Contains(got, want) {
			t.Errorf("problems:\n%s\nwant %s", got, want)
		}
	}
	if p := f.Path("a/b"); p != filepath.FromSlash("dir/a/b") {
		t.Errorf("a path is %s", p)
	}
}
