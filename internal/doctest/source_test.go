package doctest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// sources parses the Go files of the given folders and of those below them, tests
// and stand-ins not among them.
func sources(t *testing.T, folders ...string) []*ast.File {
	t.Helper()
	var files []*ast.File
	for _, folder := range folders {
		err := filepath.WalkDir(filepath.Join(root, folder), func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() || filepath.Ext(path) != ".go" || strings.HasSuffix(path, "_test.go") {
				return err
			}
			f, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
			files = append(files, f)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// yamlKeys returns the keys of every struct with yaml tags in the folders, sorted. Package
// convert writes files of others.
func yamlKeys(t *testing.T, folders ...string) []string {
	t.Helper()
	var keys []string
	for _, f := range sources(t, folders...) {
		if f.Name.Name == "convert" {
			continue
		}
		ast.Inspect(f, func(n ast.Node) bool {
			field, ok := n.(*ast.Field)
			if !ok || field.Tag == nil {
				return true
			}
			tag, err := strconv.Unquote(field.Tag.Value)
			if err != nil {
				t.Fatal(err)
			}
			key, _, _ := strings.Cut(reflect.StructTag(tag).Get("yaml"), ",")
			if key != "" && key != "-" {
				keys = append(keys, key)
			}
			return true
		})
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

var span = regexp.MustCompile("`([^`\n]+)`")

// code returns all code of a document: blocks and spans.
func code(d document) string {
	var b strings.Builder
	for _, block := range blocks(d.name, d.text) {
		b.WriteString(block.text + "\n")
	}
	for _, m := range span.FindAllStringSubmatch(prose(d.name, d.text), -1) {
		b.WriteString(m[1] + "\n")
	}
	return b.String()
}

// undocumented returns the words that the code of no document has.
func undocumented(words []string, docs ...document) []string {
	var all strings.Builder
	for _, d := range docs {
		all.WriteString(code(d))
	}
	return slices.DeleteFunc(slices.Clone(words), func(w string) bool {
		return regexp.MustCompile(`(?:^|[^\w-])` + regexp.QuoteMeta(w) + `(?:$|[^\w-])`).MatchString(all.String())
	})
}

func TestEveryKeyOfTheFilesIsDocumented(t *testing.T) {
	keys := yamlKeys(t, "rules", "collector")
	if len(keys) < 50 {
		t.Fatalf("only %d keys found: the test does not see them", len(keys))
	}
	for _, key := range undocumented(keys, read(t, "docs/rules.md"), read(t, "docs/configuration.md"), read(t, "docs/elasticsearch.md"), read(t, "docs/guards.md")) {
		t.Errorf("the key %s is in none of docs/rules.md, docs/configuration.md, docs/elasticsearch.md and docs/guards.md", key)
	}
}

func TestAKeyThatIsNotDocumentedIsFound(t *testing.T) {
	doc := document{text: "The `known` one, and prose about a secret one.\n\n    also: {nested: 1}\n"}
	got := undocumented([]string{"known", "secret", "also", "nested", "nest"}, doc)
	if want := []string{"secret", "nest"}; !slices.Equal(got, want) {
		t.Errorf("undocumented are %v, want %v", got, want)
	}
}
