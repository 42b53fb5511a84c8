// Package doctest holds the documents to the program: what README.md,
// README.zh-CN.md and docs say can be loaded, decoded, called and followed. It is
// beside the data's way through the program, and has tests only.
package doctest

import (
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// root is the module's folder as seen from here.
const root = "../.."

// document is a Markdown file of the module.
type document struct {
	name string // from the module's folder, with slashes
	text string
}

// documents returns every Markdown file, sorted by name.
func documents(t *testing.T) []document {
	t.Helper()
	var docs []document
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			if name := d.Name(); name == "testdata" || strings.HasPrefix(name, ".") && path != root {
				return filepath.SkipDir
			}
			return nil
		}
		if filepath.Ext(path) != ".md" {
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(root, path)
		if err != nil {
			return err
		}
		docs = append(docs, document{filepath.ToSlash(rel), string(text)})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(docs) < 10 {
		t.Fatalf("only %d documents found: the test does not see the module", len(docs))
	}
	return docs
}

// manual returns the documents that operators read: the READMEs and those in docs.
func manual(t *testing.T) []document {
	t.Helper()
	docs := slices.DeleteFunc(documents(t), func(d document) bool {
		dir := filepath.ToSlash(filepath.Dir(d.name))
		return dir != "docs" && !strings.HasPrefix(d.name, "README")
	})
	if len(docs) < 9 {
		t.Fatalf("only %d documents for operators found", len(docs))
	}
	return docs
}

// read returns one document.
func read(t *testing.T, name string) document {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(root, filepath.FromSlash(name)))
	if err != nil {
		t.Fatal(err)
	}
	return document{name, string(text)}
}
