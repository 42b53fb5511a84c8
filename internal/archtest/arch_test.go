// Package archtest holds the arrows between the packages of this module: who may
// import whom. The picture is in doc.go and README.md.
package archtest

import (
	"fmt"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/gatewarden/gatewarden"

// layers are the top-level folders that hold Go packages. A new one is added here
// on purpose, never by accident.
var layers = []string{
	"cmd", "app", "collector", "store", "rules", "analyzers", "actions", "gates", "journal", "state", "api", "dashboards",
	"examples", "internal",
}

// wiring may import every package of the module.
var wiring = []string{"app", "cmd"}

// pure packages do no input or output. The root is held to the standard library
// besides.
var pure = []string{"", "analyzers"}

// ioPackages are what a pure package may not import.
var ioPackages = []string{"os", "net", "net/http", "os/exec", "log", "log/slog", "io/fs", "path/filepath", "database/sql"}

func TestArrows(t *testing.T) {
	imports := moduleImports(t, "../..")
	if len(imports) < 5 {
		t.Fatalf("only %d packages found: the test does not see the module", len(imports))
	}
	for pkg, imported := range imports {
		for _, imp := range imported {
			if msg := forbidden(pkg, imp); msg != "" {
				t.Errorf("%s imports %s: %s", name(pkg), imp, msg)
			}
		}
	}
}

func TestArrowsCanFail(t *testing.T) {
	for _, c := range []struct{ pkg, imp string }{
		{"", "github.com/google/uuid"},
		{"", "os"},
		{"", module + "/store"},
		{"analyzers/burnrate", "net/http"},
		{"collector", module + "/collector/httplog"},
		{"collector/httplog", module + "/collector/tcplog"},
		{"store", module + "/journal"},
		{"actions/kong", module + "/rules"},
		{"api", module + "/app"},
		{"app", module + "/cmd/gatewarden"},
		{"store", module + "/internal/fakekong"},
		{"attic", module},
	} {
		if forbidden(c.pkg, c.imp) == "" {
			t.Errorf("%s importing %s passes, but breaks an arrow", name(c.pkg), c.imp)
		}
	}
	for _, c := range []struct{ pkg, imp string }{
		{"", "time"},
		{"collector/httplog", module + "/collector"},
		{"collector/httplog", module},
		{"app", module + "/actions/kong"},
		{"cmd/gatewarden", module + "/app"},
		{"cmd/gatewarden", module + "/internal/fakekong"},
		{"store", "github.com/prometheus/client_golang/prometheus"},
	} {
		if msg := forbidden(c.pkg, c.imp); msg != "" {
			t.Errorf("%s importing %s is refused: %s", name(c.pkg), c.imp, msg)
		}
	}
}

// forbidden says why pkg may not import imp, or "" when it may. Packages are named
// by their folder, the root by "".
func forbidden(pkg, imp string) string {
	top, _, _ := strings.Cut(pkg, "/")
	if pkg != "" && !slices.Contains(layers, top) {
		return "the folder " + top + " is not in the picture; see layers in internal/archtest"
	}
	if slices.Contains(pure, top) && slices.Contains(ioPackages, imp) {
		return "no input or output here"
	}
	target, ours := strings.CutPrefix(imp, module)
	if !ours {
		if pkg == "" && strings.Contains(strings.Split(imp, "/")[0], ".") {
			return "the root imports the standard library only"
		}
		return ""
	}
	target = strings.TrimPrefix(target, "/")
	targetTop, _, _ := strings.Cut(target, "/")
	switch {
	case target == "":
		return ""
	case pkg == "":
		return "the root imports no other package"
	case target == "internal/version":
		return ""
	case target == "analyzers/stats" && top == "analyzers":
		return "" // the mathematics that the analyzers share
	case targetTop == "cmd":
		return "nobody imports a command"
	case slices.Contains(wiring, top), top == "internal", top == "examples":
		if targetTop == "app" && top != "cmd" && top != "app" && top != "internal" {
			return "only cmd imports app"
		}
		return ""
	case strings.HasPrefix(pkg, target+"/"):
		return "" // a child may import its parent
	case strings.HasPrefix(target, pkg+"/"):
		return "a parent never imports a child"
	default:
		return "siblings never import each other; declare an interface and let app join them"
	}
}

func name(pkg string) string {
	if pkg == "" {
		return "the root package"
	}
	return pkg
}

// moduleImports returns the imports of each package below root, its tests not
// among them: a test may bring a stand-in.
func moduleImports(t *testing.T, root string) map[string][]string {
	t.Helper()
	imports := map[string][]string{}
	err := filepath.WalkDir(root, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if n := d.Name(); n == "testdata" || n == "tools" || (strings.HasPrefix(n, ".") && file != root) {
				return filepath.SkipDir
			}
			if _, err := os.Stat(filepath.Join(file, "go.mod")); err == nil && file != root {
				return filepath.SkipDir // a module of its own: nothing here can import it
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return fmt.Errorf("reading the imports of %s: %w", file, err)
		}
		rel, err := filepath.Rel(root, filepath.Dir(file))
		if err != nil {
			return err
		}
		pkg := path.Clean(filepath.ToSlash(rel))
		if pkg == "." {
			pkg = ""
		}
		if _, seen := imports[pkg]; !seen {
			imports[pkg] = nil // a package without imports is seen too
		}
		for _, spec := range f.Imports {
			imp, err := strconv.Unquote(spec.Path.Value)
			if err != nil {
				return err
			}
			imports[pkg] = append(imports[pkg], imp)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return imports
}
