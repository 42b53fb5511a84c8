package rules

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTokenFilesAreBesideTheConfigurationAndHaveNames(t *testing.T) {
	for text, want := range map[string]string{
		`web: {token_files: {jenkins: guard-token}}`: "",
		`web: {token_files: {jenkins: ""}}`:          "a name or a file that is empty",
		`web: {token_files: {" ": guard-token}}`:     "a name or a file that is empty",
		`web: {token_files: [guard-token]}`:          "token_files",
	} {
		file := filepath.Join(t.TempDir(), "gatewarden.yaml")
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, problems := LoadConfig(file, func(string) (string, bool) { return "", false })
		got := ""
		for _, p := range problems {
			got += p.String() + "\n"
		}
		switch {
		case want == "" && (got != "" || c.Web.TokenFiles["jenkins"] != filepath.Join(filepath.Dir(file), "guard-token")):
			t.Errorf("%s: %v, %s", text, c.Web.TokenFiles, got)
		case want != "" && !strings.Contains(got, want):
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}
